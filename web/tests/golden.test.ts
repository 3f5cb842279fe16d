// The shown map and its colours are those of attlas: view.golden.json, which crates/attlas-viewer/tests/golden.rs writes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COLOURS, colourAt, fraction, type Scale, type Signs } from "../src/colour.ts";
import { bytesOf, keyTokens, queryTokens } from "../src/data.ts";
import type { Atlas, Kind, Source } from "../src/data.ts";
import { usualRows } from "../src/state.ts";
import { shownMap, type Range } from "../src/view.ts";
import { headMap } from "../src/weights.ts";
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
    rows: Range | null;
    columns: Range | null;
    shown: { rows: string[]; columns: string[]; weights: number[]; removed: number[]; sinks: number[] };
  }[];
  diverging: string;
  colours: { scale: Scale; signs: Signs; top: number; numbers: number[]; fractions: number[]; colours: number[][] }[];
}

const { page, numbers, views, diverging, colours } = golden as unknown as Golden;
const source: Source = { ...page, numbers: bytesOf(numbers) };

function near(what: string, actual: ArrayLike<number>, expected: number[]): void {
  assert.equal(actual.length, expected.length, what);
  expected.forEach((right, i) => assert.ok(Math.abs(actual[i]! - right) < 2e-6, `${what} ${i}: ${actual[i]}, not ${right}`));
}

for (const view of views) {
  const { item, kind, layer, head, shown: expected, ...asked } = view;
  test(`what is shown is as attlas shows it: ${JSON.stringify({ item, kind, layer, head, ...asked })}`, () => {
    const tokens = source.items[item]!;
    const predicted = (view.named_by ?? usualRows(kind)) === "predicted" && kind !== "encoder" && tokens.predicted.length > 0;
    const map = headMap(source, item, source.layers.find((other) => other.kind === kind && other.index === layer)!, head);
    const queries = predicted ? tokens.predicted : queryTokens(tokens, kind).tokens;
    const options = {
      hideSpecial: view.hide_special,
      words: view.words,
      ...(view.rows === null ? {} : { rows: view.rows }),
      ...(view.columns === null ? {} : { columns: view.columns }),
    };
    const shown = shownMap(map, queries, keyTokens(tokens, kind).tokens, options);
    assert.deepEqual(shown.queries.labels, expected.rows);
    assert.deepEqual(shown.keys.labels, expected.columns);
    near("weight", shown.weights, expected.weights);
    near("removed mass of row", shown.removed, expected.removed);
    near("sink of row", shown.sink, expected.sinks);
    shown.masked.forEach((masked, cell) => assert.ok(masked === 0 || shown.weights[cell] === 0, "a masked cell has no weight"));
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
