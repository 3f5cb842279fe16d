// A small map with its labels: a tile's pixels, names along both sides as far as there is room, a line between parts, and the chosen cell.

import { cssColour, type Signs } from "../colour.ts";
import type { Ramp } from "../colours.ts";
import { el, tokenAt } from "../dom.ts";
import { paintMap } from "../pixels.ts";
import { largestSize } from "../pooling.ts";
import type { Tile } from "../source.ts";
import type { Chosen } from "./scene.ts";

/** What stands along one side. */
export interface Side {
  labels: readonly string[];
  special: readonly boolean[];
  numbers?: readonly string[];
  /** The first place of another part, such as the first that was generated; null where there is one part. */
  divided: number | null;
}

export interface Drawn {
  tile: Tile;
  rows: Side;
  columns: Side;
  ramp: Ramp;
  /** What the map is, for those who cannot see it. */
  name: string;
  /** Rows after this place are pale; null where none are. */
  last?: number | null;
  /** Names along the columns, or none where something else says what they are. */
  columnNames?: "labels" | "none";
  /** Height and width that cells may have together, in CSS pixels. */
  tall?: number;
}

/** The largest cell, the room that a label needs across its reading direction, and the longest label, in CSS pixels. */
const [LARGEST, STEP, LONGEST] = [28, 14, 96];

export class Grid {
  readonly element = el("div", { class: "grid-map" });
  private corner = el("span", { class: "corner" });
  private rows = el("div", { class: "names rows", "aria-hidden": "true" });
  private columns = el("div", { class: "names columns", "aria-hidden": "true" });
  private canvas = el("canvas", { "aria-hidden": "true" });
  private ring = el("span", { class: "ring", hidden: true });
  private band = el("span", { class: "band", hidden: true });
  private cells = el("div", { class: "grid-cells", role: "application", tabindex: 0, "aria-roledescription": "attention map" }, this.canvas, this.band, this.ring);
  private drawn: Drawn | null = null;
  private chosen: Chosen = { row: null, column: null };
  private size = { width: 0, height: 0 };
  onSelect: (chosen: Chosen) => void = () => {};
  onHover: (cell: { row: number; column: number } | null) => void = () => {};

  constructor() {
    this.element.append(this.corner, this.columns, this.rows, this.cells);
    this.cells.addEventListener("click", (event) => this.onSelect(this.cellAt(event)));
    this.cells.addEventListener("pointermove", (event) => this.onHover(this.cellAt(event)));
    this.cells.addEventListener("pointerleave", () => this.onHover(null));
    this.cells.addEventListener("keydown", (event) => this.moveByKey(event));
    for (const [names, side] of [[this.rows, "row"], [this.columns, "column"]] as const) {
      names.addEventListener("click", (event) => {
        const place = (event.target as Element).closest<HTMLElement>("[data-place]")?.dataset["place"];
        if (place !== undefined) this.onSelect({ row: null, column: null, [side]: Number(place) });
      });
    }
    new ResizeObserver(() => this.lay()).observe(this.element);
  }

  draw(drawn: Drawn, chosen: Chosen): void {
    this.drawn = drawn;
    this.cells.setAttribute("aria-label", `${drawn.name}, ${drawn.rows.labels.length} rows by ${drawn.columns.labels.length} columns; arrow keys move the chosen cell`);
    this.size = { width: 0, height: 0 };
    this.lay();
    this.mark(chosen);
  }

  mark(chosen: Chosen): void {
    this.chosen = chosen;
    const { drawn } = this;
    if (drawn === null) return;
    const [n_rows, n_columns] = [drawn.rows.labels.length, drawn.columns.labels.length];
    const row = chosen.row !== null && chosen.row < n_rows ? chosen.row : null;
    const column = chosen.column !== null && chosen.column < n_columns ? chosen.column : null;
    const place = (mark: HTMLElement, top: number | null, left: number | null): void => {
      mark.style.top = `${(100 * (top ?? 0)) / n_rows}%`;
      mark.style.height = top === null ? "100%" : `${100 / n_rows}%`;
      mark.style.left = `${(100 * (left ?? 0)) / n_columns}%`;
      mark.style.width = left === null ? "100%" : `${100 / n_columns}%`;
    };
    this.ring.hidden = row === null || column === null;
    this.band.hidden = (row === null) === (column === null);
    place(this.ring, row, column);
    place(this.band, row, column);
    for (const [names, at] of [[this.rows, row], [this.columns, column]] as const) {
      for (const name of names.children) name.classList.toggle("chosen", (name as HTMLElement).dataset["place"] === String(at));
    }
  }

  /** The width of the names to the left of the cells, in CSS pixels. */
  get indent(): number {
    return this.cells.offsetLeft;
  }

  /** The width of the cells, in CSS pixels. */
  get width(): number {
    return this.size.width;
  }

