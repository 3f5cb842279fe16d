// What of a message can be believed: it comes from another window.

import type { Chosen } from "./element.ts";

/** What a message says is chosen, and nothing that it holds beside; null where it is not that. */
export function chosenIn(said: unknown): Chosen | null {
  const { item, kind, layer, head, query, key } = record(said) ?? {};
  const isPlace = (value: unknown): value is number | null => value === null || isCount(value);
  if (!isCount(item) || !isCount(layer) || !isCount(head) || !isPlace(query) || !isPlace(key)) return null;
  if (kind !== "encoder" && kind !== "decoder" && kind !== "cross") return null;
  return { item, kind, layer, head, query, key };
}

/** The value as named parts; null where it is none. */
export function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}

/** Whether the value is a whole number from 0 on. */
export function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}
