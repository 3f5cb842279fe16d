// The script of a page: in a window it shows the page, in a worker it works out the page's numbers.

import { App } from "./app.ts";
import { keyTokens, queryTokens, readBlocks, type Kind } from "./data.ts";
import { breath, el } from "./dom.ts";
import { Model } from "./model.ts";
import { PageSource, startThread, type Thread } from "./page_source.ts";
import { startServed } from "./served.ts";
import { isServed } from "./server.ts";
import type { Source, Terms } from "./source.ts";
import { stateFromHash } from "./state.ts";
import { formatNumber } from "./text.ts";
import { serve, type Scope } from "./worker.ts";

/** For the browser's console and for tests: the weights of one head, or its numbers of another quantity; as they are shown; and the
 * query and the key behind one. [n_queries, n_keys] */
function publish(source: Source): void {
  const model = new Model(source.atlas);
  const weights = async (item: number, kind: Kind, layer: number, head: number, quantity = model.quantities(kind)[0]!.name): Promise<Float32Array> => {
    const [n_queries, n_keys] = [queryTokens, keyTokens].map((of) => of(source.atlas.items[item]!, kind).tokens.length) as [number, number];
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

/** The recordings that the page carries, each with a thread of its own; the first with the one that is there. */
function carriedSources(script: string | null, first: Thread | null): Source[] {
  const sources: Source[] = [];
  for (let recording = 0; ; recording++) {
    const blocks = readBlocks(document, recording);
    if (blocks === null) return sources;
    const isFirst = recording === 0;
    const thread = isFirst ? first : script === null ? null : startThread(script);
    const soon = isFirst ? stateFromHash(location.hash, blocks.atlas) : null;
    sources.push(new PageSource(blocks.atlas, blocks.numbers, thread, soon && { item: soon.item, quantity: soon.quantity, kind: soon.kind }));
  }
}

function start(script: string | null): void {
  const root = document.getElementById("app")!;
  if (isServed(document)) return void startServed(root, (sources) => show(sources, root));
  // a thread takes as long to begin as the page's numbers, which stand behind the script, to be read
  const thread = script === null ? null : startThread(script);
  const showCarried = async (): Promise<void> => {
    const sources = carriedSources(script, thread);
    await breath(); // the numbers are on their way before the page is made
    show(sources, root);
  };
  const begin = (): void =>
    void showCarried().catch((error: unknown) => {
      root.replaceChildren(el("p", { class: "failure", role: "alert" }, `This page cannot be shown: ${String(error)}`));
      throw error;
    });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin, { once: true });
  else begin();
}

if (typeof document === "undefined") serve(globalThis as unknown as Scope);
else start(document.currentScript?.textContent ?? null);
