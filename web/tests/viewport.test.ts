// Which part of a map is seen.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Axis } from "../src/look.ts";
import { isOther } from "../src/size.ts";
import { cellSize, moved, revealing, seenOf, tokensOf, zoomed } from "../src/views/viewport.ts";

/** Places of one token each but for the second, of tokens 1 and 2; token 5 is hidden. */
const AXIS: Axis = { labels: ["a", "b", "c", "d", "e"], stretches: [[0, 1], [1, 3], [3, 4], [4, 5], [6, 7]], special: [], numbers: [] };

test("a part is named by tokens and comes back, and all of it has no name", () => {
  assert.equal(tokensOf(AXIS, { from: 0, to: 5 }), null);
  assert.deepEqual(tokensOf(AXIS, { from: 1, to: 3 }), [1, 4]);
  assert.deepEqual(seenOf(AXIS, [1, 4]), { from: 1, to: 3 });
  assert.deepEqual(seenOf(AXIS, [2, 6]), { from: 1, to: 4 }, "a place of which one token is named is seen");
  assert.deepEqual(seenOf(AXIS, [5, 6]), { from: 0, to: 5 }, "hidden tokens alone are no part");
  assert.deepEqual(seenOf(AXIS, null), { from: 0, to: 5 });
});

test("a zoom leaves what is under the pointer where it is, and stays on the map", () => {
  const seen = zoomed({ from: 0, to: 100 }, 2, 0.25, 100);
  assert.deepEqual(seen, { from: 12.5, to: 62.5 });
  assert.equal(seen.from + 0.25 * (seen.to - seen.from), 25);
  assert.deepEqual(zoomed(seen, 0.1, 0.9, 100), { from: 0, to: 100 });
  assert.deepEqual(zoomed({ from: 0, to: 100 }, 1e6, 1, 100), { from: 97, to: 100 }, "no nearer than three cells");
});

test("moving ends at the map's edge, and what is selected is brought into sight", () => {
  assert.deepEqual(moved({ from: 90, to: 98 }, 5, 100), { from: 92, to: 100 });
  assert.deepEqual(revealing({ from: 10, to: 20 }, 25, 100), { from: 16, to: 26 });
  assert.deepEqual(revealing({ from: 10, to: 20 }, 3, 100), { from: 3, to: 13 });
  assert.deepEqual(revealing({ from: 10, to: 20 }, 12, 100), { from: 10, to: 20 });
});

test("cells are square unless a short axis would have no room for its words", () => {
  assert.deepEqual(cellSize(20, 20, 400, 600, 48), { x: 20, y: 20 });
  assert.deepEqual(cellSize(5, 5, 400, 600, 48), { x: 48, y: 48 });
  assert.deepEqual(cellSize(10, 1500, 600, 700, 48), { x: 0.4, y: 16 });
});

test("a window is drawn for anew that is wider, or has finer pixels, and not where a finger lets bars come and go", () => {
  const size = { width: 390, height: 700, ratio: 2 };
  const bars = 120;
  assert.equal(isOther(size, { ...size, height: 780 }, bars), false);
  assert.equal(isOther(size, { ...size, height: 780 }, 1), true);
  assert.equal(isOther(size, { ...size, width: 391 }, bars), false);
  assert.equal(isOther(size, { ...size, width: 700, height: 390 }, bars), true);
  assert.equal(isOther(size, { ...size, ratio: 3 }, bars), true);
});
