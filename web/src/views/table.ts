// The present part of a map as a table of numbers, a page at a time: what screen readers read, and what can be selected and copied.

import { el, tokenAt } from "../dom.ts";
import { everyCell, isSelf, lookOf, nameOf, writingOf, type Chosen, type Scene } from "./scene.ts";
import type { Part, Tile } from "../source.ts";

export interface TableOptions {
  /** The first row and column of the page; null follows what is chosen. */
  page: readonly [number, number] | null;
}

/** Rows and columns of a page. */
export const PAGE = { rows: 25, columns: 12 };

export class TableView {
  readonly element = el("section", { class: "table-view", "aria-label": "the map as a table" });
  onSelect: (chosen: Chosen) => void = () => {};
  onChange: (options: Partial<TableOptions>) => void = () => {};
  private pages = { rows: el("div", { class: "pages", role: "group", "aria-label": "rows" }), columns: el("div", { class: "pages", role: "group", "aria-label": "columns" }) };
  private table = el("table", { class: "numbers" });

  constructor() {
    this.element.append(el("div", { class: "paging" }, this.pages.rows, this.pages.columns), el("div", { class: "scrolled", tabindex: 0, role: "group", "aria-label": "the table, to be scrolled" }, this.table));
    this.table.addEventListener("click", (event) => {
      const cell = (event.target as Element).closest<HTMLElement>("[data-row], [data-column]");
      const place = (name: "row" | "column"): number | null => (cell?.dataset[name] === undefined ? null : Number(cell.dataset[name]));
      if (cell !== null) this.onSelect({ row: place("row"), column: place("column") });
    });
  }

  /** Shows a page of the part. */
  async update(scene: Scene, options: TableOptions, part: Part, signal: AbortSignal): Promise<void> {
    const page = pageOf(part, options.page, scene.chosen);
    this.fillPages(part, page);
    const tile = await scene.source.tile(everyCell(scene.of, lookOf(scene), page.rows, page.columns), signal);
    if (!signal.aborted) this.fill(scene, page, tile);
  }

  private fillPages(part: Part, page: Part): void {
    for (const axis of ["rows", "columns"] as const) {
      const [from, to] = page[axis];
      const [first, last] = part[axis];
      const turn = (label: string, name: string, at: number): HTMLElement => {
        const button = el("button", { type: "button", class: "plain", "aria-label": name }, label);
        button.disabled = at < first || at >= last || at === from;
        button.addEventListener("click", () => this.onChange({ page: axis === "rows" ? [at, page.columns[0]] : [page.rows[0], at] }));
        return button;
      };
      const before = Math.max(first, from - PAGE[axis]);
      this.pages[axis].replaceChildren(
        turn("‹", `earlier ${axis}`, before === from ? -1 : before),
        el("span", {}, `${axis === "rows" ? "queries" : "keys"} ${from} to ${to - 1} of ${first} to ${last - 1}`),
        turn("›", `later ${axis}`, to),
      );
      this.pages[axis].hidden = to - from === last - first;
    }
  }

  private fill(scene: Scene, { rows, columns }: Part, tile: Tile): void {
    const number = writingOf(scene.source.atlas, scene.of);
    const { row: chosenRow, column: chosenColumn } = scene.chosen;
    const width = columns[1] - columns[0];
    const header = el("tr", {}, el("th", { scope: "col", class: "corner" }, isSelf(scene) ? "query ↓ key →" : "target ↓ source →"));
    for (let column = columns[0]; column < columns[1]; column++) {
      header.append(el("th", { scope: "col", "data-column": column, class: column === chosenColumn ? "chosen" : "" }, tokenAt(scene.keys, column)));
    }
    const body = el("tbody");
    for (let row = rows[0]; row < rows[1]; row++) {
      const line = el("tr", {}, el("th", { scope: "row", "data-row": row, class: row === chosenRow ? "chosen" : "" }, tokenAt(scene.queries, row)));
      for (let column = columns[0]; column < columns[1]; column++) {
        const cell = (row - rows[0]) * width + column - columns[0];
        const text = tile.masked[cell] === 1 ? el("span", { class: "masked" }, "masked") : number(tile.values[cell]!);
        line.append(el("td", { "data-row": row, "data-column": column, class: row === chosenRow && column === chosenColumn ? "chosen" : "" }, text));
      }
      body.append(line);
    }
    const caption = el("caption", {}, `${nameOf(scene.source.atlas, scene.of)}: queries ${rows[0]} to ${rows[1] - 1}, keys ${columns[0]} to ${columns[1] - 1}`);
    this.table.replaceChildren(caption, el("thead", {}, header), body);
  }
}

/** The page of a part that begins at a place, or that holds what is chosen. */
export function pageOf(part: Part, asked: readonly [number, number] | null, chosen: Chosen): Part {
  const along = (axis: "rows" | "columns", at: number | null, place: number | null): [number, number] => {
    const [first, last] = part[axis];
    const holding = place === null || place < first || place >= last ? first : first + Math.floor((place - first) / PAGE[axis]) * PAGE[axis];
    const from = at === null ? holding : Math.min(Math.max(at, first), Math.max(first, last - 1));
    return [from, Math.min(last, from + PAGE[axis])];
  };
  return { rows: along("rows", asked?.[0] ?? null, chosen.row), columns: along("columns", asked?.[1] ?? null, chosen.column) };
}