  /** The largest cells for which all fits, and names as far as there is room. */
  private lay(): void {
    const { drawn } = this;
    const room = this.element.clientWidth;
    if (drawn === null || room === 0) return;
    const [n_rows, n_columns] = [drawn.rows.labels.length, drawn.columns.labels.length];
    const names = Math.min(LONGEST, room / 4);
    this.element.style.setProperty("--names", `${names}px`);
    const tall = drawn.tall ?? 420;
    const columns = drawn.columnNames !== "none";
    const cell = Math.min(LARGEST, (room - names - 2) / Math.max(1, n_columns), tall / Math.max(1, n_rows));
    const width = columns ? n_columns * cell : room - names - 2;
    const height = Math.max(n_rows * cell, Math.min(n_rows * LARGEST, tall) * (columns ? 0 : 1));
    if (width === this.size.width && height === this.size.height) return;
    this.size = { width, height };
    this.cells.style.width = `${width}px`;
    this.cells.style.height = `${height}px`;
    this.nameSide(this.rows, drawn.rows, height, "top");
    this.columns.hidden = !columns;
    if (columns) this.nameSide(this.columns, drawn.columns, width, "left");
    this.columns.style.width = `${width}px`;
    this.rows.style.height = `${height}px`;
    this.paint(drawn, width, height);
    this.divide(drawn);
    this.mark(this.chosen);
  }

  private nameSide(parent: HTMLElement, side: Side, length: number, edge: "top" | "left"): void {
    const n = side.labels.length;
    const every = Math.max(1, Math.ceil((STEP * n) / Math.max(1, length)));
    const names: HTMLElement[] = [];
    for (let place = 0; place < n; place += every) {
      const name = el("span", { class: `name${side.special[place] ? " special" : ""}${side.divided !== null && place >= side.divided ? " later" : ""}`, "data-place": place, title: side.labels[place]! }, tokenAt(side, place));
      name.style[edge] = `${(100 * (place + 0.5)) / n}%`;
      names.push(name);
    }
    parent.replaceChildren(...names);
  }

  private divide({ rows, columns }: Drawn): void {
    for (const line of this.cells.querySelectorAll(".divider")) line.remove();
    for (const [{ divided, labels }, side] of [[rows, "row"], [columns, "column"]] as const) {
      if (divided === null || divided <= 0 || divided >= labels.length) continue;
      const line = el("span", { class: `divider ${side}` });
      line.style[side === "row" ? "top" : "left"] = `${(100 * divided) / labels.length}%`;
      this.cells.append(line);
    }
  }

  private paint({ tile, rows, columns, ramp, last = null }: Drawn, width: number, height: number): void {
    const [n_rows, n_columns] = [rows.labels.length, columns.labels.length];
    const ratio = window.devicePixelRatio || 1;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    const isEach = tile.width === n_columns && tile.height === n_rows;
    const strong = last === null ? {} : { strong: Math.floor(((last + 1) * tile.height) / n_rows) };
    paintMap(context, ramp.scale === "row" ? sharesOf(tile) : tile, ramp, { left: 0, top: 0, width: width * ratio, height: height * ratio, ratio, isEach, ...strong });
  }

  private cellAt(event: MouseEvent): { row: number; column: number } {
    const box = this.cells.getBoundingClientRect();
    const at = (share: number, n: number): number => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
    const { rows, columns } = this.drawn!;
    return { row: at((event.clientY - box.top) / box.height, rows.labels.length), column: at((event.clientX - box.left) / box.width, columns.labels.length) };
  }

  private moveByKey(event: KeyboardEvent): void {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step === undefined || this.drawn === null || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    event.preventDefault();
    const within = (place: number, n: number): number => Math.min(n - 1, Math.max(0, place));
    const row = within((this.chosen.row ?? 0) + step[0]!, this.drawn.rows.labels.length);
    this.onSelect({ row, column: within((this.chosen.column ?? 0) + step[1]!, this.drawn.columns.labels.length) });
  }
}

/** The tile with its numbers as shares of the largest of their row, in size. */
function sharesOf(tile: Tile): Tile {
  const values = tile.values.slice();
  for (let row = 0; row < tile.height; row++) {
    const ofRow = values.subarray(row * tile.width, (row + 1) * tile.width);
    const top = largestSize(ofRow);
    ofRow.forEach((value, column) => (ofRow[column] = top > 0 ? value / top : 0));
  }
  return { ...tile, values };
}

/** What the colours of a map stand for: a ramp, its ends, and words. */
export function scaleLine(top: number, signs: Signs, words: string): HTMLElement {
  const end = top < 0.0001 && top > 0 ? top.toExponential(1) : String(Number(top.toPrecision(3)));
  const ramp = el("span", { class: "ramp", "aria-hidden": "true" });
  ramp.style.backgroundImage = `linear-gradient(to right, ${Array.from({ length: 17 }, (_, i) => cssColour(i / 16, signs)).join(", ")})`;
  return el("p", { class: "scale-line caption" }, el("span", {}, signs === "either" ? `−${end}` : "0"), ramp, el("span", {}, signs === "either" ? `+${end}` : end), el("span", { class: "what" }, words));
}
