// What the views compute before they draw, on a small source in memory; numbers worked by hand.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Item } from "../src/data.ts";
import type { MapOf, Terms, Tile } from "../src/source.ts";
import { bothSoon, existing, largestOf, less, nextTo, shared, sharedNote } from "../src/views/compare.ts";
import { Colours } from "../src/colours.ts";
import { largestSize } from "../src/pooling.ts";
import { byWeight, mostSaid, MOST_LINES } from "../src/views/lines.ts";
import { directionOf } from "../src/text.ts";
import { gapsBetween } from "../src/views/gaps.ts";
import { placeFrom, stepsOf } from "../src/views/generation.ts";
import { patchPlaces, shownSide, weightOn } from "../src/views/image.ts";
import { besideWeight, QUANTITIES, sentencesOf } from "../src/views/panel.ts";
import { pooledNote, sampledNote, written } from "../src/views/scene.ts";
import { sharedPlaces } from "../src/views/shared.ts";
import { bytesOfBase64, secondsOf, ticksOf } from "../src/views/sound.ts";
import { averagedOver, mapsOf, stripOf } from "../src/views/strip.ts";
import { pageOf, PAGE } from "../src/views/table.ts";
import { bySize, noteOf, pairOf, stepsOf as termSteps, termsOf } from "../src/views/terms.ts";
import { chosenBy } from "../src/views/text.ts";
import { arcsOf, countOf, lookOfWords } from "../src/views/tree.ts";
import { atlasOf, MemorySource, sceneOf, tokensOf, type MemoryHead } from "./memory.ts";

const never = new AbortController().signal;

/** A causal decoder of three tokens and two heads; keys that are all alike give uniform weights, those of head 1 do not. */
const HEADS: MemoryHead[] = [
  { kind: "decoder", layer: 2, head: 0, causal: true, queries: [[1, 0], [1, 0], [1, 0]], keys: [[0, 1], [0, 1], [0, 1]] },
  { kind: "decoder", layer: 2, head: 1, causal: true, queries: [[2, 0], [2, 0], [2, 0]], keys: [[0, 0], [Math.SQRT1_2 * Math.log(3), 0], [0, 0]] },
  { kind: "decoder", layer: 5, head: 0, causal: true, queries: [[1, 0], [1, 0], [1, 0]], keys: [[0, 1], [0, 1], [0, 1]] },
];
const DECODER: Item = { source: tokensOf([]), target: tokensOf(["The", "cat", "sat"]), predicted: tokensOf(["cat", "sat", "."]).tokens, generated: 2 };
const OF: MapOf = { item: 0, quantity: "weight", kind: "decoder", layer: 2, head: 1 };
const SOURCE = new MemorySource(atlasOf([DECODER], HEADS), HEADS);

const near = (numbers: Iterable<number>, expected: number[]): void => {
  const all = [...numbers];
  assert.equal(all.length, expected.length);
  all.forEach((number, place) => assert.ok(Math.abs(number - expected[place]!) < 1e-6, `${all} is not ${expected}`));
};

test("the text of a chosen query holds its row, that of a chosen key its column, and where nothing is chosen means over those that may look", async () => {
  const row = await stripOf(sceneOf(SOURCE, OF, { row: 2, column: null }), "head", [0, 3], 9, never);
  near(row.values, [0.2, 0.6, 0.2]); // scores 0, ln 3, 0
  const column = await stripOf(sceneOf(SOURCE, OF, { row: null, column: 1 }), "head", [0, 3], 9, never);
  near(column.values, [0, 0.75, 0.6]);
  assert.deepEqual([...column.masked], [1, 0, 0]);
  const received = await stripOf(sceneOf(SOURCE, OF), "head", [0, 3], 9, never);
  near(received.values, [(1 + 0.25 + 0.2) / 3, (0.75 + 0.6) / 2, 0.2]);
});

test("an average weighs every head alike, whatever its layer, and says over how many it is", async () => {
  const scene = sceneOf(SOURCE, OF, { row: 2, column: null });
  near((await stripOf(scene, "layer", [0, 3], 9, never)).values, [(1 / 3 + 0.2) / 2, (1 / 3 + 0.6) / 2, (1 / 3 + 0.2) / 2]);
  near((await stripOf(scene, "kind", [0, 3], 9, never)).values, [(2 / 3 + 0.2) / 3, (2 / 3 + 0.6) / 3, (2 / 3 + 0.2) / 3]);
  assert.deepEqual(mapsOf(scene, "kind").map(({ share }) => share), [2 / 3, 1 / 3]);
  assert.equal(averagedOver(scene, "head"), "");
  assert.equal(averagedOver(scene, "layer"), "averaged over the 2 heads of L2");
  assert.equal(averagedOver(scene, "kind"), "averaged over the 3 heads of 2 layers");
});

