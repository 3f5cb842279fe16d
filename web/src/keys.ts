// Which keys do what: a list at the foot of the page, and the same in a dialog that "?" opens.

import { el } from "./dom.ts";

const KEYS = [
  ["?", "this list"],
  ["Tab", "next part of the page"],
  ["arrows in the overview", "another head"],
  ["Shift or Ctrl + click on a head", "draw it beside the chosen one, as lines"],
  ["arrows in the map", "another cell"],
  ["+ and - in the map, Ctrl + wheel, two fingers", "nearer, farther"],
  ["0 in the map", "the whole map"],
  ["Shift + arrows in the map", "another head"],
  ["q in the map", "the cell's query alone: where it looks"],
  ["k in the map", "the cell's key alone: who looks at it"],
  ["arrows on a token of the text", "the token beside it"],
  ["Shift + arrows, or dragging, on tokens", "take several together; a finger holds the first, and touches the last"],
  ["Enter on a chosen token", "turn round: where it looks, who looks at it"],
  ["/", "find a token"],
  ["arrows on the tabs", "another kind of attention"],
  ["arrows on the views", "another view"],
  ["arrows on the slider of steps", "the step before, the next"],
  ["arrows, Enter on a picture", "another patch, choose it"],
  ["Escape", "nothing chosen"],
] as const;

/** The keys and what they do, as a list. */
export function keyList(): HTMLElement {
  const list = el("dl", { class: "keys-list" });
  for (const [key, action] of KEYS) list.append(el("dt", {}, key), el("dd", {}, action));
  return list;
}

/** The dialog; it opens by "?" wherever no text is written. */
export function keyDialog(document: Document): HTMLDialogElement {
  const close = el("button", { type: "button", class: "plain" }, "close");
  const dialog = el("dialog", { class: "keys-dialog", "aria-label": "keys" }, el("h2", {}, "Keys"), keyList(), close);
  close.addEventListener("click", () => dialog.close());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else dialog.showModal();
  });
  return dialog;
}

/** Whether keys go into a field. */
export function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("select, textarea, input:not([type=radio], [type=checkbox], [type=range])");
}
