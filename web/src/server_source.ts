// Numbers that a server computes: the second of the sources that views can have.

import { keyTokens, queryTokens } from "./data.ts";
import type { Atlas, Kind } from "./data.ts";
import type { HeadValue, HeadsAsk, Line, Look, MapOf, Source, Stretch, Terms, Tile, TileAsk } from "./source.ts";
import { Refused, type Server } from "./server.ts";

/** Digits after the point of scores, which the server computes from what was recorded. */
const SCORE_DIGITS = 4;
/** What stands for no place. */
const NOWHERE = 0xffffffff;

type Values = Record<string, string | number | boolean>;

export class ServerSource implements Source {
  readonly atlas: Atlas;
  private server: Server;
  /** The recording, as a part of an address. */
  private path: string;
  /** The names of axes that were sent, by their stretches; one array is one axis. */
  private names = new WeakMap<readonly Stretch[], Map<string, Promise<string>>>();

  constructor(server: Server, id: string, atlas: Atlas) {
    [this.server, this.path, this.atlas] = [server, encodeURIComponent(id), atlas];
  }

  /** A recording of the server. */
  static async open(server: Server, id: string): Promise<ServerSource> {
    const answer = await server.ask(`recordings/${encodeURIComponent(id)}`);
    return new ServerSource(server, id, (await answer.json()) as Atlas);
  }

  tile(ask: TileAsk, signal?: AbortSignal): Promise<Tile> {
    return this.with(ask.of.item, ask.of.kind, ask.look, async (axes) => readTile(await this.bytes("tile", { ...values(ask), ...axes }, signal)));
  }

  row(of: MapOf, look: Look, row: number, signal?: AbortSignal): Promise<Line> {
    return this.with(of.item, of.kind, look, async (axes) => readLine(await this.bytes("line", { ...mapValues(of), ...axes, row }, signal)));
  }

  column(of: MapOf, look: Look, column: number, signal?: AbortSignal): Promise<Line> {
    return this.with(of.item, of.kind, look, async (axes) => readLine(await this.bytes("line", { ...mapValues(of), ...axes, column }, signal)));
  }

  async terms(of: MapOf, query: number, key: number, signal?: AbortSignal): Promise<Terms> {
    const answer = await this.ask("terms", { ...mapValues(of), row: query, column: key }, signal);
    const terms = (await answer.json()) as Omit<Terms, "digits" | "query" | "key"> & { query: number[] | null; key: number[] | null };
    const vector = (numbers: number[] | null): Float32Array | null => (numbers === null ? null : Float32Array.from(numbers, (number) => number ?? NaN));
    return { ...terms, weight: terms.weight ?? NaN, digits: SCORE_DIGITS, query: vector(terms.query), key: vector(terms.key) };
  }

  /** All pictures come in one answer, each as soon as it and those before it are there. */
  async pooled(asks: readonly TileAsk[], each: (ask: TileAsk, tile: Tile) => void, signal?: AbortSignal): Promise<void> {
    if (asks.length === 0) return;
    let next = 0;
    // an axis that the server forgot on the way is sent again, and what is left is asked for
    await this.with(asks[0]!.of.item, asks[0]!.of.kind, asks[0]!.look, async () => {
      const left = asks.slice(next);
      const list = await Promise.all(left.map(async (ask) => ({ ...values(ask), ...(await this.axes(ask.of.item, ask.of.kind, ask.look)) })));
      const options = { method: "POST", body: JSON.stringify(list), ...(signal === undefined ? {} : { signal }) };
      const answer = await this.server.ask(`recordings/${this.path}/pooled`, options);
      for await (const { isTile, bytes } of framesOf(answer.body!)) {
        if (!isTile) {
          const refusal = JSON.parse(new TextDecoder().decode(bytes)) as { error: string; code: string };
          throw new Refused(refusal.error, refusal.code);
        }
        each(asks[next]!, readTile(bytes));
        next += 1;
      }
      if (next < asks.length) throw new Refused("The server broke off its answer.", "away");
    });
  }

  heads(ask: HeadsAsk, signal?: AbortSignal): Promise<HeadValue[]> {
    const { item, quantity, kind, row, column } = ask;
    const place = { ...(row === null ? {} : { row }), ...(column === null ? {} : { column }) };
    return this.with(item, kind, ask.look, async (axes) => readHeads(await this.bytes("heads", { item, quantity, kind, ...axes, ...place }, signal)));
  }

  /** A picture as the command line draws it, to the byte. */
  async figure(of: Values, signal?: AbortSignal): Promise<Blob> {
    return (await this.ask("figure", of, signal)).blob();
  }

  /** The recording itself. */
  async file(signal?: AbortSignal): Promise<Blob> {
    return (await this.ask("file", {}, signal)).blob();
  }

  private ask(what: string, of: Values, signal?: AbortSignal): Promise<Response> {
    const question = new URLSearchParams(Object.entries(of).map(([name, value]) => [name, String(value)]));
    return this.server.ask(`recordings/${this.path}/${what}?${question}`, signal === undefined ? {} : { signal });
  }

