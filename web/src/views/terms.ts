// Why a query looks at a key as much as it does: q · k term by term, and the way from there to the weight (the view that BertViz calls the
// neuron view; Vig 2019).

import { cssColour, fraction } from "../colour.ts";
import { el, svg, tokenAt, tokenText } from "../dom.ts";
import { formatWeight, sentenceCase, visibleText } from "../text.ts";
import { Choice } from "./choice.ts";
import { keysOf, queriesOf, type Chosen, type Places, type Scene } from "./scene.ts";
import type { Terms } from "../source.ts";

export type Order = "size" | "dimension";

export interface TermsOptions {
  order: Order;
  /** Which piece of a query, and of a key, that is several tokens. */
  piece: readonly [number, number];
}

/** One term of the product. */
export interface Term {
  dimension: number;
  query: number;
  key: number;
  product: number;
}

/** One step from the product to the weight. */
export interface Step {
  name: string;
  formula: string;
  value: string;
}

/** Height of the bars of the terms, in CSS pixels; the least width of one. */
const [HEIGHT, NARROWEST] = [150, 5];
/** Terms that are listed with their numbers. */
const N_LISTED = 8;

export class TermsView {
  readonly element = el("section", { class: "terms-view", "aria-label": "query times key, term by term" });
  onSelect: (chosen: Chosen) => void = () => {};
  onChange: (options: Partial<TermsOptions>) => void = () => {};
  private order = new Choice<Order>("terms", [["size", "largest first"], ["dimension", "by dimension"]]);
  private pieces = el("div", { class: "pieces" });
  private said = el("p", { class: "said", "aria-live": "polite" });
  private missing = el("p", { class: "missing" });
  private steps = el("ol", { class: "steps" });
  private chart = el("figure", { class: "term-chart" });
  private list = el("table", { class: "term-list" });
  private note = el("p", { class: "caption" });

  constructor() {
    this.element.append(this.said, this.pieces, this.steps, this.missing, el("div", { class: "choices" }, this.order.element), this.chart, el("div", { class: "scrolled listing" }, this.list), this.note);
    this.order.onChange = (order) => this.onChange({ order });
  }

  async update(scene: Scene, options: TermsOptions, signal: AbortSignal): Promise<void> {
    this.order.set(options.order);
    const pair = pairOf(scene, options.piece);
    this.fillPieces(scene, options.piece);
    for (const part of [this.missing, this.steps, this.chart, this.list, this.note, this.order.element]) part.hidden = true;
    if (pair === null) {
      this.said.textContent = "Choose a cell, a query and a key, to see how its weight comes about.";
      return;
    }
    const [query, key] = [queriesOf(scene).tokens[pair[0]]!.text, keysOf(scene).tokens[pair[1]]!.text];
    const written = scene.predicted ? scene.source.atlas.items[scene.of.item]!.predicted[pair[0]]?.text : undefined;
    const named = written === undefined ? [] : ["predicting ", tokenText(visibleText(written), "token query"), ", having read "];
    const of = ({ numbers }: Places, place: number | null, token: number, text: string): { labels: string[]; numbers: string[] } => ({ labels: [visibleText(text)], numbers: [(numbers?.[place ?? -1] ?? "") && String(token)] });
    const [from, to] = [of(scene.queries, scene.chosen.row, pair[0], query), of(scene.keys, scene.chosen.column, pair[1], key)];
    this.said.replaceChildren(...named, tokenAt(from, 0, "token query"), " → ", tokenAt(to, 0, "token key"));
    if (scene.of.head === "mean" || scene.of.quantity !== "weight") {
      this.missing.hidden = false;
      this.missing.textContent = scene.of.head === "mean" ? "A mean over heads has no query and key of its own: choose one head." : "Only attention weights come from a query and a key.";
      return;
    }
    const terms = await scene.source.terms(scene.of, ...pair, signal);
    if (!signal.aborted) this.draw(terms, options.order);
  }

  private draw(terms: Terms, order: Order): void {
    this.missing.textContent = terms.missing === "" ? "" : sentenceOf(terms.missing);
    this.missing.hidden = terms.missing === "";
    this.steps.hidden = false;
    this.steps.replaceChildren(...stepsOf(terms).map(stepOf));
    const all = termsOf(terms);
    if (all.length === 0) return;
    for (const part of [this.chart, this.list, this.note, this.order.element]) part.hidden = false;
    const sorted = bySize(all);
    this.chart.replaceChildren(...chartOf(order === "size" ? sorted : all));
    this.list.replaceChildren(...listOf(sorted.slice(0, N_LISTED)));
    this.note.textContent = noteOf(sorted);
  }

