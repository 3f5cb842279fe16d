// What is shown of a map: special tokens hidden, pieces merged into words. It is what attlas::view shows, and a file of
// both's results, view.golden.json, holds the two together.

import type { Token } from "./data.ts";
import type { HeadMap } from "./weights.ts";
import { visibleText } from "./text.ts";

/** Positions along an axis from the first to before the second. */
export type Range = readonly [number, number];

export interface ViewOptions {
  /** Leave special tokens out. */
  hideSpecial: boolean;
  /** Leave the silence that was added after a sound out. */
  hideSilence?: boolean;
  /** Merge the pieces of a word: sum over its keys, mean over its queries. */
  words: boolean;
  /** The rows shown, by the position of their token; a word is shown where all its pieces lie in the range. */
  rows?: Range;
  /** The columns shown, as `rows`. */
  columns?: Range;
}

/** What stands along one axis of the picture. */
export interface Axis {
  labels: string[];
  /** The tokens behind each label. */
  groups: number[][];
  special: boolean[];
}

/** A map as it is drawn; rows are queries, columns are keys. */
export interface ShownMap {
  queries: Axis;
  keys: Axis;
  /** [queries, keys] */
  weights: Float32Array;
  /** 1 where no query of the row may look at any key of the column. [queries, keys] */
  masked: Uint8Array;
  /** The weight of each row on keys that are not shown. [queries] */
  removed: Float32Array;
  /** The weight of each row that a learned sink takes. [queries] */
  sink: Float32Array;
  /** What rounding left out of each row's sum. [queries] */
  rounding: Float32Array;
}

/** The labels of an axis, and the tokens behind each. */
export function axisOf(tokens: Token[], options: ViewOptions, range: Range = [0, Infinity]): Axis {
  const isHidden = ({ role, silent }: Token): boolean => (options.hideSpecial && role !== "text") || (options.hideSilence === true && silent === true);
  const isShown = (group: number[]): boolean => group[0]! >= range[0] && group.at(-1)! < range[1] && !isHidden(tokens[group[0]!]!);
  const groups = (options.words ? wordsOf(tokens) : tokens.map((_, index) => [index])).filter(isShown);
  return {
    labels: groups.map((group) => visibleText(textOf(group.map((index) => tokens[index]!)))),
    groups,
    special: groups.map((group) => tokens[group[0]!]!.role !== "text" || tokens[group[0]!]!.silent === true),
  };
}

/** The tokens of each word, and each token outside words on its own. */
function wordsOf(tokens: Token[]): number[][] {
  const words: number[][] = [];
  tokens.forEach((token, index) => {
    if (index > 0 && token.word !== null && token.word === tokens[index - 1]!.word) words.at(-1)!.push(index);
    else words.push([index]);
  });
  return words;
}

function textOf(pieces: Token[]): string {
  const whole = pieces.length > 1 ? pieces[0]!.whole : undefined;
  const text = whole ?? pieces.map((piece) => piece.text).join("");
  return pieces[0]!.silent === true ? `(${text})` : text;
}

/** The map as drawn. */
export function shownMap(map: HeadMap, queryTokens: Token[], keyTokens: Token[], options: ViewOptions): ShownMap {
  const queries = axisOf(queryTokens, options, options.rows);
  const keys = axisOf(keyTokens, options, options.columns);
  const [n_rows, n_columns] = [queries.groups.length, keys.groups.length];
  const shown: ShownMap = {
    queries,
    keys,
    weights: new Float32Array(n_rows * n_columns),
    masked: new Uint8Array(n_rows * n_columns),
    removed: new Float32Array(n_rows),
    sink: new Float32Array(n_rows),
    rounding: new Float32Array(n_rows),
  };
  const kept = new Uint8Array(map.n_keys);
  for (const group of keys.groups) for (const key of group) kept[key] = 1;
  queries.groups.forEach((rows, row) => {
    keys.groups.forEach((columns, column) => {
      let sum = 0;
      let open = false;
      for (const query of rows) {
        for (const key of columns) {
          sum += map.weights[query * map.n_keys + key]!;
          open ||= map.masked[query * map.n_keys + key] === 0;
        }
      }
      shown.weights[row * n_columns + column] = sum / rows.length;
      shown.masked[row * n_columns + column] = open ? 0 : 1;
    });
    for (const query of rows) {
      shown.sink[row]! += map.sink[query]! / rows.length;
      shown.rounding[row]! += (map.rounding?.[query] ?? 0) / rows.length;
      for (let key = 0; key < map.n_keys; key++) {
        if (kept[key] === 0) shown.removed[row]! += map.weights[query * map.n_keys + key]! / rows.length;
      }
    }
  });
  return shown;
}

/** The largest weight that is a number; 0 when there is none. */
export function largest(weights: Float32Array): number {
  let max = 0;
  for (const weight of weights) if (weight > max && weight < Infinity) max = weight;
  return max;
}

/** The keys of a row, heaviest first; equals in the order of the text, what is no number last. */
export function ranked(shown: ShownMap, row: number): number[] {
  const n = shown.keys.groups.length;
  const weights = shown.weights.subarray(row * n, (row + 1) * n);
  const rank = (key: number): number => (Number.isNaN(weights[key]!) ? -1 : weights[key]!);
  return [...weights.keys()].sort((a, b) => rank(b) - rank(a) || a - b);
}

/** The queries of a column, heaviest first, as `ranked`; those that may not look at the key last. */
export function rankedQueries(shown: ShownMap, column: number): number[] {
  const n = shown.keys.groups.length;
  const rank = (row: number): number => {
    const cell = row * n + column;
    if (shown.masked[cell] === 1) return -2;
    return Number.isNaN(shown.weights[cell]!) ? -1 : shown.weights[cell]!;
  };
  return [...shown.queries.groups.keys()].sort((a, b) => rank(b) - rank(a) || a - b);
}
