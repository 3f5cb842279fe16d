// Attention weights of one head: the formula of attlas, computed in the page.
//
//   weight(q, k) = exp(score(q, k) − lse(q)),   score = softcap(scale · Q[q]·K[k]) + bias(q, k), −∞ where masked
//
// Where queries and keys are rounded, lse is that of the rounded scores, and weights whose digits would differ are given. Of some maps
// the digits that are shown travelled, and nothing else.

import { BitReader } from "./bits.ts";
import { keyTokens, queryTokens } from "./data.ts";
import type { Bias, Exact, Group, Layer, Scoring, Source, Stored } from "./data.ts";
import { offBy, takeWeights, weightOf } from "./digits.ts";

/** The step of log-sum-exps that make scores of weights of which only digits travelled. */
const LSE_STEP = 1 / 512;

/** One head's map; rows are queries, columns are keys. */
export interface HeadMap {
  n_queries: number;
  n_keys: number;
  /** Weights, or what the layer's quantity says. [n_queries, n_keys] */
  weights: Float32Array;
  /** 1 where the query may not look at the key. [n_queries, n_keys] */
  masked: Uint8Array;
  /** ln Σ exp(score); null for arrays that came without. [n_queries] */
  lse: Float64Array | null;
  /** The weight that a learned sink takes from each row. [n_queries] */
  sink: Float32Array;
  /** What rounding left out of each row's sum, where only digits of its weights travelled; null where all of them did. [n_queries] */
  rounding: Float32Array | null;
}

/** The map of one head for one item of the batch. */
export function headMap(source: Source, item: number, layer: Layer, head: number): HeadMap {
  const tokens = source.items[item]!;
  const queries = queryTokens(tokens, layer.kind).tokens.map((token) => token.position);
  const keys = keyTokens(tokens, layer.kind).tokens.map((token) => token.position);
  const [n_queries, n_keys] = [queries.length, keys.length];
  const stored = layer.stored[item]!;
  const lse = lseOf(source.numbers, stored, head * n_queries, n_queries);
  const masked = maskOf(layer.scoring, queries, keys, lse);
  const sink = new Float32Array(n_queries);
  const score = layer.scoring?.sinks?.[head] ?? -Infinity;
  if (score > -Infinity && lse !== null) for (let q = 0; q < n_queries; q++) sink[q] = Math.exp(score - lse[q]!);
  const map = { n_queries, n_keys, masked, lse, sink, rounding: null };
  switch (stored.storage) {
    case "dense": {
      const weights = new Float32Array(source.numbers, stored.weights + 4 * head * n_queries * n_keys, n_queries * n_keys);
      return { ...map, weights };
    }
    case "coded": {
      const reader = new BitReader(source.numbers, stored.heads[head]!);
      const weights = takeWeights(reader, stored, n_queries, n_keys, layer.unit ?? 1);
      if (layer.quantity !== undefined) return { ...map, weights };
      const sums = stored.sums === null ? null : new Float32Array(source.numbers, stored.sums + 4 * head * n_queries, n_queries);
      return { ...map, weights, rounding: roundingOf(weights, sums, sink) };
    }
    case "factored": {
      const rows = rowsOf(source.numbers, stored.groups, layer, head, n_queries, n_keys);
      return { ...map, weights: factoredWeights(layer, head, queries, keys, rows, lse!, masked) };
    }
  }
}

