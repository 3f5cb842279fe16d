// Measured effects of heads in words: signs, what was measured, heads of which nothing was.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Atlas } from "../src/data.ts";
import { effectDetail, effectNumber, effectOf, effectText, hasEffects } from "../src/effects.ts";

const ATLAS = {
  effects: {
    method: "zero",
    metric: "kl",
    heads: [
      { kind: "cross", layer: 2, head: 4, effect: 0.12, mean_weight: 0.5 },
      { kind: "cross", layer: 2, head: 5, effect: -0.00001 },
    ],
  },
} as unknown as Atlas;

test("a head has the effect that was measured of it, with its sign, metric and method", () => {
  const one = effectOf(ATLAS, "cross", { layer: 2, head: 4 })!;
  assert.equal(effectText(ATLAS, one), "effect +0.1200 (kl, zero)");
  assert.match(effectDetail(ATLAS, one), /less without; beside it, .* 0\.500$/);
  assert.equal(effectNumber(effectOf(ATLAS, "cross", { layer: 2, head: 5 })!), "−1.0·10⁻⁵");
});

test("heads of which nothing was measured have none, and pages without effects have no such order", () => {
  assert.equal(effectOf(ATLAS, "cross", { layer: 1, head: 4 }), undefined);
  assert.equal(effectOf(ATLAS, "encoder", { layer: 2, head: 4 }), undefined);
  assert.deepEqual([hasEffects(ATLAS, "cross"), hasEffects(ATLAS, "encoder"), hasEffects({} as Atlas, "cross")], [true, false, false]);
});
