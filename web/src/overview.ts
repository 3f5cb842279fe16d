// The overview: all heads of a kind as thumbnails; rows are layers, columns are heads.

import type { Colours } from "./colours.ts";
import { headName } from "./data.ts";
import { el } from "./dom.ts";
import type { Model } from "./model.ts";
import { paintTile } from "./pixels.ts";
import { classesOf, scoreText, dotNote } from "./standouts.ts";
import type { HeadId, State } from "./state.ts";
import type { Thumbnails } from "./thumbnails.ts";

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
  private model: Model;
  private thumbnails: Thumbnails;
  private select: (head: HeadId, beside: boolean) => void;
  private state: State | null = null;
  private coloursOf: (head: HeadId) => Colours;

  /** `select` is told whether the head is wanted beside those that are drawn. */
  constructor(model: Model, thumbnails: Thumbnails, coloursOf: (head: HeadId) => Colours, select: (head: HeadId, beside: boolean) => void) {
    [this.model, this.thumbnails, this.coloursOf, this.select] = [model, thumbnails, coloursOf, select];
    this.element.append(this.grid, this.legend, this.caption);
    this.grid.addEventListener("keydown", (event) => this.moveByKey(event));
  }

  /** Draws what the state asks for, each head as soon as it is there; done when all are, on the scale that they share. */
  async update(state: State, signal: AbortSignal): Promise<void> {
    const built = `${state.kind} ${state.quantity}`;
    if (this.built !== built) {
      this.build(state);
      this.only = null;
    }
    this.built = built;
    this.state = state;
    for (const place of this.places) this.mark(place, state);
    let [n_drawn, top] = [0, this.thumbnails.top()];
    const each = (head: HeadId): void => {
      n_drawn++;
      const place = this.places.find((place) => place.layer === head.layer && place.head === head.head);
      if (place !== undefined) this.paintPlace(place);
      top = Math.max(top, this.thumbnails.get(head)!.top);
      if (n_drawn % 16 === 1) this.caption.textContent = `computing ${n_drawn} of ${this.places.length} heads …`;
    };
    await this.thumbnails.want(state, each, signal);
    this.paint();
  }

  focusSelected(): void {
    this.places.find((place) => place.button.tabIndex === 0)?.button.focus();
  }

  private build(state: State): void {
    const layers = this.model.layers(state.kind, state.quantity);
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
        button.addEventListener("click", (event) => this.select(place, event.ctrlKey || event.metaKey || event.shiftKey));
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

  /** Draws all heads anew, and says what is seen. */
  paint(): void {
    const state = this.state;
    if (state === null) return;
    for (const place of this.places) this.paintPlace(place);
    this.fillLegend();
    const every = this.thumbnails.every();
    const read = every > 1 ? `One row in ${every} is read for these pictures.` : "";
    const { standouts, items } = this.model.atlas;
    this.caption.textContent = [captionOf(state, this.thumbnails.top()), read, dotNote(standouts, state.kind, items.length)].filter((said) => said !== "").join(" ");
  }

  private paintPlace(place: Place): void {
    const { state } = this;
    const tile = this.thumbnails.get(place);
    if (state === null || tile === null) return;
    const standouts = this.model.standouts(state, place.layer, place.head);
    const text = [`${headName(place.layer, place.head)}, largest ${state.quantity} ${tile.top.toFixed(2)}`, ...standouts.map(scoreText)].join(", ");
    place.button.setAttribute("aria-label", text);
    place.button.title = text;
    const classes = classesOf(this.model.atlas.standouts, state.kind);
    const dots = standouts.filter((one) => !one.usual).map((one) => classes.find(({ title }) => title === one.title)!);
    place.button.replaceChildren(place.canvas, el("span", { class: "dots", "aria-hidden": "true" }, ...dots.slice(0, 3).map(({ dot }) => el("span", { class: "dot", "data-dot": dot }))));
    place.button.classList.toggle("dimmed", this.only !== null && !standouts.some(({ title }) => title === this.only));
    paintTile(tile, this.coloursOf(place), place.canvas);
    place.canvas.style.aspectRatio = String(Math.min(3, Math.max(1 / 3, tile.width / Math.max(1, tile.height))) || 1);
  }

  /** What the dots stand for; a click leaves the heads of one class lit. */
  private fillLegend(): void {
    const entries = classesOf(this.model.atlas.standouts, this.state!.kind).map(({ title, says, n_heads, dot }) => {
      const count = `${n_heads} ${n_heads === 1 ? "head" : "heads"}`;
      const button = el("button", { type: "button", class: "plain", title: says, "aria-pressed": String(this.only === title) });
      button.append(el("span", { class: "dot", "data-dot": dot, "aria-hidden": "true" }), title, el("span", { class: "count" }, ` ${count}`));
      button.addEventListener("click", () => {
        this.only = this.only === title ? null : title;
        this.paint();
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
    this.select(to, false);
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
  if (state.scale === "rank") return `${rows} A cell is as bright as there are keys in its row that have less.`;
  const from = state.scale === "log" ? "four powers of ten up to" : "0 to";
  const scale = state.scale === "log" ? "logarithmic colour scale" : "colour scale";
  if (state.range === "own") return `${rows} Each head has its own ${scale}: ${from} its largest ${state.quantity}.`;
  return `${rows} One ${scale} for all: ${from} the largest ${state.quantity}, ${shared.toFixed(3)}.`;
}
