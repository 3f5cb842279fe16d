// Every view by hand: pointed at, clicked, walked by keys, touched, in another size, and left by the back button.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { assertLooks } from "./pictures.ts";
import { headName, type Atlas } from "../src/data.ts";
import { effectNumber } from "../src/effects.ts";
import { VIEWS } from "../src/views/list.ts";
import { launch, settled, SIZES, stateOf, viewsThere, watched, widthBeyond } from "./harness.ts";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** Where each view has something to show. */
const WHERE = [
  ["translator", "#kind=cross&layer=2&head=4", ["map", "heads", "across", "lines", "text", "terms", "compare", "generation", "table"]],
  ["tree", "#kind=encoder&layer=0&head=3", ["tree"]],
  ["picture", "#kind=encoder&layer=0&head=0", ["image"]],
  ["sound", "#kind=encoder&layer=0&head=0", ["sound"]],
] as const;

test("the pages of these tests offer every view that there is", async () => {
  assert.deepEqual(WHERE.flatMap(([, , views]) => [...views] as string[]).sort(), VIEWS.map(({ name }) => name).sort());
  for (const [name, hash, views] of WHERE) {
    await watched(browser, {}, async (watched) => {
      await watched.open(name, hash);
      const there = await viewsThere(watched.page);
      for (const view of views) assert.ok(there.includes(view), `${name} has no ${view}: ${there}`);
    });
  }
});

/** The view that is seen. */
const shown = (page: Page): Locator => page.locator(".head .view > *").first();

/** Where the map's cells are, scrolled to where a hand reaches them. */
async function boxInSight(page: Page): Promise<{ x: number; y: number; width: number; height: number }> {
  await page.locator(".cells").evaluate((cells) => cells.scrollIntoView({ block: "center" }));
  return (await page.locator(".cells canvas").boundingBox())!;
}

/** What takes the focus in a view. */
const focusable = (page: Page): Locator => shown(page).locator('button:visible:not(:disabled), [tabindex="0"]:visible, select:visible, input:visible:not([type=radio])');

async function chosen(page: Page): Promise<string> {
  const state = stateOf(page);
  return ["q", "k"].map((name) => state.get(name)).join();
}

for (const [name, hash, views] of WHERE) {
  for (const view of views) {
    test(`${view}: pointer, click, keys, sizes and the back button`, () =>
      watched(browser, {}, async (watched) => {
        const { page } = watched;
        await watched.open(name, `${hash}&view=${view}&q=2&k=1`);
        const element = shown(page);
        const box = (await element.boundingBox())!;
        assert.ok(box.width > 100 && box.height > 40, `${box.width} × ${box.height}`);
        assert.equal(await page.locator("input[name=view]:checked").getAttribute("value"), view);

        // the pointer changes nothing that stays
        const before = page.url();
        for (const [x, y] of [[0.3, 0.3], [0.6, 0.5], [0.8, 0.9]] as const) await page.mouse.move(box.x + x * box.width, box.y + y * Math.min(box.height, 700));
        assert.equal(page.url(), before, "pointing is no choosing");
        const tip = await page.locator(".tip:visible").first().boundingBox({ timeout: 200 }).catch(() => null);
        if (tip !== null) assert.ok(tip.x >= 0 && tip.x + tip.width <= 1280, "a tooltip stays in the window");
        await page.mouse.move(2, 2);

        // keys alone reach it, and do something or nothing, but nothing wrong
        const n_focusable = await focusable(page).count();
        if (n_focusable > 0) {
          await focusable(page).first().focus();
          for (const key of ["ArrowRight", "ArrowDown", "End", "Home"]) await page.keyboard.press(key);
          await settled(page);
        }

        // another head, and back
        const here = await page.locator(".head-title .name").textContent();
        const other = page.locator('.thumb:not([aria-selected="true"])').first();
        await other.click();
        await settled(page);
        assert.notEqual(await page.locator(".head-title .name").textContent(), here);
        assert.equal(stateOf(page).get("view") ?? "map", view, "the view stays");
        await page.goBack();
        await page.locator(".head-title .name", { hasText: here! }).waitFor();
        await settled(page);

        // other sizes, there and back again
        for (const width of [360, 700, 1280]) {
          await page.setViewportSize({ width, height: 760 });
          await settled(page);
          // what is as wide as its room is drawn anew when that has changed
          await page.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth, null, { timeout: 3000 }).catch(() => {});
          assert.equal(await widthBeyond(page), 0, `${width} pixels`);
          assert.ok(await element.isVisible());
        }
      }));
  }
}

