// Tokens taken together, tokens found, and lines that are drawn.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Axis, Span } from "../src/look.ts";
import { placesWith, spanName, withSpan } from "../src/spans.ts";
import { isRightToLeft } from "../src/text.ts";
import { linesOf } from "../src/views/lines.ts";

const span = (from: number, to: number, of: Span["of"] = "source"): Span => ({ of, from, to, name: "" });

test("a span takes the place of those that it touches, and leaves those of the other text alone", () => {
  const spans = [span(0, 2), span(4, 6), span(1, 3, "target")];
  assert.deepEqual(withSpan(spans, span(1, 5)).map(({ of, from, to }) => `${of[0]}${from}-${to}`), ["s1-5", "t1-3"]);
  assert.deepEqual(withSpan(spans, span(2, 4)).map(({ of, from, to }) => `${of[0]}${from}-${to}`), ["s0-2", "s2-4", "s4-6", "t1-3"]);
  assert.equal(spanName(span(0, 2), " the cat"), "the cat");
  assert.equal(spanName(span(0, 99), "x".repeat(99)), `${"x".repeat(31)}…`);
  assert.equal(spanName(span(0, 99), "😀".repeat(99)), `${"😀".repeat(31)}…`);
});

test("tokens are found whatever their case, and no words find nothing", () => {
  const axis = { labels: ["The", "cat", "then", "ÉTÉ"] } as Axis;
  assert.deepEqual(placesWith(axis, " the"), [0, 2]);
  assert.deepEqual(placesWith(axis, "été"), [3]);
  assert.deepEqual(placesWith(axis, " "), []);
});

test("a text's direction is that of its first letter, special tokens aside", () => {
  assert.equal(isRightToLeft(["<s>", "(", "שלום", "abc"]), true);
  assert.equal(isRightToLeft(["مرحبا"]), true);
  assert.equal(isRightToLeft(["abc", "שלום"]), false);
  assert.equal(isRightToLeft(["12", "…"]), false);
});

test("a query has lines to its largest weights alone, from the least on; signed numbers count by their size", () => {
  const tile = { height: 2, width: 3, values: Float32Array.of(0.5, 0.3, 0.2, -0.9, 0.1, 0.04), masked: Uint8Array.of(0, 0, 0, 0, 1, 0), top: 0.9, every: 1 };
  assert.deepEqual(linesOf(tile, 2, 0.25, "positive").map(({ row, column }) => [row, column]), [[0, 0], [0, 1]]);
  assert.deepEqual(linesOf(tile, 1, 0.01, "either").map(({ row, column }) => [row, column]), [[0, 0], [1, 0]]);
  assert.deepEqual(linesOf(tile, 9, 0.01, "positive").map(({ row, column }) => [row, column]), [[0, 0], [0, 1], [0, 2], [1, 2]], "masked cells have none");
});
