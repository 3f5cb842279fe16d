// The page: one state, the views that show it, and the wiring between them.

import { ColourBar } from "./colourbar.ts";
import { Controls } from "./controls.ts";
import { headName, KIND_TITLES, readSource, tilesOf } from "./data.ts";
import type { Kind, Source, Standout } from "./data.ts";
import { DescriptionPanel } from "./description.ts";
import { el, isCompact, tokenText } from "./dom.ts";
import { chosenOf, stateAsked, Surroundings } from "./embed.ts";
import { Heatmap, type Cell } from "./heatmap.ts";
import { Jump } from "./jump.ts";
import { isWriting, keyDialog } from "./keys.ts";
import { Lines } from "./lines.ts";
import { fractions, Model } from "./model.ts";
import { neighbour, Overview } from "./overview.ts";
import { about } from "./about.ts";
import { linesPicture, mapPicture } from "./picture.ts";
import { HeadRanking } from "./ranking.ts";
import { publish } from "./published.ts";
import { Reading, removedNote, type Selection } from "./reading.ts";
import { commandOf, csvOf, pythonOf } from "./reproduce.ts";
import { Save, type Takeable } from "./save.ts";
import { scoreDetail, scoreText, textsTogether } from "./standouts.ts";
import { clamped, hashFromState, optionsOf, stateFromHash, usualRows, type State } from "./state.ts";
import { formatWeight, visibleText } from "./text.ts";
import { TextLine } from "./texts.ts";
import { axisOf, type ShownMap } from "./view.ts";
import { scoreOf, type HeadMap } from "./weights.ts";

/** What a kind's rows and columns are. */
const AXES: Record<Kind, { queries: string; keys: string }> = {
  encoder: { queries: "query: source", keys: "key: source" },
  decoder: { queries: "query: target", keys: "key: target" },
  cross: { queries: "query: target", keys: "key: source" },
};

class App {
  private model: Model;
  private surroundings = Surroundings.of(window);
  private state: State;
  private map!: HeadMap;
  private shown!: ShownMap;
  private at: Float32Array = new Float32Array();
  private top = 0;
  private hovered: Selection | null = null;