/** What the digits of each row leave out of its sum; without `sums`, that of a row with weights is 1 with its sink. [n_queries] */
function roundingOf(weights: Float32Array, sums: Float32Array | null, sink: Float32Array): Float32Array {
  const n_keys = weights.length / sink.length;
  return sink.map((ofSink, row) => {
    const sum = weights.subarray(row * n_keys, (row + 1) * n_keys).reduce((total, weight) => total + weight, 0);
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
interface Rows {
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

function rowsOf(numbers: ArrayBuffer, groups: Group[], layer: Layer, head: number, n_queries: number, n_keys: number): Rows {
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

/** A query and a key as their head multiplies them, right to 0.005 of their score; null where the page has none. [d_head] */
export function queryAndKey(source: Source, item: number, layer: Layer, head: number, query: number, key: number): { query: Float32Array; key: Float32Array } | null {
  const { groups } = layer.stored[item]!;
  if (groups === undefined) return null;
  const [tokens, d] = [source.items[item]!, layer.d_head];
  const n = [queryTokens(tokens, layer.kind).tokens.length, keyTokens(tokens, layer.kind).tokens.length] as const;
  const { queries, keys, rounded } = rowsOf(source.numbers, groups, layer, head, ...n);
  const rowOf = (rows: Float32Array | Int16Array, row: number, steps: Float32Array | undefined): Float32Array => {
    const step = steps?.[row] ?? 1;
    return Float32Array.from(rows.subarray(row * d, (row + 1) * d), (number) => number * step);
  };
  return { query: rowOf(queries, query, rounded?.querySteps), key: rowOf(keys, key, rounded?.keySteps) };
}

/** The score behind a weight, and how many digits after its point are known; null where it is not known or masked. */
export function scoreOf(map: HeadMap, query: number, key: number): { score: number; digits: number } | null {
  const weight = map.weights[query * map.n_keys + key]!;
  if (map.lse === null || map.masked[query * map.n_keys + key] === 1 || !(weight > 0)) return null;
  const score = Math.log(weight) + map.lse[query]!;
  const off = map.rounding === null ? 0 : offBy(weight) / weight;
  return { score, digits: off <= 0.005 ? 2 : off <= 0.05 ? 1 : 0 };
}

/** Which cells no weight can reach. [n_queries, n_keys] */
function maskOf(scoring: Scoring | null, queries: number[], keys: number[], lse: Float64Array | null): Uint8Array {
  const masked = new Uint8Array(queries.length * keys.length);
  if (scoring === null) return masked;
  const { before, after } = scoring.visibility;
  queries.forEach((query, row) => {
    const position = query + scoring.query_offset;
    const first = before === undefined ? 0 : position - before;
    const last = after === undefined ? Infinity : position + after;
    const blind = lse !== null && lse[row] === -Infinity;
    keys.forEach((key, column) => {
      if (blind || key < first || key > last) masked[row * keys.length + column] = 1;
    });
  });
  return masked;
}

function factoredWeights(
  layer: Layer,
  head: number,
  queries: number[], // positions, [n_queries]
  keys: number[], // positions, [n_keys]
  rows: Rows,
  lse: Float64Array, // [n_queries]
  masked: Uint8Array, // [n_queries, n_keys]
): Float32Array {
  const [n_keys, d_head, scoring] = [keys.length, layer.d_head, layer.scoring!];
  const weights = new Float32Array(queries.length * n_keys); // [n_queries, n_keys]
  const scores = new Float64Array(n_keys);
  const sink = scoring.sinks?.[head] ?? -Infinity;
  for (let row = 0; row < queries.length; row++) {
    const position = queries[row]! + scoring.query_offset;
    for (let column = 0; column < n_keys; column++) {
      scores[column] = -Infinity;
      if (masked[row * n_keys + column] === 1) continue;
      let dot = 0;
      for (let i = 0; i < d_head; i++) dot += rows.queries[row * d_head + i]! * rows.keys[column * d_head + i]!;
      if (rows.rounded !== null) dot *= rows.rounded.querySteps[row]! * rows.rounded.keySteps[column]!;
      scores[column] = scoreOfDot(scoring, head, dot, keys[column]! - position);
    }
    const sum = rows.rounded === null ? lse[row]! : logSumExp(scores, sink);
    for (let column = 0; column < n_keys; column++) {
      if (masked[row * n_keys + column] === 0) weights[row * n_keys + column] = Math.exp(scores[column]! - sum);
    }
  }
  if (rows.rounded !== null) setExact(weights, rows.rounded.exact, n_keys);
  return weights;
}

function scoreOfDot(scoring: Scoring, head: number, dot: number, offset: number): number {
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
