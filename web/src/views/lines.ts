// Heads as lines from queries to keys, each head in a colour of its own: choose a token to see only where it looks, or what looks at it.

import type { Signs } from "../colour.ts";
import { headName } from "../data.ts";
import { el, svg, tokenAt } from "../dom.ts";
import type { Axis } from "../look.ts";
import type { Part, Stretch, Tile } from "../source.ts";
import type { HeadId } from "../state.ts";
import { seenOf } from "./viewport.ts";
import type { Now, Page, View } from "./view.ts";

/** Height of one token, in CSS pixels. */
const STEP = 28;
/** Width of the room for lines. */
const WIDTH = 400;
/** The most lines drawn at once, the heaviest first. */
export const MOST_LINES = 4000;
/** So many strengths of faint lines are told apart. */
const STRENGTHS = 20;
/** The most tokens on a side. */
const MOST_TOKENS = 240;
/** Colours of heads beside the chosen one, told apart by all eyes (Okabe and Ito 2008). */
export const N_COLOURS = 7;

/** A line, in places of the axes. */
export interface Line {
  row: number;
  column: number;
  weight: number;
  /** Which of the heads, counted from the chosen one, 0. */
  head: number;
}

export class LinesView implements View {
  readonly element = el("div", { class: "lines" });
  private drawing = svg("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
  private queries = el("div", { class: "side queries", role: "group", "aria-label": "queries" });
  private keys = el("div", { class: "side keys", role: "group", "aria-label": "keys" });
  private chips = el("div", { class: "head-chips", role: "group", "aria-label": "heads drawn" });
  private add = el("select", { "aria-label": "draw another head, too" });
  private most = el("input", { type: "number", min: 1, max: 999, "aria-label": "the most lines of a query" });
  private least = el("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": "the least weight of a line" });
  private leastSaid = el("output", {});
  private note = el("p", { class: "caption" });
  private page: Page;
  private now: Now | null = null;
  private part: Part = { rows: [0, 0], columns: [0, 0] };
  private tiles: Tile[] = [];
  /** Those of all heads, the heaviest last. */
  private drawn: Line[] = [];
  /** How many there are, drawn or not. */
  private n_found = 0;
  private faint = svg("g");
  private strong = svg("g");
  private traced: number | null = null;

  constructor(page: Page) {
    this.page = page;
    this.drawing.append(this.faint, this.strong);
    const header = (text: string): HTMLElement => el("span", { class: "axis-name" }, text);
    this.element.append(
      el("div", { class: "line-switches" }, this.chips, el("label", {}, this.add), el("label", {}, "each query's largest ", this.most), el("label", {}, "from ", this.least, this.leastSaid)),
      el("div", { class: "columns" }, header("query"), el("span"), header("key"), this.queries, this.drawing, this.keys),
      this.note,
    );
    this.queries.addEventListener("pointerleave", () => page.preview(null));
    this.keys.addEventListener("pointerleave", () => this.trace(null));
    this.add.addEventListener("change", () => {
      const [layer, head] = this.add.value.split(".").map(Number);
      if (head !== undefined) page.change({ heads: [...this.now!.state.heads, { layer: layer!, head }] });
    });
    this.most.addEventListener("change", () => page.change({ most: Number(this.most.value) }));
    this.least.addEventListener("input", () => page.change({ least: Number(this.least.value) }));
  }

  async update(now: Now, signal: AbortSignal): Promise<void> {
    const { state, axes, model, source } = now;
    const whole = { queries: seenOf(axes.queries, state.zoom?.queries ?? null), keys: seenOf(axes.keys, state.zoom?.keys ?? null) };
    const part: Part = { rows: around(whole.queries, now.selection.row), columns: around(whole.keys, now.selection.column) };
    const heads = headsOf(now);
    const size = { height: part.rows[1] - part.rows[0], width: part.columns[1] - part.columns[0] };
    const tiles = await Promise.all(
      heads.map((head) => source.tile({ of: model.of(state, head), look: axes.look, part, ...size, pool: "max", values: "number", exact: true }, signal)),
    );
    [this.now, this.part, this.tiles] = [now, part, tiles];
    this.build();
    this.fillSwitches(now, heads);
    this.fill(this.queries, axes.queries, part.rows, (row) => this.page.choose({ row, column: null }), (row) => this.page.preview({ row, column: null }));
    this.fill(this.keys, axes.keys, part.columns, (column) => this.page.choose({ row: null, column }), (column) => this.trace(column));
    const height = STEP * Math.max(size.height, size.width);
    this.drawing.setAttribute("height", String(height));
    this.drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    this.note.textContent = this.said(now);
    this.mark(now);
  }

