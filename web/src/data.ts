// What travels inside the page: a JSON description and a block of little-endian numbers.

import { finished, type Work } from "./work.ts";

export type Kind = "encoder" | "decoder" | "cross";

export const KIND_TITLES: Record<Kind, string> = {
  encoder: "encoder self-attention",
  decoder: "decoder self-attention",
  cross: "cross-attention",
};

export interface Token {
  text: string;
  role: "text" | "special" | "padding";
  /** The word that the token belongs to; pieces of one word share it. */
  word: number | null;
  /** The token's index before padding was left out: what visibility and biases count in. */
  position: number;
  /** Whether it is silence that was added after a sound. */
  silent?: boolean;
  /** At the first piece of a word that the text spells otherwise than its pieces joined: the word. */
  whole?: string;
  /** "[UNK]" of a token "猫 [UNK]": what the vocabulary calls text that it does not know. */
  unknown?: string;
  /** Whether it is a piece of a word that was generated and that the model does not know. */
  new?: true;
}

export interface Tokens {
  text: string;
  tokens: Token[];
  /** How many padding tokens were left out. */
  n_padding: number;
}

export interface Item {
  source: Tokens;
  target: Tokens;
  /** The token that row t of a decoder map predicts; empty when unknown. */
  predicted: Token[];
  image?: ItemImage;
  sound?: ItemSound;
  tree?: ItemTree;
  /** The place of the first target token that was generated; absent where all were given, or nobody knows. */
  generated?: number;
  /** What a reader must know of what was generated, one sentence each; absent where there is nothing. */
  remarks?: string[];
}

/** A picture whose patches are source tokens. */
export interface ItemImage {
  /** Size in pixels of what `src` holds. */
  width: number;
  height: number;
  /** The picture as a data URL; empty where there is none, but patches. */
  src: string;
  /** The place of the top left patch; others follow row by row, and source tokens before it have no place in the picture. */
  first: number;
  rows: number;
  columns: number;
  /** What the patches cover: left, top, width, height, in pixels of `src`. */
  seen: [number, number, number, number];
}

/** A sound whose frames are source tokens. */
export interface ItemSound {
  n_mels: number;
  n_frames: number;
  /** Base64 of one byte a cell: 0 the quietest, 255 the loudest; may end before the tokens do. [n_mels, n_frames], lowest pitch first */
  loudness: string;
  /** The lengths of a frame and of a source token, in seconds. */
  frame_seconds: number;
  token_seconds: number;
  /** Where added silence begins, in seconds; null where none was added. */
  silent_from: number | null;
  /** The lowest and the highest pitch, in Hz. */
  hertz: [number, number];
}

/** A dependency tree over one of the item's texts. */
export interface ItemTree {
  of: "source" | "target";
  words: TreeWord[];
}

export interface TreeWord {
  /** As the tree has it. */
  text: string;
  /** The places of its tokens; empty where it has none. */
  tokens: number[];
  /** The word that it depends on, counted from 0; null of the root. */
  head: number | null;
  /** "nsubj", with its subtype. */
  relation: string;
}

// JSON has no −∞; it comes as null.
export type Bias =
  | { type: "none" }
  | { type: "alibi"; slopes: (number | null)[] }
  | { type: "relative"; first: number; table: (number | null)[]; n_offsets: number };

export interface Scoring {
  scale: number;
  softcap?: number;
  visibility: { before?: number; after?: number };
  bias?: Bias;
  sinks?: (number | null)[] | null;
  query_offset: number;
}

/** Where a layer's numbers for one item begin, in bytes. Where weights travel, groups have the queries and keys to be looked at, or
 * are absent. */
export type Stored =
  // weights or other numbers [n_heads, n_queries, n_keys] and lse [n_heads, n_queries], floats
  | { storage: "dense"; weights: number; lse: number | null; groups?: Group[] }
  // the digits that are shown of weights, in a code of such lengths, by head; sums of rows where they are not 1 with the sink;
  // lse in i16 of LSE_STEP where it is short. Numbers that are no weights are in the layer's unit; where they are signed, a bit
  // after each that is not 0 says which are negative
  | { storage: "coded"; lengths: number[]; heads: number[]; signed?: boolean; sums: number | null; lse: number | null; lse_short: boolean; groups?: Group[] }
  // lse and what f32 leaves out of it [n_heads, n_queries]; a group for each head of keys
  | { storage: "factored"; lse: number; lse_rest: number; groups: Group[] };

