// Two maps side by side, and one less the other: two heads, two layers, two texts, two recordings, or a head's weights beside another quantity of
// it. Where the texts have different tokens, what both have is compared, and it is said.

import { KIND_TITLES, layerOf, layersOf, quantityOf, type Atlas } from "../data.ts";
import { Ramp } from "../colours.ts";
import { el, tokenAt } from "../dom.ts";
import { shortened, visibleText } from "../text.ts";
import { Picker } from "./choice.ts";
import { Grid, scaleLine } from "./grid.ts";
import { lookOf, nameOf, pooledNote, signsOf, topOf, wordsOf, writingOf, written, type Chosen, type Places, type Scene } from "./scene.ts";
import { sharedPlaces } from "./shared.ts";
import type { Look, MapOf, Source, Tile } from "../source.ts";

/** The other side: which recording of those there are, and which of its maps. */
export interface Other {
  recording: number;
  item: number;
  layer: number;
  head: number | "mean";
  quantity: string;
}

export interface CompareOptions {
  /** Null: the next head. */
  other: Other | null;
}

/** What both sides have: places of the first and of the second, pair by pair. */
export interface SharedAxis {
  first: number[];
  second: number[];
}

/** The longest side of a map, in pixels; the cells that are listed. */
const [SIDE, N_LISTED] = [256, 8];

export class CompareView {
  readonly element = el("section", { class: "compare-view", "aria-label": "two maps, and their difference" });
  onSelect: (chosen: Chosen) => void = () => {};
  onChange: (options: Partial<CompareOptions>) => void = () => {};
  private pickers = { recording: new Picker("recording"), item: new Picker("text"), layer: new Picker("layer"), head: new Picker("head"), quantity: new Picker("numbers") };
  private sides = [new Side(), new Side(), new Side()] as const;
  private said = el("p", { class: "said" });
  private list = el("table", { class: "term-list" });
  private sources: readonly Source[] = [];
  private other: Other = { recording: 0, item: 0, layer: 0, head: 0, quantity: "weight" };
  private kind: MapOf["kind"] = "encoder";
  private pairs: { rows: SharedAxis; columns: SharedAxis } | null = null;

  constructor() {
    const { recording, item, layer, head, quantity } = this.pickers;
    const against = el("div", { class: "choices against" }, el("span", {}, "beside"), recording.element, item.element, layer.element, head.element, quantity.element);
    this.element.append(against, this.said, el("div", { class: "three" }, ...this.sides.map(({ element }) => element)), el("div", { class: "scrolled listing" }, this.list));
    recording.onChange = (at) => this.change({ recording: at });
    item.onChange = (at) => this.change({ item: at });
    layer.onChange = (at) => this.change({ layer: this.layers()[at]!.index });
    head.onChange = (at) => this.change({ head: at === this.heads() ? "mean" : at });
    quantity.onChange = (at) => this.change({ quantity: this.quantities()[at]! });
    this.sides[0].grid.onSelect = (chosen) => this.onSelect(chosen);
    this.sides[2].grid.onSelect = ({ row, column }) => {
      const back = (axis: SharedAxis | undefined, place: number | null): number | null => (place === null ? null : (axis?.first[place] ?? null));
      this.onSelect({ row: back(this.pairs?.rows, row), column: back(this.pairs?.columns, column) });
    };
  }

  /** `sources` are all recordings of the page, and `others` the axes of the second side. */
  async update(scene: Scene, sources: readonly Source[], options: CompareOptions, placesOf: (source: Source, of: MapOf) => { queries: Places; keys: Places }, signal: AbortSignal): Promise<void> {
    this.sources = sources;
    this.kind = scene.of.kind;
    this.other = existing(options.other ?? nextTo(scene, sources), sources, this.kind, scene.of);
    this.fillPickers();
    const source = sources[this.other.recording]!;
    const { recording: _, ...rest } = this.other;
    const of: MapOf = { ...rest, kind: this.kind };
    const there = source.atlas.layers.some(({ kind }) => kind === this.kind);
    this.said.textContent = there ? "" : `The other recording has no ${KIND_TITLES[this.kind]}.`;
    if (!there) return;
    const second: Scene = { ...scene, source, of, ...placesOf(source, of) };
    const [a, b] = await Promise.all([tileOf(scene, lookOf(scene), "max", signal), tileOf(second, lookOf(second), "max", signal)]);
    if (signal.aborted) return;
    const sameUnit = scene.of.quantity === of.quantity;
    const top = sameUnit ? Math.max(topOf(a), topOf(b)) : 0;
    const titleOf = ({ source, of }: Scene): string => {
      const recording = sources.length > 1 ? `${recordingName(source.atlas, sources.indexOf(source))}, ` : "";
      const text = source.atlas.items.length > 1 ? `, text ${of.item}` : "";
      return `${recording}${nameOf(source.atlas, of)}${text}${sameUnit ? "" : `: ${wordsOf(source.atlas, of.quantity)}`}`;
    };
    this.sides[0].draw(scene, a, sameUnit ? top : topOf(a), scene.chosen, titleOf(scene));
    this.pairs = { rows: shared(scene.queries, second.queries), columns: shared(scene.keys, second.keys) };
    this.sides[1].draw(second, b, sameUnit ? top : topOf(b), this.inSecond(scene.chosen), titleOf(second));
    this.sides[1].grid.onSelect = ({ row, column }) => this.onSelect({ row: row === null ? null : this.inFirst("rows", row), column: column === null ? null : this.inFirst("columns", column) });
    await this.subtract(scene, second, sameUnit, signal);
  }

