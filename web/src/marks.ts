// A picture of the present view as marks, and its two writers: SVG, and pixels on a canvas. No writer knows what attention is.

/** Sizes in CSS pixels, colours as CSS writes them. */
export type Mark =
  | { mark: "rect"; x: number; y: number; width: number; height: number; fill: string }
  | { mark: "text"; x: number; y: number; text: string; size: number; fill: string; anchor: "start" | "middle" | "end"; bold?: boolean; turned?: boolean }
  | { mark: "image"; x: number; y: number; width: number; height: number; pixels: HTMLCanvasElement }
  | { mark: "path"; d: string; x: number; y: number; fill: string | null; stroke: string | null; width: number; opacity: number }
  | { mark: "line"; points: [number, number, number, number]; stroke: string; width: number; opacity: number; dashed?: boolean };

export interface Picture {
  width: number;
  height: number;
  title: string;
  marks: Mark[];
}

export const FONT = "Inter, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif";
/** Lengths of dashes and of gaps between them. */
const DASHES = [5, 4];
const SVG = "http://www.w3.org/2000/svg";
/** The longest side of a PNG, in pixels. */
const LONGEST = 8192;

/** The picture as a file of its own. */
export function svgOf({ width, height, title, marks }: Picture): string {
  // a document that is shown nowhere loads nothing
  const file = document.implementation.createDocument(SVG, "svg", null);
  const add = ({ tag, attributes, text }: Tagged): void => {
    const element = file.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, typeof value === "number" ? String(round(value)) : value);
    if (text !== undefined) element.textContent = text;
    file.documentElement.append(element);
  };
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT })) file.documentElement.setAttribute(name, String(value));
  add({ tag: "title", attributes: {}, text: title });
  for (const mark of marks) add(taggedOf(mark));
  return `${new XMLSerializer().serializeToString(file)}\n`;
}

/** An element of SVG. */
interface Tagged {
  tag: string;
  attributes: Record<string, string | number>;
  text?: string;
}

function taggedOf(mark: Mark): Tagged {
  switch (mark.mark) {
    case "rect": {
      const { x, y, width, height, fill } = mark;
      return { tag: "rect", attributes: { x, y, width, height, fill } };
    }
    case "image": {
      const { x, y, width, height } = mark;
      return { tag: "image", attributes: { x, y, width, height, preserveAspectRatio: "none", "image-rendering": "pixelated", href: mark.pixels.toDataURL() } };
    }
    case "path": {
      const { d, x, y, fill, stroke, width, opacity } = mark;
      return { tag: "path", attributes: { d, transform: `translate(${round(x)} ${round(y)})`, fill: fill ?? "none", stroke: stroke ?? "none", "stroke-width": width, opacity } };
    }
    case "line": {
      const { stroke, width, opacity } = mark;
      const ends: Record<string, string> = mark.dashed ? { "stroke-dasharray": DASHES.join(" ") } : { "stroke-linecap": "round" };
      return { tag: "path", attributes: { d: pathOf(mark.points), fill: "none", stroke, "stroke-width": width, "stroke-opacity": opacity, ...ends } };
    }
    case "text": {
      const { x, y, size, fill, anchor } = mark;
      const turned: Record<string, string> = mark.turned ? { transform: `rotate(-90 ${round(x)} ${round(y)})` } : {};
      const bold: Record<string, string> = mark.bold ? { "font-weight": "700" } : {};
      return { tag: "text", attributes: { x, y, "font-size": size, fill, "text-anchor": anchor, "xml:space": "preserve", ...bold, ...turned }, text: mark.text };
    }
  }
}

/** The picture as pixels, two for each of its own as long as that is not too many. */
export function pixelsOf(picture: Picture): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const ratio = Math.min(2, LONGEST / Math.max(picture.width, picture.height));
  canvas.width = Math.ceil(picture.width * ratio);
  canvas.height = Math.ceil(picture.height * ratio);
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = false;
  for (const mark of picture.marks) paint(context, mark);
  return canvas;
}

/** The pixels of an image on the page, as large as they are, through a filter. */
export function pixelsOfImage(image: HTMLImageElement, filter: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d")!;
  context.filter = filter;
  context.drawImage(image, 0, 0);
  return canvas;
}

function paint(context: CanvasRenderingContext2D, mark: Mark): void {
  context.save();
  switch (mark.mark) {
    case "rect":
      context.fillStyle = mark.fill;
      context.fillRect(mark.x, mark.y, mark.width, mark.height);
      break;
    case "image":
      context.drawImage(mark.pixels, mark.x, mark.y, mark.width, mark.height);
      break;
    case "path":
      context.translate(mark.x, mark.y);
      context.globalAlpha = mark.opacity;
      if (mark.fill !== null) fill(context, mark.d, mark.fill);
      if (mark.stroke !== null) stroke(context, mark.d, mark.stroke, mark.width);
      break;
    case "line":
      context.globalAlpha = mark.opacity;
      context.lineCap = mark.dashed ? "butt" : "round";
      context.setLineDash(mark.dashed ? DASHES : []);
      stroke(context, pathOf(mark.points), mark.stroke, mark.width);
      break;
    case "text":
      context.translate(mark.x, mark.y);
      if (mark.turned) context.rotate(-Math.PI / 2);
      context.font = `${mark.bold ? 700 : 400} ${mark.size}px ${FONT}`;
      context.fillStyle = mark.fill;
      context.textAlign = ({ start: "left", middle: "center", end: "right" } as const)[mark.anchor];
      context.fillText(mark.text, 0, 0);
  }
  context.restore();
}

function fill(context: CanvasRenderingContext2D, d: string, colour: string): void {
  context.fillStyle = colour;
  context.fill(new Path2D(d));
}

function stroke(context: CanvasRenderingContext2D, d: string, colour: string, width: number): void {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(new Path2D(d));
}

/** From one side to the other, level at both ends. */
function pathOf([x0, y0, x1, y1]: [number, number, number, number]): string {
  const middle = (share: number): number => round(x0 + (x1 - x0) * share);
  return `M${round(x0)} ${round(y0)}C${middle(0.4)} ${round(y0)} ${middle(0.6)} ${round(y1)} ${round(x1)} ${round(y1)}`;
}

function round(number: number): number {
  return Math.round(number * 100) / 100;
}
