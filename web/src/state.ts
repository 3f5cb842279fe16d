// What the page shows, as one object, mirrored in the URL after the "#".

import { keyTokens, layersOf, quantityOf, queryTokens } from "./data.ts";
import type { Atlas, Kind, Tokens } from "./data.ts";
import type { Scale } from "./colour.ts";
import type { LookOptions, Span } from "./look.ts";
import type { Pool, Stretch } from "./source.ts";
import type { Other } from "./views/compare.ts";
import type { Over } from "./views/strip.ts";
import type { Order } from "./views/terms.ts";
import type { Along } from "./views/tree.ts";

/** A head by its layer's true index. */
export interface HeadId {
  layer: number;
  head: number;
}

/** The part of a map that is seen, in tokens along each axis, from the first to before the second. */
export interface Zoom {
  queries: Stretch;
  keys: Stretch;
}

export interface State {
  item: number;
  kind: Kind;
  /** The layer's true index in the model. */
  layer: number;
  head: number;
  /** The chosen query and key: tokens along the axes, without padding; null when none is. */
  query: number | null;
  key: number | null;
  /** What the numbers are; "weight" or another of the atlas's quantities. */
  quantity: string;
  /** The view's name in the list of views. */
  view: string;
  scale: Scale;
  range: "shared" | "own";
  pool: Pool;
  zoom: Zoom | null;
  special: "show" | "hide";
  punctuation: "show" | "hide";
  first: "show" | "hide";
  /** Silence that was added after a sound. */
  silence: "hide" | "show";
  words: "pieces" | "merged";
  /** Of texts in several parts, the part that queries are from, and that keys are in; null for all. */
  from: number | null;
  to: number | null;
  spans: Span[];
  /** What a decoder row is called: the token it reads or the one it predicts. */
  rows: "read" | "predicted";
  /** Heads that are drawn beside the chosen one, where a view draws several. */
  heads: HeadId[];
  /** Of lines: so many of each query at most, and none of a smaller weight. */
  most: number;
  least: number;
  /** The overview: in which order, and which heads alone. */
  sort: string;
  only: string;
  find: string;
  /** What is looked for in the texts. */
  seek: string;
  /** Of the text: whose weights colour it. */
  over: Over;
  /** Of the terms of a score: their order. */
  order: Order;
  /** What the map is compared with; null is what lies next. */
  other: Other | null;
  /** Of a tree: which way along its arcs. */
  along: Along;
  /** Of the table: the first row and column of its page; null holds what is chosen. */
  page: readonly [number, number] | null;
  theme: "auto" | "light" | "dark";
}

/** The most heads beside the chosen one, the most spans, and the most lines of a query. */
const [MOST_HEADS, MOST_SPANS, MOST_OF_QUERY] = [7, 64, 999];

/** How many lines a query has at most, and from which weight on, unless it is said. */
const USUAL_LINES = { most: 8, least: 0.01 };

/** How a field stands in the URL; what cannot be read is left as it is by default. */
interface Field<K extends keyof State> {
  /** Its name in the URL. */
  name: string;
  field: K;
  read: (text: string, atlas: Atlas) => State[K] | undefined;
  write: (value: State[K]) => string;
}

function choice<K extends keyof State>(field: K, ...values: State[K][]): Field<K> {
  return { name: field, field, read: (text) => values.find((value) => value === text), write: String };
}

function count<K extends keyof State>(field: K, name: string = field): Field<K> {
  return { name, field, read: (text) => (/^\d{1,7}$/.test(text) ? (Number(text) as State[K]) : undefined), write: String };
}

function words<K extends keyof State>(field: K): Field<K> {
  return { name: field, field, read: (text) => text.slice(0, 200) as State[K], write: String };
}

/** All that stands in the URL, in its order. A field is left out where it is as by default. */
const FIELDS = [
  count("item"),
  { name: "kind", field: "kind", read: (text, atlas) => atlas.layers.find((layer) => layer.kind === text)?.kind, write: String },
  count("layer"),
  count("head"),
  count("query", "q"),
  count("key", "k"),
  { name: "quantity", field: "quantity", read: (text, atlas) => (atlas.layers.some((layer) => quantityOf(layer) === text) ? text : undefined), write: String },
  choice("scale", "linear", "log", "row", "rank"),
  choice("range", "shared", "own"),
  choice("special", "show", "hide"),
  choice("punctuation", "show", "hide"),
  choice("first", "show", "hide"),
  choice("silence", "hide", "show"),
  choice("words", "pieces", "merged"),
  choice("rows", "read", "predicted"),
  count("from"),
  count("to"),
  { name: "spans", field: "spans", read: readSpans, write: writeSpans },
  words("view"),
  choice("pool", "max", "mean"),
  { name: "zoom", field: "zoom", read: readZoom, write: writeZoom },
  { name: "heads", field: "heads", read: readHeads, write: (heads) => heads.map(({ layer, head }) => `${layer}.${head}`).join(" ") },
  count("most"),
  { name: "least", field: "least", read: (text) => (/^0?\.\d{1,4}$|^[01]$/.test(text) ? Number(text) : undefined), write: String },
  choice("over", "head", "layer", "kind"),
  choice("order", "size", "dimension"),
  { name: "other", field: "other", read: readOther, write: writeOther },
  choice("along", "up", "down"),
  { name: "page", field: "page", read: readPage, write: (page) => page?.join(".") ?? "" },
  words("sort"),
  words("only"),
  words("find"),
  words("seek"),
  choice("theme", "auto", "light", "dark"),
] as { [K in keyof State]: Field<K> }[keyof State][];