  /** The difference of what both have. */
  private async subtract(scene: Scene, second: Scene, sameUnit: boolean, signal: AbortSignal): Promise<void> {
    const { rows, columns } = this.pairs!;
    const nothing = !sameUnit || rows.first.length === 0 || columns.first.length === 0;
    this.sides[2].element.hidden = nothing;
    this.list.hidden = nothing;
    this.said.textContent = sharedNote(scene, second, this.pairs!, sameUnit);
    if (nothing) return;
    const look = (of: Scene, side: "first" | "second"): Look => ({ queries: rows[side].map((place) => of.queries.stretches[place]!), keys: columns[side].map((place) => of.keys.stretches[place]!) });
    const looks = [look(scene, "first"), look(second, "second")] as const;
    // means of pixels can be subtracted, largest numbers cannot
    const ask = (exact: boolean) => Promise.all([tileOf(scene, looks[0], "mean", signal, exact), tileOf(second, looks[1], "mean", signal, exact)]);
    const draw = (a: Tile, b: Tile): void => {
      if (!signal.aborted) this.drawDifference(scene, a, b);
    };
    const wait = (): void => {
      if (!signal.aborted) this.sides[2].element.hidden = this.list.hidden = true;
    };
    const isDrawn = await bothSoon(ask, String(looks[0].queries) === String(looks[1].queries), draw, wait);
    if (isDrawn || signal.aborted) return;
    this.said.textContent += " Their difference would need every query of both, which are too many to be read.";
  }

  private drawDifference(scene: Scene, a: Tile, b: Tile): void {
    const { rows, columns } = this.pairs!;
    const difference = less(a, b);
    this.sides[2].element.hidden = false;
    const part = (places: Places, at: readonly number[]): Places => ({ stretches: [], labels: at.map((place) => places.labels[place]!), special: at.map((place) => places.special[place]!), numbers: at.map((place) => places.numbers?.[place] ?? "") });
    const both: Scene = { ...scene, queries: part(scene.queries, rows.first), keys: part(scene.keys, columns.first) };
    const place = (axis: SharedAxis, at: number | null): number | null => (at === null || axis.first.indexOf(at) < 0 ? null : axis.first.indexOf(at));
    this.sides[2].drawDifference(both, difference, { row: place(rows, scene.chosen.row), column: place(columns, scene.chosen.column) });
    this.fillList(both, a, b, difference);
  }

  /** Where the two differ most; of maps that are larger than their pictures, nothing. */
  private fillList(both: Scene, a: Tile, b: Tile, difference: Tile): void {
    const n = both.keys.labels.length;
    const each = difference.width === n && difference.height === both.queries.labels.length;
    this.list.hidden = !each;
    if (!each) return;
    const most = largestOf(difference, N_LISTED);
    const number = writingOf(both.source.atlas, both.of);
    const unit = layerOf(both.source.atlas, both.of)?.unit;
    const header = el("tr", {}, ...["query", "key", "this", "other", "difference"].map((word) => el("th", { scope: "col" }, word)));
    const rows = most.map((cell) => {
      const [row, column] = [Math.floor(cell / n), cell % n];
      const button = el("button", { type: "button", class: "plain" }, tokenAt(both.queries, row));
      button.addEventListener("click", () => this.sides[2].grid.onSelect({ row, column }));
      const numbers = [number(a.values[cell]!), number(b.values[cell]!), written(difference.values[cell]!, "either", unit)];
      return el("tr", {}, el("td", {}, button), el("td", {}, tokenAt(both.keys, column)), ...numbers.map((text) => el("td", {}, text)));
    });
    this.list.replaceChildren(el("caption", {}, "where they differ most"), el("thead", {}, header), el("tbody", {}, ...rows));
  }

