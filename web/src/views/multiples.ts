// Maps of several heads side by side, all marked at the same place: those of a layer, or one head's number across layers.

import { headName, isOfLayer, KIND_TITLES } from "../data.ts";
import { el } from "../dom.ts";
import type { Picture } from "../marks.ts";
import { withColourBar } from "../picture.ts";
import { paintTile, shapeOf } from "../pixels.ts";
import type { HeadValue, MapOf, Tile, TileAsk } from "../source.ts";
import { valuesOfScale } from "../thumbnails.ts";
import { photographOf } from "./photograph.ts";
import { writingOf } from "./scene.ts";
import { seenOf } from "./viewport.ts";
import type { Now, Page, View } from "./view.ts";

/** The longest side of a panel's picture, in pixels. */
const SIDE = 320;

/** Which maps stand there. */
export type Panels = (now: Now) => { of: MapOf; name: string }[];

/** The heads of the chosen layer, and their mean. */
export const headsOfLayer: Panels = ({ state, model }) => {
  const layer = model.layers(state.kind, state.quantity).find(({ index }) => index === state.layer)!;
  const heads = Array.from({ length: layer.n_heads }, (_, head) => ({ of: model.of(state, { head }), name: headName(layer.index, head) }));
  const mean = { of: model.of(state, { head: "mean" }), name: `layer ${layer.index}, mean of ${layer.n_heads} heads` };
  return layer.n_heads > 1 ? [...heads, mean] : heads;
};

/** The chosen head's number in every layer that has it. */
export const headAcrossLayers: Panels = ({ state, model }) =>
  model
    .layers(state.kind, state.quantity)
    .filter(({ n_heads }) => state.head < n_heads)
    .map(({ index }) => ({ of: model.of(state, { layer: index }), name: model.nameOf(state, { layer: index, head: state.head }) }));

interface Panel {
  of: MapOf;
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  ring: HTMLElement;
  value: HTMLElement;
}

export class Multiples implements View {
  readonly element = el("div", { class: "multiples" });
  private grid = el("div", { class: "panels" });
  private caption = el("p", { class: "caption" });
  private page: Page;
  private panels: Panels;
  private made: Panel[] = [];
  private key = "";
  private tiles: (Tile | undefined)[] = [];
  private tilesFor = "";
  private look: unknown = null;

  private says: string;

  constructor(page: Page, panels: Panels, says: string) {
    [this.page, this.panels, this.says] = [page, panels, says];
    this.element.append(this.grid, this.caption);
  }

  async update(now: Now, signal: AbortSignal): Promise<void> {
    const panels = this.panels(now);
    const key = JSON.stringify(panels);
    if (key !== this.key) this.build(panels);
    this.key = key;
    const { state, axes, source } = now;
    this.caption.textContent = isOfLayer(source.atlas, state) ? "The map of every layer, each of all its heads together." : this.says;
    const [queries, keys] = [seenOf(axes.queries, state.zoom?.queries ?? null), seenOf(axes.keys, state.zoom?.keys ?? null)];
    const part = { rows: [queries.from, queries.to], columns: [keys.from, keys.to] } as const;
    const asks: TileAsk[] = panels.map(({ of }) => ({ of, look: axes.look, part, height: SIDE, width: SIDE, pool: state.pool, values: valuesOfScale(state.scale), exact: false }));
    const tilesFor = JSON.stringify([key, part, state.pool, valuesOfScale(state.scale)]);
    if (tilesFor !== this.tilesFor || this.look !== axes.look) this.tiles = [];
    [this.tilesFor, this.look] = [tilesFor, axes.look];
    this.tiles.forEach((tile, place) => tile !== undefined && this.paint(place, tile, now));
    const missing = asks.filter((_, place) => this.tiles[place] === undefined);
    await source.pooled(missing, (ask, tile) => {
      if (signal.aborted) return;
      const place = asks.indexOf(ask);
      this.tiles[place] = tile;
      this.paint(place, tile, now);
    }, signal);
    this.mark(now);
  }

  async picture({ state, source, colours }: Now): Promise<Picture> {
    const title = `${state.view === "heads" ? `the heads of L${state.layer}` : isOfLayer(source.atlas, state) ? "every layer" : `H${state.head} of every layer`}, ${KIND_TITLES[state.kind]}`;
    return withColourBar(photographOf(this.element, title), colours);
  }

  mark(now: Now): void {
    const { state, axes, selection } = now;
    const [queries, keys] = [seenOf(axes.queries, state.zoom?.queries ?? null), seenOf(axes.keys, state.zoom?.keys ?? null)];
    const [n_rows, n_columns] = [queries.to - queries.from, keys.to - keys.from];
    for (const { of, button, ring, value } of this.made) {
      button.setAttribute("aria-pressed", String(of.layer === state.layer && of.head === state.head));
      const { row, column } = selection;
      const [y, x] = [row === null ? 0 : row - queries.from, column === null ? 0 : column - keys.from];
      ring.hidden = (row === null && column === null) || y < 0 || x < 0 || y >= n_rows || x >= n_columns;
      ring.style.top = `${(100 * y) / n_rows}%`;
      ring.style.height = row === null ? "100%" : `${100 / n_rows}%`;
      ring.style.left = `${(100 * x) / n_columns}%`;
      ring.style.width = column === null ? "100%" : `${100 / n_columns}%`;
      value.textContent = "";
    }
    void this.tellValues(now);
  }

  /** The number of the selected cell under each map. */
  private async tellValues({ state, axes, source, selection, lines }: Now): Promise<void> {
    const { row, column } = selection;
    if (row === null || column === null) return;
    const asked = { row, column };
    const fill = (panel: Panel, value: number): void => {
      if (this.selected.row === asked.row && this.selected.column === asked.column) panel.value.textContent = Number.isNaN(value) ? "masked" : writingOf(source.atlas, panel.of)(value);
    };
    this.selected = asked;
    const values: HeadValue[] = await source.heads({ item: state.item, quantity: state.quantity, kind: state.kind, look: axes.look, row, column }).catch(() => []);
    for (const panel of this.made) {
      const value = values.find(({ layer, head }) => layer === panel.of.layer && head === panel.of.head);
      if (value !== undefined) fill(panel, value.value);
      else if (panel.of.head === "mean") {
        const line = await lines.row(panel.of, axes.look, row);
        fill(panel, line.masked[column] === 1 ? NaN : line.weights[column]!);
      }
    }
  }

  private selected: { row: number | null; column: number | null } = { row: null, column: null };

  private build(panels: { of: MapOf; name: string }[]): void {
    this.made = panels.map(({ of, name }) => {
      const canvas = el("canvas", { "aria-hidden": "true" });
      const ring = el("span", { class: "panel-ring", hidden: true });
      const value = el("span", { class: "value" });
      const button = el("button", { type: "button", class: "panel-map" }, el("span", { class: "picture" }, canvas, ring), el("span", { class: "panel-name" }, el("span", {}, name), value));
      const choose = (view?: string): void => {
        if (of.head !== "mean") this.page.change({ layer: of.layer, head: of.head, ...(view === undefined ? {} : { view }) });
      };
      button.addEventListener("click", () => choose());
      button.addEventListener("dblclick", () => choose("map"));
      return { of, button, canvas, ring, value };
    });
    this.grid.replaceChildren(...this.made.map(({ button }) => button));
  }

  private paint(place: number, tile: Tile, { colours }: Now): void {
    const panel = this.made[place]!;
    paintTile(tile, colours, panel.canvas);
    panel.canvas.style.aspectRatio = shapeOf(tile);
  }
}
