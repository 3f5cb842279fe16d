// A view as it stands there, as a picture to keep: its words, filled boxes, drawings and canvases, in the light theme on white.

import { pixelsOfImage, type Mark, type Picture } from "../marks.ts";

/** Around the view, and for its title, in CSS pixels. */
const [MARGIN, TITLE] = [16, 26];
const [INK, PAPER, ACCENT] = ["#1d1b24", "#ffffff", "#5b3fa0"];
/** What only a hand can use. */
const LEFT_OUT = "input, select, label, legend, .choices, .paging, .slide button, .trouble, .picture figcaption";
/** What has a frame, and its colour. */
const FRAMED: readonly (readonly [string, string])[] = [[".ring, .panel-ring, .band, .framed, .other", INK], ['[aria-pressed="true"], .next', ACCENT]];

/** The picture of an element that is on screen. */
export function photographOf(element: HTMLElement, title: string): Picture {
  const { dataset } = document.documentElement;
  const theme = dataset["theme"];
  dataset["theme"] = "light";
  try {
    const box = element.getBoundingClientRect();
    const marks: Mark[] = [];
    new Camera(MARGIN - box.left, MARGIN + TITLE - box.top, marks).take(element);
    // what scrolls sideways on screen stands beside it here
    const right = marks.reduce((most, mark) => Math.max(most, "x" in mark && mark.mark !== "path" ? mark.x + (mark.mark === "text" ? (mark.turned === true ? 0 : mark.text.length * mark.size * 0.62) : mark.width) : 0), MARGIN + box.width);
    const [width, height] = [Math.ceil(right + MARGIN), Math.ceil(box.height + TITLE + 2 * MARGIN)];
    const head: Mark[] = [
      { mark: "rect", x: 0, y: 0, width, height, fill: PAPER },
      { mark: "text", x: MARGIN, y: MARGIN + 12, text: title, size: 15, fill: INK, anchor: "start", bold: true },
    ];
    return { width, height, title, marks: [...head, ...marks] };
  } finally {
    if (theme === undefined) delete dataset["theme"];
    else dataset["theme"] = theme;
  }
}

class Camera {
  private left: number;
  private top: number;
  private marks: Mark[];
  private measure = document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
  private colours = new Map<string, string>();

  /** What is added to places on screen. */
  constructor(left: number, top: number, marks: Mark[]) {
    [this.left, this.top, this.marks] = [left, top, marks];
  }

  take(element: Element): void {
    const style = getComputedStyle(element);
    if (style.display === "none" || style.visibility === "hidden" || style.opacity === "0" || element.matches(LEFT_OUT)) return;
    const box = element.getBoundingClientRect();
    if (element instanceof SVGElement && this.takeDrawing(element, style, box)) return;
    if (element instanceof HTMLCanvasElement) this.image(box, element);
    else if (element instanceof HTMLImageElement && element.naturalWidth > 0) this.image(box, pixelsOfImage(element, style.filter));
    else if (element instanceof HTMLElement) this.fill(box, style);
    for (const child of element.childNodes) {
      if (child instanceof Element) this.take(child);
      else if (child instanceof Text && child.data.trim() !== "") this.write(child, style);
    }
    const frame = FRAMED.find(([selector]) => element.matches(selector));
    if (frame !== undefined && box.width > 0) this.frame(box, frame[1]);
  }

  /** A mark of an SVG drawing; whether it was one. */
  private takeDrawing(element: SVGElement, style: CSSStyleDeclaration, box: DOMRect): boolean {
    const fill = this.colour(style.fill);
    if (element.localName === "rect" && fill !== null) this.rect(box, fill);
    if (element.localName === "line") this.rect(new DOMRect(box.left, box.top, Math.max(1, box.width), Math.max(1, box.height)), this.colour(style.stroke) ?? INK);
    if (element.localName === "path") {
      const room = element.closest("svg")!.getBoundingClientRect();
      const [x, y] = [room.left + this.left, room.top + this.top];
      const stroke = this.colour(style.stroke);
      this.marks.push({ mark: "path", d: element.getAttribute("d") ?? "", x, y, fill, stroke, width: parseFloat(style.strokeWidth), opacity: Number(style.opacity) });
    }
    return ["rect", "line", "path", "title"].includes(element.localName);
  }

