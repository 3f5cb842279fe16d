// The present view as what can be taken along: the part of the map that is seen, its picture, its numbers, what makes it elsewhere.

import { KIND_TITLES } from "./data.ts";
import { drawn } from "./drawn.ts";
import { linesPicture, mapPicture, type ShownMap } from "./picture.ts";
import { commandOf, csvOf, knockOutOf, pythonOf, writerOf } from "./reproduce.ts";
import { axisNames } from "./said.ts";
import type { Takeable } from "./save.ts";
import { withoutToken } from "./server.ts";
import { ServerSource } from "./server_source.ts";
import type { Tile } from "./source.ts";
import { hashFromState } from "./state.ts";
import { valuesOfScale } from "./thumbnails.ts";
import type { Now, Selection, View } from "./views/view.ts";
import { seenOf, type Seen } from "./views/viewport.ts";

/** The most cells of a table. */
const MOST_CELLS = 1 << 24;
/** The longest side of a saved map's picture, in pixels. */
const SIDE = 1000;

/** What of the present view can be taken along; `note` is what is said below it. */
export function takeableOf(now: Now, view: View, note: string): Takeable {
  const { state, model, source } = now;
  const title = `${model.nameOf(state, state)} ${KIND_TITLES[state.kind]}`;
  const said = { title, ...axisNames(state, model), colours: now.colours, note };
  const numbers = { ...now, state: { ...state, scale: "linear" as const } }; // not what a scale makes of them
  const picture = async () => {
    if (view.picture !== undefined) return view.picture(now);
    if (state.view !== "lines") {
      const { shown, tile } = await partOf(now, SIDE);
      return mapPicture(shown, tile, said);
    }
    const { shown, chosen } = await partOf(numbers, Infinity);
    const alone = state.heads.length === 0 ? "" : " The heads drawn beside this one on the page are not in this picture.";
    return linesPicture(shown, chosen, { ...said, note: `${note}${alone}`.trim() }, state);
  };
  return {
    name: `${model.nameOf(state, state)}-${state.kind}`,
    picture,
    csv: async () => csvOf((await partOf(numbers, Infinity)).shown, writerOf(state, model.atlas)),
    link: () => withoutToken(location.href.replace(/#.*$/, "")) + hashFromState(state, model.atlas),
    python: () => pythonOf(state, model.atlas),
    command: () => commandOf(state, model.atlas),
    knockOut: () => {
      const command = knockOutOf(state, model.atlas);
      if (command === null) throw new Error("these maps came without the model that made them, so nothing can be measured with it");
      return command;
    },
    ...(source instanceof ServerSource ? { drawn: drawn(source, state) } : {}),
  };
}

/** What is seen of the map, in so many pixels a side at most. */
async function partOf({ state, axes, of, chosen, source }: Now, side: number): Promise<{ shown: ShownMap; tile: Tile; chosen: Selection }> {
  const [rows, columns] = [seenOf(axes.queries, state.zoom?.queries ?? null), seenOf(axes.keys, state.zoom?.keys ?? null)];
  const [n_rows, n_columns] = [rows.to - rows.from, columns.to - columns.from];
  if (side === Infinity && n_rows * n_columns > MOST_CELLS) throw new Error(`${n_rows} × ${n_columns} cells are too many for a file of a page; zoom in to fewer`);
  const part = { rows: [rows.from, rows.to], columns: [columns.from, columns.to] } as const;
  const tile = await source.tile({ of, look: axes.look, part, height: Math.min(side, n_rows), width: Math.min(side, n_columns), pool: state.pool, values: valuesOfScale(state.scale), exact: true });
  const cut = <T>(list: readonly T[], { from, to }: Seen): T[] => list.slice(from, to);
  const axis = ({ labels, stretches, special }: typeof axes.queries, seen: Seen) => ({ labels: cut(labels, seen), stretches: cut(stretches, seen), special: cut(special, seen) });
  const shown = { queries: axis(axes.queries, rows), keys: axis(axes.keys, columns), weights: tile.values, masked: tile.masked };
  const place = (place: number | null | undefined, from: number): number | null => (place == null ? null : place - from);
  return { shown, tile, chosen: { row: place(chosen?.row, rows.from), column: place(chosen?.column, columns.from) } };
}
