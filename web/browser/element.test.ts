// <attlas-viewer> as people get it: packed by npm, installed, bundled, and shown on pages of their own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { build } from "esbuild";
import type { Browser, Frame, Page } from "playwright-core";
import type { AttlasViewer, Chosen } from "../src/element.ts";
import { HOSTILE } from "./pages.ts";
import { launch, PAGES, settled, watched, type Watched } from "./harness.ts";

const HOST = "http://host.test/";
const translator = readFileSync(join(PAGES, "translator.html"), "utf8");
let browser: Browser;
let script = "";
let packed: string[] = [];

before(async () => {
  browser = await launch();
  ({ script, packed } = await installed());
});
after(() => browser.close());

/** Packs the package, installs the archive elsewhere, and bundles what imports it there. */
async function installed(): Promise<{ script: string; packed: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "attlas-element-"));
  const npm = (...words: string[]): string => execFileSync("npm", words, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [{ filename, files }] = JSON.parse(npm("pack", "--json", "--silent", "--pack-destination", folder)) as [{ filename: string; files: { path: string }[] }];
    writeFileSync(join(folder, "package.json"), '{ "private": true }');
    writeFileSync(join(folder, "own.js"), 'import "attlas-viewer";');
    npm("install", "--prefix", folder, "--offline", "--no-audit", "--no-fund", "--silent", join(folder, filename));
    const { outputFiles } = await build({ entryPoints: [join(folder, "own.js")], bundle: true, write: false, format: "esm" });
    return { script: outputFiles[0]!.text, packed: files.map((file) => file.path).sort() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A page of somebody's own, under a policy that allows its own script and frames of its own address alone. */
async function host(watched: Watched, body: string, policy = "default-src 'none'; script-src 'self'; frame-src 'self'"): Promise<void> {
  watched.serve(`${HOST}own.js`, script, { "content-type": "text/javascript" });
  watched.serve(`${HOST}run.html`, translator);
  const head = '<!doctype html><html lang="en"><title>own</title>';
  const headers: Record<string, string> = policy === "" ? {} : { "content-security-policy": policy };
  watched.serve(HOST, `${head}<body>${body}<script type="module" src="own.js"></script>`, headers);
  await watched.page.goto(HOST);
}

async function frameOf(page: Page): Promise<Frame> {
  const element = await page.locator("attlas-viewer iframe").elementHandle();
  const frame = (await element!.contentFrame())!;
  await settled(frame);
  return frame;
}

test("the package holds the module, its types and what is said of it", () => {
  assert.deepEqual(packed, ["LICENSE", "README.md", "dist/attlas-viewer.d.ts", "dist/attlas-viewer.js", "package.json"]);
});

test("an installed element shows a page by its address, as tall as the page is, and tells what is chosen", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await host(watched, '<attlas-viewer src="run.html" view="kind=cross&amp;layer=1&amp;head=5" label="A translation"></attlas-viewer>');
    const frame = await frameOf(page);
    assert.equal(await frame.locator(".head-title .name").textContent(), "L1H5");
    const element = page.locator("attlas-viewer");
    await page.waitForTimeout(50);
    const heights = [(await element.boundingBox())!.height, await frame.evaluate(() => document.querySelector("main")!.getBoundingClientRect().height)];
    assert.ok(Math.abs(heights[0]! - heights[1]!) <= 2, `${heights}`);
    assert.equal(await page.locator('iframe[title="A translation"]').count(), 1);

    const told = element.evaluate((one) => new Promise<Chosen>((done) => one.addEventListener("attlas-selection", (event) => done((event as CustomEvent<Chosen>).detail), { once: true })));
    await frame.locator('.thumb[aria-label^="L2H3"]').click();
    assert.deepEqual(await told, { item: 0, kind: "cross", layer: 2, head: 3, query: null, key: null });
    // and the other way: a part of a selection, from the page around
    await element.evaluate((one: AttlasViewer) => (one.selection = { kind: "encoder", layer: 0, head: 6, query: 2 }));
    await frame.locator(".head-title .name", { hasText: "L0H6" }).waitFor();
    assert.deepEqual(await element.evaluate((one: AttlasViewer) => one.selection), { item: 0, kind: "encoder", layer: 0, head: 6, query: 2, key: null });
    assert.equal(await page.evaluate(() => history.length), 2, "the history of the page around is left alone");
    await element.evaluate((one) => one.setAttribute("label", "Another name"));
    assert.equal(await page.locator('iframe[title="Another name"]').count(), 1);
    assert.equal(await frame.locator(".head-title .name").textContent(), "L0H6", "another name leaves the page as it is");
  }));

test("what is chosen before the page is there is shown when it comes", () =>
  watched(browser, {}, async (watched) => {
    await host(watched, '<attlas-viewer src="run.html"></attlas-viewer>');
    await watched.page.locator("attlas-viewer").evaluate((one: AttlasViewer) => (one.selection = { kind: "decoder", layer: 2, head: 1 }));
    const frame = await frameOf(watched.page);
    await frame.locator(".head-title .name", { hasText: "L2H1" }).waitFor();
  }));

test("a page given as text runs in a frame that reaches nothing of the page around", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    const hash = (name: string): string => readFileSync(`dist/${name}.sha256`, "utf8").trim();
    const policy = `default-src 'none'; script-src 'self' 'sha256-${hash("viewer.js")}'; style-src 'sha256-${hash("viewer.css")}'; worker-src blob:`;
    await host(watched, "<attlas-viewer></attlas-viewer>", policy);
    const hostile = readFileSync(join(PAGES, "hostile.html"), "utf8");
    await page.locator("attlas-viewer").evaluate((one: AttlasViewer, text) => (one.page = text), hostile);
    const frame = await frameOf(page);
    const shown = await frame.locator(".row-labels .token").allTextContents();
    assert.ok(shown.includes(HOSTILE[0]!), `${shown}`);
    assert.equal(await frame.evaluate(() => window.origin), "null");
  }));

test("an address that would run a script opens nothing, and two elements do not disturb each other", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await host(watched, '<attlas-viewer src="run.html" id="one"></attlas-viewer><attlas-viewer src="run.html#kind=encoder&amp;layer=0&amp;head=2" id="two"></attlas-viewer>');
    for (const id of ["one", "two"]) await settled((await (await page.locator(`#${id} iframe`).elementHandle())!.contentFrame())!);
    await page.locator("#one").evaluate((one) => one.setAttribute("src", "javascript:parent.alert(1)"));
    await page.waitForFunction(() => document.querySelector("#one")!.shadowRoot!.querySelector("iframe")!.src === "about:blank");
    await page.locator("#two").evaluate((two: AttlasViewer) => (two.selection = { head: 4 }));
    await page.frameLocator("#two iframe").locator(".head-title .name", { hasText: "L0H4" }).waitFor();
  }));
