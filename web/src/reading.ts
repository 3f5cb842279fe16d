// In words and numbers: the selected cell, and where its query looks, or who looks at its key.

import type { Colours } from "./colours.ts";
import { el, tokenAt, tokenText } from "./dom.ts";
import type { Axes } from "./model.ts";
import { largestSize } from "./pooling.ts";
import { rankSaid } from "./said.ts";
import type { Line } from "./source.ts";
import { formatWeight, sentenceCase } from "./text.ts";
import type { Selection } from "./views/view.ts";

/** How many keys are listed. */
const N_LISTED = 8;

/** What is known about the selection besides its weight. */
export interface Known {
  /** The row of the selected query, or else the column of the selected key. */
  line: Line;
  colours: Colours;
  /** How its numbers are written. */
  write: (number: number) => string;
  /** Null where it is not known, or the cell stands for several tokens. */
  score: { score: number; digits: number } | null;
  /** The token that the row predicts; null where it is not known, or names the row. */
  prediction: string | null;
  /** What the rows are named by. */
  rows: "read" | "predicted";
  /** Whether each cell is a tile, and its number the largest weight in it. */
  tiles: boolean;
  /** What is hidden: "special tokens". */
  hidden: string;
  /** Whether numbers are weights, whose rows have a sum. */
  weigh: boolean;
  /** Whether queries and keys are the same tokens. */
  self: boolean;
}

export class Reading {
  readonly element = el("section", { class: "reading", "aria-label": "the selected query" });
  private sentence = el("p", { id: "reading", class: "sentence", "aria-live": "polite" });
  private list = el("ol", { class: "ranked" });
  private rest = el("p", { class: "caption" });
  private turns = el("div", { class: "turns", role: "group", "aria-label": "whose weights are listed" });
  /** Called when a token of the list, or the other side of the selection, is chosen. */
  onSelect: (selection: Selection) => void = () => {};

  constructor() {
    this.element.append(this.sentence, this.turns, this.list, this.rest);
  }

  /** Says what the selection holds. */
  update(shown: Axes, selection: Selection, known: Known | "not read" | null): void {
    delete this.sentence.dataset["weight"];
    if (known === null || known === "not read") {
      for (const part of [this.list, this.rest, this.turns]) part.replaceChildren();
      this.sentence.replaceChildren(known === null ? "Choose a cell, or a token above, to see where it looks." : "These numbers could not be read.");
      return;
    }
    this.sentence.replaceChildren(...this.sentenceOf(shown, selection, known));
    if (known.rows === "predicted" && selection.row !== null) this.sentence.prepend(el("span", { class: "predicting" }, "predicting "));
    if (known.prediction !== null) {
      this.sentence.append(el("span", { class: "prediction" }, "this row predicts ", tokenText(known.prediction)));
    }
    this.fillTurns(shown, selection, known);
    this.fillList(shown, selection, known);
    const { row, column } = selection;
    const tiles = row === null ? "Largest weights of tiles." : "Largest weights of tiles: a row of them has no sum.";
    this.rest.textContent = known.tiles ? tiles : row === null ? receivedBy(known) : restOf(known, column);
  }

  private sentenceOf(shown: Axes, { row, column }: Selection, { line, write, score, tiles }: Known): (Node | string)[] {
    if (row === null) return ["Who looks at ", tokenAt(shown.keys, column!, "token key"), "?"];
    const query = tokenAt(shown.queries, row, "token query");
    if (column === null) return [query, " looks at:"];
    const weight = line.weights[column]!;
    const key = tokenAt(shown.keys, column, "token key");
    if (line.masked[column] === 1) return [query, " may not look at ", key, " (masked)"];
    this.sentence.dataset["weight"] = String(weight);
    const parts: (Node | string)[] = [query, " → ", key, " ", el("strong", {}, write(weight))];
    if (tiles) parts.push(el("span", { class: "score" }, " at most"));
    if (score !== null) parts.push(el("span", { class: "score" }, ` score ${score.score.toFixed(score.digits)}`));
    return parts;
  }

  /** The other ways to read the selection: where its query looks, who looks at its key. */
  private fillTurns(shown: Axes, { row, column }: Selection, known: Known): void {
    this.turns.replaceChildren();
    const turn = (to: Selection, pressed: boolean, ...words: (Node | string)[]): void => {
      const button = el("button", { type: "button", class: "plain", "aria-pressed": String(pressed) }, ...words);
      button.addEventListener("click", () => this.onSelect(to));
      this.turns.append(button);
    };
    // in self-attention a token stands on both sides, at the same place
    const [query, key] = known.self ? [row ?? column, column ?? row] : [row, column];
    if (query !== null) turn({ row: query, column: null }, column === null, "where ", tokenAt(shown.queries, query), " looks");
    if (key !== null) turn({ row: null, column: key }, row === null, "who looks at ", tokenAt(shown.keys, key));
    this.turns.hidden = this.turns.childElementCount < 2;
  }

