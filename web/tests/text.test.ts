// Token text, numbers and colours as they are shown.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COLOURS, colourAt, fraction, ticks } from "../src/colour.ts";
import { formatCell, formatNumber, formatPercent, formatWeight, plainNumber, shortened, shortest, visibleText } from "../src/text.ts";

test("marks that cannot be seen are shown as pictures of themselves", () => {
  assert.equal(visibleText("a\nb"), "a␊b");
  assert.equal(visibleText("\u0000\u001b"), "␀␛");
  assert.equal(visibleText("\u202eabc\u2066"), "⟨U+202E⟩abc⟨U+2066⟩");
  assert.equal(visibleText("  "), "␣␣");
  assert.equal(visibleText(" cat"), "cat");
  assert.equal(visibleText("a  b "), "a␣␣b␣");
  assert.equal(visibleText(""), "⟨empty⟩");
  assert.equal(visibleText("\u00a0\u007f"), "⟨U+00A0⟩␡");
  assert.equal(visibleText("\u200b"), "⟨U+200B⟩");
});

test("ordinary text of any script is left as it is", () => {
  for (const text of ["don't", "שלום", "مرحبا", "नमस्ते", "猫", "👩‍🚀", "می‌خواهم", "<b>&amp;"]) assert.equal(visibleText(text), text);
});

test("a long text is cut between its signs, not within one", () => {
  assert.equal(shortened("a cat", 5), "a cat");
  assert.equal(shortened("a cat sat", 5), "a cat…");
  assert.equal(shortened("😀😀😀", 2), "😀😀…");
});

test("a weight has four digits after the point, and a tiny one says how tiny", () => {
  assert.equal(formatWeight(0.12345), "0.1235");
  assert.equal(formatWeight(1), "1.0000");
  assert.equal(formatWeight(0), "0.0000");
  assert.equal(formatWeight(0.0000123), "1.2·10⁻⁵");
  assert.equal(formatWeight(NaN), "not a number");
  assert.equal(formatPercent(0.4321), "43.2 %");
});

test("a program reads the digits that are shown, or the fewest that stand for the number", () => {
  assert.deepEqual([0.0061, 0.25, 0, 1.234e-5, NaN].map((number) => plainNumber(number)), ["0.0061", "0.2500", "0.0000", "1.2e-5", "NaN"]);
  assert.equal(plainNumber(-1.26e-9), "-1.3e-9");
  assert.equal(plainNumber(1234.5678, 10000), "1235");
  assert.deepEqual([Math.fround(0.0061), 0.25, 0, 1, Math.fround(1 / 3), Math.fround(1.2e-12), -Math.fround(0.1)].map(shortest), ["0.0061", "0.25", "0", "1", "0.33333334", "1.2e-12", "-0.1"]);
});

test("the colours are viridis from its dark to its bright end", () => {
  assert.equal(COLOURS.positive.length, 768);
  assert.deepEqual(colourAt(0), [0x44, 0x01, 0x54]);
  assert.deepEqual(colourAt(1), [0xfd, 0xe7, 0x25]);
});

test("numbers of either sign have 0 exactly in the middle, and equal sizes are equally far from it", () => {
  assert.deepEqual(colourAt(fraction(0, 0.3, "linear", "either"), "either"), [246, 246, 246]);
  for (const scale of ["linear", "log", "row"] as const) {
    assert.equal(fraction(-0.2, 0.3, scale, "either") + fraction(0.2, 0.3, scale, "either"), 1);
    assert.equal(fraction(-0.3, 0.3, scale, "either"), 0);
  }
  assert.deepEqual(ticks(0.3, "linear", "either").map((tick) => tick.label), ["−0.3", "0", "0.3"]);
});

test("a linear scale is proportional, a logarithmic one spans at most four powers of ten", () => {
  assert.equal(fraction(0.25, 0.5, "linear"), 0.5);
  assert.ok(Math.abs(fraction(0.01, 1, "log") - 0.5) < 1e-12);
  assert.ok(fraction(0.0001, 0.5, "log") < 1e-12);
  assert.equal(fraction(0.5, 0.5, "log"), 1);
  assert.equal(fraction(1e-9, 0.5, "log"), 0);
  assert.equal(fraction(0, 0, "linear"), 0);
  assert.ok(Number.isNaN(fraction(NaN, 1, "linear")) && Number.isNaN(fraction(-0.5, 1, "log")));
});

test("a colour bar's marks are round numbers inside its ends", () => {
  assert.deepEqual(ticks(1, "linear").map((tick) => tick.label), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
  assert.deepEqual(ticks(0.37, "linear").map((tick) => tick.label), ["0", "0.1", "0.2", "0.3"]);
  assert.deepEqual(ticks(1, "log").map((tick) => tick.label), ["≤ 0.0001", "0.001", "0.01", "0.1", "1"]);
  for (const top of [1e-7, 0.013, 0.5, 0.9999, 3]) {
    for (const { at } of ticks(top, "linear")) assert.ok(at >= 0 && at <= 1);
  }
});

test("a number in a cell has four digits after the point, fewer where it is large", () => {
  assert.deepEqual([0.12345, 1, 0, -0.5, 12.5, 1234.5, Infinity].map((number) => formatCell(number)), [".1235", "1.000", ".0000", "−.5000", "12.50", "1235", "∞"]);
});

test("a number in a cell that is small does not read as 0, and one of a large unit has no more digits than are known", () => {
  assert.deepEqual([0.00005, 0.0000499, 0.0000123, -3e-9].map((number) => formatCell(number)), [".0001", "5·10⁻⁵", "1·10⁻⁵", "−3·10⁻⁹"]);
  assert.deepEqual([412.3, 12.5, 0.5, 0.03, 0].map((number) => formatCell(number, 1000)), ["412.3", "12.5", ".5", "3·10⁻²", ".0"]);
  assert.equal(formatCell(0.0005, 0.001), ".0005");
});

test("numbers of other quantities have four digits after the point of their unit, or two and a power of ten", () => {
  const cases: [number, number, string][] = [
    [3.2654, 10, "3.265"],
    [-3.2656, 10, "−3.266"],
    [0, 10, "0.000"],
    [0.5, 1, "0.5000"],
    [0.00012, 10, "1.2·10⁻⁴"],
    [-0.00000012, 0.001, "−0.0000001"],
    [123456, 1e6, "123500"],
    [12, 1e6, "1.2·10¹"],
    [-5, 1e5, "−5.0·10⁰"],
    [7e-20, 1e-19, "7.000·10⁻²⁰"],
    [NaN, 1, "not a number"],
    [-Infinity, 1, "−∞"],
  ];
  for (const [number, unit, shown] of cases) assert.equal(formatNumber(number, unit), shown);
  for (const weight of [0, 0.00002, 0.1234, 1]) assert.equal(formatNumber(weight), formatWeight(weight));
});
