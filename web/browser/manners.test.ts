// For every hand and eye: axe-core without complaint, the focus seen, everything reached by Tab, small windows, fine screens, paper.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { launch, SIZES, viewsOf, watched, widthBeyond } from "./harness.ts";

let browser: Browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds wrong, each in a line. */
async function assertAccessible(page: Page, where: string): Promise<void> {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const faults = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(of: Document, options: object): Promise<AxeResults> } };
    const { violations } = await axe.run(document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } });
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${[...node.any, ...node.all, ...node.none].map((one) => one.message).join("; ")}`));
  });
  assert.equal(faults.join("\n"), "", where);
}

for (const [name, size, colorScheme] of [
  ["light", SIZES.desktop, "light"],
  ["dark", SIZES.desktop, "dark"],
  ["light on a phone", SIZES.phone, "light"],
  ["dark on a phone", SIZES.phone, "dark"],
] as const) {
  test(`axe-core finds nothing wrong: ${name}`, () =>
    watched(browser, { ...size, colorScheme, reducedMotion: "reduce" }, async (watched) => {
      // all views where their colours are hardest to tell apart, else the page as it opens and with a choice
      const there = await viewsOf(watched, "translator");
      const views = colorScheme === "light" ? ["map"] : there;
      for (const view of views) {
        await watched.go(`#kind=encoder&layer=0&head=3&q=2&k=1&view=${view}`);
        await assertAccessible(watched.page, view);
      }
      await watched.open("translator");
      await watched.page.keyboard.press("?");
      await assertAccessible(watched.page, "the list of keys");
    }));
}

test("at 360 pixels no view makes the page scroll sideways, and what is touched is large enough for a finger", () =>
  watched(browser, SIZES.phone, async (watched) => {
    for (const name of ["translator", "long", "hostile"]) {
      for (const view of await viewsOf(watched, name)) {
        await watched.go(`#view=${view}`);
        assert.equal(await widthBeyond(watched.page), 0, `${name}, ${view}`);
      }
    }
  }));

test("the chosen kind of attention is seen whole, however narrow the page", () =>
  watched(browser, {}, async (watched) => {
    await watched.open("translator", "#kind=cross&layer=2&head=4");
    for (const width of [360, 390, 414, 480, 600, 820]) {
      await watched.page.setViewportSize({ width, height: 760 });
      const beyond = await watched.page.locator(".tabs").evaluate((tabs) => tabs.querySelector("[aria-selected=true]")!.getBoundingClientRect().right - tabs.getBoundingClientRect().right);
      assert.ok(beyond <= 1, `${width} pixels: ${beyond} of it are hidden`);
    }
  }));

test("Tab reaches each part of the page, and what has the focus is seen", () =>
  watched(browser, {}, async (watched) => {
    const { page } = watched;
    await watched.open("translator");
    const reached: string[] = [];
    for (let times = 0; times < 60; times += 1) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === null || element === document.body) return null;
        // a radio button's own mark is its label's
        const seen = element.matches("input[type=radio], input[type=checkbox]") ? (element.nextElementSibling ?? element) : element;
        const { outlineStyle, outlineWidth } = getComputedStyle(seen);
        const part = element.closest("header, .texts, .tabs, .controls, .overview, .head, .reading, footer, .description");
        return { part: part?.className || part?.localName || "", seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2, name: element.outerHTML.slice(0, 90) };
      });
      if (at === null) break;
      assert.ok(at.seen, `nothing shows that this has the focus: ${at.name}`);
      reached.push(at.part);
    }
    for (const part of ["header", "texts", "tabs", "controls", "overview", "head", "footer"]) assert.ok(reached.includes(part), `${part}: ${[...new Set(reached)]}`);
  }));

test("on paper there is the map, whole and in its colours on white, and no switch", () =>
  watched(browser, { ...SIZES.desktop, colorScheme: "dark" }, async (watched) => {
    const { page } = watched;
    for (const view of await viewsOf(watched, "translator")) {
      await watched.go(`#kind=cross&view=${view}&q=2`);
      const pdf = await page.pdf({ format: "A4" });
      assert.equal(pdf.subarray(0, 5).toString(), "%PDF-");
      const n_pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)!.length;
      assert.ok(n_pages <= 3, `${view} takes ${n_pages} pages`);
    }
    await page.setViewportSize({ width: 718, height: 1000 }); // A4 less its margins
    await page.emulateMedia({ media: "print" });
    assert.equal(await widthBeyond(page), 0, "nothing lies beside the paper");
    assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(255, 255, 255)");
    assert.equal(await page.locator(".controls:visible, .saving:visible, .theme:visible").count(), 0);
  }));

test("whoever asks for little motion gets none, and forced colours leave marks and focus in sight", () =>
  watched(browser, { reducedMotion: "reduce", forcedColors: "active" }, async (watched) => {
    await watched.open("translator", "#kind=cross&q=2");
    const moving = await watched.page.evaluate(() => document.getAnimations().length);
    assert.equal(moving, 0);
    await assertAccessible(watched.page, "forced colours");
  }));
