// How a text was generated: a slider over its steps, what each step looked at on the text so far, and one map in which what was given and
// what was generated are marked apart.

import type { Item } from "../data.ts";
import { fraction } from "../colour.ts";
import { Ramp } from "../colours.ts";
import { el, tokenText } from "../dom.ts";
import { directionOf, visibleText } from "../text.ts";
import { gapsOf } from "./gaps.ts";
import { Grid, scaleLine } from "./grid.ts";
import { drawnSoon, keysOf, lookOf, nameOf, placesOfTokens, sampledNote, signsOf, topOf, wordsOf, writingOf, type Chosen, type Places, type Scene } from "./scene.ts";
import { largestSize } from "../pooling.ts";
import type { Tile, TileAsk } from "../source.ts";

/** One generated token: its place in the text, the row that wrote it, and what it is. */
export interface Step {
  token: number;
  row: number;
  text: string;
}

/** The longest side of the map, in pixels. */
const SIDE = 512;

export class GenerationView {
  readonly element = el("section", { class: "generation-view", "aria-label": "how the text was generated" });
  onSelect: (chosen: Chosen) => void = () => {};
  private slider = el("input", { type: "range", min: 0, "aria-label": "step" });
  private before = el("button", { type: "button", class: "plain", "aria-label": "the step before" }, "‹");
  private after = el("button", { type: "button", class: "plain", "aria-label": "the next step" }, "›");
  private said = el("output", { class: "said", "aria-live": "polite" });
  private text = el("p", { class: "written" });
  private source = el("p", { class: "written" });
  private grid = new Grid();
  private scale = el("div");
  private note = el("p", { class: "caption" });
  private steps: Step[] = [];

  constructor() {
    const slide = el("div", { class: "slide" }, this.before, this.slider, this.after, this.said);
    this.element.append(slide, this.source, this.text, this.grid.element, this.scale, this.note);
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.before.addEventListener("click", () => this.go(Number(this.slider.value) - 1));
    this.after.addEventListener("click", () => this.go(Number(this.slider.value) + 1));
    this.grid.onSelect = (chosen) => this.onSelect(chosen);
  }

  /** Shows the step that the chosen query wrote, or else the last. */
  async update(scene: Scene, signal: AbortSignal): Promise<void> {
    const item = scene.source.atlas.items[scene.of.item]!;
    this.steps = stepsOf(item, scene.queries);
    const there = this.steps.length > 0 && scene.of.kind !== "encoder";
    for (const part of [this.slider.parentElement!, this.text, this.source, this.grid.element, this.scale]) part.hidden = !there;
    this.note.textContent = there ? "" : whyNot(item, scene);
    if (!there) return;
    const chosen = this.steps.findIndex(({ row }) => row === scene.chosen.row);
    const at = chosen < 0 ? this.steps.length - 1 : chosen;
    const step = this.steps[at]!;
    this.slide(at, step);
    const line = await scene.source.row(scene.of, lookOf(scene), step.row, signal);
    if (signal.aborted) return;
    this.write(scene, item, line.weights, step);
    this.note.textContent = `${scene.predicted ? "Rows are the tokens that were written" : "Rows are what the model read when it wrote the next token"}; the rows after this step are pale. The weights are those of one pass over the whole text, which causal attention makes the same as those of each step.`;
    const part = { rows: [0, scene.queries.stretches.length], columns: [0, scene.keys.stretches.length] } as const;
    const ask: TileAsk = { of: scene.of, look: lookOf(scene), part, height: SIDE, width: SIDE, pool: "max", values: "number", exact: false };
    await drawnSoon(scene.source, ask, signal, (tile) => this.drawMap(scene, tile, item.generated!, step.row));
  }

  private go(at: number): void {
    const step = this.steps[at];
    if (step !== undefined) this.onSelect({ row: step.row, column: null });
  }

  private slide(at: number, step: Step): void {
    this.slider.max = String(this.steps.length - 1);
    this.slider.value = String(at);
    this.slider.setAttribute("aria-valuetext", `step ${at + 1} of ${this.steps.length}: ${step.text}`);
    this.before.disabled = at === 0;
    this.after.disabled = at === this.steps.length - 1;
    this.said.replaceChildren(`step ${at + 1} of ${this.steps.length}: `, tokenText(step.text));
  }

