// A choice between a few words, as a row of radio buttons; and a list to choose from where there are many.

import { el } from "../dom.ts";

let n_made = 0;

export class Choice<T extends string> {
  readonly element: HTMLFieldSetElement;
  private inputs: HTMLInputElement[];
  /** Called when another is chosen. */
  onChange: (value: T) => void = () => {};

  /** `options` are values and what they are called. */
  constructor(title: string, options: readonly (readonly [T, string])[]) {
    const name = `choice-${n_made++}`;
    this.element = el("fieldset", { class: "choice" }, el("legend", {}, title));
    this.inputs = options.map(([value, label]) => {
      const input = el("input", { type: "radio", name, value });
      input.addEventListener("change", () => this.onChange(value));
      this.element.append(el("label", {}, input, el("span", {}, label)));
      return input;
    });
  }

  set(value: T): void {
    for (const input of this.inputs) input.checked = input.value === value;
  }
}

export class Picker {
  readonly element: HTMLLabelElement;
  private select: HTMLSelectElement;
  /** Called with the place of what is chosen. */
  onChange: (place: number) => void = () => {};

  constructor(title: string) {
    this.select = el("select", {});
    this.element = el("label", { class: "pick" }, el("span", {}, title), this.select);
    this.select.addEventListener("change", () => this.onChange(Number(this.select.value)));
  }

  /** What there is to choose from; hidden where there is no choice. */
  fill(options: readonly string[], chosen: number): void {
    const same = options.length === this.select.options.length && options.every((text, place) => this.select.options[place]!.text === text);
    if (!same) this.select.replaceChildren(...options.map((text, value) => el("option", { value }, text)));
    this.select.value = String(chosen);
    this.element.hidden = options.length < 2;
  }
}
