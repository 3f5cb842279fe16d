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
  listenToWheel(element, moves);
  return listenToPointers(element, moves);
}

/** A place on screen in shares of the element. */
function shareOf(element: HTMLElement, x: number, y: number): [number, number] {
  const box = element.getBoundingClientRect();
  return [(x - box.left) / box.width, (y - box.top) / box.height];
}

function listenToWheel(element: HTMLElement, moves: Moves): void {
  let lastElsewhere = -Infinity;
  let resting: ReturnType<typeof setTimeout> | undefined;
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
    if (event.shiftKey) moves.pan(turned / element.getBoundingClientRect().width, 0);
    else moves.zoom(Math.exp(-turned / 160), ...shareOf(element, event.clientX, event.clientY));
    clearTimeout(resting);
    resting = setTimeout(moves.rest, REST);
  }, { passive: false });
}

/** One pointer moves the map, two zoom it; returns whether the last press was a drag. */
function listenToPointers(element: HTMLElement, moves: Moves): () => boolean {
  const pointers = new Map<number, { x: number; y: number }>();
  let [dragged, travelled] = [false, 0];
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
    if (travelled < STILL || (pointers.size === 1 && event.pointerType === "mouse" && event.buttons !== 1)) return;
    if (pointers.size === 1 && !dragged && event.isTrusted) element.setPointerCapture(event.pointerId);
    dragged = true;
    const box = element.getBoundingClientRect();
    const moved: [number, number] = [(before.x - now.x) / box.width, (before.y - now.y) / box.height];
    if (pointers.size === 1) return moves.pan(...moved);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other === undefined || pointers.size > 2) return;
    const apart = (place: { x: number; y: number }): number => Math.max(12, Math.hypot(place.x - other.x, place.y - other.y));
    moves.zoom(apart(now) / apart(before), ...shareOf(element, (now.x + other.x) / 2, (now.y + other.y) / 2));
    moves.pan(moved[0] / 2, moved[1] / 2);
  });
  const lift = (event: PointerEvent): void => {
    if (pointers.delete(event.pointerId) && pointers.size === 0 && dragged) moves.rest();
  };
  for (const name of ["pointerup", "pointercancel"] as const) element.addEventListener(name, lift);
  return () => dragged;
}