  /** The pieces of a query or key that is several tokens: scores are of single tokens. */
  private fillPieces(scene: Scene, piece: readonly [number, number]): void {
    const line = (places: Places, place: number | null, texts: readonly string[], chosen: number, choose: (at: number) => void): Node[] => {
      const stretch = place === null ? undefined : places.stretches[place];
      if (stretch === undefined || stretch[1] - stretch[0] < 2) return [];
      const buttons = texts.slice(...stretch).map((text, at) => {
        const button = el("button", { type: "button", class: "plain", "aria-pressed": String(at === Math.min(chosen, stretch[1] - stretch[0] - 1)) }, tokenText(visibleText(text)));
        button.addEventListener("click", () => choose(at));
        return button;
      });
      return [el("div", {}, "a score is of one token each: ", ...buttons)];
    };
    const texts = ({ tokens }: { tokens: readonly { text: string }[] }): string[] => tokens.map(({ text }) => text);
    this.pieces.replaceChildren(
      ...line(scene.queries, scene.chosen.row, texts(queriesOf(scene)), piece[0], (at) => this.onChange({ piece: [at, piece[1]] })),
      ...line(scene.keys, scene.chosen.column, texts(keysOf(scene)), piece[1], (at) => this.onChange({ piece: [piece[0], at] })),
    );
  }
}

/** The two tokens whose score is shown; null where no cell is chosen. */
export function pairOf({ queries, keys, chosen }: Scene, piece: readonly [number, number]): [number, number] | null {
  const [query, key] = [queries.stretches[chosen.row ?? -1], keys.stretches[chosen.column ?? -1]];
  if (query === undefined || key === undefined) return null;
  return [Math.min(query[0] + piece[0], query[1] - 1), Math.min(key[0] + piece[1], key[1] - 1)];
}

/** The terms of the product, by dimension; none where query and key are not there. */
export function termsOf({ query, key }: Terms): Term[] {
  if (query === null || key === null) return [];
  return [...query].map((ofQuery, dimension) => ({ dimension, query: ofQuery, key: key[dimension]!, product: ofQuery * key[dimension]! }));
}

/** The largest in size first; equals by dimension. */
export function bySize(terms: readonly Term[]): Term[] {
  return [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product) || a.dimension - b.dimension);
}

/** The way from the product to the weight; steps that change nothing are left out. */
export function stepsOf(terms: Terms): Step[] {
  const { query, key, scale, softcap, bias, score, lse, digits, masked, weight } = terms;
  const steps: Step[] = [];
  const number = (value: number): string => signed(value, digits + 1);
  if (query !== null && key !== null) {
    const product = termsOf(terms).reduce((sum, term) => sum + term.product, 0);
    let value = product * scale;
    steps.push({ name: "q · k", formula: `the sum of ${query.length} terms`, value: number(product) });
    steps.push({ name: "scaled", formula: `× ${short(scale)}`, value: number(value) });
    if (softcap !== null) {
      value = softcap * Math.tanh(value / softcap);
      steps.push({ name: "soft cap", formula: `${short(softcap)} · tanh(score ÷ ${short(softcap)})`, value: number(value) });
    }
  }
  if (bias !== 0 && bias > -Infinity) steps.push({ name: "position", formula: "what the bias adds", value: `${bias > 0 ? "+ " : "− "}${signed(Math.abs(bias), digits + 1)}` });
  if (masked) steps.push({ name: "mask", formula: "the query may not look there", value: "−∞" });
  if (score !== null) steps.push({ name: "score", formula: "", value: signed(score, digits) });
  if (score !== null && lse !== null) steps.push({ name: "softmax", formula: `exp(score − ${signed(lse, digits)}), the log-sum-exp of the row`, value: formatWeight(weight) });
  else steps.push({ name: "weight", formula: score === null && !masked ? "its score is not known" : "", value: formatWeight(weight) });
  return steps;
}