  /** Draws all lines faintly, and those of the chosen query, or else of the chosen key, fully. */
  mark(now: Now): void {
    if (this.now === null) return;
    this.now = now;
    const { row, column } = this.traced === null ? now.selection : { row: null, column: this.traced };
    const isStrong = (line: Line): boolean => (row === null ? line.column === column : line.row === row);
    this.emphasize(isStrong, row !== null || column !== null);
    this.markSide(this.queries, row, row === null ? column : null, false);
    this.markSide(this.keys, row === null ? column : null, row, true);
  }

  private lines(): Line[] {
    const { most, least } = this.now!.state;
    const [top, left] = [this.part.rows[0], this.part.columns[0]];
    const lines = this.tiles
      .flatMap((tile, head) => linesOf(tile, most, least, this.now!.colours.numbers).map(({ row, column, weight }) => ({ row: row + top, column: column + left, weight, head })))
      .sort(byWeight);
    this.n_found = lines.length;
    return lines.slice(0, MOST_LINES).reverse();
  }

  private said({ state, axes, colours }: Now): string {
    const { rows, columns } = this.part;
    const isPart = rows[1] - rows[0] < axes.queries.labels.length || columns[1] - columns[0] < axes.keys.labels.length;
    const part = isPart ? ` Queries ${rows[0]} to ${rows[1] - 1} and keys ${columns[0]} to ${columns[1] - 1} of ${axes.queries.labels.length} × ${axes.keys.labels.length} are drawn.` : "";
    return `${colours.linesSaid(state.least)}, nor have any but the ${state.most} largest of a query.${part}${mostSaid(this.n_found)}`;
  }

  private fillSwitches({ state, model }: Now, heads: HeadId[]): void {
    this.chips.replaceChildren(
      ...heads.map((head, place) => {
        const name = headName(head.layer, head.head);
        const chip = el("button", { type: "button", class: "plain head-chip", "data-colour": place, title: place === 0 ? "the chosen head" : `take ${name} away` }, name);
        if (place > 0) chip.append(el("span", { "aria-hidden": "true" }, " ×"));
        chip.addEventListener("click", () => place > 0 && this.page.change({ heads: state.heads.filter((one) => one.layer !== head.layer || one.head !== head.head) }));
        return chip;
      }),
    );
    const others = model.layers(state.kind, state.quantity).flatMap(({ index, n_heads }) => Array.from({ length: n_heads }, (_, head) => ({ layer: index, head })));
    const free = others.filter((one) => !heads.some((head) => head.layer === one.layer && head.head === one.head));
    this.add.replaceChildren(el("option", { value: "" }, "+ head"), ...free.map(({ layer, head }) => el("option", { value: `${layer}.${head}` }, headName(layer, head))));
    this.add.disabled = heads.length > N_COLOURS;
    this.most.value = String(state.most);
    this.least.value = String(state.least);
    this.leastSaid.textContent = ` ${state.least.toFixed(2)}`;
  }

  /** Draws the lines that end at one key. */
  private trace(column: number | null): void {
    this.traced = column;
    if (this.now !== null) this.mark(this.now);
  }

  /** Draws all lines faintly: those of a head that are about as strong as each other are one path, since they are thousands. */
  private build(): void {
    this.drawn = this.lines();
    const alike = new Map<string, { line: Line; d: string }>(); // the heaviest last
    for (const line of this.drawn) {
      const weight = Math.sign(line.weight) * (Math.max(1, Math.round(this.now!.colours.share(line.weight) * STRENGTHS)) / STRENGTHS) * this.now!.colours.full;
      const key = `${line.head} ${weight}`;
      const one = alike.get(key) ?? { line: { ...line, weight }, d: "" };
      one.d += this.curveOf(line);
      alike.set(key, one);
    }
    this.strong.replaceChildren();
    this.faint.replaceChildren(...[...alike.values()].map(({ line, d }) => this.pathOf(line, d, false)));
  }

