// What is said of a row, and how far its numbers let colours reach.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Colours } from "../src/colours.ts";
import { knownOf } from "../src/known.ts";
import { Model } from "../src/model.ts";
import { coloursSaid } from "../src/overview.ts";
import { restOf } from "../src/reading.ts";
import { Recent } from "../src/recent.ts";
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

test("a chosen key that is masked has no rank, and what its row sums to is said once", () => {
  const line = lineOf([0.5, 0.5, 0], 2);
  assert.equal(restOf({ line, hidden: "", weigh: true }, 1), "Rank 1 of 2 · all weights of the row sum to 1 · entropy 0.00 bits.");
  assert.equal(restOf({ line, hidden: "", weigh: true }, 2), "All weights of the row sum to 1 · entropy 0.00 bits.");
});

const EFFECT = { name: "effect", words: "measured effect", unit: "nats", signed: true };
const WEIGHT = { name: "weight", words: "weight", unit: "", signed: false };

test("the bar of a quantity's largest number is full however small that is, and a weight's at 1, on every scale", () => {
  for (const scale of ["linear", "log", "row", "rank"] as const) {
    assert.equal(new Colours(scale, "shared", EFFECT, 0.002).full, 0.002);
    assert.equal(new Colours(scale, "shared", WEIGHT, 0.25).full, 1);
  }
  assert.equal(new Colours("linear", "own", EFFECT, 0).full, 1);
});

test("what colours reach to is said in the quantity's words, of either sign where it has both, and never as 0 where it is small", () => {
  assert.equal(coloursSaid({ scale: "linear", range: "shared" }, WEIGHT, 0.9876), "One colour scale for all: 0 to the largest weight, 0.988.");
  assert.equal(coloursSaid({ scale: "linear", range: "shared" }, EFFECT, 0.00002), "One colour scale for all: 0 to the largest measured effect in size, either way from 0, 2·10⁻⁵.");
  assert.equal(coloursSaid({ scale: "row", range: "shared" }, EFFECT, 1), "Each row of a map runs from 0 to its own largest measured effect in size, either way from 0.");
});

test("a number of another quantity is read in its layer's unit, with its sign", async () => {
  const text = tokensOf(["a", "b"]);
  const head: MemoryHead = { kind: "encoder", layer: 0, head: 0, quantity: "effect", queries: [[1], [1]], keys: [[1], [1]], numbers: [[-0.00001, 0.0002], [0, 0]] };
  const atlas = atlasOf([{ source: text, target: tokensOf([]), predicted: [] }], [head], { quantities: [EFFECT] });
  atlas.layers[0]!.unit = 0.001;
  const [source, model] = [new MemorySource(atlas, [head]), new Model(atlas)];
  const state = stateFromHash("", atlas);
  const axes = model.axes(state);
  const selection = { row: 0, column: 1 };
  const now = { state, model, source, sources: [source], axes, of: model.of(state), lines: new Recent(source), selection, chosen: selection, colours: new Colours("linear", "shared", EFFECT, 0.0002), thumbnails: new Thumbnails(source, model) };
  const { line, write } = await knownOf(now, new AbortController().signal);
  assert.deepEqual([...line.weights].map(write), ["−0.0000100", "+0.0002000"]);
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
