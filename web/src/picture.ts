// The present map, or its lines, as a picture to keep: title, labels, cells, colours, and what they stand for.

import type { Colours } from "./colours.ts";
import { FONT, type Mark, type Picture } from "./marks.ts";
import { paintTile } from "./pixels.ts";
import type { Tile } from "./source.ts";
import { byWeight, linesOf, mostSaid, MOST_LINES } from "./views/lines.ts";
import type { Places } from "./views/scene.ts";

/** A map, or a part of one, cell by cell, with its labels. */
export interface ShownMap {
  queries: Places;
  keys: Places;
  /** [queries, keys] */
  weights: Float32Array;
  /** 1 where no query of the row may look at any key of the column. [queries, keys] */
  masked: Uint8Array;
}

/** What is written into the picture. */
export interface Said {
  title: string;
  queries: string;
  keys: string;
  colours: Colours;
  /** What is hidden, or pooled; empty where nothing is. */
  note: string;
}

const [INK, SOFT, PAPER, MASKED, ACCENT] = ["#1d1b24", "#635f6e", "#ffffff", "#eceaf0", "#5b3fa0"];
const SIZE = 12;
const MARGIN = 16;
/** The room of one label across its reading direction. */
const STEP = 14;
/** The longest label, and the least width of a picture. */
const [LONGEST_LABEL, NARROWEST] = [170, 320];
/** Cells of more than so many are pixels of an image. */
const MOST_RECTS = 64 * 64;

/** A map; `tile` is its picture, in pixels no more than its cells. */
export function mapPicture(shown: Omit<ShownMap, "weights" | "masked">, tile: Tile, said: Said): Picture {
  const [n_rows, n_columns] = [shown.queries.labels.length, shown.keys.labels.length];
  const cell = Math.max(1000 / Math.max(1000, n_rows, n_columns), Math.min(32, Math.floor(1000 / Math.max(n_rows, n_columns))));
  const beyond = Math.max(0, (STEP - cell) / 2);
  const axisNames = Math.max(widthOf(`${said.queries} ↓`, 11), widthOf(`${said.keys} →`, 11));
  const left = MARGIN + Math.max(axisNames, longest(shown.queries)) + 8 + beyond;
  const top = MARGIN + 22 + Math.max(30, longest(shown.keys)) + 6;
  const [right, bottom] = [left + n_columns * cell, top + n_rows * cell];
  const width = Math.ceil(Math.max(right + beyond, left + 260, NARROWEST, MARGIN + widthOf(said.title, 15, true)) + MARGIN);
  const bar = colourBar(said, left, bottom + beyond + 18, Math.min(260, width - left - MARGIN));
  const notes = wrapped(said.note, width - 2 * MARGIN).map((line, index): Mark => text(MARGIN, bottom + beyond + 74 + 15 * index, line, "start", SOFT, 11));
  const height = Math.ceil(bottom + beyond + 66 + 15 * notes.length + MARGIN);
  const every = Math.ceil(STEP / cell);
  const marks: Mark[] = [
    { mark: "rect", x: 0, y: 0, width, height, fill: PAPER },
    { ...text(MARGIN, MARGIN + 13, said.title, "start", INK, 15), bold: true },
    text(left - beyond - 8, top - 18, `${said.keys} →`, "end", SOFT, 11),
    text(left - beyond - 8, top - 4, `${said.queries} ↓`, "end", SOFT, 11),
    { mark: "rect", x: left, y: top, width: n_columns * cell, height: n_rows * cell, fill: MASKED },
    ...cells(tile, said.colours, n_columns, n_rows, cell, left, top),
  ];
  shown.queries.labels.forEach((label, row) => {
    if (row % every === 0) marks.push(text(left - beyond - 6, top + (row + 0.5) * cell + 4, short(label), "end", shown.queries.special[row] ? SOFT : INK));
  });
  shown.keys.labels.forEach((label, column) => {
    if (column % every === 0) marks.push({ ...text(left + (column + 0.5) * cell + 4, top - 6, short(label), "start", shown.keys.special[column] ? SOFT : INK), turned: true });
  });
  return { width, height, title: said.title, marks: [...marks, ...bar, ...notes] };
}

