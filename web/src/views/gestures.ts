// Zooming and moving with wheel, fingers and mouse, told apart from clicks and from scrolling the page.

/** What a hand asks for, in shares of the element's width and height. */
export interface Moves {
  /** Nearer by `factor`, about a place. */
  zoom: (factor: number, x: number, y: number) => void;
  /** Moved by a share of what is seen. */
  pan: (x: number, y: number) => void;
  /** The hand rests. */
  rest: () => void;
  /** Whether the wheel and one finger are for the map, not for the page. */
  holds: (deltaY: number) => boolean;
}

/** A pointer that moved less clicks, in CSS pixels. */
const STILL = 4;
/** A wheel that turned elsewhere so shortly ago is scrolling the page, in ms. */
const PASSING = 300;
/** How long a wheel rests before it is let go, in ms. */
const REST = 160;

/** Listens; returns whether the last press was a drag, which is no click. */
export function listenTo(element: HTMLElement, moves: Moves): () => boolean {
  const pointers = new Map<number, { x: number; y: number }>();
  let [dragged, travelled, lastElsewhere] = [false, 0, -Infinity];
  let resting: ReturnType<typeof setTimeout> | undefined;
  const restSoon = (): void => {
    clearTimeout(resting);
    resting = setTimeout(moves.rest, REST);
  };
  const share = (x: number, y: number): [number, number] => {
    const box = element.getBoundingClientRect();
    return [(x - box.left) / box.width, (y - box.top) / box.height];
  };

  document.addEventListener("wheel", (event) => (element.contains(event.target as Node) ? undefined : (lastElsewhere = performance.now())), { passive: true, capture: true });
  element.addEventListener("wheel", (event) => {
    const meant = event.ctrlKey || event.metaKey;
    if (!meant && (performance.now() - lastElsewhere < PASSING || !moves.holds(event.deltaY))) {
      if (performance.now() - lastElsewhere < PASSING) lastElsewhere = performance.now();
      return;
    }
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : event.deltaMode === 2 ? 400 : 1;
    const turned = Math.max(-60, Math.min(60, event.deltaY * lines * (event.ctrlKey ? 2 : 1)));
    if (event.shiftKey) moves.pan(share(turned + element.getBoundingClientRect().left, 0)[0], 0);
    else moves.zoom(Math.exp(-turned / 160), ...share(event.clientX, event.clientY));
    restSoon();
  }, { passive: false });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) [dragged, travelled] = [false, 0];
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (before === undefined) return;
    const now = { x: event.clientX, y: event.clientY };
    travelled += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    pointers.set(event.pointerId, now);
    if (travelled < STILL) return;
    if (pointers.size === 1) {
      if (event.pointerType === "mouse" && event.buttons !== 1) return;
      const box = element.getBoundingClientRect();
      if (!dragged && event.isTrusted) element.setPointerCapture(event.pointerId);
      dragged = true;
      moves.pan((before.x - now.x) / box.width, (before.y - now.y) / box.height);
      return;
    }
    dragged = true;
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (other === undefined || pointers.size > 2) return;
    const apart = (place: { x: number; y: number }): number => Math.max(12, Math.hypot(place.x - other.x, place.y - other.y));
    moves.zoom(apart(now) / apart(before), ...share((now.x + other.x) / 2, (now.y + other.y) / 2));
    const box = element.getBoundingClientRect();
    moves.pan((before.x - now.x) / 2 / box.width, (before.y - now.y) / 2 / box.height);
  });
  const lift = (event: PointerEvent): void => {
    if (!pointers.delete(event.pointerId) || pointers.size > 0 || !dragged) return;
    moves.rest();
  };
  for (const name of ["pointerup", "pointercancel"] as const) element.addEventListener(name, lift);
  return () => dragged;
}
