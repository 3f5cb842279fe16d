// Making elements. Text goes in as text nodes only, never as markup.

type Attributes = Record<string, string | number | boolean | null>;

/** An element with attributes and children; strings become text nodes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/** An SVG element with attributes. */
export function svg(tag: string, attributes: Attributes = {}): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== false) element.setAttribute(name, String(value));
  }
}

/** Token text, kept from turning its surroundings around. */
export function tokenText(text: string, className = "token"): HTMLElement {
  return el("bdi", { class: className, dir: "auto" }, text);
}

/** A place's label, with its number where the label alone does not say which it is. */
export function tokenAt({ labels, numbers }: { labels: readonly string[]; numbers?: readonly string[] }, place: number, className = "token"): HTMLElement {
  const text = tokenText(labels[place] ?? "", className);
  const number = numbers?.[place] ?? "";
  if (number !== "") text.append(el("sub", {}, `\u200a${number}`));
  return text;
}

/** Whether the page is in a frame, or small: then the map comes first, on the first screen. */
export function isCompact(): boolean {
  return window.parent !== window || window.matchMedia("(max-width: 560px), (max-height: 500px)").matches;
}

/** Work that is done before the next picture, once however often it is asked for: what measures the page, after all has changed. */
export function beforeFrame(work: () => void): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      work();
    });
  };
}

/** Lets what waits have its turn: input, pictures, other work. */
export function breath(): Promise<void> {
  return new Promise((done) => setTimeout(done, 0));
}
