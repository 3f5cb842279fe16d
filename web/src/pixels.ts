// A tile as pixels, a pixel a value, and ink that is read on a colour.

import { colourAt } from "./colour.ts";
import type { Colours } from "./colours.ts";
import type { Tile } from "./source.ts";

/** Colours are told apart in so many steps; the last is for what is not a number. */
const STEPS = 254;

/** The tile on a canvas of its own size; what is masked is see-through. */
export function paintTile(tile: Tile, colours: Colours, canvas = document.createElement("canvas")): HTMLCanvasElement {
  const [width, height] = [Math.max(1, tile.width), Math.max(1, tile.height)];
  if (canvas.width !== width || canvas.height !== height || tile.values.length === 0) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (context === null || tile.values.length === 0) return canvas;
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const palette = paletteOf(colours);
  const { values, masked } = tile;
  const isPlain = colours.signs === "positive" && colours.scale !== "log" && colours.top > 0;
  for (let place = 0; place < values.length; place++) {
    if (masked[place] === 1) continue;
    const value = values[place]!;
    // what `at` gives, without its questions: there are many pixels
    const at = isPlain && value >= 0 && value < Infinity ? Math.min(1, value / colours.top) : colours.at(value);
    pixels[place] = palette[Number.isNaN(at) ? STEPS + 1 : Math.round(at * STEPS)]!;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const palettes = new Map<string, Uint32Array>();

function paletteOf({ signs }: Colours): Uint32Array {
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
