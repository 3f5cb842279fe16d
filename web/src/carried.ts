// The page's own numbers answer what views ask. Heads are decoded when they are asked for, and kept as long as there is room.

import { layerOf, layersOf, type Carried, type Layer } from "./data.ts";
import { isEachToken, shownRow, Pixels, valuesOf, type ShownRow } from "./pooling.ts";
import type { HeadsAsk, HeadsOf, HeadValue, Line, Look, MapOf, Terms, Tile, TileAsk } from "./source.ts";
import { BREATH, biasOf, headMap, isMasked, positionsOf, rowsOf, scoreOf, scoreOfDot, type HeadMap } from "./weights.ts";
import type { Work } from "./work.ts";

/** Bytes of decoded heads that are kept. */
const ROOM = 192 << 20;
/** Multiplications that a head of queries and keys may take where not every row has to be read. */
const PATIENCE = 1 << 21;

/** Which rows of a map are needed; null for all. */
type Wanted = ((query: number) => boolean) | null;

export class Numbers {
  private carried: Carried;
  private kept = new Map<string, HeadMap>(); // the longest unused first
  private n_bytes = 0;
  private room: number;

  constructor(carried: Carried, room = ROOM) {
    this.carried = carried;
    this.room = room;
  }

  *tile(ask: TileAsk): Work<Tile> {
    const { rows, columns } = ask.part;
    const height = Math.max(0, Math.min(ask.height, rows[1] - rows[0]));
    const width = Math.max(0, Math.min(ask.width, columns[1] - columns[0]));
    const every = this.everyOf(ask, height);
    const map = yield* this.map(ask.of, this.wantedOf(ask.look, rows, every));
    const pixels = new Pixels(height, width, columns[1] - columns[0], ask.pool);
    const isWhole = ask.values !== "number";
    const [first, end] = isWhole ? [0, ask.look.keys.length] : columns;
    const areTokens = !isWhole && isEachToken(ask.look.keys, first, end);
    let paid = 0;
    for (let row = rows[0]; row < rows[1]; row++) {
      const y = Math.floor(((row - rows[0]) * height) / (rows[1] - rows[0]));
      const [query, last] = ask.look.queries[row]!;
      if (areTokens && last - query === 1) {
        if (query % every === 0) pixels.takeTokens(y, map, query, ask.look.keys[first]![0]);
      } else {
        const shown = shownRow(map, ask.look, row, first, end, every);
        if (shown !== null) pixels.take(y, shown, valuesOf(shown, ask.values), columns[0] - first);
      }
      paid += map.n_keys * (last - query);
      if (paid > BREATH) {
        paid = 0;
        yield;
      }
    }
    return { ...pixels.finish(), every };
  }

  *row(of: MapOf, look: Look, row: number): Work<Line> {
    const [first, end] = look.queries[row]!;
    const map = yield* this.map(of, (query) => query >= first && query < end);
    const shown = shownRow(map, look, row, 0, look.keys.length, 1)!;
    const kept = new Uint8Array(map.n_keys);
    for (const [from, to] of look.keys) kept.fill(1, from, to);
    const line = { weights: shown.numbers, masked: shown.masked, removed: 0, sink: 0, rounding: 0, entropy: 0 };
    const n = end - first;
    for (let query = first; query < end; query++) {
      const weights = map.weights.subarray(query * map.n_keys, (query + 1) * map.n_keys);
      for (let key = 0; key < map.n_keys; key++) if (kept[key] === 0) line.removed += weights[key]! / n;
      line.sink += map.sink[query]! / n;
      line.rounding += (map.rounding?.[query] ?? 0) / n;
      line.entropy += entropyOf(weights, map.sink[query]!) / n;
    }
    if (of.quantity !== "weight" || this.carried.pooled !== undefined) line.entropy = NaN;
    return line;
  }

  *column(of: MapOf, look: Look, column: number): Work<Line> {
    const map = yield* this.map(of, null);
    const n = look.queries.length;
    const line = { weights: new Float32Array(n), masked: new Uint8Array(n), removed: 0, sink: 0, rounding: 0, entropy: 0 };
    for (let row = 0; row < n; row++) {
      const shown = shownRow(map, look, row, column, column + 1, 1)!;
      line.weights[row] = shown.numbers[0]!;
      line.masked[row] = shown.masked[0]!;
    }
    return line;
  }

