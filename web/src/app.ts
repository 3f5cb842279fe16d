// The page: one state, the views that show it, and the wiring between them.

import { about } from "./about.ts";
import { ColourBar } from "./colourbar.ts";
import { Colours } from "./colours.ts";
import { Controls } from "./controls.ts";
import { headName, KIND_TITLES, tilesOf, type Atlas, type Standout } from "./data.ts";
import { DescriptionPanel } from "./description.ts";
import { el, isCompact, tokenText } from "./dom.ts";
import { drawn } from "./drawn.ts";
import { chosenOf, stateAsked, Surroundings } from "./embed.ts";
import { removedOf } from "./hidden.ts";
import { Jump } from "./jump.ts";
import { isWriting, keyDialog } from "./keys.ts";
import { placeAt, type Axis } from "./look.ts";
import { Model } from "./model.ts";
import { neighbour, Overview } from "./overview.ts";
import { linesPicture, mapPicture, type ShownMap } from "./picture.ts";
import { HeadRanking } from "./ranking.ts";
import { barColour, Reading } from "./reading.ts";
import { Recent } from "./recent.ts";
import { commandOf, csvOf, knockOutOf, pythonOf } from "./reproduce.ts";
import { axisNames, hiddenOf, removedNote, rowsAre } from "./said.ts";
import { Save, type Takeable } from "./save.ts";
import type { Line, Source, Stretch, Tile } from "./source.ts";
import { withoutToken } from "./server.ts";
import { ServerSource } from "./server_source.ts";
import { placesWith, spanName, TextTools, type Taken } from "./spans.ts";
import { scoreDetail, scoreText, textsTogether } from "./standouts.ts";
import { clamped, hashFromState, stateFromHash, textAlong, usualRows, type HeadId, type State } from "./state.ts";
import { visibleText } from "./text.ts";
import { TextLine } from "./texts.ts";
import { Thumbnails, valuesOfScale } from "./thumbnails.ts";
import { Tip } from "./tip.ts";
import { VIEWS } from "./views/list.ts";
import { Panel } from "./views/panel.ts";
import { sceneOf } from "./views/scenes.ts";
import { seenOf } from "./views/viewport.ts";
import type { Now, Page, Selection, View, ViewOf } from "./views/view.ts";

