// The numbers that lie in the page, as a source: asked of a worker, or, where a page may have none, worked out here in short slices.

import { Numbers } from "./carried.ts";
import { decoded, type Atlas } from "./data.ts";
import type { HeadsAsk, HeadsOf, HeadValue, Line, Look, MapOf, Source, Terms, Tile, TileAsk } from "./source.ts";
import { breathing, Desk } from "./work.ts";
import { sentenceOf, URGENCY, workOf, type Answered, type Asked, type Question } from "./worker.ts";

/** How long the page itself may work before it breathes, in ms. */
const SLICE = 12;

/** A question that waits for its answer. */
interface Pending {
  question: Question;
  given: unknown[];
  each: (place: number, tile: Tile) => void;
  signal: AbortSignal | undefined;
  resolve: (value: never) => void;
  reject: (reason: unknown) => void;
}

export class PageSource implements Source {
  readonly atlas: Atlas;
  private text: string;
  private worker: Worker | null = null;
  private here: { desk: Desk; numbers: Promise<Numbers> } | null = null;
  private pending = new Map<number, Pending>();
  private next = 0;
  private answered = false;

  /** Asks a thread of its own, of which it is told which heads will be asked for `soon`; without one, all work is done here. */
  constructor(atlas: Atlas, numbers: string, thread: Thread | null, soon: HeadsOf | null = null) {
    this.atlas = atlas;
    this.text = numbers;
    if (thread === null) return;
    this.worker = thread.worker;
    this.worker.onmessage = ({ data }: MessageEvent<Answered>) => this.take(data);
    void thread.ended.then((why) => this.fallBack(why));
    this.send({ carry: atlas, numbers, soon });
  }

  tile(ask: TileAsk, signal?: AbortSignal): Promise<Tile> {
    return this.ask("tile", [ask], signal);
  }

  row(of: MapOf, look: Look, row: number, signal?: AbortSignal): Promise<Line> {
    return this.ask("row", [of, look, row], signal);
  }

  column(of: MapOf, look: Look, column: number, signal?: AbortSignal): Promise<Line> {
    return this.ask("column", [of, look, column], signal);
  }

  terms(of: MapOf, query: number, key: number, signal?: AbortSignal): Promise<Terms> {
    return this.ask("terms", [of, query, key], signal);
  }

  pooled(asks: readonly TileAsk[], each: (ask: TileAsk, tile: Tile) => void, signal?: AbortSignal): Promise<void> {
    return this.ask("pooled", [asks], signal, (place, tile) => each(asks[place]!, tile));
  }

  heads(ask: HeadsAsk, signal?: AbortSignal): Promise<HeadValue[]> {
    return this.ask("heads", [ask], signal);
  }

  private ask<T>(question: Question, given: unknown[], signal?: AbortSignal, each: Pending["each"] = () => {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const id = this.next++;
      this.pending.set(id, { question, given, each, signal, resolve, reject });
      if (this.worker === null) this.doHere(id);
      else this.send({ id, question, given });
      signal?.addEventListener("abort", () => this.giveUp(id), { once: true });
    });
  }

  private giveUp(id: number): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    this.pending.delete(id);
    if (this.worker !== null) this.send({ id, abort: true });
    pending.reject(pending.signal!.reason);
  }

  private send(message: Asked): void {
    this.worker!.postMessage(message);
  }

  private take(answer: Answered): void {
    this.answered = true;
    const pending = this.pending.get(answer.id);
    if (pending === undefined) return; // given up meanwhile
    if ("tile" in answer) {
      pending.each(answer.place, answer.tile);
      return;
    }
    this.pending.delete(answer.id);
    if ("error" in answer) pending.reject(new Error(answer.error));
    else pending.resolve(answer.value as never);
  }

  /** Works here from now on: the page may have no worker, or its worker ended. */
  private fallBack(why: string): void {
    this.worker?.terminate();
    this.worker = null;
    if (this.answered) {
      // it worked, and ran out of something; so would the page
      for (const pending of this.pending.values()) pending.reject(new Error(`the page's numbers could not be worked out: ${why || "its worker ended"}`));
      this.pending.clear();
    }
    for (const id of this.pending.keys()) this.doHere(id);
  }

  private doHere(id: number): void {
    if (this.here === null) {
      const desk = new Desk(SLICE, breathing());
      this.here = { desk, numbers: desk.do(decoded(this.text), Infinity).then((numbers) => new Numbers({ ...this.atlas, numbers })) };
    }
    const { desk, numbers } = this.here;
    const { question, given, each, signal, resolve, reject } = this.pending.get(id)!;
    const end = (tell: () => void): void => {
      if (this.pending.delete(id)) tell();
    };
    void numbers
      .then((numbers) => desk.do(workOf(numbers, question, given, each), URGENCY[question], signal))
      .then(
        (value) => end(() => resolve(value as never)),
        (error: unknown) => end(() => reject(signal?.aborted ? error : new Error(sentenceOf(error)))),
      );
  }
}

/** A worker, and why it ended, should it: a policy may refuse it before anybody asks it anything. */
export interface Thread {
  worker: Worker;
  ended: Promise<string>;
}

/** A worker that runs the script; null where there are none. */
export function startThread(script: string): Thread | null {
  if (typeof Worker === "undefined") return null;
  try {
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    const worker = new Worker(address);
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    const ended = new Promise<string>((tell) => {
      worker.onerror = (event) => {
        event.preventDefault();
        tell(event.message);
      };
    });
    return { worker, ended };
  } catch {
    return null;
  }
}
