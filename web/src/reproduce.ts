// What shows the present view elsewhere: a table of its numbers, a command line, a line of Python.

import type { Atlas } from "./data.ts";
import { isOfLayer, layerOf, mapName } from "./data.ts";
import type { State } from "./state.ts";
import { usualRows } from "./state.ts";
import type { ShownMap } from "./picture.ts";
import { plainNumber, shortest } from "./text.ts";

/** What a recording is called that lies in no file yet: as a page of a server saves it. */
const RECORDING = "run.safetensors";
/** What the embedded model is called in its recordings. */
const EMBEDDED = "the embedded English–French translator";
/** With how many beams it searches where nobody says; other models take the likeliest token each time, as one beam does. */
const EMBEDDED_BEAMS = 5;

/** How the numbers of the present map are written in full: with all their digits, or with those that travelled. */
export function writerOf(state: State, source: Atlas): (number: number) => string {
  const layer = layerOf(source, state);
  const stored = layer?.stored?.[state.item];
  const isCut = stored?.storage === "coded" || (stored?.storage === "factored" && stored.groups.some(({ form }) => form === "rounded"));
  return isCut ? (number) => plainNumber(number, layer?.unit) : shortest;
}

/** The map as CSV: keys across, queries down; masked cells are empty. Labels may not begin a formula in a spreadsheet. */
export function csvOf(shown: ShownMap, write: (number: number) => string = shortest): string {
  const n = shown.keys.labels.length;
  const cell = (text: string): string => `"${(/^[=+\-@\t]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const rows = shown.queries.labels.map((label, row) => {
    const numbers = shown.keys.labels.map((_, column) => (shown.masked[row * n + column] === 1 ? "" : write(shown.weights[row * n + column]!)));
    return [cell(label), ...numbers].join(",");
  });
  return `${[[cell("query \\ key"), ...shown.keys.labels.map(cell)].join(","), ...rows].join("\r\n")}\r\n`;
}

/** What a recording's notes say of its maps, and how these are asked for. */
const VARIANTS = new Map<string, string>(Object.entries({
  "norms of what all heads of a layer add together": "norm-sum",
  "norms of what all heads of a layer add together, the residual stream on the diagonal": "norm-residual",
  "norms of what all heads of a layer add together, the residual stream on the diagonal, behind the layer norm": "norm-layernorm",
  "contributions of the states that enter each layer (ALTI), feed-forwards left out": "contribution",
  "contributions of the model's input tokens, through all layers up to this one (ALTI), feed-forwards left out": "alti",
}));
/** What pictures of the command line are called, by the view that is like them. */
export const PICTURES = new Map([["map", "map"], ["lines", "lines"], ["heads", "heads"], ["across", "layers"]]);

/** Whether a picture has several maps, which share their colours' scale or have one each. */
export function isOfSeveral(picture: string): boolean {
  return picture === "heads" || picture === "layers";
}

/** Whether the page's one text is all that its run was given, but for the model; what was done beside, such as a head that was knocked
 * out, stands in the notes. One that a command would take for an option is none. */
function isOfText({ items, provenance }: Atlas): boolean {
  const text = items.length === 1 ? items[0]!.source.text || items[0]!.target.text : "";
  const isGenerated = provenance.method === "greedy" || provenance.beams !== undefined;
  const of_text = isGenerated || (provenance.method === "forward" && items[0]!.target.tokens.length * items[0]!.source.tokens.length === 0);
  return text !== "" && of_text && provenance.notes.every((note) => VARIANTS.has(note) || /^a text (has \d+ tokens; |is in capitals, )/.test(note)) && !/^-|[\0\n\r]/.test(text);
}

/** A quantity as it is named where it is asked for. */
function nameOf(quantity: string, { provenance }: Atlas): string {
  const variants = provenance.notes.flatMap((note) => VARIANTS.get(note) ?? []);
  return variants.find((name) => (name.startsWith("norm") ? "norm" : "contribution") === quantity) ?? quantity.replaceAll("_", "-");
}

/** Word by word for a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** How the model is named where it is loaded again; null of the embedded one. */
function modelOf({ model_place, provenance: { model } }: Atlas): string | null {
  return model === EMBEDDED ? null : (model_place ?? model);
}

/** What names the model to a command, word by word. */
function modelWords(source: Atlas): string[] {
  const model = modelOf(source);
  return model === null ? [] : [`--model ${quoted(model)}`];
}

/** With how many beams the text is generated, where that has to be said to give the same. */
function beamsOf({ provenance: { method, beams, model } }: Atlas): number | null {
  if (method !== "greedy" && beams === undefined) return null;
  const usual = model === EMBEDDED ? EMBEDDED_BEAMS : 1;
  return (beams ?? 1) === usual ? null : (beams ?? 1);
}

/** What the recording is called that a command has to open; null where the text alone gives the same. */
function recordingOf(source: Atlas): string | null {
  return source.recording_place ?? (isOfText(source) ? null : RECORDING);
}

/** What names the text, or the recording, to a command. */
function subjectOf(source: Atlas, recording = recordingOf(source)): string[] {
  if (recording !== null) return [/^[\w.][\w./-]*$/.test(recording) ? recording : quoted(recording)];
  const { source: given, target } = source.items[0]!;
  const beams = beamsOf(source);
  return [quoted(given.text || target.text), ...modelWords(source), ...(beams === null ? [] : [`--beam ${beams}`])];
}

/** The command that measures what the model's output loses without the present head, or each of its layer; null where no model ran. */
export function knockOutOf(state: State, source: Atlas): string | null {
  const { method, model } = source.provenance;
  if (method === "imported" || model === "") return null;
  // the command generates as the model does where nobody says, and of a recording it is told which model it is of
  const recording = recordingOf(source) ?? (beamsOf(source) === null ? null : RECORDING);
  const subject = subjectOf(source, recording);
  if (recording !== null) subject.push(...modelWords(source));
  return ["attlas ablate", ...subject, `--heads ${state.kind}:${state.layer}.${isOfLayer(source, state) ? "*" : state.head}`].join(" ");
}

/** The command that draws the present view as a file. */
export function commandOf(state: State, source: Atlas): string {
  const picture = PICTURES.get(state.view) ?? "map";
  const words = ["attlas draw", picture, ...subjectOf(source)];
  if (state.item !== 0) words.push(`--text ${state.item}`);
  words.push(`--kind ${state.kind}`);
  if (picture !== "layers") words.push(`--layer ${state.layer}`);
  if (picture !== "heads" && !isOfLayer(source, state)) words.push(`--head ${state.head}`);
  if (state.quantity !== "weight") words.push(`--quantity ${nameOf(state.quantity, source)}`);
  if (state.view !== "lines" && state.scale !== "linear" && state.scale !== "rank") words.push(`--scale ${state.scale}`);
  if (isOfSeveral(picture) && state.range === "own") words.push("--panel-scale own");
  if (state.special === "hide") words.push("--special hide");
  if (state.silence === "show") words.push("--silence show");
  if (state.words === "merged") words.push("--words");
  if (state.rows !== usualRows(state.kind)) words.push(`--label-rows ${state.rows}`);
  // of a page of tiles, what is seen is named by tiles
  if (state.zoom !== null && source.pooled === undefined) words.push(`--rows ${state.zoom.queries.join(":")} --columns ${state.zoom.keys.join(":")}`);
  words.push(`-o ${mapName(source, state)}.svg`);
  return words.join(" ");
}

/** Python that has the present map's weights. */
export function pythonOf(state: State, source: Atlas): string {
  const item = source.items[state.item]!;
  const text = JSON.stringify(item.source.text || item.target.text); // which Python reads, too
  const named = modelOf(source);
  const model = named === null ? "" : `, model=${JSON.stringify(named)}`;
  const name = JSON.stringify(nameOf(state.quantity, source));
  const [kept, of] = state.quantity === "weight" ? ["", ""] : [`, quantities=[${name}]`, `, quantity=${name}`];
  const head = isOfLayer(source, state) ? "" : `, ${state.head}`;
  const file = recordingOf(source);
  const beams = beamsOf(source);
  const generated = beams === null ? "" : `, beams=${beams}`;
  const recording = file === null ? `attlas.record(${text}${model}${generated}${kept})` : `attlas.open(${JSON.stringify(file)})`;
  const which = state.item === 0 ? "" : `, item=${state.item}`;
  const words = state.words === "merged" ? ".words()" : "";
  const special = state.special === "hide" ? ".without_special()" : "";
  return `import attlas\nrec = ${recording}\nweights = rec.map("${state.kind}", ${state.layer}${head}${which}${of})${words}${special}.weights()  # [queries, keys]\n`;
}
