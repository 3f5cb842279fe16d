// The colour bar: the colours, what they stand for, and what a missing colour means.

import type { Colours } from "./colours.ts";
import { el } from "./dom.ts";

export class ColourBar {
  readonly element = el("figure", { class: "colour-bar" });
  private ramp = el("div", { class: "ramp", "aria-hidden": "true" });
  private ticks = el("div", { class: "ticks" });
  private name = el("figcaption");

  constructor() {
    this.element.append(this.name, el("div", { class: "scale" }, this.ramp, this.ticks));
  }

  /** `has` says which cells there are besides numbers. */
  update(colours: Colours, has: { masked: boolean; broken: boolean }): void {
    const stops = Array.from({ length: 33 }, (_, i) => colours.cssAt(i / 32));
    this.ramp.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
    this.name.replaceChildren(colours.said());
    if (has.masked) this.name.append(el("span", { class: "masked-key" }, "masked"));
    if (has.broken) this.name.append(el("span", { class: "masked-key broken" }, "not a number"));
    this.ticks.replaceChildren(
      ...colours.ticks().map(({ at, label }) => {
        const tick = el("span", { class: at > 0.92 ? "tick end" : "tick" }, label);
        tick.style.left = `${at * 100}%`;
        return tick;
      }),
    );
  }
}
