// From a head's map to what is shown of it: places instead of tokens, shares and ranks instead of numbers, pixels instead of cells.

import type { Look, Pool, Tile, Values } from "./source.ts";
import type { HeadMap } from "./weights.ts";

/** One row of a look, over some of its columns. */
export interface ShownRow {
  /** The mean over the row's queries of the sum over the column's keys. */
  numbers: Float32Array;
  /** 1 where no query of the row may look at any key of the column. */
  masked: Uint8Array;
}

/** A row over the columns from the first to before the second; of its queries, those at every so many places. Null where that is none. */
export function shownRow(map: HeadMap, look: Look, row: number, first: number, end: number, every: number): ShownRow | null {
  const [from, to] = look.queries[row]!;
  if (to - from === 1 && isEachToken(look.keys, first, end)) return from % every === 0 ? tokenRow(map, from, look.keys[first]![0], end - first) : null;
  const sums = new Float64Array(end - first);
  const masked = new Uint8Array(end - first).fill(1);
  let n = 0;
  for (let query = from; query < to; query++) {
    if (query % every !== 0) continue;
    n++;
    const [open, shut] = [map.from[query]!, map.to[query]!];
    const start = query * map.n_keys;
    for (let column = first; column < end; column++) {
      const [a, b] = look.keys[column]!;
      if (a >= shut || b <= open) continue;
      masked[column - first] = 0;
      let sum = sums[column - first]!;
      for (let key = a; key < b; key++) sum += map.weights[start + key]!;
      sums[column - first] = sum;
    }
  }
  if (n === 0) return null;
  const numbers = new Float32Array(sums.length);
  for (let place = 0; place < sums.length; place++) numbers[place] = sums[place]! / n;
  return { numbers, masked };
}

/** Whether columns are tokens, each on its own, one after the other; stretches rise and do not overlap. */
export function isEachToken(keys: Look["keys"], first: number, end: number): boolean {
  return end > first && keys[end - 1]![1] - keys[first]![0] === end - first;
}

/** The row of one query over `n` keys from one on. */
function tokenRow(map: HeadMap, query: number, key: number, n: number): ShownRow {
  const start = query * map.n_keys + key;
  const masked = new Uint8Array(n).fill(1);
  masked.fill(0, ...openOf(map, query, key, n));
  return { numbers: map.weights.slice(start, start + n), masked };
}

/** The first of `n` keys from one on that a query may look at, and the one before which it ends. */
function openOf(map: HeadMap, query: number, key: number, n: number): [number, number] {
  const within = (place: number): number => Math.min(n, Math.max(0, place - key));
  return [within(map.from[query]!), Math.max(within(map.from[query]!), within(map.to[query]!))];
}

/** What stands in the cells of a whole row. */
export function valuesOf(row: ShownRow, values: Values): Float32Array {
  switch (values) {
    case "number":
      return row.numbers;
    case "share": {
      const top = largestSize(row.numbers);
      return row.numbers.map((number) => (top > 0 ? number / top : number));
    }
    case "rank": {
      const open = row.numbers.filter((_, column) => row.masked[column] === 0).sort();
      const others = open.length - 1;
      return row.numbers.map((number) => (Number.isNaN(number) ? NaN : others < 1 ? 1 : below(open, number) / others));
    }
  }
}

/** The largest size of some numbers, 0 of none; what is infinite or not a number is left out. */
export function largestSize(numbers: ArrayLike<number>): number {
  let most = 0;
  for (let place = 0; place < numbers.length; place++) {
    const size = Math.abs(numbers[place]!);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

/** How many of rising numbers are smaller. */
function below(rising: Float32Array, number: number): number {
  let [low, high] = [0, rising.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle]! < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Cells become pixels. */
export class Pixels {
  private height: number;
  private width: number;
  private pool: Pool;
  private pixelOf: Uint32Array; // of each column, [n_columns]
  private values: Float32Array; // [height, width]
  private counts: Uint32Array; // of cells that are not masked, [height, width]
  private top = 0;

  constructor(height: number, width: number, n_columns: number, pool: Pool) {
    [this.height, this.width, this.pool] = [height, width, pool];
    this.pixelOf = Uint32Array.from({ length: n_columns }, (_, column) => Math.floor((column * width) / n_columns));
    this.values = new Float32Array(height * width);
    this.counts = new Uint32Array(height * width);
  }

  /** Takes a row into a line of pixels; `offset` is the first column's place in the row. */
  take(y: number, row: ShownRow, values: Float32Array, offset: number): void {
    for (let column = 0; column < this.pixelOf.length; column++) {
      if (row.masked[offset + column] !== 1) this.put(y, column, row.numbers[offset + column]!, values[offset + column]!);
    }
  }

  /** Takes the weights of one query, of columns that are the keys from one on. */
  takeTokens(y: number, map: HeadMap, query: number, key: number): void {
    const start = query * map.n_keys + key;
    const [first, end] = openOf(map, query, key, this.pixelOf.length);
    for (let column = first; column < end; column++) this.put(y, column, map.weights[start + column]!, map.weights[start + column]!);
  }

  private put(y: number, column: number, number: number, value: number): void {
    const size = Math.abs(number);
    if (size > this.top && size < Infinity) this.top = size;
    const pixel = y * this.width + this.pixelOf[column]!;
    const before = this.values[pixel]!;
    const isFirst = this.counts[pixel]!++ === 0;
    if (this.pool === "mean") this.values[pixel] = before + value;
    // what is not a number stays it
    else if (isFirst || !(Math.abs(value) <= Math.abs(before) || Number.isNaN(before))) this.values[pixel] = value;
  }

  finish(): Omit<Tile, "every"> {
    const { height, width, values, counts, top } = this;
    const masked = new Uint8Array(counts.length);
    for (let pixel = 0; pixel < counts.length; pixel++) {
      const n = counts[pixel]!;
      if (n === 0) masked[pixel] = 1;
      else if (this.pool === "mean") values[pixel]! /= n;
    }
    return { height, width, values, masked, top };
  }
}
