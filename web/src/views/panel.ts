// In two sentences: what is on screen, and what it does not show, with the paper that says so. What the head stands out for is said beside its
// name, and what the text's description says of it in the description, where it is marked.

import type { Atlas } from "../data.ts";
import { el, tokenAt } from "../dom.ts";
import { everyCell, headCountOf, lookOf, nameOf, wordsOf, writingOf, type Scene } from "./scene.ts";
import type { MapOf, Tile } from "../source.ts";
import { sentenceCase } from "../text.ts";

/** What numbers are, what they do not show, and who says so. */
interface Words {
  shows: string;
  not: string;
  paper: string;
}

/** Of each quantity. */
export const QUANTITIES = new Map<string, Words>(Object.entries({
  weight: {
    shows: "how each query shares its attention among the keys that it sees: rows sum to 1, with what a learned sink takes",
    not: "how much of a key is taken, or what comes of it: weights are not importance",
    paper: "Jain and Wallace 2019, “Attention is not Explanation”",
  },
  norm: {
    shows: "the length of what each key adds to a query: weight times its value, behind the output projection",
    not: "whether what is added is ever read: a long vector may point where nothing reads, and vectors of several heads may cancel",
    paper: "Kobayashi et al. 2020, “Attention is not only a weight”",
  },
  gradient_weight: {
    shows: "what the explained output would lose, to first order, without each weight; orange raises it, blue lowers it",
    not: "what happens when a weight is really taken away, which is no small change",
    paper: "Barkan et al. 2021, “Grad-SAM”",
  },
  relevance: {
    shows: "how much of the explained output the rule hands to each pair of tokens; orange for it, blue against it",
    not: "a measured effect: another rule hands out the same output otherwise",
    paper: "Chefer et al. 2021, “Generic Attention-model Explainability”",
  },
  rollout: {
    shows: "the weights of all layers multiplied: what would come to each state from each token, were all heads and values alike",
    not: "that heads and values differ: what is never read weighs as much as what is",
    paper: "Abnar and Zuidema 2020, “Quantifying Attention Flow in Transformers”",
  },
  contribution: {
    shows: "the share of a token's state behind the layer that each token brings, values, residual and layer norm included",
    not: "what the output makes of the state",
    paper: "Ferrando et al. 2022, “Measuring the Mixing of Contextual Information in the Transformer”",
  },
  flow: {
    shows: "how much of a token's state can at most come from each token of the input, with weights as capacities",
    not: "how much does come from there",
    paper: "Abnar and Zuidema 2020, “Quantifying Attention Flow in Transformers”",
  },
  effect: {
    shows: "how the output changed when the pair was taken away: measured, in the output's unit",
    not: "how pairs work together: two may each do without the other, and neither then shows an effect",
    paper: "Michel, Levy and Neubig 2019, “Are Sixteen Heads Really Better than One?”",
  },
  difference: {
    shows: "one map less another: orange where the first has more, blue where it has less",
    not: "why they differ, or whether the output does",
    paper: "Clark et al. 2019, “What Does BERT Look At?”",
  },
}));

/** What a view shows: the numbers in a form, or something else; and what it does not show, where it has more to say of it than its numbers. */
interface OfView {
  form?: string;
  instead?: string;
  not?: string;
  paper?: string;
}

