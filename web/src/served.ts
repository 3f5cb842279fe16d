// The start of a page that has a server: which recording is shown, or what there is to do where there is none.

import { el } from "./dom.ts";
import { Home } from "./runs.ts";
import { keptInTab, Refused, Server } from "./server.ts";
import { ServerSource } from "./server_source.ts";
import { visibleText } from "./text.ts";

/** Opens the recordings that the page's address says, or the first there is, and lets them be shown below what a server has beside. */
export async function startServed(root: HTMLElement, show: (sources: ServerSource[]) => void): Promise<void> {
  let home: Home | null = null;
  try {
    const server = await Server.of(location, history, keptInTab({ location, window }));
    const about = await server.about();
    const asked = new URLSearchParams(location.search).getAll("recording");
    const ids = asked.length > 0 ? asked : about.recordings.slice(0, 1).map(({ id }) => id);
    home = new Home(server, about, ids[0] ?? null);
    if (ids.length === 0) {
      root.replaceChildren(header("what shall the model read?"), home.element);
      return;
    }
    root.replaceChildren(header("opening …"), home.element);
    show(await Promise.all(ids.map((id) => ServerSource.open(server, id))));
    root.querySelector("header")?.after(home.element);
  } catch (error) {
    const refusal = error instanceof Refused ? error : new Refused(String(error), "broken");
    const message = el("p", { class: "failure", role: "alert" }, visibleText(refusal.message));
    // what concerns the whole page is said above already
    root.replaceChildren(header(""), ...(home === null ? [message] : refusal.isOfPage ? [home.element] : [home.element, message]));
  }
}

/** What stands at the top where there are no maps yet. */
function header(title: string): HTMLElement {
  return el("header", {}, el("p", { class: "wordmark" }, "attlas"), el("h1", {}, title));
}
