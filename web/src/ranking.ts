// Which heads of a kind look most at what is chosen: a cell, a query, or a key.

import { isOfLayer } from "./data.ts";
import { effectNumber, effectOf } from "./effects.ts";
import { el, tokenAt } from "./dom.ts";
import { largestSize } from "./pooling.ts";
import type { HeadValue } from "./source.ts";
import { hashFromState, type HeadId } from "./state.ts";
import { messageOf } from "./text.ts";
import { writingOf } from "./views/scene.ts";
import type { Now, Selection } from "./views/view.ts";

/** How many heads are listed at first. */
const N_LISTED = 8;
/** How long a choice must stay before all heads are looked at, in ms: who steps through cells waits for none. */
const PAUSE = 80;

/** The strongest first; equals by layer and head, what is no number last. */
export function byStrength(values: HeadValue[]): HeadValue[] {
  const rank = ({ value }: HeadValue): number => (Number.isNaN(value) ? -1 : Math.abs(value));
  return [...values].sort((a, b) => rank(b) - rank(a) || a.layer - b.layer || a.head - b.head);
}

export class HeadRanking {
  readonly element = el("section", { class: "ranking", "aria-label": "heads by the chosen tokens" });
  private title = el("h3");
  private list = el("ol", { class: "ranked" });
  private more = el("button", { type: "button", class: "plain", hidden: true });
  private select: (head: HeadId) => void;
  private done = "";
  private asking: AbortController | null = null;
  private values: HeadValue[] = [];
  private n_listed = N_LISTED;
  private now: Now | null = null;

  constructor(select: (head: HeadId) => void) {
    this.select = select;
    this.more.addEventListener("click", () => {
      this.n_listed = Infinity;
      this.fill();
    });
    this.element.append(this.title, this.list, this.more);
  }

  /** Ranks the heads by what is chosen. */
  update(now: Now): void {
    this.now = now;
    const { chosen, state } = now;
    this.element.hidden = chosen === null;
    // the same for each head, and however it is drawn
    const looks = { layer: 0, head: 0, scale: "linear", range: "shared", view: "map", theme: "auto", zoom: null, heads: [], pool: "max" } as const;
    const asked = chosen === null ? "" : hashFromState({ ...state, ...looks, heads: [] }, now.model.atlas);
    if (asked === this.done) {
      if (chosen !== null && this.element.getAttribute("aria-busy") === "false") this.fill();
      return;
    }
    this.done = asked;
    this.asking?.abort();
    if (chosen === null) return;
    this.n_listed = N_LISTED;
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.title.replaceChildren(...this.titleOf(chosen, now));
    this.element.setAttribute("aria-busy", "true");
    setTimeout(() => signal.aborted || void this.look(now, chosen, signal), PAUSE);
  }

  /** Looks at all heads, unless something else is chosen meanwhile. */
  private async look({ state, axes, source }: Now, chosen: Selection, signal: AbortSignal): Promise<void> {
    try {
      const { item, quantity, kind } = state;
      this.values = byStrength(await source.heads({ item, quantity, kind, look: axes.look, ...chosen }, signal));
      this.element.setAttribute("aria-busy", "false");
      this.fill();
    } catch (error) {
      if (signal.aborted) return;
      this.element.setAttribute("aria-busy", "false");
      this.list.replaceChildren(el("li", {}, messageOf(error)));
    }
  }

  private titleOf({ row, column }: Selection, { axes, state, model }: Now): (Node | string)[] {
    const query = row === null ? "" : tokenAt(axes.queries, row);
    const key = column === null ? "" : tokenAt(axes.keys, column);
    const maps = isOfLayer(model.atlas, state) ? "Layers" : "Heads";
    if (row === null) return [`${maps} by who looks most at `, key];
    if (column === null) return [`${maps} by where `, query, " looks most"];
    return [`${maps} by `, query, " → ", key];
  }

  private fill(): void {
    const { state, axes, chosen, model } = this.now!;
    const { atlas } = model;
    const effects = model.hasEffects(state);
    this.list.classList.toggle("with-effects", effects);
    const listed = this.values.slice(0, this.n_listed);
    this.more.hidden = this.values.length <= listed.length;
    const rank = 1 + this.values.findIndex((one) => one.layer === state.layer && one.head === state.head);
    const own = rank > listed.length ? `; ${model.nameOf(state, state)} is number ${rank}` : "";
    this.more.textContent = `all ${this.values.length} ${isOfLayer(atlas, state) ? "layers" : "heads"}${own}`;
    const top = state.quantity === "weight" ? 1 : largestSize(this.values.map(({ value }) => value));
    this.list.replaceChildren(
      ...listed.map((one) => {
        const bar = el("span", { class: "bar" });
        bar.style.width = `${100 * Math.min(1, Math.abs(one.value) / top || 0)}%`;
        const [axis, before] = chosen?.row == null ? [axes.queries, "by "] : [axes.keys, "→ "];
        const to = one.at === null ? "" : el("span", { class: "to" }, before, tokenAt(axis, one.at));
        const current = one.layer === state.layer && one.head === state.head;
        const button = el(
          "button",
          { type: "button", "aria-pressed": String(current) },
          el("span", { class: "name" }, model.nameOf(state, one)),
          el("span", { class: "track", "aria-hidden": "true" }, bar),
          el("span", { class: "weight" }, Number.isNaN(one.value) ? "masked" : writingOf(atlas, model.of(state, { layer: one.layer, head: one.head }))(one.value)),
          ...(effects ? [el("span", { class: "weight effect", title: "measured effect" }, effectOf(atlas, state.kind, one) === undefined ? "" : effectNumber(effectOf(atlas, state.kind, one)!))] : []),
          to,
        );
        button.addEventListener("click", () => this.select({ layer: one.layer, head: one.head }));
        return el("li", {}, button);
      }),
    );
  }
}
