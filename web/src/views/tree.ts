// The dependency tree of a sentence over its words, each arc coloured by what the head's map has between the word and the one it depends on.

import { cssColour, fraction } from "../colour.ts";
import type { ItemTree, TreeWord } from "../data.ts";
import { el, svg, tokenText } from "../dom.ts";
import { directionOf, visibleText } from "../text.ts";
import { Choice } from "./choice.ts";
import { scaleLine } from "./grid.ts";
import { everyCell, keysOf, placesOfTokens, queriesOf, signsOf, topOf, wordsOf, writingOf, type Chosen, type Scene } from "./scene.ts";
import type { Look, Stretch, Tile } from "../source.ts";

/** Which way along an arc: from the word to the one it depends on, or back. */
export type Along = "up" | "down";

export interface TreeOptions {
  along: Along;
}

/** An arc: the word, the one it depends on, and what the map has between them. */
export interface Arc {
  word: number;
  head: number;
  relation: string;
  /** NaN where one of them has no tokens, and where the map has none of them. */
  value: number;
  /** Whether the word, as query, has its largest number there. */
  isLargest: boolean;
  /** How many arcs it passes over, counted from 1. */
  height: number;
}

/** Sizes in CSS pixels. */
const [LEVEL, SPACE, BASE, LABEL] = [22, 22, 20, 11];
/** Words at most: the map of words is their number squared. */
const MOST_WORDS = 400;

export class TreeView {
  readonly element = el("section", { class: "tree-view", "aria-label": "dependency tree of the sentence" });
  onSelect: (chosen: Chosen) => void = () => {};
  onChange: (options: Partial<TreeOptions>) => void = () => {};
  private along = new Choice<Along>("weight", [["up", "from a word to its head"], ["down", "from the head to the word"]]);
  private said = el("p", { class: "said" });
  private drawing = el("div", { class: "tree-drawing scrolled", tabindex: 0, role: "group", "aria-label": "the tree, to be scrolled" });
  private scale = el("div");
  private list = el("table", { class: "term-list" });

  constructor() {
    this.element.append(el("div", { class: "choices" }, this.along.element), this.said, this.drawing, this.scale, el("div", { class: "scrolled listing" }, this.list));
    this.along.onChange = (along) => this.onChange({ along });
  }

  async update(scene: Scene, options: TreeOptions, signal: AbortSignal): Promise<void> {
    this.along.set(options.along);
    const item = scene.source.atlas.items[scene.of.item]!;
    const why = whyNot(item.tree, scene);
    for (const part of [this.drawing, this.scale, this.list, this.along.element]) part.hidden = why !== "";
    this.said.textContent = why;
    if (why !== "" || item.tree === undefined) return;
    const { words } = item.tree;
    const { look, placeOf } = lookOfWords(words);
    const n = look.queries.length;
    const tile = await scene.source.tile(everyCell(scene.of, look, [0, n], [0, n]), signal);
    if (signal.aborted) return;
    const arcs = arcsOf(words, placeOf, tile, options.along);
    this.draw(scene, words, arcs, tile);
  }

  private draw(scene: Scene, words: readonly TreeWord[], arcs: readonly Arc[], tile: Tile): void {
    const top = topOf(tile);
    const { atlas } = scene.source;
    const signs = signsOf(atlas, scene.of.quantity);
    const scale = scene.scale === "log" ? "log" : "linear";
    const colour = (value: number): string | null => (Number.isNaN(value) ? null : cssColour(fraction(value, top, scale, signs), signs));
    this.drawing.replaceChildren(this.wordsWith(scene, words, arcs, colour));
    this.scale.replaceChildren(scaleLine(top, signs, `${wordsOf(atlas, scene.of.quantity)} between a word and the one it depends on, the sum over its pieces; up to the largest between any two words`));
    this.said.textContent = countOf(arcs, tile.width);
    this.fillList(words, arcs, writingOf(atlas, scene.of));
  }

