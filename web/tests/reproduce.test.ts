// What is copied out of the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Atlas } from "../src/data.ts";
import { commandOf, csvOf, knockOutOf, pythonOf } from "../src/reproduce.ts";
import { stateFromHash } from "../src/state.ts";
import type { ShownMap } from "../src/picture.ts";

const tokens = (text: string) => ({ text, n_padding: 0, tokens: [{ text, role: "text", word: 0, position: 0 }] });
const sourceOf = (text: string, model: string, n_items = 1, method = "greedy"): Atlas =>
  ({
    items: Array.from({ length: n_items }, () => ({ source: tokens(text), target: tokens("t"), predicted: [] })),
    layers: [{ kind: "cross", index: 2, n_heads: 8 }],
    open: { kind: "cross", layer: 2, head: 4 },
    provenance: { model, method },
  }) as unknown as Atlas;

test("a command draws the view; what the shell would read is quoted", () => {
  const source = sourceOf("don't $(rm) it", "the embedded English–French translator");
  const state = stateFromHash("#special=hide&scale=log", source);
  assert.equal(commandOf(state, source), "attlas draw map 'don'\\''t $(rm) it' --kind cross --layer 2 --head 4 --scale log --special hide -o L2H4.svg");
  const lines = stateFromHash("#view=lines&scale=log&rows=read&words=merged", source);
  assert.match(commandOf(lines, sourceOf("a", "org/name")), /^attlas draw lines 'a' --model 'org\/name' .* --words --label-rows read -o/);
});

test("of several texts, or arrays from elsewhere, a recording is named", () => {
  const several = sourceOf("a", "m", 2);
  assert.match(commandOf(stateFromHash("#item=1", several), several), /^attlas draw map run\.safetensors --text 1 --kind/);
  assert.match(pythonOf(stateFromHash("#item=1", several), several), /attlas\.open\("run\.safetensors"\)\nweights = rec\.map\("cross", 2, 4, item=1\)\.weights/);
  const imported = sourceOf("a", "m", 1, "imported");
  assert.match(commandOf(stateFromHash("", imported), imported), /run\.safetensors/);
});

test("Python is given the text as a string that cannot end early", () => {
  const source = sourceOf('a "b" \\ c', "the embedded English–French translator");
  assert.match(pythonOf(stateFromHash("#words=merged", source), source), /attlas\.record\("a \\"b\\" \\\\ c"\)\n.*\.words\(\)\.weights/);
});

test("a table has keys across and queries down, masked cells empty, and no label begins a formula", () => {
  const shown = {
    queries: { labels: ["=1+1", 'say "x"'], groups: [[0], [1]], special: [] },
    keys: { labels: ["a", "b"], groups: [[0], [1]], special: [] },
    weights: Float32Array.of(1, 0, 0.25, 0.75),
    masked: Uint8Array.of(0, 1, 0, 0),
  } as unknown as ShownMap;
  assert.equal(csvOf(shown), '"query \\ key","a","b"\r\n"\'=1+1",1,\r\n"say ""x""",0.25,0.75\r\n');
});

test("a head is knocked out of the same text, or the recording and its model; arrays from elsewhere have no model to ask", () => {
  const embedded = "the embedded English–French translator";
  const of = (source: Atlas): string | null => knockOutOf(stateFromHash("", source), source);
  assert.equal(of(sourceOf("a", embedded)), "attlas ablate 'a' --heads cross:2.4");
  assert.equal(of(sourceOf("a", "org/name", 2)), "attlas ablate run.safetensors --model 'org/name' --heads cross:2.4");
  assert.equal(of(sourceOf("a", "m", 1, "imported")), null);
});
