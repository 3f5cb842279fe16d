// The texts as lines of tokens: the chosen ones framed, and under each token on the other side a bar as tall as its weight. Tokens that
// stand beside each other are taken together by dragging over them, with Shift, or by a finger that holds the first and touches the last.

import { beforeFrame, el, tokenText } from "./dom.ts";
import type { Axis } from "./look.ts";
import { isRightToLeft } from "./text.ts";

/** The most tokens that stand there at once. */
const MOST = 1200;

/** How long a finger rests on a token to take it, in ms. */
const HELD = 500;

/** One line of tokens. */
export class TextLine {
  readonly element: HTMLElement;
  private line = el("div", { class: "line", role: "group" });
  private chips: HTMLButtonElement[] = [];
  private axis: Axis | null = null;
  private anchor: number | null = null;
  private range: [number, number] | null = null;
  private dragged = false;
  private framed: number | null = null;
  private revealSoon = beforeFrame(() => this.reveal());
  /** Whether a finger has held a token, so that the next that is touched is the last of those taken. */
  private isHeld = false;
  private holding: ReturnType<typeof setTimeout> | undefined;
  /** Called when a token is chosen. */
  onSelect: (index: number) => void = () => {};
  onHover: (index: number | null) => void = () => {};
  /** Called when several tokens are taken together, from the first to before the second; null when none are. */
  onRange: (range: [number, number] | null) => void = () => {};