/** How long the view waits for the scale that all heads share before it is drawn with what is known of it, in ms. */
const SHARED_SOON = 150;
/** The most cells of a table. */
const MOST_CELLS = 1 << 24;

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
  private sourceLine = new TextLine("source");
  private targetLine = new TextLine("target");
  private tools: TextTools;
  private tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "kind of attention" });
  private items = el("select", { class: "items", "aria-label": "text of the batch" });
  private theme = el("button", { type: "button", class: "theme" });
  private title = el("h2", { class: "head-title" });
  private remarks = el("div", { class: "remarks" });
  private note = el("p", { class: "caption note" });
  private saying = new Panel();
  private texts = el("section", { class: "texts", "aria-label": "the texts" }, this.sourceLine.element, this.targetLine.element);
  private trouble = el("p", { class: "caption trouble", role: "alert", hidden: true });
  private panel = el("div", { class: "panel", id: "panel", role: "tabpanel" });
  private tip = new Tip();

  /** Shows the first of some recordings in `root`. */
  constructor(sources: readonly Source[], root: HTMLElement) {
    this.sources = sources;
    this.source = sources[0]!;
    this.model = new Model(this.source.atlas);
    this.save = new Save(() => this.takeable(), this.source instanceof ServerSource);
    this.thumbnails = new Thumbnails(this.source, this.model);
    this.lines = new Recent(this.source);
    this.state = stateFromHash(location.hash, this.source.atlas);
    this.overview = new Overview(this.model, this.thumbnails, (head) => this.coloursOf(head), (head, beside) => this.chooseHead(head, beside), (part) => this.change(part));
    this.ranking = new HeadRanking(({ layer, head }) => this.change({ layer, head }));
    this.controls = new Controls((part) => this.change(part));
    this.description = new DescriptionPanel(this.source.atlas, (place) => this.change(place));
    this.tools = new TextTools((part) => this.change(part), (step) => this.goToFound(step), (taken) => this.zoomTo(taken));
    this.jump = new Jump(this.source.atlas, () => this.state, (query, key) => this.change({ query, key }));
    document.documentElement.classList.toggle("compact", isCompact());
    root.replaceChildren(...this.layout());
    this.listen(root);
    this.update();
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
      this.items.append(el("option", { value: index }, `${index}: ${visibleText(text).slice(0, 80)}`));
    });
    const picker = el("label", { class: "picker" }, "text ", this.items);
    picker.hidden = atlas.items.length < 2;
    const header = el(
      "header",
      {},
      el("p", { class: "wordmark" }, "attlas"),
      el("h1", {}, tokenText(visibleText(headline(atlas)), "model-name")),
      picker,
      this.theme,
    );
    const line = el("div", { class: "head-line" }, this.title, this.remarks);
    const head = el("section", { class: "head", "aria-label": "the chosen head" }, this.controls.views, line, this.jump.element, this.room, this.trouble, this.colourBar.element, this.note, this.saying.element, this.save.element);
    this.reading.element.append(this.ranking.element);
    this.panel.append(this.overview.element, head, this.reading.element);
    const failed = el("p", { class: "failed", role: "alert" }, el("strong", {}, "Not sound: "), el("bdi", {}, visibleText(atlas.failed ?? "")));
    failed.hidden = atlas.failed === undefined;
    return [header, failed, this.description.element, this.texts, el("div", { class: "tabs-row" }, this.tabs, this.tools.element), this.controls.element, this.panel, about(atlas), this.tip.element, keyDialog(document)];
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
    this.followSize(root);
    this.reading.onSelect = (selection) => this.choose(selection);
    for (const line of [this.sourceLine, this.targetLine]) {
      line.onSelect = (place) => this.chooseToken(line, place);
      line.onHover = (place) => this.preview(place === null ? null : this.ofToken(line, place));
      line.onRange = (range) => this.tools.offer(range === null ? null : this.taken(line, range), this.state);
    }
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !isWriting(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.tools.focus();
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

  /** What a token of the text stands for: in cross-attention a source token is a key, any other a query. */
  private ofToken(line: TextLine, place: number): Selection {
    const isKey = this.state.kind === "cross" && line === this.sourceLine;
    return isKey ? { row: null, column: place } : { row: place, column: null };
  }

  /** Chooses a token of the text; in self-attention, one that is chosen already is turned round: who looks at it? */
  private chooseToken(line: TextLine, place: number): void {
    const chosen = this.chosen();
    const again = this.state.kind !== "cross" && chosen?.row === place && chosen.column === null;
    this.choose(again ? { row: null, column: place } : this.ofToken(line, place));
  }

  /** The tokens of places that were taken together. */
  private taken(line: TextLine, [from, to]: [number, number]): Taken {
    const { stretches } = this.axisOfLine(line);
    return { of: line === this.sourceLine ? "source" : "target", from: stretches[from]![0], to: stretches[to - 1]![1], n: to - from };
  }

  /** What stands along a line of text. */
  private axisOfLine(line: TextLine): Axis {
    const { state, model } = this;
    const { queries, keys } = model.axes(state);
    const of = line === this.sourceLine ? "source" : "target";
    if (textAlong("query", state.kind) === of) return queries;
    return textAlong("key", state.kind) === of ? keys : model.idleAxis(state, of);
  }

  /** Shows some tokens alone, as queries and as keys, wherever they stand. */
  private zoomTo({ of, from, to }: Taken): void {
    const { state, model } = this;
    const whole = (axis: Axis): Stretch => [axis.stretches[0]?.[0] ?? 0, axis.stretches.at(-1)?.[1] ?? 1];
    const { queries, keys } = model.axes(state);
    const along = (axis: "query" | "key"): Stretch => (textAlong(axis, state.kind) === of ? [from, to] : (state.zoom?.[axis === "query" ? "queries" : "keys"] ?? whole(axis === "query" ? queries : keys)));
    this.change({ zoom: { queries: along("query"), keys: along("key") } });
  }

  /** Chooses the next token that is found, or the one before. */
  private goToFound(step: 1 | -1): void {
    const places = [this.sourceLine, this.targetLine].flatMap((line) => (line.element.hidden || !this.isChoosable(line) ? [] : placesWith(this.axisOfLine(line), this.state.seek).map((place) => this.ofToken(line, place))));
    if (places.length === 0) return;
    const chosen = this.chosen();
    const at = places.findIndex(({ row, column }) => chosen?.row === row && chosen.column === column);
    this.choose(places[(at + step + places.length) % places.length]!);
  }

  private isChoosable(line: TextLine): boolean {
    const of = line === this.sourceLine ? "source" : "target";
    return textAlong("query", this.state.kind) === of || textAlong("key", this.state.kind) === of;
  }

  /** Marks what is looked for, and shows the spans. */
  private fillTools(): void {
    let n_found = 0;
    for (const line of [this.sourceLine, this.targetLine]) {
      const places = placesWith(this.axisOfLine(line), this.state.seek);
      line.mark(new Set(places));
      if (!line.element.hidden) n_found += places.length;
    }
    const item = this.model.item(this.state);
    this.tools.update(this.state, n_found, (span) => spanName(span, item[span.of].tokens.slice(span.from, span.to).map(({ text }) => text).join("")));
  }

  private chooseHead(head: HeadId, beside: boolean): void {
    const { heads } = this.state;
    if (!beside) return this.change({ layer: head.layer, head: head.head });
    const others = heads.filter((one) => one.layer !== head.layer || one.head !== head.head);
    this.change({ heads: others.length < heads.length ? others : [...heads, { layer: head.layer, head: head.head }] });
  }

  /** Draws anew for another size of the window; tells how tall the page is. */
  private followSize(root: HTMLElement): void {
    let [width, height] = [0, 0];
    const look = (): void => {
      const { clientWidth } = document.documentElement;
      document.documentElement.classList.toggle("compact", isCompact());
      const taller = isCompact() && Math.abs(window.innerHeight - height) > 1;
      if (width > 0 && (Math.abs(clientWidth - width) > 1 || taller)) this.busy(this.draw(this.drawing.signal), this.drawing.signal);
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
    if (Object.keys(part).join() === "seek") this.fillTools();
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

  /** Draws all that the state asks for. */
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
    this.controls.update(state, model, this.view());
    this.jump.update(state, this.source.atlas);
    this.description.update(state);
    this.fillTexts();
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
          this.trouble.textContent = error instanceof Error ? error.message : String(error);
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
    this.texts.hidden = this.view().hasTexts === true;
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
    this.title.replaceChildren(el("span", { class: "name" }, headName(state.layer, state.head)), ` ${KIND_TITLES[state.kind]}`);
    const badge = (one: Standout): HTMLElement => el("span", { class: "remark", title: scoreDetail(one) }, visibleText(scoreText(one)));
    const badges = model.standouts(state, state.layer, state.head).map(badge);
    const together = badges.length > 0 ? textsTogether(model.atlas.items.length) : "";
    this.remarks.replaceChildren(...badges, together === "" ? "" : ` (${together})`);
  }

  /** Says what cells are, and how much is hidden. */
  private async sayHidden(signal: AbortSignal): Promise<void> {
    const { state, model } = this;
    const tiles = tilesOf(model.atlas, state.kind);
    const hidden = tiles === "" && state.quantity === "weight" ? hiddenOf(state, model) : "";
    const removed = hidden === "" ? 0 : await removedOf(this.source, model.of(state), model.axes(state).look, model.columnTokens(state).length, signal).catch(() => null);
    if (!signal.aborted) this.note.textContent = tiles + removedNote(removed, hidden);
  }

  /** The present view, to be taken along. */
  private takeable(): Takeable {
    const { state, model } = this;
    const now = this.now();
    const view = this.seen();
    const title = `${headName(state.layer, state.head)} ${KIND_TITLES[state.kind]}`;
    const said = { title, ...axisNames(state, model), colours: now.colours, note: this.note.textContent ?? "" };
    const picture = async () => {
      if (view.picture !== undefined) return view.picture(now);
      const { shown, tile, chosen } = await this.part(now, state.view === "lines" ? Infinity : 1000);
      return state.view === "lines" ? linesPicture(shown, chosen, said, state) : mapPicture(shown, tile, said);
    };
    return {
      name: `${headName(state.layer, state.head)}-${state.kind}`,
      picture,
      csv: async () => csvOf((await this.part({ ...now, state: { ...state, scale: "linear" } }, Infinity)).shown),
      link: () => withoutToken(location.href.replace(/#.*$/, "")) + hashFromState(state, model.atlas),
      python: () => pythonOf(state, model.atlas),
      command: () => commandOf(state, model.atlas),
      knockOut: () => {
        const command = knockOutOf(state, model.atlas);
        if (command === null) throw new Error("these maps came without the model that made them, so nothing can be measured with it");
        return command;
      },
      ...(this.source instanceof ServerSource ? { drawn: drawn(this.source, state) } : {}),
    };
  }

  /** What is seen of the map, in so many pixels a side at most. */
  private async part({ state, axes, of, chosen }: Now, side: number): Promise<{ shown: ShownMap; tile: Tile; chosen: Selection }> {
    const [rows, columns] = [seenOf(axes.queries, state.zoom?.queries ?? null), seenOf(axes.keys, state.zoom?.keys ?? null)];
    const [n_rows, n_columns] = [rows.to - rows.from, columns.to - columns.from];
    if (side === Infinity && n_rows * n_columns > MOST_CELLS) throw new Error(`${n_rows} × ${n_columns} cells are too many for a file of a page; zoom in to fewer`);
    const part = { rows: [rows.from, rows.to], columns: [columns.from, columns.to] } as const;
    const tile = await this.source.tile({ of, look: axes.look, part, height: Math.min(side, n_rows), width: Math.min(side, n_columns), pool: state.pool, values: valuesOfScale(state.scale), exact: true });
    const cut = <T>(list: readonly T[], { from, to }: { from: number; to: number }): T[] => list.slice(from, to);
    const axis = (axis: typeof axes.queries, seen: { from: number; to: number }) => ({ labels: cut(axis.labels, seen), stretches: cut(axis.stretches, seen), special: cut(axis.special, seen) });
    const shown = { queries: axis(axes.queries, rows), keys: axis(axes.keys, columns), weights: tile.values, masked: tile.masked };
    const place = (place: number | null | undefined, from: number): number | null => (place == null ? null : place - from);
    return { shown, tile, chosen: { row: place(chosen?.row, rows.from), column: place(chosen?.column, columns.from) } };
  }

  private fillTexts(): void {
    const { state, model } = this;
    const item = model.item(state);
    const { queries, keys } = model.axes(state);
    const roles = {
      encoder: { source: "both", target: "idle" },
      decoder: { source: "idle", target: "both" },
      cross: { source: "keys", target: "queries" },
    } as const;
    const idle = (other: "source" | "target") => model.idleAxis(state, other);
    const [source, target] = { encoder: [queries, idle("target")], decoder: [idle("source"), queries], cross: [keys, queries] }[state.kind];
    this.sourceLine.fill(source!, roles[state.kind].source);
    this.targetLine.fill(target!, roles[state.kind].target);
    this.sourceLine.element.hidden = item.source.tokens.length === 0;
    this.targetLine.element.hidden = item.target.tokens.length === 0;
    for (const line of [this.sourceLine, this.targetLine]) line.dropRange();
    this.fillTools();
  }

  /** The cell under the pointer, or the chosen one, or else the first query that is no special token. */
  private selection(): Selection {
    const { queries } = this.model.axes(this.state);
    const chosen = this.hovered ?? this.chosen();
    if (chosen !== null) return chosen;
    const first = queries.special.indexOf(false);
    return { row: queries.labels.length === 0 ? null : Math.max(0, first), column: null };
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
    const { axes, of, lines, selection, state, model } = now;
    const { row, column } = selection;
    const said = this.saying.update(this.view().name, sceneOf(now), signal);
    said.catch(() => {}); // what fails here fails below
    const isThere = axes.queries.labels.length > 0 && axes.keys.labels.length > 0 && (row !== null || column !== null);
    if (!isThere) {
      this.reading.update(axes, selection, null);
      return this.weighTexts(now, null);
    }
    const read = Promise.all([row !== null ? lines.row(of, axes.look, row) : lines.column(of, axes.look, column!), this.scoreAt(now, signal)]);
    const [line, score] = await read.catch((error: unknown) => {
      if (signal.aborted) throw error;
      this.reading.update(axes, selection, "not read"); // nor a number under another head's
      this.weighTexts(now, null);
      throw error;
    });
    if (signal.aborted) return;
    if (this.thumbnails.saw(state, line.weights)) return this.drawAnew();
    this.reading.update(axes, selection, {
      line,
      colours: now.colours,
      score,
      prediction: this.predictionOf(selection),
      rows: rowsAre(state, model),
      tiles: tilesOf(model.atlas, state.kind) !== "",
      hidden: hiddenOf(state, model),
      weigh: state.quantity === "weight",
      self: state.kind !== "cross",
    });
    this.weighTexts(now, line);
  }

  /** Frames the selection's tokens in the texts, and weighs what its query looks at, or who looks at its key. */
  private weighTexts({ selection, colours, state }: Now, line: Line | null): void {
    const { row, column } = selection;
    const queryLine = state.kind === "encoder" ? this.sourceLine : this.targetLine;
    const keyLine = state.kind === "decoder" ? this.targetLine : this.sourceLine;
    const weighed = row === null ? queryLine : keyLine;
    const top = Math.max(1, state.quantity === "weight" ? 0 : colours.top);
    for (const other of [this.sourceLine, this.targetLine]) if (other !== weighed || line === null) other.weigh(null, () => "", 1);
    if (line !== null) weighed.weigh(line.weights, (weight) => barColour(colours, weight, line), top);
    if (queryLine !== keyLine) keyLine.frame(column, "key");
    if (queryLine !== keyLine) queryLine.frame(row, "query");
    else queryLine.frame(row ?? column, row === null ? "key" : "query");
  }

  /** The score of a cell that stands for one query and one key. */
  private async scoreAt({ selection: { row, column }, axes, of, source, state }: Now, signal: AbortSignal): Promise<{ score: number; digits: number } | null> {
    if (row === null || column === null || state.quantity !== "weight") return null;
    const [queries, keys] = [axes.queries.stretches[row]!, axes.keys.stretches[column]!];
    if (queries[1] - queries[0] !== 1 || keys[1] - keys[0] !== 1) return null;
    const { score, digits } = await source.terms(of, queries[0], keys[0], signal);
    return score === null ? null : { score, digits };
  }

  /** The token that the selected row predicts, where the row is one token and is named by the one it reads. */
  private predictionOf({ row }: Selection): string | null {
    const { state, model } = this;
    const stretch = row === null ? undefined : model.axes(state).queries.stretches[row];
    if (stretch === undefined || stretch[1] - stretch[0] !== 1 || state.rows === "predicted" || !model.predicts(state)) return null;
    return visibleText(model.item(state).predicted[stretch[0]]!.text);
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
