// The page: one state, the views that show it, and the wiring between them.

import { about } from "./about.ts";
import { BothTexts } from "./both_texts.ts";
import { ColourBar } from "./colourbar.ts";
import { Colours } from "./colours.ts";
import { Controls } from "./controls.ts";
import { isOfLayer, KIND_TITLES, tilesOf, type Atlas, type Standout } from "./data.ts";
import { DescriptionPanel } from "./description.ts";
import { breath, el, isCompact, tokenText } from "./dom.ts";
import { effectDetail, effectText } from "./effects.ts";
import { chosenOf, stateAsked, Surroundings } from "./embed.ts";
import { removedOf } from "./hidden.ts";
import { Jump } from "./jump.ts";
import { isWriting, keyDialog } from "./keys.ts";
import { isReadable, knownOf } from "./known.ts";
import { placeAt } from "./look.ts";
import { Model } from "./model.ts";
import { neighbour, Overview } from "./overview.ts";
import { HeadRanking } from "./ranking.ts";
import { Reading } from "./reading.ts";
import { Recent } from "./recent.ts";
import { hiddenOf, removedNote } from "./said.ts";
import { Save } from "./save.ts";
import { ServerSource } from "./server_source.ts";
import { followSize } from "./size.ts";
import type { Source } from "./source.ts";
import { scoreDetail, scoreText, textsTogether } from "./standouts.ts";
import { clamped, hashFromState, stateFromHash, usualRows, type HeadId, type State } from "./state.ts";
import { takeableOf } from "./takeable.ts";
import { messageOf, shortened, visibleText } from "./text.ts";
import { Thumbnails } from "./thumbnails.ts";
import { Tip } from "./tip.ts";
import { VIEWS } from "./views/list.ts";
import { Panel } from "./views/panel.ts";
import { sceneOf } from "./views/scenes.ts";
import type { Now, Page, Selection, View, ViewOf } from "./views/view.ts";

/** How long the view waits for the scale that all heads share before it is drawn with what is known of it, in ms. */
const SHARED_SOON = 150;

export class App {
  private sources: readonly Source[];
  private source: Source;
  private model: Model;
  private surroundings = Surroundings.of(window);
  private state: State;
  private hovered: Selection | null = null;
  private thumbnails: Thumbnails;
  private lines: Recent;
  /** What is being drawn, and what is being read; each given up when another is asked for. */
  private drawing = new AbortController();
  private sizing = new AbortController();
  private reads = new AbortController();
  private n_busy = 0;
  /** What the view was drawn from last. */
  private drawn: Now | null = null;