test("of a part of a text, only its cells are asked for", async () => {
  SOURCE.asked.length = 0;
  await stripOf(sceneOf(SOURCE, OF, { row: 2, column: null }), "head", [1, 2], 9, never);
  assert.deepEqual(SOURCE.asked, [{ what: "tile", cells: 1 }]);
});

test("a token that is chosen again is turned round, and then let go", () => {
  const decoder = { of: OF, chosen: { row: null, column: null } };
  assert.deepEqual(chosenBy(decoder, "keys", 1), { row: 1, column: null });
  assert.deepEqual(chosenBy({ ...decoder, chosen: { row: 1, column: null } }, "keys", 1), { row: null, column: 1 });
  assert.deepEqual(chosenBy({ ...decoder, chosen: { row: null, column: 1 } }, "keys", 1), { row: null, column: null });
  const cross = { of: { ...OF, kind: "cross" as const }, chosen: { row: 0, column: null } };
  assert.deepEqual(chosenBy(cross, "keys", 1), { row: null, column: 1 });
});

test("between tokens stands what the text has there, and a space where it does not hold the token", () => {
  const tokens = tokensOf(["<s>", "un", "able", "cat", ",", "dog", "?!", "x"], [{ role: "special", word: null }, { word: 0 }, { word: 0 }]).tokens;
  assert.deepEqual(gapsBetween("unable cat,\ndog", tokens), ["", " ", "", " ", "", "\n", " ", " "]);
  assert.deepEqual(gapsBetween("日本語", tokensOf(["日本", "語"]).tokens), ["", ""]);
  const [known, unknown] = tokensOf(["a", "猫 [UNK]", "sat"]).tokens;
  assert.deepEqual(gapsBetween("a\n猫 sat", [known!, { ...unknown!, unknown: "[UNK]" }, { ...known!, text: "sat" }]), ["", "\n", " "], "what is unknown stands in the text without its name");
  assert.equal(directionOf("… مرحبا world"), "rtl");
  assert.equal(directionOf("hello שלום"), "ltr");
});

test("terms sum to the product, and the steps lead from it to the weight", async () => {
  const terms = await SOURCE.terms(OF, 2, 1);
  const all = termsOf(terms);
  near(all.map(({ product }) => product), [Math.SQRT2 * Math.log(3), 0]);
  assert.deepEqual(bySize([...all].reverse()).map(({ dimension }) => dimension), [0, 1]);
  const steps = termSteps(terms);
  assert.deepEqual(steps.map(({ name, value }) => `${name} ${value}`), ["q · k 1.554", "scaled 1.099", "score 1.10", "softmax 0.6000"]);
  assert.match(noteOf(bySize(all)), /^1 of 2 terms make 100 %/);
});

test("a soft cap, a bias and a mask are steps of their own, and a page without queries says what is known", () => {
  const terms: Terms = { weight: 0, masked: false, score: 0.5, digits: 2, query: Float32Array.of(2), key: Float32Array.of(4), scale: 0.5, softcap: 3, bias: -0.25, lse: 2, missing: "" };
  const values = termSteps(terms).map(({ name, value }) => `${name} ${value}`);
  assert.deepEqual(values, ["q · k 8.000", "scaled 4.000", `soft cap ${(3 * Math.tanh(4 / 3)).toFixed(3)}`, "position − 0.250", "score 0.50", "softmax 0.0000"]);
  const bare = termSteps({ ...terms, query: null, key: null, bias: 0, score: null, lse: null, missing: "left out" });
  assert.deepEqual(bare.map(({ name, formula }) => `${name}: ${formula}`), ["weight: its score is not known"]);
  assert.deepEqual(termSteps({ ...terms, masked: true, score: null, bias: 0 }).map(({ name }) => name), ["q · k", "scaled", "soft cap", "mask", "weight"]);
});

test("of a query or key of several tokens one piece each has a score", () => {
  const scene = { ...sceneOf(SOURCE, OF, { row: 0, column: 1 }), queries: { stretches: [[0, 2], [2, 3]] as const, labels: ["ab", "c"], special: [false, false] } };
  assert.deepEqual(pairOf(scene, [1, 0]), [1, 1]);
  assert.deepEqual(pairOf(scene, [7, 7]), [1, 1]);
  assert.equal(pairOf({ ...scene, chosen: { row: 0, column: null } }, [0, 0]), null);
});

