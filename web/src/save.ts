// Taking the present view along: files of it, its link, and what makes it elsewhere.

import { el } from "./dom.ts";
import type { Drawn } from "./drawn.ts";
import { pixelsOf, svgOf, type Picture } from "./marks.ts";
import { messageOf } from "./text.ts";

/** What can be taken along now; made when it is asked for. */
export interface Takeable {
  /** A file's name without its ending. */
  name: string;
  picture: () => Promise<Picture>;
  csv: () => Promise<string>;
  link: () => string;
  python: () => string;
  command: () => string;
  /** The command that measures what the output loses without this head, or why there is none. */
  knockOut: () => string;
  /** What a server has beside it. */
  drawn?: Drawn;
}

export class Save {
  readonly element = el("div", { class: "saving" });
  private said = el("output", { "aria-live": "polite" });
  private takeable: () => Takeable;

  constructor(takeable: () => Takeable, isServed = false) {
    this.takeable = takeable;
    const button = (label: string, title: string, act: (now: Takeable) => Promise<void>): HTMLElement => {
      const made = el("button", { type: "button", class: "plain", title }, label);
      made.addEventListener("click", () => void act(this.takeable()).catch((error: unknown) => this.say(`not saved: ${messageOf(error)}`)));
      return made;
    };
    const text = (name: string, of: (now: Takeable) => string): ((now: Takeable) => Promise<void>) => (now) => this.copy(name, of(now));
    this.element.append(
      el("span", {}, "save"),
      button("SVG", "this view as a drawing", async (now) => this.keep(`${now.name}.svg`, (await now.drawn?.picture?.("svg")) ?? new Blob([svgOf(await now.picture())], { type: "image/svg+xml" }))),
      button("PNG", "this view as pixels", async (now) => {
        const drawn = await now.drawn?.picture?.("png");
        if (drawn !== undefined) this.keep(`${now.name}.png`, drawn);
        else pixelsOf(await now.picture()).toBlob((blob) => blob !== null && this.keep(`${now.name}.png`, blob));
      }),
      ...(isServed
        ? [
            button("PDF", "this view as a drawing for print", async (now) => {
              if (now.drawn?.picture == null) throw new Error("a PDF is drawn of a map, its lines, a layer's heads or a head across layers, and of tokens, words and special tokens as they are; print the page instead");
              this.keep(`${now.name}.pdf`, await now.drawn.picture("pdf"));
            }),
            button("recording", "queries and keys of every head, as attlas, NumPy and PyTorch read them", async (now) => this.keep("run.safetensors", await now.drawn!.file())),
          ]
        : []),
      button("CSV", "the numbers of this map", async (now) => this.keep(`${now.name}.csv`, new Blob([`\ufeff${await now.csv()}`], { type: "text/csv" }))),
      el("span", {}, "copy"),
      button("link", isServed ? "the address of this view, without the token: who opens it needs the address that the server printed, too" : "the address of this view", text("link", (now) => now.link())),
      button("Python", "lines that give this map's weights", text("Python", (now) => now.python())),
      button("command", "a command line that draws this view", text("command", (now) => now.command())),
      button("knock-out", "a command line that measures whether this head matters: what the output loses without it", text("knock-out", (now) => now.knockOut())),
      this.said,
    );
  }

  /** Takes back what was said: it was of another view. */
  forget(): void {
    this.say("");
  }

  private keep(name: string, blob: Blob): void {
    const address = URL.createObjectURL(blob);
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
    this.say(`saved ${name}`);
  }

  /** Copies a text, and shows it: who may not write the clipboard copies it by hand. */
  private async copy(name: string, text: string): Promise<void> {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copied = copiedBySelection(text);
    }
    this.say(copied ? `${name} copied` : `${name}, to be copied by hand`, text);
  }

  private say(words: string, text = ""): void {
    this.said.replaceChildren(words, ...(text === "" ? [] : [el("code", {}, text)]));
  }
}

/** The older way, for pages without a secure address. */
function copiedBySelection(text: string): boolean {
  const field = el("textarea", { class: "copying", "aria-hidden": "true", tabindex: -1 });
  field.value = text;
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
