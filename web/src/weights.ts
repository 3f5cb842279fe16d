// Attention weights of one head: the formula of attlas, computed in the page.
//
//   weight(q, k) = exp(score(q, k) − lse(q)),   score = softcap(scale · Q[q]·K[k]) + bias(q, k), −∞ where masked
//
// Where queries and keys are rounded, lse is that of the rounded scores, and weights whose digits would differ are given. Of some maps
// the digits that are shown travelled, and nothing else.

import { BitReader } from "./bits.ts";
import { keyTokens, quantityOf, queryTokens } from "./data.ts";
import type { Atlas, Bias, Carried, Exact, Group, Kind, Layer, Scoring, Stored, Tokens } from "./data.ts";
import { offBy, takeWeights, weightOf } from "./digits.ts";
import type { Work } from "./work.ts";

/** The step of log-sum-exps that make scores of weights of which only digits travelled. */
const LSE_STEP = 1 / 512;

/** Multiplications, or steps of a like price, between two breaths. */
export const BREATH = 1 << 20;

/** One head's map; rows are queries, columns are keys. */
export interface HeadMap {
  n_queries: number;
  n_keys: number;
  /** Weights, or what the layer's quantity says. [n_queries, n_keys] */
  weights: Float32Array;
  /** The first key that each query may look at, and the one before which it ends. [n_queries] each */
  from: Int32Array;
  to: Int32Array;
  /** ln Σ exp(score); null for arrays that came without. [n_queries] */
  lse: Float64Array | null;
  /** The weight that a learned sink takes from each row. [n_queries] */
  sink: Float32Array;
  /** What rounding left out of each row's sum, where only digits of its weights travelled; null where all of them did. [n_queries] */
  rounding: Float32Array | null;
}

/** The map of one head for one item of the batch. Where queries and keys travelled, rows that are not wanted stay 0. */
export function* headMap(carried: Carried, item: number, layer: Layer, head: number, wanted: (query: number) => boolean = () => true): Work<HeadMap> {
  const { queries, keys } = positionsOf(carried, item, layer.kind);
  const [n_queries, n_keys] = [queries.length, keys.length];
  const stored = layer.stored[item]!;
  const lse = lseOf(carried.numbers, stored, head * n_queries, n_queries);
  const { from, to } = openKeys(layer.scoring, queries, keys, lse);
  const sink = new Float32Array(n_queries);
  const score = layer.scoring?.sinks?.[head] ?? -Infinity;
  if (score > -Infinity && lse !== null) for (let q = 0; q < n_queries; q++) sink[q] = Math.exp(score - lse[q]!);
  let weights: Float32Array;
  let rounding: Float32Array | null = null;
  switch (stored.storage) {
    case "dense":
      weights = new Float32Array(carried.numbers, stored.weights + 4 * head * n_queries * n_keys, n_queries * n_keys);
      break;
    case "coded": {
      weights = yield* takeWeights(new BitReader(carried.numbers, stored.heads[head]!), stored, n_queries, n_keys, layer.unit);
      const sums = stored.sums === null ? null : new Float32Array(carried.numbers, stored.sums + 4 * head * n_queries, n_queries);
      // a layer of another quantity has no sums to be right in
      if (quantityOf(layer) === "weight") rounding = roundingOf(weights, sums, sink);
      break;
    }
    case "factored": {
      const rows = rowsOf(carried.numbers, stored.groups, layer, head, n_queries, n_keys);
      weights = yield* factoredWeights(layer, head, queries, keys, rows, { from, to, lse: lse! }, wanted);
    }
  }
  return { n_queries, n_keys, weights, from, to, lse, sink, rounding };
}

/** Where the tokens of both axes stand in the text, padding included. */
export function positionsOf(atlas: Atlas, item: number, kind: Kind): { queries: number[]; keys: number[] } {
  const tokens = atlas.items[item]!;
  const of = (axis: Tokens): number[] => axis.tokens.map((token) => token.position);
  return { queries: of(queryTokens(tokens, kind)), keys: of(keyTokens(tokens, kind)) };
}

/** Whether the query may not look at the key. */
export function isMasked(map: HeadMap, query: number, key: number): boolean {
  return key < map.from[query]! || key >= map.to[query]!;
}

