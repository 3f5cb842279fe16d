// The texts as lines of tokens: the chosen ones framed, and under each token on the other side a bar as tall as its weight.

import { el, tokenText } from "./dom.ts";
import type { Axis } from "./look.ts";

/** The most tokens that stand there at once. */
const MOST = 1200;

/** One line of tokens. */
export class TextLine {
  readonly element: HTMLElement;
  private line = el("div", { class: "line" });
  private chips: HTMLButtonElement[] = [];
  /** Called when a token is chosen. */
  onSelect: (index: number) => void = () => {};
  onHover: (index: number | null) => void = () => {};

  constructor(name: string) {
    this.element = el("div", { class: "text" }, el("h2", {}, name), this.line);
    this.line.addEventListener("pointerleave", () => this.onHover(null));
    this.line.addEventListener("keydown", (event) => this.moveByKey(event));
  }

  /** Fills the line; its tokens can be chosen unless it is idle. */
  fill(axis: Axis, role: "queries" | "keys" | "both" | "idle"): void {
    this.line.dataset["role"] = role;
    this.line.classList.toggle("dense", axis.labels.length > 80);
    this.chips = axis.labels.slice(0, MOST).map((label, index) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" });
      const chip = el("button", { type: "button", class: "chip" }, tokenText(label), el("span", { class: "well", "aria-hidden": "true" }, bar));
      chip.disabled = role === "idle";
      chip.classList.toggle("special", axis.special[index]!);
      chip.addEventListener("click", () => this.onSelect(index));
      chip.addEventListener("pointerenter", () => this.onHover(index));
      return chip;
    });
    const n_more = axis.labels.length - this.chips.length;
    this.line.replaceChildren(...this.chips, n_more > 0 ? el("span", { class: "more" }, `… ${n_more} more`) : "");
  }

  /** Frames the chosen token; as a key with a frame of its own. Arrow keys and Tab lead to it. */
  frame(chosen: number | null, as: "query" | "key"): void {
    this.line.dataset["framed"] = as;
    this.chips.forEach((chip, index) => {
      if (!chip.disabled) chip.setAttribute("aria-pressed", String(index === chosen));
      chip.tabIndex = index === (chosen ?? 0) ? 0 : -1;
    });
    if (chosen !== null) this.reveal(this.chips[chosen]);
  }

  private moveByKey(event: KeyboardEvent): void {
    const at = this.chips.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: this.chips.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const chip = this.chips[to];
    if (chip === undefined) return;
    this.onSelect(to);
    chip.focus();
  }

  /** Scrolls the line, and nothing else, to a token. */
  private reveal(chip: HTMLElement | undefined): void {
    if (chip === undefined) return;
    const [line, box] = [this.line.getBoundingClientRect(), chip.getBoundingClientRect()];
    this.line.scrollLeft += Math.min(0, box.left - line.left) + Math.max(0, box.right - line.right);
  }

  /** Shows the weights that the tokens get from a query or give a key, or none; `colour` says in which colour. [n_tokens] */
  weigh(weights: Float32Array | null, colour: (weight: number) => string, top: number): void {
    this.line.classList.toggle("weighed", weights !== null);
    this.chips.forEach((chip, index) => {
      const bar = chip.querySelector<HTMLElement>(".bar")!;
      const weight = weights?.[index] ?? 0;
      bar.style.height = `${100 * Math.min(1, Math.abs(weight) / top || 0)}%`;
      bar.style.backgroundColor = weights === null ? "" : colour(weight);
    });
  }
}
