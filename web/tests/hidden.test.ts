// How much weight lies on keys that are not shown: right however many there are, or said not to be known.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hiddenStretches, removedOf } from "../src/hidden.ts";
import { removedNote } from "../src/said.ts";
import type { MapOf, Source, Stretch, Tile, TileAsk } from "../src/source.ts";

const OF: MapOf = { item: 0, quantity: "weight", kind: "encoder", layer: 0, head: 0 };
const signal = new AbortController().signal;

/** A source of uniform weights: a cell is its keys' share of all. It refuses what a server refuses. */
function uniform(n_keys: number, asked: TileAsk[] = []): Source {
  const tile = async (ask: TileAsk): Promise<Tile> => {
    asked.push(ask);
    assert.ok(ask.height <= 16_384 && ask.width <= 16_384 && ask.height * ask.width <= 1 << 24);
    const values = new Float32Array(ask.height * ask.width);
    ask.look.keys.slice(...ask.part.columns).forEach(([from, to], column) => {
      for (let row = 0; row < ask.height; row++) values[row * ask.width + column] = (to - from) / n_keys;
    });
    return { height: ask.height, width: ask.width, values, masked: new Uint8Array(values.length), top: 1, every: 1 };
  };
  return { tile } as unknown as Source;
}

const each = (n: number, step = 1): Stretch[] => Array.from({ length: Math.ceil(n / step) }, (_, place) => [place * step, place * step + 1]);

test("gaps are the keys before, between and after those that are shown", () => {
  assert.deepEqual(hiddenStretches([[1, 2], [2, 4], [6, 7]], 9), [[0, 1], [4, 6], [7, 9]]);
  assert.deepEqual(hiddenStretches([[0, 9]], 9), []);
  assert.deepEqual(hiddenStretches([], 9), [[0, 9]]);
});

test("the hidden mass is the same of few rows and of more than one question takes", async () => {
  for (const n of [10, 4_096, 5_000]) {
    const look = { queries: each(n), keys: each(n).slice(1, -1) };
    const removed = await removedOf(uniform(n), OF, look, n, signal);
    assert.ok(Math.abs(removed! - 2 / n) < 1e-6, `${n}: ${removed}`);
  }
});

test("more gaps than a picture may be wide are asked for one part after another", async () => {
  const asked: TileAsk[] = [];
  const removed = await removedOf(uniform(40_000, asked), OF, { queries: each(100), keys: each(40_000, 2) }, 40_000, signal);
  assert.ok(Math.abs(removed! - 0.5) < 1e-4, `${removed}`);
  assert.equal(asked.length, 5);
});

test("what would take too long is said not to be worked out, and nothing hidden says nothing", async () => {
  const look = { queries: each(131_072), keys: each(131_072).slice(1) };
  assert.equal(await removedOf(uniform(131_072), OF, look, 131_072, signal), null);
  assert.match(removedNote(null, "punctuation"), /^How much weight hidden punctuation holds is not worked out/);
  assert.match(removedNote(0.25, "special tokens"), /^Hidden special tokens hold 25/);
  assert.equal(removedNote(0, "punctuation"), "");
});
