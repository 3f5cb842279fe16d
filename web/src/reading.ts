// In words and numbers: the selected cell, and where its query looks.

import { cssColour } from "./colour.ts";
import { el, tokenText } from "./dom.ts";
import { formatPercent, formatWeight } from "./text.ts";
import { ranked, type ShownMap } from "./view.ts";

/** How many keys are listed. */
const N_LISTED = 8;

export interface Selection {
  row: number;
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
}

export class Reading {
  readonly element = el("section", { class: "reading", "aria-label": "the selected query" });
  private sentence = el("p", { id: "reading", class: "sentence", "aria-live": "polite" });
  private list = el("ol", { class: "ranked" });
  private rest = el("p", { class: "caption" });
  /** Called when a key of the list is chosen. */
  onSelect: (column: number) => void = () => {};

  constructor() {
    this.element.append(this.sentence, this.list, this.rest);
  }

  /** Says what the selection holds; `fractions` says where each weight stands on the colours. [queries, keys] */
  update(shown: ShownMap, selection: Selection | null, known: Known, fractions: Float32Array): void {
    this.list.replaceChildren();
    this.rest.textContent = "";
    delete this.sentence.dataset["weight"];
    if (selection === null) {
      this.sentence.replaceChildren("Choose a cell, or a token above, to see where it looks.");
      return;
    }
    this.sentence.replaceChildren(...this.sentenceOf(shown, selection, known));
    if (known.rows === "predicted") this.sentence.prepend(el("span", { class: "predicting" }, "predicting "));
    if (known.prediction !== null) {
      this.sentence.append(el("span", { class: "prediction" }, "this row predicts ", tokenText(known.prediction)));
    }
    this.fillList(shown, selection, fractions);
    this.rest.textContent = known.tiles ? "Largest weights of tiles: a row of them has no sum." : restOf(shown, selection.row, known.hidden);
  }

  private sentenceOf(shown: ShownMap, { row, column }: Selection, { score, tiles }: Known): (Node | string)[] {
    const query = tokenText(shown.queries.labels[row]!, "token query");
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

  private fillList(shown: ShownMap, selection: Selection, fractions: Float32Array): void {
    const n = shown.keys.groups.length;
    for (const column of ranked(shown, selection.row).slice(0, N_LISTED)) {
      const cell = selection.row * n + column;
      if (shown.masked[cell] === 1) continue;
      const weight = shown.weights[cell]!;
      const bar = el("span", { class: "bar" });
      bar.style.width = `${Math.min(1, Math.max(0, weight)) * 100}%`;
      bar.style.backgroundColor = cssColour(fractions[cell]! >= 0 ? fractions[cell]! : 0);
      const button = el(
        "button",
        { type: "button", "aria-pressed": String(column === selection.column) },
        tokenText(shown.keys.labels[column]!, shown.keys.special[column] ? "token special" : "token"),
        el("span", { class: "track", "aria-hidden": "true" }, bar),
        el("span", { class: "weight" }, formatWeight(weight)),
      );
      button.addEventListener("click", () => this.onSelect(column));
      this.list.append(el("li", {}, button));
    }
  }
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
