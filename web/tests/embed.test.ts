// What the page tells the page around it, and takes from it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chosenIn } from "../src/chosen.ts";
import type { Atlas, Token } from "../src/data.ts";
import { chosenOf, stateAsked, Surroundings } from "../src/embed.ts";
import { Model } from "../src/model.ts";
import { stateFromHash } from "../src/state.ts";

const token = (text: string, position: number, word: number | null = null, role: Token["role"] = "text"): Token => ({ text, role, word, position });

/** "un|happy cat </s>" after one token of padding. */
const TOKENS = [token("un", 1, 0), token("happy", 2, 0), token("cat", 3, 1), token("</s>", 4, null, "special")];

const SOURCE = {
  items: [{ source: { text: "", tokens: TOKENS, n_padding: 1 }, target: { text: "", tokens: [], n_padding: 0 }, predicted: [] }],
  layers: [
    { kind: "encoder", index: 0, n_heads: 2 },
    { kind: "encoder", index: 4, n_heads: 3 },
  ],
  open: { kind: "encoder", layer: 4, head: 2 },
} as unknown as Atlas;
const MODEL = new Model(SOURCE);
const STATE = stateFromHash("", SOURCE);

const ask = (selection: unknown, hash = ""): unknown => {
  const state = stateAsked({ attlas: 1, selection }, stateFromHash(hash, SOURCE), MODEL);
  return state === null ? null : chosenOf(state, MODEL);
};

test("tokens are counted as the recording counts them, padding included", () => {
  assert.deepEqual(chosenOf({ ...STATE, query: 0, key: 2 }, MODEL), { item: 0, kind: "encoder", layer: 4, head: 2, query: 1, key: 3 });
  const asked = stateAsked({ attlas: 1, selection: { query: 1, key: 4 } }, STATE, MODEL)!;
  assert.deepEqual([asked.query, asked.key], [0, 3]);
});

test("a word is named by its first token and found by any; what is hidden is not found", () => {
  const hash = "#kind=encoder&words=merged&special=hide";
  assert.deepEqual(ask({ query: 2, key: 4 }, hash), { item: 0, kind: "encoder", layer: 4, head: 2, query: 1, key: null });
});

test("a choice of what is not there is of what is", () => {
  assert.deepEqual(ask({ kind: "cross", layer: 9, head: 9, item: 3 }), { item: 0, kind: "encoder", layer: 0, head: 1, query: null, key: null });
  assert.equal(ask("L4H2"), null);
  assert.equal(stateAsked("hello", STATE, MODEL), null);
  assert.equal(stateAsked({ selection: { head: 0 } }, STATE, MODEL), null);
});

test("the page around is told once, and a page alone has none", () => {
  const said: unknown[] = [];
  const outer = { postMessage: (message: unknown) => said.push(message) };
  const around = Surroundings.of({ parent: outer } as unknown as Window)!;
  for (const height of [300, 300, 301]) around.tellHeight(height);
  assert.deepEqual(said, [{ attlas: 1, height: 300 }, { attlas: 1, height: 301 }]);
  const alone = { parent: null as unknown };
  alone.parent = alone;
  assert.equal(Surroundings.of(alone as unknown as Window), null);
});

test("of what a page says is chosen six fields are taken, and a page that says otherwise is not heard", () => {
  const chosen = { item: 0, kind: "cross", layer: 2, head: 4, query: 1, key: null };
  assert.deepEqual(chosenIn({ ...chosen, more: "<b>", toString: 1 }), chosen);
  for (const wrong of [{ head: "4" }, { head: -1 }, { layer: 0.5 }, { item: NaN }, { kind: "other" }, { query: undefined }, { key: {} }]) assert.equal(chosenIn({ ...chosen, ...wrong }), null, JSON.stringify(wrong));
  for (const nothing of [null, undefined, 7, "cross", [], () => chosen]) assert.equal(chosenIn(nothing), null);
});
