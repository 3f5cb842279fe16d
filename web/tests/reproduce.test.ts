// What is copied out of the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Atlas } from "../src/data.ts";
import { commandOf, csvOf, knockOutOf, pythonOf, writerOf } from "../src/reproduce.ts";
import { stateFromHash } from "../src/state.ts";
import { questionOf } from "../src/drawn.ts";
import type { ShownMap } from "../src/picture.ts";

const tokens = (text: string) => ({ text, n_padding: 0, tokens: [{ text, role: "text", word: 0, position: 0 }] });
const EMBEDDED = "the embedded English–French translator";
/** A source of a text that the model generated as it does where nobody says. */
const sourceOf = (text: string, model: string, n_items = 1, method = model === EMBEDDED ? "beam" : "greedy", beams = method === "beam" ? 5 : undefined): Atlas =>
  ({
    items: Array.from({ length: n_items }, () => ({ source: tokens(text), target: tokens("t"), predicted: [] })),
    layers: [{ kind: "cross", index: 2, n_heads: 8 }],
    open: { kind: "cross", layer: 2, head: 4 },
    provenance: { model, method, beams, notes: [] as string[] },
  }) as unknown as Atlas;

test("a command draws the view; what the shell would read is quoted", () => {
  const source = sourceOf("don't $(rm) it", EMBEDDED);
  const state = stateFromHash("#special=hide&scale=log", source);
  assert.equal(commandOf(state, source), "attlas draw map 'don'\\''t $(rm) it' --kind cross --layer 2 --head 4 --scale log --special hide -o L2H4.svg");
  const lines = stateFromHash("#view=lines&scale=log&rows=read&words=merged", source);
  assert.match(commandOf(lines, sourceOf("a", "org/name")), /^attlas draw lines 'a' --model 'org\/name' .* --words --label-rows read -o/);
});

test("with how many beams a text was generated is said where it is not the usual number", () => {
  const by = (model: string, method: string, beams?: number): string[] => {
    const source = sourceOf("a", model, 1, method);
    source.provenance.beams = beams;
    const state = stateFromHash("", source);
    return [commandOf(state, source), pythonOf(state, source)].map((line) => /--beam \d+|beams=\d+|run\.safetensors/.exec(line)?.[0] ?? "");
  };
  assert.deepEqual(by(EMBEDDED, "beam", 5), ["", ""]);
  assert.deepEqual(by(EMBEDDED, "greedy"), ["--beam 1", "beams=1"]);
  assert.deepEqual(by(EMBEDDED, "beam", 8), ["--beam 8", "beams=8"]);
  assert.deepEqual(by("m", "greedy"), ["", ""]);
  assert.deepEqual(by("m", "beam", 5), ["--beam 5", "beams=5"]);
  // a command that takes no number of beams is given the recording
  assert.match(knockOutOf(stateFromHash("", sourceOf("a", EMBEDDED)), sourceOf("a", EMBEDDED))!, /^attlas ablate 'a' --heads/);
  const greedy = sourceOf("a", EMBEDDED, 1, "greedy");
  assert.match(knockOutOf(stateFromHash("", greedy), greedy)!, /^attlas ablate run\.safetensors --heads/);
  assert.deepEqual(by(EMBEDDED, "beam"), ["run.safetensors", "run.safetensors"]); // a greedy text that gave way to one of known words
});

test("a text that a command would take for an option is not written into one", () => {
  const source = sourceOf("--model=elsewhere", "m");
  assert.match(commandOf(stateFromHash("", source), source), /^attlas draw map run\.safetensors --kind/);
  assert.match(knockOutOf(stateFromHash("", source), source)!, /^attlas ablate run\.safetensors --model 'm' --heads/);
});

test("notes and views that are called as parts of every object are, are like any other", () => {
  const source = sourceOf("a", "m");
  source.provenance.notes.push("constructor");
  assert.match(commandOf(stateFromHash("#view=toString", source), source), /^attlas draw map run\.safetensors --kind/);
  assert.match(pythonOf(stateFromHash("", source), source), /attlas\.open/);
});

test("of several texts, or arrays from elsewhere, a recording is named", () => {
  const several = sourceOf("a", "m", 2);
  assert.match(commandOf(stateFromHash("#item=1", several), several), /^attlas draw map run\.safetensors --text 1 --kind/);
  assert.match(pythonOf(stateFromHash("#item=1", several), several), /attlas\.open\("run\.safetensors"\)\nweights = rec\.map\("cross", 2, 4, item=1\)\.weights/);
  const imported = sourceOf("a", "m", 1, "imported");
  assert.match(commandOf(stateFromHash("", imported), imported), /run\.safetensors/);
});

