// Where a viewer's numbers come from: the page itself, or a server. Views ask a source and never see what is behind it.

import type { Atlas, Kind } from "./data.ts";

/** A map: of one head, or the mean over a layer's heads, which a view has to say. */
export interface MapOf {
  item: number;
  /** What the numbers are; "weight" or another of the atlas's quantities. */
  quantity: string;
  kind: Kind;
  /** The layer's true index in the model. */
  layer: number;
  head: number | "mean";
}

/** Tokens from the first to before the second, counted along the axis without padding. */
export type Stretch = readonly [number, number];

/** What stands along both axes: stretches in the text's order (tokens, words, spans), those hidden left out. A cell is the mean over
 * its queries of the sum over its keys. */
export interface Look {
  queries: readonly Stretch[];
  keys: readonly Stretch[];
}

/** A part of a map, in places of a look, from the first to before the second. */
export interface Part {
  rows: readonly [number, number];
  columns: readonly [number, number];
}

/** How the cells under a pixel become one: their largest (in size, where numbers have signs), or the mean of those that are not masked. */
export type Pool = "max" | "mean";

/** What a cell's value is: its number; its share of the largest size in its whole row of the look; or the share of the row's other keys,
 * those not masked, that have less (1 for a row's only key). */
export type Values = "number" | "share" | "rank";

/** A part of a map in so many pixels at most; never more than it has cells. */
export interface TileAsk {
  of: MapOf;
  look: Look;
  part: Part;
  height: number;
  width: number;
  pool: Pool;
  values: Values;
  /** Whether every cell is to be read, whatever it takes; else a large map is read at some of its queries. */
  exact: boolean;
}

/** The picture of a part: pixel `i` of `n` over cells `from .. to` has the cells that lie at `floor((cell − from) · n / (to − from)) = i`.
 * Values are of the pixels, row by row. [height, width] */
export interface Tile {
  height: number;
  width: number;
  values: Float32Array;
  /** 1 where every cell under the pixel is masked. */
  masked: Uint8Array;
  /** The largest size of a cell's number that was read, whatever `values` are. */
  top: number;
  /** One in how many rows was read; 1 where all were. A view has to say it where it is more. */
  every: number;
}

/** One row or one column of a look, with every digit that is shown. */
export interface Line {
  weights: Float32Array;
  masked: Uint8Array;
  /** Of a row: what lies on keys that are not shown, on a learned sink, and what digits leave out of its sum. 0 of a column. */
  removed: number;
  sink: number;
  rounding: number;
  /** Of a row: entropy over all keys and the sink, in bits, the mean over its queries; NaN where numbers are no weights. */
  entropy: number;
}

/** Why a query looks at a key as much as it does. What is not known is null. */
export interface Terms {
  weight: number;
  masked: boolean;
  /** The score, and how many digits after its point are known. */
  score: number | null;
  digits: number;
  /** The query and the key as their head multiplies them. [d_head] */
  query: Float32Array | null;
  key: Float32Array | null;
  scale: number;
  softcap: number | null;
  /** What position and mask add to the score. */
  bias: number;
  /** ln Σ exp(score) of the row. */
  lse: number | null;
  /** Why query and key are not there, in words; empty where they are. */
  missing: string;
}

/** One number for each head of a kind; NaN where all is masked. */
export interface HeadValue {
  layer: number;
  head: number;
  value: number;
  /** Where the largest of a row or column lies, a place of the other axis; null of a cell, and where there is none. */
  at: number | null;
}

/** All heads of a kind. */
export type HeadsOf = Pick<MapOf, "item" | "quantity" | "kind">;

/** What is to be known of every head of a kind at a chosen place: of a cell its number, of a row or column the largest in size. */
export interface HeadsAsk extends HeadsOf {
  look: Look;
  row: number | null;
  column: number | null;
}

/** Where numbers come from. Every call can be given up by its signal; what cannot be had is an Error whose message a reader is shown. */
export interface Source {
  /** Everything but the numbers. */
  readonly atlas: Atlas;
  tile(ask: TileAsk, signal?: AbortSignal): Promise<Tile>;
  row(of: MapOf, look: Look, row: number, signal?: AbortSignal): Promise<Line>;
  column(of: MapOf, look: Look, column: number, signal?: AbortSignal): Promise<Line>;
  terms(of: MapOf, query: number, key: number, signal?: AbortSignal): Promise<Terms>;
  /** Small pictures of the heads of a kind, each as soon as it is there, in the order asked. */
  pooled(asks: readonly TileAsk[], each: (ask: TileAsk, tile: Tile) => void, signal?: AbortSignal): Promise<void>;
  heads(ask: HeadsAsk, signal?: AbortSignal): Promise<HeadValue[]>;
}
