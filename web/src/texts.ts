// The texts as lines of tokens: the chosen query framed, and under each key a bar as tall as its weight.

import { cssColour } from "./colour.ts";
import { el, tokenText } from "./dom.ts";
import type { Axis } from "./view.ts";

/** One line of tokens. */
export class TextLine {
  readonly element: HTMLElement;
  private line = el("div", { class: "line" });
  private chips: HTMLButtonElement[] = [];
  onSelect: (index: number) => void = () => {};
  onHover: (index: number | null) => void = () => {};

  constructor(name: string) {
    this.element = el("div", { class: "text" }, el("h2", {}, name), this.line);
    this.line.addEventListener("pointerleave", () => this.onHover(null));
  }

  /** Fills the line; `chosen` says that its tokens are queries, which can be chosen. */
  fill(axis: Axis, role: "queries" | "keys" | "both" | "idle"): void {
    const queries = role === "queries" || role === "both";
    this.line.dataset["role"] = role;
    this.line.classList.toggle("dense", axis.labels.length > 80);
    this.chips = axis.labels.map((label, index) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" });
      const chip = el("button", { type: "button", class: "chip" }, tokenText(label), el("span", { class: "well", "aria-hidden": "true" }, bar));
      chip.disabled = !queries;
      chip.classList.toggle("special", axis.special[index]!);
      if (queries) {
        chip.addEventListener("click", () => this.onSelect(index));
        chip.addEventListener("pointerenter", () => this.onHover(index));
      }
      return chip;
    });
    this.line.replaceChildren(...this.chips);
  }

  /** Frames the chosen query. */
  frame(query: number | null): void {
    this.chips.forEach((chip, index) => {
      if (!chip.disabled) chip.setAttribute("aria-pressed", String(index === query));
    });
    if (query !== null) this.reveal(this.chips[query]);
  }

  /** Scrolls the line, and nothing else, to a token. */
  private reveal(chip: HTMLElement | undefined): void {
    if (chip === undefined) return;
    const [line, box] = [this.line.getBoundingClientRect(), chip.getBoundingClientRect()];
    this.line.scrollLeft += Math.min(0, box.left - line.left) + Math.max(0, box.right - line.right);
  }

  /** Shows the weights of one query, or none. [n_keys] */
  weigh(weights: Float32Array | null, fractions: Float32Array | null): void {
    this.chips.forEach((chip, index) => {
      const bar = chip.querySelector<HTMLElement>(".bar")!;
      const weight = weights?.[index] ?? 0;
      bar.style.height = `${100 * Math.min(1, Math.max(0, weight))}%`;
      bar.style.backgroundColor = cssColour(Math.max(0, fractions?.[index] ?? 0));
    });
  }
}