  /** The words in a line, each under the middle of its arcs. */
  private wordsWith(scene: Scene, words: readonly TreeWord[], arcs: readonly Arc[], colour: (value: number) => string | null): HTMLElement {
    const rtl = directionOf(words.map(({ text }) => text).join(" ")) === "rtl";
    const widths = words.map(({ text }, word) => Math.max(14 + 9.5 * [...visibleText(text)].length, 30, ...arcs.filter((arc) => arc.word === word && Math.abs(arc.head - word) === 1).map(({ relation }) => 6.5 * relation.length + 8)));
    const width = widths.reduce((sum, one) => sum + one, 0) + SPACE;
    const middles: number[] = [];
    widths.reduce((left, one, word) => {
      middles[word] = rtl ? width - SPACE / 2 - left - one / 2 : SPACE / 2 + left + one / 2;
      return left + one;
    }, 0);
    const height = BASE + LEVEL * (1 + arcs.reduce((most, arc) => Math.max(most, arc.height), 1));
    const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (const arc of [...arcs].sort((a, b) => (Math.abs(a.value) || 0) - (Math.abs(b.value) || 0))) drawing.append(...arcMarks(arc, middles, height, colour(arc.value), writingOf(scene.source.atlas, scene.of)));
    const line = el("div", { class: "tree-words" });
    const places = placesOfTokens(scene.queries.stretches, queriesOf(scene).tokens.length);
    words.forEach(({ text, tokens }, word) => {
      const button = el("button", { type: "button" }, tokenText(visibleText(text)));
      const place = tokens.length === 0 ? -1 : (places[tokens[0]!] ?? -1);
      button.disabled = place < 0;
      button.setAttribute("aria-pressed", String(place >= 0 && (scene.chosen.row === place || (scene.chosen.row === null && scene.chosen.column === place))));
      button.style.left = `${middles[word]!}px`;
      button.addEventListener("click", () => this.onSelect({ row: place, column: null }));
      line.append(button);
    });
    const drawn = el("div", { class: "tree" }, line);
    drawn.prepend(drawing);
    drawn.style.width = `${width}px`;
    return drawn;
  }

  private fillList(words: readonly TreeWord[], arcs: readonly Arc[], number: (value: number) => string): void {
    const header = el("tr", {}, ...["word", "relation", "depends on", "number", ""].map((word) => el("th", { scope: "col" }, word)));
    const rows = arcs.map(({ word, head, relation, value, isLargest }) =>
      el(
        "tr",
        {},
        el("td", {}, tokenText(visibleText(words[word]!.text))),
        el("td", {}, visibleText(relation)),
        el("td", {}, tokenText(visibleText(words[head]!.text))),
        el("td", {}, Number.isNaN(value) ? "masked, or no token" : number(value)),
        el("td", {}, isLargest ? "the word's largest" : ""),
      ),
    );
    this.list.replaceChildren(el("caption", {}, "the arcs"), el("thead", {}, header), el("tbody", {}, ...rows));
  }
}

/** A look in which each word with tokens is a place, in the text's order; and the place of each word, −1 of those without, or with tokens that another has. */
export function lookOfWords(words: readonly TreeWord[]): { look: Look; placeOf: number[] } {
  const stretches: Stretch[] = [];
  const placeOf = words.map(({ tokens }) => {
    const [from, to] = [tokens[0], tokens.at(-1)];
    if (from === undefined || to === undefined || from < (stretches.at(-1)?.[1] ?? 0)) return -1;
    stretches.push([from, to + 1]);
    return stretches.length - 1;
  });
  return { look: { queries: stretches, keys: stretches }, placeOf };
}

