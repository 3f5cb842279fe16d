// In words and numbers: the selected cell, and where its query looks, or who looks at its key.

import { cssColour } from "./colour.ts";
import { el, tokenText } from "./dom.ts";
import { formatPercent, formatWeight } from "./text.ts";
import { ranked, rankedQueries, type ShownMap } from "./view.ts";

/** How many keys are listed. */
const N_LISTED = 8;

/** A cell, a query or a key; at least one of the two is there. */
export interface Selection {
  row: number | null;
  column: number | null;
}

/** What is known about the selection besides its weight. */
export interface Known {
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

  /** Says what the selection holds; `fractions` says where each weight stands on the colours. [queries, keys] */
  update(shown: ShownMap, selection: Selection | null, known: Known, fractions: Float32Array): void {
    this.list.replaceChildren();
    this.rest.textContent = "";
    this.turns.replaceChildren();
    delete this.sentence.dataset["weight"];
    if (selection === null) {
      this.sentence.replaceChildren("Choose a cell, or a token above, to see where it looks.");
      return;
    }
    this.sentence.replaceChildren(...this.sentenceOf(shown, selection, known));
    if (known.rows === "predicted" && selection.row !== null) this.sentence.prepend(el("span", { class: "predicting" }, "predicting "));
    if (known.prediction !== null) {
      this.sentence.append(el("span", { class: "prediction" }, "this row predicts ", tokenText(known.prediction)));
    }
    this.fillTurns(shown, selection, known);
    this.fillList(shown, selection, fractions);
    const { row, column } = selection;
    const tiles = row === null ? "Largest weights of tiles." : "Largest weights of tiles: a row of them has no sum.";
    this.rest.textContent = known.tiles ? tiles : row === null ? receivedBy(shown, column!) : restOf(shown, row, known.hidden);
  }

  private sentenceOf(shown: ShownMap, { row, column }: Selection, { score, tiles }: Known): (Node | string)[] {
    const query = tokenText(row === null ? "" : shown.queries.labels[row]!, "token query");
    if (row === null) return ["Who looks at ", tokenText(shown.keys.labels[column!]!, "token key"), "?"];
    if (column === null) return [query, " looks at:"];
    const cell = row * shown.keys.groups.length + column;
    const weight = shown.weights[cell]!;
    const key = tokenText(shown.keys.labels[column]!, "token key");
    if (shown.masked[cell] === 1) return [query, " may not look at ", key, " (masked)"];
    this.sentence.dataset["weight"] = String(weight);
    const parts: (Node | string)[] = [query, " → ", key, " ", el("strong", {}, formatWeight(weight))];
    if (tiles) parts.push(el("span", { class: "score" }, " at most"));
    if (score !== null) parts.push(el("span", { class: "score" }, ` score ${score.score.toFixed(score.digits)}`));
    return parts;
  }

  /** The other ways to read the selection: where its query looks, who looks at its key. */
  private fillTurns(shown: ShownMap, { row, column }: Selection, known: Known): void {
    const turn = (to: Selection, pressed: boolean, ...words: (Node | string)[]): void => {
      const button = el("button", { type: "button", class: "plain", "aria-pressed": String(pressed) }, ...words);
      button.addEventListener("click", () => this.onSelect(to));
      this.turns.append(button);
    };
    // in self-attention a token stands on both sides, at the same place
    const [query, key] = known.self ? [row ?? column, column ?? row] : [row, column];
    if (query !== null) turn({ row: query, column: null }, column === null, "where ", tokenText(shown.queries.labels[query]!), " looks");
    if (key !== null) turn({ row: null, column: key }, row === null, "who looks at ", tokenText(shown.keys.labels[key]!));
    this.turns.hidden = this.turns.childElementCount < 2;
  }

  private fillList(shown: ShownMap, { row, column }: Selection, fractions: Float32Array): void {
    const n = shown.keys.groups.length;
    const cells = row === null
      ? rankedQueries(shown, column!).map((query) => ({ row: query, column: column! }))
      : ranked(shown, row).map((key) => ({ row, column: key }));
    for (const place of cells.slice(0, N_LISTED)) {
      const cell = place.row * n + place.column;
      if (shown.masked[cell] === 1) continue;
      const [axis, index] = row === null ? [shown.queries, place.row] : [shown.keys, place.column];
      const weight = shown.weights[cell]!;
      const bar = el("span", { class: "bar" });
      bar.style.width = `${Math.min(1, Math.max(0, weight)) * 100}%`;
      bar.style.backgroundColor = cssColour(fractions[cell]! >= 0 ? fractions[cell]! : 0);
      const button = el(
        "button",
        { type: "button", "aria-pressed": String(row !== null && place.column === column) },
        tokenText(axis.labels[index]!, axis.special[index] ? "token special" : "token"),
        el("span", { class: "track", "aria-hidden": "true" }, bar),
        el("span", { class: "weight" }, formatWeight(weight)),
      );
      button.addEventListener("click", () => this.onSelect(place));
      this.list.append(el("li", {}, button));
    }
  }
}

/** What a key gets of all queries that may look at it. */
function receivedBy(shown: ShownMap, column: number): string {
  const n = shown.keys.groups.length;
  const open = [...shown.queries.groups.keys()].filter((row) => shown.masked[row * n + column] === 0);
  const total = open.reduce((sum, row) => sum + shown.weights[row * n + column]!, 0);
  const others = Math.max(0, open.length - N_LISTED);
  const rest = others === 0 ? "" : `${others} other ${others === 1 ? "query" : "queries"} not listed · `;
  return sentenceCase(`${rest}${formatWeight(total)} of ${open.length} ${open.length === 1 ? "query" : "queries"} together, ${formatWeight(total / Math.max(1, open.length))} on average.`);
}

/** What the listed keys leave over. */
function restOf(shown: ShownMap, row: number, hidden: string): string {
  const n = shown.keys.groups.length;
  const weights = shown.weights.subarray(row * n, (row + 1) * n);
  const total = weights.reduce((sum, weight) => sum + weight, shown.rounding[row]!);
  const listed = ranked(shown, row).slice(0, N_LISTED);
  const others = total - listed.reduce((sum, column) => sum + weights[column]!, 0);
  const parts: string[] = [];
  if (n > N_LISTED) parts.push(`${n - N_LISTED} other keys together ${formatWeight(Math.max(0, others))}`);
  if (shown.removed[row]! > 0) parts.push(`hidden ${hidden} ${formatWeight(shown.removed[row]!)}`);
  if (shown.sink[row]! > 0) parts.push(`the learned sink ${formatWeight(shown.sink[row]!)}`);
  const sum = total + shown.removed[row]! + shown.sink[row]!;
  if (Number.isNaN(sum)) parts.push("the row holds values that are not numbers");
  else parts.push(Math.abs(sum - 1) < 0.0005 ? "all weights of the row sum to 1" : `the row sums to ${sum.toFixed(4)}`);
  return sentenceCase(`${parts.join(" · ")}.`);
}

function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What is taken away by hiding `hidden`, such as "special tokens", over all rows shown. */
export function removedNote(shown: ShownMap, hidden: string): string {
  const mean = shown.removed.reduce((sum, mass) => sum + mass, 0) / Math.max(1, shown.removed.length);
  return `Hidden ${hidden} ${hidden.endsWith("s") ? "hold" : "holds"} ${formatPercent(mean)} of the weight of the rows shown. Weights are not rescaled.`;
}
