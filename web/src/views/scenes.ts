// The views that draw a scene, as the list of views has them: what they are called, when there is something to show, and which part of the
// state is theirs.

import { el } from "../dom.ts";
import type { Picture } from "../marks.ts";
import { Model } from "../model.ts";
import { CompareView } from "./compare.ts";
import { GenerationView, stepsOf } from "./generation.ts";
import { ImageView } from "./image.ts";
import { photographOf } from "./photograph.ts";
import { nameOf, type Places, type Scene } from "./scene.ts";
import { SoundView } from "./sound.ts";
import { TableView } from "./table.ts";
import { TermsView } from "./terms.ts";
import { TextView } from "./text.ts";
import { TreeView } from "./tree.ts";
import type { MapOf, Source } from "../source.ts";
import { hiddenOf, rowsAre } from "../said.ts";
import type { State } from "../state.ts";
import { messageOf } from "../text.ts";
import type { Now, Page, View, ViewOf } from "./view.ts";
import { seenOf } from "./viewport.ts";

/** What the page shows now, as a scene. */
export function sceneOf({ source, of, axes, chosen, state, model }: Now): Scene {
  return { source, of, queries: axes.queries, keys: axes.keys, chosen: chosen ?? { row: null, column: null }, predicted: rowsAre(state, model) === "predicted", scale: "linear", hidden: hiddenOf(state, model) };
}

/** A view of a scene: it is drawn anew whenever something else is chosen. */
class OfScene implements View {
  readonly element: HTMLElement;
  private draw: (now: Now, scene: Scene, signal: AbortSignal) => Promise<void>;
  private trouble = el("p", { class: "caption trouble", role: "alert", hidden: true });
  private drawn = "";
  private asked = new AbortController();

  constructor(element: HTMLElement, draw: (now: Now, scene: Scene, signal: AbortSignal) => Promise<void>) {
    this.element = element;
    this.draw = draw;
    element.append(this.trouble);
  }

  async picture({ source, of }: Now): Promise<Picture> {
    return photographOf(this.element, nameOf(source.atlas, of));
  }

  async update(now: Now, signal: AbortSignal): Promise<void> {
    this.asked.abort();
    this.drawn = JSON.stringify(now.chosen);
    this.trouble.hidden = true;
    await this.draw(now, sceneOf(now), signal);
  }

  mark(now: Now): void {
    if (JSON.stringify(now.chosen) === this.drawn) return;
    const asked = new AbortController();
    this.update(now, asked.signal).catch((error: unknown) => {
      if (asked.signal.aborted) return;
      this.trouble.hidden = false;
      this.trouble.textContent = messageOf(error);
    });
    this.asked = asked;
  }
}

function text(page: Page): View {
  const view = new TextView();
  view.onSelect = page.choose;
  view.onChange = page.change;
  return new OfScene(view.element, ({ state }, scene, signal) => view.update(scene, state, signal));
}

function terms(page: Page): View {
  const view = new TermsView();
  let scene: Scene | null = null;
  // the piece of a word whose score is shown is the token that is chosen
  view.onChange = ({ order, piece }) => {
    const { row, column } = scene?.chosen ?? { row: null, column: null };
    if (order !== undefined) page.change({ order });
    if (piece !== undefined && row !== null && column !== null) page.change({ query: scene!.queries.stretches[row]![0] + piece[0], key: scene!.keys.stretches[column]![0] + piece[1] });
  };
  const pieceOf = (places: Places, place: number | null, token: number | null): number => (place === null || token === null ? 0 : token - places.stretches[place]![0]);
  return new OfScene(view.element, ({ state }, now, signal) => {
    scene = now;
    const piece = [pieceOf(now.queries, now.chosen.row, state.query), pieceOf(now.keys, now.chosen.column, state.key)] as const;
    return view.update(now, { order: state.order, piece }, signal);
  });
}

function generation(page: Page): View {
  const view = new GenerationView();
  view.onSelect = page.choose;
  return new OfScene(view.element, (_, scene, signal) => view.update(scene, signal));
}

function compare(page: Page): View {
  const view = new CompareView();
  view.onSelect = page.choose;
  view.onChange = page.change;
  const models = new Map<Source, Model>();
  return new OfScene(view.element, ({ state, sources }, scene, signal) => {
    const placesOf = (source: Source, { item }: MapOf): { queries: Places; keys: Places } => {
      const model = models.get(source) ?? new Model(source.atlas);
      models.set(source, model);
      return model.axes({ ...state, item });
    };
    return view.update(scene, sources, state, placesOf, signal);
  });
}

function tree(page: Page): View {
  const view = new TreeView();
  view.onSelect = page.choose;
  view.onChange = page.change;
  return new OfScene(view.element, ({ state }, scene, signal) => view.update(scene, state, signal));
}

function image(page: Page): View {
  const view = new ImageView();
  view.onSelect = page.choose;
  return new OfScene(view.element, (_, scene, signal) => view.update(scene, signal));
}

function sound(page: Page): View {
  const view = new SoundView();
  view.onSelect = page.choose;
  return new OfScene(view.element, (_, scene, signal) => view.update(scene, signal));
}

function table(page: Page): View {
  const view = new TableView();
  view.onSelect = page.choose;
  view.onChange = page.change;
  return new OfScene(view.element, ({ state, axes }, scene, signal) => {
    const whole = (axis: "queries" | "keys"): [number, number] => {
      const { from, to } = seenOf(axes[axis], state.zoom?.[axis] ?? null);
      return [Math.floor(from), Math.ceil(to)];
    };
    return view.update(scene, state, { rows: whole("queries"), columns: whole("keys") }, signal);
  });
}

export const SCENES: readonly ViewOf[] = [
  { name: "text", title: "text", switches: ["rows"], hasColours: false, hasTexts: true, offered: () => true, make: text },
  { name: "terms", title: "q · k", switches: ["rows"], hasColours: false, offered: (_, { quantity }) => quantity === "weight", make: terms },
  { name: "compare", title: "compare", switches: ["rows"], hasColours: false, offered: () => true, make: compare },
  { name: "generation", title: "steps", switches: [], hasColours: false, offered: (model, state) => state.kind !== "encoder" && model.item(state).generated !== undefined, usualRow: (model, state) => stepsOf(model.item(state), model.axes(state).queries).at(-1)?.row, make: generation },
  { name: "tree", title: "tree", switches: [], hasColours: false, offered: (model, state) => isOfTree(model, state), make: tree },
  { name: "image", title: "picture", switches: [], hasColours: false, offered: (model, state) => state.kind !== "decoder" && model.item(state).image !== undefined, usualRow: (_, { kind }) => (kind === "cross" ? undefined : 0), make: image },
  { name: "sound", title: "sound", switches: [], hasColours: false, offered: (model, state) => state.kind !== "decoder" && model.item(state).sound !== undefined, make: sound },
  { name: "table", title: "table", switches: ["rows"], hasColours: false, offered: () => true, make: table },
];

/** Whether both axes are the words of a tree. */
function isOfTree(model: Model, state: State): boolean {
  const of = model.item(state).tree?.of;
  return of !== undefined && state.kind === (of === "source" ? "encoder" : "decoder");
}
