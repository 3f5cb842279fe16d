// How much weight lies on keys that are not shown.

import type { Look, MapOf, Source, Stretch } from "./source.ts";

/** Rows, and stretches of hidden keys, that are asked for at once. */
const [MOST_ROWS, MOST_GAPS] = [4096, 4096];
/** Cells that are added up, and pairs of a row and a key behind them: about a second of a server's time. */
const [MOST_CELLS, MOST_PAIRS] = [1 << 24, 1 << 28];

/** The keys between those that are shown. */
export function hiddenStretches(keys: readonly Stretch[], n_keys: number): Stretch[] {
  const gaps: Stretch[] = [];
  let next = 0;
  for (const [from, to] of [...keys, [n_keys, n_keys] as const]) {
    if (from > next) gaps.push([next, from]);
    next = to;
  }
  return gaps;
}

/** The weight on keys that are not shown, the mean over the rows shown; null where it would take too long. */
export async function removedOf(source: Source, of: MapOf, look: Look, n_keys: number, signal: AbortSignal): Promise<number | null> {
  const gaps = hiddenStretches(look.keys, n_keys);
  const n_rows = look.queries.length;
  if (gaps.length === 0 || n_rows === 0) return 0;
  if (n_rows * gaps.length > MOST_CELLS || n_rows * n_keys > MOST_PAIRS) return null;
  const ask = { of, look: { queries: look.queries, keys: gaps }, pool: "max", values: "number", exact: true } as const;
  let sum = 0;
  for (let top = 0; top < n_rows; top += MOST_ROWS) {
    for (let left = 0; left < gaps.length; left += MOST_GAPS) {
      const [bottom, right] = [Math.min(n_rows, top + MOST_ROWS), Math.min(gaps.length, left + MOST_GAPS)];
      const part = { rows: [top, bottom], columns: [left, right] } as const;
      const tile = await source.tile({ ...ask, part, height: bottom - top, width: right - left }, signal);
      sum += tile.values.reduce((sum, weight) => sum + weight, 0);
    }
  }
  return sum / n_rows;
}