/** Lines from queries to keys; those of one query, or of one key, alone where one is chosen. */
export function linesPicture(shown: ShownMap, chosen: { row: number | null; column: number | null }, said: Said, limits: { most: number; least: number }): Picture {
  const [room, step] = [360, 22];
  const n = Math.max(shown.queries.labels.length, shown.keys.labels.length);
  const [left, top] = [MARGIN + Math.max(widthOf(said.queries, 11), longest(shown.queries)) + 8, MARGIN + 50];
  const right = left + room;
  const width = Math.ceil(Math.max(right + 8 + Math.max(widthOf(said.keys, 11), longest(shown.keys)), MARGIN + widthOf(said.title, 15, true)) + MARGIN);
  const tile = { height: shown.queries.labels.length, width: shown.keys.labels.length, values: shown.weights, masked: shown.masked, top: 1, every: 1 };
  const wanted = ({ row, column }: { row: number; column: number }): boolean => (chosen.row === null || chosen.row === row) && (chosen.row !== null || chosen.column === null || chosen.column === column);
  const found = linesOf(tile, limits.most, limits.least, said.colours.numbers).filter(wanted).sort(byWeight);
  const note = `${said.note} ${said.colours.linesSaid(limits.least)}.${mostSaid(found.length)}`.trim();
  const notes = wrapped(note, width - 2 * MARGIN).map((line, index) => text(MARGIN, top + n * step + 24 + 15 * index, line, "start", SOFT, 11));
  const height = Math.ceil(top + n * step + 16 + 15 * notes.length + MARGIN);
  const lines = found.slice(0, MOST_LINES).map(({ row, column, weight }): Mark => {
    const size = said.colours.share(weight);
    return { mark: "line", points: [left, top + (row + 0.5) * step, right, top + (column + 0.5) * step], stroke: ACCENT, width: 0.75 + 4.25 * size, opacity: 0.15 + 0.85 * size, dashed: weight < 0 };
  });
  const labels = (axis: Places, x: number, anchor: "start" | "end"): Mark[] =>
    axis.labels.map((label, place) => text(x, top + (place + 0.5) * step + 4, short(label), anchor, axis.special[place] ? SOFT : INK));
  return {
    width,
    height,
    title: said.title,
    marks: [
      { mark: "rect", x: 0, y: 0, width, height, fill: PAPER },
      { ...text(MARGIN, MARGIN + 13, said.title, "start", INK, 15), bold: true },
      text(left - 8, top - 8, said.queries, "end", SOFT, 11),
      text(right + 8, top - 8, said.keys, "start", SOFT, 11),
      ...lines.reverse(),
      ...labels(shown.queries, left - 8, "end"),
      ...labels(shown.keys, right + 8, "start"),
      ...notes,
    ],
  };
}

function cells(tile: Tile, colours: Colours, n_columns: number, n_rows: number, cell: number, left: number, top: number): Mark[] {
  const isCells = tile.width === n_columns && tile.height === n_rows;
  if (!isCells || tile.values.length > MOST_RECTS || cell < 6) {
    return [{ mark: "image", x: left, y: top, width: n_columns * cell, height: n_rows * cell, pixels: paintTile(tile, colours) }];
  }
  const marks: Mark[] = [];
  tile.values.forEach((value, place) => {
    if (tile.masked[place] === 1) return;
    const [row, column] = [Math.floor(place / n_columns), place % n_columns];
    marks.push({ mark: "rect", x: left + column * cell, y: top + row * cell, width: cell - 1, height: cell - 1, fill: colours.css(value) });
  });
  return marks;
}

/** A picture with what its colours stand for below it. */
export function withColourBar(picture: Picture, colours: Colours): Picture {
  const [x, y] = [MARGIN, picture.height + 4];
  const width = Math.max(picture.width, Math.ceil(2 * MARGIN + widthOf(colours.said(), 11)));
  const height = picture.height + 36 + MARGIN;
  const sheet: Mark = { mark: "rect", x: 0, y: 0, width, height, fill: PAPER };
  return { ...picture, width, height, marks: [sheet, ...picture.marks, ...colourBar({ colours }, x, y, Math.min(260, width - 2 * MARGIN))] };
}

function colourBar({ colours }: Pick<Said, "colours">, x: number, y: number, width: number): Mark[] {
  const n = 64;
  const ramp = Array.from({ length: n }, (_, i): Mark => ({ mark: "rect", x: x + (i * width) / n, y: y + 6, width: width / n + 0.5, height: 9, fill: colours.cssAt(i / (n - 1)) }));
  const labels = colours.ticks().map(({ at, label }) => text(x + at * width, y + 28, label, at < 0.05 ? "start" : at > 0.95 ? "end" : "middle", SOFT, 11));
  return [text(x, y, colours.said(), "start", SOFT, 11), ...ramp, ...labels];
}

function text(x: number, y: number, words: string, anchor: "start" | "middle" | "end", fill: string, size = SIZE): Mark & { mark: "text" } {
  return { mark: "text", x, y, text: words, size, fill, anchor };
}

let measuring: CanvasRenderingContext2D | null = null;

function widthOf(words: string, size = SIZE, bold = false): number {
  measuring ??= document.createElement("canvas").getContext("2d")!;
  measuring.font = `${bold ? 700 : 400} ${size}px ${FONT}`;
  return measuring.measureText(words).width;
}

/** The label, cut where it is too long. */
function short(label: string): string {
  if (widthOf(label) <= LONGEST_LABEL) return label;
  const signs = [...label];
  while (signs.length > 1 && widthOf(`${signs.join("")}…`) > LONGEST_LABEL) signs.pop();
  return `${signs.join("")}…`;
}

function longest({ labels }: Places): number {
  return labels.reduce((most, label) => Math.max(most, widthOf(short(label))), 0);
}

function wrapped(words: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of words.split(" ").filter((word) => word !== "")) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && widthOf(longer, 11) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

