// What stands along an axis: hidden tokens, words, spans, parts of a pair.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Token } from "../src/data.ts";
import { axisOf, isPunctuation, placeAt, segmentsOf } from "../src/look.ts";

const token = (text: string, word: number | null, role: Token["role"] = "text"): Token => ({ text, role, word, position: 0 });
const TOKENS = [token("[CLS]", null, "special"), token("un", 0), token("able", 0), token(" cat", 1), token("[SEP]", null, "special"), token(" dogs", 2), token("!", 3), token("[SEP]", null, "special")];

test("special tokens and punctuation are left out where they are hidden, and the first token", () => {
  assert.deepEqual(axisOf(TOKENS, { hideSpecial: true }).labels, ["un", "able", "cat", "dogs", "!"]);
  assert.deepEqual(axisOf(TOKENS, { hideSpecial: true, hidePunctuation: true }).labels, ["un", "able", "cat", "dogs"]);
  assert.deepEqual(axisOf(TOKENS, { hideFirst: true }).labels[0], "un");
  assert.deepEqual(["!", " ,", "«", "a.", "£", "é"].map((text) => isPunctuation(token(text, 0))), [true, true, true, false, true, false]);
});

test("silence added after a sound is hidden, or shown in brackets", () => {
  const tokens = TOKENS.slice(1, 4).map((token, index) => ({ ...token, word: index, silent: index > 1 }));
  assert.deepEqual(axisOf(tokens, { hideSilence: true }).labels, ["un", "able"]);
  const axis = axisOf(tokens, {});
  assert.deepEqual(axis.labels, ["un", "able", "( cat)"]);
  assert.deepEqual(axis.special, [false, false, true]);
});

test("pieces of a word are one place; a span is, too, and a word ends where a span begins", () => {
  const words = axisOf(TOKENS, { words: true });
  assert.deepEqual(words.labels.slice(0, 3), ["[CLS]", "unable", "cat"]);
  assert.deepEqual(words.stretches.slice(0, 3), [[0, 1], [1, 3], [3, 4]]);
  const spans = [{ of: "source" as const, from: 2, to: 4, name: "the cat" }, { of: "source" as const, from: 5, to: 7, name: "" }];
  const axis = axisOf(TOKENS, { words: true, spans, hideSpecial: true });
  assert.deepEqual(axis.labels, ["un", "the cat", "dogs!"]);
  assert.deepEqual(axis.stretches, [[1, 2], [2, 4], [5, 7]]);
});

test("a word ends where a token of another role begins, whatever number that has", () => {
  const tokens = [token("un", 0), token("able", 0), token("<mask>", 0, "special"), token("<mask>", 0, "special"), token("x", null), token("y", null)];
  const { labels, stretches } = axisOf(tokens, { words: true });
  assert.deepEqual(stretches, [[0, 2], [2, 4], [4, 5], [5, 6]]);
  assert.deepEqual(labels, ["unable", "<mask><mask>", "x", "y"]);
});

test("a place is found by any of its tokens, and none by a token that is not shown", () => {
  const axis = axisOf(TOKENS, { words: true, hideSpecial: true });
  assert.deepEqual([0, 1, 2, 3, 4, 5, 7, null].map((token) => placeAt(axis, token)), [null, 0, 0, 1, null, 2, null, null]);
});

test("the parts of a pair lie between special tokens, and one of them can be shown alone", () => {
  assert.deepEqual(segmentsOf(TOKENS), [[1, 4], [5, 7]]);
  assert.deepEqual(axisOf(TOKENS, { only: [5, 7] }).labels, ["dogs", "!"]);
});

test("a label that stands there more than once has its token's number, and so have all of a long axis", () => {
  const the = ["the", "cat", "saw", "the", "dog"].map((text, word) => token(text, word));
  assert.deepEqual(axisOf(the, {}).numbers, ["0", "", "", "3", ""]);
  assert.deepEqual(axisOf(TOKENS, {}).numbers, ["", "", "", "", "4", "", "", "7"]);
  assert.deepEqual(axisOf([...TOKENS, token("un", 5), token("able", 5)], { words: true }).numbers.filter((number) => number !== ""), ["1–2", "4", "7", "8–9"]);
  const long = Array.from({ length: 101 }, (_, place) => token(`w${place % 100}`, place));
  assert.deepEqual(axisOf(long, {}).numbers.slice(0, 3), ["0", "1", "2"]);
  assert.equal(axisOf(long.slice(0, 100), {}).numbers.join(""), "");
});
