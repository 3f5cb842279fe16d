// The browser's arithmetic, against values that NumPy computed (make_golden.py).

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Group, Layer, Scoring, Source, Token } from "../src/data.ts";
import { headMap, scoreOf } from "../src/weights.ts";
import golden from "./weights.golden.json";

interface Golden {
  scoring: Scoring;
  n_heads: number;
  n_kv_heads: number;
  d_head: number;
  query_positions: number[];
  key_positions: number[];
  numbers: number[];
  weights: number[];
}

/** A page's data with one cross-attention layer. */
function sourceOf(layer: Golden): { source: Source; layer: Layer } {
  const tokens = (positions: number[]) => ({
    text: "",
    n_padding: 0,
    tokens: positions.map((position): Token => ({ text: `t${position}`, role: "text", word: position, position })),
  });
  const [n_queries, n_keys, d] = [layer.query_positions.length, layer.key_positions.length, layer.d_head];
  const sharing = layer.n_heads / layer.n_kv_heads;
  const firstKey = layer.n_heads * n_queries * d;
  const lse = firstKey + layer.n_kv_heads * n_keys * d;
  const group = (head: number): Group => ({ form: "f32", queries: 4 * head * sharing * n_queries * d, keys: 4 * (firstKey + head * n_keys * d) });
  const groups = Array.from({ length: layer.n_kv_heads }, (_, head) => group(head));
  const described: Layer = {
    kind: "cross",
    index: 0,
    n_heads: layer.n_heads,
    n_kv_heads: layer.n_kv_heads,
    d_head: layer.d_head,
    scoring: layer.scoring,
    stored: [{ storage: "factored", lse: 4 * lse, lse_rest: 4 * layer.numbers.length, groups }],
  };
  const item = { source: tokens(layer.key_positions), target: tokens(layer.query_positions), predicted: [] };
  const rests = layer.n_heads * n_queries; // nothing is left out
  const others = Float32Array.from([...layer.numbers, ...Array<number>(rests).fill(0)], (value) => value ?? -Infinity).buffer;
  const source = { items: [item], layers: [described], maps: new ArrayBuffer(0), others } as Partial<Source> as Source;
  return { source, layer: described };
}

for (const [name, expected] of Object.entries(golden as unknown as Record<string, Golden>)) {
  test(`weights of ${name} are those of NumPy`, () => {
    const { source, layer } = sourceOf(expected);
    const size = expected.query_positions.length * expected.key_positions.length;
    for (let head = 0; head < expected.n_heads; head++) {
      const map = headMap(source, 0, layer, head);
      assert.equal(map.weights.length, size);
      map.weights.forEach((weight, cell) => {
        const right = expected.weights[head * size + cell]!;
        assert.ok(Math.abs(weight - right) < 1e-6, `head ${head}, cell ${cell}: ${weight}, not ${right}`);
        if (map.masked[cell] === 1) assert.equal(weight, 0);
      });
      for (let query = 0; query < map.n_queries; query++) {
        const row = map.weights.subarray(query * map.n_keys, (query + 1) * map.n_keys);
        const sum = row.reduce((total, weight) => total + weight, map.sink[query]!);
        const blind = map.lse![query] === -Infinity;
        assert.ok(Math.abs(sum - (blind ? 0 : 1)) < 1e-5, `head ${head}, query ${query} sums to ${sum} with its sink`);
      }
    }
  });
}

test("a score is the logarithm of the weight plus the row's log-sum-exp, and unknown where masked", () => {
  const { source, layer } = sourceOf((golden as unknown as Record<string, Golden>)["a capped causal window"]!);
  const map = headMap(source, 0, layer, 1);
  const score = scoreOf(map, 2, 1)!;
  assert.ok(Math.abs(Math.exp(score - map.lse![2]!) - map.weights[2 * 4 + 1]!) < 1e-7);
  assert.ok(Math.abs(score) <= 1.5, "a capped score stays under its cap");
  assert.equal(scoreOf(map, 2, 3), null);
});
