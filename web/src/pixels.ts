// A tile painted: a pixel a value, or cells apart from each other with their numbers, where they are large enough.

import { colourAt } from "./colour.ts";
import type { Ramp } from "./colours.ts";
import type { Tile } from "./source.ts";
import { formatCell } from "./text.ts";

/** Colours are told apart in so many steps; the last is for what is not a number. */
const STEPS = 254;

/** Cells at least this large are drawn with a gap, and so large with their numbers, in CSS pixels. */
const GAP_FROM = 10;
const NUMBERS_FROM = { width: 34, height: 15 };
/** How strong rows are that are pale. */
const PALE = 0.16;

/** Where on a canvas a tile lies, in its pixels, and how it is painted there. */
export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
  /** Pixels of the canvas to a CSS pixel. */
  ratio: number;
  /** Whether each value is a cell, none a pixel of several. */
  isEach: boolean;
  /** The font of numbers in cells that have room for them; none without one. */
  font?: string;
  /** The layer's unit, in which those numbers are written; 1 where none is said. */
  unit?: number;
  /** How many rows of the tile are strong, those after them pale; all where none is said. */
  strong?: number;
}

/** Paints a tile where it lies; what is masked is see-through. */
export function paintMap(context: CanvasRenderingContext2D, tile: Tile, ramp: Ramp, place: Place): void {
  const { left, top, width, height, ratio, isEach } = place;
  const cell = { x: width / tile.width, y: height / tile.height };
  if (tile.values.length === 0) return;
  if (isEach && Math.min(cell.x, cell.y) >= GAP_FROM * ratio) return paintCells(context, tile, ramp, place, cell);
  const image = paintTile(tile, ramp);
  const strong = Math.min(tile.height, place.strong ?? Infinity);
  context.imageSmoothingEnabled = false;
  if (strong > 0) context.drawImage(image, 0, 0, tile.width, strong, left, top, width, strong * cell.y);
  if (strong === tile.height) return;
  context.globalAlpha = PALE;
  context.drawImage(image, 0, strong, tile.width, tile.height - strong, left, top + strong * cell.y, width, height - strong * cell.y);
  context.globalAlpha = 1;
}

/** Cells with a gap between them; those beyond the canvas are left out. */
function paintCells(context: CanvasRenderingContext2D, tile: Tile, ramp: Ramp, { left, top, ratio, font, unit = 1, strong = Infinity }: Place, cell: { x: number; y: number }): void {
  const hasNumbers = font !== undefined && cell.x >= NUMBERS_FROM.width * ratio && cell.y >= NUMBERS_FROM.height * ratio && ramp.scale !== "row" && ramp.scale !== "rank";
  if (hasNumbers) {
    context.font = `${Math.min(13, (cell.x / ratio) * 0.28) * ratio}px ${font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
  }
  const { width, height } = context.canvas;
  for (let row = Math.max(0, Math.floor(-top / cell.y)); row < tile.height && top + row * cell.y < height; row++) {
    context.globalAlpha = row < strong ? 1 : PALE;
    const [y0, y1] = [Math.round(top + row * cell.y), Math.round(top + (row + 1) * cell.y)];
    for (let column = Math.max(0, Math.floor(-left / cell.x)); column < tile.width && left + column * cell.x < width; column++) {
      const at = row * tile.width + column;
      if (tile.masked[at] === 1) continue; // see-through
      const [x0, x1] = [Math.round(left + column * cell.x), Math.round(left + (column + 1) * cell.x)];
      const value = tile.values[at]!;
      context.fillStyle = ramp.css(value);
      context.fillRect(x0, y0, x1 - x0 - ratio, y1 - y0 - ratio);
      if (!hasNumbers) continue;
      context.fillStyle = inkOn(ramp.rgb(value));
      context.globalAlpha = Math.abs(value) < 0.01 * ramp.top ? 0.65 : 1; // at least 4.5 : 1 on both ends
      context.fillText(formatCell(value, unit), (x0 + x1 - ratio) / 2, (y0 + y1) / 2);
      context.globalAlpha = row < strong ? 1 : PALE;
    }
  }
  context.globalAlpha = 1;
}

/** How a small picture of a map is shaped, as CSS has it: as the map is, but for very long ones. */
export function shapeOf({ width, height }: Pick<Tile, "width" | "height">): string {
  return String(Math.min(3, Math.max(1 / 3, width / Math.max(1, height))) || 1);
}

/** The tile on a canvas of its own size; what is masked is see-through. */
export function paintTile(tile: Tile, ramp: Ramp, canvas = document.createElement("canvas")): HTMLCanvasElement {
  const [width, height] = [Math.max(1, tile.width), Math.max(1, tile.height)];
  if (canvas.width !== width || canvas.height !== height || tile.values.length === 0) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (context === null || tile.values.length === 0) return canvas;
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const palette = paletteOf(ramp);
  const { values, masked } = tile;
  const isPlain = ramp.signs === "positive" && ramp.scale !== "log" && ramp.top > 0;
  for (let place = 0; place < values.length; place++) {
    if (masked[place] === 1) continue;
    const value = values[place]!;
    // what `at` gives, without its questions: there are many pixels
    const at = isPlain && value >= 0 && value < Infinity ? Math.min(1, value / ramp.top) : ramp.at(value);
    pixels[place] = palette[Number.isNaN(at) ? STEPS + 1 : Math.round(at * STEPS)]!;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const palettes = new Map<string, Uint32Array>();

function paletteOf({ signs }: Ramp): Uint32Array {
  let palette = palettes.get(signs);
  if (palette === undefined) {
    const bytes = Uint8Array.from({ length: 4 * (STEPS + 2) }, (_, i) => (i % 4 === 3 ? 255 : colourAt(i >> 2 > STEPS ? NaN : (i >> 2) / STEPS, signs)[i % 4]!));
    palette = new Uint32Array(bytes.buffer);
    palettes.set(signs, palette);
  }
  return palette;
}

/** Black or white, whichever is read better on a colour (WCAG 2.2, relative luminance). */
export function inkOn([red, green, blue]: readonly [number, number, number]): string {
  const linear = (byte: number): number => (byte <= 10 ? byte / 3295 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return luminance > 0.179 ? "#000" : "#fff";
}
