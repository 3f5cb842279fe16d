// Which heads look most at what is chosen, and which queries at a key.

import assert from "node:assert/strict";
import { test } from "node:test";

import { byStrength } from "../src/ranking.ts";
import { ranked } from "../src/reading.ts";
import { rowSaid } from "../src/said.ts";

test("heads are ranked by strength, equals by layer and head, those without last", () => {
  const one = (layer: number, head: number, value: number) => ({ layer, head, value, at: null });
  const sorted = byStrength([one(0, 0, NaN), one(1, 1, 0.5), one(0, 1, -0.5), one(1, 0, 0.75), one(2, 0, 0)]);
  assert.deepEqual(sorted.map(({ layer, head }) => `L${layer}H${head}`), ["L1H0", "L0H1", "L1H1", "L2H0", "L0H0"]);
});

test("keys of a query are ranked by weight, equals in the order of the text, those that it may not look at last", () => {
  assert.deepEqual(ranked({ weights: Float32Array.of(0.125, 0.125, 0.25, 0.5), masked: new Uint8Array(4) }), [3, 2, 0, 1]);
  assert.deepEqual(ranked({ weights: Float32Array.of(0, 0.5, NaN), masked: Uint8Array.of(1, 0, 0) }), [1, 2, 0]);
});

test("beside a weight stand its rank among the keys that the query may look at, the row's sum, its sink and its entropy", () => {
  const line = { weights: Float32Array.of(0.25, 0.5, 0), masked: Uint8Array.of(0, 0, 1), removed: 0, sink: 0.25, rounding: 0, entropy: 1.5 };
  assert.equal(rowSaid(line, 0), "rank 2 of 2 · row sums to 1.0000 · sink 0.2500 · entropy 1.50 bits");
});
