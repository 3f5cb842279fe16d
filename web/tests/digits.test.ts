// Weights by the digits that are shown of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { offBy, weightOf } from "../src/digits.ts";
import { formatWeight } from "../src/text.ts";

test("numbers stand for weights by size, each shown with digits of its own", () => {
  const shown = new Set<string>();
  let last = -1;
  for (let number = 0; number <= 13_690; number++) {
    const weight = weightOf(number);
    if (number > 90 * 5) {
      assert.ok(weight > last || number > 3640 && number <= 3690, `${number}: ${weight} after ${last}`);
      shown.add(formatWeight(weight));
    }
    last = weight;
  }
  // 0.00005 to 0.000099 are numbers that nothing has
  assert.ok(shown.size > 13_690 - 450 - 50, `${shown.size} ways`);
  assert.deepEqual([0, 3691, 13_690].map((number) => formatWeight(weightOf(number))), ["0.0000", "0.0001", "1.0000"]);
  assert.deepEqual([3690 - 90 + 1, 3690 - 50].map((number) => formatWeight(weightOf(number))), ["1.0·10⁻⁵", "4.9·10⁻⁵"]);
});

test("numbers below 10⁻⁴² stand for those that 32 bits hold", () => {
  for (const steps of [1, 2, 7, 71, 72, 700]) {
    const weight = steps * 2 ** -149;
    const [digits, power] = weight.toExponential(1).split("e");
    const number = Math.round(90 * (Number(power) + 45) + 10 * Number(digits) - 9);
    assert.equal(formatWeight(weightOf(number)), formatWeight(weight), `${steps} times the smallest`);
  }
});

test("a weight of which digits travelled may be off by half of its last", () => {
  assert.deepEqual([0.5, 0.0001].map(offBy), [0.00005, 0.00005]);
  assert.ok(Math.abs(offBy(1.2e-7) / 0.5e-8 - 1) < 1e-9 && Math.abs(offBy(1e-7) / 0.5e-8 - 1) < 1e-9);
});
