// Patches over the picture they were cut from: what a query looks at, or who looks at a patch; and the tokens that have no place in the picture.

import { colourAt, fraction, type Signs } from "../colour.ts";
import type { ItemImage } from "../data.ts";
import { el, tokenText } from "../dom.ts";
import { scaleLine } from "./grid.ts";
import { isSelf, lookOf, placesOfTokens, queriesOf, keysOf, signsOf, wordsOf, writingOf, type Chosen, type Places, type Scene } from "./scene.ts";
import { largestSize } from "../pooling.ts";
import type { Line } from "../source.ts";

/** How strongly colours cover the picture, which is grey below them. */
const COVER = 0.65;

export class ImageView {
  readonly element = el("section", { class: "image-view", "aria-label": "the picture, and what its patches get" });
  onSelect: (chosen: Chosen) => void = () => {};
  private said = el("p", { class: "said", "aria-live": "polite" });
  private pictures = [new Patches("the picture with what its patches get"), new Patches("what the patches get, alone")] as const;
  private others = el("div", { class: "others", role: "group", "aria-label": "tokens that have no place in the picture" });
  private scale = el("div");
  private note = el("p", { class: "caption" });
  private scene: Scene | null = null;
  private image: ItemImage | null = null;

  constructor() {
    this.element.append(this.said, el("div", { class: "pictures" }, ...this.pictures.map(({ element }) => element)), this.others, this.scale, this.note);
    for (const picture of this.pictures) picture.onPatch = (patch) => this.pick(patch);
  }

  async update(scene: Scene, signal: AbortSignal): Promise<void> {
    const image = scene.source.atlas.items[scene.of.item]!.image ?? null;
    [this.scene, this.image] = [scene, image];
    const there = image !== null && scene.of.kind !== "decoder";
    for (const part of [this.scale, this.others, ...this.pictures.map(({ element }) => element)]) part.hidden = !there;
    this.note.textContent = "";
    if (image === null || !there) {
      this.said.textContent = image === null ? "The tokens of this text are no patches of a picture." : "The decoder's own tokens are no patches: choose the encoder, or cross-attention.";
      return;
    }
    const side = shownSide(scene);
    const chosen = side === "keys" ? (scene.chosen.row ?? firstQuery(scene)) : scene.chosen.column!;
    const ask = side === "keys" ? scene.source.row(scene.of, lookOf(scene), chosen, signal) : scene.source.column(scene.of, lookOf(scene), chosen, signal);
    const line = await ask;
    if (!signal.aborted) this.draw(scene, image, side, chosen, line);
  }

  private draw(scene: Scene, image: ItemImage, side: "queries" | "keys", chosen: number, line: Line): void {
    const { atlas } = scene.source;
    const signs = signsOf(atlas, scene.of.quantity);
    const places = patchPlaces(image, scene[side], (side === "keys" ? keysOf(scene) : queriesOf(scene)).tokens.length);
    const values = places.map((place) => (place < 0 || line.masked[place] === 1 ? NaN : line.weights[place]!));
    const top = largestSize(values);
    const scale = scene.scale === "log" ? "log" : "linear";
    const at = values.map((value) => fraction(value, top, scale, signs));
    const framed = this.patchOf(scene, image, side, chosen);
    const other = side === "keys" ? scene.chosen.column : scene.chosen.row;
    const drawn: Drawn = { image, at, signs, framed, other: other === null ? -1 : places.indexOf(other), values, number: writingOf(atlas, scene.of) };
    this.pictures[0].draw(drawn, COVER);
    this.pictures[1].draw(drawn, 1);
    const label = (side === "keys" ? scene.queries : scene.keys).labels[chosen]!;
    this.said.replaceChildren(tokenText(label), side === "keys" ? " looks at what is coloured" : " is looked at by what is coloured", framed < 0 ? "." : "; it is framed.");
    this.fillOthers(scene, side, places, line);
    this.scale.replaceChildren(scaleLine(top, signs, `${wordsOf(atlas, scene.of.quantity)}, up to the largest of the patches`));
    this.note.textContent = noteOf(scene, side, places, line);
  }