  constructor(name: string) {
    this.element = el("div", { class: "text" }, el("h2", {}, name), this.line);
    this.line.setAttribute("aria-label", name);
    this.line.addEventListener("pointerleave", () => this.onHover(null));
    this.line.addEventListener("keydown", (event) => this.moveByKey(event));
    this.line.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      if (this.isHeld) return;
      this.anchor = event.button === 0 ? this.placeUnder(event) : null;
      if (event.pointerType === "touch" && this.anchor !== null) this.hold(this.anchor);
    });
    this.line.addEventListener("pointermove", (event) => {
      const place = event.buttons === 1 && this.anchor !== null && !this.isHeld ? this.placeUnder(event) : null;
      if (place === null || (place === this.anchor && !this.dragged)) return;
      this.dragged = true;
      this.takeRange(this.anchor!, place);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"] as const) this.line.addEventListener(name, () => clearTimeout(this.holding));
    this.line.addEventListener("contextmenu", (event) => {
      if (this.isHeld) event.preventDefault();
    });
  }

  /** Fills the line; its tokens can be chosen unless it is idle. */
  fill(axis: Axis, role: "queries" | "keys" | "both" | "idle"): void {
    if (axis === this.axis && role === this.line.dataset["role"]) return;
    this.axis = axis;
    this.line.dataset["role"] = role;
    this.line.dir = isRightToLeft(axis.labels) ? "rtl" : "ltr";
    // its tokens take no focus, but who has no mouse must scroll it
    this.line.tabIndex = role === "idle" ? 0 : -1;
    this.line.classList.toggle("dense", axis.labels.length > 80);
    [this.anchor, this.range, this.framed] = [null, null, null];
    this.chips = axis.labels.slice(0, MOST).map((label, index) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" });
      const chip = el("button", { type: "button", class: "chip" }, tokenText(label), el("span", { class: "well", "aria-hidden": "true" }, bar));
      chip.disabled = role === "idle";
      chip.title = axis.numbers[index] === "" ? "" : `${label} ${axis.numbers[index]}`;
      chip.classList.toggle("special", axis.special[index]!);
      const [from, to] = axis.stretches[index]!;
      chip.classList.toggle("several", to - from > 1);
      chip.addEventListener("click", (event) => {
        if (this.dragged) return;
        if (this.isHeld) {
          this.isHeld = false;
          this.takeRange(this.anchor!, index);
        } else if (event.shiftKey && this.anchorOf() !== null) this.takeRange(this.anchorOf()!, index);
        else {
          this.dropRange();
          this.onSelect(index);
        }
      });
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
    if (chosen === this.framed) return;
    this.framed = chosen;
    this.revealSoon();
  }

  /** Marks the tokens that are looked for. */
  mark(found: ReadonlySet<number>): void {
    this.chips.forEach((chip, index) => chip.classList.toggle("found", found.has(index)));
  }

  /** Marks the tokens of words that the model does not know. */
  doubt(places: ReadonlySet<number>): void {
    this.chips.forEach((chip, index) => {
      const isNew = places.has(index);
      if (isNew === chip.classList.contains("new")) return;
      chip.classList.toggle("new", isNew);
      const numbered = this.axis!.numbers[index] === "" ? "" : `${this.axis!.labels[index]} ${this.axis!.numbers[index]}`;
      chip.title = [numbered, isNew ? "no word the model knows" : ""].filter((part) => part !== "").join(": ");
    });
  }

  /** Takes the token that a finger rests on, unless it is lifted or scrolls before. */
  private hold(place: number): void {
    clearTimeout(this.holding);
    this.holding = setTimeout(() => {
      if (this.chips[place]?.disabled !== false) return;
      this.isHeld = this.dragged = true; // no click
      this.takeRange(place, place);
    }, HELD);
  }

  /** Lets go of tokens that were taken together. */
  dropRange(): void {
    if (this.range === null) return;
    this.range = null;
    this.isHeld = false;
    for (const chip of this.chips) chip.classList.remove("taken");
    this.onRange(null);
  }

  private takeRange(from: number, to: number): void {
    this.anchor = from;
    this.range = [Math.min(from, to), Math.max(from, to) + 1];
    this.chips.forEach((chip, index) => chip.classList.toggle("taken", index >= this.range![0] && index < this.range![1]));
    this.onRange(this.isHeld || this.range[1] - this.range[0] > 1 ? this.range : null);
  }

  private anchorOf(): number | null {
    const pressed = this.chips.findIndex((chip) => chip.getAttribute("aria-pressed") === "true");
    return this.range !== null ? this.anchor : pressed < 0 ? null : pressed;
  }

  private placeUnder(event: PointerEvent): number | null {
    const chip = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLButtonElement>(".chip");
    const place = chip == null ? -1 : this.chips.indexOf(chip);
    return place < 0 ? null : place;
  }

  private moveByKey(event: KeyboardEvent): void {
    const at = this.chips.indexOf(document.activeElement as HTMLButtonElement);
    const forwards = this.line.dir === "rtl" ? -1 : 1;
    const to = { ArrowLeft: at - forwards, ArrowRight: at + forwards, Home: 0, End: this.chips.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const chip = this.chips[to];
    if (chip === undefined) return;
    if (event.shiftKey) this.takeRange(this.range === null ? at : this.anchor!, to);
    else {
      this.dropRange();
      this.onSelect(to);
    }
    chip.focus();
  }

  /** Scrolls the line, and nothing else, to the framed token. */
  private reveal(): void {
    const chip = this.chips[this.framed ?? -1];
    if (chip === undefined) return;
    const [line, box] = [this.line.getBoundingClientRect(), chip.getBoundingClientRect()];
    this.line.scrollLeft += Math.min(0, box.left - line.left) + Math.max(0, box.right - line.right);
    this.line.scrollTop += Math.min(0, box.top - line.top) + Math.max(0, box.bottom - line.bottom);
  }

  /** Shows the weights that the tokens get from a query or give a key, or none; `colour` says in which colour. [n_tokens] */
  weigh(weights: Float32Array | null, colour: (weight: number) => string, top: number): void {
    this.line.classList.toggle("weighed", weights !== null);
    this.chips.forEach((chip, index) => {
      const bar = chip.querySelector<HTMLElement>(".bar")!;
      const weight = weights?.[index] ?? 0;
      bar.style.transform = `scaleY(${Math.min(1, Math.abs(weight) / top || 0)})`;
      bar.style.backgroundColor = weights === null ? "" : colour(weight);
    });
  }
}
