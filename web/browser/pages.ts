// The pages that the browser tests open, made by the attlas command.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Texts that are markup, formulas, directions and nothing at all; every one of them must stay text. */
export const HOSTILE = [
  "</script><script>alert(1)</script>",
  "<img src=x onerror=alert(2)>",
  "\" onmouseover=\"alert(3)",
  "javascript:alert(4)",
  "=HYPERLINK(\"http://example.com\")",
  "\u202eabc",
  "שלום",
  "مرحبا",
  "👩‍👩‍👧",
  "",
  "\n",
  "a very long token that has no end and goes on and on without a single place to break it",
];

/** Writes the pages into a folder, under the names that `open` of harness.ts takes. */
export function makePages(attlas: string, folder: string): void {
  const run = (...words: string[]): unknown => execFileSync(attlas, words, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  run("She gave him a red apple yesterday.", "-o", "translator.html");
  run("The 猫 saw the dog, and the dog saw the 猫.", "-o", "repeated.html");
  run("ablate", "A red apple.", "--heads", "cross:2.*", "-o", "effects.json");
  run("page", "A red apple.", "--effects", "effects.json", "-o", "effects.html");
  const imported = (name: string, kind: "encoder" | "decoder", tokens: string[], n_layers: number, n_heads: number, weight: Weight): void => {
    const n = tokens.length;
    writeFileSync(join(folder, `${name}.npy`), npy([n_layers, n_heads, n, n], weights(n_layers, n_heads, n, weight)));
    const side = kind === "encoder" ? "--source-tokens" : "--target-tokens";
    run("import", `${name}.npy`, "--kind", kind, side, JSON.stringify(tokens), "-o", `${name}.safetensors`);
    run(`${name}.safetensors`, "-o", `${name}.html`);
  };
  const local: Weight = (layer, head, query, key) => Math.exp(-Math.abs(query - key - head) / (1 + layer)) + 1e-3;
  imported("hostile", "encoder", HOSTILE, 2, 3, local);
  const words = Array.from({ length: 300 }, (_, place) => `w${place}`);
  treeAndPair(run, folder);
  picture(run, folder);
  sound(run, folder);
  imported("long", "decoder", words, 2, 2, (layer, head, query, key) => (key > query ? 0 : local(layer, 40 * head, query, key)));
}

type Run = (...words: string[]) => unknown;
/** The small models and files that attlas is tested with. */
export const DATA = resolve("../crates/attlas-model/tests/data");

/** Two recordings of a sentence with its tree, the second without a head. */
function treeAndPair(run: Run, folder: string): void {
  const sentence = "The girl is reading a book.";
  const words = ["The DET 2 det", "girl NOUN 4 nsubj", "is AUX 4 aux", "reading VERB 0 root", "a DET 6 det", "book NOUN 4 obj", ". PUNCT 4 punct"];
  const rows = words.map((word, place) => {
    const [form, tag, head, relation] = word.split(" ");
    return [place + 1, form, "_", tag, "_", "_", head, relation, "_", form === "book" ? "SpaceAfter=No" : "_"].join("\t");
  });
  writeFileSync(join(folder, "en.conllu"), `# text = ${sentence}\n${rows.join("\n")}\n\n`);
  run("record", sentence, "-o", "with.safetensors");
  run("record", sentence, "--knock-out", "cross:L2H4", "-o", "without.safetensors");
  run("page", "with.safetensors", "without.safetensors", "--trees", "en.conllu", "-o", "tree.html");
}

/** An image that a small ViT looked at. */
function picture(run: Run, folder: string): void {
  modelOf("vit", folder, '{"size": {"height": 12, "width": 12}}');
  run("page", join(DATA, "senses/rgb.png"), "--model", "vit", "-o", "picture.html");
}

/** A sound that a small Whisper heard. */
function sound(run: Run, folder: string): void {
  modelOf("whisper", folder, '{"feature_size": 8, "sampling_rate": 4480, "chunk_length": 1}');
  run("page", join(DATA, "senses/mono.wav"), "--model", "whisper", "--max-tokens", "4", "-o", "sound.html");
}

function modelOf(family: string, folder: string, preprocessor: string): void {
  mkdirSync(join(folder, family));
  for (const name of ["config.json", "model.safetensors"]) copyFileSync(join(DATA, "families", family, name), join(folder, family, name));
  writeFileSync(join(folder, family, "preprocessor_config.json"), preprocessor);
}

/** A weight before its row is made to sum to 1. */
type Weight = (layer: number, head: number, query: number, key: number) => number;

/** Rows that sum to 1. [n_layers, n_heads, n, n] */
function weights(n_layers: number, n_heads: number, n: number, weight: Weight): Float32Array {
  const numbers = new Float32Array(n_layers * n_heads * n * n);
  for (let row = 0; row < n_layers * n_heads * n; row += 1) {
    const [query, map] = [row % n, Math.floor(row / n)];
    const raw = Array.from({ length: n }, (_, key) => weight(Math.floor(map / n_heads), map % n_heads, query, key));
    const sum = raw.reduce((a, b) => a + b);
    raw.forEach((one, key) => (numbers[row * n + key] = one / sum));
  }
  return numbers;
}

/** An array as NumPy writes it. */
function npy(shape: number[], numbers: Float32Array): Buffer {
  const said = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const header = said.padEnd(Math.ceil((said.length + 11) / 64) * 64 - 11) + "\n"; // [64 · n − 10]
  const start = Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length & 255, header.length >> 8]);
  return Buffer.concat([start, Buffer.from(header), Buffer.from(numbers.buffer)]);
}
