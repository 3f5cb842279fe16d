// What stands along the axes of a map: tokens, words or spans, those hidden left out. Hiding and merging are what attlas::view does,
// and a file of both's results, view.golden.json, holds the two together.

import type { Token } from "./data.ts";
import type { Stretch } from "./source.ts";
import { visibleText } from "./text.ts";

/** Tokens of one text that are read as one place. */
export interface Span {
  of: "source" | "target";
  /** The first token, and the one before which it ends. */
  from: number;
  to: number;
  /** What it is called; empty: by its text. */
  name: string;
}

/** What is shown of an axis. */
export interface LookOptions {
  /** Leave special tokens out. */
  hideSpecial?: boolean;
  /** Leave the silence that was added after a sound out. */
  hideSilence?: boolean;
  /** Leave punctuation out. */
  hidePunctuation?: boolean;
  /** Leave the first token out. */
  hideFirst?: boolean;
  /** Merge the pieces of a word: sum over its keys, mean over its queries. */
  words?: boolean;
  /** Places of their own; they do not overlap, and stand in the text's order. */
  spans?: readonly Span[];
  /** Leave all but these tokens out. */
  only?: Stretch;
}

/** What stands along one axis of the picture. */
export interface Axis {
  labels: string[];
  /** The tokens behind each label. */
  stretches: Stretch[];
  special: boolean[];
  /** The tokens' numbers, where a label alone does not say which it is: "12", "12–14"; empty elsewhere. */
  numbers: string[];
}

/** Axes of more places have a number at each, if any label stands there more than once. */
const LONG = 100;

/** The labels of an axis, and the tokens behind each. */
export function axisOf(tokens: Token[], options: LookOptions): Axis {
  const axis: Axis = { labels: [], stretches: [], special: [], numbers: [] };
  for (const { stretch, name } of placesOf(tokens, options)) {
    const first = tokens[stretch[0]]!;
    if (name === "" && isHidden(first, stretch[0], options)) continue;
    if (options.only !== undefined && (stretch[0] < options.only[0] || stretch[1] > options.only[1])) continue;
    axis.labels.push(visibleText(name === "" ? textOf(tokens.slice(stretch[0], stretch[1])) : name));
    axis.stretches.push(stretch);
    axis.special.push(first.role !== "text" || first.silent === true);
  }
  axis.numbers = numbersOf(axis);
  return axis;
}

/** Numbers for labels that stand there more than once, and on a long axis for all others, too. */
function numbersOf({ labels, stretches }: Axis): string[] {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const isForAll = labels.length > LONG && counts.size < labels.length;
  return labels.map((label, place) => {
    const [from, to] = stretches[place]!;
    return !isForAll && counts.get(label) === 1 ? "" : to - from === 1 ? String(from) : `${from}–${to - 1}`;
  });
}

/** The place whose tokens hold this one; null where it is not shown. */
export function placeAt(axis: Axis, token: number | null): number | null {
  if (token === null) return null;
  const place = firstAfter(axis, token) - 1;
  return place >= 0 && token < axis.stretches[place]![1] ? place : null;
}

/** How many places begin at a token or before it. */
export function firstAfter({ stretches }: Axis, token: number): number {
  let [low, high] = [0, stretches.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stretches[middle]![0] <= token) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The runs of text between special tokens: the sentences of a pair. */
export function segmentsOf(tokens: Token[]): Stretch[] {
  const segments: Stretch[] = [];
  let from: number | null = null;
  tokens.forEach(({ role }, place) => {
    if (role === "text") from ??= place;
    else if (from !== null) {
      segments.push([from, place]);
      from = null;
    }
  });
  if (from !== null) segments.push([from, tokens.length]);
  return segments;
}

/** Whether a token is punctuation and nothing else. */
export function isPunctuation({ text, role }: Token): boolean {
  return role === "text" && /^\s*[\p{P}\p{S}]+\s*$/u.test(text);
}

function isHidden(token: Token, place: number, options: LookOptions): boolean {
  return (
    (options.hideSpecial === true && token.role !== "text") ||
    (options.hideSilence === true && token.silent === true) ||
    (options.hidePunctuation === true && isPunctuation(token)) ||
    (options.hideFirst === true && place === 0)
  );
}

/** Spans, words, and each token outside these on its own. */
function placesOf(tokens: Token[], { words = false, spans = [] }: LookOptions): { stretch: Stretch; name: string }[] {
  const places: { stretch: Stretch; name: string }[] = [];
  let next = 0; // span
  for (let from = 0; from < tokens.length; ) {
    while (next < spans.length && spans[next]!.from < from) next++;
    const span = spans[next];
    if (span !== undefined && span.from === from && span.to <= tokens.length) {
      places.push({ stretch: [from, span.to], name: span.name || textOf(tokens.slice(from, span.to)) });
      from = span.to;
      continue;
    }
    let to = from + 1;
    const first = tokens[from]!;
    while (words && to < tokens.length && isPieceOf(tokens[to]!, first) && to !== span?.from) to++;
    places.push({ stretch: [from, to], name: "" });
    from = to;
  }
  return places;
}

/** Whether a token belongs to the word of another; a word ends where a token of another role begins, whatever number that has. */
export function isPieceOf(token: Token, other: Token): boolean {
  return token.word !== null && token.word === other.word && token.role === other.role;
}

function textOf(pieces: Token[]): string {
  const { whole, silent } = pieces[0]!;
  const isWord = pieces.length > 1 && pieces.every((piece) => isPieceOf(piece, pieces[0]!));
  const text = (isWord ? whole : undefined) ?? pieces.map((piece) => piece.text).join("");
  return silent === true ? `(${text})` : text;
}