  private fill(box: DOMRect, style: CSSStyleDeclaration): void {
    const colour = this.colour(style.backgroundColor);
    if (colour !== null) this.rect(box, colour);
    const stops = style.backgroundImage.startsWith("linear-gradient") ? (style.backgroundImage.match(/(?:rgba?|color)\([^()]*\)/g) ?? []) : [];
    if (stops.length < 2 || style.backgroundImage.startsWith("linear-gradient(-")) return;
    const ramp = document.createElement("canvas");
    [ramp.width, ramp.height] = [128, 1];
    const context = ramp.getContext("2d")!;
    const gradient = context.createLinearGradient(0, 0, 128, 0);
    stops.forEach((stop, place) => gradient.addColorStop(place / (stops.length - 1), stop));
    context.fillStyle = gradient;
    context.fillRect(0, 0, 128, 1);
    this.image(box, ramp);
  }

  /** The words of a text node, line by line. */
  private write(node: Text, style: CSSStyleDeclaration): void {
    const range = document.createRange();
    const size = parseFloat(style.fontSize);
    const common = { mark: "text", size, fill: this.colour(style.color) ?? INK, bold: Number(style.fontWeight) >= 600 } as const;
    if (style.writingMode !== "horizontal-tb") {
      range.selectNodeContents(node);
      const box = (node.parentElement ?? document.body).getBoundingClientRect();
      const text = this.fitted(node.data, box.height, size);
      this.marks.push({ ...common, text, x: box.left + box.width / 2 + size * 0.35 + this.left, y: box.bottom + this.top, anchor: "start", turned: true });
      return;
    }
    let line: { text: string; left: number; bottom: number; room: number } | null = null;
    const clip = node.parentElement!.closest<HTMLElement>(".token, .name, button, td, p") ?? node.parentElement!;
    const put = (): void => {
      if (line !== null && line.text.trim() !== "") this.marks.push({ ...common, text: this.fitted(line.text.trimEnd(), line.room, size), x: line.left + this.left, y: line.bottom - size * 0.27 + this.top, anchor: "start" });
    };
    for (const { 0: word, index } of node.data.matchAll(/\S+\s*|\s+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.trimEnd().length || index + word.length);
      const box = range.getClientRects()[0];
      if (box === undefined) continue;
      if (line !== null && Math.abs(line.bottom - box.bottom) < size / 2) line.text += word;
      else {
        put();
        const room = getComputedStyle(clip).overflowX === "hidden" ? clip.getBoundingClientRect().right - box.left + 1 : Infinity;
        line = { text: word, left: box.left, bottom: box.bottom - (box.height - size * 1.2) / 2, room };
      }
    }
    put();
  }

  /** The text, cut where it is wider than its room. */
  private fitted(text: string, room: number, size: number): string {
    this.measure.font = `${size}px sans-serif`;
    if (room === Infinity || this.measure.measureText(text).width <= room * 1.08) return text;
    const signs = [...text];
    while (signs.length > 1 && this.measure.measureText(`${signs.join("")}…`).width > room) signs.pop();
    return `${signs.join("")}…`;
  }

  private rect({ left, top, width, height }: DOMRect, fill: string): void {
    if (width > 0 && height > 0) this.marks.push({ mark: "rect", x: left + this.left, y: top + this.top, width, height, fill });
  }

  private image({ left, top, width, height }: DOMRect, pixels: HTMLCanvasElement): void {
    if (width > 0 && height > 0 && pixels.width > 0 && pixels.height > 0) this.marks.push({ mark: "image", x: left + this.left, y: top + this.top, width, height, pixels });
  }

  private frame({ left, top, width, height }: DOMRect, fill: string): void {
    const line = 1.5;
    this.rect(new DOMRect(left, top, width, line), fill);
    this.rect(new DOMRect(left, top + height - line, width, line), fill);
    this.rect(new DOMRect(left, top, line, height), fill);
    this.rect(new DOMRect(left + width - line, top, line, height), fill);
  }

  /** A colour as every program reads it, on white; null of none. */
  private colour(css: string): string | null {
    if (css === "none" || css === "transparent" || css === "rgba(0, 0, 0, 0)" || css === "") return null;
    let found = this.colours.get(css);
    if (found === undefined) {
      const { canvas } = this.measure;
      if (canvas.width !== 1) [canvas.width, canvas.height] = [1, 1];
      for (const fill of [PAPER, css]) {
        this.measure.fillStyle = fill;
        this.measure.fillRect(0, 0, 1, 1);
      }
      const [red, green, blue] = this.measure.getImageData(0, 0, 1, 1).data;
      found = `#${[red!, green!, blue!].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
      this.colours.set(css, found);
    }
    return found;
  }
}
