// What the page shows, as one object, mirrored in the URL after the "#".

import { keyTokens, queryTokens } from "./data.ts";
import type { Kind, Source } from "./data.ts";
import type { Scale } from "./colour.ts";
import { axisOf, type ViewOptions } from "./view.ts";

export interface State {
  item: number;
  kind: Kind;
  /** The layer's true index in the model. */
  layer: number;
  head: number;
  /** Row and column of the selected cell in the picture; null when none is. */
  query: number | null;
  key: number | null;
  scale: Scale;
  range: "shared" | "own";
  special: "show" | "hide";
  /** Silence that was added after a sound. */
  silence: "hide" | "show";
  words: "pieces" | "merged";
  /** What a decoder row is called: the token it reads or the one it predicts. */
  rows: "read" | "predicted";
  view: "map" | "lines";
  theme: "auto" | "light" | "dark";
}

const CHOICES = {
  scale: ["linear", "log", "row"],
  range: ["shared", "own"],
  special: ["show", "hide"],
  silence: ["hide", "show"],
  words: ["pieces", "merged"],
  rows: ["read", "predicted"],
  view: ["map", "lines"],
  theme: ["auto", "light", "dark"],
} as const;

export function defaultState(source: Source): State {
  return {
    item: 0,
    ...source.open,
    query: null,
    key: null,
    scale: "linear",
    range: "shared",
    special: "show",
    silence: "hide",
    words: "pieces",
    rows: usualRows(source.open.kind),
    view: "map",
    theme: "auto",
  };
}

/** Cross-attention aligns words in the row that predicts them; decoder rows are the tokens they read. */
export function usualRows(kind: Kind): State["rows"] {
  return kind === "cross" ? "predicted" : "read";
}

/** The state that a URL's hash describes; what it says wrongly or leaves out is as by default. */
export function stateFromHash(hash: string, source: Source): State {
  const state = defaultState(source);
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name: string, fallback: number | null): number | null => {
    const text = given.get(name);
    return text !== null && /^\d{1,6}$/.test(text) ? Number(text) : fallback;
  };
  for (const name of Object.keys(CHOICES) as (keyof typeof CHOICES)[]) {
    const value = given.get(name);
    if (value !== null && (CHOICES[name] as readonly string[]).includes(value)) Object.assign(state, { [name]: value });
  }
  const kind = given.get("kind");
  if (source.layers.some((layer) => layer.kind === kind)) state.kind = kind as Kind;
  if (!given.has("rows")) state.rows = usualRows(state.kind);
  state.item = number("item", state.item)!;
  state.layer = number("layer", state.layer)!;
  state.head = number("head", state.head)!;
  const whole = clamped(state, source);
  return { ...whole, query: placeOf(number("q", null), "query", whole, source), key: placeOf(number("k", null), "key", whole, source) };
}

/** What the state shows of a map. */
export function optionsOf(state: State): ViewOptions {
  return { hideSpecial: state.special === "hide", hideSilence: state.silence === "hide", words: state.words === "merged" };
}

/** The tokens along an axis where its places are tiles of them; null where each place is a token of its own. */
export function tiling(axis: "query" | "key", state: State, source: Source): { n: number; tiles: number[]; n_tiles: number } | null {
  if (source.pooled === undefined) return null;
  const item = source.items[state.item]!;
  const along = (axis === "query" ? queryTokens : keyTokens)(item, state.kind);
  const n = along === item.source ? source.pooled.n_source : source.pooled.n_target;
  const n_tiles = along.tokens.length + along.n_padding;
  const { groups } = axisOf(along.tokens, optionsOf(state));
  return n === n_tiles ? null : { n, n_tiles, tiles: groups.map((group) => along.tokens[group[0]!]!.position) };
}

/** The row or column that a number in the URL names: its own, or on a page of tiles that of a token in it; null where none is. */
export function placeOf(number: number | null, axis: "query" | "key", state: State, source: Source): number | null {
  const tiled = tiling(axis, state, source);
  if (number === null || tiled === null) return number;
  const place = tiled.tiles.indexOf(Math.floor((number * tiled.n_tiles) / tiled.n));
  return place < 0 ? null : place;
}

/** What names a row or column in the URL: its number, or on a page of tiles that of its first token, whatever the tiles' size. */
export function nameOf(place: number, axis: "query" | "key", state: State, source: Source): string {
  const tiled = tiling(axis, state, source);
  const tile = tiled?.tiles[place];
  return String(tiled === null || tile === undefined ? place : Math.ceil((tile * tiled.n) / tiled.n_tiles));
}

/** The hash that describes the state, without what is as by default. */
export function hashFromState(state: State, source: Source): string {
  const usual = { ...defaultState(source), rows: usualRows(state.kind) };
  const parts = new URLSearchParams();
  if (state.item !== 0) parts.set("item", String(state.item));
  parts.set("kind", state.kind);
  parts.set("layer", String(state.layer));
  parts.set("head", String(state.head));
  if (state.query !== null) parts.set("q", nameOf(state.query, "query", state, source));
  if (state.key !== null) parts.set("k", nameOf(state.key, "key", state, source));
  for (const name of Object.keys(CHOICES) as (keyof typeof CHOICES)[]) {
    if (state[name] !== usual[name]) parts.set(name, state[name]);
  }
  return `#${parts}`;
}

/** The same state, with item, layer and head that exist. */
export function clamped(state: State, source: Source): State {
  const item = Math.min(state.item, source.items.length - 1);
  const layers = source.layers.filter((layer) => layer.kind === state.kind);
  const layer = layers.find((layer) => layer.index === state.layer) ?? layers[0]!;
  return { ...state, item, layer: layer.index, head: Math.min(state.head, layer.n_heads - 1) };
}
