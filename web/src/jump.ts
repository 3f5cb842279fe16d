// On a page of tiles: a place of the map by the numbers of its tokens.

import { el } from "./dom.ts";
import { tiling, tokenNamed, type State } from "./state.ts";
import type { Atlas } from "./data.ts";

export class Jump {
  readonly element = el("form", { class: "jump" });
  private fields = {
    query: el("input", { type: "number", min: 0, "aria-label": "number of a query token" }),
    key: el("input", { type: "number", min: 0, "aria-label": "number of a key token" }),
  };

  /** `go` takes the query and the key asked for. */
  constructor(source: Atlas, state: () => State, go: (query: number, key: number | null) => void) {
    const { query, key } = this.fields;
    this.element.append(el("label", {}, "go to query token ", query), el("label", {}, "key token ", key));
    const take = (): void => {
      const place = (axis: "query" | "key"): number | null => {
        const { value } = this.fields[axis];
        return /^\d+$/.test(value) ? tokenNamed(Number(value), axis, state(), source) : null;
      };
      const row = place("query");
      if (row !== null) go(row, place("key"));
    };
    this.element.addEventListener("change", take);
    this.element.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Shown where an axis of the present map has tiles. */
  update(state: State, source: Atlas): void {
    this.element.hidden = tiling("query", state, source) === null && tiling("key", state, source) === null;
    for (const axis of ["query", "key"] as const) {
      const n = tiling(axis, state, source)?.n;
      if (n !== undefined) this.fields[axis].max = String(n - 1);
    }
  }
}
