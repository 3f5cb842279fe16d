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
  return n === 0 ? null : { numbers: Float32Array.from(sums, (sum) => sum / n), masked };
}

/** What stands in the cells of a whole row. */
export function valuesOf(row: ShownRow, values: Values): Float32Array {
  switch (values) {
    case "number":
      return row.numbers;
    case "share": {
      const top = row.numbers.reduce((most, number) => (Math.abs(number) < Infinity ? Math.max(most, Math.abs(number)) : most), 0);
      return row.numbers.map((number) => (top > 0 ? number / top : number));
    }
    case "rank": {
      const open = row.numbers.filter((_, column) => row.masked[column] === 0).sort();
      const others = open.length - 1;
      return row.numbers.map((number) => (Number.isNaN(number) ? NaN : others < 1 ? 1 : below(open, number) / others));
    }
  }
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
  private n_columns: number;
  private pool: Pool;
  private values: Float32Array; // [height, width]
  private counts: Uint32Array; // of cells that are not masked, [height, width]
  private top = 0;

  constructor(height: number, width: number, n_columns: number, pool: Pool) {
    [this.height, this.width, this.n_columns, this.pool] = [height, width, n_columns, pool];
    this.values = new Float32Array(height * width);
    this.counts = new Uint32Array(height * width);
  }

  /** Takes a row into a line of pixels; `offset` is the first column's place in the row. */
  take(y: number, row: ShownRow, values: Float32Array, offset: number): void {
    const { width, n_columns } = this;
    for (let column = 0; column < n_columns; column++) {
      if (row.masked[offset + column] === 1) continue;
      const size = Math.abs(row.numbers[offset + column]!);
      if (size > this.top && size < Infinity) this.top = size;
      const pixel = y * width + Math.floor((column * width) / n_columns);
      const [before, value] = [this.values[pixel]!, values[offset + column]!];
      const isFirst = this.counts[pixel]!++ === 0;
      if (this.pool === "mean") this.values[pixel] = before + value;
      // what is not a number stays it
      else if (isFirst || !(Math.abs(value) <= Math.abs(before) || Number.isNaN(before))) this.values[pixel] = value;
    }
  }

  finish(): Omit<Tile, "every"> {
    const { height, width, values, counts, top } = this;
    if (this.pool === "mean") counts.forEach((n, pixel) => n > 1 && (values[pixel]! /= n));
    return { height, width, values, masked: Uint8Array.from(counts, (n) => (n === 0 ? 1 : 0)), top };
  }
}
