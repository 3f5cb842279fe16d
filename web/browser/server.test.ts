// The viewer served by `attlas view`: the same page, whose numbers come from the server, and live runs.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { DATA } from "./pages.ts";
import { beyond, launch, PAGES, settled, SIZES, stateOf, watched, widthBeyond } from "./harness.ts";

let browser: Browser;
let server: ChildProcess;
/** The printed address, with its token. */
let address = "";

/** `attlas view` of these words, and the address that it prints. */
async function serve(...words: string[]): Promise<[ChildProcess, string]> {
  const server = spawn(process.env["ATTLAS_COMMAND"]!, ["view", ...words, "--no-open"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = (await once(createInterface({ input: server.stdout! }), "line")) as [string];
  return [server, /http:\/\/\S+/.exec(line)![0]];
}

async function end(server: ChildProcess): Promise<void> {
  server.kill("SIGINT");
  await once(server, "exit");
}

before(async () => {
  browser = await launch();
  [server, address] = await serve(join(PAGES, "with.safetensors"));
});
after(async () => {
  await end(server);
  await browser.close();
});

const origin = (): string => new URL(address).origin;

test("the served viewer asks its own server alone, and shows what the page of the same recording shows", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    const hash = "#kind=encoder&layer=0&head=3&q=2&k=1";
    await watched.open("tree", hash);
    // a score has more digits where numbers do not travel as text
    const reading = async (): Promise<string> => (await page.locator("#reading").textContent())!.split(" score ")[0]!;
    const alone = await reading();
    watched.allow(origin());
    await page.goto(address + hash);
    await page.locator("#reading", { hasText: alone }).waitFor();
    await page.locator('.thumb[aria-label^="L1H2"]').click();
    await settled(page);
    assert.deepEqual([stateOf(page).get("layer"), stateOf(page).get("head")], ["1", "2"]);
    await page.goBack();
    await page.locator("#reading", { hasText: alone }).waitFor();
  }));

test("without the token nothing is shown", () =>
  watched(browser, {}, async (watched) => {
    watched.allow(origin());
    await watched.page.goto(`${origin()}/`);
    await watched.page.getByText("the token is missing or wrong").waitFor();
    assert.equal(await watched.page.locator(".thumb").count(), 0);
    assert.ok(watched.complaints.every((one) => one.includes("401")), `${watched.complaints}`);
    watched.complaints.length = 0; // the console says which status it was
  }));

test("the served viewer fits a phone", () =>
  watched(browser, SIZES.phone, async (watched) => {
    watched.allow(origin());
    await watched.page.goto(address);
    await settled(watched.page);
    assert.equal(await widthBeyond(watched.page), 0, await beyond(watched.page));
  }));

test("files of a folder that are beyond those listed are counted", async () => {
  const folder = join(PAGES, "many");
  mkdirSync(folder);
  copyFileSync(join(PAGES, "with.safetensors"), join(folder, "a.safetensors"));
  for (let place = 0; place < 1002; place += 1) writeFileSync(join(folder, `b${String(place).padStart(4, "0")}.safetensors`), "");
  const [many, there] = await serve(folder);
  try {
    await watched(browser, SIZES.phone, async (watched) => {
      watched.allow(new URL(there).origin);
      await watched.page.goto(there);
      await settled(watched.page);
      assert.match((await watched.page.locator(".home .beyond").textContent())!, /^the first 1000 of 1003 files are listed/);
      assert.equal(await widthBeyond(watched.page), 0);
    });
  } finally {
    await end(many);
  }
});

test("a text that is typed is run by the model that is chosen, and its heads are shown; a run says how far it is, and is stopped", async () => {
  const [live, there] = await serve("--models", join(DATA, "trained"));
  try {
    await watched(browser, {}, async (watched) => {
      const { page } = watched;
      const write = async (text: string, model: string | RegExp): Promise<void> => {
        await page.locator("textarea[name=text]").fill(text);
        const options = await page.locator("select[name=model] option").allTextContents();
        await page.locator("select[name=model]").selectOption({ index: options.findIndex((one) => one.match(model) !== null) });
        await page.locator(".run .main").click();
      };
      watched.allow(new URL(there).origin);
      await page.goto(there);
      await write("Once upon a time, there was a cat.", "stories260K");
      await page.waitForURL(/recording=r/);
      await page.locator(".text .chip", { hasText: "Once" }).first().waitFor(); // the address comes before what it names is drawn
      await settled(page);
      assert.match((await page.locator(".text .chip").allTextContents()).join(" "), /Once.*upon.*time/);
      assert.ok((await page.locator(".thumb").count()) > 8);
      const first = page.url();
      // the embedded model has half a second's work with this, and is stopped as soon as it says how far it is
      for (let attempt = 0; ; attempt++) {
        await page.locator(".home button", { hasText: "new run" }).click();
        await page.evaluate(() => {
          const watch = new MutationObserver(() => {
            const said = document.querySelector(".progress output")?.textContent ?? "";
            if (!/translator: .*(layer \d+ of \d+|token \d+)/.test(said)) return;
            watch.disconnect();
            document.querySelector<HTMLElement>(".progress button")!.click();
          });
          watch.observe(document.body, { subtree: true, childList: true, characterData: true });
        });
        await write("The cat sat on the mat, and the dog saw it. ".repeat(36), /translator/);
        const stopped = page.locator(".home .failure", { hasText: "The run was stopped." }).waitFor().then(() => true);
        const moved = page.waitForURL((url) => url.href !== first).then(() => false);
        for (const later of [stopped, moved]) later.catch(() => {}); // the one that loses waits in vain
        const isStopped = await Promise.race([stopped, moved]);
        if (isStopped) break;
        assert.ok(attempt < 5, "a run is stopped while it says how far it is");
        await page.goto(first);
        await settled(page);
      }
      assert.equal(page.url(), first, "what was shown stays");
      // and the next run goes on as if nothing had been
      await write("A red apple.", /translator/);
      await page.waitForURL((url) => url.href !== first);
      await settled(page);
      assert.match((await page.locator(".text .chip").allTextContents()).join(" "), /red apple/);
    });
  } finally {
    await end(live);
  }
});
