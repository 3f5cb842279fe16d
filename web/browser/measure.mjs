// Opens one page in Chromium and prints how long it took, as JSON: `node browser/measure.mjs attlas|BertViz|Inspectus PAGE [SCRIPTS]`,
// called by bench/viewer.py. Milliseconds, as the page's own clock has them, each to the frame after which it is seen.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [name, file, scripts] = process.argv.slice(2);
const places = [process.env.ATTLAS_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = await chromium.launch({ executablePath: places.find((path) => path && existsSync(path)), args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  // what BertViz loads from the web, from a folder
  await page.route(/^https?:/, (route) => {
    const local = scripts && join(scripts, { require: "require.js", d3: "d3.min.js", jquery: "jquery.min.js" }[/require|d3|jquery/.exec(route.request().url())?.[0]] ?? "none");
    return local && existsSync(local) ? route.fulfill({ body: readFileSync(local), contentType: "text/javascript" }) : route.abort();
  });
  page.setDefaultTimeout(240_000);
  console.log(JSON.stringify(await (name === "attlas" ? ofAttlas(page) : ofPeer(page))));
} finally {
  await browser.close();
}

async function ofAttlas(page) {
  await page.addInitScript(watchOverview);
  await page.goto(pathToFileURL(file).href);
  const overview = await page.evaluate(() => globalThis.overviewSeen);
  const heads = [[3, 5], [11, 0], [7, 7], [0, 11], [5, 2]];
  const clicks = [];
  for (const [layer, head] of heads) {
    await page.evaluate(watchHead, `L${layer}H${head}`);
    await page.locator(`.thumb[aria-label^="L${layer}H${head}"]`).click();
    clicks.push(await page.evaluate(() => globalThis.headSeen));
  }
  return { "overview, first": [overview], "head, from the click": clicks, ...(await hovers(page)) };
}

/** In the page, before anything: when all thumbnails are drawn. */
function watchOverview() {
  globalThis.overviewSeen = new Promise((done) => {
    const look = () => {
      if (document.querySelector('#panel[aria-busy="false"]') === null) return requestAnimationFrame(look);
      // the frame is painted when the task after it runs
      requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0));
    };
    requestAnimationFrame(look);
  });
}

/** In the page, before a click: when the head's map is drawn, from when the click was made. */
function watchHead(name) {
  globalThis.headSeen = new Promise((done) => {
    document.addEventListener(
      "pointerdown",
      (event) => {
        const look = () => {
          const there = document.querySelector(".head-title .name").textContent === name && document.querySelector('#panel[aria-busy="false"]') !== null;
          if (!there) return requestAnimationFrame(look);
          requestAnimationFrame(() => setTimeout(() => done(performance.now() - event.timeStamp), 0));
        };
        requestAnimationFrame(look);
      },
      { once: true, capture: true },
    );
  });
}

/** The pointer over many cells, one after the other. */
async function hovers(page) {
  const box = await page.locator(".cells canvas").first().boundingBox();
  const at = (step) => [box.x + ((step * 37) % 97) / 97 * Math.min(box.width, 500), box.y + ((step * 53) % 89) / 89 * Math.min(box.height, 500)];
  await page.mouse.move(...at(0));
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const busy = async () => (await session.send("Performance.getMetrics")).metrics.find((one) => one.name === "TaskDuration").value * 1000;
  const shown = [];
  const worked = [];
  for (let step = 1; step <= 20; step += 1) {
    await page.evaluate(() => {
      globalThis.hoverSeen = new Promise((done) => {
        const seen = (event) => requestAnimationFrame(() => setTimeout(() => done(performance.now() - event.timeStamp), 0));
        document.addEventListener("pointermove", seen, { once: true, capture: true });
      });
    });
    const before = await busy();
    await page.mouse.move(...at(step));
    shown.push(await page.evaluate(() => globalThis.hoverSeen));
    worked.push((await busy()) - before);
  }
  return { "hover, until it is seen": shown, "hover, work of the thread": worked };
}

/** The others change the document until all is drawn: the last change, seen. */
async function ofPeer(page) {
  await page.addInitScript(() => {
    let last = 0;
    new MutationObserver(() => (last = performance.now())).observe(document, { subtree: true, childList: true, attributes: true });
    globalThis.drawn = () => new Promise((done) => {
      const look = () => (performance.now() - last > 2000 ? done(last) : setTimeout(look, 100));
      setTimeout(look, 500);
    });
  });
  await page.goto(pathToFileURL(file).href);
  const marks = await page.evaluate(() => document.querySelectorAll("svg *, canvas").length);
  const drawn = await page.evaluate(() => globalThis.drawn());
  if (marks + (await page.evaluate(() => document.querySelectorAll("svg *, canvas").length)) === 0) throw new Error(`${name} drew nothing`);
  return { "overview, first": [drawn] };
}
