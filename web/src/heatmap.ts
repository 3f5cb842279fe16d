// One head's map: cells on a canvas, token labels as text on both axes, one cell selected.

import { colourAt, cssColour } from "./colour.ts";
import { el, isCompact, tokenText } from "./dom.ts";
import type { Axis, ShownMap } from "./view.ts";

export interface Cell {
  row: number;
  column: number;
}

/** Sizes in CSS pixels. */
const LARGEST_CELL = 48;
const SMALLEST_CELL = 2;
/** What the scrolled room keeps free on its left and right, together. */
const PADDING = 8;
/** What a compact page keeps free below the map, for its colours. */
const BELOW = 72;
/** The room one label needs across its reading direction. */
const LABEL_STEP = 15;
/** Cells at least this large are drawn with a gap. */
const GAP_FROM = 10;

export class Heatmap {
  readonly element = el("div", { class: "map-scroll" });
  private canvas = el("canvas", { "aria-hidden": "true" });
  private cells = el("div", {
    class: "cells",
    role: "application",
    tabindex: 0,
    "aria-roledescription": "attention map",
    "aria-describedby": "reading",
  });
  private rowLabels = el("div", { class: "row-labels", "aria-hidden": "true" });
  private columnLabels = el("div", { class: "column-labels", "aria-hidden": "true" });
  private band = el("div", { class: "band" });
  private ring = el("div", { class: "ring" });
  private shown: ShownMap | null = null;
  private marked: { row: number | null; column: number | null } = { row: null, column: null };
  private cell = LARGEST_CELL;
  /** Called when the pointer enters another cell, or leaves. */
  onHover: (cell: Cell | null, event: PointerEvent) => void = () => {};
  /** Called when a cell is chosen by click, or a query or key by its label or its letter. */
  onSelect: (cell: { row: number | null; column: number | null }) => void = () => {};
  /** Called when a key asks for a neighbouring cell. */
  onStep: (rows: number, columns: number) => void = () => {};
  /** Called when a key asks for another head. */
  onHeadKey: (key: string) => void = () => {};

  constructor() {
    this.cells.append(this.canvas, this.band, this.ring);
    this.element.append(
      el(
        "div",
        { class: "map" },
        el("div", { class: "corner" }, el("span", { class: "axis-name keys-name" }), el("span", { class: "axis-name queries-name" })),
        this.columnLabels,
        this.rowLabels,
        this.cells,
      ),
    );
    this.cells.addEventListener("pointermove", (event) => this.hover(event));
    this.cells.addEventListener("pointerleave", (event) => this.leave(event));
    this.cells.addEventListener("click", (event) => {
      const cell = this.cellAt(event);
      if (cell !== null) this.onSelect(cell);
    });
    this.cells.addEventListener("keydown", (event) => this.moveByKey(event));
    for (const [labels, cellOf] of [
      [this.rowLabels, (place: number) => ({ row: place, column: null })],
      [this.columnLabels, (place: number) => ({ row: null, column: place })],
    ] as const) {
      labels.addEventListener("click", (event) => {
        const label = (event.target as Element).closest(".label");
        if (label !== null) this.onSelect(cellOf([...labels.children].indexOf(label)));
      });
    }
  }

  /** Draws a map; `fractions` says where each cell stands on the colours. [queries, keys] */
  draw(shown: ShownMap, fractions: Float32Array, name: string, axes: { queries: string; keys: string }): void {
    this.shown = shown;
    const [n_rows, n_columns] = [shown.queries.groups.length, shown.keys.groups.length];
    this.cells.setAttribute("aria-label", `${name}, ${n_rows} queries by ${n_columns} keys; arrow keys move the cell, q and k choose its query or key`);
    this.element.querySelector(".keys-name")!.textContent = `${axes.keys} →`;
    this.element.querySelector(".queries-name")!.textContent = `${axes.queries} ↓`;
    this.fillLabels(this.rowLabels, shown.queries, n_rows);
    this.fillLabels(this.columnLabels, shown.keys, n_columns);
    this.fit(n_rows, n_columns);
    this.thin(this.rowLabels, n_rows);
    this.thin(this.columnLabels, n_columns);
    this.paint(fractions, n_rows, n_columns);
  }

  /** Marks the selected cell or row, and brings it into view. */
  mark(cell: { row: number | null; column: number | null }): void {
    const { row, column } = cell;
    this.marked = cell;
    this.place(this.band, row, row === null ? column : null);
    this.place(this.ring, row, column);
    this.highlight(row, column);
  }

