// What a sentence of the description opens.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Atlas, Sentence } from "../src/data.ts";
import { headingOf, isOf, placeOf } from "../src/description.ts";

const ATLAS = { layers: [{ kind: "cross", index: 2, n_heads: 8 }] } as unknown as Atlas;
const SENTENCE: Sentence = { text: "L2H4 puts 41 % on the end token.", kind: "cross", layer: 2, head: 4 };

test("of several texts it is said which one the sentences are about", () => {
  const description = { item: 1, sentences: [], caption: "" };
  const of = (n: number): string => headingOf({ items: Array(n).fill({}), description } as unknown as Atlas);
  assert.equal(of(5), "In words, text 1 alone");
  assert.equal(of(1), "In words");
});

test("a sentence is about the chosen head alone where it names that head", () => {
  assert.equal(isOf(SENTENCE, { kind: "cross", layer: 2, head: 4 }), true);
  assert.equal(isOf(SENTENCE, { kind: "encoder", layer: 2, head: 4 }), false);
  assert.equal(isOf({ ...SENTENCE, head: null }, { kind: "cross", layer: 2, head: 4 }), false);
});

test("a sentence opens the head, the layer or the kind that it is about", () => {
  assert.deepEqual(placeOf(SENTENCE, ATLAS), { kind: "cross", layer: 2, head: 4 });
  assert.deepEqual(placeOf({ ...SENTENCE, head: null }, ATLAS), { kind: "cross", layer: 2 });
  assert.deepEqual(placeOf({ ...SENTENCE, layer: null, head: null }, ATLAS), { kind: "cross" });
});

test("a sentence about all kinds, or about what the page does not hold, opens nothing that is not there", () => {
  assert.equal(placeOf({ ...SENTENCE, kind: null }, ATLAS), null);
  assert.equal(placeOf({ ...SENTENCE, kind: "encoder" }, ATLAS), null);
  assert.deepEqual(placeOf({ ...SENTENCE, layer: 7 }, ATLAS), { kind: "cross" });
  assert.deepEqual(placeOf({ ...SENTENCE, head: 8 }, ATLAS), { kind: "cross", layer: 2 });
});
