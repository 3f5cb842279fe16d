import assert from "node:assert/strict";
import { test } from "node:test";

import type { Standout } from "../src/data.ts";
import { classesOf, scoreDetail, scoreText, dotNote } from "../src/standouts.ts";

const PREVIOUS: Standout = {
  kind: "encoder",
  layer: 1,
  head: 3,
  name: "previous",
  title: "previous token",
  says: "mean weight one position back",
  score: 0.5,
  interval: [0.375, 0.625],
  threshold: 0.5,
  baseline: 0.11,
  n: 8,
  over: "queries",
  usual: false,
};
const BROAD: Standout = { ...PREVIOUS, name: "broad", title: "broad", score: 0.9, threshold: 0.8, baseline: null, usual: true };

test("a score stands beside its baseline and threshold", () => {
  assert.equal(scoreText(PREVIOUS), "previous token 0.50 (baseline 0.11, threshold 0.50)");
  assert.equal(scoreText(BROAD), "broad 0.90 (threshold 0.80)");
});

test("a finding says how sure it is and of how much text", () => {
  assert.equal(scoreDetail(PREVIOUS), "mean weight one position back; 95 % interval 0.38 to 0.63, over 8 queries");
  assert.equal(scoreDetail({ ...PREVIOUS, interval: null }), "mean weight one position back, over 8 queries");
});

test("what most heads do is said once", () => {
  const standouts = [PREVIOUS, BROAD, { ...BROAD, head: 4 }, { ...BROAD, kind: "cross" as const }];
  const note = "A dot marks what a head stands out for. No dot for what more than half of these heads do: broad, 2 heads.";
  assert.equal(dotNote(standouts, "encoder", 1), note);
  assert.equal(dotNote([PREVIOUS], "encoder", 1), "A dot marks what a head stands out for.");
  assert.equal(dotNote(standouts, "decoder", 1), "");
  assert.equal(dotNote([PREVIOUS], "encoder", 5), "A dot marks what a head stands out for in 5 texts together.");
});

test("each class that few heads have is a dot of its own, that of most heads first; beyond seven they share one", () => {
  const heads = (title: string, n: number): Standout[] => Array.from({ length: n }, (_, head) => ({ ...PREVIOUS, title, head }));
  const one = classesOf([...heads("b", 1), ...heads("a", 3), ...heads("c", 1), BROAD], "encoder");
  assert.deepEqual(one.map(({ title, n_heads, dot }) => [title, n_heads, dot]), [["a", 3, 0], ["b", 1, 1], ["c", 1, 2]]);
  const many = classesOf([..."abcdefghi"].flatMap((title) => heads(title, 1)), "encoder");
  assert.deepEqual(many.map(({ dot }) => dot), [0, 1, 2, 3, 4, 5, 6, 7, 7]);
});
