// The shown map and its colours are those of attlas: view.golden.json, which crates/attlas-viewer/tests/golden.rs writes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COLOURS, colourAt, fraction, type Scale, type Signs } from "../src/colour.ts";
import { bytesOf, keyTokens, queryTokens } from "../src/data.ts";
import type { Atlas, Carried, Kind } from "../src/data.ts";
import { Numbers } from "../src/carried.ts";
import { axisOf } from "../src/look.ts";
import { finished } from "../src/work.ts";
import { usualRows } from "../src/state.ts";
import type { Stretch } from "../src/source.ts";
import golden from "./view.golden.json";

interface Golden {
  page: Atlas;
  numbers: string;
  views: {
    item: number;
    kind: Kind;
    layer: number;
    head: number;
    hide_special: boolean;
    words: boolean;
    /** What rows are named by; null for the usual. */
    named_by: "read" | "predicted" | null;
    rows: Stretch | null;
    columns: Stretch | null;
    shown: { rows: string[]; columns: string[]; weights: number[]; removed: number[]; sinks: number[] };
  }[];
  diverging: string;
  colours: { scale: Scale; signs: Signs; top: number; numbers: number[]; fractions: number[]; colours: number[][] }[];
}

const { page, numbers, views, diverging, colours } = golden as unknown as Golden;
const source: Carried = { ...page, numbers: bytesOf(numbers) };

function near(what: string, actual: ArrayLike<number>, expected: number[]): void {
  assert.equal(actual.length, expected.length, what);
  expected.forEach((right, i) => assert.ok(Math.abs(actual[i]! - right) < 2e-6, `${what} ${i}: ${actual[i]}, not ${right}`));
}

const NUMBERS = new Numbers(source);

function optionsOf({ hide_special, words }: { hide_special: boolean; words: boolean }, only: Stretch | null): Parameters<typeof axisOf>[1] {
  return { hideSpecial: hide_special, words, ...(only === null ? {} : { only }) };
}

for (const view of views) {
  const { item, kind, layer, head, shown: expected, ...asked } = view;
  test(`what is shown is as attlas shows it: ${JSON.stringify({ item, kind, layer, head, ...asked })}`, () => {
    const tokens = source.items[item]!;
    const predicted = (view.named_by ?? usualRows(kind)) === "predicted" && kind !== "encoder" && tokens.predicted.length > 0;
    const queries = axisOf(predicted ? tokens.predicted : queryTokens(tokens, kind).tokens, optionsOf(view, view.rows));
    const keys = axisOf(keyTokens(tokens, kind).tokens, optionsOf(view, view.columns));
    const look = { queries: queries.stretches, keys: keys.stretches };
    const [height, width] = [queries.labels.length, keys.labels.length];
    const of = { item, quantity: "weight", kind, layer, head };
    const part = { rows: [0, height], columns: [0, width] } as const;
    const tile = finished(NUMBERS.tile({ of, look, part, height, width, pool: "max", values: "number", exact: true }));
    const lines = look.queries.map((_, row) => finished(NUMBERS.row(of, look, row)));
    assert.deepEqual(queries.labels, expected.rows);
    assert.deepEqual(keys.labels, expected.columns);
    near("weight", tile.values, expected.weights);
    lines.forEach((line, row) => near(`weight of row ${row}`, line.weights, expected.weights.slice(row * width, (row + 1) * width)));
    near("removed mass of row", lines.map(({ removed }) => removed), expected.removed);
    near("sink of row", lines.map(({ sink }) => sink), expected.sinks);
    tile.masked.forEach((masked, cell) => assert.ok(masked === 0 || tile.values[cell] === 0, "a masked cell has no weight"));
  });
}

test("the diverging map is that of attlas", () => {
  assert.equal([...COLOURS.either].map((value) => value.toString(16).padStart(2, "0")).join(""), diverging);
});

for (const { scale, signs, top, numbers, fractions, colours: expected } of colours) {
  test(`a ${scale} scale of numbers that are ${signs === "either" ? "of either sign" : "positive"} is that of attlas`, () => {
    const at = numbers.map((number) => fraction(number, top, scale, signs));
    near("fraction", at, fractions);
    assert.deepEqual(fractions.map((fraction) => [...colourAt(fraction, signs)]), expected);
  });
}