test("every view takes a finger on a phone", async () => {
  for (const [name, hash, views] of WHERE) {
    await watched(browser, SIZES.phone, async (watched) => {
      const { page } = watched;
      await watched.open(name, hash);
      for (const view of views) {
        await page.locator(`label:has(input[name=view][value=${view}])`).tap();
        await settled(page);
        const box = (await shown(page).boundingBox())!;
        await page.evaluate((y) => scrollTo(0, y), box.y + (await page.evaluate(() => scrollY)) - 80);
        const now = (await shown(page).boundingBox())!;
        for (const share of [0.4, 0.7]) await page.touchscreen.tap(now.x + share * now.width, Math.min(730, now.y + share * Math.min(now.height, 600)));
        await settled(page);
        assert.equal(await page.locator(".tip:visible").count(), 0, `${view}: a finger leaves no tooltip behind`);
        assert.equal(await widthBeyond(page), 0, view);
        await page.evaluate(() => scrollTo(0, 0));
      }
    });
  }
});

test("a click on a cell, a label, a line, a token and a small map chooses, and the choice is seen in every view", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("translator", "#kind=cross&layer=2&head=4");
    const canvas = await boxInSight(page);
    const cell = async (row: number, column: number): Promise<void> => page.mouse.click(canvas.x + ((column + 0.5) / 9) * canvas.width, canvas.y + ((row + 0.5) / 10) * canvas.height);
    await cell(3, 1); // donné → gave
    await settled(page);
    assert.equal(await chosen(page), "3,1");
    for (const view of ["lines", "text", "terms", "compare", "table", "heads", "across"]) {
      await watched.go(`${new URL(page.url()).hash.replace(/&view=\w+/, "")}&view=${view}`);
      assert.equal(await chosen(page), "3,1", view);
      assert.match((await page.locator("#reading").textContent())!, /donné.*gave/, view);
    }
    await page.locator(".panel-map").first().click();
    await settled(page);
    assert.equal(await chosen(page), "3,1", "another head keeps the tokens");
    await page.keyboard.press("Escape");
    assert.equal(await chosen(page), ",");
  }));

test("the map zooms by wheel, keys and two fingers, moves by a drag, shows numbers when near, and its part is in the address", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("long", "#layer=0&head=1");
    const box = await boxInSight(page);
    const zoom = (): string | null => stateOf(page).get("zoom");
    assert.equal(zoom(), null);
    await page.mouse.move(box.x + box.width * 0.5, box.y + box.height * 0.4);
    await page.waitForTimeout(350); // a wheel that just turned elsewhere scrolls the page
    for (let turn = 0; turn < 6; turn += 1) await page.mouse.wheel(0, -120);
    await page.waitForFunction(() => location.hash.includes("zoom="));
    await settled(page);
    const near = zoom();
    // a drag moves it
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction((near) => new URLSearchParams(location.hash.slice(1)).get("zoom") !== near, near);
    const moved = zoom()!;
    // the address alone shows the same part
    await page.reload();
    await settled(page);
    assert.equal(zoom(), moved);
    // nearer by keys until cells have room for numbers, then the whole again
    await page.locator(".cells").focus();
    for (let times = 0; times < 12; times += 1) await page.keyboard.press("+");
    await page.waitForTimeout(200);
    await settled(page);
    assert.notEqual(zoom(), moved);
    await page.keyboard.press("0");
    await page.waitForFunction(() => !location.hash.includes("zoom="));
  }));

