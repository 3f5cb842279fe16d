// What can be done with tokens taken together, the spans that there are, and the search for a token.

import { el, tokenText } from "./dom.ts";
import type { Axis, Span } from "./look.ts";
import { shortened, visibleText } from "./text.ts";
import type { State } from "./state.ts";

/** Tokens taken together, of one of the texts. */
export interface Taken {
  of: "source" | "target";
  /** Tokens, from the first to before the second. */
  from: number;
  to: number;
  n: number;
}

export class TextTools {
  readonly element = el("div", { class: "text-tools" });
  private seek = el("input", { type: "search", placeholder: "find token", "aria-label": "find a token; Enter goes to the next" });
  private found = el("output", { class: "found-count" });
  private take = el("span", { class: "take", role: "group", "aria-label": "tokens taken together" });
  private spans = el("span", { class: "spans", role: "group", "aria-label": "spans" });
  private name = el("input", { type: "text", placeholder: "name", "aria-label": "name of the span", maxlength: 80 });
  private change: (part: Partial<State>) => void;
  private zoom: (taken: Taken) => void;

  /** `next` goes to the next token that is found, or back; `zoom` shows what is taken alone. */
  constructor(change: (part: Partial<State>) => void, next: (step: 1 | -1) => void, zoom: (taken: Taken) => void) {
    [this.change, this.zoom] = [change, zoom];
    this.element.append(this.seek, this.found, this.take, this.spans);
    this.seek.addEventListener("input", () => change({ seek: this.seek.value }));
    this.seek.addEventListener("keydown", (event) => {
      if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") change({ seek: "" });
    });
  }

  focus(): void {
    this.seek.focus();
  }

  /** Shows the spans of the state, and how many tokens are found. */
  update(state: State, n_found: number, label: (span: Span) => string): void {
    if (document.activeElement !== this.seek || this.seek.value !== state.seek) this.seek.value = state.seek;
    this.found.textContent = state.seek.trim() === "" ? "" : n_found === 0 ? "not there" : `${n_found} found`;
    this.spans.replaceChildren(
      ...state.spans.map((span) => {
        const button = el("button", { type: "button", class: "plain", title: "split into its tokens again" }, tokenText(label(span)), el("span", { "aria-hidden": "true" }, " ×"));
        button.addEventListener("click", () => this.change({ spans: state.spans.filter((one) => one !== span) }));
        return button;
      }),
    );
  }

  /** Offers what can be done with tokens that are taken together; asks for the last, where one is held alone. */
  offer(taken: Taken | null, state: State): void {
    this.take.replaceChildren(taken?.n === 1 ? "touch the last of them" : "");
    if (taken === null || taken.n === 1) return;
    const merge = el("button", { type: "button", class: "plain" }, "read as one");
    const only = el("button", { type: "button", class: "plain" }, "see them alone");
    this.name.value = "";
    const make = (): void => this.change({ spans: withSpan(state.spans, { of: taken.of, from: taken.from, to: taken.to, name: this.name.value.trim() }) });
    merge.addEventListener("click", make);
    this.name.onkeydown = (event) => {
      if (event.key === "Enter") make();
    };
    only.addEventListener("click", () => this.zoom(taken));
    this.take.append(`${taken.n} tokens: `, merge, this.name, only);
  }
}

/** The spans with another, in the text's order; those that it touches give way. */
export function withSpan(spans: readonly Span[], span: Span): Span[] {
  const apart = spans.filter((one) => one.of !== span.of || one.to <= span.from || one.from >= span.to);
  return [...apart, span].sort((a, b) => (a.of === b.of ? a.from - b.from : a.of < b.of ? -1 : 1));
}

/** The places whose label holds the words, whatever their case. */
export function placesWith(axis: Axis, words: string): number[] {
  const wanted = words.trim().toLocaleLowerCase();
  if (wanted === "") return [];
  return axis.labels.flatMap((label, place) => (label.toLocaleLowerCase().includes(wanted) ? [place] : []));
}

/** What a span is called. */
export function spanName(span: Span, text: string): string {
  return shortened(span.name || visibleText(text), 31);
}
