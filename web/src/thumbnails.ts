// Small pictures of all heads of a kind, as the present look has them; kept until the look changes.

import type { Model } from "./model.ts";
import type { Look, Source, Tile, TileAsk, Values } from "./source.ts";
import type { HeadId, State } from "./state.ts";

/** The longest side of a thumbnail, in pixels. */
const SIDE = 96;

export class Thumbnails {
  private source: Source;
  private model: Model;
  private key = "";
  private look: Look | null = null;
  private tiles = new Map<string, Tile>();

  constructor(source: Source, model: Model) {
    this.source = source;
    this.model = model;
  }

  /** Has all heads drawn for a state; `each` is told of those that were not there before. */
  async want(state: State, each: (head: HeadId) => void, signal: AbortSignal): Promise<void> {
    const { look } = this.model.axes(state);
    const values = valuesOfScale(state.scale);
    const key = [state.item, state.kind, state.quantity, state.pool, values].join();
    if (key !== this.key || look !== this.look) this.tiles.clear();
    [this.key, this.look] = [key, look];
    const part = { rows: [0, look.queries.length], columns: [0, look.keys.length] } as const;
    const asks: TileAsk[] = [];
    for (const { index, n_heads } of this.model.layers(state.kind, state.quantity)) {
      for (let head = 0; head < n_heads; head++) {
        if (this.tiles.has(nameOf({ layer: index, head }))) continue;
        asks.push({ of: this.model.of(state, { layer: index, head }), look, part, height: SIDE, width: SIDE, pool: state.pool, values, exact: false });
      }
    }
    const take = ({ of }: TileAsk, tile: Tile): void => {
      if (signal.aborted) return;
      const head = { layer: of.layer, head: of.head as number };
      this.tiles.set(nameOf(head), tile);
      each(head);
    };
    await this.source.pooled(asks, take, signal);
  }

  get(head: HeadId): Tile | null {
    return this.tiles.get(nameOf(head)) ?? null;
  }

  /** The largest number of all heads, in size, as far as they are drawn. */
  top(): number {
    let top = 0;
    for (const tile of this.tiles.values()) top = Math.max(top, tile.top);
    return top;
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