test("a step is written by the row before it, the last by the row that predicts what no row reads", () => {
  const { queries } = sceneOf(SOURCE, OF);
  assert.deepEqual(stepsOf(DECODER, queries), [{ token: 2, row: 1, text: "sat" }, { token: 3, row: 2, text: "." }]);
  assert.deepEqual(stepsOf({ ...DECODER, predicted: [] }, queries), [{ token: 2, row: 1, text: "sat" }]);
  assert.deepEqual(stepsOf({ ...DECODER, generated: 0 }, queries), []);
  const hidden = { ...queries, stretches: queries.stretches.filter((_, place) => place !== 1) };
  assert.deepEqual(stepsOf(DECODER, hidden), [{ token: 3, row: 1, text: "." }]);
  assert.equal(placeFrom({ stretches: [[0, 2], [2, 5]], labels: [], special: [] }, 2), 1);
  assert.equal(placeFrom({ stretches: [[0, 2]], labels: [], special: [] }, 2), null);
});

test("texts share the longest run of tokens that both have in order", () => {
  assert.deepEqual(sharedPlaces(["a", "b", "c", "d"], ["a", "x", "c", "d"]), [[0, 0], [2, 2], [3, 3]]);
  assert.deepEqual(sharedPlaces(["a", "a"], ["a", "a", "a"]), [[0, 0], [1, 1]]);
  assert.deepEqual(sharedPlaces([], ["a"]), []);
});

test("maps are subtracted of the same queries alone: what was read at other ones waits until all are read", async () => {
  const tile = (every: number, value: number): Tile => ({ height: 1, width: 1, values: Float32Array.of(value), masked: new Uint8Array(1), top: value, every });
  const drawnOf = async (every: [number, number], alike: boolean, isRefused = false): Promise<[number[], boolean]> => {
    const drawn: number[] = [];
    const ask = async (exact: boolean): Promise<[Tile, Tile]> => {
      if (exact && isRefused) throw new Error("too many");
      return exact ? [tile(1, 3), tile(1, 1)] : [tile(every[0], 9), tile(every[1], 1)];
    };
    const isDrawn = await bothSoon(ask, alike, (a, b) => drawn.push(less(a, b).values[0]!), () => drawn.push(0));
    return [drawn, isDrawn];
  };
  assert.deepEqual(await drawnOf([1, 1], false), [[8], true]);
  assert.deepEqual(await drawnOf([1, 8], true), [[0, 2], true]);
  assert.deepEqual(await drawnOf([8, 8], true), [[8, 2], true]);
  assert.deepEqual(await drawnOf([8, 8], false), [[0, 2], true]);
  assert.deepEqual(await drawnOf([1, 8], true, true), [[0], false]);
});

test("maps of different texts are subtracted where both have tokens, and it is said", async () => {
  const other: Item = { ...DECODER, target: tokensOf(["The", "dog", "sat"]) };
  const source = new MemorySource(atlasOf([DECODER, other], HEADS), HEADS);
  const [a, b] = [sceneOf(source, OF), sceneOf(source, { ...OF, item: 1, head: 0 })];
  const [rows, columns] = [shared(a.queries, b.queries), shared(a.keys, b.keys)];
  assert.deepEqual(rows, { first: [0, 2], second: [0, 2] });
  assert.match(sharedNote(a, b, { rows, columns }, true), /2 queries that both have, of 3 and 3, and of 2 keys that both have/);
  assert.equal(sharedNote(a, a, { rows: shared(a.queries, a.queries), columns: shared(a.keys, a.keys) }, true), "Both have the same tokens.");
  const look = { queries: [[0, 1], [2, 3]] as const, keys: [[0, 1], [2, 3]] as const };
  const ask = { look, part: { rows: [0, 2], columns: [0, 2] } as const, height: 9, width: 9, pool: "mean", values: "number", exact: true } as const;
  const difference = less(await source.tile({ of: a.of, ...ask }), await source.tile({ of: b.of, ...ask }));
  near(difference.values, [0, 0, 0.2 - 1 / 3, 0.2 - 1 / 3]);
  assert.deepEqual([...difference.masked], [0, 1, 0, 0]);
});

test("the other side is the same map of another recording, or the next head, and always one that exists", () => {
  assert.deepEqual(nextTo({ of: OF }, [SOURCE]), { recording: 0, item: 0, layer: 2, head: 0, quantity: "weight" });
  assert.equal(nextTo({ of: OF }, [SOURCE, SOURCE]).recording, 1);
  assert.deepEqual(existing({ recording: 9, item: 9, layer: 9, head: 9, quantity: "norm" }, [SOURCE], "decoder", OF), { recording: 0, item: 0, layer: 2, head: 1, quantity: "weight" });
});