/** The arcs of a tree; `tile` has a pixel for each pair of its words' places. */
export function arcsOf(words: readonly TreeWord[], placeOf: readonly number[], tile: Tile, along: Along): Arc[] {
  const cell = (query: number, key: number): number => (query < 0 || key < 0 || tile.masked[query * tile.width + key] === 1 ? NaN : tile.values[query * tile.width + key]!);
  const arcs: Arc[] = [];
  words.forEach(({ head, relation }, word) => {
    if (head === null || head === word || words[head] === undefined) return;
    const [from, to] = along === "up" ? [placeOf[word]!, placeOf[head]!] : [placeOf[head]!, placeOf[word]!];
    const value = cell(from, to);
    const row = from < 0 ? [] : [...tile.values.subarray(from * tile.width, (from + 1) * tile.width)].filter((_, key) => key !== from);
    arcs.push({ word, head, relation, value, isLargest: row.length > 0 && value >= Math.max(...row), height: 0 });
  });
  return withHeights(arcs);
}

/** Arcs are as high as those below them need. */
function withHeights(arcs: Arc[]): Arc[] {
  const ends = ({ word, head }: Arc): [number, number] => [Math.min(word, head), Math.max(word, head)];
  const byLength = [...arcs].sort((a, b) => Math.abs(a.word - a.head) - Math.abs(b.word - b.head) || a.word - b.word);
  for (const arc of byLength) {
    const [left, right] = ends(arc);
    const below = byLength.filter((other) => other !== arc && other.height > 0 && ends(other)[0] < right && ends(other)[1] > left);
    arc.height = 1 + below.reduce((most, other) => Math.max(most, other.height), 0);
  }
  return arcs;
}

/** How often a word looks most at what it depends on, itself left out; and what chance would give among `n_words` that have tokens. */
export function countOf(arcs: readonly Arc[], n_words: number): string {
  const known = arcs.filter(({ value }) => !Number.isNaN(value));
  if (known.length === 0) return "The map has none of the tree's pairs.";
  const n = known.filter(({ isLargest }) => isLargest).length;
  const chance = known.length / Math.max(1, n_words - 1);
  return `${n} of ${known.length} arcs have the largest number of their query, among the other words; by chance about ${chance.toFixed(1)} would.`;
}

function arcMarks(arc: Arc, middles: readonly number[], height: number, colour: string | null, number: (value: number) => string): SVGElement[] {
  const [from, to] = [middles[arc.head]!, middles[arc.word]!];
  const y = height - BASE - LEVEL * arc.height;
  const base = height - 4;
  const bend = Math.min(14, Math.abs(to - from) / 4);
  const step = Math.sign(to - from);
  const [x0, x1] = [from + 5 * step, to];
  const path = `M${x0} ${base}L${x0} ${y + bend}Q${x0} ${y} ${x0 + bend * step} ${y}L${x1 - bend * step} ${y}Q${x1} ${y} ${x1} ${y + bend}L${x1} ${base}`;
  const said = Number.isNaN(arc.value) ? "masked, or no token" : number(arc.value);
  const title = svg("title", {});
  title.textContent = `${arc.relation}: ${said}`;
  const line = svg("path", { d: path, class: colour === null ? "arc unknown" : "arc" });
  if (colour !== null) line.style.stroke = colour;
  const point = svg("path", { d: `M${x1 - 4} ${base - 6}L${x1 + 4} ${base - 6}L${x1} ${base + 1}Z`, class: colour === null ? "point unknown" : "point" });
  if (colour !== null) point.style.fill = colour;
  const under = svg("path", { d: path, class: "arc-edge" });
  const text = svg("text", { x: (x0 + x1) / 2, y: y + LABEL / 2 - 8, "text-anchor": "middle", class: "relation" });
  text.textContent = visibleText(arc.relation);
  const group = svg("g", {});
  group.append(title, under, line, point, text);
  return [group];
}

function whyNot(tree: ItemTree | undefined, scene: Scene): string {
  if (tree === undefined) return "No tree of this text came with the page.";
  const side = tree.of;
  const is = queriesOf(scene) === keysOf(scene) && keysOf(scene) === scene.source.atlas.items[scene.of.item]![side];
  if (!is) return `The tree is of the ${side}: choose the self-attention of the ${side === "source" ? "encoder" : "decoder"}.`;
  return tree.words.length > MOST_WORDS ? `The tree has ${tree.words.length} words; up to ${MOST_WORDS} are drawn.` : "";
}