  private overview: Overview;
  private views = new Map<string, View>();
  private room = el("div", { class: "view" });
  private reading = new Reading();
  private ranking: HeadRanking;
  private save: Save;
  private colourBar = new ColourBar();
  private controls: Controls;
  private jump: Jump;
  private description: DescriptionPanel;
  private texts: BothTexts;
  private tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "kind of attention" });
  private items = el("select", { class: "items", "aria-label": "text of the batch" });
  private theme = el("button", { type: "button", class: "theme" });
  private title = el("h2", { class: "head-title" });
  private remarks = el("div", { class: "remarks" });
  private note = el("p", { class: "caption note" });
  private saying = new Panel();
  private trouble = el("p", { class: "caption trouble", role: "alert", hidden: true });
  private panel = el("div", { class: "panel", id: "panel", role: "tabpanel" });
  private tip = new Tip();

  /** Shows the first of some recordings in `root`. */
  constructor(sources: readonly Source[], root: HTMLElement) {
    this.sources = sources;
    this.source = sources[0]!;
    this.model = new Model(this.source.atlas);
    this.save = new Save(() => takeableOf(this.now(), this.seen(), this.note.textContent ?? ""), this.source instanceof ServerSource);
    this.thumbnails = new Thumbnails(this.source, this.model);
    this.lines = new Recent(this.source);
    this.state = stateFromHash(location.hash, this.source.atlas);
    this.overview = new Overview(this.model, this.thumbnails, (head) => this.coloursOf(head), (head, beside) => this.chooseHead(head, beside), (part) => this.change(part));
    this.ranking = new HeadRanking(({ layer, head }) => this.change({ layer, head }));
    this.controls = new Controls((part) => this.change(part));
    this.description = new DescriptionPanel(this.source.atlas, (place) => this.change(place));
    this.texts = new BothTexts(this.model, this.page(), () => ({ state: this.state, chosen: this.chosen() }));
    this.jump = new Jump(this.source.atlas, () => this.state, (query, key) => this.change({ query, key }));
    document.documentElement.classList.toggle("compact", isCompact());
    root.replaceChildren(...this.layout());
    this.showTheme();
    this.panel.setAttribute("aria-busy", "true");
    this.listen(root);
    // what is there by now is seen first
    void breath().then(() => this.update());
  }

  private layout(): HTMLElement[] {
    const { atlas } = this.source;
    for (const kind of this.model.kinds()) {
      const layers = this.model.layers(kind, this.model.quantities(kind)[0]!.name);
      const tab = el("button", { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": "panel" }, kind);
      tab.append(el("span", { class: "long" }, KIND_TITLES[kind].slice(kind.length)));
      tab.append(el("span", { class: "count" }, ` ${layers.length} × ${Math.max(...layers.map((layer) => layer.n_heads))}`));
      tab.addEventListener("click", () => this.change({ kind }));
      this.tabs.append(tab);
    }
    atlas.items.forEach((item, index) => {
      const text = item.source.text || item.target.text || item.source.tokens.map((token) => token.text).join(" ");
      this.items.append(el("option", { value: index }, `${index}: ${shortened(visibleText(text), 80)}`));
    });
    const picker = el("label", { class: "picker" }, "text ", this.items);
    picker.hidden = atlas.items.length < 2;
    const header = el(
      "header",
      {},
      el("p", { class: "wordmark" }, "attlas"),
      el("h1", {}, tokenText(shortened(visibleText(headline(atlas)), 120), "model-name")),
      picker,
      this.theme,
    );
    const line = el("div", { class: "head-line" }, this.title, this.remarks);
    const head = el("section", { class: "head", "aria-label": "the chosen head" }, this.controls.views, line, this.jump.element, this.room, this.trouble, this.colourBar.element, this.note, this.saying.element, this.save.element);
    this.reading.element.append(this.ranking.element);
    this.panel.append(this.overview.element, head, this.reading.element);
    const failed = el("p", { class: "failed", role: "alert" }, el("strong", {}, "Not sound: "), el("bdi", {}, visibleText(atlas.failed ?? "")));
    failed.hidden = atlas.failed === undefined;
    return [header, failed, this.description.element, this.texts.element, el("div", { class: "tabs-row" }, this.tabs, this.texts.tools.element), this.controls.element, this.panel, about(atlas), this.tip.element, keyDialog(document)];
  }

  private listen(root: HTMLElement): void {
    this.items.addEventListener("change", () => this.change({ item: Number(this.items.value) }));
    this.theme.addEventListener("click", () => this.change({ theme: nextTheme(this.state.theme) }));
    this.tabs.addEventListener("keydown", (event) => this.moveTab(event));
    window.addEventListener("hashchange", () => {
      this.state = stateFromHash(location.hash, this.source.atlas);
      this.update();
    });
    this.surroundings?.listen(window, (message) => this.take(message));
    followSize(root, () => this.redraw(), (height) => this.surroundings?.tellHeight(height));
    this.reading.onSelect = (selection) => this.choose(selection);
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !isWriting(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.texts.tools.focus();
      }
      const nothing = event.key !== "Escape" || document.querySelector("dialog[open]") !== null || isWriting(event.target);
      if (!nothing) this.change({ query: null, key: null });
    });
  }

  /** What a view may ask of the page. */
  private page(): Page {
    return {
      change: (part) => this.change(part),
      choose: (selection) => this.choose(selection),
      preview: (selection) => this.preview(selection),
      moveHead: (key) => this.moveHead(key),
      tip: (event, ...words) => this.tip.show(event, words),
    };
  }

  private chooseHead(head: HeadId, beside: boolean): void {
    const { heads } = this.state;
    if (!beside) return this.change({ layer: head.layer, head: head.head });
    const others = heads.filter((one) => one.layer !== head.layer || one.head !== head.head);
    this.change({ heads: others.length < heads.length ? others : [...heads, { layer: head.layer, head: head.head }] });
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
    const moved = (["item", "kind"] as const).some((name) => name in part && part[name] !== before[name]);
    const fresh = { query: null, key: null, zoom: null, from: null, to: null, page: null, ...(part.item === undefined || part.item === before.item ? {} : { spans: [] }) };
    const rows = part.kind === undefined || part.kind === before.kind ? {} : { rows: usualRows(part.kind) };
    const state = clamped({ ...before, ...(moved ? fresh : {}), ...rows, ...part }, this.source.atlas);
    this.state = state;
    this.hovered = null;
    const hash = hashFromState(state, this.source.atlas);
    const newPage = (["layer", "head", "kind", "view", "item"] as const).some((name) => state[name] !== before[name]);
    // a frame's URL is seen by nobody, and its history is that of the page around
    if (this.surroundings === null && hash !== location.hash) history[newPage ? "pushState" : "replaceState"](null, "", hash);
    this.save.forget();
    const onlyCell = Object.keys(part).every((name) => name === "query" || name === "key");
    const onlyOverview = Object.keys(part).every((name) => name === "sort" || name === "only" || name === "find");
    if (Object.keys(part).join() === "seek") this.texts.find();
    else if (onlyOverview) this.overview.arrange(state);
    else if (onlyCell) this.showSelection();
    else this.update();
  }

  /** Chooses places of the axes. */
  private choose({ row, column }: Selection): void {
    const { queries, keys } = this.model.axes(this.state);
    this.change({ query: row === null ? null : (queries.stretches[row]?.[0] ?? null), key: column === null ? null : (keys.stretches[column]?.[0] ?? null) });
  }

  private preview(selection: Selection | null): void {
    this.hovered = selection;
    this.showSelection();
  }

  /** All that views draw from, now. */
  private now(): Now {
    const { state, model, source, sources, thumbnails, lines } = this;
    const axes = model.axes(state);
    const of = model.of(state);
    return { state, model, source, sources, axes, of, thumbnails, lines, chosen: this.chosen(), selection: this.selection(), colours: this.coloursOf(state) };
  }

  private coloursOf(head: HeadId): Colours {
    const { state, thumbnails, model } = this;
    const own = thumbnails.topOf(head);
    return new Colours(state.scale, state.range, model.quantity(state), state.range === "own" && own !== undefined ? own : thumbnails.top());
  }

  private view(): ViewOf {
    return VIEWS.find(({ name, offered }) => name === this.state.view && offered(this.model, this.state)) ?? VIEWS[0]!;
  }

  /** The view that the state names, made when it is first seen. */
  private seen(): View {
    const { name, make } = this.view();
    let view = this.views.get(name);
    if (view === undefined) {
      view = make(this.page());
      this.views.set(name, view);
    }
    if (this.room.firstChild !== view.element) this.room.replaceChildren(view.element);
    return view;
  }

  private showTheme(): void {
    const { theme } = this.state;
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    this.theme.textContent = { auto: "◐ auto", light: "○ light", dark: "● dark" }[theme];
    this.theme.setAttribute("aria-label", `theme: ${theme}; press for ${nextTheme(theme)}`);
  }

  /** Draws all that the state asks for. */
  private update(): void {
    const { state, model } = this;
    this.showTheme();
    this.items.value = String(state.item);
    for (const tab of this.tabs.children) {
      const chosen = tab.id === `tab-${state.kind}`;
      if (chosen) this.panel.setAttribute("aria-labelledby", tab.id);
      tab.setAttribute("aria-selected", String(chosen));
      (tab as HTMLElement).tabIndex = chosen ? 0 : -1;
    }
    this.controls.update(state, model, this.view());
    this.jump.update(state, this.source.atlas);
    this.description.update(state);
    this.texts.update(state);
    this.nameHead();
    this.drawing.abort();
    this.drawing = new AbortController();
    const { signal } = this.drawing;
    const drawn = this.drawAll(signal);
    this.busy(drawn, signal);
    void drawn.then(() => this.refine(signal)).catch(() => {}); // told already, or a picture of fewer rows stays
    this.say();
  }

  /** Keeps the panel busy until something is done; says what went wrong, unless it was given up. */
  private busy(work: Promise<void>, signal: AbortSignal): void {
    this.n_busy++;
    this.panel.setAttribute("aria-busy", "true");
    void work
      .then(
        () => signal.aborted || (this.trouble.hidden = true),
        (error: unknown) => {
          if (signal.aborted) return;
          this.trouble.hidden = false;
          this.trouble.textContent = messageOf(error);
        },
      )
      .finally(() => this.panel.setAttribute("aria-busy", String(--this.n_busy > 0)));
  }

  /** The overview, and the view as soon as its colours are known. */
  private async drawAll(signal: AbortSignal): Promise<void> {
    const overview = this.overview.update(this.state, signal);
    overview.catch(() => {}); // told below
    await Promise.race([overview, new Promise((done) => setTimeout(done, SHARED_SOON))]);
    if (signal.aborted) return;
    const top = this.thumbnails.top();
    this.say(); // in the colours that are known now
    await Promise.all([this.draw(signal), this.sayHidden(signal)]);
    await overview;
    if (this.thumbnails.top() === top || signal.aborted) return;
    await this.draw(signal);
    this.say();
  }

  /** Draws all again: a number has come that is larger than what the colours reach to. */
  private drawAnew(): void {
    const { signal } = this.drawing;
    this.busy(Promise.all([this.overview.paint(signal), this.draw(signal)]).then(() => {}), signal);
    this.say();
  }

  /** Draws the view for another size of the window, and gives up what was under way for the size before. */
  private redraw(): void {
    this.sizing.abort();
    this.sizing = new AbortController();
    const { signal } = this.sizing;
    this.drawing.signal.addEventListener("abort", () => this.sizing.signal === signal && this.sizing.abort(), { once: true, signal });
    if (!this.drawing.signal.aborted) this.busy(this.draw(signal), signal);
  }

  /** Has every row read of what was drawn from some, while the page is used. */
  private async refine(signal: AbortSignal): Promise<void> {
    const top = this.thumbnails.top();
    await this.overview.refine(signal);
    if (this.thumbnails.top() !== top && !signal.aborted) await this.draw(signal);
  }

  /** Draws the view. */
  private async draw(signal: AbortSignal): Promise<void> {
    const view = this.seen();
    const now = this.now();
    this.colourBar.element.hidden = !this.view().hasColours;
    this.texts.element.hidden = this.view().hasTexts === true;
    const tile = this.thumbnails.get(this.state);
    const has = { masked: tile?.masked.includes(1) ?? false, broken: tile?.values.some(Number.isNaN) ?? false };
    this.colourBar.update(now.colours, has);
    try {
      await view.update(now, signal);
    } catch (error) {
      // no map stays under another's name
      if (!signal.aborted && (this.drawn === null || !isOfSame(this.drawn, now))) {
        this.room.replaceChildren();
        this.drawn = null;
      }
      throw error;
    }
    if (!signal.aborted) this.drawn = now;
  }

  private nameHead(): void {
    const { state, model } = this;
    const together = isOfLayer(model.atlas, state) ? ", all heads together" : "";
    this.title.replaceChildren(el("span", { class: "name" }, model.nameOf(state, state)), ` ${KIND_TITLES[state.kind]}${together}`);
    const badge = (one: Standout): HTMLElement => el("span", { class: "remark", title: scoreDetail(one) }, visibleText(scoreText(one)));
    const badges = model.standouts(state, state.layer, state.head).map(badge);
    const effect = model.effect(state, state);
    if (effect !== undefined) badges.push(el("span", { class: "remark", title: effectDetail(model.atlas, effect) }, effectText(model.atlas, effect)));
    const texts = badges.length > 0 ? textsTogether(model.atlas.items.length) : "";
    this.remarks.replaceChildren(...badges, texts === "" ? "" : ` (${texts})`);
  }

  /** Says what cells are, and how much is hidden. */
  private async sayHidden(signal: AbortSignal): Promise<void> {
    const { state, model } = this;
    const tiles = tilesOf(model.atlas, state.kind);
    const hidden = tiles === "" && state.quantity === "weight" ? hiddenOf(state, model) : "";
    const removed = hidden === "" ? 0 : await removedOf(this.source, model.of(state), model.axes(state).look, model.columnTokens(state).length, signal).catch(() => null);
    if (!signal.aborted) this.note.textContent = tiles + removedNote(removed, hidden);
  }

  /** The cell under the pointer, or the chosen one, or else the row that the view shows. */
  private selection(): Selection {
    const { queries } = this.model.axes(this.state);
    const chosen = this.hovered ?? this.chosen();
    if (chosen !== null) return chosen;
    const usual = this.view().usualRow?.(this.model, this.state) ?? Math.max(0, queries.special.indexOf(false));
    return { row: queries.labels.length === 0 ? null : usual, column: null };
  }

  /** What was chosen, and is there. */
  private chosen(): Selection | null {
    const { queries, keys } = this.model.axes(this.state);
    const [row, column] = [placeAt(queries, this.state.query), placeAt(keys, this.state.key)];
    return row === null && column === null ? null : { row, column };
  }

  /** Marks what is selected in the view, which is drawn already, and says what it is. */
  private showSelection(): void {
    if (this.room.firstChild !== null) this.seen().mark(this.now());
    this.say();
  }

  /** Says what is selected, and ranks heads by it. */
  private say(): void {
    this.surroundings?.tellSelection(chosenOf(this.state, this.model));
    const now = this.now();
    this.ranking.update(now);
    this.reads.abort();
    this.reads = new AbortController();
    this.busy(this.read(now, this.reads.signal), this.reads.signal);
  }

  /** Says in words and numbers what is selected, and weighs the texts by it. */
  private async read(now: Now, signal: AbortSignal): Promise<void> {
    const { axes, selection, state } = now;
    const said = this.saying.update(this.view().name, sceneOf(now), signal);
    said.catch(() => {}); // what fails here fails below
    if (!isReadable(now)) {
      this.reading.update(axes, selection, null);
      return this.texts.weigh(now, null);
    }
    const known = await knownOf(now, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      this.reading.update(axes, selection, "not read"); // nor a number under another head's
      this.texts.weigh(now, null);
      throw error;
    });
    if (signal.aborted) return;
    if (this.thumbnails.saw(state, known.line.weights)) return this.drawAnew();
    this.reading.update(axes, selection, known);
    this.texts.weigh(now, known.line);
  }

  private moveHead(key: string): void {
    const places = this.model.layers(this.state.kind, this.state.quantity).flatMap((layer) =>
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
function headline(atlas: Atlas): string {
  const texts = atlas.items.flatMap((item) => [item.source.text, item.target.text]);
  const title = texts.includes(atlas.title) ? atlas.provenance.model : atlas.title;
  return title || "attention";
}

/** Whether two draw the same map in the same view. */
function isOfSame(one: Now, other: Now): boolean {
  return one.axes === other.axes && one.state.view === other.state.view && JSON.stringify(one.of) === JSON.stringify(other.of);
}

function nextTheme(theme: State["theme"]): State["theme"] {
  return ({ auto: "light", light: "dark", dark: "auto" } as const)[theme];
}