test("arcs of a tree have what lies between words, and those that pass over others are higher", () => {
  const words = [
    { text: "The", tokens: [0], head: 2, relation: "det" },
    { text: "big", tokens: [1, 2], head: 2, relation: "amod" },
    { text: "cat", tokens: [3], head: null, relation: "root" },
    { text: "∅", tokens: [], head: 2, relation: "dep" },
  ];
  const { look, placeOf } = lookOfWords(words);
  assert.deepEqual(look.queries, [[0, 1], [1, 3], [3, 4]]);
  assert.deepEqual(placeOf, [0, 1, 2, -1]);
  const tile: Tile = { height: 3, width: 3, values: Float32Array.of(0.5, 0.1, 0.4, 0.3, 0.2, 0.1, 0.9, 0, 0.1), masked: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1, 0), top: 0.9, every: 1 };
  const up = arcsOf(words, placeOf, tile, "up");
  near(up.slice(0, 2).map(({ value }) => value), [0.4, 0.1]);
  assert.deepEqual(up.map(({ isLargest, height }) => [isLargest, height]), [[true, 2], [false, 1], [false, 1]]);
  assert.ok(Number.isNaN(up[2]!.value));
  const down = arcsOf(words, placeOf, tile, "down");
  near([down[0]!.value], [0.9]);
  assert.ok(Number.isNaN(down[1]!.value), "masked");
  assert.match(countOf(up, tile.width), /^1 of 2 arcs .+ by chance about 1\.0 would\.$/);
});

test("patches lie where the grid begins, and hidden ones nowhere", () => {
  const image = { width: 8, height: 8, src: "", first: 1, rows: 1, columns: 2, seen: [0, 0, 8, 8] as [number, number, number, number] };
  assert.deepEqual(patchPlaces(image, { stretches: [[0, 1], [1, 2], [2, 3]], labels: [], special: [] }, 3), [1, 2]);
  assert.deepEqual(patchPlaces(image, { stretches: [[1, 2]], labels: [], special: [] }, 3), [0, -1]);
  assert.equal(shownSide({ of: { ...OF, kind: "encoder" }, chosen: { row: null, column: 2 } }), "queries");
  assert.equal(shownSide({ of: { ...OF, kind: "cross" }, chosen: { row: null, column: 2 } }), "keys");
});

