// What the output loses with each head, where that was measured: in words, beside what the head's map looks like.

import type { Atlas, HeadEffect, Kind } from "./data.ts";
import type { HeadId } from "./state.ts";
import { formatNumber } from "./text.ts";

/** The name of this order of the heads in the URL. */
export const BY_EFFECT = "effect";

/** The effect of a head; undefined where none was measured. */
export function effectOf({ effects }: Atlas, kind: Kind, { layer, head }: HeadId): HeadEffect | undefined {
  return effects?.heads.find((one) => one.kind === kind && one.layer === layer && one.head === head);
}

/** Whether effects of heads of a kind were measured. */
export function hasEffects({ effects }: Atlas, kind: Kind): boolean {
  return effects?.heads.some((one) => one.kind === kind) === true;
}

/** "+0.1200". */
export function effectNumber({ effect }: HeadEffect): string {
  return `${effect > 0 ? "+" : ""}${formatNumber(effect)}`;
}

/** "effect +0.1200 (kl, zero)". */
export function effectText({ effects }: Atlas, one: HeadEffect): string {
  return `effect ${effectNumber(one)} (${effects!.metric}, ${effects!.method})`;
}

/** What an effect is, and what it stands beside. */
export function effectDetail({ effects }: Atlas, { mean_weight }: HeadEffect): string {
  const beside = mean_weight === undefined ? "" : `; beside it, the mean of the rows' largest weights is ${mean_weight.toFixed(3)}`;
  return `measured: ${effects!.metric} of the output with the head changed (${effects!.method}) less without${beside}`;
}

/** What the order by effect is, in a sentence. */
export function orderNote({ effects }: Atlas): string {
  return `In the order of how much the output's ${effects!.metric} was measured to change with the head (${effects!.method}), whatever its sign; weights are not importance.`;
}
