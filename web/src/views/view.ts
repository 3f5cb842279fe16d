// What a view is to the page: it draws what the present state asks for, from what a source gives, and keeps no state of its own.

import type { Colours } from "../colours.ts";
import type { Axes, Model } from "../model.ts";
import type { Picture } from "../marks.ts";
import type { Recent } from "../recent.ts";
import type { MapOf, Source } from "../source.ts";
import type { State } from "../state.ts";
import type { Thumbnails } from "../thumbnails.ts";

/** A cell, a query or a key, in places of the axes; nothing, where both are null. */
export interface Selection {
  row: number | null;
  column: number | null;
}

/** All that a view draws from, at one moment. */
export interface Now {
  state: State;
  model: Model;
  source: Source;
  /** Every recording of the page, that of `source` among them. */
  sources: readonly Source[];
  axes: Axes;
  /** The map of the chosen head. */
  of: MapOf;
  /** What is chosen; null where nothing is. */
  chosen: Selection | null;
  /** What is marked: under the pointer, or chosen, or else the first query that is no special token. */
  selection: Selection;
  /** How numbers of the chosen head become colours. */
  colours: Colours;
  thumbnails: Thumbnails;
  /** Rows and columns, each asked for once. */
  lines: Recent;
}

/** What a view may ask of the page. */
export interface Page {
  /** Changes the state; the URL and every view follow. */
  change: (part: Partial<State>) => void;
  /** Chooses places of the axes, or nothing. */
  choose: (selection: Selection) => void;
  /** Marks places while the pointer is there; null: no longer. */
  preview: (selection: Selection | null) => void;
  /** Chooses the head that an arrow key leads to. */
  moveHead: (key: string) => void;
  /** Shows words beside the pointer; null hides them. */
  tip: (event: PointerEvent | null, ...words: (Node | string)[]) => void;
}

export interface View {
  readonly element: HTMLElement;
  /** Draws anew; done when all of it stands there. Given up by the signal, when something else is asked for. */
  update: (now: Now, signal: AbortSignal) => Promise<void> | void;
  /** Marks what is selected; it is drawn already. */
  mark: (now: Now) => void;
  /** The view as a picture to keep; that of the map where there is none. */
  picture?: (now: Now) => Promise<Picture>;
}

/** The switches that a view may have; the others are not seen in it. */
export type Switch = "scale" | "range" | "pool" | "rows";

/** A view in the list of views. */
export interface ViewOf {
  /** Its name in the URL. */
  name: string;
  title: string;
  switches: readonly Switch[];
  /** Whether it has a colour bar below. */
  hasColours: boolean;
  /** Whether it shows the texts itself, so that they need not stand above it. */
  hasTexts?: boolean;
  /** Whether there is something for it to show. */
  offered: (model: Model, state: State) => boolean;
  /** The row that it shows where nothing is chosen; the first that is no special token where it does not say. */
  usualRow?: (model: Model, state: State) => number | undefined;
  make: (page: Page) => View;
}