/** What the digits of each row leave out of its sum; without `sums`, that of a row with weights is 1 with its sink. [n_queries] */
function roundingOf(weights: Float32Array, sums: Float32Array | null, sink: Float32Array): Float32Array {
  const n_keys = weights.length / sink.length;
  return sink.map((ofSink, row) => {
    let sum = 0;
    for (let cell = row * n_keys; cell < (row + 1) * n_keys; cell++) sum += weights[cell]!;
    return sum === 0 ? 0 : (sums?.[row] ?? 1 - ofSink) - sum;
  });
}

/** The log-sum-exps of some rows, with all digits that are stored; null for arrays that came without. */
function lseOf(numbers: ArrayBuffer, stored: Stored, first: number, n: number): Float64Array | null {
  if (stored.lse === null) return null;
  if (stored.storage === "coded" && stored.lse_short) return Float64Array.from(new Int16Array(numbers, stored.lse + 2 * first, n), (steps) => steps * LSE_STEP);
  const lse = Float64Array.from(new Float32Array(numbers, stored.lse + 4 * first, n));
  if (stored.storage !== "factored") return lse;
  const rest = new Float32Array(numbers, stored.lse_rest + 4 * first, n);
  return lse.map((value, row) => value + rest[row]!);
}

/** A head's queries and keys as they travelled. */
export interface Rows {
  queries: Float32Array | Int16Array; // [n_queries, d_head]
  keys: Float32Array | Int16Array; // [n_keys, d_head]
  /** What rows of whole numbers are multiplied by, and the weights that travelled as they are; null of floats. */
  rounded: { querySteps: Float32Array; keySteps: Float32Array; exact: ExactWeights } | null;
}

interface ExactWeights {
  counts: Uint16Array; // [n_queries]
  keys: Uint16Array;
  numbers: Uint16Array;
}

/** The queries of a head, and the keys of its group, where they travelled. */
export function rowsOf(numbers: ArrayBuffer, groups: Group[], layer: Layer, head: number, n_queries: number, n_keys: number): Rows {
  const sharing = layer.n_heads / layer.n_kv_heads;
  const group = groups[Math.floor(head / sharing)]!;
  const [place, d] = [head % sharing, layer.d_head];
  if (group.form === "f32") {
    const queries = new Float32Array(numbers, group.queries + 4 * place * n_queries * d, n_queries * d);
    return { queries, keys: new Float32Array(numbers, group.keys, n_keys * d), rounded: null };
  }
  const { bits } = group;
  return {
    queries: wholeNumbers(numbers, group.queries, place * n_queries * d, n_queries * d, bits),
    keys: wholeNumbers(numbers, group.keys, 0, n_keys * d, bits),
    rounded: {
      querySteps: new Float32Array(numbers, group.query_steps + 4 * place * n_queries, n_queries),
      keySteps: new Float32Array(numbers, group.key_steps, n_keys),
      exact: exactOf(numbers, group.exact[place], n_queries),
    },
  };
}

/** `n` whole numbers of so many bits, the first of an array left out. */
function wholeNumbers(numbers: ArrayBuffer, start: number, first: number, n: number, bits: number): Int16Array {
  const reader = new BitReader(numbers, start);
  reader.skip(first * bits);
  return new Int16Array(n).map(() => reader.takeSigned(bits));
}

function exactOf(block: ArrayBuffer, exact: Exact | undefined, n_queries: number): ExactWeights {
  if (exact === undefined) return { counts: new Uint16Array(n_queries), keys: new Uint16Array(0), numbers: new Uint16Array(0) };
  const { n, counts, keys, numbers } = exact;
  return {
    counts: new Uint16Array(block, counts, n_queries),
    keys: new Uint16Array(block, keys, n),
    numbers: new Uint16Array(block, numbers, n),
  };
}

/** The score behind a weight, and how many digits after its point are known; null where it is not known or masked. */
export function scoreOf(map: HeadMap, query: number, key: number): { score: number; digits: number } | null {
  const weight = map.weights[query * map.n_keys + key]!;
  if (map.lse === null || isMasked(map, query, key) || !(weight > 0)) return null;
  const score = Math.log(weight) + map.lse[query]!;
  const off = map.rounding === null ? 0 : offBy(weight) / weight;
  return { score, digits: off <= 0.005 ? 2 : off <= 0.05 ? 1 : 0 };
}