  private inSecond({ row, column }: Chosen): Chosen {
    const there = (axis: SharedAxis, place: number | null): number | null => (place === null ? null : (axis.second[axis.first.indexOf(place)] ?? null));
    return { row: there(this.pairs!.rows, row), column: there(this.pairs!.columns, column) };
  }

  private inFirst(axis: "rows" | "columns", place: number): number | null {
    const { first, second } = this.pairs![axis];
    return first[second.indexOf(place)] ?? null;
  }

  private change(part: Partial<Other>): void {
    this.onChange({ other: { ...this.other, ...part } });
  }

  private atlas(): Atlas {
    return this.sources[this.other.recording]!.atlas;
  }

  private layers(): Atlas["layers"] {
    return layersOf(this.atlas(), this.kind, this.other.quantity);
  }

  private heads(): number {
    return this.layers().find(({ index }) => index === this.other.layer)?.n_heads ?? 0;
  }

  private quantities(): string[] {
    return [...new Set(this.atlas().layers.filter(({ kind }) => kind === this.kind).map(quantityOf))];
  }

  private fillPickers(): void {
    const { recording, item, layer, head, quantity } = this.pickers;
    const atlas = this.atlas();
    recording.fill(this.sources.map(({ atlas }, at) => recordingName(atlas, at)), this.other.recording);
    item.fill(atlas.items.map(({ source, target }, at) => `${at}: ${shortened(visibleText(source.text || target.text), 60)}`), this.other.item);
    const layers = this.layers();
    layer.fill(layers.map(({ index }) => `L${index}`), layers.findIndex(({ index }) => index === this.other.layer));
    const n_heads = this.heads();
    head.fill([...Array.from({ length: n_heads }, (_, at) => `H${at}`), ...(n_heads > 1 ? [`mean of ${n_heads}`] : [])], this.other.head === "mean" ? n_heads : this.other.head);
    const quantities = this.quantities();
    quantity.fill(quantities.map((name) => wordsOf(atlas, name)), quantities.indexOf(this.other.quantity));
  }
}

/** One of the maps. */
class Side {
  readonly element: HTMLElement;
  readonly grid = new Grid();
  private title = el("h3");
  private scale = el("div");

  constructor() {
    this.element = el("div", { class: "side-map" }, this.title, this.grid.element, this.scale);
  }

  draw(scene: Scene, tile: Tile, top: number, chosen: Chosen, title: string): void {
    const { atlas } = scene.source;
    const signs = signsOf(atlas, scene.of.quantity);
    this.title.textContent = title;
    this.grid.draw({ tile, rows: { ...scene.queries, divided: null }, columns: { ...scene.keys, divided: null }, ramp: new Ramp(scene.scale, signs, top), name: title, tall: 300 }, chosen);
    this.scale.replaceChildren(scaleLine(top, signs, `${wordsOf(atlas, scene.of.quantity)}${pooledNote(tile, scene, "largest number")}`));
  }

  drawDifference(both: Scene, tile: Tile, chosen: Chosen): void {
    const top = topOf(tile);
    const scale = both.scale === "log" ? "log" : "linear";
    this.title.textContent = "this less the other";
    this.grid.draw({ tile, rows: { ...both.queries, divided: null }, columns: { ...both.keys, divided: null }, ramp: new Ramp(scale, "either", top), name: "the difference", tall: 300 }, chosen);
    this.scale.replaceChildren(scaleLine(top, "either", `orange: this has more; blue: the other${pooledNote(tile, both, "mean")}`));
  }
}

/** Less the other, pixel by pixel; masked where both are. */
export function less(a: Tile, b: Tile): Tile {
  const values = a.values.map((value, pixel) => value - b.values[pixel]!);
  const masked = a.masked.map((mask, pixel) => mask & b.masked[pixel]!);
  return { height: a.height, width: a.width, values, masked, top: 0, every: Math.max(a.every, b.every) };
}

/** The cells whose numbers are largest in size, the largest first, at most `n`; none that is masked, or 0. */
export function largestOf({ values, masked }: Pick<Tile, "values" | "masked">, n: number): number[] {
  const most: number[] = [];
  values.forEach((value, cell) => {
    if (masked[cell] === 1 || !(Math.abs(value) > 0)) return;
    if (most.length === n && Math.abs(value) <= Math.abs(values[most[n - 1]!]!)) return;
    const at = most.findIndex((other) => Math.abs(values[other]!) < Math.abs(value));
    most.splice(at < 0 ? most.length : at, 0, cell);
    most.length = Math.min(n, most.length);
  });
  return most;
}