  *terms(of: MapOf, query: number, key: number): Work<Terms> {
    const layer = this.layerOf(of);
    const map = yield* this.map(of, (row) => row === query);
    const stored = layer.stored[of.item]!;
    const { queries, keys } = positionsOf(this.carried, of.item, of.kind);
    const head = of.head === "mean" ? 0 : of.head;
    const offset = keys[key]! - queries[query]! - (layer.scoring?.query_offset ?? 0);
    const known = of.head === "mean" ? null : scoreOf(map, query, key);
    const terms: Terms = {
      weight: map.weights[query * map.n_keys + key]!,
      masked: isMasked(map, query, key),
      score: known?.score ?? null,
      digits: known?.digits ?? 0,
      query: null,
      key: null,
      scale: layer.scoring?.scale ?? NaN,
      softcap: layer.scoring?.softcap ?? null,
      bias: of.head === "mean" ? 0 : biasOf(layer.scoring?.bias, head, offset),
      lse: of.head === "mean" ? null : (map.lse?.[query] ?? null),
      missing: "",
    };
    if (of.head === "mean") return { ...terms, missing: "A mean over heads has no query and no key of its own." };
    if (stored.groups === undefined) return { ...terms, missing: "The page carries this head's numbers without queries and keys, which would make it large." };
    const rows = rowsOf(this.carried.numbers, stored.groups, layer, head, map.n_queries, map.n_keys);
    const d = layer.d_head;
    const times = (numbers: Float32Array | Int16Array, row: number, step: number): Float32Array => Float32Array.from(numbers.subarray(row * d, (row + 1) * d), (number) => number * step);
    terms.query = times(rows.queries, query, rows.rounded?.querySteps[query] ?? 1);
    terms.key = times(rows.keys, key, rows.rounded?.keySteps[key] ?? 1);
    if (terms.masked) return terms;
    const dot = terms.query.reduce((sum, number, i) => sum + number * terms.key![i]!, 0);
    return { ...terms, score: scoreOfDot(layer.scoring!, head, dot, offset), digits: 2 };
  }

  /** Tiles one after the other, each told as soon as it is there. */
  *pooled(asks: readonly TileAsk[], each: (place: number, tile: Tile) => void): Work<void> {
    for (const [place, ask] of asks.entries()) {
      each(place, yield* this.tile(ask));
      yield;
    }
  }

  /** Decodes heads before they are asked for, as far as that fills half of the room; those of queries and keys are made as far as they are
   * seen, so not before. */
  *ahead({ item, quantity, kind }: HeadsOf): Work<void> {
    for (const layer of layersOf(this.carried, kind, quantity)) {
      if (layer.stored[item]?.storage !== "coded") continue;
      for (let head = 0; head < layer.n_heads; head++) {
        if (2 * this.n_bytes > this.room) return;
        yield* this.map({ item, quantity, kind, layer: layer.index, head }, null);
        yield;
      }
    }
  }

  *heads(ask: HeadsAsk): Work<HeadValue[]> {
    const values: HeadValue[] = [];
    for (const layer of layersOf(this.carried, ask.kind, ask.quantity)) {
      for (let head = 0; head < layer.n_heads; head++) {
        const of: MapOf = { item: ask.item, quantity: ask.quantity, kind: ask.kind, layer: layer.index, head };
        values.push({ layer: layer.index, head, ...(yield* this.valueOf(of, ask)) });
        yield;
      }
    }
    return values;
  }

  private *valueOf(of: MapOf, { look, row, column }: HeadsAsk): Work<{ value: number; at: number | null }> {
    if (row !== null) {
      const [first, end] = look.queries[row]!;
      const map = yield* this.map(of, (query) => query >= first && query < end);
      const part = column === null ? [0, look.keys.length] as const : [column, column + 1] as const;
      const { numbers, masked } = shownRow(map, look, row, part[0], part[1], 1)!;
      if (column !== null) return { value: masked[0] === 1 ? NaN : numbers[0]!, at: null };
      return strongest(numbers, masked);
    }
    if (column === null) return { value: NaN, at: null };
    const { weights, masked } = yield* this.column(of, look, column);
    return strongest(weights, masked);
  }

  /** A head's map, kept if all of it is there; one of which only some rows are wanted may hold no more than these. */
  private *map(of: MapOf, wanted: Wanted): Work<HeadMap> {
    const key = nameOf(of);
    const there = this.kept.get(key);
    if (there !== undefined) {
      this.kept.delete(key);
      this.kept.set(key, there);
      return there;
    }
    const layer = this.layerOf(of);
    if (of.head === "mean") return this.keep(key, yield* this.meanMap(of, layer));
    const isPart = wanted !== null && layer.stored[of.item]!.storage === "factored";
    const map = yield* headMap(this.carried, of.item, layer, of.head, isPart ? wanted : undefined);
    return isPart ? map : this.keep(key, map);
  }