  private async bytes(what: string, of: Values, signal?: AbortSignal): Promise<ArrayBuffer> {
    return (await this.ask(what, of, signal)).arrayBuffer();
  }

  /** Asks with the names of a look's axes; where the server has forgotten one, it is sent again, once. */
  private async with<T>(item: number, kind: Kind, look: Look, ask: (axes: Values) => Promise<T>): Promise<T> {
    try {
      return await ask(await this.axes(item, kind, look));
    } catch (error) {
      if (!(error instanceof Refused) || error.code !== "axis") throw error;
      this.names = new WeakMap();
      return ask(await this.axes(item, kind, look));
    }
  }

  private async axes(item: number, kind: Kind, look: Look): Promise<{ queries: string; keys: string }> {
    const text = this.atlas.items[item]!;
    const sideOf = (tokens: unknown): string => (tokens === text.source ? "source" : "target");
    const [ofQueries, ofKeys] = [queryTokens(text, kind), keyTokens(text, kind)];
    const [queries, keys] = await Promise.all([
      this.name(item, sideOf(ofQueries), look.queries, ofQueries.tokens.length),
      this.name(item, sideOf(ofKeys), look.keys, ofKeys.tokens.length),
    ]);
    return { queries, keys };
  }

  /** The name of an axis, which is sent where it was not yet; every token one by one has a name that is always known. */
  private name(item: number, axis: string, stretches: readonly Stretch[], n_tokens: number): Promise<string> {
    let names = this.names.get(stretches);
    if (names === undefined) this.names.set(stretches, (names = new Map()));
    const key = `${item} ${axis}`;
    let name = names.get(key);
    if (name === undefined) {
      const isAll = stretches.length === n_tokens; // they rise and hold a token each
      name = isAll ? Promise.resolve("all") : this.send(item, axis, stretches);
      names.set(key, name);
      name.catch(() => names.delete(key));
    }
    return name;
  }

  private async send(item: number, axis: string, stretches: readonly Stretch[]): Promise<string> {
    const answer = await this.server.ask(`recordings/${this.path}/axes`, { method: "POST", body: JSON.stringify({ item, axis, stretches }) });
    return ((await answer.json()) as { axis: string }).axis;
  }
}

function mapValues({ item, quantity, kind, layer, head }: MapOf): Values {
  return { item, quantity, kind, layer, ...(head === "mean" ? {} : { head }) };
}

/** A question for a picture, without its axes. */
function values(ask: TileAsk): Values {
  const { of, part, height, width, pool, exact } = ask;
  const [top, bottom] = part.rows;
  const [left, right] = part.columns;
  return { ...mapValues(of), top, bottom, left, right, height, width, pool, values: ask.values, exact };
}

/** A picture; as crates/attlas-server/src/bytes.rs has it. */
export function readTile(bytes: ArrayBuffer): Tile {
  const view = new DataView(bytes);
  const [height, width] = [view.getUint32(0, true), view.getUint32(4, true)];
  const n = height * width;
  return { height, width, top: view.getFloat32(8, true), every: view.getUint32(12, true), values: floats(view, 16, n), masked: new Uint8Array(bytes, 16 + 4 * n, n) };
}

/** A row or column; as crates/attlas-server/src/bytes.rs has it. */
export function readLine(bytes: ArrayBuffer): Line {
  const view = new DataView(bytes);
  const n = view.getUint32(0, true);
  const [removed, sink, entropy] = floats(view, 4, 3) as unknown as [number, number, number];
  return { weights: floats(view, 16, n), masked: new Uint8Array(bytes, 16 + 4 * n, n), removed, sink, rounding: 0, entropy };
}

/** A number for each head; as crates/attlas-server/src/bytes.rs has it. */
export function readHeads(bytes: ArrayBuffer): HeadValue[] {
  const view = new DataView(bytes);
  return Array.from({ length: bytes.byteLength / 16 }, (_, place) => {
    const at = view.getUint32(16 * place + 12, true);
    return { layer: view.getUint32(16 * place, true), head: view.getUint32(16 * place + 4, true), value: view.getFloat32(16 * place + 8, true), at: at === NOWHERE ? null : at };
  });
}

function floats(view: DataView, start: number, n: number): Float32Array {
  return new Float32Array(view.buffer, view.byteOffset + start, n);
}

/** The pictures of a list as they come: place, whether it is one, length (u32 each), bytes. */
export async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<{ isTile: boolean; bytes: ArrayBuffer }> {
  const reader = body.getReader();
  let rest = new Uint8Array(0);
  for (;;) {
    while (rest.length >= 12) {
      const head = new DataView(rest.buffer, rest.byteOffset, 12);
      const end = 12 + head.getUint32(8, true);
      if (rest.length < end) break;
      yield { isTile: head.getUint32(4, true) === 1, bytes: rest.slice(12, end).buffer };
      rest = rest.subarray(end);
    }
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(rest.length + value.length);
    joined.set(rest);
    joined.set(value, rest.length);
    rest = joined;
  }
}