test("what else was done in a run is not left out: its recording is named", () => {
  const source = sourceOf("a", EMBEDDED);
  source.provenance.notes.push("L1H4 of cross-attention was knocked out: its output was set to 0");
  const state = stateFromHash("", source);
  assert.match(commandOf(state, source), /^attlas draw map run\.safetensors --kind cross/);
  assert.match(pythonOf(state, source), /attlas\.open\("run\.safetensors"\)/);
});

test("other numbers than weights are asked for by name, and of all heads together without a head", () => {
  const source = sourceOf("a", EMBEDDED);
  const [cross] = source.layers;
  source.layers.push({ ...cross!, quantity: "norm" }, { ...cross!, quantity: "rollout", n_heads: 1 });
  const of = (quantity: string): string[] => [commandOf, pythonOf].map((made) => made(stateFromHash(`#quantity=${quantity}`, source), source));
  const [command, python] = of("norm");
  assert.equal(command, "attlas draw map 'a' --kind cross --layer 2 --head 4 --quantity norm -o L2H4.svg");
  assert.match(python!, /attlas\.record\("a", quantities=\["norm"\]\)\nweights = rec\.map\("cross", 2, 4, quantity="norm"\)\.weights/);
  assert.match(of("rollout")[0]!, /'a' --kind cross --layer 2 --quantity rollout -o L2\.svg/);
  assert.match(of("rollout")[1]!, /rec\.map\("cross", 2, quantity="rollout"\)/);
  assert.match(knockOutOf(stateFromHash("#quantity=rollout", source), source)!, /--heads cross:2\.\*$/, "no head stands for all of them");
});

test("norms and contributions are asked for by what the recording says that they are", () => {
  const source = sourceOf("a", EMBEDDED);
  source.layers.push({ ...source.layers[0]!, quantity: "norm", n_heads: 1 });
  source.provenance.notes.push("norms of what all heads of a layer add together");
  const state = stateFromHash("#quantity=norm", source);
  assert.match(commandOf(state, source), /^attlas draw map 'a' --kind cross --layer 2 --quantity norm-sum -o/);
  assert.match(pythonOf(state, source), /quantities=\["norm-sum"\].*\n.*rec\.map\("cross", 2, quantity="norm-sum"\)/);
  source.provenance.notes.push("relevance for the logit of \"b\"");
  assert.match(commandOf(state, source), /^attlas draw map run\.safetensors/, "of which prediction, the recording says");
});

test("the part that is seen is drawn, and the heads of a layer, or one across the layers", () => {
  const source = sourceOf("a", EMBEDDED);
  const of = (hash: string): string => commandOf(stateFromHash(hash, source), source);
  assert.match(of("#zoom=2-6+1-4"), / --rows 2:6 --columns 1:4 -o/);
  assert.match(of("#view=heads"), /^attlas draw heads 'a' --kind cross --layer 2 -o/);
  assert.match(of("#view=across"), /^attlas draw layers 'a' --kind cross --head 4 -o/);
});

test("Python is given the text as a string that cannot end early", () => {
  const source = sourceOf('a "b" \\ c', EMBEDDED);
  assert.match(pythonOf(stateFromHash("#words=merged", source), source), /attlas\.record\("a \\"b\\" \\\\ c"\)\n.*\.words\(\)\.weights/);
});

test("a table has keys across and queries down, masked cells empty, and no label begins a formula", () => {
  const shown = {
    queries: { labels: ["=1+1", 'say "x"'], groups: [[0], [1]], special: [] },
    keys: { labels: ["a", "b"], groups: [[0], [1]], special: [] },
    weights: Float32Array.of(1, 0, 0.25, 0.75),
    masked: Uint8Array.of(0, 1, 0, 0),
  } as unknown as ShownMap;
  assert.equal(csvOf(shown), '"query \\ key","a","b"\r\n"\'=1+1",1,\r\n"say ""x""",0.25,0.75\r\n');
});

test("a table has no digits that did not travel", () => {
  const source = sourceOf("a", "m");
  const state = stateFromHash("", source);
  const weight = Math.fround(0.0061);
  assert.equal(writerOf(state, source)(Math.fround(0.12345678)), "0.12345678", "all there are, of 32 bits");
  source.layers[0]!.stored = [{ storage: "coded", lengths: [], heads: [], sums: null, lse: null, lse_short: false }];
  assert.equal(writerOf(state, source)(weight), "0.0061");
  source.layers[0]!.stored = [{ storage: "factored", lse: 0, lse_rest: 0, groups: [{ form: "rounded" } as never] }];
  assert.equal(writerOf(state, source)(Math.fround(0.12345678)), "0.1235");
});

