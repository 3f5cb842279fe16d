// Where a page is at home: a file, a frame without rights, a strict policy, a browser that lacks something. It asks for nothing.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { HOSTILE } from "./pages.ts";
import { launch, PAGES, settled, SIZES, viewsOf, watched } from "./harness.ts";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const text = (name: string): string => readFileSync(join(PAGES, `${name}.html`), "utf8");
const hash = (name: string): string => `'sha256-${readFileSync(`dist/${name}.sha256`, "utf8").trim()}'`;
const STRICT = `default-src 'none'; script-src ${hash("viewer.js")}; style-src ${hash("viewer.css")}; worker-src blob:; img-src data:`;

for (const name of ["translator", "hostile", "long"]) {
  test(`${name}, a file with the network blocked, asks for nothing and breaks no policy`, () =>
    watched(browser, {}, async (watched) => {
      await watched.open(name);
      assert.equal(await watched.page.locator(".failure").count(), 0);
      assert.ok((await watched.page.locator(".thumb").count()) > 3);
    }));
}

test("in a sandboxed frame of text, behind a policy that names the page's script and style, the page is whole", () =>
  watched(browser, {}, async (watched) => {
    const quoted = text("translator").replaceAll("&", "&amp;").replaceAll('"', "&quot;");
    watched.serve("http://host.test/", `<!doctype html><title>own</title><iframe sandbox="allow-scripts" width="900" height="700" srcdoc="${quoted}"></iframe>`, {
      "content-security-policy": `${STRICT}; frame-src 'self'`,
    });
    await watched.page.goto("http://host.test/");
    const frame = watched.page.frames()[1]!;
    await settled(frame);
    assert.equal(await frame.evaluate(() => window.origin), "null", "the frame has no rights");
    await frame.locator('.thumb[aria-label^="L0H3"]').click();
    await frame.locator(".head-title .name", { hasText: "L0H3" }).waitFor();
    assert.equal(watched.page.url(), "http://host.test/");
  }));

test("served behind a strict policy the page is whole", () =>
  watched(browser, {}, async (watched) => {
    watched.serve("http://host.test/run.html", text("translator"), { "content-security-policy": STRICT });
    await watched.page.goto("http://host.test/run.html#kind=encoder&layer=0&head=3&q=2");
    await settled(watched.page);
    assert.equal(await watched.page.locator(".head-title .name").textContent(), "L0H3");
  }));

test("without workers, or where none may be made of the page's own text, the page says the same", () =>
  watched(browser, {}, async (watched) => {
    await watched.page.addInitScript(() => Reflect.deleteProperty(globalThis, "Worker"));
    await watched.open("translator", "#kind=encoder&layer=0&head=3&q=2");
    const alone = await watched.page.locator("#reading").textContent();
    watched.serve("http://host.test/run.html", text("translator"));
    await watched.page.goto("http://host.test/run.html#kind=encoder&layer=0&head=3&q=2");
    await settled(watched.page);
    assert.equal(await watched.page.locator("#reading").textContent(), alone);
  }));

test("texts that are markup, formulas and directions stay text on every tab, in every view", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    for (const view of await viewsOf(watched, "hostile")) {
      await watched.go(`#kind=encoder&layer=1&head=2&q=0&k=1&view=${view}`);
      const shown = await page.locator("main").textContent();
      assert.ok(shown!.includes(HOSTILE[0]!) && shown!.includes(HOSTILE[1]!), view);
      assert.equal(await page.locator("main img, main script, main iframe, main [onmouseover], main a[href^=javascript]").count(), 0, view);
    }
  }));

test("a page cut short, or with its numbers missing, says in words that it cannot be shown", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    const numbers = text("translator").indexOf('id="atlas-numbers">');
    for (const [end, says] of [[numbers + 400, /cut short or damaged/], [numbers - 400, /cannot be shown: .+ was it cut short/]] as const) {
      watched.serve("http://host.test/cut.html", text("translator").slice(0, end));
      await page.goto("http://host.test/cut.html");
      const said = page.locator(".trouble:visible, .failure").first();
      await said.waitFor();
      assert.match((await said.textContent())!, says);
    }
    assert.ok(watched.complaints.every((one) => one.startsWith("error: ")), "it may also throw, for the console");
    watched.complaints.length = 0;
  }));

test("what asks for something, breaks its policy, throws or opens a dialog is found out", async () => {
  await assert.rejects(
    watched(browser, {}, async (watched) => {
      watched.serve("http://host.test/bad.html", "<!doctype html><title>bad</title><img src=x.png><script>alert(1)</script>", { "content-security-policy": "img-src 'self'; script-src 'self'" });
      await watched.page.goto("http://host.test/bad.html");
      assert.deepEqual(watched.requests, ["http://host.test/x.png"]);
      assert.ok(watched.violations[0]!.startsWith("script-src"), `${watched.violations}`);
      watched.serve("http://host.test/worse.html", "<!doctype html><title>worse</title><script>alert(1); throw new Error('oh')</script>");
      await watched.page.goto("http://host.test/worse.html");
      assert.ok(["dialog: 1", "error: oh"].every((one) => watched.complaints.includes(one)), `${watched.complaints}`);
    }),
    /requests/,
  );
});

test("on a phone, and in a small frame, nothing is asked for either", async () => {
  for (const size of [SIZES.phone, SIZES.compact]) await watched(browser, size, (watched) => watched.open("translator"));
});
