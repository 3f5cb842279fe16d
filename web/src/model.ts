// What an atlas holds, as the state asks for it: layers, tokens, axes.

import { isOfLayer, keyTokens, layersOf, mapName, quantityOf, queryTokens } from "./data.ts";
import type { Atlas, HeadEffect, Item, Kind, Layer, QuantityOf, Standout, Token } from "./data.ts";
import { effectOf, hasEffects } from "./effects.ts";
import { axisOf, segmentsOf, type Axis } from "./look.ts";
import type { Look, MapOf } from "./source.ts";
import { optionsOf, textAlong, tiling, type HeadId, type State } from "./state.ts";

/** What weights are. */
const WEIGHT: QuantityOf = { name: "weight", words: "weight", unit: "", signed: false };

/** Both axes of a map. */
export interface Axes {
  queries: Axis;
  keys: Axis;
  look: Look;
}

export class Model {
  readonly atlas: Atlas;
  private last: { key: string; axes: Axes } | null = null;
  private idle: { key: string; axis: Axis } | null = null;

  constructor(atlas: Atlas) {
    this.atlas = atlas;
  }

  kinds(): Kind[] {
    return (["encoder", "decoder", "cross"] as const).filter((kind) => this.atlas.layers.some((layer) => layer.kind === kind));
  }

  /** What there are numbers of for a kind; weights first. */
  quantities(kind: Kind): QuantityOf[] {
    const names = new Set(this.atlas.layers.filter((layer) => layer.kind === kind).map(quantityOf));
    return [WEIGHT, ...(this.atlas.quantities ?? []).filter(({ name }) => name !== "weight")].filter(({ name }) => names.has(name));
  }

  quantity(state: State): QuantityOf {
    return this.quantities(state.kind).find(({ name }) => name === state.quantity) ?? { ...WEIGHT, name: state.quantity, words: state.quantity };
  }

  layers(kind: Kind, quantity: string): Layer[] {
    return layersOf(this.atlas, kind, quantity);
  }

  item(state: State): Item {
    return this.atlas.items[state.item]!;
  }

  /** The map of a head, the chosen one unless said otherwise. */
  of({ item, quantity, kind, layer, head }: State, other: { layer?: number; head?: number | "mean" } = {}): MapOf {
    return { item, quantity, kind, layer, head, ...other };
  }

  /** What the map of a head is called. */
  nameOf(state: State, { layer, head }: HeadId): string {
    return mapName(this.atlas, { ...state, layer, head });
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

  /** What stands along the axes. */
  axes(state: State): Axes {
    const { item, kind, rows, special, punctuation, first, silence, words, from, to, spans } = state;
    const key = JSON.stringify([item, kind, rows, special, punctuation, first, silence, words, from, to, spans]);
    if (this.last?.key !== key) {
      const of = (axis: "query" | "key", named: Token[], part: number | null) => {
        const { tokens } = (axis === "query" ? queryTokens : keyTokens)(this.item(state), kind);
        const only = part === null ? undefined : segmentsOf(tokens)[part];
        const shown = axisOf(named, { ...optionsOf(state, textAlong(axis, kind)), ...(only === undefined ? {} : { only }) });
        return tiling(axis, state, this.atlas) === null ? shown : { ...shown, numbers: shown.labels.map(() => "") }; // tiles are named by their numbers
      };
      const [queries, keys] = [of("query", this.rowTokens(state), from), of("key", this.columnTokens(state), to)];
      this.last = { key, axes: { queries, keys, look: { queries: queries.stretches, keys: keys.stretches } } };
    }
    return this.last.axes;
  }

  /** The axis of a text that has no part in the kind's maps. */
  idleAxis(state: State, of: "source" | "target"): Axis {
    const key = JSON.stringify([state.item, of, optionsOf(state, of)]);
    if (this.idle?.key !== key) this.idle = { key, axis: axisOf(this.item(state)[of].tokens, optionsOf(state, of)) };
    return this.idle.axis;
  }

  /** What heads of a kind stand out for; maps of all heads together are none's. */
  standoutsOf(state: State): Standout[] {
    return isOfLayer(this.atlas, state) ? [] : this.atlas.standouts.filter(({ kind }) => kind === state.kind);
  }

  /** What stands out about a head, the mark of few heads first. */
  standouts(state: State, layer: number, head: number): Standout[] {
    return this.standoutsOf(state).filter((one) => one.layer === layer && one.head === head);
  }

  /** What the output loses with a head; undefined where that was not measured, or where the map is of all heads together. */
  effect(state: State, head: HeadId): HeadEffect | undefined {
    return isOfLayer(this.atlas, state) ? undefined : effectOf(this.atlas, state.kind, head);
  }

  /** Whether effects of the heads that are seen were measured. */
  hasEffects(state: State): boolean {
    return hasEffects(this.atlas, state.kind) && !isOfLayer(this.atlas, state);
  }
}
