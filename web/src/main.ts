// The script of a page: in a window it shows the page, in a worker it works out the page's numbers.

import { App } from "./app.ts";
import { readBlocks, type Kind } from "./data.ts";
import { breath, el } from "./dom.ts";
import { Model } from "./model.ts";
import { PageSource } from "./page_source.ts";
import { startServed } from "./served.ts";
import { isServed } from "./server.ts";
import type { Source, Terms } from "./source.ts";
import { formatNumber } from "./text.ts";
import { serve } from "./worker.ts";

/** For the browser's console and for tests: the weights of one head, or its numbers of another quantity; as they are shown; and the
 * query and the key behind one. [n_queries, n_keys] */
function publish(source: Source): void {
  const model = new Model(source.atlas);
  const weights = async (item: number, kind: Kind, layer: number, head: number, quantity = model.quantities(kind)[0]!.name): Promise<Float32Array> => {
    const tokens = source.atlas.items[item]!;
    const [n_queries, n_keys] = [(kind === "encoder" ? tokens.source : tokens.target).tokens.length, (kind === "decoder" ? tokens.target : tokens.source).tokens.length];
    const each = (n: number): [number, number][] => Array.from({ length: n }, (_, token) => [token, token + 1]);
    const part = { rows: [0, n_queries], columns: [0, n_keys] } as const;
    const of = { item, quantity, kind, layer, head };
    const tile = await source.tile({ of, look: { queries: each(n_queries), keys: each(n_keys) }, part, height: n_queries, width: n_keys, pool: "max", values: "number", exact: true });
    return tile.values;
  };
  const shown = async (...of: Parameters<typeof weights>): Promise<string[]> => {
    const [, kind, index, , quantity] = of;
    const unit = model.layers(kind, quantity ?? model.quantities(kind)[0]!.name).find((layer) => layer.index === index)?.unit;
    return Array.from(await weights(...of), (number) => formatNumber(number, unit));
  };
  const pair = (item: number, kind: Kind, layer: number, head: number, query: number, key: number): Promise<Terms> =>
    source.terms({ item, quantity: "weight", kind, layer, head }, query, key);
  Object.assign(globalThis, { attlas: { source, weights, shown, pair } });
}

function show(sources: readonly Source[], root: HTMLElement): void {
  publish(sources[0]!);
  new App(sources, root);
}

function start(script: string | null): void {
  const root = document.getElementById("app")!;
  if (isServed(document)) return void startServed(root, (sources) => show(sources, root));
  const fail = (error: unknown): never => {
    root.replaceChildren(el("p", { class: "failure", role: "alert" }, `This page cannot be shown: ${String(error)}`));
    throw error;
  };
  try {
    const sources: Source[] = [];
    for (let recording = 0; ; recording++) {
      const blocks = readBlocks(document, recording);
      if (blocks === null) break;
      sources.push(new PageSource(blocks.atlas, blocks.numbers, script));
    }
    // the worker begins while the page is made
    void breath().then(() => show(sources, root)).catch(fail);
  } catch (error) {
    fail(error);
  }
}

if (typeof document === "undefined") serve(globalThis as unknown as Parameters<typeof serve>[0]);
else start(document.currentScript?.textContent ?? null);
