// What lies between the tokens of a text: a space, a new line, or nothing.

import type { Token, Tokens } from "../data.ts";

/** How far a token may lie from the end of the one before it, in UTF-16 units; what is further off was not found. */
const REACH = 16;

const known = new WeakMap<Tokens, string[]>();

/** As `gapsBetween`, found once for each text. */
export function gapsOf(tokens: Tokens): string[] {
  const gaps = known.get(tokens) ?? gapsBetween(tokens.text, tokens.tokens);
  known.set(tokens, gaps);
  return gaps;
}

/** What stands before each token; a space where the text does not hold the token as it is called, unless it goes on with a word. [n_tokens] */
export function gapsBetween(text: string, tokens: readonly Token[]): string[] {
  let at = 0;
  return tokens.map((token, place) => {
    const words = textIn(token).trim();
    const found = words === "" || token.role !== "text" ? -1 : text.indexOf(words, at);
    if (found < 0 || found > at + REACH) {
      const before = tokens[place - 1];
      return place === 0 || (token.word !== null && token.word === before?.word) ? "" : " ";
    }
    const gap = text.slice(at, found);
    at = found + words.length;
    return /\n/.test(gap) ? "\n" : gap === "" && place > 0 && tokens[place - 1]!.role !== "text" ? " " : /^\s+$/.test(gap) ? " " : "";
  });
}

/** What of a token stands in the text: what the vocabulary does not know, without its name for that. */
export function textIn({ text, unknown }: Token): string {
  return unknown === undefined ? text : text.slice(0, text.length - unknown.length - 1);
}
