// The overview: all heads of a kind as thumbnails; rows are layers, columns are heads.

import type { Colours } from "./colours.ts";
import { headName, isOfLayer, layerOf, type QuantityOf } from "./data.ts";
import { breath, el } from "./dom.ts";
import { BY_EFFECT, effectNumber, effectText, orderNote } from "./effects.ts";
import type { Model } from "./model.ts";
import { shapeOf } from "./pixels.ts";
import { Sheet, type Pasted } from "./sheet.ts";
import { classesOf, scoreText, dotNote } from "./standouts.ts";
import type { HeadId, State } from "./state.ts";
import type { Tile } from "./source.ts";
import { formatNumber, rounded } from "./text.ts";
import { SIDE, type Thumbnails } from "./thumbnails.ts";

/** How long pictures are painted before the page gets to breathe, and how long those that come are collected, in ms. */
const [SLICE, COLLECTED] = [12, 60];

interface Place extends Pasted {
  layer: number;
  head: number;
  button: HTMLButtonElement;
}

export class Overview {
  readonly element = el("section", { class: "overview", "aria-label": "all heads" });
  private caption = el("p", { class: "caption" });
  private legend = el("ul", { class: "legend", "aria-label": "what heads stand out for" });
  private order = el("select", { "aria-label": "order of heads" });
  private find = el("input", { type: "search", placeholder: "find L2H4, class", "aria-label": "find heads by name or class" });
  private grid = el("div", { class: "heads", role: "grid", "aria-label": "heads by layer; arrow keys move, the map follows" });
  private places: Place[] = [];
  private sheet = new Sheet(this.grid, () => this.places);
  private built = "";
  private model: Model;
  private thumbnails: Thumbnails;
  private select: (head: HeadId, beside: boolean) => void;
  private change: (part: Partial<State>) => void;
  private state: State | null = null;
  private coloursOf: (head: HeadId) => Colours;
  private n_heads = 1;
  private classes: ReturnType<typeof classesOf> = [];

  /** `change` takes an order or a filter; `select` is told whether the head is wanted beside those that are drawn. */
  constructor(model: Model, thumbnails: Thumbnails, coloursOf: (head: HeadId) => Colours, select: (head: HeadId, beside: boolean) => void, change: (part: Partial<State>) => void) {
    [this.model, this.thumbnails, this.coloursOf, this.select] = [model, thumbnails, coloursOf, select];
    this.change = change;
    const bar = el("div", { class: "overview-bar" }, el("label", {}, "order ", this.order), this.find);
    this.element.append(bar, this.grid, this.legend, this.caption);
    this.order.addEventListener("change", () => change({ sort: this.order.value }));
    this.find.addEventListener("input", () => change({ find: this.find.value }));
    this.grid.addEventListener("keydown", (event) => this.moveByKey(event));
  }

  /** Draws what the state asks for, each head as soon as it is there; done when all are, on the scale that they share. */
  async update(state: State, signal: AbortSignal): Promise<void> {
    const built = `${state.kind} ${state.quantity}`;
    if (this.built !== built) this.build(state);
    this.shape(state);
    for (const place of this.places) this.mark(place, state);
    if (this.built !== built || !isSorted(state)) this.arrange(state);
    this.built = built;
    this.state = state;
    const size = this.sheet.sizeOf(this.places[0]!.button, SIDE);
    await this.collect((each) => this.thumbnails.want(state, size, each, signal), (n) => `computing ${n} of ${this.places.length} heads …`);
    await this.paint(signal);
    if (isSorted(state)) this.arrange(state);
  }

  /** Reads every row of heads of which some were read so far. */
  async refine(signal: AbortSignal): Promise<void> {
    const state = this.state;
    if (state === null || this.thumbnails.every() === 1) return;
    await this.collect((each) => this.thumbnails.refine(state, each, signal), (n) => `reading every row: ${n} of ${this.places.length} heads …`);
    if (!signal.aborted) await this.paint(signal);
  }

