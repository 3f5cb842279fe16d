// The server behind a page that has no numbers of its own: how it is asked, what it serves, its live runs.

/** A recording that can be opened. */
export interface Listed {
  id: string;
  name: string;
  /** Whether it was made by a run here. */
  run: boolean;
}

/** What a server has. */
export interface About {
  recordings: Listed[];
  /** How many files of its folders are not listed: there are too many. */
  beyond: number;
  /** Models that can be run, by name. */
  models: string[];
  /** Bytes of a text at most. */
  max_text: number;
}

/** How far the last run is. */
export type Phase =
  | { state: "idle" | "stopped" }
  | { state: "running"; text: string; model: string; doing: string; done: number; of: number }
  | { state: "done"; recording: string }
  | { state: "failed"; error: string };

/** An answer that is a refusal; the message is for a reader. */
export class Refused extends Error {
  /** `token`, `axis`, `changed`, `absent`, … as the server has it; `away` where nobody answers. */
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }

  /** Whether it concerns the whole page: the file changed, nobody answers, the token is wrong. */
  get isOfPage(): boolean {
    return ["away", "changed", "token"].includes(this.code);
  }
}

/** Whether the page has a server. */
export function isServed(document: Document): boolean {
  return document.querySelector('meta[name="attlas-source"][content="server"]') !== null;
}

/** Where a tab keeps its token. */
export interface Kept {
  get(): string | null;
  /** Whether it could be kept. */
  set(token: string): boolean;
}

/** What the tab keeps for pages of this address, as long as it is open. */
export function keptInTab({ location, window }: { location: Location; window: { readonly sessionStorage: Storage } }): Kept {
  const name = `attlas token of ${location.pathname}`; // several servers may stand behind one host
  const tried = <T>(act: (storage: Storage) => T, otherwise: T): T => {
    try {
      return act(window.sessionStorage);
    } catch {
      return otherwise; // a browser may forbid it
    }
  };
  return {
    get: () => tried((storage) => storage.getItem(name), null),
    set: (token) => tried((storage) => (storage.setItem(name, token), true), false),
  };
}

/** An address without what lets its reader in. */
export function withoutToken(href: string): string {
  const address = new URL(href);
  for (const name of ["token", "open"]) if (address.searchParams.has(name)) address.searchParams.delete(name);
  return address.href;
}

export class Server {
  private token: string;
  /** Told of refusals that concern the whole page. */
  onTrouble: (refusal: Refused) => void = () => undefined;

  constructor(token: string) {
    this.token = token;
  }

  /** The server of this page. The token leaves the address, which is copied, shown and remembered, and is kept for this tab; an address
   * that was good for once is exchanged for it. */
  static async of(location: Location, history: History, kept: Kept): Promise<Server> {
    const given = new URLSearchParams(location.search);
    const [code, token] = [given.get("open"), given.get("token")];
    const server = new Server(token ?? kept.get() ?? "");
    if (code === null && token === null) return server;
    if (code !== null) {
      const answer = await server.ask("open", { method: "POST", body: JSON.stringify({ code }) });
      server.token = ((await answer.json()) as { token: string }).token;
    }
    const isKept = kept.set(server.token);
    const address = new URL(withoutToken(location.href));
    if (!isKept) address.searchParams.set("token", server.token); // or it would be lost when the page is loaded again
    history.replaceState(null, "", address.href);
    return server;
  }

  /** Asks at an address under `api/`. */
  async ask(path: string, options: RequestInit = {}): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(`api/${path}`, { ...options, headers: { Authorization: `Bearer ${this.token}` }, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw this.trouble("The server does not answer. Was it ended? The terminal that it was begun in says so.", "away");
    }
    if (answer.ok) return answer;
    const refusal = (await answer.json().catch(() => ({}))) as { error?: string; code?: string };
    throw this.trouble(refusal.error ?? `the server answered ${answer.status}`, refusal.code ?? "broken");
  }

  private trouble(message: string, code: string): Refused {
    const refusal = new Refused(message, code);
    if (refusal.isOfPage) this.onTrouble(refusal);
    return refusal;
  }

  async about(): Promise<About> {
    return (await (await this.ask("recordings")).json()) as About;
  }

  async phase(): Promise<Phase> {
    return (await (await this.ask("run")).json()) as Phase;
  }

  async run(text: string, target: string | null, model: number): Promise<void> {
    await this.ask("run", { method: "POST", body: JSON.stringify({ text, target, model }) });
  }

  async stop(): Promise<void> {
    await this.ask("run", { method: "DELETE" });
  }

  /** Opens a file anew that was replaced or changed. */
  async reopen(id: string): Promise<void> {
    await this.ask(`recordings/${encodeURIComponent(id)}/reopen`, { method: "POST" });
  }
}

/** The address of the page with another recording. */
export function addressOf(recording: string, location: Location): string {
  const given = new URLSearchParams(location.search);
  given.set("recording", recording);
  return `?${given}`;
}
