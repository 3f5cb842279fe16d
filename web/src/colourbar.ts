// The colour bar: the colours, what they stand for, and what a missing colour means.

import { cssColour, ticks, type Scale } from "./colour.ts";
import { el } from "./dom.ts";

export class ColourBar {
  readonly element = el("figure", { class: "colour-bar" });
  private ticks = el("div", { class: "ticks" });
  private name = el("figcaption");
  /** What the colours stand for. */
  said = "";

  constructor() {
    const ramp = el("div", { class: "ramp", "aria-hidden": "true" });
    const stops = Array.from({ length: 33 }, (_, i) => cssColour(i / 32));
    ramp.style.backgroundImage = `linear-gradient(to right, ${stops.join(", ")})`;
    this.element.append(this.name, el("div", { class: "scale" }, ramp, this.ticks));
  }

  update(top: number, scale: Scale, range: "shared" | "own", fractions: Float32Array): void {
    const whose = scale === "row" ? "share of the row's largest weight" : `weight, ${range === "shared" ? "scale shared by all heads of this kind" : "this head's own scale"}`;
    const log = scale === "log" ? ", logarithmic" : "";
    this.said = `${whose}${log}`;
    this.name.replaceChildren(this.said);
    if (fractions.includes(-1)) this.name.append(el("span", { class: "masked-key" }, "masked"));
    if (fractions.some(Number.isNaN)) this.name.append(el("span", { class: "masked-key broken" }, "not a number"));
    this.ticks.replaceChildren(
      ...ticks(top, scale).map(({ at, label }) => {
        const tick = el("span", { class: "tick" }, label);
        tick.style.left = `${at * 100}%`;
        return tick;
      }),
    );
  }
}