  /** Paints what comes, several at a time, and says how far it is. */
  private async collect(work: (each: (head: HeadId) => void) => Promise<void>, said: (n: number) => string): Promise<void> {
    const came: HeadId[] = [];
    let n_came = 0;
    const flush = setInterval(() => {
      for (const head of came.splice(0)) this.paintPlace(this.places.find((place) => place.layer === head.layer && place.head === head.head)!);
      this.caption.textContent = said(n_came);
    }, COLLECTED);
    const each = (head: HeadId): void => {
      n_came++;
      came.push(head);
    };
    await work(each).finally(() => clearInterval(flush));
  }

  /** Puts the heads in the order that the state asks for, and dims those that it does not ask for. */
  arrange(state: State): void {
    this.state = state;
    this.fillBar(state);
    const sorted = isSorted(state);
    this.grid.classList.toggle("sorted", sorted);
    if (sorted) this.grid.replaceChildren(...this.sorted(state).map((place) => el("div", { role: "row", class: "cell" }, place.button, el("span", { class: "name", "aria-hidden": "true" }, this.model.nameOf(state, place)), el("span", { class: "name ordered", "aria-hidden": "true" }, this.scoreSaid(place, state)))), this.sheet.canvas);
    else if (this.grid.firstElementChild?.className !== "row") this.layInRows(state);
    for (const place of this.places) place.button.classList.toggle("dimmed", !this.isWanted(place, state));
    this.fillLegend();
    if (this.thumbnails.get(state) !== null) this.fillCaption(state);
    this.sheet.lay(); // last: what is measured after it is laid out already
  }

  /** The heads in order: of those that are wanted first the highest score or number. */
  private sorted(state: State): Place[] {
    const score = (place: Place): number => this.score(place, state) ?? -Infinity;
    const rank = (place: Place): number => (this.isWanted(place, state) ? 1 : 0);
    return [...this.places].sort((a, b) => rank(b) - rank(a) || score(b) - score(a) || a.layer - b.layer || a.head - b.head);
  }

  /** What the heads are put in order by; of an effect its size. */
  private score(place: Place, state: State): number | undefined {
    if (state.sort === "largest") return this.thumbnails.topOf(place) ?? 0;
    if (state.sort !== BY_EFFECT) return this.model.standouts(state, place.layer, place.head).find(({ name }) => name === state.sort)?.score;
    const effect = this.model.effect(state, place)?.effect;
    return effect === undefined ? undefined : Math.abs(effect);
  }

  private scoreSaid(place: Place, state: State): string {
    const effect = state.sort === BY_EFFECT ? this.model.effect(state, place) : undefined;
    if (effect !== undefined) return effectNumber(effect);
    const score = this.score(place, state);
    if (score === undefined) return "";
    return state.sort === "largest" ? this.sizeSaid(score, place, state) : score.toFixed(2);
  }

  /** The size of a head's number: of a weight in short, of others in their layer's unit. */
  private sizeSaid(size: number, { layer, head }: HeadId, state: State): string {
    return state.quantity === "weight" ? rounded(size, 2) : formatNumber(size, layerOf(this.model.atlas, this.model.of(state, { layer, head }))?.unit);
  }

  /** Whether a head is of the class and has the name that are asked for. */
  private isWanted({ layer, head }: Place, state: State): boolean {
    const { only, find } = state;
    const titles = this.model.standouts(state, layer, head).map(({ title }) => title);
    if (only !== "" && !titles.includes(only)) return false;
    return find === "" || isNamed(headName(layer, head), find) || titles.some((title) => title.toLowerCase().includes(find.trim().toLowerCase()));
  }

  private fillBar(state: State): void {
    const measures = new Map(this.model.standoutsOf(state).map(({ name, title }) => [name, title]));
    const measured: [string, string][] = this.model.hasEffects(state) ? [[BY_EFFECT, "by measured effect"]] : [];
    const options: [string, string][] = [["", "by layer"], ["largest", `by largest ${this.model.quantity(state).words}`], ...measured, ...[...measures].map(([name, title]): [string, string] => [name, `by ${title}`])];
    this.order.replaceChildren(...options.map(([value, words]) => el("option", { value }, words)));
    this.order.value = options.some(([value]) => value === state.sort) ? state.sort : "";
    if (document.activeElement !== this.find) this.find.value = state.find;
  }