/** How few terms make most of the sum. */
export function noteOf(sorted: readonly Term[]): string {
  const size = sorted.reduce((sum, { product }) => sum + Math.abs(product), 0);
  if (!(size > 0)) return "All terms are 0.";
  let [n, reached] = [0, 0];
  while (n < sorted.length && reached < 0.8 * size) reached += Math.abs(sorted[n++]!.product);
  const of = (sign: number): string => signed(sorted.reduce((sum, { product }) => sum + (Math.sign(product) === sign ? product : 0), 0), 2);
  return `${n} of ${sorted.length} terms make ${Math.round((100 * reached) / size)} % of the sum of sizes; those that raise the score sum to ${of(1)}, those that lower it to ${of(-1)}. Query and key are as their head multiplies them: turned by their positions, where the model does that.`;
}

function stepOf({ name, formula, value }: Step): HTMLElement {
  return el("li", {}, el("span", { class: "name" }, name), el("span", { class: "formula" }, formula), el("span", { class: "value" }, value));
}

/** Three strips, one above the other: queries, keys, and their products as bars from a middle line. */
function chartOf(terms: readonly Term[]): Node[] {
  const step = Math.max(NARROWEST, Math.min(26, Math.floor(760 / terms.length)));
  const width = terms.length * step;
  const top = terms.reduce((most, { product }) => Math.max(most, Math.abs(product)), 0) || 1;
  const topOf = (side: "query" | "key"): number => terms.reduce((most, term) => Math.max(most, Math.abs(term[side])), 0) || 1;
  const total = HEIGHT + 48;
  const drawing = svg("svg", { width, height: total, viewBox: `0 0 ${width} ${total}`, role: "img", "aria-label": "terms of the product as bars; the largest are listed below" });
  const rect = (x: number, y: number, height: number, fill: string): SVGElement => svg("rect", { x, y, width: Math.max(1, step - 1), height, fill });
  terms.forEach((term, place) => {
    const group = svg("g", {});
    const title = svg("title", {});
    title.textContent = `dimension ${term.dimension}: ${signed(term.query, 3)} × ${signed(term.key, 3)} = ${signed(term.product, 3)}`;
    const x = place * step;
    const bar = (Math.abs(term.product) / top) * (HEIGHT / 2 - 2);
    const hit = svg("rect", { x, y: 0, width: step, height: total, class: "hit" });
    group.append(
      title,
      hit,
      rect(x, 0, 18, cssColour(fraction(term.query, topOf("query"), "linear", "either"), "either")),
      rect(x, 20, 18, cssColour(fraction(term.key, topOf("key"), "linear", "either"), "either")),
      rect(x, 44 + HEIGHT / 2 - (term.product > 0 ? bar : 0), Math.max(0.5, bar), cssColour(term.product > 0 ? 0.85 : 0.15, "either")),
    );
    drawing.append(group);
  });
  drawing.append(svg("line", { x1: 0, x2: width, y1: 44 + HEIGHT / 2, y2: 44 + HEIGHT / 2, class: "zero" }));
  const labels = el("div", { class: "strip-names", "aria-hidden": "true" }, el("span", {}, "q"), el("span", {}, "k"), el("span", {}, "q × k"));
  const colours = el("figcaption", { class: "caption" }, `Blue is negative, orange positive: q up to ±${short(topOf("query"))}, k up to ±${short(topOf("key"))}, terms up to ±${short(top)}.`);
  return [el("div", { class: "strips" }, labels, el("div", { class: "scrolled", tabindex: 0, role: "group", "aria-label": "the bars, to be scrolled" }, drawing)), colours];
}

function listOf(terms: readonly Term[]): Node[] {
  const cells = (tag: "th" | "td", words: string[]): HTMLElement => el("tr", {}, ...words.map((word) => el(tag, tag === "th" ? { scope: "col" } : {}, word)));
  return [
    el("caption", {}, `the ${terms.length} largest terms`),
    el("thead", {}, cells("th", ["dimension", "q", "k", "q × k"])),
    el("tbody", {}, ...terms.map(({ dimension, query, key, product }) => cells("td", [String(dimension), signed(query, 3), signed(key, 3), signed(product, 3)]))),
  ];
}

/** A number with so many digits after its point, and a minus sign that is one. */
export function signed(number: number, digits: number): string {
  const text = Math.abs(number).toFixed(digits);
  return number < 0 && Number(text) !== 0 ? `−${text}` : text;
}

function short(number: number): string {
  return String(Number(number.toPrecision(4)));
}

/** The words as a sentence, with its end. */
function sentenceOf(words: string): string {
  return sentenceCase(/[.!?]$/.test(words) ? words : `${words}.`);
}