test("a sound's columns have their time, and what is no base64 has no loudness", () => {
  const sound = { n_mels: 1, n_frames: 2, loudness: "", frame_seconds: 0.01, token_seconds: 0.02, silent_from: 1, hertz: [0, 8000] as [number, number] };
  assert.deepEqual(secondsOf({ keys: { stretches: [[0, 1], [49, 50]], labels: [], special: [] } }, sound), [0, 1]);
  assert.deepEqual(ticksOf([0, 1]).map(({ label }) => label), ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s"]);
  assert.deepEqual([...bytesOfBase64("AP8=")], [0, 255]);
  assert.equal(bytesOfBase64("<script>").length, 0);
});

test("a table's page holds what is chosen, stays within its part, and can be turned", () => {
  const part = { rows: [10, 100], columns: [0, 5] } as const;
  assert.deepEqual(pageOf(part, null, { row: 10 + PAGE.rows, column: 3 }), { rows: [10 + PAGE.rows, 10 + 2 * PAGE.rows], columns: [0, 5] });
  assert.deepEqual(pageOf(part, null, { row: 3, column: null }).rows, [10, 10 + PAGE.rows]);
  assert.deepEqual(pageOf(part, [999, 0], { row: null, column: null }).rows, [99, 100]);
});

test("two sentences say what is on screen and what it does not show, with a paper, for every quantity and view", () => {
  const atlas = atlasOf([DECODER], HEADS, { standouts: [], quantities: [{ name: "effect", words: "measured effect", unit: "nats", signed: true }] });
  for (const quantity of QUANTITIES.keys()) {
    for (const view of ["map", "lines", "text", "terms", "generation", "compare", "tree", "image", "sound", "table", "overview", "heads", "layers"]) {
      const [shows, not] = sentencesOf(atlas, view, { ...OF, quantity });
      assert.match(shows, ["relevance", "rollout", "contribution", "flow"].includes(quantity) ? /^L2 decoder self-attention: .+\.$/ : /^L2H1 decoder self-attention: .+\.$/, "no head stands for all of them");
      assert.match(not, /^It does not show .+ \(.+ (19|20)\d\d, “.+”\)\.$/);
    }
  }
  assert.match(sentencesOf(atlas, "map", { ...OF, head: "mean" })[0], /^Mean of the 2 heads of L2/);
});

test("an effect stands beside its weight, and what is of a whole layer beside the mean of its heads", async () => {
  const effect: MemoryHead = { kind: "decoder", layer: 2, head: 0, quantity: "effect", causal: true, queries: [], keys: [], numbers: [[0, 0, 0], [-0.5, 0.25, 0], [0, 0, 0]] };
  const quantities = [{ name: "effect", words: "measured effect", unit: "nats", signed: true }];
  const source = new MemorySource(atlasOf([DECODER], [...HEADS, effect], { quantities }), [...HEADS, effect]);
  const scene = sceneOf(source, { ...OF, head: 0, quantity: "effect" }, { row: 1, column: 0 });
  assert.equal(await besideWeight(scene), "measured effect −0.5000 beside attention weight 0.3750, the mean of 2 heads");
  assert.equal(await besideWeight({ ...scene, of: OF }), null);
  assert.equal(await besideWeight({ ...scene, chosen: { row: 1, column: null } }), null);
  assert.deepEqual(nextTo(scene, [source]), { recording: 0, item: 0, layer: 2, head: 0, quantity: "weight" });
});

test("numbers of either sign carry it", () => {
  assert.equal(written(-0.25, "either"), "−0.2500");
  assert.equal(written(0.25, "either"), "+0.2500");
  assert.equal(written(0, "either"), "0.0000");
  assert.equal(written(0.25, "positive"), "0.2500");
  assert.equal(written(25, "either", 100), "+25.00");
});

test("where two maps differ most are the largest differences in size, equals in order, nothing that is masked or 0", () => {
  const values = Float32Array.of(0.1, -0.9, 0, 0.5, 0.5, 0.7, NaN);
  const masked = Uint8Array.of(0, 0, 0, 0, 0, 1, 0);
  assert.deepEqual(largestOf({ values, masked }, 3), [1, 3, 4]);
  assert.deepEqual(largestOf({ values, masked }, 9), [1, 3, 4, 0]);
});

test("the largest of some numbers is that of those that are finite, whatever their sign", () => {
  assert.equal(largestSize(Float32Array.of(0.25, NaN, -0.5, -Infinity, Infinity)), 0.5);
  assert.equal(largestSize([]), 0);
});

test("patches that are read as one place have its weight once", () => {
  assert.equal(weightOn([0, 1, 1, 1, -1], Float32Array.of(0.25, 0.5, 0.25)), 0.75);
});

test("lines say what their width is of: weights to 1, other numbers to their largest, negative ones dashed; and when some are left out", () => {
  const weight = new Colours("row", "shared", { name: "weight", words: "weight", unit: "", signed: false }, 0.5);
  assert.equal(weight.linesSaid(0.01), "A line is as wide and as strong as its weight, from 0 to 1; weights below 0.01 have none");
  const effect = new Colours("rank", "shared", { name: "effect", words: "measured effect", unit: "nats", signed: true }, 0.02);
  assert.equal(effect.linesSaid(0.01), "A line is as wide and as strong as its measured effect, up to 0.02 in size; dashed ones are negative; numbers below 0.01 have none");
  assert.deepEqual([effect.numbers, effect.signs], ["either", "positive"], "ranks have no sign, the numbers do");
  near([effect.share(-0.01), effect.share(0.5), weight.share(0.25)], [0.5, 1, 0.25]);
  assert.deepEqual([{ weight: 0.1 }, { weight: -0.5 }, { weight: 0.3 }].sort(byWeight).map((one) => one.weight), [-0.5, 0.3, 0.1]);
  assert.deepEqual([MOST_LINES, MOST_LINES + 1].map(mostSaid), ["", " Of 4001 lines the 4000 heaviest are drawn."]);
});

test("a picture that is smaller than its map, or of some queries, says so", () => {
  const axis = { stretches: [], labels: ["a", "b"], special: [] };
  const of = (height: number, every: number) => pooledNote({ height, width: 2, values: new Float32Array(), masked: new Uint8Array(), top: 0, every }, { queries: axis, keys: axis }, "mean");
  assert.deepEqual([of(2, 1), of(1, 1), of(1, 3)], ["", "; each pixel is the mean under it", "; each pixel is the mean under it; one query in 3 was read"]);
  assert.deepEqual([1, 3].map((every) => sampledNote({ every })), ["", " One query in 3 was read."]);
});