/** The keys that each query may look at; keys stand in the order of their positions, so they are a stretch. */
function openKeys(scoring: Scoring | null, queries: number[], keys: number[], lse: Float64Array | null): { from: Int32Array; to: Int32Array } {
  const [from, to] = [new Int32Array(queries.length), new Int32Array(queries.length).fill(keys.length)];
  if (scoring === null) return { from, to };
  const { before, after } = scoring.visibility;
  queries.forEach((query, row) => {
    const position = query + scoring.query_offset;
    if (before !== undefined) from[row] = firstAtLeast(keys, position - before);
    if (after !== undefined) to[row] = firstAtLeast(keys, position + after + 1);
    if (lse !== null && lse[row] === -Infinity) to[row] = from[row]!;
  });
  return { from, to };
}

/** How many of some rising numbers are below another. */
function firstAtLeast(numbers: number[], other: number): number {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle]! < other) low = middle + 1;
    else high = middle;
  }
  return low;
}

function* factoredWeights(
  layer: Layer,
  head: number,
  queries: number[], // positions, [n_queries]
  keys: number[], // positions, [n_keys]
  rows: Rows,
  { from, to, lse }: { from: Int32Array; to: Int32Array; lse: Float64Array }, // [n_queries] each
  wanted: (query: number) => boolean,
): Work<Float32Array> {
  const [n_keys, scoring] = [keys.length, layer.scoring!];
  const weights = new Float32Array(queries.length * n_keys); // [n_queries, n_keys]
  const scores = new Float64Array(n_keys);
  const sink = scoring.sinks?.[head] ?? -Infinity;
  let paid = 0;
  for (let row = 0; row < queries.length; row++) {
    if (!wanted(row)) continue;
    const [first, end] = [from[row]!, to[row]!];
    rowScores(scores, rows, row, first, end, layer.d_head);
    const position = queries[row]! + scoring.query_offset;
    for (let column = first; column < end; column++) scores[column] = scoreOfDot(scoring, head, scores[column]!, keys[column]! - position);
    const sum = rows.rounded === null ? lse[row]! : logSumExp(scores.subarray(first, end), sink);
    for (let column = first; column < end; column++) weights[row * n_keys + column] = Math.exp(scores[column]! - sum);
    paid += (end - first) * (layer.d_head + 16);
    if (paid > BREATH) {
      paid = 0;
      yield;
    }
  }
  if (rows.rounded !== null) setExact(weights, rows.rounded.exact, n_keys);
  return weights;
}

/** The products of a query with keys. */
function rowScores(scores: Float64Array, rows: Rows, row: number, first: number, end: number, d_head: number): void {
  const { queries, keys, rounded } = rows;
  const query = queries.subarray(row * d_head, (row + 1) * d_head);
  for (let column = first; column < end; column++) {
    let dot = 0;
    for (let i = 0, at = column * d_head; i < d_head; i++, at++) dot += query[i]! * keys[at]!;
    if (rounded !== null) dot *= rounded.querySteps[row]! * rounded.keySteps[column]!;
    scores[column] = dot;
  }
}

/** The score of a product of a query and a key `offset` positions after it: scaled, capped, biased. */
export function scoreOfDot(scoring: Scoring, head: number, dot: number, offset: number): number {
  const { softcap } = scoring;
  let score = scoring.scale * dot;
  if (softcap !== undefined) score = softcap * Math.tanh(score / softcap);
  return score + biasOf(scoring.bias, head, offset);
}

function logSumExp(scores: Float64Array, sink: number): number {
  const top = scores.reduce((most, score) => Math.max(most, score), sink);
  if (top === -Infinity) return top;
  return top + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), Math.exp(sink - top)));
}

/** Puts the weights that travelled as they are in their places. [n_queries, n_keys] */
function setExact(weights: Float32Array, exact: ExactWeights, n_keys: number): void {
  let next = 0;
  exact.counts.forEach((count, row) => {
    for (const end = next + count; next < end; next++) weights[row * n_keys + exact.keys[next]!] = weightOf(exact.numbers[next]!);
  });
}

/** The number added to the score of a key `offset` positions after the query. */
export function biasOf(bias: Bias | undefined, head: number, offset: number): number {
  switch (bias?.type) {
    case "alibi":
      return (bias.slopes[head] ?? -Infinity) * offset;
    case "relative": {
      const column = Math.min(Math.max(offset - bias.first, 0), bias.n_offsets - 1);
      return bias.table[head * bias.n_offsets + column] ?? -Infinity;
    }
    default:
      return 0;
  }
}
