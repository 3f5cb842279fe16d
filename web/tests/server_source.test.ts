// The bytes of a server's answers; that they are what the server writes is a test over there.

import assert from "node:assert/strict";
import { test } from "node:test";
import { framesOf, readHeads, readLine, readTile } from "../src/server_source.ts";

function bytesOf(...parts: (["u32" | "f32", number] | number)[]): ArrayBuffer {
  const bytes: number[] = [];
  for (const part of parts) {
    if (typeof part === "number") bytes.push(part);
    else {
      const four = new DataView(new ArrayBuffer(4));
      if (part[0] === "u32") four.setUint32(0, part[1], true);
      else four.setFloat32(0, part[1], true);
      bytes.push(...new Uint8Array(four.buffer));
    }
  }
  return Uint8Array.from(bytes).buffer;
}

const TILE = bytesOf(["u32", 1], ["u32", 2], ["f32", 0.5], ["u32", 3], ["f32", 0.25], ["f32", 0.5], 0, 1);

test("a tile has its size, values, mask, and how much of it was read", () => {
  const tile = readTile(TILE);
  assert.deepEqual([tile.height, tile.width, tile.top, tile.every], [1, 2, 0.5, 3]);
  assert.deepEqual([...tile.values], [0.25, 0.5]);
  assert.deepEqual([...tile.masked], [0, 1]);
});

test("a line has its numbers and what is not among them", () => {
  const line = readLine(bytesOf(["u32", 2], ["f32", 0.125], ["f32", 0.25], ["f32", 1.5], ["f32", 0.5], ["f32", 0], 0, 1));
  assert.deepEqual([line.removed, line.sink, line.entropy, line.rounding], [0.125, 0.25, 1.5, 0]);
  assert.deepEqual([[...line.weights], [...line.masked]], [[0.5, 0], [0, 1]]);
});

test("heads come with where their largest lies, if it does anywhere", () => {
  const heads = readHeads(bytesOf(["u32", 4], ["u32", 1], ["f32", 0.5], ["u32", 7], ["u32", 4], ["u32", 2], ["f32", NaN], ["u32", 0xffffffff]));
  assert.deepEqual(heads, [{ layer: 4, head: 1, value: 0.5, at: 7 }, { layer: 4, head: 2, value: NaN, at: null }]);
});

test("pictures of a list are read however the answer is cut into pieces", async () => {
  const head = (isTile: number, length: number): Uint8Array => new Uint8Array(bytesOf(["u32", 0], ["u32", isTile], ["u32", length]));
  const said = new TextEncoder().encode("no");
  const whole = [...head(1, TILE.byteLength), ...new Uint8Array(TILE), ...head(0, said.length), ...said];
  for (const size of [1, 5, 13, 1000]) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < whole.length; at += size) controller.enqueue(Uint8Array.from(whole.slice(at, at + size)));
        controller.close();
      },
    });
    const found: [boolean, number[]][] = [];
    for await (const { isTile, bytes } of framesOf(body)) found.push([isTile, [...new Uint8Array(bytes)]]);
    assert.deepEqual(found, [[true, [...new Uint8Array(TILE)]], [false, [...said]]], `${size}`);
  }
});
