// The overview: all heads of a kind as thumbnails; rows are layers, columns are heads.

import { colourAt, fraction } from "./colour.ts";
import { headName } from "./data.ts";
import { el } from "./dom.ts";
import type { Model, Thumbnail } from "./model.ts";
import { classesOf, scoreText, dotNote } from "./standouts.ts";
import type { State } from "./state.ts";

/** How long one slice of work may take before the page gets to breathe, in ms. */
const SLICE = 24;

interface Place {
  layer: number;
  head: number;
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement;
}

export class Overview {
  readonly element = el("section", { class: "overview", "aria-label": "all heads" });
  private caption = el("p", { class: "caption" });
  private legend = el("ul", { class: "legend", "aria-label": "what heads stand out for" });
  /** The class whose heads alone are seen; null for all. */
  private only: string | null = null;
  private grid = el("div", { class: "heads", role: "grid", "aria-label": "heads by layer; arrow keys move, the map follows" });
  private places: Place[] = [];
  private built = "";
  private run = 0;
  private model: Model;
  private select: (layer: number, head: number) => void;

  constructor(model: Model, select: (layer: number, head: number) => void) {
    this.model = model;
    this.select = select;
    this.element.append(this.grid, this.legend, this.caption);
    this.grid.addEventListener("keydown", (event) => this.moveByKey(event));
  }

  /** Draws what the state asks for; calls `done` when the shared range is known. */
  update(state: State, done: () => void): void {
    if (this.built !== state.kind) {
      this.build(state);
      this.only = null;
    }
    this.built = state.kind;
    for (const place of this.places) this.mark(place, state);
    const run = ++this.run;
    let next = 0;
    const slice = (): void => {
      if (run !== this.run) return;
      const until = performance.now() + SLICE;
      while (next < this.places.length && performance.now() < until) {
        const { layer, head } = this.places[next++]!;
        this.model.thumbnail(state, layer, head);
      }
      if (next < this.places.length) {
        this.caption.textContent = `computing ${next} of ${this.places.length} heads …`;
        setTimeout(slice, 0);
        return;
      }
      this.paint(state);
      done();
    };
    slice();
  }

  focusSelected(): void {
    this.places.find((place) => place.button.tabIndex === 0)?.button.focus();
  }

  private build(state: State): void {
    const layers = this.model.layers(state.kind);
    const n_heads = Math.max(...layers.map((layer) => layer.n_heads));
    this.grid.style.setProperty("--heads", String(n_heads));
    this.places = [];
    const header = el("div", { role: "row", class: "row" }, el("span", { role: "columnheader", class: "corner" }));
    for (let head = 0; head < n_heads; head++) header.append(el("span", { role: "columnheader", class: "name" }, `H${head}`));
    this.grid.replaceChildren(header);
    for (const layer of layers) {
      const row = el("div", { role: "row", class: "row" }, el("span", { role: "rowheader", class: "name" }, `L${layer.index}`));
      for (let head = 0; head < layer.n_heads; head++) {
        const canvas = el("canvas", { "aria-hidden": "true" });
        const button = el("button", { type: "button", role: "gridcell", class: "thumb" }, canvas);
        const place = { layer: layer.index, head, button, canvas };
        button.addEventListener("click", () => this.select(place.layer, place.head));
        this.places.push(place);
        row.append(button);
      }
      this.grid.append(row);
    }
  }

  private mark(place: Place, state: State): void {
    const selected = place.layer === state.layer && place.head === state.head;
    place.button.setAttribute("aria-selected", String(selected));
    place.button.tabIndex = selected ? 0 : -1;
  }

  private paint(state: State): void {
    const shared = this.model.sharedTop();
    const classes = classesOf(this.model.source.standouts, state.kind);
    for (const place of this.places) {
      const thumbnail = this.model.thumbnail(state, place.layer, place.head);
      const standouts = this.model.standouts(state, place.layer, place.head);
      const text = [`${headName(place.layer, place.head)}, largest weight ${thumbnail.top.toFixed(2)}`, ...standouts.map(scoreText)].join(", ");
      place.button.setAttribute("aria-label", text);
      place.button.title = text;
      const dots = standouts.filter((one) => !one.usual).map((one) => classes.find(({ title }) => title === one.title)!);
      place.button.replaceChildren(place.canvas, el("span", { class: "dots", "aria-hidden": "true" }, ...dots.slice(0, 3).map(({ dot }) => el("span", { class: "dot", "data-dot": dot }))));
      place.button.classList.toggle("dimmed", this.only !== null && !standouts.some(({ title }) => title === this.only));
      paintThumbnail(place.canvas, thumbnail, state, state.range === "own" ? thumbnail.top : shared);
    }
    this.fillLegend(state);
    this.caption.textContent = [captionOf(state, shared), dotNote(this.model.source.standouts, state.kind, this.model.source.items.length)].join(" ").trim();
  }

