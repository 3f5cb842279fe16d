// Small pictures of all heads of a kind, as the present look has them; kept until the look changes.

import type { Model } from "./model.ts";
import { largestSize } from "./pooling.ts";
import type { Look, Source, Tile, TileAsk, Values } from "./source.ts";
import type { HeadId, State } from "./state.ts";

/** The longest side of a thumbnail, in pixels. */
export const SIDE = 96;
/** How much numbers may differ that are the same, computed in another order. */
const ROUNDING = 1e-5;
/** The most multiplications that are made in the background for pictures of which every row is read. */
const MOST_PRODUCTS = 3e10;

export class Thumbnails {
  private source: Source;
  private model: Model;
  private key = "";
  private look: Look | null = null;
  private size = { width: SIDE, height: SIDE };
  private tiles = new Map<string, Tile>();
  /** The largest number that was seen of a head elsewhere, in size: pictures of some rows may lack it. */
  private seen = new Map<string, number>();
  /** The largest of all of these; null until it is asked for, and when one has come. */
  private largest: number | null = null;

  constructor(source: Source, model: Model) {
    this.source = source;
    this.model = model;
  }

  /** Has all heads drawn for a state, in pictures of so many pixels at most; `each` is told of those that were not there before. Of a long
   * text some rows are read. */
  async want(state: State, size: { width: number; height: number }, each: (head: HeadId) => void, signal: AbortSignal): Promise<void> {
    const { look } = this.model.axes(state);
    const key = [state.item, state.kind, state.quantity, state.pool, valuesOfScale(state.scale), size.width, size.height].join();
    if (key !== this.key || look !== this.look) [this.tiles, this.seen, this.largest] = [new Map(), new Map(), null];
    [this.key, this.look, this.size] = [key, look, size];
    await this.ask(state, false, (head) => !this.tiles.has(nameOf(head)), each, signal);
  }

  /** Has every row read of those heads of which some were, unless that would take minutes. */
  async refine(state: State, each: (head: HeadId) => void, signal: AbortSignal): Promise<void> {
    const { look } = this.model.axes(state);
    const n_cells = (look.queries.at(-1)?.[1] ?? 0) * (look.keys.at(-1)?.[1] ?? 0);
    const price = this.model.layers(state.kind, state.quantity).reduce((sum, layer) => sum + layer.n_heads * n_cells * layer.d_head, 0);
    if (price <= MOST_PRODUCTS) await this.ask(state, true, (head) => (this.get(head)?.every ?? 1) > 1, each, signal);
  }

  private async ask(state: State, exact: boolean, wanted: (head: HeadId) => boolean, each: (head: HeadId) => void, signal: AbortSignal): Promise<void> {
    const { look } = this.model.axes(state);
    const part = { rows: [0, look.queries.length], columns: [0, look.keys.length] } as const;
    const asks: TileAsk[] = [];
    for (const { index, n_heads } of this.model.layers(state.kind, state.quantity)) {
      for (let head = 0; head < n_heads; head++) {
        const of = { layer: index, head };
        if (wanted(of)) asks.push({ of: this.model.of(state, of), look, part, ...this.size, pool: state.pool, values: valuesOfScale(state.scale), exact });
      }
    }
    if (asks.length === 0) return;
    const take = ({ of }: TileAsk, tile: Tile): void => {
      if (signal.aborted) return;
      const head = { layer: of.layer, head: of.head as number };
      this.tiles.set(nameOf(head), tile);
      this.largest = null;
      each(head);
    };
    await this.source.pooled(asks, take, signal);
  }

  get(head: HeadId): Tile | null {
    return this.tiles.get(nameOf(head)) ?? null;
  }

  /** The largest number of a head, in size, as far as it is known; undefined where nothing is. */
  topOf(head: HeadId): number | undefined {
    const [drawn, seen] = [this.get(head)?.top, this.seen.get(nameOf(head))];
    return drawn === undefined || seen === undefined ? (drawn ?? seen) : Math.max(drawn, seen);
  }

  /** The largest number of all heads, in size, as far as it is known. */
  top(): number {
    return (this.largest ??= Math.max(0, ...[...this.tiles.values()].map(({ top }) => top), ...this.seen.values()));
  }

  /** Takes numbers that were read of a head under the present look; whether one is larger than its picture, of some rows, let know. */
  saw(head: HeadId, numbers: Float32Array): boolean {
    const largest = largestSize(numbers);
    const [known, isDrawn] = [this.topOf(head) ?? 0, this.get(head) !== null];
    if (!(largest > known * (1 + ROUNDING))) return false;
    this.seen.set(nameOf(head), largest);
    this.largest = null;
    return isDrawn;
  }

  /** One in how many rows was read of the head that was read least. */
  every(): number {
    let every = 1;
    for (const tile of this.tiles.values()) every = Math.max(every, tile.every);
    return every;
  }
}

function nameOf({ layer, head }: HeadId): string {
  return `${layer}.${head}`;
}

/** What a scale's cells are. */
export function valuesOfScale(scale: State["scale"]): Values {
  return scale === "row" ? "share" : scale === "rank" ? "rank" : "number";
}
