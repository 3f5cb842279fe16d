// A page in Chromium, watched: what it asks for, what its policy refuses, what it throws.

import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Frame, type Page } from "playwright-core";

/** A size that people have, and what their hands do. */
export const SIZES = {
  desktop: { viewport: { width: 1280, height: 900 } },
  tablet: { viewport: { width: 820, height: 1180 }, hasTouch: true },
  phone: { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 3 },
  compact: { viewport: { width: 420, height: 680 } },
} satisfies Record<string, BrowserContextOptions>;

/** Where run.mjs put the pages. */
export const PAGES = process.env["ATTLAS_PAGES"]!;

/** One browser for a file of tests. */
export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["ATTLAS_CHROMIUM"]!,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none"],
  });
}

/** A page of its own profile with the network blocked. What happens in it that must not is counted. */
export class Watched {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Addresses that were asked for, but for the page's own. */
  readonly requests: string[] = [];
  /** What the content security policy refused, in any frame. */
  readonly violations: string[] = [];
  /** Errors, dialogs and whatever stands on the console. */
  readonly complaints: string[] = [];
  /** The one server that may be asked; none by default. */
  private server: string | null = null;
  private served = new Map<string, { body: string; headers: Record<string, string> }>();

  static async open(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
    const context = await browser.newContext({ ...SIZES.desktop, acceptDownloads: true, ...options });
    const watched = new Watched(context, await context.newPage());
    context.setDefaultTimeout(60_000); // others may use the machine, too
    await watched.watch();
    return watched;
  }

  private constructor(context: BrowserContext, page: Page) {
    this.context = context;
    this.page = page;
  }

  private async watch(): Promise<void> {
    const { context, page } = this;
    await context.exposeBinding("attlasRefused", (_source, said: string) => void this.violations.push(said));
    await context.addInitScript(() => {
      const refused = (globalThis as unknown as { attlasRefused: (said: string) => void }).attlasRefused;
      document.addEventListener("securitypolicyviolation", (event) => refused(`${event.effectiveDirective}: ${event.blockedURI}`));
    });
    await context.route(/^(?!file:|data:|blob:|about:)/, (route) => {
      if (this.server !== null && route.request().url().startsWith(this.server)) return route.continue();
      const served = this.served.get(route.request().url().replace(/#.*$/, ""));
      return served === undefined ? route.abort() : route.fulfill(served);
    });
    page.on("request", (request) => {
      const url = request.url();
      const own = request.isNavigationRequest() || (this.server !== null && url.startsWith(this.server)) || this.served.has(url) || /^(data:(font|image)\/|blob:)/.test(url);
      if (!own) this.requests.push(url);
    });
    page.on("console", (message) => this.complaints.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => this.complaints.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  /** Lets the page ask one server, and no other. */
  allow(server: string): void {
    this.server = server;
  }

  /** What stands at an address that only this page knows. */
  serve(url: string, body: string, headers: Record<string, string> = {}): void {
    this.served.set(url, { body, headers: { "content-type": "text/html; charset=utf-8", ...headers } });
  }

  /** Opens a page of run.mjs under file://, and waits until it is drawn. */
  async open(name: string, hash = ""): Promise<void> {
    await this.page.goto("about:blank"); // so that another hash is another page, too
    await this.page.goto(pathToFileURL(join(PAGES, `${name}.html`)).href + hash);
    await settled(this.page);
  }

  /** Changes the address after its "#", as a link or the back button does, and waits until that is drawn. */
  async go(hash: string): Promise<void> {
    await this.page.evaluate((hash) => {
      if (location.hash === hash) return;
      const heard = new Promise((done) => addEventListener("hashchange", done, { once: true }));
      location.hash = hash;
      return heard;
    }, hash);
    await settled(this.page);
  }

  /** Nothing was asked for, refused, thrown or said. */
  async assertQuiet(): Promise<void> {
    await this.page.evaluate(() => new Promise((done) => setTimeout(done, 0))); // what was under way has arrived
    assert.deepEqual(this.requests, [], "requests");
    assert.deepEqual(this.violations, [], "refused by the policy");
    assert.deepEqual(this.complaints, []);
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}

/** Waits until a page, or one in a frame, has drawn what was asked for. */
export async function settled(where: Page | Frame): Promise<void> {
  await where.locator("#panel[aria-busy=false], .failure").first().waitFor({ state: "attached" });
}

/** Runs one test on a page of its own, which must be quiet at its end. */
export async function watched(browser: Browser, options: BrowserContextOptions, test: (watched: Watched) => Promise<void>): Promise<void> {
  const one = await Watched.open(browser, options);
  try {
    await test(one);
    await one.assertQuiet();
  } finally {
    await one.close();
  }
}

/** The part of the address after "#", as it stands for a view. */
export function stateOf(page: Page): URLSearchParams {
  return new URLSearchParams(new URL(page.url()).hash.slice(1));
}

/** Whether the page, or anything in it that is not made to scroll, is wider than the window. */
export async function widthBeyond(where: Page | Frame): Promise<number> {
  return where.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/** What reaches beyond the page's width, and where the page is, for a message. */
export async function beyond(where: Page | Frame): Promise<string> {
  return where.evaluate(() => {
    const edge = document.documentElement.clientWidth;
    const isScrolled = (one: Element | null): boolean => one !== null && one !== document.body && (getComputedStyle(one).overflowX !== "visible" || isScrolled(one.parentElement));
    const over = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > edge && !isScrolled(one.parentElement)).map((one) => `${one.tagName}.${one.className} ${one.getBoundingClientRect().right}`);
    return `${location.hash}: ${over.slice(0, 12).join(", ")}`;
  });
}

/** The names of the views that a page offers, as its address has them. */
export async function viewsOf(watched: Watched, name: string): Promise<string[]> {
  await watched.open(name);
  return viewsThere(watched.page);
}

/** The views that are offered where the page stands now. */
export async function viewsThere(page: Page): Promise<string[]> {
  const offered = page.locator("input[name=view]:visible");
  return offered.evaluateAll((all) => all.map((one) => (one as HTMLInputElement).value));
}
