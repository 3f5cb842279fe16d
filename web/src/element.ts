// <attlas-viewer src="run.html">: a page of attlas inside any other page. What the npm package holds; no part of the page itself.
//
// The page stands in a sandboxed frame, not in a shadow tree: its texts came from elsewhere, so it gets no reach into the page around
// (nor that page's styles, keys and address into it), it brings its own policy, and several may stand on one page. What is said
// between the two are numbers and a kind of attention, and nothing else is taken.

import { chosenIn } from "./chosen.ts";

/** What is chosen; `query` and `key` count the recording's tokens from 0, and are the first of a word or tile. */
export interface Chosen {
  item: number;
  kind: "encoder" | "decoder" | "cross";
  layer: number;
  head: number;
  query: number | null;
  key: number | null;
}

/** What the page says, one of the two at a time; `attlas` is the version of these messages. */
export type Said = { attlas: 1; height: number } | { attlas: 1; selection: Chosen };

const STYLE = ":host { display: block; overflow: auto } iframe { display: block; width: 100%; height: 680px; border: 0 }";
/** A frame is never taller: beyond, it scrolls itself. */
const TALLEST = 20_000;

// where there is no document, as on a server, the module can be imported all the same
const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/**
 * Shows a page that attlas wrote. Attributes: `src`, the page's address; `view`, what follows the "#" in the address of a view
 * (`kind=cross&layer=2&head=4`); `label`, what assistive technology calls the frame.
 *
 * The element is as tall as the page; a `max-height` or `height` of your own makes it scroll. When something is chosen it fires
 * `attlas-selection`, whose `detail` is a {@link Chosen}.
 */
export class AttlasViewer extends Base {
  static readonly observedAttributes: string[] = ["src", "view", "label"];

  private frame: HTMLIFrameElement | null = null;
  private chosen: Chosen | null = null;
  /** What was asked for before the page was there to take it. */
  private wanted: Partial<Chosen> | null = null;
  private html: string | null = null;
  private due = false;

  /** The page as text, in place of `src`. It is then held to the policy of the page around, too. */
  get page(): string | null {
    return this.html;
  }

  set page(html: string | null) {
    this.html = html;
    this.show();
  }

  /** What is chosen; null before the page has said it. Set it, or a part of it, and the page shows that. */
  get selection(): Chosen | null {
    return this.chosen;
  }

  set selection(wanted: Partial<Chosen> | null) {
    if (wanted === null) return;
    if (this.chosen === null) this.wanted = wanted;
    else this.frame?.contentWindow?.postMessage({ attlas: 1, selection: wanted }, "*");
  }

  connectedCallback(): void {
    window.addEventListener("message", this.hear);
    this.show();
  }

  disconnectedCallback(): void {
    window.removeEventListener("message", this.hear);
    this.frame?.remove();
    this.frame = this.chosen = null;
  }

  attributeChangedCallback(name: string): void {
    if (name !== "label" || this.frame === null) this.show();
    else this.frame.title = this.label();
  }

  /** Shows what attributes say, once, however many of them changed. */
  private show(): void {
    if (this.due) return;
    this.due = true;
    queueMicrotask(() => {
      this.due = false;
      if (this.isConnected) this.makeFrame();
    });
  }

  /** Makes the frame anew, so that nothing is added to the history of the page around. */
  private makeFrame(): void {
    const src = this.getAttribute("src");
    this.frame?.remove();
    this.frame = this.chosen = null;
    if (src === null && this.html === null) return;
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    frame.allow = "clipboard-write";
    frame.title = this.label();
    if (this.html !== null) frame.srcdoc = this.html;
    else frame.src = addressOf(src!, this.getAttribute("view"));
    this.frame = frame;
    this.room().append(frame);
  }

  private label(): string {
    return this.getAttribute("label") ?? "attention maps";
  }

  private room(): ShadowRoot {
    if (this.shadowRoot !== null) return this.shadowRoot;
    const room = this.attachShadow({ mode: "open" });
    // not a style element, which the page around may forbid
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    room.adoptedStyleSheets = [style];
    return room;
  }

  private hear = (event: MessageEvent): void => {
    if (this.frame === null || event.source !== this.frame.contentWindow) return;
    const said = event.data as Partial<{ attlas: 1; height: number; selection: unknown }> | null;
    if (said?.attlas !== 1) return;
    if (Number.isFinite(said.height)) this.frame.style.height = `${Math.min(TALLEST, Math.max(0, said.height!))}px`;
    const chosen = chosenIn(said.selection);
    if (chosen === null) return;
    this.chosen = chosen;
    if (this.wanted !== null) {
      [this.selection, this.wanted] = [this.wanted, null];
      return;
    }
    this.dispatchEvent(new CustomEvent<Chosen>("attlas-selection", { detail: chosen, bubbles: true }));
  };
}

/** The address with the view after its "#"; one that runs a script is not opened. */
function addressOf(src: string, view: string | null): string {
  const url = new URL(src, document.baseURI);
  if (url.protocol === "javascript:") return "about:blank";
  if (view !== null) url.hash = view;
  return url.href;
}

if (globalThis.customElements !== undefined && customElements.get("attlas-viewer") === undefined) {
  customElements.define("attlas-viewer", AttlasViewer);
}

declare global {
  interface HTMLElementTagNameMap {
    "attlas-viewer": AttlasViewer;
  }
}
