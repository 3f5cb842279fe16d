// Which heads look most at what is chosen, and which queries at a key.

import assert from "node:assert/strict";
import { test } from "node:test";

import { byStrength, strengthOf } from "../src/ranking.ts";
import { rankedQueries, type ShownMap } from "../src/view.ts";

const axis = (n: number) => ({ labels: Array.from({ length: n }, (_, i) => `t${i}`), groups: Array.from({ length: n }, (_, i) => [i]), special: Array<boolean>(n).fill(false) });

/** Three queries and three keys; the first query may not look at the last key. */
const SHOWN: ShownMap = {
  queries: axis(3),
  keys: axis(3),
  weights: Float32Array.of(0.75, 0.25, 0, 0.125, 0.375, 0.5, 0.25, 0.625, 0.125),
  masked: Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0, 0),
  removed: new Float32Array(3),
  sink: new Float32Array(3),
  rounding: new Float32Array(3),
};

test("a chosen cell asks for its weight, a query for its largest, a key for the mean of those that may look at it", () => {
  assert.deepEqual(strengthOf(SHOWN, { row: 1, column: 2 }), { weight: 0.5, key: null });
  assert.deepEqual(strengthOf(SHOWN, { row: 2, column: null }), { weight: 0.625, key: 1 });
  assert.deepEqual(strengthOf(SHOWN, { row: null, column: 2 }), { weight: 0.3125, key: null });
  assert.ok(Number.isNaN(strengthOf(SHOWN, { row: 0, column: 2 }).weight), "a masked cell has none");
});

test("heads are ranked by strength, equals by layer and head, those without last", () => {
  const one = (layer: number, head: number, weight: number) => ({ layer, head, weight, key: null });
  const sorted = byStrength([one(0, 0, NaN), one(1, 1, 0.5), one(0, 1, 0.5), one(1, 0, 0.75), one(2, 0, 0)]);
  assert.deepEqual(sorted.map(({ layer, head }) => `L${layer}H${head}`), ["L1H0", "L0H1", "L1H1", "L2H0", "L0H0"]);
});

test("queries of a key are ranked by their weight on it, those that may not look at it last", () => {
  assert.deepEqual(rankedQueries(SHOWN, 0), [0, 2, 1]);
  assert.deepEqual(rankedQueries(SHOWN, 2), [1, 2, 0]);
});
