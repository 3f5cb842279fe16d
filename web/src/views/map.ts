// One head's map: cells on a canvas, token labels as text on both axes, one cell selected; it zooms from the whole to numbers in cells.

import { layerOf, KIND_TITLES } from "../data.ts";
import { el, isCompact, tokenAt } from "../dom.ts";
import type { Axis } from "../look.ts";
import { paintMap } from "../pixels.ts";
import type { Line, Tile, TileAsk } from "../source.ts";
import { axisNames, rowSaid } from "../said.ts";
import { valuesOfScale } from "../thumbnails.ts";
import { listenTo } from "./gestures.ts";
import { LatestTile } from "./latest.ts";
import { writingOf } from "./scene.ts";
import { cellSize, moved, revealing, seenOf, tokensOf, zoomed, type Seen } from "./viewport.ts";
import type { Now, Page, Selection, View } from "./view.ts";

/** Sizes in CSS pixels. */
const LARGEST_CELL = 48;
/** What a compact page keeps free below the map, for its colours. */
const BELOW = 72;
/** The room one label needs across its reading direction, and the longest label; on a narrow page, of a row and of a column. */
const [LABEL_STEP, LONGEST_LABEL, LONGEST_ROW, LONGEST_COLUMN] = [15, 150, 84, 110];
/** How much longer chosen labels are: they are bold. */
const BOLD = 1.1;
/** Cells that are larger than this need no wheel to be seen: it scrolls the page. */
const LARGE_ENOUGH = 14;
/** A step of a key. */
const KEY_ZOOM = 1.5;

/** The labels of an axis that stand there, by their places, and those that are marked. */
interface Labels {
  axis: Axis;
  from: number;
  to: number;
  size: number;
  labels: Map<number, HTMLElement>;
  marked: HTMLElement[];
}

export class MapView implements View {
  readonly element = el("div", { class: "map-view" });
  private room = el("div", { class: "map-scroll" });
  private canvas = el("canvas", { "aria-hidden": "true" });
  private cells = el("div", { class: "cells", role: "application", tabindex: 0, "aria-roledescription": "attention map", "aria-describedby": "reading" });
  private rowLabels = el("div", { class: "row-labels", "aria-hidden": "true" });
  private columnLabels = el("div", { class: "column-labels", "aria-hidden": "true" });
  private rowBand = el("div", { class: "band" });
  private columnBand = el("div", { class: "band" });
  private ring = el("div", { class: "ring" });
  private keysName = el("span", { class: "axis-name keys-name" });
  private queriesName = el("span", { class: "axis-name queries-name" });
  private reset = el("button", { type: "button", class: "plain whole" }, "whole map");
  private said = el("span", {});
  private bar = el("p", { class: "zoom-bar" }, this.reset, this.said);
  /** The chosen cell's number, where the reading is far below: on a phone. */
  private told = el("p", { class: "cell-said", "aria-hidden": "true" });
  private page: Page;
  private now: Now | null = null;
  private latest = new LatestTile();
  private rows: Seen = { from: 0, to: 1 };
  private columns: Seen = { from: 0, to: 1 };
  private size = { width: 1, height: 1 };
  private asking: AbortController | null = null;
  private isDrag: () => boolean;
  private measure = document.createElement("canvas").getContext("2d");
  private labels = new Map<HTMLElement, Labels>();
  private widths = new WeakMap<Axis, number>();
  private family = "";
  private hovered: { row: number; column: number } | null = null;

  constructor(page: Page) {
    this.page = page;
    this.cells.append(this.canvas, this.rowBand, this.columnBand, this.ring);
    this.room.append(el("div", { class: "map" }, el("div", { class: "corner" }, this.keysName, this.queriesName), this.columnLabels, this.rowLabels, this.cells));
    this.element.append(this.room, this.told, this.bar);
    this.isDrag = listenTo(this.cells, {
      zoom: (factor, x, y) => this.look(zoomed(this.rows, factor, y, this.n_rows()), zoomed(this.columns, factor, x, this.n_columns())),
      pan: (x, y) => this.look(moved(this.rows, y * (this.rows.to - this.rows.from), this.n_rows()), moved(this.columns, x * (this.columns.to - this.columns.from), this.n_columns())),
      rest: () => this.commit(),
      holds: (deltaY) => (deltaY > 0 ? this.isZoomed() : Math.min(this.cell().x, this.cell().y) < LARGE_ENOUGH || this.isZoomed()),
    });
    this.listen();
  }

