// The page's source: pictures, rows, columns and ranks of heads, with numbers worked by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Numbers } from "../src/carried.ts";
import type { Carried, Layer, Token } from "../src/data.ts";
import { PageSource } from "../src/page_source.ts";
import type { Look, MapOf, Stretch, TileAsk } from "../src/source.ts";
import { Desk, finished } from "../src/work.ts";
import { serve, type Scope } from "../src/worker.ts";

/** Two heads of four queries and four keys; the first two queries may not look ahead. */
const WEIGHTS = [
  [0.5, 0, 0, 0.5, 0.25, 0.25, 0, 0.5, 0.125, 0.125, 0.25, 0.5, 0.25, 0.25, 0.25, 0.25],
  [1, 0, 0, 0, 0.5, 0.5, 0, 0, 0.25, 0.25, 0.5, 0, 0, 0, 0, 1],
];

const tokens = (n: number): { text: string; n_padding: number; tokens: Token[] } => ({
  text: "",
  n_padding: 0,
  tokens: Array.from({ length: n }, (_, position) => ({ text: `t${position}`, role: "text", word: position, position })),
});

function carried(causal: boolean, quantity?: string): Carried {
  const visibility = causal ? { after: 0 } : {};
  const layer: Layer = {
    kind: "encoder",
    index: 3,
    n_heads: 2,
    n_kv_heads: 2,
    d_head: 0,
    scoring: { scale: 1, visibility, query_offset: 0 },
    stored: [{ storage: "dense", weights: 0, lse: null }],
    ...(quantity === undefined ? {} : { quantity }),
  };
  const item = { source: tokens(4), target: tokens(0), predicted: [] };
  return { version: 4, items: [item], layers: [layer], numbers: Float32Array.from(WEIGHTS.flat()).buffer } as unknown as Carried;
}

const each = (n: number): Stretch[] => Array.from({ length: n }, (_, place) => [place, place + 1]);
const LOOK: Look = { queries: each(4), keys: each(4) };
const OF: MapOf = { item: 0, quantity: "weight", kind: "encoder", layer: 3, head: 0 };
const WHOLE: TileAsk = { of: OF, look: LOOK, part: { rows: [0, 4], columns: [0, 4] }, height: 4, width: 4, pool: "max", values: "number", exact: true };
const tile = (ask: Partial<TileAsk>, page = carried(false)) => finished(new Numbers(page).tile({ ...WHOLE, ...ask }));

test("a picture of as many pixels as cells has every number, and one of fewer has the largest or the mean under each pixel", () => {
  assert.deepEqual([...tile({}).values], WEIGHTS[0]);
  assert.deepEqual([...tile({ height: 99, width: 99 }).values], WEIGHTS[0], "never more pixels than cells");
  const halves = tile({ height: 2, width: 2 });
  assert.deepEqual([...halves.values], [0.5, 0.5, 0.25, 0.5]);
  assert.deepEqual([...tile({ height: 2, width: 2, pool: "mean" }).values], [0.25, 0.25, 0.1875, 0.3125]);
  assert.equal(halves.top, 0.5);
  assert.deepEqual([...tile({ part: { rows: [1, 3], columns: [2, 4] } }).values], [0, 0.5, 0.25, 0.5]);
});

test("masked cells count for no pixel, and a pixel of nothing else is masked", () => {
  const causal = tile({ height: 2, width: 2, pool: "mean" }, carried(true));
  assert.deepEqual([...causal.masked], [0, 1, 0, 0]);
  assert.equal(causal.values[0], Math.fround((0.5 + 0.25 + 0.25) / 3));
});

test("a share is of the row's largest and a rank of the row's others, in the whole row however little of it is seen", () => {
  const part = { rows: [2, 3], columns: [0, 2] } as const;
  assert.deepEqual([...tile({ part, values: "share" }).values], [0.25, 0.25]);
  assert.deepEqual([...tile({ part: { rows: [2, 3], columns: [0, 4] }, values: "rank" }).values], [0, 0, Math.fround(2 / 3), 1]);
  assert.equal(tile({ part, values: "share" }).top, 0.125, "the largest number seen");
});

test("a place of several tokens is the mean over queries of the sum over keys", () => {
  const look: Look = { queries: [[0, 2], [2, 3]], keys: [[0, 2], [3, 4]] };
  const words = tile({ look, part: { rows: [0, 2], columns: [0, 2] } });
  assert.deepEqual([...words.values], [0.5, 0.5, 0.25, 0.5]);
});

