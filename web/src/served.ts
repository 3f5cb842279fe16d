// The start of a page that has a server: which recording is shown, or what there is to do where there is none.

import { el } from "./dom.ts";
import { Home } from "./runs.ts";
import { Refused, Server } from "./server.ts";
import { ServerSource } from "./server_source.ts";
import { visibleText } from "./text.ts";

/** Opens what the page's address says, and shows it: `show` gets the source, and what stands above the maps. */
export async function startServed(root: HTMLElement, show: (source: ServerSource, home: HTMLElement) => void): Promise<void> {
  let home: Home | null = null;
  try {
    const server = await Server.of(location, history);
    const about = await server.about();
    const asked = new URLSearchParams(location.search).get("recording");
    const current = asked ?? about.recordings[0]?.id ?? null;
    home = new Home(server, about, current);
    if (current === null) {
      root.replaceChildren(el("header", {}, el("span", { class: "wordmark" }, "attlas"), el("h1", {}, "what shall the model read?")), home.element);
      return;
    }
    root.replaceChildren(home.element, el("p", { class: "note" }, "opening …"));
    show(await ServerSource.open(server, current), home.element);
  } catch (error) {
    const refusal = error instanceof Refused ? error : new Refused(String(error), "broken");
    const message = el("p", { class: "failure", role: "alert" }, visibleText(refusal.message));
    // what concerns the whole page is said above already
    root.replaceChildren(...(home === null ? [] : [home.element]), ...(home !== null && ["away", "changed", "token"].includes(refusal.code) ? [] : [message]));
  }
}