  async update(now: Now, signal: AbortSignal): Promise<void> {
    this.asking?.abort();
    const before = this.now;
    this.now = now;
    const { state, axes } = now;
    const sameAxes = before?.axes === axes;
    const seen = { rows: seenOf(axes.queries, state.zoom?.queries ?? null), columns: seenOf(axes.keys, state.zoom?.keys ?? null) };
    const same = (axis: Axis, now: Seen, then: Seen): boolean => String(tokensOf(axis, now)) === String(tokensOf(axis, then));
    // what a hand has left between two tokens stays there
    if (!sameAxes || !same(axes.queries, this.rows, seen.rows) || !same(axes.keys, this.columns, seen.columns)) [this.rows, this.columns] = [seen.rows, seen.columns];
    this.nameAxes(now);
    this.fit(now);
    this.place();
    void this.sayCell(now);
    await this.fetch(signal);
  }

  mark(now: Now): void {
    this.now = now;
    this.drawLabels();
    this.drawMarks();
    void this.sayCell(now);
    if (this.hovered === null) this.page.tip(null);
  }

  /** Brings the selected cell, row or column into what is seen, and on screen. */
  reveal(): void {
    const { row, column } = this.now!.selection;
    const rows = row === null ? this.rows : revealing(this.rows, row, this.n_rows());
    const columns = column === null ? this.columns : revealing(this.columns, column, this.n_columns());
    if (rows.from !== this.rows.from || columns.from !== this.columns.from) {
      this.look(rows, columns);
      this.commit();
    }
    (this.ring.hidden ? this.rowBand.hidden ? this.columnBand : this.rowBand : this.ring).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  private listen(): void {
    this.reset.addEventListener("click", () => this.showAll());
    this.cells.addEventListener("pointermove", (event) => this.hover(event));
    this.cells.addEventListener("pointerleave", () => {
      this.hovered = null;
      this.page.tip(null);
      this.page.preview(null);
    });
    this.cells.addEventListener("click", (event) => {
      const cell = this.isDrag() ? null : this.cellAt(event);
      if (cell !== null) this.page.choose(cell);
    });
    this.cells.addEventListener("dblclick", (event) => {
      const box = this.cells.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      this.look(zoomed(this.rows, 2, y, this.n_rows()), zoomed(this.columns, 2, x, this.n_columns()));
      this.commit();
    });
    this.cells.addEventListener("keydown", (event) => this.moveByKey(event));
    for (const [labels, of] of [
      [this.rowLabels, (place: number): Selection => ({ row: place, column: null })],
      [this.columnLabels, (place: number): Selection => ({ row: null, column: place })],
    ] as const) {
      labels.addEventListener("click", (event) => {
        const place = (event.target as Element).closest<HTMLElement>(".label")?.dataset["place"];
        if (place !== undefined) this.page.choose(of(Number(place)));
      });
    }
  }

  private nameAxes({ state, model, axes }: Now): void {
    const [n_rows, n_columns] = [axes.queries.labels.length, axes.keys.labels.length];
    const name = `${model.nameOf(state, state)}, ${KIND_TITLES[state.kind]}`;
    this.cells.setAttribute("aria-label", `${name}, ${n_rows} queries by ${n_columns} keys; arrow keys move the cell, q and k choose its query or key, + and - zoom, 0 shows all`);
    const names = axisNames(state, model);
    this.keysName.textContent = `${names.keys} →`;
    this.queriesName.textContent = `${names.queries} ↓`;
  }

  private n_rows(): number {
    return this.now!.axes.queries.labels.length;
  }

  private n_columns(): number {
    return this.now!.axes.keys.labels.length;
  }

  private cell(): { x: number; y: number } {
    return { x: this.size.width / (this.columns.to - this.columns.from || 1), y: this.size.height / (this.rows.to - this.rows.from || 1) };
  }

  private isZoomed(): boolean {
    return this.rows.to - this.rows.from < this.n_rows() - 1e-6 || this.columns.to - this.columns.from < this.n_columns() - 1e-6;
  }

  /** Gives the cells as much room as there is, beside labels that keep theirs however near one looks. */
  private fit({ axes }: Now): void {
    const isNarrow = isCompact() || window.innerWidth <= 860;
    const names = Math.max(this.keysName.offsetWidth, this.queriesName.offsetWidth);
    const left = Math.max(names, this.longest(axes.queries, isNarrow ? LONGEST_ROW : LONGEST_LABEL)) + 8;
    const above = Math.max(34, this.longest(axes.keys, isNarrow ? LONGEST_COLUMN : LONGEST_LABEL)) + 8;
    const [n_rows, n_columns] = [this.n_rows(), this.n_columns()];
    const width = Math.max(40, this.room.clientWidth - 8 - left);
    const height = this.tall(above);
    let size = cellSize(n_rows, n_columns, width, height, LARGEST_CELL);
    // cells smaller than a label: room for half a label beyond the first and the last of them
    if (Math.min(size.x, size.y) < LABEL_STEP) size = cellSize(n_rows, n_columns, width - LABEL_STEP, height - LABEL_STEP, LARGEST_CELL);
    this.size = { width: Math.max(1, Math.round(size.x * n_columns)), height: Math.max(1, Math.round(size.y * n_rows)) };
    const { style } = this.room;
    const pad = (size: number): string => `${Math.max(0, Math.ceil((LABEL_STEP - size) / 2))}px`;
    style.setProperty("--left", `${left}px`);
    style.setProperty("--above", `${above}px`);
    style.setProperty("--width", `${this.size.width}px`);
    style.setProperty("--height", `${this.size.height}px`);
    style.setProperty("--pad-x", pad(size.x));
    style.setProperty("--pad-y", pad(size.y));
  }

  /** The height that the rows may have: on a compact page the map ends on the first screen. */
  private tall(above: number): number {
    if (!isCompact()) return Math.max(360, window.innerHeight * 0.78 - above);
    const top = this.room.getBoundingClientRect().top + window.scrollY + above;
    const room = window.innerHeight - top;
    return Math.max(160, room - BELOW, Math.min(200, room - 8));
  }

  private longest(axis: Axis, most: number): number {
    const known = this.widths.get(axis);
    if (known !== undefined) return Math.min(most, known);
    if (this.measure === null) return most;
    this.measure.font = `13px ${this.font()}`;
    let longest = 0;
    axis.labels.slice(0, 2000).forEach((label, place) => (longest = Math.max(longest, label.length > 60 ? LONGEST_LABEL : this.measure!.measureText(label + axis.numbers[place]).width)));
    const width = Math.ceil(longest * BOLD + 1);
    this.widths.set(axis, width);
    return Math.min(most, width);
  }

  private font(): string {
    return (this.family ||= getComputedStyle(this.room).fontFamily);
  }

  /** Sees another part at once, with what is there of its picture until the picture comes. */
  private look(rows: Seen, columns: Seen): void {
    [this.rows, this.columns] = [rows, columns];
    this.place();
    this.draw();
    this.asking?.abort();
    this.asking = new AbortController();
    void this.fetch(this.asking.signal).catch(() => {}); // given up, or the page says what is wrong when the hand rests
  }

  /** Lets the URL know what is seen. */
  private commit(): void {
    const { axes } = this.now!;
    const all = (axis: Axis): readonly [number, number] => [axis.stretches[0]?.[0] ?? 0, axis.stretches.at(-1)?.[1] ?? 1];
    const [queries, keys] = [tokensOf(axes.queries, this.rows), tokensOf(axes.keys, this.columns)];
    const zoom = queries === null && keys === null ? null : { queries: queries ?? all(axes.queries), keys: keys ?? all(axes.keys) };
    if (JSON.stringify(zoom) !== JSON.stringify(this.now!.state.zoom)) this.page.change({ zoom });
  }

  private showAll(): void {
    this.look({ from: 0, to: this.n_rows() }, { from: 0, to: this.n_columns() });
    this.commit();
    this.cells.focus({ preventScroll: true });
  }

  /** Labels, marks and words of the part that is seen. */
  private place(): void {
    this.cells.classList.toggle("zoomed", this.isZoomed());
    this.bar.hidden = !this.isZoomed() && (this.latest.shown?.tile.every ?? 1) === 1;
    this.reset.hidden = !this.isZoomed();
    this.drawLabels();
    this.drawMarks();
  }

  /** Has the picture of what is seen, and draws it: first as it can be had soon, then of every row. */
  private async fetch(signal: AbortSignal): Promise<void> {
    const now = this.now!;
    const ratio = window.devicePixelRatio || 1;
    const range = ({ from, to }: Seen, n: number): readonly [number, number] => [Math.max(0, Math.floor(from)), Math.min(n, Math.ceil(to))];
    const part = { rows: range(this.rows, this.n_rows()), columns: range(this.columns, this.n_columns()) };
    const n = { rows: part.rows[1] - part.rows[0], columns: part.columns[1] - part.columns[0] };
    const cell = this.cell();
    const ask: TileAsk = {
      of: now.of,
      look: now.axes.look,
      part,
      height: Math.min(n.rows, Math.ceil(n.rows * cell.y * ratio)),
      width: Math.min(n.columns, Math.ceil(n.columns * cell.x * ratio)),
      pool: now.state.pool,
      values: valuesOfScale(now.state.scale),
      exact: false,
    };
    await this.latest.ask(now.source, ask, signal, () => {
      this.draw();
      this.place();
    });
  }

  /** Draws the tile that is there where it lies. */
  private draw(): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.size.width * ratio), Math.round(this.size.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    context.clearRect(0, 0, width, height);
    const { colours, state } = this.now!;
    if (this.latest.shown === null || this.latest.shown.tile.values.length === 0) return;
    const { part, tile } = this.latest.shown;
    const cell = { x: this.cell().x * ratio, y: this.cell().y * ratio };
    const [n_rows, n_columns] = [part.rows[1] - part.rows[0], part.columns[1] - part.columns[0]];
    this.say(tile, n_rows, n_columns, state.pool);
    paintMap(context, tile, colours, {
      left: (part.columns[0] - this.columns.from) * cell.x,
      top: (part.rows[0] - this.rows.from) * cell.y,
      width: n_columns * cell.x,
      height: n_rows * cell.y,
      ratio,
      isEach: tile.height === n_rows && tile.width === n_columns,
      font: this.font(),
      unit: layerOf(this.now!.model.atlas, this.now!.of)?.unit ?? 1,
    });
  }

