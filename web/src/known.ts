// What is read of the selection: the row of its query, or else the column of its key, and the score of a cell.

import { tilesOf } from "./data.ts";
import type { Known } from "./reading.ts";
import { hiddenOf, rowsAre } from "./said.ts";
import { visibleText } from "./text.ts";
import { writingOf } from "./views/scene.ts";
import type { Now } from "./views/view.ts";

/** Whether there is a cell, a row or a column to be read. */
export function isReadable({ axes, selection: { row, column } }: Now): boolean {
  return axes.queries.labels.length > 0 && axes.keys.labels.length > 0 && (row !== null || column !== null);
}

/** What is known of a selection that {@link isReadable}. */
export async function knownOf(now: Now, signal: AbortSignal): Promise<Known> {
  const { axes, of, lines, selection, state, model, colours } = now;
  const { row, column } = selection;
  const [line, score] = await Promise.all([row !== null ? lines.row(of, axes.look, row) : lines.column(of, axes.look, column!), scoreOf(now, signal)]);
  return {
    line,
    colours,
    write: writingOf(model.atlas, of),
    score,
    prediction: predictionOf(now),
    rows: rowsAre(state, model),
    tiles: tilesOf(model.atlas, state.kind) !== "",
    hidden: hiddenOf(state, model),
    weigh: state.quantity === "weight",
    self: state.kind !== "cross",
  };
}

/** The score of a cell that stands for one query and one key. */
async function scoreOf({ selection: { row, column }, axes, of, source, state }: Now, signal: AbortSignal): Promise<Known["score"]> {
  if (row === null || column === null || state.quantity !== "weight") return null;
  const [queries, keys] = [axes.queries.stretches[row]!, axes.keys.stretches[column]!];
  if (queries[1] - queries[0] !== 1 || keys[1] - keys[0] !== 1) return null;
  const { score, digits } = await source.terms(of, queries[0], keys[0], signal);
  return score === null ? null : { score, digits };
}

/** The token that the selected row predicts, where the row is one token and is named by the one it reads. */
function predictionOf({ selection: { row }, axes, state, model }: Now): string | null {
  const stretch = row === null ? undefined : axes.queries.stretches[row];
  if (stretch === undefined || stretch[1] - stretch[0] !== 1 || state.rows === "predicted" || !model.predicts(state)) return null;
  return visibleText(model.item(state).predicted[stretch[0]]!.text);
}
