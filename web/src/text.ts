// Token text made visible: whatever a token holds, it is seen, and it stays text. As attlas::figure::visible has it.

/** Marks that change the direction of text, or have no picture of their own; a space is dealt with before. */
const INVISIBLE = /[\p{Cf}\p{Cc}\p{Zs}\p{Zl}\p{Zp}\p{Cs}\p{Co}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufeff\uffa0]/u;

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** What a joiner between scripts' letters or parts of an emoji may stand beside. */
const JOINED = /[\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}]/u;

/**
 * The text with control, format and bidirectional marks replaced by a name or a picture of themselves, so that two
 * different tokens never look the same and no token moves another. A space at the start, the mark of a new word in many
 * vocabularies, is dropped; other spaces that could not be seen are open boxes.
 */
export function visibleText(text: string): string {
  if (text === "") return "⟨empty⟩";
  const body = text.startsWith(" ") && /[^ ]/u.test(text) ? text.slice(1) : text;
  const signs = [...body];
  const visible = signs.map((sign, index) => {
    const [before, after] = [signs[index - 1], signs[index + 1]];
    if (sign === " ") return (before ?? " ") === " " || (after ?? " ") === " " ? "␣" : " ";
    const joiner = sign === "\u200c" || sign === "\u200d";
    if (joiner && JOINED.test(before ?? "") && JOINED.test(after ?? "")) return sign;
    return INVISIBLE.test(sign) ? pictureOf(sign.codePointAt(0)!) : sign;
  });
  return visible.join("");
}

/** The first signs of a text, and an ellipsis where there are more. */
export function shortened(text: string, most: number): string {
  const signs = [...text];
  return signs.length > most ? `${signs.slice(0, most).join("")}…` : text;
}

function pictureOf(code: number): string {
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** A weight to four digits after the point; what rounds to nothing is said to. */
export function formatWeight(weight: number): string {
  if (Number.isNaN(weight)) return "not a number";
  if (weight > 0 && weight < 0.00005) return powerOfTen(weight.toExponential(1));
  return weight.toFixed(4);
}

/** A number of any quantity, to four digits after the point of its layer's unit, a power of ten; smaller ones as weights are. */
export function formatNumber(number: number, unit = 1): string {
  if (Number.isNaN(number)) return "not a number";
  const [size, sign] = [Math.abs(number), number < 0 ? "−" : ""];
  if (size === Infinity) return `${sign}∞`;
  const share = size / unit;
  // two digits may have been rounded up to where four places begin
  if (share < 0.0000500001 && share > 0) return sign + powerOfTen(size.toExponential(1));
  const places = 4 - Math.round(Math.log10(unit));
  const shown = Math.floor(share * 1e4 + 0.5);
  if (places > 12) return shown === 0 ? "0" : sign + powerOfTen(size.toExponential(3));
  return sign + (places >= 0 ? (shown / 10 ** places).toFixed(places) : (shown * 10 ** -places).toFixed(0));
}

/** A number to the digits that are shown, as programs read it: "-1.2e-7". */
export function plainNumber(number: number, unit = 1): string {
  if (!Number.isFinite(number)) return String(number);
  const power = (_: string, sign: string, digits: string): string => `e${sign === "" ? "" : "-"}${[...digits].map((digit) => SUPERSCRIPT.indexOf(digit)).join("")}`;
  return formatNumber(number, unit).replace("−", "-").replace(/·10(⁻?)(.+)$/u, power);
}

/** The fewest digits that stand for this number of 32 bits alone. */
export function shortest(number: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const rounded = Number(number.toPrecision(digits));
    if (Math.fround(rounded) === Math.fround(number)) return String(rounded);
  }
  return String(Number(number.toPrecision(9)));
}

/** A number of so many digits after its point; one that these would make 0 has its first digit. */
export function rounded(number: number, places: number): string {
  const text = number.toFixed(places);
  return number !== 0 && Number(text) === 0 ? powerOfTen(number.toExponential(0)) : text;
}

/** `1.2e-7` as it is written by hand. */
function powerOfTen(number: string): string {
  const [digits, exponent] = number.split("e");
  return `${digits}·10${exponent!.startsWith("-") ? "⁻" : ""}${superscript(exponent!.replace(/^[+-]/, ""))}`;
}

/** A share as a percentage to one digit after the point; one that rounds to nothing is said to: "< 0.1 %". */
export function formatPercent(share: number): string {
  const percent = share * 100;
  return `${percent > 0 && percent < 0.05 ? "< 0.1" : percent.toFixed(1)} %`;
}

/** The text with a capital at its start. */
export function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** What went wrong, for a reader. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function superscript(digits: string): string {
  return [...digits].map((digit) => SUPERSCRIPT[Number(digit)]).join("");
}

/** A number in a cell of a map: four digits after the point, without the 0 before it, or as many as its layer's unit, a power of ten, has;
 * of one that these would make 0, its first digit, for which there is room. */
export function formatCell(number: number, unit = 1): string {
  if (Number.isNaN(number)) return "NaN";
  const [size, sign] = [Math.abs(number), number < 0 ? "−" : ""];
  if (size === Infinity) return `${sign}∞`;
  if (size > 0 && size < 0.00005 * Math.max(1, unit)) return sign + powerOfTen(size.toExponential(0));
  const known = 4 - Math.max(0, Math.round(Math.log10(unit)));
  const room = size < 0.99995 ? 4 : 4 - Math.ceil(Math.log10(size + 1));
  return sign + size.toFixed(Math.max(0, Math.min(known, room))).replace(/^0(?=\.)/, "");
}

/** Whether words are of a script that is written from right to left: by their first letter, that of a special token left out. */
export function isRightToLeft(words: readonly string[]): boolean {
  const first = words.find((word) => /\p{L}/u.test(word) && !word.startsWith("<"));
  return first !== undefined && directionOf(first) === "rtl";
}

/** The direction in which a text is read, by its first letter. */
export function directionOf(text: string): "ltr" | "rtl" {
  const first = /\p{L}/u.exec(text)?.[0] ?? "";
  return /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(first) ? "rtl" : "ltr";
}
