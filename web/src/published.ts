// For the browser's console and for tests: the numbers of a page.

import type { Kind, Layer, Source } from "./data.ts";
import { formatNumber } from "./text.ts";
import { headMap, queryAndKey } from "./weights.ts";

/** Puts what the page carries where a console finds it: the weights of a head, or its numbers of another quantity; these as they are
 * shown; the query and the key behind one of them. [n_queries, n_keys] */
export function publish(source: Source): void {
  const layerOf = (kind: Kind, index: number, quantity: string): Layer =>
    source.layers.find((layer) => layer.kind === kind && layer.index === index && (layer.quantity ?? "weight") === quantity)!;
  const weights = (item: number, kind: Kind, layer: number, head: number, quantity = "weight"): Float32Array =>
    headMap(source, item, layerOf(kind, layer, quantity), head).weights;
  const shown = (item: number, kind: Kind, layer: number, head: number, quantity = "weight"): string[] => {
    const unit = layerOf(kind, layer, quantity).unit;
    return Array.from(weights(item, kind, layer, head, quantity), (number) => formatNumber(number, unit));
  };
  const pair = (item: number, kind: Kind, layer: number, head: number, query: number, key: number): unknown =>
    queryAndKey(source, item, layerOf(kind, layer, "weight"), head, query, key);
  Object.assign(globalThis, { attlas: { source, weights, shown, pair } });
}