  /** The tokens beside the picture, such as CLS, with what they get. */
  private fillOthers(scene: Scene, side: "queries" | "keys", places: readonly number[], line: Line): void {
    const inPicture = new Set(places);
    const number = writingOf(scene.source.atlas, scene.of);
    const buttons = scene[side].labels.flatMap((label, place) => {
      if (inPicture.has(place)) return [];
      const button = el("button", { type: "button", class: "plain" }, tokenText(label), " ", el("span", { class: "value" }, line.masked[place] === 1 ? "masked" : number(line.weights[place]!)));
      button.addEventListener("click", () => this.choose(place));
      return [button];
    });
    this.others.replaceChildren(...(buttons.length === 0 ? [] : ["beside the picture: ", ...buttons.slice(0, 64)]));
  }

  private pick(patch: number): void {
    const { scene, image } = this;
    if (scene === null || image === null) return;
    const side = isSelf(scene) ? "queries" : "keys";
    const places = patchPlaces(image, scene[side], (side === "keys" ? keysOf(scene) : queriesOf(scene)).tokens.length);
    const place = places[patch];
    if (place !== undefined && place >= 0) this.choose(place);
  }

  /** Chooses a query; one that is chosen already is turned round. Under cross-attention a token of the picture is a key. */
  private choose(place: number): void {
    const { scene } = this;
    if (scene === null) return;
    if (!isSelf(scene)) this.onSelect({ row: null, column: place });
    else this.onSelect(scene.chosen.row === place ? { row: null, column: place } : { row: place, column: null });
  }

  /** The patch of a chosen place; −1 where it is none. */
  private patchOf(scene: Scene, image: ItemImage, side: "queries" | "keys", chosen: number): number {
    if (side === "keys" && !isSelf(scene)) return -1;
    const places = side === "keys" ? scene.queries : scene.keys;
    const tokens = side === "keys" ? queriesOf(scene) : keysOf(scene);
    return patchPlaces(image, places, tokens.tokens.length).indexOf(chosen);
  }
}

/** What is drawn of a picture's patches. [rows · columns] each */
interface Drawn {
  image: ItemImage;
  /** Where each stands on the colours. */
  at: readonly number[];
  signs: Signs;
  /** The numbers; NaN of what is hidden or masked. */
  values: readonly number[];
  number: (value: number) => string;
  /** The patch that is asked about, and the chosen one beside it; −1 where it is none. */
  framed: number;
  other: number;
}

/** The picture, or nothing, under the colours of its patches. */
class Patches {
  readonly element: HTMLElement;
  private image = el("img", { alt: "", draggable: "false" });
  private canvas = el("canvas", { "aria-hidden": "true" });
  private marks = el("div", { class: "patch-marks", "aria-hidden": "true" });
  private room = el("div", { class: "patches", role: "application", tabindex: 0, "aria-roledescription": "patches" }, this.image, this.canvas, this.marks);
  private tip = el("figcaption", { class: "caption" });
  private grid = { rows: 1, columns: 1 };
  private at = 0;
  private values: readonly number[] = [];
  private number: (value: number) => string = String;
  onPatch: (patch: number) => void = () => {};

  constructor(name: string) {
    this.element = el("figure", { class: "picture" }, this.room, this.tip);
    this.room.setAttribute("aria-label", `${name}; arrow keys move, Enter chooses a patch`);
    this.room.addEventListener("click", (event) => this.onPatch(this.patchAt(event)));
    this.room.addEventListener("pointermove", (event) => this.say(this.patchAt(event)));
    this.room.addEventListener("keydown", (event) => this.moveByKey(event));
  }