  /** What the dots stand for; a click leaves the heads of one class lit. */
  private fillLegend(state: State): void {
    const entries = classesOf(this.model.source.standouts, state.kind).map(({ title, says, n_heads, dot }) => {
      const count = `${n_heads} ${n_heads === 1 ? "head" : "heads"}`;
      const button = el("button", { type: "button", class: "plain", title: says, "aria-pressed": String(this.only === title) });
      button.append(el("span", { class: "dot", "data-dot": dot, "aria-hidden": "true" }), title, el("span", { class: "count" }, ` ${count}`));
      button.addEventListener("click", () => {
        this.only = this.only === title ? null : title;
        this.paint(state);
        [...this.legend.querySelectorAll("button")].find((one) => one.title === says && one.textContent === button.textContent)?.focus();
      });
      return el("li", {}, button);
    });
    this.legend.replaceChildren(...entries);
    this.legend.hidden = entries.length === 0;
  }

  private moveByKey(event: KeyboardEvent): void {
    const at = this.places.findIndex((place) => place.button === document.activeElement);
    const from = this.places[at];
    if (from === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = neighbour(this.places, at, event.key);
    if (to === null) return;
    event.preventDefault();
    this.select(to.layer, to.head);
    to.button.focus();
  }
}

/** The head that an arrow key leads to; null for other keys. At the end of a row, the next row follows. */
export function neighbour<P extends { layer: number; head: number }>(places: P[], at: number, key: string): P | null {
  const from = places[at]!;
  const layers = [...new Set(places.map((place) => place.layer))];
  const inLayer = (step: number): P | null => {
    const layer = layers[layers.indexOf(from.layer) + step];
    const heads = places.filter((place) => place.layer === layer);
    return heads[Math.min(from.head, heads.length - 1)] ?? null;
  };
  switch (key) {
    case "ArrowLeft":
      return places[at - 1] ?? null;
    case "ArrowRight":
      return places[at + 1] ?? null;
    case "ArrowUp":
      return inLayer(-1);
    case "ArrowDown":
      return inLayer(1);
    case "Home":
      return places[0]!;
    case "End":
      return places.at(-1)!;
    default:
      return null;
  }
}

function captionOf(state: State, shared: number): string {
  const rows = "Rows are layers, columns are heads; both count from 0.";
  if (state.scale === "row") return `${rows} Each row of a map runs from 0 to its own largest weight.`;
  const from = state.scale === "log" ? "four powers of ten up to" : "0 to";
  const scale = state.scale === "log" ? "logarithmic colour scale" : "colour scale";
  if (state.range === "own") return `${rows} Each head has its own ${scale}: ${from} its largest weight.`;
  return `${rows} One ${scale} for all: ${from} the largest weight, ${shared.toFixed(3)}.`;
}

function paintThumbnail(canvas: HTMLCanvasElement, thumbnail: Thumbnail, state: State, top: number): void {
  canvas.width = thumbnail.columns;
  canvas.height = thumbnail.rows;
  canvas.style.aspectRatio = String(Math.min(3, Math.max(1 / 3, thumbnail.columns / thumbnail.rows)) || 1);
  const context = canvas.getContext("2d");
  if (context === null || thumbnail.values.length === 0) return;
  const image = context.createImageData(thumbnail.columns, thumbnail.rows);
  thumbnail.values.forEach((value, pixel) => {
    if (thumbnail.masked[pixel] === 1) return; // see-through
    image.data.set([...colourAt(fraction(value, state.scale === "row" ? 1 : top, state.scale)), 255], 4 * pixel);
  });
  context.putImageData(image, 0, 0);
}
