// Token text made visible: whatever a token holds, it is seen, and it stays text.

const NAMED = new Map<number, string>([
  [0x0a, "⏎"],
  [0x0d, "␍"],
  [0x09, "⇥"],
  [0xa0, "⍽"],
  [0xad, "‧"],
]);

/** Marks that change the direction of text, or have no picture of their own. */
const INVISIBLE = /[\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Co}\u00a0\u034f\u115f\u1160\u3164\ufeff\uffa0]/u;

/** What a joiner between scripts' letters or parts of an emoji may stand beside. */
const JOINED = /[\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}]/u;

/**
 * The text with control, format and bidirectional marks replaced by a picture of themselves, and an all-blank token
 * by open boxes, so that two different tokens never look the same and no token moves another.
 */
export function visibleText(text: string): string {
  if (text === "") return "∅";
  const signs = [...text];
  const visible = signs.map((sign, index) => {
    const joiner = sign === "\u200c" || sign === "\u200d";
    if (joiner && JOINED.test(signs[index - 1] ?? "") && JOINED.test(signs[index + 1] ?? "")) return sign;
    return INVISIBLE.test(sign) ? pictureOf(sign.codePointAt(0)!) : sign;
  });
  const joined = visible.join("");
  return joined.trim() === "" ? joined.replace(/\s/gu, "␣") : joined;
}

function pictureOf(code: number): string {
  return NAMED.get(code) ?? (code < 0x20 ? String.fromCodePoint(0x2400 + code) : `⟨${code.toString(16).toUpperCase()}⟩`);
}

/** A weight to four digits after the point; what rounds to nothing is said to. */
export function formatWeight(weight: number): string {
  if (Number.isNaN(weight)) return "not a number";
  if (weight > 0 && weight < 0.00005) {
    const [digits, exponent] = weight.toExponential(1).split("e-");
    return `${digits}·10⁻${superscript(exponent!)}`;
  }
  return weight.toFixed(4);
}

export function formatPercent(share: number): string {
  const percent = share * 100;
  return `${percent > 0 && percent < 0.05 ? "< 0.1" : percent.toFixed(1)} %`;
}

function superscript(digits: string): string {
  return [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("");
}
