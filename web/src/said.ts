// Words for what the page shows: axes, and what is hidden.

import type { Kind } from "./data.ts";
import { segmentsOf } from "./look.ts";
import type { Model } from "./model.ts";
import type { Line } from "./source.ts";
import type { State } from "./state.ts";
import { formatPercent, formatWeight } from "./text.ts";

/** What a kind's rows and columns are. */
const AXES: Record<Kind, { queries: string; keys: string }> = {
  encoder: { queries: "query: source", keys: "key: source" },
  decoder: { queries: "query: target", keys: "key: target" },
  cross: { queries: "query: target", keys: "key: source" },
};

/** What rows and columns are. */
export function axisNames(state: State, model: Model): { queries: string; keys: string } {
  return { ...AXES[state.kind], ...(rowsAre(state, model) === "predicted" ? { queries: "query: predicted" } : {}) };
}

/** Whether rows are named by the token they predict. */
export function rowsAre(state: State, model: Model): State["rows"] {
  return model.predicts(state) ? state.rows : "read";
}

/** "A", "B" …: the parts of a text, as its filters name them. */
export function partName(part: number): string {
  return String.fromCharCode(65 + part);
}

/** What is hidden of the present map's columns: "special tokens and punctuation"; empty where nothing is. */
export function hiddenOf(state: State, model: Model): string {
  const tokens = model.columnTokens(state);
  const said: string[] = [];
  if (state.special === "hide" && tokens.some((token) => token.role !== "text")) said.push("special tokens");
  if (state.punctuation === "hide") said.push("punctuation");
  if (state.first === "hide") said.push("the first token");
  if (state.silence === "hide" && tokens.some((token) => token.silent)) said.push("added silence");
  if (state.to !== null && state.to < segmentsOf(tokens).length) said.push(`tokens outside ${partName(state.to)}`);
  const last = said.pop();
  return last === undefined ? "" : said.length === 0 ? last : `${said.join(", ")} and ${last}`;
}

/** What is taken away by hiding `hidden`, such as "special tokens", on average over the rows shown; null where that is not known. Empty where
 * nothing is taken away. */
export function removedNote(removed: number | null, hidden: string): string {
  if (removed !== null && !(removed > 0)) return "";
  const holds = / and |s$|tokens outside/.test(hidden) ? "hold" : "holds";
  if (removed === null) return `How much weight hidden ${hidden} ${holds} is not worked out: these are too many rows and keys. Weights are not rescaled.`;
  return `Hidden ${hidden} ${holds} ${formatPercent(removed)} of the weight of the rows shown. Weights are not rescaled.`;
}

/** "rank 2 of 7": a key's place among those of its row; empty where it is masked, or holds no number. */
export function rankSaid({ weights, masked }: Pick<Line, "weights" | "masked">, column: number): string {
  const value = weights[column]!;
  if (masked[column] === 1 || Number.isNaN(value)) return "";
  let [rank, n] = [1, 0];
  weights.forEach((other, place) => {
    if (masked[place] === 1) return;
    n++;
    if (other > value) rank++;
  });
  return `rank ${rank} of ${n}`;
}

/** "rank 2 of 7 · row sums to 1.0000 · entropy 1.87 bits". */
export function rowSaid(line: Line, column: number): string {
  const rank = rankSaid(line, column);
  const said = rank === "" ? [] : [rank];
  if (!Number.isNaN(line.entropy)) {
    const sum = line.weights.reduce((sum, weight) => sum + weight, line.removed + line.rounding + line.sink);
    said.push(`row sums to ${sum.toFixed(4)}`);
    if (line.sink > 0) said.push(`sink ${formatWeight(line.sink)}`);
    if (line.removed > 0) said.push(`hidden ${formatWeight(line.removed)}`);
    said.push(`entropy ${line.entropy.toFixed(2)} bits`);
  }
  return said.join(" · ");
}
