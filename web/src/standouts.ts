// What stands out about heads, in words: each score beside its baseline and threshold.

import type { Kind, Standout } from "./data.ts";

/** "previous token 0.97 (baseline 0.11, threshold 0.50)". */
export function scoreText({ title, score, baseline, threshold }: Standout): string {
  const beside = baseline === null ? "" : `baseline ${baseline.toFixed(2)}, `;
  return `${title} ${score.toFixed(2)} (${beside}threshold ${threshold.toFixed(2)})`;
}

/** The whole finding: what the score is, its interval, and how much it was measured on. */
export function scoreDetail({ says, interval, n, over }: Standout): string {
  const range = interval === null ? "" : `; 95 % interval ${interval[0].toFixed(2)} to ${interval[1].toFixed(2)}`;
  return `${says}${range}, over ${n} ${over}`;
}

/** "5 texts together": what the scores of a page of several texts are of, whichever is shown; empty for one text alone. */
export function textsTogether(n_texts: number): string {
  return n_texts > 1 ? `${n_texts} texts together` : "";
}

/** Colours of dots, told apart by all eyes (Okabe and Ito 2008); what is beyond them is white. */
const DOTS = 7;

/** The classes that few heads of a kind have, those of the most heads first: each a dot of its own, and how many heads have it. */
export function classesOf(standouts: Standout[], kind: Kind): { title: string; says: string; n_heads: number; dot: number }[] {
  const counts = new Map<string, { says: string; n_heads: number }>();
  for (const { title, says } of standouts.filter((one) => one.kind === kind && !one.usual)) {
    counts.set(title, { says, n_heads: (counts.get(title)?.n_heads ?? 0) + 1 });
  }
  const sorted = [...counts].sort(([a, one], [b, other]) => other.n_heads - one.n_heads || (a < b ? -1 : 1));
  return sorted.map(([title, one], place) => ({ title, ...one, dot: Math.min(place, DOTS) }));
}

/** What the dots of the overview mean, and what more than half of a kind's heads do, said once; empty when nothing stands out. */
export function dotNote(standouts: Standout[], kind: Kind, n_texts: number): string {
  const ofKind = standouts.filter((one) => one.kind === kind);
  const counts = new Map<string, number>();
  for (const { title } of ofKind.filter((one) => one.usual)) counts.set(title, (counts.get(title) ?? 0) + 1);
  const usual = [...counts].map(([title, n_heads]) => `${title}, ${n_heads} heads`);
  const notes = [];
  if (ofKind.some((one) => !one.usual)) {
    const together = textsTogether(n_texts);
    notes.push(`A dot marks what a head stands out for${together === "" ? "" : ` in ${together}`}.`);
  }
  if (usual.length > 0) notes.push(`No dot for what more than half of these heads do: ${usual.join("; ")}.`);
  return notes.join(" ");
}
