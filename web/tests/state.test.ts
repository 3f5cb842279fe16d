// The state and the URL.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Atlas } from "../src/data.ts";
import { isNamed, neighbour } from "../src/overview.ts";
import { clamped, defaultState, hashFromState, stateFromHash } from "../src/state.ts";

const SOURCE = {
  items: [{}, {}],
  layers: [
    { kind: "encoder", index: 0, n_heads: 2 },
    { kind: "encoder", index: 4, n_heads: 3 },
    { kind: "cross", index: 1, n_heads: 1 },
  ],
  open: { kind: "encoder", layer: 4, head: 2 },
} as unknown as Atlas;

test("a state goes into the URL and comes back", () => {
  const hash = "#item=1&kind=encoder&layer=4&head=1&q=3&k=5&scale=log&range=own&special=hide&words=merged&theme=dark";
  const state = stateFromHash(hash, SOURCE);
  assert.equal(state.layer, 4);
  assert.equal(state.scale, "log");
  assert.equal(hashFromState(state, SOURCE), hash);
});

test("what a URL says wrongly is as by default", () => {
  const state = stateFromHash("#item=99&kind=nothing&layer=-1&head=7&scale=<script>&q=x", SOURCE);
  assert.deepEqual([state.item, state.kind, state.layer, state.head], [1, "encoder", 4, 2]);
  assert.equal(state.scale, "linear");
  assert.equal(state.query, null);
});

test("cross-attention rows are named by the token they predict unless the URL says otherwise", () => {
  assert.equal(stateFromHash("#kind=cross", SOURCE).rows, "predicted");
  assert.equal(stateFromHash("#kind=encoder", SOURCE).rows, "read");
  const state = stateFromHash("#kind=cross&rows=read", SOURCE);
  assert.equal(state.rows, "read");
  assert.equal(hashFromState(state, SOURCE), "#kind=cross&layer=1&head=0&rows=read");
});

test("arrow keys walk through layers with different numbers of heads", () => {
  const places = [[0, 0], [0, 1], [4, 0], [4, 1], [4, 2]].map(([layer, head]) => ({ layer: layer!, head: head! }));
  assert.deepEqual(neighbour(places, 1, "ArrowRight"), { layer: 4, head: 0 });
  assert.deepEqual(neighbour(places, 4, "ArrowUp"), { layer: 0, head: 1 });
  assert.deepEqual(neighbour(places, 0, "ArrowDown"), { layer: 4, head: 0 });
  assert.equal(neighbour(places, 0, "ArrowLeft"), null);
  assert.equal(neighbour(places, 0, "Escape"), null);
});

test("on a page of tiles the URL names tokens, so that it survives another size of tiles", () => {
  const page = (side: number): Atlas => {
    const tokens = Array.from({ length: side }, (_, tile) => ({ text: `${tile}`, role: "text", word: null, position: tile }));
    const items = [{ source: { text: "", tokens, n_padding: 0 }, target: { text: "", tokens: [], n_padding: 0 }, predicted: [] }];
    return { ...SOURCE, items, pooled: { source: 1, target: 1, n_source: 1000, n_target: 0 } } as unknown as Atlas;
  };
  // of 300 tiles, 1000 / 300 tokens each: token 500 lies in tile 150, which begins with it; token 7 in tile 2, with 7
  const hash = "#kind=encoder&layer=4&head=1&q=500&k=7";
  const state = stateFromHash(hash, page(300));
  assert.deepEqual([state.query, state.key], [150, 2]);
  assert.equal(hashFromState(state, page(300)), hash);
  const coarser = stateFromHash(hash, page(100));
  assert.deepEqual([coarser.query, coarser.key], [50, 0]);
  assert.equal(stateFromHash("#kind=encoder&q=1000", page(300)).query, null);
});

test("what is seen, hidden, merged and drawn beside goes into the URL and comes back", () => {
  const hash =
    "#kind=encoder&layer=4&head=2&scale=rank&punctuation=hide&first=hide&from=0&to=1&spans=s3-9+the+cat%7Cs9-12%7Ct0-2+a" +
    "&view=lines&pool=mean&zoom=3-9+0-4&heads=0.1+4.0&most=3&least=0.05&sort=entropy&only=broad&find=L4";
  const state = stateFromHash(hash, SOURCE);
  assert.equal(hashFromState(state, SOURCE), hash);
  assert.deepEqual(state.zoom, { queries: [3, 9], keys: [0, 4] });
  assert.deepEqual(state.spans[0], { of: "source", from: 3, to: 9, name: "the cat" });
  assert.deepEqual(state.heads, [{ layer: 0, head: 1 }, { layer: 4, head: 0 }]);
});

test("spans that overlap, parts that end before they begin, and heads that are not there are left out", () => {
  const state = stateFromHash("#spans=s3-9|s5-7|s9-9|x1-2|t1-2&zoom=9-3+0-4&heads=9.0+0.1&least=7&most=-1", SOURCE);
  assert.deepEqual(state.spans.map(({ of, from }) => `${of} ${from}`), ["source 3", "target 1"]);
  assert.equal(state.zoom, null);
  assert.deepEqual(state.heads, [{ layer: 0, head: 1 }]);
  assert.deepEqual([state.least, state.most], [0.01, 8]);
});

test("a query has one line at least and as many as are drawn at most, and of too many heads beside the chosen one the last stay", () => {
  assert.deepEqual(["0", "5000", "12"].map((most) => stateFromHash(`#most=${most}`, SOURCE).most), [1, 999, 12]);
  const state = stateFromHash("", SOURCE);
  const heads = Array.from({ length: 9 }, () => ({ layer: 4, head: 0 })).concat({ layer: 0, head: 1 });
  assert.deepEqual(clamped({ ...state, heads }, SOURCE).heads.slice(-2), [{ layer: 4, head: 0 }, { layer: 0, head: 1 }]);
  assert.equal(clamped({ ...state, heads }, SOURCE).heads.length, 7);
});

test("a head is found by its whole name, its layer or its number, not by a part of these", () => {
  const found = (asked: string) => ["L1H4", "L11H4", "L2H14"].filter((name) => isNamed(name, asked));
  assert.deepEqual(found("l1h4"), ["L1H4"]);
  assert.deepEqual(found("11.4"), ["L11H4"]);
  assert.deepEqual(found("L1"), ["L1H4"]);
  assert.deepEqual(found(" h4 "), ["L1H4", "L11H4"]);
  assert.deepEqual(found("("), []);
});

test("what a view shows of its own stands in the URL, and what cannot be read is as by default", () => {
  const state = { ...defaultState(SOURCE), over: "kind" as const, order: "dimension" as const, along: "down" as const, page: [25, 12] as const, other: { recording: 1, item: 0, layer: 2, head: "mean" as const, quantity: "norm" } };
  const hash = hashFromState(state, SOURCE);
  assert.match(hash, /over=kind&order=dimension&other=1\.0\.2\.mean\.norm&along=down&page=25\.12/);
  const { over, order, along, page, other } = stateFromHash(hash, SOURCE);
  assert.deepEqual({ over, order, along, page, other }, { over: "kind", order: "dimension", along: "down", page: [25, 12], other: state.other });
  const wrong = stateFromHash("#over=all&order=1&other=1.0.2.-4.norm&along=x&page=1", SOURCE);
  assert.deepEqual([wrong.over, wrong.order, wrong.other, wrong.along, wrong.page], ["head", "size", null, "up", null]);
});