/** Queries [n_heads / n_kv_heads, n_queries, d_head] and keys [n_keys, d_head]. */
export type Group =
  // floats; weights are made with the log-sum-exps
  | { form: "f32"; queries: number; keys: number }
  // whole numbers of so many bits, each row times its step; weights are made with the sums of rows, but for those that travel as they are
  | { form: "rounded"; bits: number; queries: number; query_steps: number; keys: number; key_steps: number; exact: Exact[] };

/** n columns and numbers of weights, u16, and how many each row has, u16 [n_queries]. */
export interface Exact {
  n: number;
  counts: number;
  keys: number;
  numbers: number;
}

export interface Layer {
  kind: Kind;
  /** What its numbers are; weights where it is absent. A map of a whole layer is one head. */
  quantity?: string;
  /** A power of ten that none of its numbers is above in size, in which they are shown; 1 where it is absent. */
  unit?: number;
  index: number;
  n_heads: number;
  n_kv_heads: number;
  d_head: number;
  /** How scores come about; absent for arrays that came without. */
  scoring: Scoring | null;
  /** One per item of the batch. */
  stored: Stored[];
}

export interface Provenance {
  model: string;
  family: string;
  revision: string;
  dtype: string;
  mode: string;
  /** The program that wrote the recording, and its version. */
  writer: string;
  method: string;
  /** How many beams were asked for where texts were generated by a search. */
  beams?: number;
  notes: string[];
}

/** What a head does more than its baseline, and what its score is to be read beside. */
export interface Standout {
  kind: Kind;
  layer: number;
  head: number;
  /** The measure's name, the same for ever. */
  name: string;
  /** What the head does: "previous token". */
  title: string;
  /** What the score is. */
  says: string;
  score: number;
  /** The 95 % interval of the score; null of one row. */
  interval: [number, number] | null;
  /** The score from which a head is named. */
  threshold: number;
  /** What knowing nothing but positions would give; null where the score is relative already. */
  baseline: number | null;
  n: number;
  /** What there are n of: "queries". */
  over: string;
  /** Whether more than half of the kind's heads do so. */
  usual: boolean;
}

/** Measured effects of heads, all by one method and metric. */
export interface HeadEffects {
  /** What was done to each head: "zero". */
  method: string;
  /** What was measured: "kl". */
  metric: string;
  heads: HeadEffect[];
}

export interface HeadEffect {
  kind: Kind;
  layer: number;
  head: number;
  /** The metric with the change less without. */
  effect: number;
  /** The mean over rows of the row's largest weight. */
  mean_weight?: number;
}

/** One of the texts in words. */
export interface Description {
  /** The text, counted from 0. */
  item: number;
  sentences: Sentence[];
  /** What stands under them. */
  caption: string;
}

/** A sentence, and what it lets a reader open: a head, a layer, a kind, or nothing. */
export interface Sentence {
  text: string;
  kind: Kind | null;
  layer: number | null;
  head: number | null;
}

/** What numbers other than weights are, and whether they have either sign. */
export interface QuantityOf {
  name: string;
  words: string;
  unit: string;
  signed: boolean;
}

export interface Atlas {
  version: number;
  title: string;
  items: Item[];
  layers: Layer[];
  /** What the numbers of layers are, weights among them; absent where all are weights. */
  quantities?: QuantityOf[];
  /** What marks a head out first. */
  standouts: Standout[];
  description?: Description;
  effects?: HeadEffects;
  /** The quantity is there only where no layer has weights. */
  open: { kind: Kind; layer: number; head: number; quantity?: string };
  provenance: Provenance;
  /** How the model is named where it is to be loaded again, where that is known. */
  model_place?: string;
  /** How the recording is named where it is to be opened again; absent of one that was made of a text. */
  recording_place?: string;
  /** Where maps were too large for the page: cells are tiles of so many tokens at most, each the largest weight in it;
   * and how many tokens there are, padding included. */
  pooled?: { source: number; target: number; n_source: number; n_target: number };
  /** What of the recording fails its checks. */
  failed?: string;
}

/** An atlas with its numbers; see {@link Stored}. */
export interface Carried extends Atlas {
  numbers: ArrayBuffer;
}

/** The version of the data; crates/attlas-viewer/src/payload.rs writes it. */
const VERSION = 5;

