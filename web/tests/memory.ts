// A source of numbers in memory, made of queries and keys by the formula: small, plain, and read by tests of the views.

import { keyTokens, queryTokens, type Atlas, type Item, type Kind, type Layer, type Token, type Tokens } from "../src/data.ts";
import type { HeadsAsk, HeadValue, Line, Look, MapOf, Source, Stretch, Terms, Tile, TileAsk } from "../src/source.ts";
import type { Chosen, Places, Scene } from "../src/views/scene.ts";

/** One head: its queries and keys, and whether a query sees what comes after it. */
export interface MemoryHead {
  kind: Kind;
  layer: number;
  head: number;
  quantity?: string;
  /** [n_queries][d_head] */
  queries: number[][];
  /** [n_keys][d_head] */
  keys: number[][];
  causal?: boolean;
  /** Numbers in the place of weights, of other quantities. [n_queries][n_keys] */
  numbers?: number[][];
}

export function tokensOf(texts: readonly string[], more: Partial<Token>[] = []): Tokens {
  const tokens = texts.map((text, position): Token => ({ text, role: "text", word: position, position, ...more[position] }));
  return { text: texts.join(" "), tokens, n_padding: 0 };
}

/** An atlas of such heads. */
export function atlasOf(items: Item[], heads: readonly MemoryHead[], more: Partial<Atlas> = {}): Atlas {
  const layers = new Map<string, Layer>();
  for (const { kind, layer, head, quantity, queries } of heads) {
    const name = `${kind}.${layer}.${quantity}`;
    const n_heads = Math.max(head + 1, layers.get(name)?.n_heads ?? 0);
    const described: Layer = { kind, index: layer, n_heads, n_kv_heads: n_heads, d_head: queries[0]?.length ?? 0, scoring: null, stored: [] };
    layers.set(name, quantity === undefined ? described : { ...described, quantity });
  }
  const provenance = { model: "in memory", family: "", revision: "", dtype: "", mode: "", writer: "", method: "forward", notes: [] };
  const open = { kind: heads[0]!.kind, layer: heads[0]!.layer, head: heads[0]!.head };
  return { version: 4, title: "", items, layers: [...layers.values()], standouts: [], open, provenance, ...more };
}

export class MemorySource implements Source {
  readonly atlas: Atlas;
  /** What was asked for, in order. */
  readonly asked: { what: string; cells: number }[] = [];
  private all: readonly MemoryHead[];

  constructor(atlas: Atlas, heads: readonly MemoryHead[]) {
    this.atlas = atlas;
    this.all = heads;
  }