  /** What is seen, where that is not every cell of the map. */
  private say(tile: Tile, n_rows: number, n_columns: number, pool: "max" | "mean"): void {
    const said: string[] = [];
    if (this.isZoomed()) said.push(`${n_rows} of ${this.n_rows()} queries × ${n_columns} of ${this.n_columns()} keys`);
    const [down, across] = [n_rows / Math.max(1, tile.height), n_columns / Math.max(1, tile.width)];
    const round = (n: number): string => (n < 10 ? n.toFixed(n % 1 === 0 ? 0 : 1) : n.toFixed(0));
    if (down * across > 1.001) said.push(`a pixel is the ${pool === "max" ? "largest" : "mean"} of ${round(down)} × ${round(across)} cells`);
    if (tile.every > 1) said.push(`one row in ${tile.every} is read so far`);
    this.said.textContent = said.join(" · ");
    this.bar.hidden = said.length === 0;
  }

  /** Labels that have room beside each other, and those of what is selected in the place of these. */
  private drawLabels(): void {
    const { axes, selection } = this.now!;
    const cell = this.cell();
    this.fillLabels(this.rowLabels, axes.queries, this.rows, cell.y, selection.row, "top");
    this.fillLabels(this.columnLabels, axes.keys, this.columns, cell.x, selection.column, "left");
  }