  focusSelected(): void {
    this.places.find((place) => place.button.tabIndex === 0)?.button.focus();
  }

  private build(state: State): void {
    const layers = this.model.layers(state.kind, state.quantity);
    const n_heads = Math.max(...layers.map((layer) => layer.n_heads));
    this.grid.style.setProperty("--heads", String(n_heads));
    this.places = [];
    this.n_heads = n_heads;
    this.classes = classesOf(this.model.standoutsOf(state), state.kind);
    for (const layer of layers) {
      for (let head = 0; head < layer.n_heads; head++) {
        const button = el("button", { type: "button", role: "gridcell", class: "thumb", "aria-label": headName(layer.index, head) });
        const place: Place = { layer: layer.index, head, button, painted: null };
        button.addEventListener("click", (event) => this.select(place, event.ctrlKey || event.metaKey || event.shiftKey));
        this.places.push(place);
      }
    }
    this.grid.replaceChildren();
  }

  /** A row for each layer, named by its true number. */
  private layInRows(state: State): void {
    const header = el("div", { role: "row", class: "row" }, el("span", { role: "columnheader", class: "corner" }, el("span", { class: "unseen" }, "layer")));
    for (let head = 0; head < this.n_heads; head++) header.append(el("span", { role: "columnheader", class: "name" }, isOfLayer(this.model.atlas, state) ? "all heads" : `H${head}`));
    const rows = this.model.layers(state.kind, state.quantity).map(({ index }) => {
      const heads = this.places.filter(({ layer }) => layer === index).map(({ button }) => button);
      return el("div", { role: "row", class: "row" }, el("span", { role: "rowheader", class: "name" }, `L${index}`), ...heads);
    });
    this.grid.replaceChildren(header, ...rows, this.sheet.canvas);
  }

  private mark(place: Place, state: State): void {
    const selected = place.layer === state.layer && place.head === state.head;
    place.button.setAttribute("aria-selected", String(selected));
    place.button.tabIndex = selected ? 0 : -1;
    place.button.classList.toggle("beside", state.heads.some((one) => one.layer === place.layer && one.head === place.head));
  }

  /** Draws the heads whose colours have changed, and says what is seen. */
  async paint(signal: AbortSignal): Promise<void> {
    const state = this.state!;
    this.fillCaption(state);
    this.fillLegend();
    let until = performance.now() + SLICE;
    for (const place of this.places) {
      if (performance.now() > until) {
        await breath();
        if (signal.aborted) return;
        until = performance.now() + SLICE;
      }
      this.paintPlace(place);
    }
  }

  /** Says what is seen. */
  private fillCaption(state: State): void {
    const every = this.thumbnails.every();
    const read = every > 1 ? `One row in ${every} is read for these pictures.` : "";
    const { items } = this.model.atlas;
    const rows = isOfLayer(this.model.atlas, state) ? "Rows are layers, counted from 0; each map is of all heads together." : "Rows are layers, columns are heads; both count from 0.";
    const order = !isSorted(state) ? rows : state.sort === BY_EFFECT ? orderNote(this.model.atlas) : "";
    this.caption.textContent = [order, coloursSaid(state, this.model.quantity(state), this.thumbnails.top()), read, dotNote(this.model.standoutsOf(state), state.kind, items.length)].filter((said) => said !== "").join(" ");
  }

  private paintPlace(place: Place): void {
    const tile = this.thumbnails.get(place);
    if (this.state === null || tile === null) return;
    const colours = this.coloursOf(place);
    if (place.painted?.tile === tile && place.painted.colours.equals(colours)) return;
    if (place.painted?.tile !== tile) this.name(place, tile, this.state);
    place.painted = { tile, colours };
    this.sheet.draw(place);
  }