test("in another size, and on a finer screen, the map is asked for anew: as many pixels as it has room for", () =>
  watched(browser, { viewport: { width: 1280, height: 520 } }, async (watched) => {
    const { page } = watched;
    await watched.open("long", "#layer=0&head=1");
    const map = async (): Promise<{ height: number; pixels: number; said: string }> => {
      await page.waitForTimeout(100);
      await settled(page);
      return page.locator(".cells canvas").evaluate((canvas) => ({ height: canvas.clientHeight, pixels: (canvas as HTMLCanvasElement).height, said: document.querySelector(".zoom-bar")!.textContent! }));
    };
    const low = await map();
    await page.setViewportSize({ width: 1280, height: 1000 });
    const tall = await map();
    assert.ok(tall.height > low.height + 100, `${low.height}, then ${tall.height}`);
    await page.setViewportSize({ width: 1280, height: 520 });
    assert.deepEqual(await map(), low);
    // 300 cells have fewer pixels here, unless they are finer
    await page.setViewportSize({ width: 400, height: 700 });
    const narrow = await map();
    assert.match(narrow.said, /a pixel is the largest of/);
    const session = await page.context().newCDPSession(page);
    // Chromium 156 tells the page of another ratio alone only when its size changes, too
    await session.send("Emulation.setDeviceMetricsOverride", { width: 400, height: 701, deviceScaleFactor: 3, mobile: false });
    await page.waitForFunction(() => {
      const canvas = document.querySelector<HTMLCanvasElement>(".cells canvas");
      return canvas !== null && canvas.height === 3 * canvas.clientHeight;
    }, undefined, { timeout: 10_000 });
    const fine = await map();
    assert.equal(fine.pixels, 3 * fine.height);
    assert.doesNotMatch(fine.said, /a pixel is/);
    await page.setViewportSize({ width: 1280, height: 520 });
    assert.doesNotMatch((await map()).said, /a pixel is/);
  }));

test("tokens whose text stands there more than once are named with their number", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("repeated", "#kind=encoder&layer=0&head=3&q=4&k=0");
    const labels = await page.locator(".row-labels .label").allTextContents();
    assert.ok(labels.includes("the\u200a4"), `${labels}`);
    assert.match((await page.locator("#reading").textContent())!, /the\u200a4 → The /);
    assert.equal(labels.filter((label) => label.startsWith("The")).join(), "The", "one alone has none");
    assert.equal(await widthBeyond(page), 0);
  }));

test("what the vocabulary does not know stands in the text as it is there, marked", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("repeated", "#kind=encoder&layer=0&head=3&view=text");
    const unknown = page.locator(".flow button.unknown");
    assert.equal(await unknown.first().locator(".token").textContent(), "猫");
    assert.match((await unknown.first().getAttribute("title"))!, /does not know this; the model reads <unk>/);
    assert.match((await page.locator(".flow").last().textContent())!, /The ␣ 猫 saw the dog, and the dog saw the ␣ 猫\./);
  }));

test("a finger that holds a token and touches another takes all between, and reads them as one", () =>
  watched(browser, SIZES.phone, async (watched) => {
    const { page } = watched;
    await watched.open("translator", "#kind=encoder&layer=0&head=3");
    const chips = page.locator(".text .chip:not(:disabled)");
    const box = (await chips.nth(1).boundingBox())!;
    const session = await page.context().newCDPSession(page);
    await session.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x: box.x + box.width / 2, y: box.y + 12 }] });
    await page.locator(".take", { hasText: "touch the last of them" }).waitFor();
    await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    assert.equal(await chosen(page), ",", "holding is no choosing");
    await chips.nth(3).tap();
    assert.equal(await page.locator(".chip.taken").count(), 3);
    assert.equal(await widthBeyond(page), 0);
    await page.locator(".take button", { hasText: "read as one" }).tap();
    await settled(page);
    assert.equal(stateOf(page).get("spans"), "s1-4");
    await page.locator(".spans button").tap();
    await settled(page);
    assert.equal(stateOf(page).get("spans"), null);
  }));

test("measured effects put the heads in an order, and stand beside their weights", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("effects", "#kind=cross&layer=2&head=4&q=1&k=1&sort=effect");
    const measured = await page.evaluate(() => (globalThis as unknown as { attlas: { source: { atlas: Atlas } } }).attlas.source.atlas.effects!.heads);
    const ranked = [...measured].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
    const said = new Map(measured.map((one) => [headName(one.layer, one.head), effectNumber(one)]));
    const cells = page.locator(".heads.sorted .cell");
    const [names, numbers] = [await cells.locator(".name:not(.ordered)").allTextContents(), await cells.locator(".ordered").allTextContents()];
    assert.equal(names.length, 24);
    assert.deepEqual(names.slice(0, 8), ranked.map((one) => headName(one.layer, one.head)));
    assert.deepEqual(numbers, names.map((name) => said.get(name) ?? ""), "the others were not measured");
    assert.equal(await page.locator(".remarks .remark").last().textContent(), `effect ${said.get("L2H4")} (kl, zero)`);
    const listed = page.locator(".ranking li");
    assert.deepEqual(await listed.locator(".effect").allTextContents(), (await listed.locator(".name").allTextContents()).map((name) => said.get(name) ?? ""));
    await watched.go("#kind=encoder&layer=0&head=3");
    assert.equal(await page.locator('.overview-bar option[value="effect"]').count(), 0, "of the encoder nothing was measured");
  }));

