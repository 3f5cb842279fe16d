// What is said of a row, and how far its numbers let colours reach.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Model } from "../src/model.ts";
import { restOf } from "../src/reading.ts";
import type { Line, Tile, TileAsk } from "../src/source.ts";
import { stateFromHash } from "../src/state.ts";
import { SIDE, Thumbnails } from "../src/thumbnails.ts";
import { atlasOf, MemorySource, tokensOf, type MemoryHead } from "./memory.ts";

const lineOf = (weights: number[], n_open = weights.length): Line => ({ weights: Float32Array.from(weights), masked: Uint8Array.from(weights, (_, place) => (place < n_open ? 0 : 1)), removed: 0, sink: 0, rounding: 0, entropy: 0 });
const restOfLine = (line: Line, weigh = true): string => restOf({ line, hidden: "", weigh }, null);

test("keys that a query may not look at are not counted among those left over", () => {
  const first = Array.from({ length: 20 }, (_, place) => (place === 0 ? 1 : 0));
  assert.equal(restOfLine(lineOf(first, 1)), "All weights of the row sum to 1 · entropy 0.00 bits.");
  const ten = Array.from({ length: 20 }, (_, place) => (place < 10 ? 0.1 : 0));
  assert.match(restOfLine(lineOf(ten, 10)), /^2 other keys together 0\.2000 · all weights/);
  assert.match(restOfLine(lineOf(ten, 9)), /^1 other key 0\.1000 · /);
  assert.equal(restOfLine(lineOf(ten, 9), false), "1 other key not listed.");
  assert.equal(restOfLine(lineOf(ten, 8), false), "");
});

test("a number that is read beside pictures of some rows lets the scale reach to it, until the look changes", async () => {
  const heads: MemoryHead[] = [0, 1].map((head) => ({ kind: "decoder", layer: 2, head, causal: true, queries: [[1, 0], [1, 0]], keys: [[0, 1], [0, 1]] }));
  const atlas = atlasOf([{ source: tokensOf([]), target: tokensOf(["a", "b"]), predicted: [] }], heads);
  /** Reads the last row alone: weights of a half. */
  class Sampled extends MemorySource {
    override async tile(ask: TileAsk): Promise<Tile> {
      return { ...(await super.tile(ask)), top: 0.5, every: 2 };
    }
  }
  const model = new Model(atlas);
  const thumbnails = new Thumbnails(new Sampled(atlas, heads), model);
  const [state, head] = [stateFromHash("", atlas), { layer: 2, head: 1 }];
  const { signal } = new AbortController();
  assert.equal(thumbnails.saw(head, Float32Array.of(0.25)), false); // its picture, which is not there yet, will be drawn with it
  await thumbnails.want(state, { width: SIDE, height: SIDE }, () => {}, signal);
  assert.deepEqual([thumbnails.top(), thumbnails.topOf(head)], [0.5, 0.5]);
  assert.equal(thumbnails.saw(head, Float32Array.of(0.5000001, 0)), false);
  assert.equal(thumbnails.saw(head, Float32Array.of(NaN, -1, 0.25)), true);
  assert.equal(thumbnails.saw(head, Float32Array.of(1)), false);
  assert.deepEqual([thumbnails.top(), thumbnails.topOf(head), thumbnails.topOf({ layer: 2, head: 0 })], [1, 1, 0.5]);
  await thumbnails.want({ ...state, pool: "mean" }, { width: SIDE, height: SIDE }, () => {}, signal);
  assert.equal(thumbnails.top(), 0.5);
});