  private fillLabels(parent: HTMLElement, axis: Axis, seen: Seen, size: number, active: number | null, side: "top" | "left"): void {
    const every = Math.max(1, Math.ceil(LABEL_STEP / size));
    const isSeen = (place: number): boolean => place + 0.5 >= seen.from && place + 0.5 <= seen.to;
    const make = (place: number): HTMLElement => {
      const text = tokenAt(axis, place);
      text.title = text.textContent!;
      const label = el("div", { class: axis.special[place] ? "label special" : "label", "data-place": place }, text);
      label.style[side] = `${(place + 0.5 - seen.from) * size}px`;
      return label;
    };
    const made = this.labels.get(parent);
    const isSame = made !== undefined && made.axis === axis && made.from === seen.from && made.size === size && made.to === seen.to;
    const labels = isSame ? made.labels : new Map<number, HTMLElement>();
    if (!isSame) {
      for (let place = Math.ceil(Math.floor(seen.from) / every) * every; place < Math.min(axis.labels.length, seen.to); place += every) {
        if (isSeen(place)) labels.set(place, make(place));
      }
      parent.replaceChildren(...labels.values());
      this.labels.set(parent, { axis, from: seen.from, to: seen.to, size, labels, marked: [] });
    }
    this.markLabel(parent, active !== null && isSeen(active) ? active : null, make);
  }

