// What a page with a server has beside its maps: the recordings there are, live runs, and what goes wrong.

import { el } from "./dom.ts";
import { messageOf, shortened, visibleText } from "./text.ts";
import { addressOf, Refused, type About, type Phase, type Server } from "./server.ts";

/** Milliseconds between two looks at a run. */
const LOOK_EVERY = 300;
/** Letters of a recording's name in the list. */
const NAME_LENGTH = 60;

export class Home {
  readonly element: HTMLElement;
  private server: Server;
  private current: string | null;
  private form: HTMLFormElement;
  private text = el("textarea", { name: "text", rows: 3, required: true, spellcheck: false });
  private target = el("input", { name: "target", autocomplete: "off", spellcheck: false });
  private model = el("select", { name: "model" });
  private list = el("select", { class: "items" });
  private opener = el("button", { type: "button", class: "plain", "aria-expanded": "false" }, "new run");
  private progress = el("div", { class: "progress", hidden: true });
  private bar = el("progress", {});
  private doing = el("output", { "aria-live": "polite" });
  private stopper = el("button", { type: "button", class: "plain" }, "stop");
  private failure = el("p", { class: "failure", role: "alert", hidden: true });
  private trouble = el("div", { class: "failure trouble", role: "alert", hidden: true });
  private max_text: number;

  constructor(server: Server, about: About, current: string | null) {
    [this.server, this.current, this.max_text] = [server, current, about.max_text];
    about.models.forEach((name, place) => this.model.append(el("option", { value: place }, visibleText(name))));
    this.form = el(
      "form",
      { class: "run", "aria-label": "a new run" },
      el("label", {}, el("span", {}, "text"), this.text),
      el("label", {}, el("span", {}, "target, if it is given"), this.target),
      el("label", {}, el("span", {}, "model"), this.model),
      el("button", { type: "submit", class: "main" }, "run"),
    );
    this.form.hidden = about.recordings.length > 0;
    this.progress.append(this.bar, this.doing, this.stopper);
    this.element = el("section", { class: "home", "aria-label": "recordings and runs" }, this.trouble, this.row(about), this.form, this.progress, this.failure);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.begin();
    });
    this.opener.addEventListener("click", () => this.open(this.form.hidden));
    this.stopper.addEventListener("click", () => void this.tried(() => this.server.stop()));
    server.onTrouble = (refusal) => this.showTrouble(refusal);
    void this.watch(false);
  }

  /** Which recordings there are, and what opens the form. */
  private row(about: About): HTMLElement {
    for (const { id, name } of about.recordings) {
      const option = el("option", { value: id }, shortened(visibleText(name), NAME_LENGTH));
      option.selected = id === this.current;
      this.list.append(option);
    }
    this.list.addEventListener("change", () => this.show(this.list.value));
    const label = el("label", { class: "picker" }, "recording ", this.list);
    label.hidden = about.recordings.length === 0;
    this.opener.hidden = about.recordings.length === 0;
    return el("div", { class: "home-row" }, label, el("span", { class: "beyond" }, beyondSaid(about)), this.opener);
  }

  private open(isOpen: boolean): void {
    this.form.hidden = !isOpen;
    this.opener.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.text.focus();
  }

  private show(recording: string): void {
    location.assign(addressOf(recording, location));
  }

  private async begin(): Promise<void> {
    const text = this.text.value;
    const n_bytes = new TextEncoder().encode(text).length;
    if (n_bytes > this.max_text) {
      this.fail(`The text has ${n_bytes} bytes, and ${this.max_text} are taken.`);
      return;
    }
    const target = this.target.value.trim() === "" ? null : this.target.value;
    if (await this.tried(() => this.server.run(text, target, Number(this.model.value)))) void this.watch(true);
  }

  /** Follows the run that goes on, if one does; a run that was begun here is shown when it is done. */
  private async watch(isOurs: boolean): Promise<void> {
    for (let isFollowed = isOurs; ; isFollowed = true) {
      let phase: Phase;
      try {
        phase = await this.server.phase();
      } catch (error) {
        this.fail(messageOf(error));
        return;
      }
      this.follow(phase, isFollowed);
      if (phase.state !== "running") return;
      await new Promise((done) => setTimeout(done, LOOK_EVERY));
    }
  }

  private follow(phase: Phase, isFollowed: boolean): void {
    const isRunning = phase.state === "running";
    this.progress.hidden = !isRunning;
    for (const field of [this.text, this.target, this.model, ...this.form.querySelectorAll("button")]) field.disabled = isRunning;
    if (isRunning) {
      if (phase.of > 0) this.bar.value = phase.done / phase.of;
      else this.bar.removeAttribute("value");
      this.doing.textContent = `${visibleText(phase.model)}: ${phase.doing}`;
      this.failure.hidden = true;
    } else if (phase.state === "failed" && isFollowed) this.fail(phase.error);
    else if (phase.state === "stopped" && isFollowed) this.fail("The run was stopped.");
    else if (phase.state === "done" && isFollowed) this.show(phase.recording);
  }

  private async tried(act: () => Promise<void>): Promise<boolean> {
    this.failure.hidden = true;
    try {
      await act();
      return true;
    } catch (error) {
      this.fail(messageOf(error));
      return false;
    }
  }

  private fail(message: string): void {
    this.failure.textContent = visibleText(message);
    this.failure.hidden = false;
  }

  /** What concerns the whole page, with what can be done about it. */
  showTrouble(refusal: Refused): void {
    const again = el("button", { type: "button", class: "plain" }, refusal.code === "changed" ? "open it anew" : "try again");
    again.addEventListener("click", () => {
      const opened = refusal.code === "changed" && this.current !== null ? this.server.reopen(this.current) : Promise.resolve();
      void opened.then(
        () => location.reload(),
        (error: unknown) => this.fail(messageOf(error)),
      );
    });
    this.trouble.replaceChildren(el("span", {}, visibleText(refusal.message)), refusal.code === "token" ? "" : again);
    this.trouble.hidden = false;
  }
}

/** What of the folders is not in the list; empty where all is. */
export function beyondSaid({ recordings, beyond }: Pick<About, "recordings" | "beyond">): string {
  if (beyond === 0) return "";
  const n_files = recordings.filter(({ run }) => !run).length;
  return `the first ${n_files} of ${n_files + beyond} files are listed; \u201cattlas view FILE\u201d opens any other`;
}
