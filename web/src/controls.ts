// The switches: which view, how maps are drawn, what of the text is shown.

import { el } from "./dom.ts";
import { isPieceOf, isPunctuation, segmentsOf } from "./look.ts";
import type { Model } from "./model.ts";
import { partName } from "./said.ts";
import type { State } from "./state.ts";
import { VIEWS } from "./views/list.ts";
import type { ViewOf } from "./views/view.ts";

/** Fields of which one of several values is chosen. */
type Choice = "view" | "quantity" | "scale" | "range" | "pool" | "words" | "rows" | "from" | "to";
/** What is hidden or shown. */
type Hidden = "special" | "punctuation" | "first" | "silence";

const CHOICES: { name: Choice; title: string; options: [string, string][] }[] = [
  { name: "quantity", title: "numbers", options: [] },
  { name: "scale", title: "scale", options: [["linear", "linear"], ["log", "log"], ["row", "row"], ["rank", "rank"]] },
  { name: "range", title: "range", options: [["shared", "shared"], ["own", "own"]] },
  { name: "pool", title: "pixels are", options: [["max", "largest"], ["mean", "mean"]] },
  { name: "words", title: "tokens", options: [["pieces", "pieces"], ["merged", "words"]] },
  { name: "rows", title: "rows by token", options: [["read", "read"], ["predicted", "predicted"]] },
  { name: "from", title: "queries of", options: [] },
  { name: "to", title: "keys of", options: [] },
];

const HIDDEN: { name: Hidden; title: string }[] = [
  { name: "special", title: "specials" },
  { name: "punctuation", title: "punctuation" },
  { name: "first", title: "first token" },
  { name: "silence", title: "silence" },
];

export class Controls {
  readonly element = el("form", { class: "controls", "aria-label": "how the maps are drawn" });
  /** The views that there are. */
  readonly views = el("form", { class: "views", "aria-label": "view" });
  private groups = new Map<Choice, HTMLFieldSetElement>();
  private hidden = new Map<Hidden, HTMLElement>();
  private hiding = el("fieldset", { class: "ticked" }, el("legend", {}, "hide"));
  private change: (part: Partial<State>) => void;

  constructor(change: (part: Partial<State>) => void) {
    this.change = change;
    for (const form of [this.element, this.views]) form.addEventListener("submit", (event) => event.preventDefault());
    const views = el("fieldset", {}, el("legend", { class: "unseen" }, "view"));
    this.groups.set("view", views);
    this.views.append(views);
    for (const { name, title, options } of CHOICES) {
      const group = el("fieldset", {}, el("legend", {}, title));
      this.fill(group, name, options);
      this.groups.set(name, group);
      this.element.append(group);
    }
    for (const { name, title } of HIDDEN) {
      const input = el("input", { type: "checkbox", name, value: "hide" });
      input.addEventListener("change", () => change({ [name]: input.checked ? "hide" : "show" }));
      const label = el("label", {}, input, el("span", {}, title));
      this.hidden.set(name, label);
      this.hiding.append(label);
    }
    this.element.append(this.hiding);
  }

  update(state: State, model: Model, view: ViewOf): void {
    const tokens = { rows: model.rowTokens(state), columns: model.columnTokens(state) };
    const all = [...tokens.rows, ...tokens.columns];
    const [fromParts, toParts] = [segmentsOf(tokens.rows), segmentsOf(tokens.columns)].map((parts) => (parts.length > 1 && parts.length < 7 ? parts : []));
    const parts = (n: number): [string, string][] => [["", "all"], ...Array.from({ length: n }, (_, part): [string, string] => [String(part), partName(part)])];
    const quantities = model.quantities(state.kind);
    this.offer("view", VIEWS.filter((one) => one.offered(model, state)).map(({ name, title }) => [name, title]));
    this.offer("quantity", quantities.map(({ name, words }) => [name, words]));
    this.offer("from", parts(fromParts!.length));
    this.offer("to", parts(toParts!.length));
    const isShown: Partial<Record<Choice, boolean>> = {
      view: true,
      quantity: quantities.length > 1,
      scale: view.switches.includes("scale"),
      range: view.switches.includes("range"),
      pool: view.switches.includes("pool") && Math.max(tokens.rows.length, tokens.columns.length) > 96,
      words: [tokens.rows, tokens.columns].some((axis) => axis.some((token, index) => index > 0 && isPieceOf(token, axis[index - 1]!))),
      rows: view.switches.includes("rows") && model.predicts(state),
      from: fromParts!.length > 0,
      to: toParts!.length > 0,
    };
    for (const [name, group] of this.groups) {
      group.hidden = isShown[name] !== true;
      const value = name === "view" ? view.name : String(state[name] ?? "");
      for (const input of group.querySelectorAll("input")) input.checked = input.value === value;
    }
    this.groups.get("range")!.disabled = state.scale === "row" || state.scale === "rank";
    const there = {
      special: all.some((token) => token.role !== "text"),
      punctuation: all.some(isPunctuation),
      first: tokens.columns.length > 1,
      silence: all.some((token) => token.silent),
    };
    this.hiding.hidden = !Object.values(there).includes(true);
    for (const [name, label] of this.hidden) {
      label.hidden = !there[name];
      label.querySelector("input")!.checked = state[name] === "hide";
    }
  }

  /** Has a group offer these options. */
  private offer(name: Choice, options: [string, string][]): void {
    const group = this.groups.get(name)!;
    const there = [...group.querySelectorAll("input")].map((input) => input.value);
    if (there.join("\n") !== options.map(([value]) => value).join("\n")) this.fill(group, name, options);
  }

  private fill(group: HTMLFieldSetElement, name: Choice, options: [string, string][]): void {
    for (const label of group.querySelectorAll("label")) label.remove();
    for (const [value, label] of options) {
      const input = el("input", { type: "radio", name, value });
      const taken = name === "from" || name === "to" ? (value === "" ? null : Number(value)) : value;
      input.addEventListener("change", () => this.change({ [name]: taken }));
      group.append(el("label", {}, input, el("span", {}, label)));
    }
  }
}
