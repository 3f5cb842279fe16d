// One of the texts in words: sentences that open the head they are about.

import { headName, KIND_TITLES } from "./data.ts";
import type { Atlas, Kind, Sentence } from "./data.ts";
import { el } from "./dom.ts";
import type { State } from "./state.ts";

/** Sentences that are seen at once; the others are a click away. */
const N_SEEN = 3;

/** What a sentence opens: as much of a head as it names and the page has; null where that is nothing. */
export function placeOf({ kind, layer, head }: Sentence, atlas: Atlas): Partial<State> | null {
  const layers = atlas.layers.filter((one) => one.kind === kind);
  if (kind === null || layers.length === 0) return null;
  const there = layers.find((one) => one.index === layer);
  if (layer === null || there === undefined) return { kind };
  return head === null || head >= there.n_heads ? { kind, layer } : { kind, layer, head };
}

/** "In words"; of several texts, of which one: the marks of the heads are of all of them. */
export function headingOf({ items, description }: Atlas): string {
  return items.length > 1 && description !== undefined ? `In words, text ${description.item} alone` : "In words";
}

export class DescriptionPanel {
  readonly element = el("details", { class: "description", open: true });
  private atlas: Atlas;
  private open: (place: Partial<State>) => void;
  private lines: { sentence: Sentence; element: HTMLElement }[] = [];

  constructor(atlas: Atlas, open: (place: Partial<State>) => void) {
    this.atlas = atlas;
    this.open = open;
    const sentences = atlas.description?.sentences ?? [];
    const [seen, rest] = [sentences.slice(0, N_SEEN), sentences.slice(N_SEEN)];
    const more = el("details", {}, el("summary", {}, rest.length === 1 ? "one more" : `${rest.length} more`), this.list(rest));
    more.hidden = rest.length === 0;
    this.element.append(
      el("summary", {}, headingOf(atlas)),
      this.list(seen),
      more,
      el("p", { class: "caption" }, atlas.description?.caption ?? ""),
    );
  }

  /** Stands there for the text that it is about; what is said of the chosen head is marked. */
  update(state: State): void {
    const { description } = this.atlas;
    this.element.hidden = description === undefined || description.sentences.length === 0 || description.item !== state.item;
    for (const { sentence, element } of this.lines) {
      if (isOf(sentence, state)) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    }
  }

  private list(sentences: Sentence[]): HTMLElement {
    return el("ul", {}, ...sentences.map((sentence) => {
      const element = this.line(sentence);
      this.lines.push({ sentence, element });
      return el("li", {}, element);
    }));
  }

  private line(sentence: Sentence): HTMLElement {
    const text = el("bdi", { dir: "auto" }, sentence.text);
    const place = placeOf(sentence, this.atlas);
    if (place === null) return text;
    const button = el("button", { type: "button", title: `open ${nameOf(place)}` }, text);
    button.addEventListener("click", () => this.open(place));
    return button;
  }
}

/** Whether a sentence is about the chosen head. */
export function isOf({ kind, layer, head }: Sentence, state: Pick<State, "kind" | "layer" | "head">): boolean {
  return kind === state.kind && layer === state.layer && head === state.head;
}

/** "L2H4 of cross-attention". */
function nameOf({ kind, layer, head }: Partial<State>): string {
  const title = KIND_TITLES[kind as Kind];
  if (layer === undefined) return title;
  return `${head === undefined ? `layer ${layer}` : headName(layer, head)} of ${title}`;
}
