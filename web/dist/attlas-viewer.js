// src/chosen.ts
function chosenIn(said) {
  const { item, kind, layer, head, query, key } = record(said) ?? {};
  const isPlace = (value) => value === null || isCount(value);
  if (!isCount(item) || !isCount(layer) || !isCount(head) || !isPlace(query) || !isPlace(key)) return null;
  if (kind !== "encoder" && kind !== "decoder" && kind !== "cross") return null;
  return { item, kind, layer, head, query, key };
}
function record(value) {
  return typeof value === "object" && value !== null ? value : null;
}
function isCount(value) {
  return Number.isInteger(value) && value >= 0;
}

// src/element.ts
var STYLE = ":host { display: block; overflow: auto } iframe { display: block; width: 100%; height: 680px; border: 0 }";
var TALLEST = 2e4;
var Base = globalThis.HTMLElement ?? class {
};
var AttlasViewer = class extends Base {
  static observedAttributes = ["src", "view", "label"];
  frame = null;
  chosen = null;
  /** What was asked for before the page was there to take it. */
  wanted = null;
  html = null;
  due = false;
  /** The page as text, in place of `src`. It is then held to the policy of the page around, too. */
  get page() {
    return this.html;
  }
  set page(html) {
    this.html = html;
    this.show();
  }
  /** What is chosen; null before the page has said it. Set it, or a part of it, and the page shows that. */
  get selection() {
    return this.chosen;
  }
  set selection(wanted) {
    if (wanted === null) return;
    if (this.chosen === null) this.wanted = wanted;
    else this.frame?.contentWindow?.postMessage({ attlas: 1, selection: wanted }, "*");
  }
  connectedCallback() {
    window.addEventListener("message", this.hear);
    this.show();
  }
  disconnectedCallback() {
    window.removeEventListener("message", this.hear);
    this.frame?.remove();
    this.frame = this.chosen = null;
  }
  attributeChangedCallback(name) {
    if (name !== "label" || this.frame === null) this.show();
    else this.frame.title = this.label();
  }
  /** Shows what attributes say, once, however many of them changed. */
  show() {
    if (this.due) return;
    this.due = true;
    queueMicrotask(() => {
      this.due = false;
      if (this.isConnected) this.makeFrame();
    });
  }
  /** Makes the frame anew, so that nothing is added to the history of the page around. */
  makeFrame() {
    const src = this.getAttribute("src");
    this.frame?.remove();
    this.frame = this.chosen = null;
    if (src === null && this.html === null) return;
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    frame.allow = "clipboard-write";
    frame.title = this.label();
    if (this.html !== null) frame.srcdoc = this.html;
    else frame.src = addressOf(src, this.getAttribute("view"));
    this.frame = frame;
    this.room().append(frame);
  }
  label() {
    return this.getAttribute("label") ?? "attention maps";
  }
  room() {
    if (this.shadowRoot !== null) return this.shadowRoot;
    const room = this.attachShadow({ mode: "open" });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    room.adoptedStyleSheets = [style];
    return room;
  }
  hear = (event) => {
    if (this.frame === null || event.source !== this.frame.contentWindow) return;
    const said = event.data;
    if (said?.attlas !== 1) return;
    if (Number.isFinite(said.height)) this.frame.style.height = `${Math.min(TALLEST, Math.max(0, said.height))}px`;
    const chosen = chosenIn(said.selection);
    if (chosen === null) return;
    this.chosen = chosen;
    if (this.wanted !== null) {
      [this.selection, this.wanted] = [this.wanted, null];
      return;
    }
    this.dispatchEvent(new CustomEvent("attlas-selection", { detail: chosen, bubbles: true }));
  };
};
function addressOf(src, view) {
  const url = new URL(src, document.baseURI);
  if (url.protocol === "javascript:") return "about:blank";
  if (view !== null) url.hash = view;
  return url.href;
}
if (globalThis.customElements !== void 0 && customElements.get("attlas-viewer") === void 0) {
  customElements.define("attlas-viewer", AttlasViewer);
}
export {
  AttlasViewer
};
