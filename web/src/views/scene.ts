// What every view is shown: one map with its axes, and one selection; and what views share in asking for numbers.

import type { Scale, Signs } from "../colour.ts";
import { mapName, keyTokens, layerOf, queryTokens, KIND_TITLES, type Atlas, type Tokens } from "../data.ts";
import { largestSize } from "../pooling.ts";
import type { Look, MapOf, Source, Stretch, Tile, TileAsk } from "../source.ts";
import { formatNumber } from "../text.ts";

/** What stands along one axis, place by place. */
export interface Places {
  /** The tokens of each place. */
  stretches: readonly Stretch[];
  labels: readonly string[];
  /** Whether a place is a special token, or silence. */
  special: readonly boolean[];
  /** The tokens' numbers where labels alone do not tell places apart; empty where they do. */
  numbers?: readonly string[];
}

/** A cell, a query alone, a key alone, or nothing. */
export interface Chosen {
  row: number | null;
  column: number | null;
}

export interface Scene {
  source: Source;
  of: MapOf;
  queries: Places;
  keys: Places;
  chosen: Chosen;
  /** Whether queries are named by the token that they predict, the one after them. */
  predicted: boolean;
  scale: Scale;
  /** What is left out of the axes: "special tokens"; empty where nothing is. */
  hidden: string;
}

/** Both axes, as a source wants them. */
export function lookOf(scene: Scene): Look {
  return { queries: scene.queries.stretches, keys: scene.keys.stretches };
}

/** The tokens along the rows, those hidden among them. */
export function queriesOf({ source, of }: Scene): Tokens {
  return queryTokens(source.atlas.items[of.item]!, of.kind);
}

/** The tokens along the columns, those hidden among them. */
export function keysOf({ source, of }: Scene): Tokens {
  return keyTokens(source.atlas.items[of.item]!, of.kind);
}

/** Whether queries and keys are the same tokens. */
export function isSelf({ of }: Scene): boolean {
  return of.kind !== "cross";
}

/** "L2H4 cross-attention", or of a mean how many heads it is of: "mean of the 8 heads of L2, cross-attention". */
export function nameOf(atlas: Atlas, of: MapOf): string {
  const title = KIND_TITLES[of.kind];
  if (of.head !== "mean") return `${mapName(atlas, { ...of, head: of.head })} ${title}`;
  return `mean of the ${headCountOf(atlas, of)} heads of L${of.layer}, ${title}`;
}

/** How many heads the layer of a map has. */
export function headCountOf(atlas: Atlas, of: MapOf): number {
  return layerOf(atlas, of)?.n_heads ?? 0;
}

/** Whether the numbers of a map have either sign. */
export function signsOf(atlas: Atlas, quantity: string): Signs {
  return atlas.quantities?.find(({ name }) => name === quantity)?.signed === true ? "either" : "positive";
}

/** What the numbers of a map are, in words: "attention weight". */
export function wordsOf(atlas: Atlas, quantity: string): string {
  return atlas.quantities?.find(({ name }) => name === quantity)?.words ?? (quantity === "weight" ? "attention weight" : quantity);
}

/** How a number of a map is written: in its layer's unit, and where numbers have either sign, with it. */
export function writingOf(atlas: Atlas, of: MapOf): (number: number) => string {
  const [signs, unit] = [signsOf(atlas, of.quantity), layerOf(atlas, of)?.unit];
  return (number) => written(number, signs, unit);
}

/** A number with the digits that are shown of it. */
export function written(number: number, signs: Signs, unit = 1): string {
  return `${signs === "either" && number > 0 ? "+" : ""}${formatNumber(number, unit)}`;
}

/** The places of an axis that stand for each token; −1 where it is hidden. */
export function placesOfTokens(stretches: readonly Stretch[], n_tokens: number): Int32Array {
  const places = new Int32Array(n_tokens).fill(-1);
  stretches.forEach(([from, to], place) => places.fill(place, from, to));
  return places;
}

/** Every cell of a part, each a pixel, whatever it takes. */
export function everyCell(of: MapOf, look: Look, rows: readonly [number, number], columns: readonly [number, number]): TileAsk {
  return { of, look, part: { rows, columns }, height: rows[1] - rows[0], width: columns[1] - columns[0], pool: "max", values: "number", exact: true };
}

/** Draws a tile as soon as it is there, or the one that is there already, and again from every query where some were read at first; what
 * says how many were stays, where that is refused. */
export async function drawnSoon(source: Source, ask: TileAsk, signal: AbortSignal, draw: (tile: Tile) => void, there: Tile | null = null): Promise<void> {
  const soon = there ?? (await source.tile(ask, signal));
  if (signal.aborted) return;
  draw(soon);
  if (soon.every === 1) return;
  const exact = await source.tile({ ...ask, exact: true }, signal).catch(() => null);
  if (exact !== null && !signal.aborted) draw(exact);
}

/** The largest size of a tile's numbers, which is that of its cells where they were pooled by size. */
export function topOf(tile: Tile): number {
  return largestSize(tile.values);
}

/** What has to be said after a sentence where some queries were read: " One query in 8 was read."; empty where all were. */
export function sampledNote({ every }: Pick<Tile, "every">): string {
  return every > 1 ? ` One query in ${every} was read.` : "";
}

/** What has to be said where a picture is smaller than its map, or of some queries: "; each pixel is the mean under it"; empty elsewhere. */
export function pooledNote(tile: Tile, { queries, keys }: Pick<Scene, "queries" | "keys">, what: "largest number" | "mean"): string {
  const pooled = tile.height < queries.labels.length || tile.width < keys.labels.length ? `; each pixel is the ${what} under it` : "";
  return `${pooled}${tile.every > 1 ? `; one query in ${tile.every} was read` : ""}`;
}