  async tile(ask: TileAsk): Promise<Tile> {
    const { part, look } = ask;
    const [n_rows, n_columns] = [part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]];
    const [height, width] = [Math.min(ask.height, n_rows), Math.min(ask.width, n_columns)];
    this.asked.push({ what: "tile", cells: n_rows * n_columns });
    const tile: Tile = { height, width, values: new Float32Array(height * width), masked: new Uint8Array(height * width).fill(1), top: 0, every: 1 };
    const counts = new Float32Array(height * width);
    for (let row = 0; row < n_rows; row++) {
      for (let column = 0; column < n_columns; column++) {
        const pixel = Math.floor((row * height) / n_rows) * width + Math.floor((column * width) / n_columns);
        const { value, masked } = this.cell(ask.of, look.queries[part.rows[0] + row]!, look.keys[part.columns[0] + column]!);
        if (masked) continue;
        tile.masked[pixel] = 0;
        tile.top = Math.max(tile.top, Math.abs(value));
        counts[pixel]!++;
        if (ask.pool === "mean") tile.values[pixel]! += value;
        else if (Math.abs(value) > Math.abs(tile.values[pixel]!)) tile.values[pixel] = value;
      }
    }
    if (ask.pool === "mean") tile.values.forEach((sum, pixel) => (tile.values[pixel] = counts[pixel] === 0 ? 0 : sum / counts[pixel]!));
    return tile;
  }

  async row(of: MapOf, look: Look, row: number): Promise<Line> {
    const tile = await this.tile({ of, look, part: { rows: [row, row + 1], columns: [0, look.keys.length] }, height: 1, width: look.keys.length, pool: "max", values: "number", exact: true });
    const all = this.cell(of, look.queries[row]!, [0, this.counts(of)[1]]).value;
    return { weights: tile.values, masked: tile.masked, removed: all - tile.values.reduce((sum, one) => sum + one, 0), sink: 0, rounding: 0, entropy: 0 };
  }

  async column(of: MapOf, look: Look, column: number): Promise<Line> {
    const tile = await this.tile({ of, look, part: { rows: [0, look.queries.length], columns: [column, column + 1] }, height: look.queries.length, width: 1, pool: "max", values: "number", exact: true });
    return { weights: tile.values, masked: tile.masked, removed: 0, sink: 0, rounding: 0, entropy: 0 };
  }

  async terms(of: MapOf, query: number, key: number): Promise<Terms> {
    const head = this.all.find((one) => one.kind === of.kind && one.layer === of.layer && one.head === of.head)!;
    const weight = this.cell(of, [query, query + 1], [key, key + 1]);
    const scores = head.keys.map((_, other) => (head.causal === true && other > query ? -Infinity : scoreOf(head, query, other)));
    const lse = Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0));
    return {
      weight: weight.value,
      masked: weight.masked,
      score: weight.masked ? null : scores[key]!,
      digits: 2,
      query: Float32Array.from(head.queries[query]!),
      key: Float32Array.from(head.keys[key]!),
      scale: scaleOf(head),
      softcap: null,
      bias: 0,
      lse,
      missing: "",
    };
  }

  async pooled(asks: readonly TileAsk[], each: (ask: TileAsk, tile: Tile) => void): Promise<void> {
    for (const ask of asks) each(ask, await this.tile(ask));
  }

  async heads(ask: HeadsAsk): Promise<HeadValue[]> {
    const of = (head: MemoryHead): MapOf => ({ item: ask.item, quantity: ask.quantity, kind: ask.kind, layer: head.layer, head: head.head });
    const heads = this.all.filter((head) => head.kind === ask.kind && (head.quantity ?? "weight") === ask.quantity);
    return Promise.all(heads.map(async (head) => ({ layer: head.layer, head: head.head, value: await this.largest(of(head), ask), at: null })));
  }

  /** The largest number of a cell, a row or a column. */
  private async largest(of: MapOf, { look, row, column }: HeadsAsk): Promise<number> {
    const rows: [number, number] = row === null ? [0, look.queries.length] : [row, row + 1];
    const columns: [number, number] = column === null ? [0, look.keys.length] : [column, column + 1];
    return (await this.tile({ of, look, part: { rows, columns }, height: 1, width: 1, pool: "max", values: "number", exact: true })).values[0]!;
  }

  /** The mean over queries of the sum over keys. */
  private cell(of: MapOf, queries: Stretch, keys: Stretch): { value: number; masked: boolean } {
    const heads = this.all.filter((one) => one.kind === of.kind && one.layer === of.layer && (one.quantity ?? "weight") === of.quantity && (of.head === "mean" || one.head === of.head));
    if (heads.length === 0) throw new Error(`there is no map of ${of.kind} L${of.layer}H${of.head}`);
    let [value, masked] = [0, true];
    for (const head of heads) {
      for (let query = queries[0]; query < queries[1]; query++) {
        for (let key = keys[0]; key < keys[1]; key++) {
          value += weightOf(head, query, key) / (queries[1] - queries[0]) / heads.length;
          masked &&= head.causal === true && key > query;
        }
      }
    }
    return { value, masked };
  }

  private counts({ item, kind }: MapOf): [number, number] {
    const of = this.atlas.items[item]!;
    return [queryTokens(of, kind).tokens.length, keyTokens(of, kind).tokens.length];
  }
}

/** A scene on one of the maps, every token a place of its own. */
export function sceneOf(source: Source, of: MapOf, chosen: Chosen = { row: null, column: null }): Scene {
  const item = source.atlas.items[of.item]!;
  const places = ({ tokens }: Tokens): Places => ({
    stretches: tokens.map((_, place): Stretch => [place, place + 1]),
    labels: tokens.map(({ text }) => text),
    special: tokens.map(({ role }) => role !== "text"),
  });
  return { source, of, queries: places(queryTokens(item, of.kind)), keys: places(keyTokens(item, of.kind)), chosen, predicted: false, scale: "linear", hidden: "" };
}

function scaleOf({ queries }: MemoryHead): number {
  return 1 / Math.sqrt(queries[0]!.length);
}

function scoreOf(head: MemoryHead, query: number, key: number): number {
  return scaleOf(head) * head.queries[query]!.reduce((sum, number, term) => sum + number * head.keys[key]![term]!, 0);
}

function weightOf(head: MemoryHead, query: number, key: number): number {
  if (head.numbers !== undefined) return head.numbers[query]![key]!;
  const seen = (other: number): boolean => head.causal !== true || other <= query;
  if (!seen(key)) return 0;
  const sum = head.keys.reduce((total, _, other) => total + (seen(other) ? Math.exp(scoreOf(head, query, other)) : 0), 0);
  return Math.exp(scoreOf(head, query, key)) / sum;
}
