// The switches under the title of a map.

import { el } from "./dom.ts";
import type { State } from "./state.ts";

type Choice = "scale" | "range" | "special" | "silence" | "words" | "rows" | "view";

const GROUPS: { name: Choice; title: string; options: [string, string][] }[] = [
  { name: "view", title: "show as", options: [["map", "map"], ["lines", "lines"]] },
  { name: "scale", title: "scale", options: [["linear", "linear"], ["log", "log"], ["row", "row"]] },
  { name: "range", title: "range", options: [["shared", "shared"], ["own", "own"]] },
  { name: "special", title: "special tokens", options: [["show", "show"], ["hide", "hide"]] },
  { name: "silence", title: "added silence", options: [["hide", "hide"], ["show", "show"]] },
  { name: "words", title: "tokens", options: [["pieces", "pieces"], ["merged", "words"]] },
  { name: "rows", title: "rows named by", options: [["read", "token read"], ["predicted", "token predicted"]] },
];

export class Controls {
  readonly element = el("form", { class: "controls", "aria-label": "how the maps are drawn" });
  private groups = new Map<Choice, HTMLFieldSetElement>();

  constructor(change: (part: Partial<State>) => void) {
    this.element.addEventListener("submit", (event) => event.preventDefault());
    for (const { name, title, options } of GROUPS) {
      const group = el("fieldset", {}, el("legend", {}, title));
      for (const [value, label] of options) {
        const input = el("input", { type: "radio", name, value });
        input.addEventListener("change", () => change({ [name]: value }));
        group.append(el("label", {}, input, el("span", {}, label)));
      }
      this.groups.set(name, group);
      this.element.append(group);
    }
  }

  update(state: State, shown: Partial<Record<Choice, boolean>>): void {
    for (const [name, group] of this.groups) {
      group.hidden = shown[name] === false;
      for (const input of group.querySelectorAll("input")) input.checked = input.value === state[name];
    }
    const range = this.groups.get("range")!;
    range.disabled = state.scale === "row";
  }
}
