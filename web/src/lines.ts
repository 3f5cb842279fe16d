// One head as lines from queries to keys: choose a token to see only where it looks, or what looks at it.

import { el, svg, tokenText } from "./dom.ts";
import { ranked, type Axis, type ShownMap } from "./view.ts";

/** Height of one token, in CSS pixels. */
const STEP = 28;
/** Width of the room for lines. */
const WIDTH = 400;
/** Weights below this get no line. */
const SMALLEST_WEIGHT = 0.01;
/** The most lines drawn at once, the heaviest first. */
const MOST_LINES = 4000;

export class Lines {
  readonly element = el("div", { class: "lines" });
  private drawing = svg("svg", { "aria-hidden": "true", preserveAspectRatio: "none" });
  private queries = el("div", { class: "side queries", role: "group", "aria-label": "queries" });
  private keys = el("div", { class: "side keys", role: "group", "aria-label": "keys" });
  private note = el("p", { class: "caption" });
  private shown: ShownMap | null = null;
  /** Called when a query or a key is chosen. */
  onSelect: (chosen: { row: number | null; column: number | null }) => void = () => {};
  /** Called when the pointer enters a query, or leaves. */
  onHover: (row: number | null) => void = () => {};

  constructor() {
    const header = (text: string): HTMLElement => el("span", { class: "axis-name" }, text);
    this.element.append(
      el("div", { class: "columns" }, header("query"), el("span"), header("key"), this.queries, this.drawing, this.keys),
      this.note,
    );
    this.queries.addEventListener("pointerleave", () => this.onHover(null));
    this.keys.addEventListener("pointerleave", () => this.trace(null));
  }

  /** Takes a map. */
  draw(shown: ShownMap): void {
    this.shown = shown;
    this.fill(this.queries, shown.queries, (row) => this.onSelect({ row, column: null }), (row) => this.onHover(row));
    this.fill(this.keys, shown.keys, (column) => this.onSelect({ row: null, column }), (column) => this.trace(column));
    const height = STEP * Math.max(shown.queries.groups.length, shown.keys.groups.length);
    this.drawing.setAttribute("height", String(height));
    this.drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    this.note.textContent = `A line is as wide and as strong as its weight, from 0 to 1; weights below ${SMALLEST_WEIGHT} have none. Choose a key to see which queries look at it.`;
  }

  /** Draws all lines faintly, and those of the chosen query, or else of the chosen key, fully. */
  mark(row: number | null, column: number | null): void {
    const { shown } = this;
    if (shown === null) return;
    const n = shown.keys.groups.length;
    const lines: { row: number; column: number; strong: boolean }[] = [];
    shown.queries.groups.forEach((_, query) => {
      for (const key of ranked(shown, query)) {
        if (!(shown.weights[query * n + key]! >= SMALLEST_WEIGHT) || lines.length >= MOST_LINES) break;
        lines.push({ row: query, column: key, strong: row === null ? key === column : query === row });
      }
    });
    this.paint(lines.sort((a, b) => Number(a.strong) - Number(b.strong)), row !== null || column !== null);
    [...this.queries.children].forEach((label, query) => label.setAttribute("aria-pressed", String(query === row)));
    [...this.keys.children].forEach((label, key) => {
      label.setAttribute("aria-pressed", String(row === null && key === column));
      label.classList.toggle("seen", row !== null && shown.weights[row * n + key]! >= 0.1);
    });
  }

  /** Draws the lines that end at one key. */
  private trace(column: number | null): void {
    const { shown } = this;
    if (shown === null) return;
    if (column === null) {
      this.onHover(null);
      return;
    }
    const n = shown.keys.groups.length;
    const rows = shown.queries.groups.map((_, row) => row).filter((row) => shown.weights[row * n + column]! >= SMALLEST_WEIGHT);
    this.paint(rows.map((row) => ({ row, column, strong: true })), false);
  }

  private paint(lines: { row: number; column: number; strong: boolean }[], chosen: boolean): void {
    const n = this.shown!.keys.groups.length;
    this.drawing.replaceChildren(
      ...lines.map(({ row, column, strong }) => {
        const weight = Math.min(1, this.shown!.weights[row * n + column]!);
        const [from, to] = [(row + 0.5) * STEP, (column + 0.5) * STEP];
        const path = `M0 ${from}C${WIDTH * 0.4} ${from} ${WIDTH * 0.6} ${to} ${WIDTH} ${to}`;
        const line = svg("path", { d: path, class: strong ? "strong" : "faint", "stroke-width": 0.75 + 4.25 * weight, "vector-effect": "non-scaling-stroke" });
        line.style.opacity = String(strong ? 0.25 + 0.75 * weight : weight * (chosen ? 0.14 : 0.55));
        return line;
      }),
    );
  }

  private fill(parent: HTMLElement, axis: Axis, select: (index: number) => void, hover: (index: number) => void): void {
    parent.replaceChildren(
      ...axis.labels.map((label, index) => {
        const button = el("button", { type: "button", class: axis.special[index] ? "special" : "" }, tokenText(label));
        button.title = label;
        button.addEventListener("click", () => select(index));
        button.addEventListener("pointerenter", () => hover(index));
        return button;
      }),
    );
  }
}