/** A pair of the page's data blocks: the description, and the numbers as text; see {@link bytesOf}. Null where the page has no such pair. */
export function readBlocks(document: Document, recording: number): { atlas: Atlas; numbers: string } | null {
  const suffix = recording === 0 ? "" : `-${recording}`;
  const text = (id: string): string | null => document.getElementById(`${id}${suffix}`)?.textContent ?? null;
  const [description, numbers] = [text("atlas-data"), text("atlas-numbers")];
  if (description === null && recording > 0) return null;
  const missing = description === null ? "atlas-data" : numbers === null ? "atlas-numbers" : null;
  if (missing !== null) throw new Error(`the page has no "${missing}${suffix}" block; was it cut short while being copied?`);
  const atlas = JSON.parse(description!) as Atlas;
  if (atlas.version !== VERSION) throw new Error(`the page's data has version ${atlas.version}; this viewer reads version ${VERSION}`);
  return { atlas, numbers: numbers! };
}

/** What stands for each sign of a block of bytes: its place among those of ASCII that are not `"`, `&` or `<`. */
const PLACES = new Uint8Array(128);
[...Array(94).keys()].map((place) => place + 33).filter((code) => ![34, 38, 60].includes(code)).forEach((code, place) => (PLACES[code] = place));

/** Text to bytes: every two signs are 13 bits, the first the lowest. */
export function* decoded(text: string): Work<ArrayBuffer> {
  const bytes = new Uint8Array(Math.floor((text.length / 2) * 13 / 8));
  let [rest, n_rest, at] = [0, 0, 0];
  for (let i = 0; i + 1 < text.length; i += 2) {
    rest |= (PLACES[text.charCodeAt(i)]! + 91 * PLACES[text.charCodeAt(i + 1)]!) << n_rest;
    for (n_rest += 13; n_rest >= 8; n_rest -= 8, rest >>>= 8) bytes[at++] = rest;
    if ((i & 0xfffff) === 0) yield;
  }
  return bytes.buffer;
}

/** {@link decoded}, at once. */
export function bytesOf(text: string): ArrayBuffer {
  return finished(decoded(text));
}

/** What the numbers of a layer are. */
export function quantityOf({ quantity }: Pick<Layer, "quantity">): string {
  return quantity ?? "weight";
}

/** The layers of a kind that have the quantity. */
export function layersOf(atlas: { layers: Layer[] }, kind: Kind, quantity: string): Layer[] {
  return atlas.layers.filter((layer) => layer.kind === kind && quantityOf(layer) === quantity);
}

/** The layer of a map. */
export function layerOf(atlas: { layers: Layer[] }, { kind, layer, quantity }: { kind: Kind; layer: number; quantity: string }): Layer | undefined {
  return layersOf(atlas, kind, quantity).find(({ index }) => index === layer);
}

/** The tokens along the rows of a kind's maps. */
export function queryTokens(item: Item, kind: Kind): Tokens {
  return kind === "encoder" ? item.source : item.target;
}

/** The tokens along the columns of a kind's maps. */
export function keyTokens(item: Item, kind: Kind): Tokens {
  return kind === "decoder" ? item.target : item.source;
}

/** What the cells of a kind are, where they are tiles; empty where each is one weight. */
export function tilesOf(source: Atlas, kind: Kind): string {
  const { source: ofSource, target: ofTarget } = source.pooled ?? { source: 1, target: 1 };
  const queries = kind === "encoder" ? ofSource : ofTarget;
  const keys = kind === "decoder" ? ofTarget : ofSource;
  if (queries * keys === 1) return "";
  return `The text is long: each cell is the largest weight of a tile of up to ${queries} × ${keys} weights (queries × keys).`;
}

/** "L2H4". */
export function headName(layer: number, head: number): string {
  return `L${layer}H${head}`;
}

/** Quantities that are always of all heads together. */
const OF_LAYERS = ["relevance", "rollout", "contribution", "flow"];

/** Whether a map is of all heads of its layer together: of other numbers than weights there is one, where there are weights of several heads. */
export function isOfLayer(atlas: { layers: Layer[] }, { kind, layer, quantity }: { kind: Kind; layer: number; quantity: string }): boolean {
  const n_heads = (of: string): number => layerOf(atlas, { kind, layer, quantity: of })?.n_heads ?? 0;
  return OF_LAYERS.includes(quantity) || (quantity !== "weight" && n_heads(quantity) === 1 && n_heads("weight") > 1);
}

/** What a map is called: "L2H4", or "L2" where it is of all heads of the layer together. */
export function mapName(atlas: { layers: Layer[] }, of: { kind: Kind; layer: number; head: number; quantity: string }): string {
  return isOfLayer(atlas, of) ? `L${of.layer}` : headName(of.layer, of.head);
}
