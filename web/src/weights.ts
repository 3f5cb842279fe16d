// Attention weights of one head: the formula of attlas, computed in the page.
//
//   weight(q, k) = exp(score(q, k) − lse(q)),   score = softcap(scale · Q[q]·K[k]) + bias(q, k), −∞ where masked
//
// Where queries and keys are rounded to 16 bits, lse is that of the rounded scores, and weights whose digits would differ are given.

import { denseWeights, keyTokens, queryTokens } from "./data.ts";
import type { Bias, Exact, Group, Layer, Scoring, Source, Stored } from "./data.ts";

/** One head's map; rows are queries, columns are keys. */
export interface HeadMap {
  n_queries: number;
  n_keys: number;
  /** [n_queries, n_keys] */
  weights: Float32Array;
  /** 1 where the query may not look at the key. [n_queries, n_keys] */
  masked: Uint8Array;
  /** ln Σ exp(score); null for arrays that came without. [n_queries] */
  lse: Float64Array | null;
  /** The weight that a learned sink takes from each row. [n_queries] */
  sink: Float32Array;
}

/** The map of one head for one item of the batch. */
export function headMap(source: Source, item: number, layer: Layer, head: number): HeadMap {
  const tokens = source.items[item]!;
  const queries = queryTokens(tokens, layer.kind).tokens.map((token) => token.position);
  const keys = keyTokens(tokens, layer.kind).tokens.map((token) => token.position);
  const [n_queries, n_keys] = [queries.length, keys.length];
  const stored = layer.stored[item]!;
  const lse = lseOf(source.others, stored, head * n_queries, n_queries);
  const masked = maskOf(layer.scoring, queries, keys, lse);
  const n = n_queries * n_keys;
  const weights =
    stored.storage === "dense"
      ? denseWeights(source.maps, stored.form, stored.weights, head * n, n, layer.n_heads * n)
      : factoredWeights(layer, head, queries, keys, rowsOf(source.others, stored.groups, layer, head, n_queries, n_keys), lse!, masked);
  const sink = new Float32Array(n_queries);
  const score = layer.scoring?.sinks?.[head] ?? -Infinity;
  if (score > -Infinity && lse !== null) for (let q = 0; q < n_queries; q++) sink[q] = Math.exp(score - lse[q]!);
  return { n_queries, n_keys, weights, masked, lse, sink };
}

/** The log-sum-exps of some rows, with all digits that are stored; null for arrays that came without. */
function lseOf(others: ArrayBuffer, stored: Stored, first: number, n: number): Float64Array | null {
  if (stored.lse === null) return null;
  const lse = Float64Array.from(new Float32Array(others, stored.lse + 4 * first, n));
  if (stored.storage === "dense") return lse;
  const rest = new Float32Array(others, stored.lse_rest + 4 * first, n);
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
  weights: Float32Array;
}

function rowsOf(others: ArrayBuffer, groups: Group[], layer: Layer, head: number, n_queries: number, n_keys: number): Rows {
  const sharing = layer.n_heads / layer.n_kv_heads;
  const group = groups[Math.floor(head / sharing)]!;
  const [place, d] = [head % sharing, layer.d_head];
  if (group.form === "f32") {
    const queries = new Float32Array(others, group.queries + 4 * place * n_queries * d, n_queries * d);
    return { queries, keys: new Float32Array(others, group.keys, n_keys * d), rounded: null };
  }
  return {
    queries: new Int16Array(others, group.queries + 2 * place * n_queries * d, n_queries * d),
    keys: new Int16Array(others, group.keys, n_keys * d),
    rounded: {
      querySteps: new Float32Array(others, group.query_steps + 4 * place * n_queries, n_queries),
      keySteps: new Float32Array(others, group.key_steps, n_keys),
      exact: exactOf(others, group.exact[place]!, n_queries),
    },
  };
}

function exactOf(others: ArrayBuffer, { n, counts, keys, weights }: Exact, n_queries: number): ExactWeights {
  return {
    counts: new Uint16Array(others, counts, n_queries),
    keys: new Uint16Array(others, keys, n),
    weights: new Float32Array(others, weights, n),
  };
}

/** The score behind a weight; null where it is not known or masked. */
export function scoreOf(map: HeadMap, query: number, key: number): number | null {
  const weight = map.weights[query * map.n_keys + key]!;
  if (map.lse === null || map.masked[query * map.n_keys + key] === 1 || !(weight > 0)) return null;
  return Math.log(weight) + map.lse[query]!;
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
    for (const end = next + count; next < end; next++) weights[row * n_keys + exact.keys[next]!] = exact.weights[next]!;
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