  /** Scrolls the selected cell, row or column into view. */
  reveal(): void {
    (this.ring.hidden ? this.band : this.ring).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  private fillLabels(parent: HTMLElement, axis: Axis, n: number): void {
    const labels = axis.labels.map((label, index) => {
      const text = tokenText(label);
      text.title = label;
      return el("div", { class: axis.special[index] ? "label special" : "label" }, text);
    });
    parent.replaceChildren(...labels);
    parent.style.setProperty("--n", String(n));
  }

  /** The largest cells for which the map fits its place. */
  private fit(n_rows: number, n_columns: number): void {
    this.element.style.setProperty("--cell", "0px");
    this.element.style.setProperty("--pad", "0px");
    const room = this.element.clientWidth - PADDING - this.rowLabels.offsetWidth;
    const tall = this.tall();
    const fits = (pad: number): number => Math.min((room - pad) / n_columns, (tall - pad) / n_rows, LARGEST_CELL);
    // cells smaller than a label: room for half a label beyond the first and the last of them
    const cell = fits(0) < LABEL_STEP ? fits(LABEL_STEP) : fits(0);
    this.cell = Math.max(SMALLEST_CELL, cell >= 4 ? Math.floor(cell) : Math.floor(cell * 2) / 2);
    this.element.style.setProperty("--cell", `${this.cell}px`);
    this.element.style.setProperty("--pad", `${Math.max(0, (LABEL_STEP - this.cell) / 2)}px`);
  }

  /** The height that the rows may have: on a compact page the map ends on the first screen. */
  private tall(): number {
    if (!isCompact()) return Math.max(360, window.innerHeight * 0.78 - this.columnLabels.offsetHeight);
    const top = this.cells.getBoundingClientRect().top + window.scrollY;
    const room = window.innerHeight - top;
    return Math.max(120, room - BELOW, Math.min(200, room - 8));
  }

  /** Leaves out labels that would stand on each other: every second, third, … stays. */
  private thin(parent: HTMLElement, n: number): void {
    const every = Math.ceil(LABEL_STEP / this.cell);
    parent.classList.toggle("thinned", every > 1);
    for (let index = 0; index < n; index++) parent.children[index]!.classList.toggle("left-out", index % every !== 0);
  }

  private paint(fractions: Float32Array, n_rows: number, n_columns: number): void {
    const ratio = this.cell >= GAP_FROM ? window.devicePixelRatio || 1 : 1;
    const size = this.cell >= GAP_FROM ? this.cell * ratio : 1;
    this.canvas.width = Math.max(1, Math.round(n_columns * size));
    this.canvas.height = Math.max(1, Math.round(n_rows * size));
    this.canvas.style.width = `${n_columns * this.cell}px`;
    this.canvas.style.height = `${n_rows * this.cell}px`;
    const context = this.canvas.getContext("2d");
    if (context === null || fractions.length === 0) return;
    if (size === 1) paintPixels(context, fractions, n_rows, n_columns);
    else paintCells(context, fractions, n_columns, size, ratio);
  }

  private place(marker: HTMLElement, row: number | null, column: number | null): void {
    const band = marker === this.band;
    marker.hidden = (band ? row === null && column === null : row === null || column === null) || this.shown === null;
    if (marker.hidden) return;
    marker.style.top = row === null ? "0" : `${row * this.cell}px`;
    marker.style.height = row === null ? "100%" : `${this.cell}px`;
    marker.style.left = column === null ? "0" : `${column * this.cell}px`;
    marker.style.width = column === null ? "100%" : `${this.cell}px`;
  }

  /** Shows the labels of the selected cell, in the place of those that they would stand on. */
  private highlight(row: number | null, column: number | null): void {
    const reach = Math.ceil(LABEL_STEP / this.cell) - 1;
    for (const [parent, index] of [[this.rowLabels, row], [this.columnLabels, column]] as const) {
      for (const label of parent.querySelectorAll(".active, .aside")) label.classList.remove("active", "aside");
      if (index === null) continue;
      for (let place = index - reach; place <= index + reach; place++) {
        parent.children[place]?.classList.add(place === index ? "active" : "aside");
      }
    }
  }

  private cellAt(event: MouseEvent): Cell | null {
    if (this.shown === null) return null;
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / this.cell);
    const column = Math.floor((event.clientX - box.left) / this.cell);
    const inside = row >= 0 && row < this.shown.queries.groups.length && column >= 0 && column < this.shown.keys.groups.length;
    return inside ? { row, column } : null;
  }

  private hover(event: PointerEvent): void {
    this.onHover(this.cellAt(event), event);
  }

  private leave(event: PointerEvent): void {
    this.onHover(null, event);
  }

  private moveByKey(event: KeyboardEvent): void {
    if (this.shown === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.onHeadKey(event.key);
      return;
    }
    if (event.key === "q" || event.key === "k") {
      const { row, column } = this.marked;
      if (event.key === "q" && row !== null) this.onSelect({ row, column: null });
      if (event.key === "k" && column !== null) this.onSelect({ row: null, column });
      return;
    }
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.onStep(step[0]!, step[1]!);
  }
}

function paintPixels(context: CanvasRenderingContext2D, fractions: Float32Array, n_rows: number, n_columns: number): void {
  const image = context.createImageData(n_columns, n_rows);
  fractions.forEach((at, cell) => {
    if (at < 0) return; // see-through
    image.data.set([...colourAt(at), 255], 4 * cell);
  });
  context.putImageData(image, 0, 0);
}

function paintCells(context: CanvasRenderingContext2D, fractions: Float32Array, n_columns: number, size: number, gap: number): void {
  fractions.forEach((at, cell) => {
    if (at < 0) return; // see-through
    context.fillStyle = cssColour(at);
    const [x, y] = [Math.round((cell % n_columns) * size), Math.round(Math.floor(cell / n_columns) * size)];
    context.fillRect(x, y, Math.round(size - gap), Math.round(size - gap));
  });
}
