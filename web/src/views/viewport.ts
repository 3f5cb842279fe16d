// Which part of a map is seen, and where its cells lie on screen. Places count along an axis; a part may begin within a cell.

import { firstAfter, type Axis } from "../look.ts";
import type { Stretch } from "../source.ts";

/** What is seen of one axis, in places, from the first to before the second; not whole numbers while it is moved. */
export interface Seen {
  from: number;
  to: number;
}

/** Fewer cells than so many along an axis are not asked to fill a map. */
const FEWEST = 3;

/** The part of an axis that holds some tokens; all of it, where none are named or shown. */
export function seenOf(axis: Axis, tokens: Stretch | null): Seen {
  const whole = { from: 0, to: axis.stretches.length };
  if (tokens === null) return whole;
  let from = firstAfter(axis, tokens[0]);
  if (from > 0 && axis.stretches[from - 1]![1] > tokens[0]) from--;
  const to = firstAfter(axis, tokens[1] - 1);
  return to > from ? { from, to } : whole;
}

/** The tokens of what is seen, whole places alone; null where that is all. */
export function tokensOf(axis: Axis, seen: Seen): Stretch | null {
  const n = axis.stretches.length;
  const [from, to] = [Math.max(0, Math.round(seen.from)), Math.min(n, Math.round(seen.to))];
  if (n === 0 || (from === 0 && to === n)) return null;
  return [axis.stretches[Math.min(from, n - 1)]![0], axis.stretches[Math.max(from + 1, to) - 1]![1]];
}

/** The part after a zoom by `factor` (more than 1: nearer) that leaves the place at a share of it where it is. */
export function zoomed({ from, to }: Seen, factor: number, at: number, n: number): Seen {
  const length = Math.min(n, Math.max(Math.min(FEWEST, n), (to - from) / factor));
  const place = from + at * (to - from);
  return within({ from: place - at * length, to: place + (1 - at) * length }, n);
}

/** The part moved by so many places, as far as there are any. */
export function moved({ from, to }: Seen, by: number, n: number): Seen {
  return within({ from: from + by, to: to + by }, n);
}

/** The part moved so far that a place lies in it. */
export function revealing({ from, to }: Seen, place: number, n: number): Seen {
  const beyond = place < from ? place - from : place + 1 > to ? place + 1 - to : 0;
  return beyond === 0 ? { from, to } : moved({ from, to }, beyond, n);
}

function within({ from, to }: Seen, n: number): Seen {
  const length = Math.min(n, to - from);
  const start = Math.min(Math.max(0, from), n - length);
  return { from: start, to: start + length };
}

/** How large cells can be: as large as the room allows, square unless one axis is much the longer. */
export function cellSize(n_rows: number, n_columns: number, width: number, height: number, largest: number): { x: number; y: number } {
  const [x, y] = [width / Math.max(1, n_columns), height / Math.max(1, n_rows)];
  const square = Math.min(x, y, largest);
  const whole = square >= 4 ? Math.floor(square) : square;
  const readable = 16;
  return { x: Math.max(whole, Math.min(x, readable)), y: Math.max(whole, Math.min(y, readable)) };
}
