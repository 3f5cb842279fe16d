// The picture that a view shows: that of its last question, in whatever order answers come.

import type { Look, Part, Source, Tile, TileAsk } from "../source.ts";
import { drawnSoon } from "./scene.ts";

/** A picture, and the part of the map that it is of. */
export interface Shown {
  part: Part;
  tile: Tile;
}

export class LatestTile {
  shown: Shown | null = null;
  private of: { key: string; look: Look } | null = null;
  private n_asked = 0;

  /** Has a picture, and lets it be drawn: as it can be had soon, then of every row. What is there of the same question is drawn at
   * once; where it is of some rows, it is read in full. */
  async ask(source: Source, ask: TileAsk, signal: AbortSignal, draw: () => void): Promise<void> {
    const turn = ++this.n_asked;
    const key = keyOf(ask);
    const there = this.shown !== null && this.of?.key === key && this.of.look === ask.look ? this.shown.tile : null;
    const take = (tile: Tile): void => {
      if (turn !== this.n_asked) return;
      this.shown = { part: ask.part, tile };
      this.of = { key, look: ask.look };
      draw();
    };
    await drawnSoon(source, ask, signal, take, there);
  }
}

function keyOf({ of, part, height, width, pool, values }: TileAsk): string {
  return JSON.stringify([of, part, height, width, pool, values]);
}
