// What is said beside the pointer.

import { beforeFrame, el } from "./dom.ts";

export class Tip {
  readonly element = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
  private at: PointerEvent | null = null;
  private placeSoon = beforeFrame(() => this.place());

  /** Says something beside the pointer; null hides what was said. */
  show(event: PointerEvent | null, words: (Node | string)[]): void {
    this.at = event;
    this.element.hidden = event === null;
    if (event === null) return;
    this.element.replaceChildren(...words);
    this.placeSoon();
  }

  private place(): void {
    if (this.at === null) return;
    const { element, at } = this;
    const left = Math.min(at.clientX + 14, document.documentElement.clientWidth - element.offsetWidth - 8);
    const above = at.clientY - element.offsetHeight - 12;
    element.style.left = `${Math.max(4, left)}px`;
    element.style.top = `${above < 4 ? at.clientY + 18 : above}px`;
  }
}
