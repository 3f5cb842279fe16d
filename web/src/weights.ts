// Attention weights of one head: the formula of attlas, computed in the page.
//
//   weight(q, k) = exp(score(q, k) − lse(q)),   score = softcap(scale · Q[q]·K[k]) + bias(q, k), −∞ where masked

import { keyTokens, queryTokens } from "./data.ts";
import type { Bias, Layer, Scoring, Source, Stored } from "./data.ts";

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
  const lse = lseOf(source.numbers, stored, head * n_queries, n_queries);
  const masked = maskOf(layer.scoring, queries, keys, lse);
  let weights: Float32Array;
  if (stored.storage === "dense") {
    const start = stored.weights + head * n_queries * n_keys;
    weights = source.numbers.subarray(start, start + n_queries * n_keys);
  } else {
    const kv_head = Math.floor(head / (layer.n_heads / layer.n_kv_heads));
    const d = layer.d_head;
    weights = factoredWeights(
      layer.scoring!,
      head,
      queries,
      keys,
      source.numbers.subarray(stored.queries + head * n_queries * d),
      source.numbers.subarray(stored.keys + kv_head * n_keys * d),
      lse!,
      masked,
      d,
    );
  }
  const sink = new Float32Array(n_queries);
  const score = layer.scoring?.sinks?.[head] ?? -Infinity;
  if (score > -Infinity && lse !== null) for (let q = 0; q < n_queries; q++) sink[q] = Math.exp(score - lse[q]!);
  return { n_queries, n_keys, weights, masked, lse, sink };
}

/** The log-sum-exps of some rows, with all digits that are stored; null for arrays that came without. */
function lseOf(numbers: Float32Array, stored: Stored, first: number, n: number): Float64Array | null {
  if (stored.lse === null) return null;
  const lse = Float64Array.from(numbers.subarray(stored.lse + first, stored.lse + first + n));
  if (stored.storage === "dense") return lse;
  const rest = numbers.subarray(stored.lse_rest + first, stored.lse_rest + first + n);
  return lse.map((value, row) => value + rest[row]!);
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
  scoring: Scoring,
  head: number,
  queries: number[], // positions, [n_queries]
  keys: number[], // positions, [n_keys]
  q: Float32Array, // [n_queries, d_head]
  k: Float32Array, // [n_keys, d_head]
  lse: Float64Array, // [n_queries]
  masked: Uint8Array, // [n_queries, n_keys]
  d_head: number,
): Float32Array {
  const weights = new Float32Array(queries.length * keys.length); // [n_queries, n_keys]
  const { softcap } = scoring;
  for (let row = 0; row < queries.length; row++) {
    const position = queries[row]! + scoring.query_offset;
    for (let column = 0; column < keys.length; column++) {
      const cell = row * keys.length + column;
      if (masked[cell] === 1) continue;
      let dot = 0;
      for (let i = 0; i < d_head; i++) dot += q[row * d_head + i]! * k[column * d_head + i]!;
      let score = scoring.scale * dot;
      if (softcap !== undefined) score = softcap * Math.tanh(score / softcap);
      score += biasOf(scoring.bias, head, keys[column]! - position);
      weights[cell] = Math.exp(score - lse[row]!);
    }
  }
  return weights;
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
