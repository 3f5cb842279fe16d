// A sound beside its map: the spectrogram over the columns that its frames are, the weights of the chosen query in time, and added silence marked.

import { cssColour, fraction } from "../colour.ts";
import type { ItemSound } from "../data.ts";
import { Ramp } from "../colours.ts";
import { el, tokenAt } from "../dom.ts";
import { Grid, scaleLine } from "./grid.ts";
import { drawnSoon, keysOf, lookOf, nameOf, pooledNote, signsOf, topOf, wordsOf, writingOf, type Chosen, type Scene } from "./scene.ts";
import { largestSize } from "../pooling.ts";
import type { Line, Tile, TileAsk } from "../source.ts";

/** The longest sides of the map, in pixels; the heights of the parts above it, in CSS pixels. */
const [ROWS, COLUMNS, SPECTRUM, CURVE] = [256, 1024, 96, 54];

export class SoundView {
  readonly element = el("section", { class: "sound-view", "aria-label": "the sound, and what its frames get" });
  onSelect: (chosen: Chosen) => void = () => {};
  private said = el("p", { class: "said", "aria-live": "polite" });
  private spectrum = el("canvas", { class: "spectrum", role: "img", "aria-label": "spectrogram; low pitches below" });
  private curve = el("canvas", { class: "curve", "aria-hidden": "true" });
  private axis = el("div", { class: "time", "aria-hidden": "true" });
  private silence = el("div", { class: "silence" }, el("span", {}, "added silence"));
  private stack = el("div", { class: "sound-stack" }, this.spectrum, this.curve, this.axis, this.silence);
  private grid = new Grid();
  private scale = el("div");
  private note = el("p", { class: "caption" });
  private drawn: { scene: Scene; sound: ItemSound; line: Line | null; top: number } | null = null;

  constructor() {
    this.element.append(this.said, this.stack, this.grid.element, this.scale, this.note);
    this.grid.onSelect = (chosen) => this.onSelect(chosen);
    this.grid.onHover = (cell) => this.say(cell);
    this.stack.addEventListener("click", (event) => {
      const column = this.columnAt(event);
      if (column !== null) this.onSelect({ row: null, column });
    });
    new ResizeObserver(() => this.drawStack()).observe(this.element);
  }

  async update(scene: Scene, signal: AbortSignal): Promise<void> {
    const sound = scene.source.atlas.items[scene.of.item]!.sound;
    const there = sound !== undefined && scene.of.kind !== "decoder";
    for (const part of [this.stack, this.grid.element, this.scale]) part.hidden = !there;
    this.note.textContent = "";
    if (!there) {
      this.said.textContent = sound === undefined ? "The tokens of this text are no frames of a sound." : "The decoder's own tokens are no frames: choose the encoder, or cross-attention.";
      return;
    }
    const [n_rows, n_columns] = [scene.queries.stretches.length, scene.keys.stretches.length];
    const { row } = scene.chosen;
    const line = row === null ? null : await scene.source.row(scene.of, lookOf(scene), row, signal);
    const ask: TileAsk = { of: scene.of, look: lookOf(scene), part: { rows: [0, n_rows], columns: [0, n_columns] }, height: ROWS, width: COLUMNS, pool: "max", values: "number", exact: false };
    await drawnSoon(scene.source, ask, signal, (tile) => this.draw(scene, sound, tile, line));
  }

  private draw(scene: Scene, sound: ItemSound, tile: Tile, line: Line | null): void {
    const { atlas } = scene.source;
    const signs = signsOf(atlas, scene.of.quantity);
    const top = topOf(tile);
    this.drawn = { scene, sound, line, top };
    const rows = scene.of.kind === "encoder" ? { labels: timesOf(scene, sound), special: scene.queries.special, divided: null } : { ...scene.queries, divided: null };
    this.grid.draw({ tile, rows, columns: { ...scene.keys, divided: null }, ramp: new Ramp(scene.scale, signs, top), name: nameOf(atlas, scene.of), columnNames: "none", tall: 380 }, scene.chosen);
    this.scale.replaceChildren(scaleLine(top, signs, `${wordsOf(atlas, scene.of.quantity)}${pooledNote(tile, scene, "largest number")}`));
    this.said.replaceChildren(...(line === null ? ["Choose a row to see its weights in time."] : [tokenAt(scene.queries, scene.chosen.row!), " looks at the sound as the curve says", `; its largest is ${writingOf(atlas, scene.of)(line.weights.reduce((most, weight) => (Math.abs(weight) > Math.abs(most) ? weight : most), 0))}.`]));
    this.note.textContent = silenceNote(scene, sound, line);
    this.drawStack();
  }

  /** Spectrogram, curve and times, over the map's columns. */
  private drawStack(): void {
    const { drawn } = this;
    const width = Math.round(this.grid.width);
    if (drawn === null || width <= 0) return;
    this.stack.style.marginLeft = `${this.grid.indent}px`;
    this.stack.style.width = `${width}px`;
    const { scene, sound, line, top } = drawn;
    const span = secondsOf(scene, sound);
    paintSpectrum(this.spectrum, sound, span, width);
    paintCurve(this.curve, line, top, width, signsOf(scene.source.atlas, scene.of.quantity));
    this.axis.replaceChildren(...ticksOf(span, Math.max(2, Math.floor(width / 52))).map(({ at, label }) => {
      const tick = el("span", {}, label);
      tick.style.left = `${100 * at}%`;
      return tick;
    }));
    const from = sound.silent_from;
    const share = from === null ? 1 : (from - span[0]) / (span[1] - span[0]);
    this.silence.hidden = share >= 1;
    this.silence.style.left = `${100 * Math.max(0, share)}%`;
  }

