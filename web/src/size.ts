// How large the window is and how fine its pixels are: what was drawn for other sizes is drawn anew, and the page around is told the height.

import { isCompact } from "./dom.ts";

/** What a finger does to the height of a window by scrolling, in CSS pixels: bars come and go. */
const BARS = 120;

/** What a drawing was made for, in CSS pixels and device pixels for each. */
interface Size {
  width: number;
  height: number;
  ratio: number;
}

/** Calls `redraw` when something has to be drawn anew, and `tell` with how tall `root` is. */
export function followSize(root: HTMLElement, redraw: () => void, tell: (height: number) => void): void {
  const now = (): Size => ({ width: document.documentElement.clientWidth, height: window.innerHeight, ratio: window.devicePixelRatio });
  let drawn: Size | null = null;
  const look = (): void => {
    document.documentElement.classList.toggle("compact", isCompact());
    const size = now();
    const taller = isCompact() || !window.matchMedia("(pointer: coarse)").matches ? 1 : BARS;
    if (drawn === null || isOther(drawn, size, taller)) {
      if (drawn !== null) redraw();
      drawn = size;
    }
    tell(Math.ceil(root.getBoundingClientRect().height));
  };
  new ResizeObserver(look).observe(root);
  window.addEventListener("resize", look);
  // another screen may have finer pixels and be as large
  const watch = (): void => window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", () => (look(), watch()), { once: true });
  watch();
}

/** Whether what was drawn for one size is not right for another; heights that differ less than `taller` are alike. */
export function isOther(drawn: Size, size: Size, taller: number): boolean {
  return Math.abs(size.width - drawn.width) > 1 || Math.abs(size.height - drawn.height) > taller || size.ratio !== drawn.ratio;
}