/** The state of a page whose address says nothing: the head that the atlas opens with. */
export function defaultState(atlas: Atlas): State {
  return {
    item: 0,
    ...atlas.open,
    query: null,
    key: null,
    quantity: "weight",
    view: "map",
    scale: "linear",
    range: "shared",
    pool: "max",
    zoom: null,
    special: "show",
    punctuation: "show",
    first: "show",
    silence: "hide",
    words: "pieces",
    from: null,
    to: null,
    spans: [],
    rows: usualRows(atlas.open.kind),
    heads: [],
    ...USUAL_LINES,
    over: "head",
    order: "size",
    other: null,
    along: "up",
    page: null,
    sort: "",
    only: "",
    find: "",
    seek: "",
    theme: "auto",
  };
}

/** Cross-attention aligns words in the row that predicts them; decoder rows are the tokens they read. */
export function usualRows(kind: Kind): State["rows"] {
  return kind === "cross" ? "predicted" : "read";
}

/** Whether lines are those that are drawn unless others are asked for. */
export function hasUsualLines({ most, least, heads }: State): boolean {
  return most === USUAL_LINES.most && least === USUAL_LINES.least && heads.length === 0;
}

/** The state that a URL's hash describes; what it says wrongly or leaves out is as by default. */
export function stateFromHash(hash: string, atlas: Atlas): State {
  const state = defaultState(atlas);
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  for (const { name, field, read } of FIELDS) {
    const text = given.get(name);
    const value = text === null ? undefined : read(text, atlas);
    if (value !== undefined) Object.assign(state, { [field]: value });
  }
  if (!given.has("rows")) state.rows = usualRows(state.kind);
  const whole = clamped(state, atlas);
  return { ...whole, query: tokenNamed(whole.query, "query", whole, atlas), key: tokenNamed(whole.key, "key", whole, atlas) };
}

/** The hash that describes the state, without what is as by default. */
export function hashFromState(state: State, atlas: Atlas): string {
  const usual: State = { ...defaultState(atlas), rows: usualRows(state.kind) };
  const named = { ...state, query: nameOfToken(state.query, "query", state, atlas), key: nameOfToken(state.key, "key", state, atlas) };
  const parts = new URLSearchParams();
  for (const { name, field, write } of FIELDS) {
    const text = (value: State[typeof field]): string | null => (value === null ? null : (write as (value: unknown) => string)(value));
    const [now, then] = [text(named[field]), text(usual[field])];
    const always = field === "kind" || field === "layer" || field === "head";
    if (now !== null && (always || now !== then)) parts.set(name, now);
  }
  return `#${parts}`;
}

/** The same state, with item, layer and heads that exist, the last of these where they are too many. */
export function clamped(state: State, atlas: Atlas): State {
  const item = Math.min(state.item, atlas.items.length - 1);
  const ofKind = atlas.layers.filter((layer) => layer.kind === state.kind);
  const quantity = ofKind.some((layer) => quantityOf(layer) === state.quantity) ? state.quantity : quantityOf(ofKind[0]!);
  const layers = layersOf(atlas, state.kind, quantity);
  const layer = layers.find((layer) => layer.index === state.layer) ?? layers[0]!;
  const heads = state.heads.filter((one) => layers.some((layer) => layer.index === one.layer && one.head < layer.n_heads));
  const most = Math.max(1, Math.min(MOST_OF_QUERY, Math.round(state.most) || 1));
  return { ...state, item, quantity, layer: layer.index, head: Math.min(state.head, layer.n_heads - 1), heads: heads.slice(-MOST_HEADS), most };
}

/** What the state shows of one of the texts, as queries or as keys. */
export function optionsOf(state: State, of: "source" | "target"): LookOptions {
  return {
    hideSpecial: state.special === "hide",
    hideSilence: state.silence === "hide",
    hidePunctuation: state.punctuation === "hide",
    hideFirst: state.first === "hide",
    words: state.words === "merged",
    spans: state.spans.filter((span) => span.of === of),
  };
}