  /** Marks the label of a place, which is made where it has none, and sets aside those that it would run into. */
  private markLabel(parent: HTMLElement, active: number | null, make: (place: number) => HTMLElement): void {
    const now = this.labels.get(parent)!;
    const { labels, size } = now;
    for (const label of now.marked) {
      label.classList.remove("active", "aside");
      if (label.classList.contains("extra")) label.remove();
    }
    now.marked = [];
    if (active === null) return;
    const reach = Math.ceil(LABEL_STEP / size);
    for (let place = active - reach; place <= active + reach; place++) {
      const label = labels.get(place);
      if (label === undefined || (place !== active && Math.abs(place - active) * size >= LABEL_STEP)) continue;
      label.classList.add(place === active ? "active" : "aside");
      now.marked.push(label);
    }
    if (labels.has(active)) return;
    const extra = make(active);
    extra.classList.add("active", "extra");
    const after = [...labels].find(([place]) => place > active)?.[1] ?? null;
    parent.insertBefore(extra, after);
    now.marked.push(extra);
  }

  private drawMarks(): void {
    const { row, column } = this.now!.selection;
    this.placeMark(this.rowBand, row, null);
    this.placeMark(this.columnBand, null, column);
    this.placeMark(this.ring, row, column);
    this.rowBand.classList.toggle("faint", column !== null && row !== null);
    this.columnBand.classList.toggle("faint", row !== null);
  }

  private placeMark(marker: HTMLElement, row: number | null, column: number | null): void {
    const cell = this.cell();
    const on = (place: number | null, seen: Seen, size: number, whole: number): [number, number] | null => {
      if (place === null) return [0, whole];
      const [from, to] = [Math.max(0, (place - seen.from) * size), Math.min(whole, (place + 1 - seen.from) * size)];
      return to - from > 0.5 * Math.min(1, size) ? [from, to] : null;
    };
    const isNone = marker === this.ring ? row === null || column === null : row === null && column === null;
    const [down, across] = [on(row, this.rows, cell.y, this.size.height), on(column, this.columns, cell.x, this.size.width)];
    marker.hidden = isNone || down === null || across === null;
    if (marker.hidden) return;
    marker.style.top = `${down![0]}px`;
    marker.style.height = `${down![1] - down![0]}px`;
    marker.style.left = `${across![0]}px`;
    marker.style.width = `${across![1] - across![0]}px`;
  }

  private cellAt(event: MouseEvent): { row: number; column: number } | null {
    if (this.now === null) return null;
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(this.rows.from + ((event.clientY - box.top) / box.height) * (this.rows.to - this.rows.from));
    const column = Math.floor(this.columns.from + ((event.clientX - box.left) / box.width) * (this.columns.to - this.columns.from));
    const inside = row >= 0 && row < this.n_rows() && column >= 0 && column < this.n_columns();
    return inside ? { row, column } : null;
  }

