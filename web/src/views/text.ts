// The text itself, each token coloured by what it gets: from the chosen query; of those that look at the chosen key, what they give; where
// nothing is chosen, what each token receives on average. Tokens that are not on screen are neither made nor asked for.

import { el, tokenAt, tokenText } from "../dom.ts";
import { fraction } from "../colour.ts";
import { Choice } from "./choice.ts";
import { gapsOf } from "./gaps.ts";
import { averagedOver, sideOf, stripOf, type Over, type Strip } from "./strip.ts";
import { layerOf } from "../data.ts";
import { largestSize } from "../pooling.ts";
import { directionOf } from "../text.ts";
import { isSelf, keysOf, queriesOf, sampledNote, signsOf, wordsOf, writingOf, written, type Chosen, type Places, type Scene } from "./scene.ts";

export interface TextOptions {
  over: Over;
}

/** Places that are made and asked for at a time. */
const BLOCK = 256;
/** A text of more places has a room of its own, which scrolls. */
const LONG = 600;
/** Up to so many places, all numbers are asked for at once. */
const ALL_AT_ONCE = 2048;

type Side = "queries" | "keys";

/** Consecutive places of a text; empty until it comes near the screen. */
interface Block {
  from: number;
  to: number;
  element: HTMLElement;
  strip: Strip | null;
  isNear: boolean;
}

export class TextView {
  readonly element = el("section", { class: "text-view", "aria-label": "the text, coloured" });
  onSelect: (chosen: Chosen) => void = () => {};
  onChange: (options: Partial<TextOptions>) => void = () => {};
  private over = new Choice<Over>("weights of", [["head", "head"], ["layer", "layer"], ["kind", "all heads"]]);
  private said = el("p", { class: "said", "aria-live": "polite" });
  private number = el("p", { class: "caption number" });
  private scale = el("div", { class: "text-scale" });
  private sheets = new Map<Side, HTMLElement>([["queries", el("div", { class: "flow", role: "group" })], ["keys", el("div", { class: "flow", role: "group" })]]);
  private titles = new Map<Side, HTMLElement>([["queries", el("h3", {})], ["keys", el("h3", {})]]);
  private blocks = new Map<Side, Block[]>();
  private near = new IntersectionObserver((seen) => this.look(seen), { rootMargin: "400px" });
  private scene: Scene | null = null;
  private options: TextOptions = { over: "head" };
  private signal: AbortSignal = new AbortController().signal;
  private built = "";
  private top = 0;
  private cause = new Map<Element, Block>();

  constructor() {
    const sheet = (side: Side): HTMLElement => el("div", { class: `sheet ${side}` }, this.titles.get(side)!, this.sheets.get(side)!);
    this.element.append(el("div", { class: "choices" }, this.over.element), this.said, sheet("queries"), sheet("keys"), this.scale, this.number);
    this.over.onChange = (over) => this.onChange({ over });
    for (const [side, flow] of this.sheets) {
      flow.addEventListener("click", (event) => this.click(side, event));
      flow.addEventListener("keydown", (event) => this.moveByKey(side, event));
      for (const name of ["pointerover", "focusin"] as const) flow.addEventListener(name, (event) => this.say(side, event.target as Element));
    }
  }

  async update(scene: Scene, options: TextOptions, signal: AbortSignal): Promise<void> {
    [this.scene, this.options, this.signal] = [scene, options, signal];
    this.over.set(options.over);
    this.build(scene);
    this.said.replaceChildren(...sentenceOf(scene, options.over));
    this.frame(scene.chosen);
    for (const block of this.all()) block.strip = null;
    await this.readAll(scene, signal);
    await Promise.all(this.all().filter((block) => block.isNear).map((block) => this.fill(block)));
    if (!signal.aborted) await this.reveal(scene.chosen);
  }