/** Two pictures to be subtracted: at once where both are of the same queries, which those of some queries are if they are `alike`; and of
 * every query where some were read, for which the first may have to `wait`. False where neither can be had. */
export async function bothSoon(ask: (exact: boolean) => Promise<readonly [Tile, Tile]>, alike: boolean, draw: (a: Tile, b: Tile) => void, wait: () => void): Promise<boolean> {
  const [a, b] = await ask(false);
  const isWhole = a.every === 1 && b.every === 1;
  const isSame = isWhole || (alike && a.every === b.every);
  if (isSame) draw(a, b);
  else wait();
  if (isWhole) return true;
  const exact = await ask(true).catch(() => null);
  if (exact !== null) draw(...exact);
  return isSame || exact !== null;
}

/** The places that both axes have, by their labels. */
export function shared(a: Places, b: Places): SharedAxis {
  const pairs = sharedPlaces(a.labels, b.labels);
  return { first: pairs.map(([place]) => place), second: pairs.map(([, place]) => place) };
}

/** What of the two texts is compared. */
export function sharedNote(a: Scene, b: Scene, { rows, columns }: { rows: SharedAxis; columns: SharedAxis }, sameUnit: boolean): string {
  if (!sameUnit) return `${wordsOf(a.source.atlas, a.of.quantity)} and ${wordsOf(b.source.atlas, b.of.quantity)} have no difference: each has its own scale.`;
  const part = (name: string, axis: SharedAxis, first: Places, second: Places): string => {
    const [n, m] = [first.labels.length, second.labels.length];
    return axis.first.length === n && n === m ? "" : `${axis.first.length} ${name} that both have, of ${n} and ${m}`;
  };
  const parts = [part("queries", rows, a.queries, b.queries), part("keys", columns, a.keys, b.keys)].filter((words) => words !== "");
  if (parts.length === 0) return "Both have the same tokens.";
  return `The texts have different tokens: the difference is of ${parts.join(", and of ")}. Rows are not rescaled, so what a query gives to other keys is left out of it.`;
}

/** What a recording is called. */
function recordingName(atlas: Atlas, at: number): string {
  return shortened(visibleText(atlas.title || atlas.provenance.model || String(at)), 60);
}

/** The other side until one is chosen: the same map of another recording; the weights beside another quantity; or else the next head. */
export function nextTo({ of }: Pick<Scene, "of">, sources: readonly Source[]): Other {
  const { item, layer, quantity } = of;
  const head = of.head === "mean" ? 0 : of.head;
  if (sources.length > 1) return { recording: 1, item, layer, head: of.head, quantity };
  const hasWeights = layerOf(sources[0]!.atlas, { ...of, quantity: "weight" }) !== undefined;
  if (quantity !== "weight" && hasWeights) return { recording: 0, item, layer, head: of.head, quantity: "weight" };
  const n_heads = layerOf(sources[0]!.atlas, of)?.n_heads ?? 1;
  return { recording: 0, item, layer, head: of.head === "mean" ? 0 : (head + 1) % n_heads, quantity };
}

/** The same, with a recording, text, layer and head that exist. */
export function existing(other: Other, sources: readonly Source[], kind: MapOf["kind"], of: MapOf): Other {
  const recording = Math.min(other.recording, sources.length - 1);
  const { atlas } = sources[recording]!;
  const ofKind = atlas.layers.filter((one) => one.kind === kind);
  const quantities = ofKind.map(quantityOf);
  const quantity = quantities.includes(other.quantity) ? other.quantity : quantities.includes(of.quantity) ? of.quantity : (quantities[0] ?? "weight");
  const layers = layersOf(atlas, kind, quantity);
  const layer = layers.find(({ index }) => index === other.layer) ?? layers[0];
  const head = other.head === "mean" ? "mean" : Math.min(other.head, (layer?.n_heads ?? 1) - 1);
  return { recording, item: Math.min(other.item, atlas.items.length - 1), layer: layer?.index ?? 0, head, quantity };
}

function tileOf(scene: Scene, look: Look, pool: "max" | "mean", signal: AbortSignal, exact = false): Promise<Tile> {
  const part = { rows: [0, look.queries.length], columns: [0, look.keys.length] } as const;
  return scene.source.tile({ of: scene.of, look, part, height: SIDE, width: SIDE, pool, values: "number", exact }, signal);
}
