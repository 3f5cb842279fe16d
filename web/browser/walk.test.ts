// A long walk through the page by mouse, keys, finger, other sizes and the back button, the same every time: whatever is done in
// whatever order, nothing fails, nothing is asked for, and the address stays one that shows the same page.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launch, settled, SIZES, viewsOf, watched, widthBeyond, beyond } from "./harness.ts";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** Numbers in 0 .. 1 that are the same every time (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  };
}

const KEYS = ["ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "Shift+ArrowRight", "Shift+ArrowDown", "Tab", "Shift+Tab", "Enter", "Space", "Escape", "Home", "End", "+", "-", "0", "q", "k", "?"];
const WIDTHS = [360, 420, 700, 1000, 1280];

/** One thing that a reader may do; what it was, for a failure. */
async function act(page: Page, next: () => number, views: string[]): Promise<string> {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(next() * all.length)]!;
  const size = page.viewportSize()!;
  const at = { x: next() * size.width, y: next() * size.height };
  const what = pick(["move", "move", "click", "click", "double click", "wheel", "drag", "key", "key", "key", "control", "scroll", "size", "back", "view"]);
  if (what === "move") await page.mouse.move(at.x, at.y);
  else if (what === "click") await page.mouse.click(at.x, at.y);
  else if (what === "double click") await page.mouse.dblclick(at.x, at.y);
  else if (what === "wheel") await page.mouse.wheel(0, 240 * (next() - 0.5));
  else if (what === "drag") {
    await page.mouse.move(at.x, at.y);
    await page.mouse.down();
    await page.mouse.move(next() * size.width, next() * size.height, { steps: 3 });
    await page.mouse.up();
  } else if (what === "key") await page.keyboard.press(pick(KEYS));
  else if (what === "control") await page.locator("button:visible, input[type=radio]:not(:disabled):visible").evaluateAll((all, share) => {
    // what saves a file would fill the disk
    const there = all.filter((one) => one.closest(".saving, dialog") === null);
    (there[Math.floor(share * there.length)] as HTMLElement | undefined)?.click();
  }, next());
  else if (what === "scroll") await page.evaluate((share) => scrollTo(0, share * document.documentElement.scrollHeight), next());
  else if (what === "size") await page.setViewportSize({ width: pick(WIDTHS), height: 740 });
  else if (what === "view") await page.evaluate((view) => (location.hash = `#view=${view}`), pick(views));
  else {
    await page.goBack();
    if (page.url() === "about:blank") await page.goForward();
  }
  return `${what} ${at.x.toFixed()},${at.y.toFixed()}`;
}

for (const [name, seed, steps] of [["translator", 1, 160], ["hostile", 2, 80], ["long", 3, 80]] as const) {
  test(`${steps} steps through ${name}`, () =>
    watched(browser, SIZES.desktop, async (watched) => {
      const { page } = watched;
      const views = await viewsOf(watched, name);
      const next = random(seed);
      const done: string[] = [];
      try {
        for (let step = 0; step < steps; step += 1) {
          done.push(await act(page, next, views));
          assert.deepEqual(watched.complaints, []);
        }
        await page.keyboard.press("Escape");
        await settled(page);
        assert.equal(await widthBeyond(page), 0, await beyond(page));
        // the address alone shows the same
        const said = async (): Promise<string> => (await page.locator(".head-title").first().textContent())!;
        const before = await said();
        await page.reload();
        await settled(page);
        assert.equal(await said(), before);
      } catch (error) {
        throw new Error(`${(error as Error).message}\nafter ${done.slice(-12).join("; ")}`);
      }
    }));
}

test("60 steps with a finger on a phone", () =>
  watched(browser, SIZES.phone, async (watched) => {
    const { page } = watched;
    const views = await viewsOf(watched, "translator");
    const next = random(4);
    const done: string[] = [];
    for (let step = 0; step < 60; step += 1) {
      const at = { x: next() * 360, y: next() * 740 };
      done.push(`${at.x.toFixed()},${at.y.toFixed()}`);
      if (step % 6 === 5) await page.evaluate((view) => (location.hash = `#view=${view}`), views[Math.floor(next() * views.length)]!);
      else if (step % 3 === 2) await page.evaluate((share) => scrollTo(0, share * document.documentElement.scrollHeight), next());
      else await page.touchscreen.tap(at.x, at.y);
      assert.deepEqual(watched.complaints, [], done.join("; "));
    }
    await settled(page);
    assert.equal(await widthBeyond(page), 0, await beyond(page));
    assert.equal(await page.locator(".tip:visible").count(), 0, "a finger leaves no tooltip behind");
  }));
