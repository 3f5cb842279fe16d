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
}

/** Whether the page has a server. */
export function isServed(document: Document): boolean {
  return document.querySelector('meta[name="attlas-source"][content="server"]') !== null;
}

export class Server {
  private token: string;
  /** Told of refusals that concern the whole page: the file changed, nobody answers, the token is wrong. */
  onTrouble: (refusal: Refused) => void = () => undefined;

  constructor(token: string) {
    this.token = token;
  }

  /** The server of this page. An address that was good for once is exchanged for one that stays good. */
  static async of(location: Location, history: History): Promise<Server> {
    const given = new URLSearchParams(location.search);
    const code = given.get("open");
    if (code === null) return new Server(given.get("token") ?? "");
    const server = new Server("");
    const answer = await server.ask("open", { method: "POST", body: JSON.stringify({ code }) });
    server.token = ((await answer.json()) as { token: string }).token;
    given.delete("open");
    given.set("token", server.token);
    history.replaceState(null, "", `?${given}${location.hash}`);
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
    if (["away", "changed", "token"].includes(code)) this.onTrouble(refusal);
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
    await this.ask(`recordings/${id}/reopen`, { method: "POST" });
  }
}

/** The address of the page with another recording. */
export function addressOf(recording: string, location: Location): string {
  const given = new URLSearchParams(location.search);
  given.set("recording", recording);
  return `?${given}`;
}
