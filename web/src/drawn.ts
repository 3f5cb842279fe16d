// Pictures that a server draws as `attlas draw` does, to the byte, and the recording itself.

import { isOfSeveral, PICTURES } from "./reproduce.ts";
import type { ServerSource } from "./server_source.ts";
import { hasUsualLines, usualRows, type State } from "./state.ts";

/** What can be had of a server beside what the page makes itself. */
export interface Drawn {
  /** The present view; null where `attlas draw` has none like it, and the page's own picture is taken. */
  picture: ((format: "svg" | "pdf" | "png") => Promise<Blob>) | null;
  file: () => Promise<Blob>;
}

/** What a server has of the present view, and of its recording. */
export function drawn(source: ServerSource, state: State): Drawn {
  const question = questionOf(state);
  return {
    picture: question === null ? null : (format) => source.figure({ ...question, format }),
    file: () => source.file(),
  };
}

/** The question for the present view; null where a picture would show something else. */
export function questionOf(state: State): Record<string, string | number | boolean> | null {
  const { view, item, quantity, kind, layer, head, scale, special, silence, words, rows, zoom, theme } = state;
  const picture = PICTURES.get(view);
  const isLike = (view !== "lines" || hasUsualLines(state)) && scale !== "rank" && state.spans.length === 0;
  const isWhole = state.punctuation === "show" && state.first === "show" && state.from === null && state.to === null;
  if (picture === undefined || !isLike || !isWhole) return null;
  return {
    ...{ picture, item, quantity, kind, layer, head },
    ...(scale === "linear" ? {} : { scale }),
    ...(isOfSeveral(picture) && state.range === "own" ? { panel_scale: "own" } : {}),
    ...(special === "hide" ? { hide_special: true } : {}),
    ...(silence === "show" ? { show_silence: true } : {}),
    ...(words === "merged" ? { words: true } : {}),
    ...(rows === usualRows(kind) ? {} : { rows_are: rows }),
    ...(theme === "auto" ? {} : { theme }),
    ...(zoom === null ? {} : { top: zoom.queries[0], bottom: zoom.queries[1], left: zoom.keys[0], right: zoom.keys[1] }),
  };
}
