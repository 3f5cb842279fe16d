// Numbers along one axis: what a query gives to keys, what a key gets of queries, what keys get of all queries on average. Of one head, or
// averaged over heads, which has to be said.

import { layersOf } from "../data.ts";
import { lookOf, headCountOf, type Scene } from "./scene.ts";
import type { MapOf, Part, Tile } from "../source.ts";

/** Whose numbers: the chosen head's, the mean of its layer's heads, or that of all heads of the kind. */
export type Over = "head" | "layer" | "kind";

/** Numbers of consecutive places along an axis. */
export interface Strip {
  values: Float32Array;
  masked: Uint8Array;
  /** One in how many queries was read. */
  every: number;
}

/** Which side the numbers lie on: keys where a query, or nothing, is chosen; queries where a key alone is. */
export function sideOf({ chosen }: Pick<Scene, "chosen">): "queries" | "keys" {
  return chosen.row === null && chosen.column !== null ? "queries" : "keys";
}

/** The maps that are averaged, and the share of each: that of its heads among all. */
export function mapsOf({ source, of }: Pick<Scene, "source" | "of">, over: Over): { of: MapOf; share: number }[] {
  if (over === "head") return [{ of, share: 1 }];
  if (over === "layer") return [{ of: { ...of, head: "mean" }, share: 1 }];
  const layers = layersOf(source.atlas, of.kind, of.quantity);
  const n_heads = layers.reduce((sum, layer) => sum + layer.n_heads, 0);
  return layers.map((layer) => ({ of: { ...of, layer: layer.index, head: "mean" as const }, share: layer.n_heads / n_heads }));
}

/** What a reader has to be told where numbers are means: "averaged over the 8 heads of L2"; empty of one head. */
export function averagedOver({ source, of }: Pick<Scene, "source" | "of">, over: Over): string {
  if (over === "head" && of.head !== "mean") return "";
  if (over !== "kind") return `averaged over the ${headCountOf(source.atlas, of)} heads of L${of.layer}`;
  const maps = mapsOf({ source, of }, over);
  const n_heads = maps.reduce((sum, map) => sum + headCountOf(source.atlas, map.of), 0);
  return `averaged over the ${n_heads} heads of ${maps.length} layers`;
}

/** The numbers of the places `from` to before `to`, in `n` pixels at most. */
export async function stripOf(scene: Scene, over: Over, [from, to]: readonly [number, number], n: number, signal: AbortSignal): Promise<Strip> {
  const { row, column } = scene.chosen;
  const alone = (place: number | null, all: number): readonly [number, number] => (place === null ? [0, all] : [place, place + 1]);
  const part: Part =
    sideOf(scene) === "keys"
      ? { rows: alone(row, scene.queries.stretches.length), columns: [from, to] }
      : { rows: [from, to], columns: alone(column, scene.keys.stretches.length) };
  const size = sideOf(scene) === "keys" ? { height: 1, width: Math.min(n, to - from) } : { height: Math.min(n, to - from), width: 1 };
  const isOfAll = row === null && column === null;
  const pool = isOfAll ? ("mean" as const) : ("max" as const);
  const maps = mapsOf(scene, over);
  const tiles = await Promise.all(maps.map((map) => scene.source.tile({ of: map.of, look: lookOf(scene), part, ...size, pool, values: "number", exact: !isOfAll }, signal)));
  return averaged(tiles, maps.map(({ share }) => share));
}

/** The sum of the tiles, each times its share. */
function averaged(tiles: readonly Tile[], shares: readonly number[]): Strip {
  const n = tiles[0]?.values.length ?? 0;
  const strip: Strip = { values: new Float32Array(n), masked: new Uint8Array(n).fill(1), every: 1 };
  tiles.forEach((tile, place) => {
    strip.every = Math.max(strip.every, tile.every);
    tile.values.forEach((value, at) => {
      strip.values[at]! += value * shares[place]!;
      strip.masked[at]! &= tile.masked[at]!;
    });
  });
  return strip;
}
