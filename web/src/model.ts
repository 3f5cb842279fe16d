// From the state to what is drawn: maps, their shared range, thumbnails. Keeps what was computed.

import { fraction, type Scale } from "./colour.ts";
import { keyTokens, queryTokens } from "./data.ts";
import type { Item, Kind, Layer, Source, Standout, Token } from "./data.ts";
import { optionsOf, type State } from "./state.ts";
import { largest, shownMap, type ShownMap } from "./view.ts";
import { headMap, type HeadMap } from "./weights.ts";

/** A head's small picture: each pixel is the largest weight under it. */
export interface Thumbnail {
  rows: number;
  columns: number;
  /** Weights; for the row scale, shares of the row's largest. [rows, columns] */
  values: Float32Array;
  /** 1 where everything under the pixel is masked. [rows, columns] */
  masked: Uint8Array;
  /** The head's largest weight. */
  top: number;
}

/** The longest side of a thumbnail, in pixels. */
const THUMBNAIL_SIDE = 96;

export class Model {
  readonly source: Source;
  private thumbnails = new Map<string, Thumbnail>();
  private thumbnailsFor = "";

  constructor(source: Source) {
    this.source = source;
  }

  kinds(): Kind[] {
    return (["encoder", "decoder", "cross"] as const).filter((kind) => this.layers(kind).length > 0);
  }

  layers(kind: Kind): Layer[] {
    return this.source.layers.filter((layer) => layer.kind === kind && layer.quantity === undefined);
  }

  layer(kind: Kind, index: number): Layer {
    return this.layers(kind).find((layer) => layer.index === index)!;
  }

  item(state: State): Item {
    return this.source.items[state.item]!;
  }

  /** Whether rows can be named by the token they predict. */
  predicts(state: State): boolean {
    return state.kind !== "encoder" && this.item(state).predicted.length > 0;
  }

  /** The tokens that name the rows. */
  rowTokens(state: State): Token[] {
    const item = this.item(state);
    return state.rows === "predicted" && this.predicts(state) ? item.predicted : queryTokens(item, state.kind).tokens;
  }

  columnTokens(state: State): Token[] {
    return keyTokens(this.item(state), state.kind).tokens;
  }

  headMap(state: State, layer = state.layer, head = state.head): HeadMap {
    return headMap(this.source, state.item, this.layer(state.kind, layer), head);
  }

  shownMap(state: State, layer = state.layer, head = state.head): ShownMap {
    const options = optionsOf(state);
    return shownMap(this.headMap(state, layer, head), this.rowTokens(state), this.columnTokens(state), options);
  }

  /** What stands out about a head, the mark of few heads first. */
  standouts(state: State, layer: number, head: number): Standout[] {
    const ofHead = (one: Standout): boolean => one.kind === state.kind && one.layer === layer && one.head === head;
    return this.source.standouts.filter(ofHead);
  }

  /** The thumbnail of a head under the present view; computed once. */
  thumbnail(state: State, layer: number, head: number): Thumbnail {
    const view = [state.item, state.kind, state.special, state.silence, state.words, state.rows, state.scale === "row"].join();
    if (view !== this.thumbnailsFor) this.thumbnails.clear();
    this.thumbnailsFor = view;
    const key = `${layer}.${head}`;
    let thumbnail = this.thumbnails.get(key);
    if (thumbnail === undefined) {
      thumbnail = thumbnailOf(this.shownMap(state, layer, head), state.scale);
      this.thumbnails.set(key, thumbnail);
    }
    return thumbnail;
  }

  /** The largest weight of all heads of the kind, as far as their thumbnails are made. */
  sharedTop(): number {
    let top = 0;
    for (const thumbnail of this.thumbnails.values()) top = Math.max(top, thumbnail.top);
    return top;
  }
}

function thumbnailOf(shown: ShownMap, scale: Scale): Thumbnail {
  const [n_rows, n_columns] = [shown.queries.groups.length, shown.keys.groups.length];
  const rows = Math.min(n_rows, THUMBNAIL_SIDE);
  const columns = Math.min(n_columns, THUMBNAIL_SIDE);
  const values = new Float32Array(rows * columns);
  const masked = new Uint8Array(rows * columns).fill(1);
  for (let row = 0; row < n_rows; row++) {
    const weights = shown.weights.subarray(row * n_columns, (row + 1) * n_columns);
    const by = scale === "row" ? largest(weights) || 1 : 1;
    const y = Math.floor((row * rows) / n_rows);
    for (let column = 0; column < n_columns; column++) {
      const pixel = y * columns + Math.floor((column * columns) / n_columns);
      if (shown.masked[row * n_columns + column] === 1) continue;
      masked[pixel] = 0;
      values[pixel] = Math.max(values[pixel]!, weights[column]! / by); // NaN stays NaN
    }
  }
  return { rows, columns, values, masked, top: largest(shown.weights) };
}

/** Where each cell of a map stands on the colours, in 0 ..= 1; −1 where masked, NaN where no number. */
export function fractions(shown: ShownMap, top: number, scale: Scale): Float32Array {
  const n_columns = shown.keys.groups.length;
  return shown.weights.map((weight, cell) => {
    if (shown.masked[cell] === 1) return -1;
    if (scale !== "row") return fraction(weight, top, scale);
    const row = Math.floor(cell / n_columns);
    return fraction(weight, largest(shown.weights.subarray(row * n_columns, (row + 1) * n_columns)), "row");
  });
}
