// Which heads of a kind look most at what is chosen: a cell, a query, or a key.

import { headName } from "./data.ts";
import { el, tokenText } from "./dom.ts";
import type { Model } from "./model.ts";
import type { Selection } from "./reading.ts";
import { hashFromState, type State } from "./state.ts";
import { formatWeight } from "./text.ts";
import { largest, type ShownMap } from "./view.ts";

/** How many heads are listed at first. */
const N_LISTED = 8;
/** How long one slice of work may take before the page gets to breathe, in ms. */
const SLICE = 24;
/** How long a choice must stay before all heads are looked at, in ms: who steps through cells waits for none. */
const PAUSE = 80;

/** One head, and how much it does what is asked. */
export interface Strength {
  layer: number;
  head: number;
  /** The weight of the cell; the largest of the query; the mean of the key over the queries that may look at it. NaN of none. */
  weight: number;
  /** The key that a query looks at most. */
  key: number | null;
}

/** What a head's map has at a selection. */
export function strengthOf(shown: ShownMap, { row, column }: Selection): Omit<Strength, "layer" | "head"> {
  const n = shown.keys.groups.length;
  if (row === null) {
    if (column === null) return { weight: NaN, key: null };
    let [sum, n_open] = [0, 0];
    shown.queries.groups.forEach((_, query) => {
      if (shown.masked[query * n + column] === 1) return;
      sum += shown.weights[query * n + column]!;
      n_open++;
    });
    return { weight: n_open === 0 ? NaN : sum / n_open, key: null };
  }
  if (column !== null) return { weight: shown.masked[row * n + column] === 1 ? NaN : shown.weights[row * n + column]!, key: null };
  const weights = shown.weights.subarray(row * n, (row + 1) * n);
  const weight = largest(weights);
  return { weight, key: weights.indexOf(weight) };
}

/** The strongest first; equals by layer and head, what is no number last. */
export function byStrength(strengths: Strength[]): Strength[] {
  const rank = (one: Strength): number => (Number.isNaN(one.weight) ? -1 : one.weight);
  return [...strengths].sort((a, b) => rank(b) - rank(a) || a.layer - b.layer || a.head - b.head);
}

export class HeadRanking {
  readonly element = el("section", { class: "ranking", "aria-label": "heads by the chosen tokens" });
  private title = el("h3");
  private list = el("ol", { class: "ranked" });
  private more = el("button", { type: "button", class: "plain" });
  private model: Model;
  private select: (layer: number, head: number) => void;
  private done = "";
  private run = 0;
  private strengths: Strength[] = [];
  private n_listed = N_LISTED;
  private shown: ShownMap | null = null;
  /** The head that the page shows. */
  private at = { layer: 0, head: 0 };

  constructor(model: Model, select: (layer: number, head: number) => void) {
    this.model = model;
    this.select = select;
    this.more.addEventListener("click", () => {
      this.n_listed = Infinity;
      this.fill(this.at);
    });
    this.element.append(this.title, this.list, this.more);
  }

  /** Ranks the heads by what is chosen; `chosen` is null where nothing is. */
  update(state: State, chosen: Selection | null, shown: ShownMap): void {
    this.at = { layer: state.layer, head: state.head };
    this.shown = shown;
    this.element.hidden = chosen === null;
    if (chosen === null) {
      this.done = "";
      this.run++;
      return;
    }
    // the same for each head, and however it is drawn
    const asked = hashFromState({ ...state, layer: 0, head: 0, scale: "linear", range: "shared", view: "map", theme: "auto" }, this.model.source);
    if (asked === this.done) {
      this.fill(this.at);
      return;
    }
    this.done = asked;
    this.n_listed = N_LISTED;
    const run = ++this.run;
    this.title.replaceChildren(...this.titleOf(chosen, shown));
    setTimeout(() => this.look(run, state, chosen), PAUSE);
  }

  /** Looks at all heads, a slice at a time, unless something else is chosen meanwhile. */
  private look(run: number, state: State, chosen: Selection): void {
    const places = this.model.layers(state.kind).flatMap((layer) => Array.from({ length: layer.n_heads }, (_, head) => ({ layer: layer.index, head })));
    const strengths: Strength[] = [];
    this.element.setAttribute("aria-busy", "true");
    const slice = (): void => {
      if (run !== this.run) return;
      const until = performance.now() + SLICE;
      while (strengths.length < places.length && performance.now() < until) {
        const { layer, head } = places[strengths.length]!;
        strengths.push({ layer, head, ...strengthOf(this.model.shownMap(state, layer, head), chosen) });
      }
      if (strengths.length < places.length) {
        setTimeout(slice, 0);
        return;
      }
      this.strengths = byStrength(strengths);
      this.element.setAttribute("aria-busy", "false");
      this.fill(this.at);
    };
    slice();
  }

  private titleOf({ row, column }: Selection, shown: ShownMap): (Node | string)[] {
    const query = row === null ? "" : tokenText(shown.queries.labels[row] ?? "");
    const key = column === null ? "" : tokenText(shown.keys.labels[column] ?? "");
    if (row === null) return ["Heads by what ", key, " gets, the mean over queries"];
    if (column === null) return ["Heads by the largest weight of ", query];
    return ["Heads by ", query, " → ", key];
  }

  private fill(at: { layer: number; head: number }): void {
    const listed = this.strengths.slice(0, this.n_listed);
    this.more.hidden = this.strengths.length <= listed.length;
    const rank = 1 + this.strengths.findIndex((one) => one.layer === at.layer && one.head === at.head);
    const own = rank > listed.length ? `; ${headName(at.layer, at.head)} is number ${rank}` : "";
    this.more.textContent = `all ${this.strengths.length} heads${own}`;
    this.list.replaceChildren(
      ...listed.map((one) => {
        const bar = el("span", { class: "bar" });
        bar.style.width = `${100 * Math.min(1, Math.max(0, one.weight || 0))}%`;
        const name = headName(one.layer, one.head);
        const to = one.key === null || this.shown === null ? "" : el("span", { class: "to" }, "→ ", tokenText(this.shown.keys.labels[one.key] ?? ""));
        const weight = Number.isNaN(one.weight) ? "masked" : formatWeight(one.weight);
        const current = one.layer === at.layer && one.head === at.head;
        const button = el(
          "button",
          { type: "button", "aria-pressed": String(current) },
          el("span", { class: "name" }, name),
          el("span", { class: "track", "aria-hidden": "true" }, bar),
          el("span", { class: "weight" }, weight),
          to,
        );
        button.addEventListener("click", () => this.select(one.layer, one.head));
        return el("li", {}, button);
      }),
    );
  }
}
