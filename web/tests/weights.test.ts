// The browser's arithmetic, against values that NumPy computed (make_golden.py).

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Carried, Group, Layer, Scoring, Token } from "../src/data.ts";
import { Numbers } from "../src/carried.ts";
import { headMap, isMasked, scoreOf } from "../src/weights.ts";
import { finished } from "../src/work.ts";
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
function sourceOf(layer: Golden): { source: Carried; layer: Layer } {
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
  const numbers = Float32Array.from([...layer.numbers, ...Array<number>(rests).fill(0)], (value) => value ?? -Infinity).buffer;
  const source = { items: [item], layers: [described], numbers } as Partial<Carried> as Carried;
  return { source, layer: described };
}

for (const [name, expected] of Object.entries(golden as unknown as Record<string, Golden>)) {
  test(`weights of ${name} are those of NumPy`, () => {
    const { source, layer } = sourceOf(expected);
    const size = expected.query_positions.length * expected.key_positions.length;
    for (let head = 0; head < expected.n_heads; head++) {
      const map = finished(headMap(source, 0, layer, head));
      assert.equal(map.weights.length, size);
      map.weights.forEach((weight, cell) => {
        const right = expected.weights[head * size + cell]!;
        assert.ok(Math.abs(weight - right) < 1e-6, `head ${head}, cell ${cell}: ${weight}, not ${right}`);
        if (isMasked(map, Math.floor(cell / map.n_keys), cell % map.n_keys)) assert.equal(weight, 0);
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
  const map = finished(headMap(source, 0, layer, 1));
  const { score, digits } = scoreOf(map, 2, 1)!;
  assert.equal(digits, 2);
  assert.ok(Math.abs(Math.exp(score - map.lse![2]!) - map.weights[2 * 4 + 1]!) < 1e-7);
  assert.ok(Math.abs(score) <= 1.5, "a capped score stays under its cap");
  assert.equal(scoreOf(map, 2, 3), null);
});

test("a score made of digits that were shown has as many digits as these allow", () => {
  const map = { n_queries: 1, n_keys: 4, weights: Float32Array.of(0.5, 0.0123, 0.0012, 0.0001), from: Int32Array.of(0), to: Int32Array.of(4) };
  const scored = { ...map, lse: Float64Array.of(1), sink: new Float32Array(1), rounding: new Float32Array(1) };
  assert.deepEqual([0, 1, 2, 3].map((key) => scoreOf(scored, 0, key)!.digits), [2, 2, 1, 0]);
  assert.equal(scoreOf({ ...scored, rounding: null }, 0, 3)!.digits, 2);
});

test("a head of which digits travelled has these, and knows what they leave out of each row's sum", () => {
  // classes 0 and 44 (four to seven times 0.0001), codes 1 and 0; rows of 3 in two bits: [0, 0.0005], then nothing
  const lengths = Array.from({ length: 56 }, (_, ofClass) => (ofClass === 0 || ofClass === 44 ? 1 : 0));
  const bits = Uint8Array.of(0b1001_0100, 0, 0, 0, 0, 0, 0, 0); // 10 | 0 | 1 01 | 00
  const numbers = new Uint8Array(16);
  numbers.set(bits);
  const layer = { kind: "encoder", index: 0, n_heads: 1, n_kv_heads: 1, d_head: 0, scoring: null } as unknown as Layer;
  const tokens = [0, 1, 2].map((position): Token => ({ text: "t", role: "text", word: null, position }));
  const item = { source: { text: "", n_padding: 0, tokens: tokens }, target: { text: "", n_padding: 0, tokens: tokens.slice(0, 2) }, predicted: [] };
  const cross = { ...layer, kind: "cross", stored: [{ storage: "coded", lengths, heads: [0], sums: null, lse: null, lse_short: false }] } as Layer;
  const map = finished(headMap({ items: [item], layers: [cross], numbers: numbers.buffer } as Partial<Carried> as Carried, 0, cross, 0));
  assert.deepEqual([...map.weights], [...Float32Array.of(0, 0.0005, 0, 0, 0, 0)]);
  assert.deepEqual([...map.rounding!], [...Float32Array.of(1 - 0.0005, 0)]);
});

/** A layer of one query and three keys on numbers that a test writes. */
function one(bytes: Uint8Array, more: Partial<Layer>): { source: Carried; layer: Layer } {
  const tokens = [0, 1, 2].map((position): Token => ({ text: "t", role: "text", word: null, position }));
  const item = { source: { text: "", n_padding: 0, tokens }, target: { text: "", n_padding: 0, tokens: tokens.slice(0, 1) }, predicted: [] };
  const layer = { kind: "cross", index: 0, n_heads: 1, n_kv_heads: 1, d_head: 2, scoring: null, stored: [], ...more } as Layer;
  return { source: { items: [item], layers: [layer], numbers: bytes.buffer } as Partial<Carried> as Carried, layer };
}

/** Bits as bytes, the first of a byte its highest, and some more that a reader looks ahead at. */
function packed(bits: string, n_bytes = 16): Uint8Array {
  return Uint8Array.from({ length: n_bytes }, (_, place) => parseInt(bits.slice(8 * place, 8 * place + 8).padEnd(8, "0"), 2));
}

test("numbers that are no weights have their signs and stand in their layer's unit", () => {
  // classes 0 and 44 have the codes 0 and 1; three numbers, in two bits, then −0.0005, 0, 0.0004 of the unit
  const lengths = Array.from({ length: 56 }, (_, ofClass) => (ofClass === 0 || ofClass === 44 ? 1 : 0));
  const bytes = packed(["11", "1", "01", "1", "0", "1", "00", "0"].join(""));
  const stored = [{ storage: "coded" as const, lengths, heads: [0], signed: true, sums: null, lse: null, lse_short: false }];
  const { source, layer } = one(bytes, { quantity: "effect", unit: 1000, stored });
  const map = finished(headMap(source, 0, layer, 0));
  [-0.5, 0, 0.4].forEach((number, cell) => assert.ok(Math.abs(map.weights[cell]! - number) < 1e-7, `${map.weights[cell]}`));
  assert.equal(map.rounding, null);
});

test("queries and keys stand beside weights, times their steps, or are not there", () => {
  const bytes = new Uint8Array(64);
  const in14 = (numbers: number[]): string => numbers.map((number) => (number & 0x3fff).toString(2).padStart(14, "0")).join("");
  bytes.set(packed(in14([1, -1]), 8), 0);
  bytes.set(packed(in14([2, 3, 4, 5, 5, 6]), 24), 8);
  new Float32Array(bytes.buffer).set([0.5, 0.25, 0.125, 0.0625], 8); // the step of the query, and those of keys
  const group: Group = { form: "rounded", bits: 14, queries: 0, query_steps: 32, keys: 8, key_steps: 36, exact: [] };
  const stored = [{ storage: "dense" as const, weights: 48, lse: null, groups: [group] }];
  const { source, layer } = one(bytes, { stored, scoring: { scale: 1, visibility: {}, query_offset: 0 } });
  const of = { item: 0, quantity: "weight", kind: "cross", layer: 0, head: 0 } as const;
  const { query, key } = finished(new Numbers(source).terms(of, 0, 0));
  assert.deepEqual([[...query!], [...key!]], [[0.5, -0.5], [0.5, 0.75]]);
  const without = { ...source, layers: [{ ...layer, stored: [{ storage: "dense" as const, weights: 48, lse: null }] }] };
  assert.match(finished(new Numbers(without).terms(of, 0, 0)).missing, /without queries and keys/);
});

test("heads that will be asked for are decoded ahead as far as there is room, and no others", () => {
  // classes 0 and 44 have the codes 0 and 1; one number in two bits, then 0.0005 or 0.0004
  const lengths = Array.from({ length: 56 }, (_, ofClass) => (ofClass === 0 || ofClass === 44 ? 1 : 0));
  const [five, four] = [packed("01" + "101"), packed("01" + "100")];
  const read = (room: number, soon: { item: number; quantity: string; kind: "cross" | "encoder" }): number[] => {
    const stored = [{ storage: "coded" as const, lengths, heads: [0, 16], sums: null, lse: null, lse_short: false }];
    const { source } = one(Uint8Array.of(...five, ...five), { n_heads: 2, n_kv_heads: 2, stored });
    const numbers = new Numbers(source, room);
    finished(numbers.ahead(soon));
    new Uint8Array(source.numbers).set([...four, ...four]); // what is decoded by now stays
    const look = { queries: [[0, 1]], keys: [[0, 1], [1, 2], [2, 3]] } as const;
    return [0, 1].map((head) => finished(numbers.row({ ...soon, kind: "cross", layer: 0, head }, look, 0)).weights[0]! * 1e4).map(Math.round);
  };
  const soon = { item: 0, quantity: "weight", kind: "cross" } as const;
  assert.deepEqual(read(1 << 20, soon), [5, 5]);
  assert.deepEqual(read(8, soon), [5, 4]);
  assert.deepEqual(read(1 << 20, { ...soon, kind: "encoder" }), [4, 4]);
});
