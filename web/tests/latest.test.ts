// The picture of the last question stays, whatever comes when.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Look, Source, Tile, TileAsk } from "../src/source.ts";
import { LatestTile } from "../src/views/latest.ts";

const LOOK: Look = { queries: [[0, 1]], keys: [[0, 1]] };
const askOf = (head: number): TileAsk => ({ of: { item: 0, quantity: "weight", kind: "cross", layer: 2, head }, look: LOOK, part: { rows: [0, 1], columns: [0, 1] }, height: 1, width: 1, pool: "max", values: "number", exact: false });
const tileOf = (value: number, every = 1): Tile => ({ height: 1, width: 1, values: Float32Array.of(value), masked: new Uint8Array(1), top: value, every });

/** A source whose answers come when they are let. */
class Slow {
  readonly asked: { ask: TileAsk; answer: (tile: Tile) => void; refuse: (error: Error) => void }[] = [];

  tile(ask: TileAsk): Promise<Tile> {
    return new Promise((answer, refuse) => this.asked.push({ ask, answer, refuse }));
  }

  get source(): Source {
    return this as unknown as Source;
  }
}

const signal = (): AbortSignal => new AbortController().signal;
const rested = (): Promise<void> => new Promise((done) => setTimeout(done));

test("an answer about one head that comes after that about another is not drawn", async () => {
  const slow = new Slow();
  const latest = new LatestTile();
  let n_drawn = 0;
  const draw = (): void => void n_drawn++;
  const first = latest.ask(slow.source, askOf(0), signal(), draw);
  const second = latest.ask(slow.source, askOf(1), signal(), draw);
  slow.asked[1]!.answer(tileOf(0.75));
  await second;
  slow.asked[0]!.answer(tileOf(0.5));
  await first;
  assert.deepEqual([latest.shown?.tile.values[0], n_drawn], [0.75, 1]);
});

test("a picture of some rows whose full reading was given up is drawn at once and read in full when it is asked for again", async () => {
  const slow = new Slow();
  const latest = new LatestTile();
  const given_up = new AbortController();
  const first = latest.ask(slow.source, askOf(0), given_up.signal, () => {});
  slow.asked[0]!.answer(tileOf(0.5, 8));
  await rested();
  given_up.abort();
  slow.asked[1]!.refuse(new Error("given up"));
  await first;
  const drawn: number[] = [];
  const second = latest.ask(slow.source, askOf(0), signal(), () => drawn.push(latest.shown!.tile.every));
  await rested();
  assert.deepEqual(drawn, [8]);
  assert.deepEqual(slow.asked.map(({ ask }) => ask.exact), [false, true, true]);
  slow.asked[2]!.answer(tileOf(0.625));
  await second;
  assert.deepEqual(drawn, [8, 1]);
  await latest.ask(slow.source, askOf(0), signal(), () => drawn.push(latest.shown!.tile.every));
  assert.deepEqual([drawn, slow.asked.length], [[8, 1, 1], 3]); // nothing is left to be asked
});

test("a picture of every row that is refused leaves that of some rows, and is no error", async () => {
  const slow = new Slow();
  const latest = new LatestTile();
  const work = latest.ask(slow.source, askOf(0), signal(), () => {});
  slow.asked[0]!.answer(tileOf(0.5, 8));
  await rested();
  slow.asked[1]!.refuse(new Error("too many multiplications"));
  await work;
  assert.equal(latest.shown?.tile.every, 8);
});