  private columnAt(event: MouseEvent): number | null {
    const { drawn } = this;
    if (drawn === null) return null;
    const box = this.stack.getBoundingClientRect();
    const n = drawn.scene.keys.labels.length;
    return Math.min(n - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * n)));
  }

  private say(cell: { row: number; column: number } | null): void {
    const { drawn } = this;
    if (drawn === null || cell === null) return;
    const weight = drawn.line !== null && drawn.scene.chosen.row === cell.row ? ` ${writingOf(drawn.scene.source.atlas, drawn.scene.of)(drawn.line.weights[cell.column]!)}` : "";
    this.note.replaceChildren(tokenAt(drawn.scene.queries, cell.row), ` → ${timeOf(drawn.scene, drawn.sound, cell.column)}${weight}`);
  }
}

/** The seconds that the columns cover, from the first to the end of the last. */
export function secondsOf(scene: Pick<Scene, "keys">, { token_seconds }: ItemSound): [number, number] {
  const { stretches } = scene.keys;
  return [(stretches[0]?.[0] ?? 0) * token_seconds, (stretches.at(-1)?.[1] ?? 1) * token_seconds];
}

/** Marks of time, about so many at most: where each stands, in 0 ..= 1. */
export function ticksOf([from, to]: readonly [number, number], most = 8): { at: number; label: string }[] {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30].find((one) => (to - from) / one <= most) ?? 60;
  const ticks = [];
  for (let time = Math.ceil(from / step - 1e-6) * step; time <= to + 1e-6; time += step) ticks.push({ at: (time - from) / (to - from), label: `${Number(time.toFixed(1))} s` });
  return ticks;
}

/** The bytes of base64; none of what is no base64. */
export function bytesOfBase64(base64: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function timesOf(scene: Scene, { token_seconds }: ItemSound): string[] {
  return scene.queries.stretches.map(([from]) => `${(from * token_seconds).toFixed(2)} s`);
}

function timeOf(scene: Scene, { token_seconds }: ItemSound, column: number): string {
  const [from, to] = scene.keys.stretches[column]!;
  return `${(from * token_seconds).toFixed(2)} to ${(to * token_seconds).toFixed(2)} s`;
}

/** What share of the chosen query's weight lies on added silence, shown or hidden. */
function silenceNote(scene: Scene, { silent_from }: ItemSound, line: Line | null): string {
  if (silent_from === null) return "No silence was added.";
  const { tokens } = keysOf(scene);
  const shown = scene.keys.stretches.some(([from]) => tokens[from]!.silent === true);
  const added = `Silence was added from ${silent_from.toFixed(2)} s on${shown ? ", marked above" : ", and is hidden"}.`;
  if (line === null || scene.of.quantity !== "weight") return added;
  const onSilence = shown ? line.weights.reduce((sum, weight, place) => sum + (tokens[scene.keys.stretches[place]![0]]!.silent === true ? weight : 0), 0) : line.removed;
  return `${added} This query gives ${(100 * onSilence).toFixed(1)} % of its weight to ${shown ? "it" : "what is hidden"}.`;
}

function paintSpectrum(canvas: HTMLCanvasElement, sound: ItemSound, [from, to]: readonly [number, number], width: number): void {
  const loudness = bytesOfBase64(sound.loudness); // [n_mels, n_frames]
  canvas.width = Math.max(1, Math.min(width * 2, Math.ceil((to - from) / sound.frame_seconds)));
  canvas.height = sound.n_mels;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${SPECTRUM}px`;
  const context = canvas.getContext("2d");
  const pixels = context?.createImageData(canvas.width, canvas.height);
  if (pixels === undefined || loudness.length < sound.n_mels * sound.n_frames) return;
  for (let x = 0; x < canvas.width; x++) {
    const frame = Math.floor((from + ((to - from) * (x + 0.5)) / canvas.width) / sound.frame_seconds);
    for (let mel = 0; mel < sound.n_mels; mel++) {
      const grey = 255 - (frame < sound.n_frames ? loudness[mel * sound.n_frames + frame]! : 0);
      pixels.data.set([grey, grey, grey, 255], 4 * ((sound.n_mels - 1 - mel) * canvas.width + x));
    }
  }
  context?.putImageData(pixels, 0, 0);
}

/** The chosen query's numbers as bars in time; those below 0 hang. */
function paintCurve(canvas: HTMLCanvasElement, line: Line | null, top: number, width: number, signs: "positive" | "either"): void {
  canvas.hidden = line === null;
  if (line === null) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(CURVE * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${CURVE}px`;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const n = line.weights.length;
  const largest = largestSize(line.weights) || 1;
  const zero = signs === "either" ? canvas.height / 2 : canvas.height;
  line.weights.forEach((weight, place) => {
    const height = (Math.abs(weight) / largest) * (signs === "either" ? zero : canvas.height);
    context.fillStyle = cssColour(fraction(weight, top, "linear", signs), signs);
    const left = (place * canvas.width) / n;
    context.fillRect(left, weight < 0 ? zero : zero - height, Math.max(1, canvas.width / n), height);
  });
}