  private hover(event: PointerEvent): void {
    if (this.now === null) return;
    const cell = event.buttons === 1 && this.isDrag() ? null : this.cellAt(event);
    const same = cell?.row === this.hovered?.row && cell?.column === this.hovered?.column;
    this.hovered = cell;
    if (event.pointerType === "touch" || cell === null) {
      this.page.tip(null);
      if (!same) this.page.preview(null);
      return;
    }
    if (!same) this.page.preview(cell);
    this.tell(event, cell);
  }

  /** The chosen cell's number below the map. */
  private async sayCell(now: Now): Promise<void> {
    const { axes, lines, of, chosen } = now;
    const { row, column } = chosen ?? { row: null, column: null };
    if (row === null || column === null) return this.told.replaceChildren();
    let line = lines.row(of, axes.look, row);
    if (line instanceof Promise) {
      this.told.replaceChildren();
      try {
        line = await line;
      } catch {
        return; // the page says what is wrong
      }
      if (this.now !== now) return;
    }
    const value = line.masked[column] === 1 ? "masked" : writingOf(now.model.atlas, of)(line.weights[column]!);
    this.told.replaceChildren(tokenAt(axes.queries, row), " → ", tokenAt(axes.keys, column), " ", el("strong", {}, value));
  }

  /** Weight, rank, row sum, sink and entropy beside the pointer. */
  private tell(event: PointerEvent, cell: { row: number; column: number }): void {
    const { axes, lines, of, model } = this.now!;
    const number = writingOf(model.atlas, of);
    const words = (line: Line | null): (Node | string)[] => {
      const value = line === null ? "…" : line.masked[cell.column] === 1 ? "masked" : number(line.weights[cell.column]!);
      const more = line === null ? "" : el("span", { class: "more" }, rowSaid(line, cell.column));
      return [tokenAt(axes.queries, cell.row), " → ", tokenAt(axes.keys, cell.column), el("strong", {}, value), more];
    };
    const line = lines.row(of, axes.look, cell.row);
    if (line instanceof Promise) {
      this.page.tip(event, ...words(null));
      void line.then((line) => {
        if (this.hovered?.row === cell.row && this.hovered.column === cell.column) this.page.tip(event, ...words(line));
      }, () => {});
    } else this.page.tip(event, ...words(line));
  }

  private moveByKey(event: KeyboardEvent): void {
    if (this.now === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, column } = this.now.selection;
    if (event.key === "q" && row !== null) this.page.choose({ row, column: null });
    if (event.key === "k" && column !== null) this.page.choose({ row: null, column });
    if (event.key === "0") this.showAll();
    const factor = { "+": KEY_ZOOM, "=": KEY_ZOOM, "-": 1 / KEY_ZOOM }[event.key];
    if (factor !== undefined) this.zoomByKey(factor, row, column);
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.page.moveHead(event.key);
      return;
    }
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.step(step[0]!, step[1]!);
    this.reveal();
  }

  /** About what is selected, or the middle. */
  private zoomByKey(factor: number, row: number | null, column: number | null): void {
    const at = (place: number | null, { from, to }: Seen): number => (place === null ? 0.5 : Math.min(1, Math.max(0, (place + 0.5 - from) / (to - from))));
    this.look(zoomed(this.rows, factor, at(row, this.rows), this.n_rows()), zoomed(this.columns, factor, at(column, this.columns), this.n_columns()));
    this.commit();
  }

  private step(rows: number, columns: number): void {
    const { row, column } = this.now!.selection;
    const to = (place: number | null, by: number, n: number): number => Math.min(n - 1, Math.max(0, (place ?? -by) + by));
    if (this.n_rows() === 0 || this.n_columns() === 0) return;
    // along the keys, a chosen key alone stays one
    this.page.choose({ row: row === null && rows === 0 ? null : to(row, rows, this.n_rows()), column: to(column, columns, this.n_columns()) });
  }
}