  private keep(key: string, map: HeadMap): HeadMap {
    this.drop(key); // another question may have made it meanwhile
    this.kept.set(key, map);
    this.n_bytes += this.bytesOf(map);
    for (const oldest of this.kept.keys()) {
      if (this.n_bytes <= this.room || oldest === key) break;
      this.drop(oldest);
    }
    return map;
  }

  private drop(key: string): void {
    const map = this.kept.get(key);
    if (map !== undefined && this.kept.delete(key)) this.n_bytes -= this.bytesOf(map);
  }

  /** What a map takes beside the page's block, in which dense numbers lie anyway. */
  private bytesOf(map: HeadMap): number {
    return map.weights.buffer === this.carried.numbers ? 0 : map.weights.byteLength;
  }

  private *meanMap(of: MapOf, layer: Layer): Work<HeadMap> {
    let mean: HeadMap | null = null;
    for (let head = 0; head < layer.n_heads; head++) {
      const map: HeadMap = yield* this.map({ ...of, head }, null);
      mean ??= {
        ...map,
        weights: new Float32Array(map.weights.length),
        from: map.from.slice(),
        to: map.to.slice(),
        lse: null,
        sink: new Float32Array(map.n_queries),
        rounding: map.rounding === null ? null : new Float32Array(map.n_queries),
      };
      addShare(mean, map, 1 / layer.n_heads);
      yield;
    }
    return mean!;
  }

  private layerOf(of: MapOf): Layer {
    const layer = layerOf(this.carried, of);
    if (layer === undefined) throw new Error(`the page has no layer ${of.layer} of ${of.kind} attention with ${of.quantity}`);
    return layer;
  }

  /** One in how many queries is read: all of them, unless that takes long and the tile has fewer rows than the map. */
  private everyOf(ask: TileAsk, height: number): number {
    const { of, part, look } = ask;
    const layer = this.layerOf(of);
    const kept = this.kept.has(nameOf(of));
    if (ask.exact || kept || of.head === "mean" || layer.stored[of.item]!.storage !== "factored" || height === 0) return 1;
    const queries = (look.queries[part.rows[1] - 1]?.[1] ?? 0) - (look.queries[part.rows[0]]?.[0] ?? 0);
    const n_keys = positionsOf(this.carried, of.item, of.kind).keys.length;
    return Math.max(1, Math.min(Math.floor(queries / height), Math.ceil((queries * n_keys * layer.d_head) / PATIENCE)));
  }

  /** The queries of some rows, one in so many. */
  private wantedOf(look: Look, rows: readonly [number, number], every: number): Wanted {
    const [first, end] = [look.queries[rows[0]]?.[0] ?? 0, look.queries[rows[1] - 1]?.[1] ?? 0];
    const isMost = every === 1 && 2 * (rows[1] - rows[0]) > look.queries.length;
    return isMost ? null : (query) => query >= first && query < end && query % every === 0;
  }
}

function nameOf({ item, quantity, kind, layer, head }: MapOf): string {
  return [item, quantity, kind, layer, head].join();
}

function addShare(mean: HeadMap, map: HeadMap, share: number): void {
  for (let cell = 0; cell < map.weights.length; cell++) mean.weights[cell]! += share * map.weights[cell]!;
  for (let query = 0; query < map.n_queries; query++) {
    mean.sink[query]! += share * map.sink[query]!;
    if (mean.rounding !== null) mean.rounding[query]! += share * (map.rounding?.[query] ?? 0);
    mean.from[query] = Math.min(mean.from[query]!, map.from[query]!);
    mean.to[query] = Math.max(mean.to[query]!, map.to[query]!);
  }
}

/** The largest in size of what is not masked, and where; NaN where nothing is. */
function strongest(numbers: ShownRow["numbers"], masked: Uint8Array): { value: number; at: number | null } {
  let at: number | null = null;
  numbers.forEach((number, place) => {
    if (masked[place] === 0 && (at === null ? !Number.isNaN(number) : Math.abs(number) > Math.abs(numbers[at]!))) at = place;
  });
  return { value: at === null ? NaN : numbers[at]!, at };
}

/** −Σ w log₂ w, in bits; NaN where a weight is no number. */
function entropyOf(weights: Float32Array, sink: number): number {
  const term = (weight: number): number => (weight > 0 || Number.isNaN(weight) ? -weight * Math.log2(weight) : 0);
  return weights.reduce((sum, weight) => sum + term(weight), term(sink));
}
