// How the numbers of a map become colours: scale, range and sign together, and what a reader is told of it.

import { colourAt, cssColour, fraction, ticks, type Scale, type Signs } from "./colour.ts";
import type { QuantityOf } from "./data.ts";

/** Cells' values to colours. */
export class Ramp {
  readonly scale: Scale;
  readonly signs: Signs;
  /** The number at the strong end; 1 where cells are shares or ranks. */
  readonly top: number;

  /** `top` is the largest size of a number. */
  constructor(scale: Scale, signs: Signs, top: number) {
    this.scale = scale;
    this.signs = signs;
    this.top = scale === "row" || scale === "rank" ? 1 : top;
  }

  /** Whether cells have the same colours by both. */
  equals(other: Colours): boolean {
    return this.scale === other.scale && this.signs === other.signs && this.top === other.top;
  }

  /** Where a cell's value stands on the colours, in 0 ..= 1; NaN where no number. */
  at(value: number): number {
    return fraction(value, this.top, this.scale, this.signs);
  }

  rgb(value: number): readonly [number, number, number] {
    return colourAt(this.at(value), this.signs);
  }

  css(value: number): string {
    return cssColour(this.at(value), this.signs);
  }
}

/** The colours of the present map. */
export class Colours extends Ramp {
  private range: "shared" | "own";
  private quantity: QuantityOf;
  /** The number whose bar is full: 1 of weights, which have no larger one; the largest size of others. */
  readonly full: number;
  /** Which numbers there can be, whatever the scale makes of them. */
  readonly numbers: Signs;

  constructor(scale: Scale, range: "shared" | "own", quantity: QuantityOf, top: number) {
    // ranks have no sign
    super(scale, quantity.signed && scale !== "rank" ? "either" : "positive", top);
    this.range = range;
    this.quantity = quantity;
    this.numbers = quantity.signed ? "either" : "positive";
    this.full = quantity.name === "weight" ? 1 : top || 1;
  }

  /** The size of a number as a share of the one whose bar is full, in 0 ..= 1. */
  share(number: number): number {
    return Math.min(1, Math.abs(number) / this.full);
  }

  /** The colour at a place of the colour bar. */
  cssAt(at: number): string {
    return cssColour(at, this.signs);
  }

  ticks(): { at: number; label: string }[] {
    return ticks(this.top, this.scale, this.signs);
  }

  /** What lines stand for that are as wide and strong as their number, and are drawn from the least on. */
  linesSaid(least: number): string {
    const { name, words, signed } = this.quantity;
    const size = name === "weight" ? "weight, from 0 to 1" : `${words}, up to ${Number(this.full.toPrecision(3))} in size${signed ? "; dashed ones are negative" : ""}`;
    return `A line is as wide and as strong as its ${size}; ${name === "weight" ? "weights" : "numbers"} below ${least} have none`;
  }

  /** What the colours stand for. */
  said(): string {
    const { words, unit } = this.quantity;
    if (this.scale === "rank") return "share of the row's other keys that have less";
    if (this.scale === "row") return `share of the row's largest ${words}`;
    const whose = this.range === "shared" ? "scale shared by all heads of this kind" : "this head's own scale";
    return `${words}${unit === "" ? "" : ` (${unit})`}, ${whose}${this.scale === "log" ? ", logarithmic" : ""}`;
  }
}