  /** Gives the buttons the shape of their maps, which all heads of a kind share. */
  private shape(state: State): void {
    const { look } = this.model.axes(state);
    this.grid.style.setProperty("--shape", shapeOf({ width: Math.min(SIDE, look.keys.length), height: Math.min(SIDE, look.queries.length) }));
  }

  /** What a head stands out for, in words and as dots. */
  private name(place: Place, tile: Tile, state: State): void {
    const standouts = this.model.standouts(state, place.layer, place.head);
    const text = [`${this.model.nameOf(state, place)}, largest ${this.model.quantity(state).words} ${this.sizeSaid(tile.top, place, state)}`, ...standouts.map(scoreText), ...this.effectSaid(place, state)].join(", ");
    place.button.setAttribute("aria-label", text);
    place.button.title = text;
    const dots = standouts.filter((one) => !one.usual).map((one) => this.classes.find(({ title }) => title === one.title)!);
    place.button.replaceChildren(el("span", { class: "dots", "aria-hidden": "true" }, ...dots.slice(0, 3).map(({ dot }) => el("span", { class: "dot", "data-dot": dot }))));
  }

  private effectSaid(place: Place, state: State): string[] {
    const effect = this.model.effect(state, place);
    return effect === undefined ? [] : [effectText(this.model.atlas, effect)];
  }

  /** What the dots stand for; a click leaves the heads of one class lit. */
  private fillLegend(): void {
    const entries = this.classes.map(({ title, says, n_heads, dot }) => {
      const count = `${n_heads} ${n_heads === 1 ? "head" : "heads"}`;
      const only = this.state!.only;
      const button = el("button", { type: "button", class: "plain", title: says, "data-class": title, "aria-pressed": String(only === title) });
      button.append(el("span", { class: "dot", "data-dot": dot, "aria-hidden": "true" }), title, el("span", { class: "count" }, ` ${count}`));
      button.addEventListener("click", () => {
        this.change({ only: only === title ? "" : title });
        this.legend.querySelector<HTMLElement>(`[data-class="${CSS.escape(title)}"]`)?.focus();
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
    const to = isSorted(this.state!) ? this.besideInOrder(from, event.key) : neighbour(this.places, at, event.key);
    if (to === null) return;
    event.preventDefault();
    this.select(to, false);
    to.button.focus();
  }

  private besideInOrder(from: Place, key: string): Place | null {
    const order = this.sorted(this.state!);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.n_heads, ArrowDown: this.n_heads }[key];
    if (step !== undefined) return order[order.indexOf(from) + step] ?? null;
    return key === "Home" ? order[0]! : key === "End" ? order.at(-1)! : null;
  }
}

/** Whether heads stand in another order than that of layers. */
function isSorted({ sort }: State): boolean {
  return sort !== "";
}

/** Whether a head's name is asked for: by "L2H4", "2.4", "L2" or "H4". */
export function isNamed(name: string, asked: string): boolean {
  const [, layer, head] = /^L(\d+)H(\d+)$/.exec(name)!;
  const words = asked.trim().toUpperCase();
  return [name, `${layer}.${head}`, `L${layer}`, `H${head}`].includes(words);
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

/** What the colours of the pictures reach to; `shared` is the largest size of a number of any head. */
export function coloursSaid({ scale, range }: Pick<State, "scale" | "range">, { words, signed }: Pick<QuantityOf, "words" | "signed">, shared: number): string {
  const largest = signed ? `largest ${words} in size, either way from 0` : `largest ${words}`;
  if (scale === "row") return `Each row of a map runs from 0 to its own ${largest}.`;
  if (scale === "rank") return "A cell is as bright as there are keys in its row that have less.";
  const from = scale === "log" ? "four powers of ten up to" : "0 to";
  const name = scale === "log" ? "logarithmic colour scale" : "colour scale";
  if (range === "own") return `Each head has its own ${name}: ${from} its ${largest}.`;
  return `One ${name} for all: ${from} the ${largest}, ${rounded(shared, 3)}.`;
}