  /** Scrolls a long text, and nothing else, to the chosen token. */
  private async reveal({ row, column }: Chosen): Promise<void> {
    for (const [side, blocks] of this.blocks) {
      const flow = this.sheets.get(side)!;
      const place = this.scene !== null && isSelf(this.scene) ? (row ?? column) : side === "queries" ? row : column;
      const block = blocks.find(({ from, to }) => place !== null && place >= from && place < to);
      if (block === undefined || !flow.classList.contains("long")) continue;
      await this.fill(block);
      const token = block.element.querySelector<HTMLElement>(`[data-place="${place}"]`);
      if (token === null) continue;
      const [room, box] = [flow.getBoundingClientRect(), token.getBoundingClientRect()];
      if (box.top < room.top || box.bottom > room.bottom) flow.scrollTop += box.top - room.top - room.height / 3;
    }
  }

  /** The blocks whose numbers are shown, and those that stay without. */
  private all(): Block[] {
    return [...this.blocks.values()].flat();
  }

  /** Numbers of a short text at once; of a long one, how large they are. */
  private async readAll(scene: Scene, signal: AbortSignal): Promise<void> {
    const side = sideOf(scene);
    const n = scene[side].stretches.length;
    if (n === 0) return;
    const strip = await stripOf(scene, this.options.over, [0, n], ALL_AT_ONCE, signal);
    if (signal.aborted) return;
    this.top = largestSize(strip.values);
    this.drawScale(scene, strip);
    if (n > ALL_AT_ONCE) return;
    for (const block of this.blocks.get(this.shownSide(side)) ?? []) {
      block.strip = { values: strip.values.subarray(block.from, block.to), masked: strip.masked.subarray(block.from, block.to), every: strip.every };
      if (block.isNear) this.paint(block);
    }
  }

  /** In self-attention one text stands for both sides. */
  private shownSide(side: Side): Side {
    return this.scene !== null && isSelf(this.scene) ? "keys" : side;
  }

  private build(scene: Scene): void {
    const name = JSON.stringify([scene.of.item, scene.of.kind, scene.predicted, scene.queries.stretches.length, scene.keys.stretches.length, scene.queries.labels.slice(0, 64), scene.keys.labels.slice(0, 64)]);
    if (name === this.built) return;
    this.built = name;
    this.near.disconnect();
    this.cause.clear();
    this.blocks.clear();
    const self = isSelf(scene);
    for (const side of ["queries", "keys"] as const) {
      const sheet = this.sheets.get(side)!;
      const hidden = self && side === "queries";
      sheet.parentElement!.hidden = hidden;
      const name = self ? "text" : side === "queries" ? "queries: target" : "keys: source";
      this.titles.get(side)!.textContent = self ? "" : name;
      sheet.setAttribute("aria-label", `${name}; arrow keys lead from token to token, Enter chooses`);
      if (hidden) continue;
      sheet.dir = directionOf(scene[side].labels.slice(0, 200).join(" "));
      this.blocks.set(side, blocksOf(scene[side]));
      sheet.classList.toggle("long", scene[side].stretches.length > LONG);
      sheet.replaceChildren(...this.blocks.get(side)!.map(({ element }) => element));
      for (const block of this.blocks.get(side)!) {
        this.cause.set(block.element, block);
        this.near.observe(block.element);
      }
    }
  }

  private look(seen: IntersectionObserverEntry[]): void {
    for (const { target, isIntersecting } of seen) {
      const block = this.cause.get(target);
      if (block === undefined) continue;
      block.isNear = isIntersecting;
      if (isIntersecting) void this.fill(block).catch(() => {});
      else this.empty(block);
    }
  }