/** The text along an axis of a kind. */
export function textAlong(axis: "query" | "key", kind: Kind): "source" | "target" {
  return (axis === "query" ? kind === "encoder" : kind !== "decoder") ? "source" : "target";
}

/** How many tokens an axis has where its places are tiles of them, padding included; null where each place is a token of its own. */
export function tiling(axis: "query" | "key", state: State, atlas: Atlas): { n: number; n_tiles: number; along: Tokens } | null {
  if (atlas.pooled === undefined) return null;
  const along = (axis === "query" ? queryTokens : keyTokens)(atlas.items[state.item]!, state.kind);
  const n = textAlong(axis, state.kind) === "source" ? atlas.pooled.n_source : atlas.pooled.n_target;
  const n_tiles = along.tokens.length + along.n_padding;
  return n === n_tiles ? null : { n, n_tiles, along };
}

/** The token that a number in the URL names: its own, or on a page of tiles the tile that holds it; null where none is. */
export function tokenNamed(number: number | null, axis: "query" | "key", state: State, atlas: Atlas): number | null {
  if (number === null) return null;
  const tiled = tiling(axis, state, atlas);
  if (tiled === null) return number;
  const tile = Math.floor((number * tiled.n_tiles) / tiled.n);
  const token = tiled.along.tokens.findIndex(({ position }) => position === tile);
  return token < 0 ? null : token;
}

/** What names a token in the URL: its number, or on a page of tiles that of its first token, whatever the tiles' size. */
export function nameOfToken(token: number | null, axis: "query" | "key", state: State, atlas: Atlas): number | null {
  const tiled = token === null ? null : tiling(axis, state, atlas);
  const tile = tiled?.along.tokens[token!]?.position;
  return tiled === null || tile === undefined ? token : Math.ceil((tile * tiled.n) / tiled.n_tiles);
}

function readHeads(text: string): HeadId[] | undefined {
  if (!/^\d{1,4}\.\d{1,4}( \d{1,4}\.\d{1,4})*$/.test(text)) return undefined;
  return text.split(" ").slice(0, MOST_HEADS).map((one) => {
    const [layer, head] = one.split(".").map(Number);
    return { layer: layer!, head: head! };
  });
}

/** "3-9 0-4": queries, then keys. */
function readZoom(text: string): Zoom | undefined {
  const found = /^(\d{1,7})-(\d{1,7}) (\d{1,7})-(\d{1,7})$/.exec(text);
  const [a, b, c, d] = found?.slice(1).map(Number) ?? [];
  return found !== null && a! < b! && c! < d! ? { queries: [a!, b!], keys: [c!, d!] } : undefined;
}

function writeZoom(zoom: Zoom | null): string {
  return zoom === null ? "" : `${zoom.queries.join("-")} ${zoom.keys.join("-")}`;
}

/** "s3-9 the cat|t0-4": source or target, tokens, name. Spans that overlap or come before another are left out. */
function readSpans(text: string): Span[] {
  const spans: Span[] = [];
  for (const part of text.split("|").slice(0, MOST_SPANS)) {
    const found = /^([st])(\d{1,7})-(\d{1,7})(?: (.{0,80}))?$/u.exec(part);
    if (found === null) continue;
    const of = found[1] === "s" ? "source" : "target";
    const [from, to] = [Number(found[2]), Number(found[3])];
    const before = spans.filter((span) => span.of === of).at(-1);
    if (from < to && (before === undefined || before.to <= from)) spans.push({ of, from, to, name: found[4] ?? "" });
  }
  return spans;
}

function writeSpans(spans: Span[]): string {
  return spans.map(({ of, from, to, name }) => `${of[0]}${from}-${to}${name === "" ? "" : ` ${name.replaceAll("|", "¦")}`}`).join("|");
}

/** "0.0.2.4.weight": recording, text, layer, head or "mean", and what the numbers are. */
function readOther(text: string): Other | undefined {
  const found = /^(\d{1,4})\.(\d{1,6})\.(\d{1,7})\.(\d{1,5}|mean)\.([a-z_]{1,40})$/.exec(text);
  if (found === null) return undefined;
  const [recording, item, layer] = found.slice(1, 4).map(Number);
  return { recording: recording!, item: item!, layer: layer!, head: found[4] === "mean" ? "mean" : Number(found[4]), quantity: found[5]! };
}

function writeOther(other: Other | null): string {
  return other === null ? "" : [other.recording, other.item, other.layer, other.head, other.quantity].join(".");
}

function readPage(text: string): readonly [number, number] | undefined {
  const found = /^(\d{1,7})\.(\d{1,7})$/.exec(text);
  return found === null ? undefined : [Number(found[1]), Number(found[2])];
}