test("a row says what is hidden, its sum and its entropy", () => {
  const look: Look = { queries: each(4), keys: [[0, 1], [3, 4]] };
  const line = finished(new Numbers(carried(false)).row(OF, look, 2));
  assert.deepEqual([...line.weights], [0.125, 0.5]);
  assert.equal(line.removed, 0.375);
  assert.equal(line.entropy, 1.75);
  assert.ok(Number.isNaN(finished(new Numbers(carried(false, "norm")).row({ ...OF, quantity: "norm" }, look, 2)).entropy), "norms have none");
  const broken = carried(false);
  new Float32Array(broken.numbers)[10] = NaN; // head 0, query 2, key 2, which is hidden
  assert.ok(Number.isNaN(finished(new Numbers(broken).row(OF, look, 2)).entropy), "nor has a row with a weight that is no number");
});

test("a mean over heads is a map like any other", () => {
  const mean = tile({ of: { ...OF, head: "mean" } });
  assert.deepEqual([...mean.values].slice(0, 4), [0.75, 0, 0, 0.25]);
});

test("heads are told by the chosen cell, by the largest of the chosen query and of the chosen key, and where it lies", () => {
  const heads = (row: number | null, column: number | null, causal = false) =>
    finished(new Numbers(carried(causal)).heads({ item: 0, quantity: "weight", kind: "encoder", look: LOOK, row, column })).map(({ value, at }) => [value, at]);
  assert.deepEqual(heads(2, 2), [[0.25, null], [0.5, null]]);
  assert.deepEqual(heads(2, null), [[0.5, 3], [0.5, 2]]);
  assert.deepEqual(heads(null, 2), [[0.25, 2], [0.5, 2]]);
  assert.deepEqual(heads(0, 1, true), [[NaN, null], [NaN, null]], "the query may not look there");
});

test("without workers the page works in slices, the urgent first, and gives up what is no longer wanted", async () => {
  const source = new PageSource(carried(false), "", null);
  Object.assign(source, { here: { desk: new Desk(5, (then) => void setTimeout(then, 0)), numbers: Promise.resolve(new Numbers(carried(false))) } });
  const order: string[] = [];
  const pooled = source.pooled([WHOLE, WHOLE, WHOLE], () => order.push("small picture")).then(() => order.push("all small pictures"));
  const row = source.row(OF, LOOK, 0).then(() => order.push("row"));
  const giving = new AbortController();
  const givenUp = source.tile(WHOLE, giving.signal).then(() => order.push("never"), (error: Error) => order.push(error.name));
  giving.abort();
  await Promise.all([pooled, row, givenUp]);
  assert.equal(order[0], "AbortError");
  assert.ok(order.indexOf("row") < order.indexOf("all small pictures"), order.join());
  assert.equal(order.filter((one) => one === "small picture").length, 3);
  await assert.rejects(source.tile({ ...WHOLE, of: { ...OF, layer: 7 } }), /no layer 7/);
});

/** A worker's scope, and what it has said. */
function worker(): { ask: (message: unknown) => void; said: { id: number; value?: unknown; error?: string }[] } {
  const said: { id: number; value?: unknown; error?: string }[] = [];
  const scope: Scope = { onmessage: null, postMessage: (message) => void said.push(message) };
  serve(scope, (then) => void setTimeout(then, 0));
  return { ask: (message) => scope.onmessage!({ data: message } as MessageEvent), said };
}

test("numbers that are damaged are told to who asks for them, not while they are decoded ahead", async () => {
  const { numbers: _, ...atlas } = carried(false);
  const stored = [{ storage: "coded", lengths: Array(56).fill(1), heads: [1 << 20, 1 << 20], sums: null, lse: null, lse_short: false }];
  const { ask, said } = worker();
  ask({ carry: { ...atlas, layers: atlas.layers.map((layer) => ({ ...layer, stored })) }, numbers: "", soon: { item: 0, quantity: "weight", kind: "encoder" } });
  await new Promise((done) => setTimeout(done, 20));
  assert.deepEqual(said, []);
  ask({ id: 7, question: "row", given: [OF, LOOK, 0] });
  await new Promise((done) => setTimeout(done, 20));
  assert.match(said[0]!.error!, /cut short or damaged/);
  assert.deepEqual(said.map(({ id }) => id), [7]);
});

test("a page whose worker was refused before anything was asked of it works out its numbers itself", async () => {
  const refused = { postMessage: () => {}, terminate: () => {} } as unknown as Worker;
  const source = new PageSource(carried(false), "", { worker: refused, ended: Promise.resolve("refused") });
  Object.assign(source, { here: { desk: new Desk(5, (then) => void setTimeout(then, 0)), numbers: Promise.resolve(new Numbers(carried(false))) } });
  assert.equal((await source.row(OF, LOOK, 0)).weights.length, LOOK.keys.length);
});