  private curveOf({ row, column }: Line): string {
    const { rows, columns } = this.part;
    const [from, to] = [(row - rows[0] + 0.5) * STEP, (column - columns[0] + 0.5) * STEP];
    return `M0 ${from}C${WIDTH * 0.4} ${from} ${WIDTH * 0.6} ${to} ${WIDTH} ${to}`;
  }

  private pathOf(line: Line, d: string, strong: boolean): SVGElement {
    const size = this.now!.colours.share(line.weight);
    const path = svg("path", {
      d,
      class: strong ? "strong" : "faint",
      "data-colour": line.head,
      "stroke-width": 0.75 + 4.25 * size,
      "vector-effect": "non-scaling-stroke",
      "stroke-dasharray": line.weight < 0 ? "5 4" : null,
    });
    path.style.opacity = strong ? String(0.25 + 0.75 * size) : `calc(var(--faint) * ${size})`;
    return path;
  }

  /** Draws some lines fully, over the others. */
  private emphasize(isStrong: (line: Line) => boolean, chosen: boolean): void {
    this.drawing.style.setProperty("--faint", chosen ? "0.14" : "0.55");
    this.strong.replaceChildren(...this.drawn.filter(isStrong).map((line) => this.pathOf(line, this.curveOf(line), true)));
  }

  private markSide(side: HTMLElement, pressed: number | null, other: number | null, isKeys: boolean): void {
    const { rows, columns } = this.part;
    const [first, width] = [isKeys ? columns[0] : rows[0], columns[1] - columns[0]];
    const cell = (place: number): number => (isKeys ? (other! - rows[0]) * width + place : place * width + other! - columns[0]);
    [...side.children].forEach((label, place) => {
      label.setAttribute("aria-pressed", String(place + first === pressed));
      label.classList.toggle("seen", other !== null && (this.tiles[0]?.values[cell(place)] ?? 0) >= 0.1);
    });
  }

  private fill(parent: HTMLElement, axis: Axis, [from, to]: Stretch, select: (place: number) => void, hover: (place: number) => void): void {
    parent.replaceChildren(
      ...axis.labels.slice(from, to).map((label, index) => {
        const place = from + index;
        const button = el("button", { type: "button", class: axis.special[place] ? "special" : "" }, tokenAt(axis, place));
        button.title = label;
        button.addEventListener("click", () => select(place));
        button.addEventListener("pointerenter", () => hover(place));
        return button;
      }),
    );
  }
}

/** The chosen head and those beside it. */
export function headsOf({ state }: Now): HeadId[] {
  const chosen = { layer: state.layer, head: state.head };
  return [chosen, ...state.heads.filter((one) => one.layer !== chosen.layer || one.head !== chosen.head)].slice(0, N_COLOURS + 1);
}

/** The heaviest first, whatever their sign. */
export function byWeight(a: Pick<Line, "weight">, b: Pick<Line, "weight">): number {
  return Math.abs(b.weight) - Math.abs(a.weight);
}

/** What is to be said where there are more lines than are drawn; empty where there are not. */
export function mostSaid(n_found: number): string {
  return n_found > MOST_LINES ? ` Of ${n_found} lines the ${MOST_LINES} heaviest are drawn.` : "";
}

/** Each row's largest numbers, from the least on; those of either sign by their size. */
export function linesOf(tile: Tile, most: number, least: number, signs: Signs): Omit<Line, "head">[] {
  const lines: Omit<Line, "head">[] = [];
  const size = (value: number): number => (signs === "either" ? Math.abs(value) : value);
  for (let row = 0; row < tile.height; row++) {
    const values = tile.values.subarray(row * tile.width, (row + 1) * tile.width);
    const wide: number[] = []; // columns
    values.forEach((value, column) => {
      if (tile.masked[row * tile.width + column] === 0 && size(value) >= least && size(value) > 0) wide.push(column);
    });
    wide.sort((a, b) => size(values[b]!) - size(values[a]!) || a - b);
    for (const column of wide.slice(0, most)) lines.push({ row, column, weight: values[column]! });
  }
  return lines;
}

/** As much of what is seen as can be drawn, about a place. */
function around({ from, to }: { from: number; to: number }, place: number | null): Stretch {
  if (to - from <= MOST_TOKENS) return [from, to];
  const first = Math.min(to - MOST_TOKENS, Math.max(from, (place ?? from) - MOST_TOKENS / 2));
  return [Math.floor(first), Math.floor(first) + MOST_TOKENS];
}