  /** Makes a block's tokens, and colours them as soon as their numbers are there. */
  private async fill(block: Block): Promise<void> {
    const { scene, signal } = this;
    const side = [...this.blocks].find(([, blocks]) => blocks.includes(block))?.[0];
    if (scene === null || side === undefined) return;
    if (block.element.childElementCount === 0) {
      block.element.replaceChildren(...tokensOf(scene, side, block));
      block.element.style.minHeight = "";
      this.frame(scene.chosen);
    }
    const asked = sideOf(scene);
    if (side !== this.shownSide(asked)) {
      this.paint(block);
      return;
    }
    if (block.strip === null && scene[asked].stretches.length > ALL_AT_ONCE) {
      const strip = await stripOf(scene, this.options.over, [block.from, block.to], BLOCK, signal);
      if (signal.aborted) return;
      block.strip = strip;
    }
    this.paint(block);
  }

  private empty(block: Block): void {
    if (block.element.childElementCount === 0 || block.element.contains(document.activeElement)) return;
    block.element.style.minHeight = `${block.element.offsetHeight}px`;
    block.element.replaceChildren();
  }

  private paint(block: Block): void {
    const { scene, top } = this;
    if (scene === null) return;
    const signs = signsOf(scene.source.atlas, scene.of.quantity);
    const scale = scene.scale === "log" ? "log" : "linear";
    for (const token of block.element.querySelectorAll<HTMLElement>("button")) {
      const at = Number(token.dataset["place"]) - block.from;
      const value = block.strip?.values[at];
      const masked = block.strip?.masked[at] === 1;
      const share = value === undefined || masked ? 0 : fraction(Math.abs(value), top, scale);
      token.style.setProperty("--share", `${(100 * (share || 0)).toFixed(1)}%`);
      token.classList.toggle("negative", signs === "either" && (value ?? 0) < 0);
      token.classList.toggle("positive", signs === "either" && (value ?? 0) > 0);
      token.classList.toggle("masked", masked);
    }
  }

  private drawScale(scene: Scene, strip: Strip): void {
    const signs = signsOf(scene.source.atlas, scene.of.quantity);
    const log = scene.scale === "log" ? ", logarithmic" : "";
    const end = written(this.top, "positive", layerOf(scene.source.atlas, scene.of)?.unit);
    this.scale.replaceChildren(
      el("span", {}, signs === "either" ? `−${end}` : "0"),
      el("span", { class: signs === "either" ? "ramp either" : "ramp", "aria-hidden": "true" }),
      el("span", {}, signs === "either" ? `+${end}` : end),
      el("span", { class: "what" }, `${wordsOf(scene.source.atlas, scene.of.quantity)}, up to the largest here${log}.${sampledNote(strip)}`),
    );
  }

  private frame({ row, column }: Chosen): void {
    if (this.scene === null) return;
    const self = isSelf(this.scene);
    for (const [side, blocks] of this.blocks) {
      const chosen = self ? (row ?? column) : side === "queries" ? row : column;
      const other = self && row !== null ? column : null;
      for (const token of blocks.flatMap(({ element }) => [...element.querySelectorAll<HTMLElement>("button")])) {
        const place = Number(token.dataset["place"]);
        token.setAttribute("aria-pressed", String(place === chosen));
        token.classList.toggle("looked", place === other && place !== chosen);
        token.tabIndex = place === (chosen ?? 0) ? 0 : -1;
      }
    }
  }

  private click(side: Side, event: Event): void {
    const token = (event.target as Element).closest<HTMLElement>("button");
    if (token === null || this.scene === null) return;
    this.onSelect(chosenBy(this.scene, side, Number(token.dataset["place"])));
  }

