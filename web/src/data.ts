// What travels inside the page: a JSON description and two blocks of little-endian numbers, one of dense maps.

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

/** Where a layer's numbers for one item begin, in bytes. */
export type Stored =
  // weights [n_heads, n_queries, n_keys] in the block of maps, lse [n_heads, n_queries]
  | { storage: "dense"; form: "f32" | "coded"; weights: number; lse: number | null }
  // lse and what f32 leaves out of it [n_heads, n_queries]; a group for each head of keys
  | { storage: "factored"; lse: number; lse_rest: number; groups: Group[] };

/** Queries [n_heads / n_kv_heads, n_queries, d_head] and keys [n_keys, d_head]. */
export type Group =
  // floats; weights are made with the log-sum-exps
  | { form: "f32"; queries: number; keys: number }
  // whole numbers, each row times its step; weights are made with the sums of rows, but for those that travel as they are
  | { form: "int16"; queries: number; query_steps: number; keys: number; key_steps: number; exact: Exact[] };

/** n columns, u16, and weights, f32, and how many each row has, u16 [n_queries]. */
export interface Exact {
  n: number;
  counts: number;
  keys: number;
  weights: number;
}

export interface Layer {
  kind: Kind;
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

export interface Atlas {
  version: number;
  title: string;
  items: Item[];
  layers: Layer[];
  /** What marks a head out first. */
  standouts: Standout[];
  description?: Description;
  open: { kind: Kind; layer: number; head: number };
  provenance: Provenance;
  /** Where maps were too large for the page: cells are tiles of so many tokens at most, each the largest weight in it;
   * and how many tokens there are, padding included. */
  pooled?: { source: number; target: number; n_source: number; n_target: number };
  /** What of the recording fails its checks. */
  failed?: string;
  /** Whether the block of dense maps must be inflated. */
  deflated: boolean;
}

/** An atlas with its numbers; see {@link Stored}. */
export interface Source extends Atlas {
  /** Dense maps. */
  maps: ArrayBuffer;
  /** All other numbers. */
  others: ArrayBuffer;
}

/** Reads the data blocks of the page. */
export async function readSource(document: Document): Promise<Source> {
  const text = (id: string): string => {
    const block = document.getElementById(id);
    if (block === null) throw new Error(`the page has no "${id}" block; was it cut short while being copied?`);
    return block.textContent ?? "";
  };
  const atlas = JSON.parse(text("atlas-data")) as Atlas;
  if (atlas.version !== 3) throw new Error(`the page's data has version ${atlas.version}; this viewer reads version 3`);
  const maps = bytesOf(text("atlas-maps"));
  return { ...atlas, maps: atlas.deflated ? await inflated(maps) : maps, others: bytesOf(text("atlas-numbers")) };
}

/** Base64 to bytes. */
export function bytesOf(base64: string): ArrayBuffer {
  const binary = atob(base64.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

async function inflated(bytes: ArrayBuffer): Promise<ArrayBuffer> {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot inflate data (DecompressionStream); one of 2023 or later can");
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
}

/** The code of the largest weight whose logarithm is coded, that weight, and the step between logarithms. */
const [LAST_LOGARITHM, LINEAR_FROM, LOGARITHM_STEP] = [39_650, 1 / 64, 0.0025];

/** The weight behind each 16-bit code: 0, then a logarithmic scale up to 1/64, then equal steps up to 1. */
const CODED = Float32Array.from({ length: 65_536 }, (_, code) => {
  if (code === 0) return 0;
  if (code <= LAST_LOGARITHM) return LINEAR_FROM * Math.exp(LOGARITHM_STEP * (code - LAST_LOGARITHM));
  return LINEAR_FROM + (code - LAST_LOGARITHM) * ((1 - LINEAR_FROM) / (65_535 - LAST_LOGARITHM));
});

/** `n` weights from the `first` on, of an array of `all` that begins at byte `start`. */
export function denseWeights(maps: ArrayBuffer, form: "f32" | "coded", start: number, first: number, n: number, all: number): Float32Array {
  if (form === "f32") return new Float32Array(maps, start + 4 * first, n);
  const low = new Uint8Array(maps, start + first, n);
  const high = new Uint8Array(maps, start + all + first, n);
  return Float32Array.from(low, (byte, i) => CODED[byte + 256 * high[i]!]!);
}

export function queryTokens(item: Item, kind: Kind): Tokens {
  return kind === "encoder" ? item.source : item.target;
}

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

export function headName(layer: number, head: number): string {
  return `L${layer}H${head}`;
}
