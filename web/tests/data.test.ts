// What travels in the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bytesOf, tilesOf, type Atlas } from "../src/data.ts";

test("a page of tiles says how many weights are behind a cell, of each kind that has them", () => {
  const atlas = { pooled: { source: 4, target: 1 } } as Atlas;
  assert.match(tilesOf(atlas, "encoder"), /up to 4 × 4 weights \(queries × keys\)/);
  assert.match(tilesOf(atlas, "cross"), /up to 1 × 4 weights/);
  assert.equal(tilesOf(atlas, "decoder"), "");
});

test("a page of every weight says nothing of tiles", () => {
  assert.equal(tilesOf({} as Atlas, "encoder"), "");
});

test("two signs are 13 bits", () => {
  // 0x1234 = 51 · 91 + 19, and 0x15 of the next 13; the places of signs go on behind ", & and <
  assert.deepEqual([...new Uint8Array(bytesOf("6W"))], [0x34]);
  assert.deepEqual([...new Uint8Array(bytesOf("6W8!"))], [0x34, 0xb2, 0x02]);
  assert.equal(bytesOf("").byteLength, 0);
});