test("two fingers zoom the map on a phone, one scrolls the page", () =>
  watched(browser, SIZES.phone, async (watched) => {
    const { page } = watched;
    await watched.open("long", "#layer=0&head=1");
    const box = await boxInSight(page);
    const session = await page.context().newCDPSession(page);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 3];
    const fingers = (apart: number): { x: number; y: number; id: number }[] => [{ x: x - apart, y, id: 0 }, { x: x + apart, y, id: 1 }];
    await session.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: fingers(20) });
    for (const apart of [30, 45, 60, 75]) await session.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: fingers(apart) });
    await session.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await page.waitForFunction(() => location.hash.includes("zoom="));
    await settled(page);
    assert.equal(await page.evaluate(() => visualViewport!.scale), 1, "the map was zoomed, not the page");
  }));

test("saved files are what the view shows: SVG, PNG and CSV of every view", async () => {
  for (const [name, hash, views] of WHERE) {
    await watched(browser, {}, async (watched) => {
      const { page } = watched;
      await watched.open(name, hash);
      for (const view of views) {
        await watched.go(`${hash}&view=${view}`);
        for (const [button, starts] of [["SVG", "<svg"], ["PNG", "\u0089PNG"], ["CSV", "\u00ef\u00bb\u00bf"]] as const) {
          const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".saving button", { hasText: button }).click()]);
          const chunks: Buffer[] = [];
          for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer);
          const text = Buffer.concat(chunks).toString("latin1");
          assert.ok(text.startsWith(starts), `${view}, ${button}: ${text.slice(0, 40)}`);
          assert.match(download.suggestedFilename(), new RegExp(`\\.${button.toLowerCase()}$`));
          const seen = button === "SVG" && (view === "heads" || view === "across") ? await page.locator(".panel-name > :first-child").allTextContents() : [];
          for (const title of seen.filter((title) => /^L\d+H\d+$/.test(title))) assert.ok(text.includes(title), `${view}: ${title} is not in the picture`);
        }
      }
    });
  }
});

test("where nothing is chosen, what is said beside a view is of the row that it shows", async () => {
  for (const [name, hash, said, row] of [
    ["translator", "#kind=cross&layer=2&head=4&view=generation", ".slide", "</s>"],
    ["picture", "#kind=encoder&layer=0&head=0&view=image", ".image-view", "CLS"],
  ] as const) {
    await watched(browser, {}, async (watched) => {
      await watched.open(name, hash);
      assert.match((await watched.page.locator(said).first().textContent())!, new RegExp(row));
      assert.match((await watched.page.locator("#reading").textContent())!, new RegExp(`${row} looks at`));
    });
  }
});

test("the link that is copied opens the same view elsewhere", () =>
  watched(browser, { permissions: ["clipboard-read", "clipboard-write"] }, async (watched) => {
    const { page } = watched;
    await watched.open("translator", "#kind=encoder&layer=0&head=3&q=2&k=1&view=lines&scale=log");
    await page.locator(".saving button", { hasText: "link" }).click();
    const link = (await page.locator(".saving code").textContent())!;
    const before = [await page.locator("#reading").textContent(), await page.locator(".head-title").first().textContent()];
    await page.goto("about:blank");
    await page.goto(link);
    await settled(page);
    assert.deepEqual([await page.locator("#reading").textContent(), await page.locator(".head-title").first().textContent()], before);
  }));

test("maps and small maps look as they are stored, in light and dark, on a common and on a fine screen", async () => {
  for (const [colorScheme, deviceScaleFactor] of [["light", 1], ["dark", 3]] as const) {
    // so narrow that cells have no room for numbers, whose fonts differ between machines
    await watched(browser, { ...SIZES.phone, colorScheme, deviceScaleFactor, reducedMotion: "reduce" }, async (watched) => {
      const { page } = watched;
      await watched.open("translator", "#kind=cross&layer=2&head=4");
      await assertLooks(page.locator(".cells canvas"), `map-${colorScheme}`);
      // nine cells of four pixels each on a common screen: which of them has five depends on the font beside them
      if (deviceScaleFactor > 1) await assertLooks(page.locator('.thumb[aria-label^="L1H5"]'), `small-map-${colorScheme}`);
      await watched.open("long", "#layer=1&head=1&scale=rank");
      await assertLooks(page.locator(".cells canvas"), `ranks-${colorScheme}`);
    });
  }
});
