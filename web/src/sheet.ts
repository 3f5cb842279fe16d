// The pictures of all heads on one canvas that lies over their buttons: with a canvas in each button the browser would have as many
// layers, which take longer to put together, at every move of the pointer, than the pictures take to paint.

import type { Colours } from "./colours.ts";
import { el } from "./dom.ts";
import { paintTile } from "./pixels.ts";
import type { Tile } from "./source.ts";

/** A button, and the picture that it shows as soon as there is one. */
export interface Pasted {
  button: HTMLElement;
  painted: { tile: Tile; colours: Colours } | null;
}

/** The most pixels of the sheet; of more heads than these are enough for, pictures are coarser. */
const MOST_PIXELS = 1 << 24;
/** How much of a dimmed picture is seen, and how round corners are, in CSS pixels. */
const [DIMMED, CORNER] = [0.18, 3];

export class Sheet {
  readonly canvas = el("canvas", { class: "pictures", "aria-hidden": "true" });
  /** Where a picture is painted before it is pasted. */
  private easel = document.createElement("canvas");
  private grid: HTMLElement;
  private pasted: () => readonly Pasted[];
  /** Pixels of the canvas in a CSS pixel. */
  private fineness = 1;
  private places = new Map<HTMLElement, { x: number; y: number; width: number; height: number }>();

  /** Over a grid, whose last child the canvas is to be. */
  constructor(grid: HTMLElement, pasted: () => readonly Pasted[]) {
    [this.grid, this.pasted] = [grid, pasted];
    new ResizeObserver(() => this.lay()).observe(grid);
  }

  /** Finds the buttons where they are now, and draws all. */
  lay(): void {
    const { grid } = this;
    const origin = grid.getBoundingClientRect();
    const [left, top] = [origin.left + grid.clientLeft - grid.scrollLeft, origin.top + grid.clientTop - grid.scrollTop];
    this.places.clear();
    let [width, height] = [0, 0];
    for (const { button } of this.pasted()) {
      const box = button.getBoundingClientRect();
      const place = { x: box.left - left, y: box.top - top, width: box.width, height: box.height };
      this.places.set(button, place);
      [width, height] = [Math.max(width, place.x + place.width), Math.max(height, place.y + place.height)];
    }
    this.fineness = Math.min(window.devicePixelRatio, Math.sqrt(MOST_PIXELS / Math.max(1, width * height)));
    this.canvas.width = Math.ceil(width * this.fineness); // which empties it
    this.canvas.height = Math.ceil(height * this.fineness);
    this.canvas.style.width = `${this.canvas.width / this.fineness}px`;
    this.canvas.style.height = `${this.canvas.height / this.fineness}px`;
    // paper is of another width than the screen, and nobody lays the sheet anew for it
    grid.style.setProperty("--on-screen", `${origin.width}px`);
    for (const one of this.pasted()) this.draw(one);
  }

  /** The pixels of a button's picture, at most so many a side. */
  sizeOf(button: HTMLElement, most: number): { width: number; height: number } {
    const { width, height } = button.getBoundingClientRect();
    const pixels = (length: number): number => (length === 0 ? most : Math.max(1, Math.min(most, Math.round(length * this.fineness)))); // not laid out
    return { width: pixels(width), height: pixels(height) };
  }

  /** Draws one picture where its button was last. */
  draw({ button, painted }: Pasted): void {
    const [place, context] = [this.places.get(button), this.canvas.getContext("2d")];
    if (place === undefined || context === null) return;
    const [x, y] = [Math.round(place.x * this.fineness), Math.round(place.y * this.fineness)];
    const [width, height] = [Math.round((place.x + place.width) * this.fineness) - x, Math.round((place.y + place.height) * this.fineness) - y];
    context.clearRect(x, y, width, height);
    if (painted === null || width <= 0 || height <= 0) return;
    context.save();
    context.beginPath();
    context.roundRect(x, y, width, height, CORNER * this.fineness);
    context.clip();
    context.imageSmoothingEnabled = false;
    context.globalAlpha = button.classList.contains("dimmed") ? DIMMED : 1;
    context.drawImage(paintTile(painted.tile, painted.colours, this.easel), x, y, width, height);
    context.restore();
  }
}