  private drawMap(scene: Scene, tile: Tile, generated: number, row: number): void {
    const divided = (places: Places): number | null => placeFrom(places, generated);
    const { atlas } = scene.source;
    const signs = signsOf(atlas, scene.of.quantity);
    const top = topOf(tile);
    const columns = { ...scene.keys, divided: scene.of.kind === "decoder" ? divided(scene.keys) : null };
    // rows that are named by what they wrote begin with the one before
    const rows = { ...scene.queries, divided: placeFrom(scene.queries, generated - (scene.predicted ? 1 : 0)) };
    this.grid.draw({ tile, rows, columns, ramp: new Ramp(scene.scale, signs, top), name: nameOf(atlas, scene.of), last: row }, { row, column: scene.chosen.column });
    this.scale.replaceChildren(scaleLine(top, signs, `${wordsOf(atlas, scene.of.quantity)}; the lines part what was given from what was generated.${sampledNote(tile)}`));
  }

  /** The text as far as this step, coloured by what its row looks at. */
  private write(scene: Scene, item: Item, weights: Float32Array, step: Step): void {
    const number = writingOf(scene.source.atlas, scene.of);
    const top = largestSize(weights);
    const generated = item.generated ?? 0;
    const keys = placesOfTokens(scene.keys.stretches, keysOf(scene).tokens.length);
    const colour = (token: HTMLElement, index: number): void => {
      const place = keys[index]!;
      const weight = place < 0 ? 0 : weights[place]!;
      token.style.setProperty("--share", `${100 * (fraction(Math.abs(weight), top, "linear") || 0)}%`);
      token.classList.toggle("negative", weight < 0);
      token.title = number(weight);
    };
    const isOfTarget = scene.of.kind === "decoder";
    const gaps = gapsOf(item.target);
    this.text.dir = directionOf(item.target.text);
    this.text.replaceChildren(
      ...item.target.tokens.slice(0, step.token).flatMap(({ text }, index) => {
        const token = el("span", { class: index < generated ? "piece given" : "piece made" }, tokenText(visibleText(text)));
        if (isOfTarget) colour(token, index);
        return [gaps[index] === "\n" ? el("br") : gaps[index]!, token];
      }),
      " ",
      el("span", { class: "piece next" }, tokenText(step.text)),
    );
    this.source.hidden = isOfTarget || item.source.tokens.length === 0;
    if (this.source.hidden) return;
    const between = gapsOf(item.source);
    this.source.dir = directionOf(item.source.text);
    this.source.replaceChildren(
      ...item.source.tokens.flatMap(({ text }, index) => {
        const token = el("span", { class: "piece given" }, tokenText(visibleText(text)));
        colour(token, index);
        return [between[index] === "\n" ? el("br") : between[index]!, token];
      }),
    );
  }
}

/** The generated tokens, and the row that wrote each, that of the token before it; those of which it is hidden are left out. */
export function stepsOf(item: Item, queries: Places): Step[] {
  const first = item.generated;
  if (first === undefined || first < 1) return [];
  const { tokens } = item.target;
  const written = [...tokens.slice(first), ...item.predicted.slice(tokens.length - 1, tokens.length)];
  const places = placesOfTokens(queries.stretches, tokens.length);
  return written.map(({ text }, index) => ({ token: first + index, row: places[first - 1 + index] ?? -1, text: visibleText(text) })).filter(({ row }) => row >= 0);
}

/** The first place of an axis that holds a token from `token` on; null where none does. */
export function placeFrom({ stretches }: Places, token: number): number | null {
  const place = stretches.findIndex(([, to]) => to > token);
  return place < 0 ? null : place;
}

function whyNot(item: Item, { of }: Scene): string {
  if (of.kind === "encoder") return "An encoder reads its text at once and writes nothing: choose the decoder's or the cross-attention.";
  if (item.generated === undefined) return "All of this text was given, or the recording does not say which part was generated.";
  return "Nothing was generated, or what was is hidden.";
}
