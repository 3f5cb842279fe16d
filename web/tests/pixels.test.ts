// Cells painted one by one: where each lies, what is left out, what is pale, where numbers stand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ramp } from "../src/colours.ts";
import { paintMap, type Place } from "../src/pixels.ts";
import type { Tile } from "../src/source.ts";

const TILE: Tile = { height: 2, width: 3, values: Float32Array.of(0.5, 0, 1, 0.25, 0.75, 0.1), masked: Uint8Array.of(0, 0, 1, 0, 0, 0), top: 1, every: 1 };

/** What is painted: each rectangle with its strength, each text. */
function painted(place: Partial<Place>, canvas = { width: 150, height: 100 }, ramp = new Ramp("linear", "positive", 1)): { rects: number[][]; texts: string[] } {
  const [rects, texts]: [number[][], string[]] = [[], []];
  const context = {
    canvas,
    globalAlpha: 1,
    fillRect: (...box: number[]) => rects.push([...box, context.globalAlpha]),
    fillText: (text: string) => texts.push(text),
  };
  paintMap(context as unknown as CanvasRenderingContext2D, TILE, ramp, { left: 0, top: 0, width: 150, height: 100, ratio: 1, isEach: true, ...place });
  assert.equal(context.globalAlpha, 1);
  return { rects, texts };
}

test("each cell that is not masked is painted in its place, with a gap and its number", () => {
  const { rects, texts } = painted({ font: "sans-serif" });
  assert.deepEqual(rects.map((rect) => rect.slice(0, 4)), [[0, 0, 49, 49], [50, 0, 49, 49], [0, 50, 49, 49], [50, 50, 49, 49], [100, 50, 49, 49]]);
  assert.deepEqual(texts, [".5000", ".0000", ".2500", ".7500", ".1000"]);
  assert.deepEqual(painted({}).texts, [], "without a font there are none");
  assert.deepEqual(painted({ font: "sans-serif" }, undefined, new Ramp("rank", "positive", 1)).texts, [], "nor of ranks");
});

test("cells beyond the canvas are left out", () => {
  const { rects } = painted({ left: -60, top: -55 }, { width: 30, height: 40 });
  assert.deepEqual(rects.map(([x, y]) => [x, y]), [[-10, -5]]);
});

test("rows after the strong ones are pale", () => {
  assert.deepEqual(painted({ strong: 1 }).rects.map(([, y, , , alpha]) => [y! > 0, alpha! < 1]), [[false, false], [false, false], [true, true], [true, true], [true, true]]);
});