const VIEWS = new Map<string, OfView>(Object.entries({
  text: {
    form: "on the text itself, for the chosen token, or else the mean over the queries that may look at each",
    not: "that few queries see the last tokens, or that a first token may be looked at for want of anything else",
    paper: "Xiao et al. 2023, “Efficient Streaming Language Models with Attention Sinks”",
  },
  terms: {
    instead: "how one weight comes about: query times key, term by term, scaled, capped, biased, and set against the other keys",
    not: "what a dimension means: queries and keys can be turned together, and every weight stays the same",
    paper: "Vig 2019, “A Multiscale Visualization of Attention in the Transformer Model”",
  },
  generation: {
    form: "step by step as the text was generated",
    not: "why a token was chosen: the states it looks at were made by all layers below",
    paper: "Jain and Wallace 2019, “Attention is not Explanation”",
  },
  compare: {
    form: "beside another map, and less it where both have the same tokens",
    not: "which of the two is better, or whether the output differs",
    paper: "Wiegreffe and Pinter 2019, “Attention is not not Explanation”",
  },
  tree: {
    form: "between each word and the one it depends on in the sentence's tree",
    not: "that the model uses the tree: a fixed distance to the left or right finds many of these arcs, too",
    paper: "Htut et al. 2019, “Do Attention Heads in BERT Track Syntactic Dependencies?”",
  },
  image: {
    form: "over the picture, patch by patch",
    not: "which pixels decide: behind a few layers a patch's state holds what lay elsewhere",
    paper: "Darcet et al. 2024, “Vision Transformers Need Registers”",
  },
  sound: {
    form: "beside the sound, in time",
    not: "what was heard: a frame's state holds its surroundings, and added silence is looked at, too",
    paper: "Radford et al. 2023, “Robust Speech Recognition via Large-Scale Weak Supervision”",
  },
}));

/** Two sentences: what is on screen, and what it does not show. */
export function sentencesOf(atlas: Atlas, view: string, of: MapOf): [string, string] {
  const words = QUANTITIES.get(of.quantity);
  const own = VIEWS.get(view) ?? {};
  const name = wordsOf(atlas, of.quantity);
  const numbers = words === undefined ? name : `${name}, ${words.shows}`;
  const shows = own.instead ?? (own.form === undefined ? numbers : `${numbers}; drawn ${own.form}`);
  const not = own.not ?? words?.not ?? "what the model makes of these numbers";
  const paper = own.paper ?? words?.paper;
  return [`${sentenceCase(nameOf(atlas, of))}: ${shows}.`, `It does not show ${not}${paper === undefined ? "" : ` (${paper})`}.`];
}

export class Panel {
  readonly element = el("section", { class: "saying", "aria-label": "what is on screen, and what it does not show" });
  private shows = el("p", { class: "shows" });
  private not = el("p", { class: "not" });
  private beside = el("p", { class: "beside" });

  constructor() {
    this.element.append(this.shows, this.beside, this.not);
  }

  /** Says what a view shows of a scene; where numbers are no weights, the chosen cell's stands beside its weight. */
  async update(view: string, scene: Scene, signal: AbortSignal): Promise<void> {
    const { of } = scene;
    const { atlas } = scene.source;
    const [shows, not] = sentencesOf(atlas, view, of);
    this.shows.textContent = shows;
    this.not.textContent = not;
    this.beside.hidden = true;
    const numbers = await besideWeight(scene, signal);
    if (signal.aborted || numbers === null) return;
    const { row, column } = scene.chosen;
    this.beside.replaceChildren(tokenAt(scene.queries, row!), " → ", tokenAt(scene.keys, column!), `: ${numbers}.`);
    this.beside.hidden = false;
  }
}

/** "measured effect −0.1200 beside attention weight 0.3400" of the chosen cell; null where numbers are weights, or there is none beside them. */
export async function besideWeight(scene: Scene, signal?: AbortSignal): Promise<string | null> {
  const { source, of, chosen } = scene;
  const { row, column } = chosen;
  const weights: MapOf = { ...of, quantity: "weight" };
  const n_heads = headCountOf(source.atlas, weights);
  if (row === null || column === null || of.quantity === "weight" || n_heads === 0) return null;
  // a quantity of a whole layer stands beside the mean of its heads
  const head = of.head === "mean" || headCountOf(source.atlas, of) < n_heads ? "mean" : of.head;
  const ask = (map: MapOf): Promise<Tile> => source.tile(everyCell(map, lookOf(scene), [row, row + 1], [column, column + 1]), signal);
  const [number, weight] = await Promise.all([ask(of), ask({ ...weights, head })]);
  const said = (tile: Tile, map: MapOf): string => (tile.masked[0] === 1 ? "masked" : writingOf(source.atlas, map)(tile.values[0]!));
  return `${wordsOf(source.atlas, of.quantity)} ${said(number, of)} beside ${wordsOf(source.atlas, "weight")} ${said(weight, weights)}${head === "mean" ? `, the mean of ${n_heads} heads` : ""}`;
}