  /** Draws them, covering the picture as strongly as is said; fully, without it. */
  draw({ image, at, signs, values, number, framed, other }: Drawn, cover: number): void {
    this.number = number;
    this.grid = { rows: image.rows, columns: image.columns };
    this.values = values;
    this.at = framed >= 0 ? framed : this.at;
    const [left, top, width, height] = image.seen;
    const whole = cover < 1 && image.src !== "";
    const shape = whole ? image.width / image.height : width / height;
    this.room.style.aspectRatio = String(shape);
    this.element.style.setProperty("--shape", String(shape));
    this.image.hidden = !whole;
    if (whole && this.image.getAttribute("src") !== image.src) this.image.src = image.src;
    this.image.style.filter = "grayscale(1)";
    const box = whole ? [left / image.width, top / image.height, width / image.width, height / image.height] : [0, 0, 1, 1];
    for (const layer of [this.canvas, this.marks]) {
      [layer.style.left, layer.style.top, layer.style.width, layer.style.height] = box.map((share) => `${100 * share!}%`) as [string, string, string, string];
    }
    this.canvas.width = image.columns;
    this.canvas.height = image.rows;
    const context = this.canvas.getContext("2d");
    const pixels = context?.createImageData(image.columns, image.rows);
    at.forEach((share, patch) => {
      if (!Number.isNaN(values[patch]!)) pixels?.data.set([...colourAt(share, signs), Math.round(255 * (whole ? cover : 1))], 4 * patch);
    });
    if (pixels !== undefined) context?.putImageData(pixels, 0, 0);
    this.marks.replaceChildren(...[[framed, "framed"], [other, "other"]].flatMap(([patch, name]) => (typeof patch === "number" && patch >= 0 ? [this.frame(patch, String(name))] : [])));
  }

  private frame(patch: number, name: string): HTMLElement {
    const frame = el("span", { class: name });
    const { rows, columns } = this.grid;
    frame.style.left = `${(100 * (patch % columns)) / columns}%`;
    frame.style.top = `${(100 * Math.floor(patch / columns)) / rows}%`;
    frame.style.width = `${100 / columns}%`;
    frame.style.height = `${100 / rows}%`;
    return frame;
  }

  private say(patch: number): void {
    const value = this.values[patch];
    const [row, column] = [Math.floor(patch / this.grid.columns), patch % this.grid.columns];
    this.tip.textContent = value === undefined ? "" : `patch r${row}c${column}: ${Number.isNaN(value) ? "not shown, or masked" : this.number(value)}`;
  }

  private patchAt(event: MouseEvent): number {
    const box = this.canvas.getBoundingClientRect();
    const { rows, columns } = this.grid;
    const at = (share: number, n: number): number => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
    return at((event.clientY - box.top) / box.height, rows) * columns + at((event.clientX - box.left) / box.width, columns);
  }

  private moveByKey(event: KeyboardEvent): void {
    const { rows, columns } = this.grid;
    const step = { ArrowUp: -columns, ArrowDown: columns, ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") this.onPatch(this.at);
    else if (step === undefined) return;
    event.preventDefault();
    if (step === undefined) return;
    this.at = Math.min(rows * columns - 1, Math.max(0, this.at + step));
    this.marks.querySelector(".cursor")?.remove();
    this.marks.append(this.frame(this.at, "cursor"));
    this.say(this.at);
  }
}

/** Which side the patches are on: keys of the chosen query; queries, where a key alone is chosen in self-attention. Cross-attention has them as keys. */
export function shownSide(scene: Pick<Scene, "of" | "chosen">): "queries" | "keys" {
  return scene.of.kind !== "cross" && scene.chosen.row === null && scene.chosen.column !== null ? "queries" : "keys";
}

/** The place of each patch along an axis; −1 where it is hidden. [rows · columns] */
export function patchPlaces(image: ItemImage, places: Places, n_tokens: number): number[] {
  const all = placesOfTokens(places.stretches, n_tokens);
  return Array.from({ length: image.rows * image.columns }, (_, patch) => all[image.first + patch] ?? -1);
}

/** The weight of places that hold patches, each counted once: tokens that are read as one are one place. */
export function weightOn(places: readonly number[], weights: Float32Array): number {
  return [...new Set(places)].reduce((sum, place) => sum + (place < 0 ? 0 : weights[place]!), 0);
}

/** Where nothing is chosen: the first query, which is CLS where there is one. */
function firstQuery(scene: Scene): number {
  return Math.min(scene.queries.stretches.length - 1, scene.of.kind === "cross" ? Math.max(0, scene.queries.special.indexOf(false)) : 0);
}

function noteOf(scene: Scene, side: "queries" | "keys", places: readonly number[], line: Line): string {
  const turned = isSelf(scene) ? " Choose a patch to see where it looks; once more, and who looks at it." : " Choose a token of the text to see where it looks.";
  if (side === "queries" || scene.of.quantity !== "weight") return turned.trim();
  return `${(100 * weightOn(places, line.weights)).toFixed(1)} % of this query's weight lies on the patches.${turned}`;
}
