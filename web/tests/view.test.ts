// Special tokens hidden, words merged: numbers worked by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Token } from "../src/data.ts";
import { ranked, shownMap } from "../src/view.ts";
import type { HeadMap } from "../src/weights.ts";

const TOKENS: Token[] = [
  { text: "un", role: "text", word: 0, position: 0 },
  { text: "able", role: "text", word: 0, position: 1 },
  { text: "cat", role: "text", word: 1, position: 2 },
  { text: "</s>", role: "special", word: null, position: 3 },
];

const MAP: HeadMap = {
  n_queries: 4,
  n_keys: 4,
  weights: Float32Array.of(0.5, 0, 0, 0.5, 0.25, 0.25, 0, 0.5, 0.125, 0.125, 0.25, 0.5, 0.25, 0.25, 0.25, 0.25),
  masked: Uint8Array.of(0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  lse: null,
  sink: Float32Array.of(0, 0, 0, 0),
};

test("hiding special tokens removes their rows and columns and keeps count of the mass", () => {
  const shown = shownMap(MAP, TOKENS, TOKENS, { hideSpecial: true, words: false });
  assert.deepEqual(shown.queries.labels, ["un", "able", "cat"]);
  assert.deepEqual([...shown.weights], [0.5, 0, 0, 0.25, 0.25, 0, 0.125, 0.125, 0.25]);
  assert.deepEqual([...shown.removed], [0.5, 0.5, 0.5]);
});

test("silence added after a sound is hidden with the mass it takes, or shown in brackets", () => {
  const tokens = TOKENS.map((token, index) => ({ ...token, role: "text" as const, word: index, silent: index > 1 }));
  const hidden = shownMap(MAP, tokens, tokens, { hideSpecial: false, hideSilence: true, words: false });
  assert.deepEqual(hidden.keys.labels, ["un", "able"]);
  assert.deepEqual([...hidden.removed], [0.5, 0.5]);
  const shown = shownMap(MAP, tokens, tokens, { hideSpecial: false, words: false });
  assert.deepEqual(shown.keys.labels, ["un", "able", "(cat)", "(</s>)"]);
  assert.deepEqual(shown.keys.special, [false, false, true, true]);
});

test("words sum over their keys and average over their queries", () => {
  const shown = shownMap(MAP, TOKENS, TOKENS, { hideSpecial: false, words: true });
  assert.deepEqual(shown.keys.labels, ["unable", "cat", "</s>"]);
  assert.deepEqual([...shown.weights], [0.5, 0, 0.5, 0.25, 0.25, 0.5, 0.5, 0.25, 0.25]);
  assert.equal(shown.masked[1], 1, "no piece of the word may look at the key");
  assert.deepEqual([...shown.removed], [0, 0, 0]);
});

test("keys are ranked by weight, equals in the order of the text", () => {
  const shown = shownMap(MAP, TOKENS, TOKENS, { hideSpecial: false, words: false });
  assert.deepEqual(ranked(shown, 2), [3, 2, 0, 1]);
});