  private fillList(shown: Axes, { row, column }: Selection, { line, colours, write }: Known): void {
    const axis = row === null ? shown.queries : shown.keys;
    const colour = barColour(colours, line);
    const items = ranked(line).slice(0, N_LISTED).filter((place) => line.masked[place] === 0).map((place) => {
      const weight = line.weights[place]!;
      const bar = el("span", { class: "bar" });
      bar.style.width = `${Math.min(1, Math.abs(weight) / colours.full || 0) * 100}%`;
      bar.style.backgroundColor = colour(weight);
      const button = el(
        "button",
        { type: "button", "aria-pressed": String(row !== null && place === column) },
        tokenAt(axis, place, axis.special[place] ? "token special" : "token"),
        el("span", { class: "track", "aria-hidden": "true" }, bar),
        el("span", { class: "weight" }, write(weight)),
      );
      button.addEventListener("click", () => this.onSelect(row === null ? { row: place, column: column! } : { row, column: place }));
      return el("li", {}, button);
    });
    this.list.replaceChildren(...items);
  }
}

/** The colour of a bar of a line: of its number, or what the scale makes of it in its row. */
export function barColour(colours: Colours, line: Line): (weight: number) => string {
  if (colours.scale !== "row" && colours.scale !== "rank") return (weight) => colours.css(weight);
  const top = largestSize(line.weights);
  return (weight) => colours.css(top > 0 ? weight / top : 0);
}

/** The places of a line, heaviest first; equals in the order of the text, what is no number and then what is masked last. */
export function ranked({ weights, masked }: Pick<Line, "weights" | "masked">): number[] {
  const rank = (place: number): number => (masked[place] === 1 ? -2 : Number.isNaN(weights[place]!) ? -1 : Math.abs(weights[place]!));
  return [...weights.keys()].sort((a, b) => rank(b) - rank(a) || a - b);
}

/** What a key gets of all queries that may look at it. */
function receivedBy({ line, write }: Known): string {
  const open = [...line.weights].filter((_, row) => line.masked[row] === 0);
  const total = open.reduce((sum, weight) => sum + weight, 0);
  const others = Math.max(0, open.length - N_LISTED);
  const rest = others === 0 ? "" : `${others} other ${others === 1 ? "query" : "queries"} not listed · `;
  return sentenceCase(`${rest}${write(total)} of ${open.length} ${open.length === 1 ? "query" : "queries"} together, ${write(total / Math.max(1, open.length))} on average.`);
}

/** What the listed keys leave over, of those that are not masked. */
export function restOf({ line, hidden, weigh }: Pick<Known, "line" | "hidden" | "weigh">, column: number | null): string {
  const rest = ranked(line).filter((place) => line.masked[place] === 0).slice(N_LISTED);
  if (!weigh) return rest.length > 0 ? `${rest.length} other ${rest.length === 1 ? "key" : "keys"} not listed.` : "";
  const total = line.weights.reduce((sum, weight) => sum + weight, line.rounding);
  const parts: string[] = [];
  if (rest.length > 0) parts.push(`${rest.length} other ${rest.length === 1 ? "key" : "keys together"} ${formatWeight(Math.max(0, line.rounding + rest.reduce((sum, place) => sum + line.weights[place]!, 0)))}`);
  if (line.removed > 0) parts.push(`hidden ${hidden} ${formatWeight(line.removed)}`);
  if (line.sink > 0) parts.push(`the learned sink ${formatWeight(line.sink)}`);
  const sum = total + line.removed + line.sink;
  if (Number.isNaN(sum)) parts.push("the row holds values that are not numbers");
  else parts.push(Math.abs(sum - 1) < 0.0005 ? "all weights of the row sum to 1" : `the row sums to ${sum.toFixed(4)}`);
  if (!Number.isNaN(line.entropy)) parts.push(`entropy ${line.entropy.toFixed(2)} bits`);
  const rank = column === null ? "" : rankSaid(line, column);
  if (rank !== "") parts.unshift(rank);
  return sentenceCase(`${parts.join(" · ")}.`);
}