  private moveByKey(side: Side, event: KeyboardEvent): void {
    const tokens = [...this.sheets.get(side)!.querySelectorAll<HTMLElement>("button")];
    const at = tokens.indexOf(document.activeElement as HTMLElement);
    const forward = this.sheets.get(side)!.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const step = event.key === forward ? 1 : event.key === "ArrowLeft" || event.key === "ArrowRight" ? -1 : 0;
    const to = event.key === "Home" ? 0 : event.key === "End" ? tokens.length - 1 : at + step;
    if (at < 0 || to === at || tokens[to] === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    for (const token of tokens) token.tabIndex = -1;
    tokens[to].tabIndex = 0;
    tokens[to].focus();
  }

  /** Says the number of the token under the pointer, or of the one that has the focus. */
  private say(side: Side, target: Element): void {
    const token = target.closest<HTMLElement>("button");
    const { scene } = this;
    if (token === null || scene === null) return;
    const place = Number(token.dataset["place"]);
    const block = this.blocks.get(side)?.find(({ from, to }) => place >= from && place < to);
    const value = block?.strip?.values[place - block.from];
    if (value === undefined) {
      this.number.textContent = "";
      return;
    }
    const masked = block?.strip?.masked[place - block.from] === 1;
    const said = masked ? "masked" : writingOf(scene.source.atlas, scene.of)(value);
    this.number.replaceChildren(tokenAt(scene[side], place), " ", el("strong", {}, said));
  }
}

/** What a click on a token chooses: in self-attention a query, and one that is chosen already turned round: who looks at it? */
export function chosenBy(scene: Pick<Scene, "of" | "chosen">, side: Side, place: number): Chosen {
  const { row, column } = scene.chosen;
  if (scene.of.kind !== "cross") return row === place ? { row: null, column: place } : row === null && column === place ? { row: null, column: null } : { row: place, column: null };
  if (side === "queries") return row === place && column === null ? { row: null, column: null } : { row: place, column: null };
  return row === null && column === place ? { row: null, column: null } : { row: null, column: place };
}

/** What the colours are, in a sentence. */
function sentenceOf(scene: Scene, over: Over): (Node | string)[] {
  const { row, column } = scene.chosen;
  const averaged = averagedOver(scene, over);
  const note = averaged === "" ? "" : el("strong", { class: "averaged" }, ` ${averaged}`);
  if (row !== null && row < scene.queries.labels.length) return [tokenAt(scene.queries, row), " looks at what is coloured", note, "."];
  if (column !== null && column < scene.keys.labels.length) return [tokenAt(scene.keys, column), " is looked at by what is coloured", note, "."];
  return ["Coloured by what each token receives, the mean over the queries that may look at it", note, ". Choose a token to see where it looks; once more, and who looks at it."];
}

function blocksOf({ stretches }: Places): Block[] {
  return Array.from({ length: Math.ceil(stretches.length / BLOCK) }, (_, index) => {
    const [from, to] = [index * BLOCK, Math.min(stretches.length, (index + 1) * BLOCK)];
    const element = el("div", { class: "block" });
    // about as tall as it will be
    element.style.minHeight = `${Math.ceil((to - from) / 12) * 28}px`;
    return { from, to, element, strip: null, isNear: false };
  });
}

function tokensOf(scene: Scene, side: Side, { from, to }: Block): Node[] {
  const tokens = side === "queries" ? queriesOf(scene) : keysOf(scene);
  const gaps = gapsOf(tokens);
  const { stretches, labels, special } = scene[side];
  const nodes: Node[] = [];
  for (let place = from; place < to; place++) {
    // what a query predicts stands where the token after it does
    const gap = gaps[stretches[place]![0] + (scene.predicted && side === "queries" ? 1 : 0)] ?? " ";
    if (gap === "\n") nodes.push(el("br"));
    else if (gap !== "") nodes.push(document.createTextNode(" "));
    const token = el("button", { type: "button", class: special[place] ? "special" : "", "data-place": place });
    const unknown = scene.predicted && side === "queries" ? undefined : tokens.tokens.slice(...stretches[place]!).find(({ unknown }) => unknown !== undefined)?.unknown;
    if (unknown !== undefined) {
      token.classList.add("unknown");
      token.title = `the vocabulary does not know this; the model reads ${unknown}`;
    }
    // the text itself stands here, the name in the title
    const label = labels[place]!;
    token.append(tokenText(unknown !== undefined && label.endsWith(` ${unknown}`) ? label.slice(0, -unknown.length - 1) : label));
    nodes.push(token);
  }
  return nodes;
}
