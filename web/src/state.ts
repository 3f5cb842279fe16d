// What the page shows, as one object, mirrored in the URL after the "#".

import type { Kind, Source } from "./data.ts";
import type { Scale } from "./colour.ts";

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
  state.query = number("q", null);
  state.key = number("k", null);
  return clamped(state, source);
}

/** The hash that describes the state, without what is as by default. */
export function hashFromState(state: State, source: Source): string {
  const usual = { ...defaultState(source), rows: usualRows(state.kind) };
  const parts = new URLSearchParams();
  if (state.item !== 0) parts.set("item", String(state.item));
  parts.set("kind", state.kind);
  parts.set("layer", String(state.layer));
  parts.set("head", String(state.head));
  if (state.query !== null) parts.set("q", String(state.query));
  if (state.key !== null) parts.set("k", String(state.key));
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
