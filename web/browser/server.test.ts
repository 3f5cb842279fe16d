// The viewer served by `attlas view`: the same page, whose numbers come from the server, and live runs.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { launch, PAGES, settled, SIZES, stateOf, watched, widthBeyond } from "./harness.ts";

let browser: Browser;
let server: ChildProcess;
/** The printed address, with its token. */
let address = "";

before(async () => {
  browser = await launch();
  server = spawn(process.env["ATTLAS_COMMAND"]!, ["view", join(PAGES, "with.safetensors"), "--no-open"], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(createInterface({ input: server.stdout! }), "line")) as [string];
  address = /http:\/\/\S+/.exec(line)![0];
});
after(async () => {
  server.kill("SIGINT");
  await once(server, "exit");
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
    assert.equal(await widthBeyond(watched.page), 0);
  }));
