// The page in a frame: it tells the page around it how tall it is and what is chosen, and takes a choice from there.

import { queryTokens, keyTokens, type Token } from "./data.ts";
import { isCount, record } from "./chosen.ts";
import type { Chosen, Said } from "./element.ts";
import type { Model } from "./model.ts";
import { placeAt, type Axis } from "./look.ts";
import { clamped, nameOfToken, tiling, tokenNamed, usualRows, type State } from "./state.ts";

type AxisName = "query" | "key";

/** The page around the page; it is told nothing that it knows already. */
export class Surroundings {
  private outer: Window;
  private last = { height: "", selection: "" };

  /** Null where the page stands alone. */
  static of(window: Window): Surroundings | null {
    return window.parent === window ? null : new Surroundings(window.parent);
  }

  private constructor(outer: Window) {
    this.outer = outer;
  }

  /** Calls `take` with each message from the page around, and from no other window. */
  listen(window: Window, take: (message: unknown) => void): void {
    window.addEventListener("message", (event) => {
      if (event.source === this.outer) take(event.data);
    });
  }

  tellHeight(height: number): void {
    this.tell("height", { attlas: 1, height });
  }

  tellSelection(selection: Chosen): void {
    this.tell("selection", { attlas: 1, selection });
  }

  private tell(name: keyof typeof this.last, said: Said): void {
    const text = JSON.stringify(said);
    if (this.last[name] === text) return;
    this.last[name] = text;
    // whoever shows the page holds it, too; what is told are numbers and a kind of attention
    this.outer.postMessage(said, "*");
  }
}

/** What a state has chosen. */
export function chosenOf(state: State, model: Model): Chosen {
  const { item, kind, layer, head } = state;
  return { item, kind, layer, head, query: tokenOf(state.query, "query", state, model), key: tokenOf(state.key, "key", state, model) };
}

/** The state that a message asks for; null where it asks for none. Whatever the message holds, the state exists. */
export function stateAsked(message: unknown, before: State, model: Model): State | null {
  const asked = record(record(message)?.["attlas"] === 1 ? record(message)!["selection"] : null);
  if (asked === null) return null;
  const count = (name: string, otherwise: number): number => (isCount(asked[name]) ? asked[name] : otherwise);
  const kind = model.kinds().find((kind) => kind === asked["kind"]) ?? before.kind;
  const state = clamped(
    {
      ...before,
      kind,
      rows: kind === before.kind ? before.rows : usualRows(kind),
      item: count("item", before.item),
      layer: count("layer", before.layer),
      head: count("head", before.head),
      query: null,
      key: null,
    },
    model.atlas,
  );
  const token = (axis: AxisName): number | null => (isCount(asked[axis]) ? tokenShown(asked[axis], axis, state, model) : null);
  return { ...state, query: token("query"), key: token("key") };
}

/** The recording's number of a token; null where there is none. */
function tokenOf(token: number | null, axis: AxisName, state: State, model: Model): number | null {
  if (token === null) return null;
  if (tiling(axis, state, model.atlas) !== null) return nameOfToken(token, axis, state, model.atlas);
  const shown = axisShown(axis, state, model);
  const place = placeAt(shown, token);
  return place === null ? null : tokensAlong(axis, state, model)[shown.stretches[place]![0]]!.position;
}

/** The token of the state with the recording's number, alone or in its word; null where it is not shown. */
function tokenShown(number: number, axis: AxisName, state: State, model: Model): number | null {
  if (tiling(axis, state, model.atlas) !== null) return tokenNamed(number, axis, state, model.atlas);
  const token = tokensAlong(axis, state, model).findIndex(({ position }) => position === number);
  const shown = axisShown(axis, state, model);
  const place = token < 0 ? null : placeAt(shown, token);
  return place === null ? null : shown.stretches[place]![0];
}

function axisShown(axis: AxisName, state: State, model: Model): Axis {
  const { queries, keys } = model.axes(state);
  return axis === "query" ? queries : keys;
}

function tokensAlong(axis: AxisName, state: State, model: Model): Token[] {
  return (axis === "query" ? queryTokens : keyTokens)(model.item(state), state.kind).tokens;
}
