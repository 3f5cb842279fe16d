// The page's numbers on a thread of their own: questions come as messages with a number, answers go with the same one.

import { bytesOf, type Atlas } from "./data.ts";
import { Numbers } from "./carried.ts";
import type { HeadsOf, Tile, TileAsk } from "./source.ts";
import { messageOf } from "./text.ts";
import { breathing, Desk, type Work } from "./work.ts";

/** How long a worker works before it looks for messages, in ms. */
const SLICE = 8;

/** The questions, and how urgent each is: what stands under the pointer first, small pictures last. */
export const URGENCY = { row: 4, column: 4, terms: 4, tile: 3, heads: 2, pooled: 1 } as const;
export type Question = keyof typeof URGENCY;

/** How urgent it is to decode what nobody has asked for yet. */
const AHEAD = 0;

/** What the page sends; the numbers come first, once, and with them which heads it will ask for. */
export type Asked =
  | { carry: Atlas; numbers: string; soon: HeadsOf | null }
  | { id: number; question: Question; given: unknown[] }
  | { id: number; abort: true };

/** What the worker sends; `tile` is one of several. */
export type Answered = { id: number; value: unknown } | { id: number; place: number; tile: Tile } | { id: number; error: string };

/** The work behind a question. */
export function workOf(numbers: Numbers, question: Question, given: unknown[], each: (place: number, tile: Tile) => void): Work<unknown> {
  if (question === "pooled") return numbers.pooled(given[0] as TileAsk[], each);
  const ask = numbers[question] as (...given: unknown[]) => Work<unknown>;
  return ask.apply(numbers, given);
}

/** What went wrong, for a reader; arrays that would lie beyond the numbers' end are what a page cut short has. */
export function sentenceOf(error: unknown): string {
  if (error instanceof RangeError) return `the numbers in this page are cut short or damaged (${error.message}); have it written or copied again`;
  return messageOf(error);
}

/** A worker's side of its messages. */
export interface Scope {
  onmessage: ((event: MessageEvent<Asked>) => void) | null;
  postMessage: (message: Answered, transfer: Transferable[]) => void;
}

/** Answers the page until the end; `breathe` lets its messages have a turn. */
export function serve(scope: Scope, breathe = breathing()): void {
  const desk = new Desk(SLICE, breathe);
  const running = new Map<number, AbortController>();
  let numbers: Numbers | null = null;
  scope.onmessage = ({ data }) => {
    if ("carry" in data) {
      numbers = new Numbers({ ...data.carry, numbers: bytesOf(data.numbers) });
      // what is wrong with a head is told to who asks for it
      if (data.soon !== null) void desk.do(numbers.ahead(data.soon), AHEAD).catch(() => {});
      return;
    }
    const { id } = data;
    if ("abort" in data) {
      running.get(id)?.abort();
      return;
    }
    const controller = new AbortController();
    running.set(id, controller);
    const fail = (error: unknown): void => scope.postMessage({ id, error: sentenceOf(error) }, []);
    try {
      const work = workOf(numbers!, data.question, data.given, (place, tile) => scope.postMessage({ id, place, tile }, buffersOf(tile)));
      void desk
        .do(work, URGENCY[data.question], controller.signal)
        .then((value) => scope.postMessage({ id, value }, data.question === "tile" ? buffersOf(value as Tile) : []), fail)
        .finally(() => running.delete(id));
    } catch (error) {
      fail(error);
    }
  };
}

/** What a tile's numbers lie in, which is nobody else's. */
function buffersOf({ values, masked }: Tile): Transferable[] {
  return [values.buffer, masked.buffer];
}