  private overview: Overview;
  private heatmap = new Heatmap();
  private lines = new Lines();
  private reading = new Reading();
  private ranking: HeadRanking;
  private save = new Save(() => this.takeable());
  private colourBar = new ColourBar();
  private controls: Controls;
  private jump: Jump;
  private description: DescriptionPanel;
  private sourceLine = new TextLine("source");
  private targetLine = new TextLine("target");
  private tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "kind of attention" });
  private items = el("select", { class: "items", "aria-label": "text of the batch" });
  private theme = el("button", { type: "button", class: "theme" });
  private title = el("h2", { class: "head-title" });
  private remarks = el("div", { class: "remarks" });
  private note = el("p", { class: "caption note" });
  private panel = el("div", { class: "panel", id: "panel", role: "tabpanel" });
  private tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });

  constructor(source: Source, root: HTMLElement) {
    this.model = new Model(source);
    this.state = stateFromHash(location.hash, source);
    this.overview = new Overview(this.model, (layer, head) => this.change({ layer, head }));
    this.ranking = new HeadRanking(this.model, (layer, head) => this.change({ layer, head }));
    this.controls = new Controls((part) => this.change(part));
    this.description = new DescriptionPanel(source, (place) => this.change(place));
    this.jump = new Jump(source, () => this.state, (query, key) => {
      this.change({ query, key });
      this.heatmap.reveal();
    });
    document.documentElement.classList.toggle("compact", isCompact());
    root.replaceChildren(...this.layout());
    this.listen(root);
    this.update();
  }

  private layout(): HTMLElement[] {
    const { source } = this.model;
    for (const kind of this.model.kinds()) {
      const layers = this.model.layers(kind);
      const tab = el("button", { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": "panel" }, kind);
      tab.append(el("span", { class: "long" }, KIND_TITLES[kind].slice(kind.length)));
      tab.append(el("span", { class: "count" }, ` ${layers.length} × ${Math.max(...layers.map((layer) => layer.n_heads))}`));
      tab.addEventListener("click", () => this.change({ kind }));
      this.tabs.append(tab);
    }
    source.items.forEach((item, index) => {
      const text = item.source.text || item.target.text || item.source.tokens.map((token) => token.text).join(" ");
      this.items.append(el("option", { value: index }, `${index}: ${visibleText(text).slice(0, 80)}`));
    });
    const picker = el("label", { class: "picker" }, "text ", this.items);
    picker.hidden = source.items.length < 2;
    const header = el(
      "header",
      {},
      el("p", { class: "wordmark" }, "attlas"),
      el("h1", {}, tokenText(visibleText(headline(source)), "model-name")),
      picker,
      this.theme,
    );
    const texts = el("section", { class: "texts", "aria-label": "the texts" }, this.sourceLine.element, this.targetLine.element);
    const line = el("div", { class: "head-line" }, this.title, this.remarks);
    const head = el("section", { class: "head", "aria-label": "the chosen head" }, line, this.jump.element, this.heatmap.element, this.lines.element, this.colourBar.element, this.note, this.save.element);
    this.reading.element.append(this.ranking.element);
    this.panel.append(this.overview.element, head, this.reading.element);
    const failed = el("p", { class: "failed", role: "alert" }, el("strong", {}, "Not sound: "), el("bdi", {}, visibleText(source.failed ?? "")));
    failed.hidden = source.failed === undefined;
    return [header, failed, this.description.element, texts, this.tabs, this.controls.element, this.panel, about(source), this.tip, keyDialog(document)];
  }

  private listen(root: HTMLElement): void {
    this.items.addEventListener("change", () => this.change({ item: Number(this.items.value) }));
    this.theme.addEventListener("click", () => this.change({ theme: nextTheme(this.state.theme) }));
    this.tabs.addEventListener("keydown", (event) => this.moveTab(event));
    window.addEventListener("hashchange", () => {
      this.state = stateFromHash(location.hash, this.model.source);
      this.update();
    });
    this.surroundings?.listen(window, (message) => this.take(message));
    this.followSize(root);
    const choose = ({ row, column }: Selection): void => this.change({ query: row, key: column });
    this.heatmap.onSelect = choose;
    this.heatmap.onStep = (rows, columns) => this.step(rows, columns);
    this.heatmap.onHeadKey = (key) => this.moveHead(key);
    this.heatmap.onHover = (cell, event) => this.hover(cell, event);
    this.reading.onSelect = choose;
    this.lines.onSelect = choose;
    this.lines.onHover = (row) => this.preview(row === null ? null : { row, column: null });
    for (const line of [this.sourceLine, this.targetLine]) {
      line.onSelect = (place) => this.chooseToken(line, place);
      line.onHover = (place) => this.preview(place === null ? null : this.ofToken(line, place));
    }
    document.addEventListener("keydown", (event) => {
      const nothing = event.key !== "Escape" || document.querySelector("dialog[open]") !== null || isWriting(event.target);
      if (!nothing) this.change({ query: null, key: null });
    });
  }

  /** What a token of the text stands for: in cross-attention a source token is a key, any other a query. */
  private ofToken(line: TextLine, place: number): Selection {
    const isKey = this.state.kind === "cross" && line === this.sourceLine;
    return isKey ? { row: null, column: place } : { row: place, column: null };
  }

  /** Chooses a token of the text; in self-attention, one that is chosen already is turned round: who looks at it? */
  private chooseToken(line: TextLine, place: number): void {
    const { query, key, kind } = this.state;
    const again = kind !== "cross" && query === place && key === null;
    const { row, column } = again ? { row: null, column: place } : this.ofToken(line, place);
    this.change({ query: row, key: column });
  }

  /** Draws anew for another size of the window; tells how tall the page is. */
  private followSize(root: HTMLElement): void {
    let [width, height] = [0, 0];
    const look = (): void => {
      const { clientWidth } = document.documentElement;
      document.documentElement.classList.toggle("compact", isCompact());
      const taller = isCompact() && Math.abs(window.innerHeight - height) > 1;
      if (Math.abs(clientWidth - width) > 1 || taller) this.draw();
      [width, height] = [clientWidth, window.innerHeight];
      this.surroundings?.tellHeight(Math.ceil(root.getBoundingClientRect().height));
    };
    new ResizeObserver(look).observe(root);
    window.addEventListener("resize", look);
  }

  /** Takes a choice from the page around. */
  private take(message: unknown): void {
    const state = stateAsked(message, this.state, this.model);
    const same = state === null || JSON.stringify(chosenOf(state, this.model)) === JSON.stringify(chosenOf(this.state, this.model));
    if (!same) this.change(state);
  }

  /** Takes a change of state: the URL follows, and everything that shows it. */
  private change(part: Partial<State>): void {
    const before = this.state;
    const moved = (["item", "kind", "special", "silence", "words", "rows"] as const).some((name) => name in part && part[name] !== before[name]);
    const rows = part.kind === undefined || part.kind === before.kind ? {} : { rows: usualRows(part.kind) };
    const state = clamped({ ...before, ...(moved ? { query: null, key: null } : {}), ...rows, ...part }, this.model.source);
    this.state = state;
    this.hovered = null;
    const hash = hashFromState(state, this.model.source);
    const newHead = state.layer !== before.layer || state.head !== before.head || state.kind !== before.kind;
    // a frame's URL is seen by nobody, and its history is that of the page around
    if (this.surroundings === null && hash !== location.hash) history[newHead ? "pushState" : "replaceState"](null, "", hash);
    const onlyCell = Object.keys(part).every((name) => name === "query" || name === "key");
    if (onlyCell) this.showSelection();
    else this.update();
  }

  private update(): void {
    const { state, model } = this;
    if (state.theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = state.theme;
    this.theme.textContent = { auto: "◐ auto", light: "○ light", dark: "● dark" }[state.theme];
    this.theme.setAttribute("aria-label", `theme: ${state.theme}; press for ${nextTheme(state.theme)}`);
    this.items.value = String(state.item);
    for (const tab of this.tabs.children) {
      const chosen = tab.id === `tab-${state.kind}`;
      if (chosen) this.panel.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-selected", String(chosen));
      (tab as HTMLElement).tabIndex = chosen ? 0 : -1;
    }
    const specials = [...model.rowTokens(state), ...model.columnTokens(state)].some((token) => token.role !== "text");
    const silence = [...model.rowTokens(state), ...model.columnTokens(state)].some((token) => token.silent);
    const pieces = [model.rowTokens(state), model.columnTokens(state)].some((tokens) =>
      tokens.some((token, index) => token.word !== null && token.word === tokens[index - 1]?.word),
    );
    this.controls.update(state, { special: specials, silence, words: pieces, rows: model.predicts(state) });
    this.jump.update(state, model.source);
    this.description.update(state);
    this.map = model.headMap(state);
    this.shown = model.shownMap(state);
    this.fillTexts();
    this.panel.setAttribute("aria-busy", "true");
    this.overview.update(state, () => {
      this.draw();
      this.panel.setAttribute("aria-busy", "false");
    });
  }

  /** Draws the chosen head; the shared range must be known. */
  private draw(): void {
    const { state, shown, model } = this;
    const thumbnail = model.thumbnail(state, state.layer, state.head);
    const top = state.range === "own" ? thumbnail.top : model.sharedTop();
    this.top = top;
    this.at = fractions(shown, top, state.scale);
    const name = headName(state.layer, state.head);
    this.title.replaceChildren(el("span", { class: "name" }, name), ` ${KIND_TITLES[state.kind]}`);
    const badge = (one: Standout): HTMLElement => el("span", { class: "remark", title: scoreDetail(one) }, visibleText(scoreText(one)));
    const badges = model.standouts(state, state.layer, state.head).map(badge);
    const together = badges.length > 0 ? textsTogether(model.source.items.length) : "";
    this.remarks.replaceChildren(...badges, together === "" ? "" : ` (${together})`);
    const axes = this.axes();
    this.heatmap.element.hidden = state.view !== "map";
    this.lines.element.hidden = state.view !== "lines";
    this.colourBar.element.hidden = state.view !== "map";
    if (state.view === "map") this.heatmap.draw(shown, this.at, `${name}, ${KIND_TITLES[state.kind]}`, axes);
    else this.lines.draw(shown);
    this.colourBar.update(top, state.scale, state.range, this.at);
    const tiles = tilesOf(model.source, state.kind);
    const removed = tiles === "" && shown.removed.some((mass) => mass > 0) ? removedNote(shown, this.hidden()) : "";
    this.note.textContent = tiles + removed;
    this.showSelection();
  }

  /** What rows and columns are. */
  private axes(): { queries: string; keys: string } {
    return { ...AXES[this.state.kind], ...(this.rowsAre() === "predicted" ? { queries: "query: predicted" } : {}) };
  }

  /** The present view, to be taken along. */
  private takeable(): Takeable {
    const { state, shown, model } = this;
    const name = headName(state.layer, state.head);
    const said = {
      title: `${name} ${KIND_TITLES[state.kind]}`,
      ...this.axes(),
      colours: this.colourBar.said,
      note: this.note.textContent ?? "",
      top: this.top,
      scale: state.scale,
    };
    const { query: row, key: column } = state;
    return {
      name: `${name}-${state.kind}`,
      picture: () => (state.view === "map" ? mapPicture(shown, this.at, said) : linesPicture(shown, { row, column }, said)),
      csv: () => csvOf(shown),
      link: () => location.href.replace(/#.*$/, "") + hashFromState(state, model.source),
      python: () => pythonOf(state, model.source),
      command: () => commandOf(state, model.source),
    };
  }

  /** What the controls hide of the present map's columns. */
  private hidden(): string {
    const { state, model } = this;
    const silence = state.silence === "hide" && model.columnTokens(state).some((token) => token.silent);
    return [...(state.special === "hide" ? ["special tokens"] : []), ...(silence ? ["added silence"] : [])].join(" and ");
  }

  private fillTexts(): void {
    const { state, model } = this;
    const item = model.item(state);
    const options = optionsOf(state);
    const roles = {
      encoder: { source: "both", target: "idle" },
      decoder: { source: "idle", target: "both" },
      cross: { source: "keys", target: "queries" },
    } as const;
    const targetTokens = state.kind === "cross" ? model.rowTokens(state) : item.target.tokens;
    this.sourceLine.fill(axisOf(item.source.tokens, options), roles[state.kind].source);
    this.targetLine.fill(axisOf(targetTokens, options), roles[state.kind].target);
    this.sourceLine.element.hidden = item.source.tokens.length === 0;
    this.targetLine.element.hidden = item.target.tokens.length === 0;
  }

  /** The cell under the pointer, or the chosen one, or else the first query that is no special token. */
  private selection(): Selection | null {
    const { shown } = this;
    if (this.hovered !== null) return this.hovered;
    const [n_rows, n_columns] = [shown.queries.groups.length, shown.keys.groups.length];
    if (n_rows === 0 || n_columns === 0) return null;
    const chosen = this.chosen();
    if (chosen !== null) return chosen;
    const first = shown.queries.special.indexOf(false);
    return { row: Math.max(0, first), column: null };
  }

  /** What was chosen, and is there. */
  private chosen(): Selection | null {
    const { shown, state } = this;
    const there = (place: number | null, n: number): number | null => (place !== null && place < n ? place : null);
    const [row, column] = [there(state.query, shown.queries.groups.length), there(state.key, shown.keys.groups.length)];
    return row === null && column === null ? null : { row, column };
  }

  private showSelection(): void {
    const { shown, at } = this;
    this.surroundings?.tellSelection(chosenOf(this.state, this.model));
    const selection = this.selection();
    if (this.state.view === "map") this.heatmap.mark({ row: selection?.row ?? null, column: selection?.column ?? null });
    else this.lines.mark(selection?.row ?? null, selection?.column ?? null);
    const said = { score: this.scoreAt(selection), prediction: this.predictionOf(selection), rows: this.rowsAre(), tiles: tilesOf(this.model.source, this.state.kind) !== "", hidden: this.hidden(), self: this.state.kind !== "cross" };
    this.reading.update(shown, selection, said, at);
    this.ranking.update(this.state, this.chosen(), shown);
    this.weighTexts(selection, at);
  }

  /** Frames the selection's tokens in the texts, and weighs what its query looks at, or who looks at its key. */
  private weighTexts(selection: Selection | null, at: Float32Array): void {
    const { shown } = this;
    const [n_rows, n] = [shown.queries.groups.length, shown.keys.groups.length];
    const { row, column } = selection ?? { row: null, column: null };
    const slice = (numbers: Float32Array): Float32Array | null => {
      if (row !== null) return numbers.subarray(row * n, (row + 1) * n);
      return column === null ? null : Float32Array.from({ length: n_rows }, (_, query) => numbers[query * n + column]!);
    };
    const queryLine = this.state.kind === "encoder" ? this.sourceLine : this.targetLine;
    const keyLine = this.state.kind === "decoder" ? this.targetLine : this.sourceLine;
    for (const line of [this.sourceLine, this.targetLine]) line.weigh(null, null);
    (row === null ? queryLine : keyLine).weigh(slice(shown.weights), slice(at));
    if (queryLine !== keyLine) keyLine.frame(column, "key");
    if (queryLine !== keyLine) queryLine.frame(row, "query");
    else queryLine.frame(row ?? column, row === null ? "key" : "query");
  }

  /** The score of a cell that stands for one query and one key. */
  private scoreAt(selection: Selection | null): ReturnType<typeof scoreOf> {
    if (selection === null || selection.row === null || selection.column === null) return null;
    const queries = this.shown.queries.groups[selection.row]!;
    const keys = this.shown.keys.groups[selection.column]!;
    return queries.length === 1 && keys.length === 1 ? scoreOf(this.map, queries[0]!, keys[0]!) : null;
  }

  /** Whether rows are named by the token they predict. */
  private rowsAre(): State["rows"] {
    return this.model.predicts(this.state) ? this.state.rows : "read";
  }

  /** The token that the selected row predicts, where the row is one token and is named by the one it reads. */
  private predictionOf(selection: Selection | null): string | null {
    const { state, model, shown } = this;
    const group = selection === null || selection.row === null ? undefined : shown.queries.groups[selection.row];
    if (group?.length !== 1 || state.rows === "predicted" || !model.predicts(state)) return null;
    return visibleText(model.item(state).predicted[group[0]!]!.text);
  }

  private preview(selection: Selection | null): void {
    this.hovered = selection;
    this.showSelection();
  }

  private hover(cell: Cell | null, event: PointerEvent): void {
    const same = cell?.row === this.hovered?.row && cell?.column === this.hovered?.column;
    if (!same) this.preview(cell);
    this.tip.hidden = cell === null || event.pointerType === "touch";
    if (cell === null) return;
    const { shown } = this;
    const index = cell.row * shown.keys.groups.length + cell.column;
    const value = shown.masked[index] === 1 ? "masked" : formatWeight(shown.weights[index]!);
    this.tip.replaceChildren(
      tokenText(shown.queries.labels[cell.row]!),
      " → ",
      tokenText(shown.keys.labels[cell.column]!),
      el("strong", {}, value),
    );
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - this.tip.offsetWidth - 8);
    const above = event.clientY - this.tip.offsetHeight - 12;
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${above < 4 ? event.clientY + 18 : above}px`;
  }

  private step(rows: number, columns: number): void {
    const from = this.selection();
    if (from === null) return;
    const row = Math.min(this.shown.queries.groups.length - 1, Math.max(0, (from.row ?? -rows) + rows));
    const column = Math.min(this.shown.keys.groups.length - 1, Math.max(0, (from.column ?? -columns) + columns));
    // along the keys, a chosen key alone stays one
    this.change({ query: from.row === null && rows === 0 ? null : row, key: column });
    this.heatmap.reveal();
  }

  private moveHead(key: string): void {
    const places = this.model.layers(this.state.kind).flatMap((layer) =>
      Array.from({ length: layer.n_heads }, (_, head) => ({ layer: layer.index, head })),
    );
    const at = places.findIndex((place) => place.layer === this.state.layer && place.head === this.state.head);
    const to = neighbour(places, at, key);
    if (to !== null) this.change(to);
  }

  private moveTab(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const kinds = this.model.kinds();
    const kind = kinds[(kinds.indexOf(this.state.kind) + step + kinds.length) % kinds.length]!;
    this.change({ kind });
    document.getElementById(`tab-${kind}`)?.focus();
  }
}

/** The title, unless it is the text that stands below anyway; then the model. */
function headline(source: Source): string {
  const texts = source.items.flatMap((item) => [item.source.text, item.target.text]);
  const title = texts.includes(source.title) ? source.provenance.model : source.title;
  return title || "attention";
}

function nextTheme(theme: State["theme"]): State["theme"] {
  return ({ auto: "light", light: "dark", dark: "auto" } as const)[theme];
}

const root = document.getElementById("app")!;
try {
  const source = readSource(document);
  publish(source);
  new App(source, root);
} catch (error) {
  root.replaceChildren(el("p", { class: "failure", role: "alert" }, `This page cannot be shown: ${String(error)}`));
  throw error;
}
