// Both texts above the maps: what their tokens stand for in the present kind of attention, what is found in them, and what of them is taken
// together.

import { el } from "./dom.ts";
import type { Axis } from "./look.ts";
import type { Model } from "./model.ts";
import { barColour } from "./reading.ts";
import type { Line, Stretch } from "./source.ts";
import { placesWith, spanName, TextTools, type Taken } from "./spans.ts";
import { textAlong, type State } from "./state.ts";
import { visibleText } from "./text.ts";
import { TextLine } from "./texts.ts";
import type { Now, Page, Selection } from "./views/view.ts";

/** What tokens of the texts are in maps of each kind. */
const ROLES = {
  encoder: { source: "both", target: "idle" },
  decoder: { source: "idle", target: "both" },
  cross: { source: "keys", target: "queries" },
} as const;

export class BothTexts {
  readonly element: HTMLElement;
  /** What can be done with their tokens. */
  readonly tools: TextTools;
  private source = new TextLine("source");
  private target = new TextLine("target");
  private lines = [this.source, this.target] as const;
  /** What is to be known of the target. */
  private said = el("p", { class: "said-of-text" });
  private model: Model;
  private page: Page;
  private now: () => { state: State; chosen: Selection | null };

  constructor(model: Model, page: Page, now: () => { state: State; chosen: Selection | null }) {
    [this.model, this.page, this.now] = [model, page, now];
    this.element = el("section", { class: "texts", "aria-label": "the texts" }, this.source.element, this.target.element, this.said);
    this.tools = new TextTools(
      (part) => page.change(part),
      (step) => this.goToFound(step),
      (taken) => this.zoomTo(taken),
    );
    for (const line of this.lines) {
      line.onSelect = (place) => this.choose(line, place);
      line.onHover = (place) => page.preview(place === null ? null : this.ofToken(line, place));
      line.onRange = (range) => this.tools.offer(range === null ? null : this.taken(line, range), this.now().state);
    }
  }

  /** Shows the texts as the state has them. */
  update(state: State): void {
    const item = this.model.item(state);
    for (const line of this.lines) {
      line.fill(this.axisOf(line), ROLES[state.kind][this.nameOf(line)]);
      line.element.hidden = item[this.nameOf(line)].tokens.length === 0;
      line.dropRange();
    }
    this.target.doubt(this.newPlaces(state));
    const remarks = item.remarks ?? [];
    this.said.hidden = remarks.length === 0;
    this.said.textContent = visibleText(remarks.join(" \u00b7 "));
    this.find();
  }

  /** The places of the target that hold a piece of a word that the model does not know. */
  private newPlaces(state: State): Set<number> {
    const axis = this.axisOf(this.target);
    const named = textAlong("query", state.kind) === "target" ? this.model.rowTokens(state) : this.model.item(state).target.tokens;
    const isNew = ([from, to]: Stretch): boolean => named.slice(from, to).some((token) => token.new === true);
    return new Set(axis.stretches.flatMap((stretch, place) => (isNew(stretch) ? [place] : [])));
  }

  /** Marks what is looked for, and shows the spans. */
  find(): void {
    const { state } = this.now();
    let n_found = 0;
    for (const line of this.lines) {
      const places = placesWith(this.axisOf(line), state.seek);
      line.mark(new Set(places));
      if (!line.element.hidden) n_found += places.length;
    }
    const item = this.model.item(state);
    this.tools.update(state, n_found, (span) => spanName(span, item[span.of].tokens.slice(span.from, span.to).map(({ text }) => text).join("")));
  }

  /** Frames the selection's tokens, and weighs what its query looks at, or who looks at its key. */
  weigh({ selection: { row, column }, colours, state }: Now, line: Line | null): void {
    const queryLine = state.kind === "encoder" ? this.source : this.target;
    const keyLine = state.kind === "decoder" ? this.target : this.source;
    const weighed = row === null ? queryLine : keyLine;
    for (const other of this.lines) if (other !== weighed || line === null) other.weigh(null, () => "", 1);
    if (line !== null) weighed.weigh(line.weights, barColour(colours, line), colours.full);
    if (queryLine !== keyLine) keyLine.frame(column, "key");
    if (queryLine !== keyLine) queryLine.frame(row, "query");
    else queryLine.frame(row ?? column, row === null ? "key" : "query");
  }

  private nameOf(line: TextLine): "source" | "target" {
    return line === this.source ? "source" : "target";
  }

  /** What stands along a line of text. */
  private axisOf(line: TextLine): Axis {
    const { state } = this.now();
    const { queries, keys } = this.model.axes(state);
    const of = this.nameOf(line);
    if (textAlong("query", state.kind) === of) return queries;
    return textAlong("key", state.kind) === of ? keys : this.model.idleAxis(state, of);
  }

  /** What a token of the text stands for: in cross-attention a source token is a key, any other a query. */
  private ofToken(line: TextLine, place: number): Selection {
    const isKey = this.now().state.kind === "cross" && line === this.source;
    return isKey ? { row: null, column: place } : { row: place, column: null };
  }

  /** Chooses a token of the text; in self-attention, one that is chosen already is turned round: who looks at it? */
  private choose(line: TextLine, place: number): void {
    const { state, chosen } = this.now();
    const again = state.kind !== "cross" && chosen?.row === place && chosen.column === null;
    this.page.choose(again ? { row: null, column: place } : this.ofToken(line, place));
  }

  /** The tokens of places that were taken together. */
  private taken(line: TextLine, [from, to]: [number, number]): Taken {
    const { stretches } = this.axisOf(line);
    return { of: this.nameOf(line), from: stretches[from]![0], to: stretches[to - 1]![1], n: to - from };
  }

  /** Shows some tokens alone, as queries and as keys, wherever they stand. */
  private zoomTo({ of, from, to }: Taken): void {
    const { state } = this.now();
    const whole = (axis: Axis): Stretch => [axis.stretches[0]?.[0] ?? 0, axis.stretches.at(-1)?.[1] ?? 1];
    const { queries, keys } = this.model.axes(state);
    const along = (axis: "query" | "key"): Stretch => (textAlong(axis, state.kind) === of ? [from, to] : (state.zoom?.[axis === "query" ? "queries" : "keys"] ?? whole(axis === "query" ? queries : keys)));
    this.page.change({ zoom: { queries: along("query"), keys: along("key") } });
  }

  /** Chooses the next token that is found, or the one before. */
  private goToFound(step: 1 | -1): void {
    const { state, chosen } = this.now();
    const isChoosable = (line: TextLine): boolean => !line.element.hidden && ROLES[state.kind][this.nameOf(line)] !== "idle";
    const places = this.lines.filter(isChoosable).flatMap((line) => placesWith(this.axisOf(line), state.seek).map((place) => this.ofToken(line, place)));
    if (places.length === 0) return;
    const at = places.findIndex(({ row, column }) => chosen?.row === row && chosen.column === column);
    this.page.choose(places[(at + step + places.length) % places.length]!);
  }
}