test("a head is knocked out of the same text, or the recording and its model; arrays from elsewhere have no model to ask", () => {
  const embedded = "the embedded English–French translator";
  const of = (source: Atlas): string | null => knockOutOf(stateFromHash("", source), source);
  assert.equal(of(sourceOf("a", embedded)), "attlas ablate 'a' --heads cross:2.4");
  assert.equal(of(sourceOf("a", "org/name", 2)), "attlas ablate run.safetensors --model 'org/name' --heads cross:2.4");
  assert.equal(of(sourceOf("a", "m", 1, "imported")), null);
});

test("a model is named as it was where the page was made, and by its own name where nobody said it", () => {
  const source: Atlas = { ...sourceOf("a", "gpt2"), model_place: "models/my gpt2" };
  const state = stateFromHash("", source);
  assert.match(commandOf(state, source), /^attlas draw map 'a' --model 'models\/my gpt2' --kind/);
  assert.match(knockOutOf(state, source)!, /^attlas ablate 'a' --model 'models\/my gpt2' --heads/);
  assert.match(pythonOf(state, source), /attlas\.record\("a", model="models\/my gpt2"\)/);
  const several: Atlas = { ...sourceOf("a", "gpt2", 2), model_place: "models/my gpt2" };
  assert.match(knockOutOf(state, several)!, /^attlas ablate run\.safetensors --model 'models\/my gpt2' --heads/);
  assert.match(commandOf(state, sourceOf("a", "org/name")), /'a' --model 'org\/name'/);
});

test("pictures of several maps have a scale each where the page's have", () => {
  const source = sourceOf("a", EMBEDDED);
  assert.match(commandOf(stateFromHash("#view=heads&range=own", source), source), /^attlas draw heads 'a' .* --panel-scale own -o/);
  assert.doesNotMatch(commandOf(stateFromHash("#view=map&range=own", source), source), /panel-scale/);
});

test("a server draws a layer's heads and a head across layers, each map with a scale of its own where the page's have", () => {
  const source = sourceOf("a", "m");
  const question = (hash: string) => questionOf(stateFromHash(hash, source));
  assert.equal(question("#view=heads")!.picture, "heads");
  assert.deepEqual([question("#view=across&range=own")!.picture, question("#view=across&range=own")!.panel_scale], ["layers", "own"]);
  assert.equal(question("#view=map&range=own")!.panel_scale, undefined);
  for (const hash of ["#view=heads&scale=rank", "#view=across&punctuation=hide"]) assert.equal(question(hash), null, hash);
});

test("a recording is named as it was where the page was made", () => {
  const source: Atlas = { ...sourceOf("a", "gpt2"), recording_place: "runs/my run.safetensors" };
  const state = stateFromHash("", source);
  assert.match(commandOf(state, source), /^attlas draw map 'runs\/my run\.safetensors' --kind/);
  assert.match(knockOutOf(state, source)!, /^attlas ablate 'runs\/my run\.safetensors' --model 'gpt2' --heads/);
  assert.match(pythonOf(state, source), /attlas\.open\("runs\/my run\.safetensors"\)/);
  assert.match(commandOf(state, { ...source, recording_place: "../before.safetensors" }), /^attlas draw map \.\.\/before\.safetensors --kind/);
});

test("a server is asked to draw the view as it is, and nothing where its picture would show something else", () => {
  const source = sourceOf("a", "m");
  const asked = (hash: string) => questionOf(stateFromHash(hash, source));
  const plain = { picture: "map", item: 0, quantity: "weight", kind: "cross", layer: 2, head: 4 };
  assert.deepEqual(asked(""), plain);
  assert.deepEqual(asked("#scale=log&special=hide&silence=show&words=merged&rows=read&theme=dark&zoom=3-9+0-4"), {
    ...{ ...plain, scale: "log", hide_special: true, show_silence: true, words: true, rows_are: "read", theme: "dark" },
    ...{ top: 3, bottom: 9, left: 0, right: 4 },
  });
  assert.deepEqual(asked("#view=lines"), { ...plain, picture: "lines" });
  for (const other of ["view=lines&least=0.5", "view=lines&most=1", "view=lines&heads=2.1", "view=text", "scale=rank", "spans=s0-1+a", "punctuation=hide", "first=hide", "from=0", "to=0"]) {
    assert.equal(asked(`#${other}`), null, other);
  }
});
