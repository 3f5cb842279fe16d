// Stored pictures of parts of the page. Parts without text are chosen, since fonts differ between machines; they are brought to one
// size and compared with a tolerance, since layout follows fonts.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Locator, Page } from "playwright-core";

const FOLDER = "browser/pictures";
/** Of both sides of a stored picture. */
const SIDE = 128;
/** A pixel is another one from this difference of a channel on, of 255. */
const STEP = 40;
/** As many pixels may be others. */
const OTHERS = 0.02;

/** Holds a part of the page to its stored picture; `ATTLAS_ACCEPT=1` stores it. */
export async function assertLooks(part: Locator, name: string): Promise<void> {
  const blank = await part.page().context().newPage();
  try {
    const now = await scaled(blank, await part.screenshot({ animations: "disabled" }));
    const path = `${FOLDER}/${name}.png`;
    if (process.env["ATTLAS_ACCEPT"] === "1") {
      mkdirSync(FOLDER, { recursive: true });
      writeFileSync(path, now);
      return;
    }
    assert.ok(existsSync(path), `there is no ${path}; ATTLAS_ACCEPT=1 stores it`);
    const others = await difference(blank, now, readFileSync(path));
    if (others > OTHERS) writeFileSync(`${FOLDER}/${name}.new.png`, now);
    assert.ok(others <= OTHERS, `${(100 * others).toFixed(1)} % of ${name} look otherwise than ${path}; see ${name}.new.png, or store it by ATTLAS_ACCEPT=1`);
  } finally {
    await blank.close();
  }
}

/** A picture of SIDE × SIDE pixels. */
async function scaled(page: Page, png: Buffer): Promise<Buffer> {
  const url = await page.evaluate(
    async ([data, side]) => {
      const image = await createImageBitmap(await (await fetch(data)).blob());
      const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
      const context = canvas.getContext("2d")!;
      context.imageSmoothingQuality = "high";
      context.drawImage(image, 0, 0, side, side);
      return canvas.toDataURL("image/png");
    },
    [dataOf(png), SIDE] as const,
  );
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

/** The share of pixels that differ by STEP or more. */
async function difference(page: Page, a: Buffer, b: Buffer): Promise<number> {
  return page.evaluate(
    async ([a, b, step]) => {
      const pixels = async (data: string): Promise<Uint8ClampedArray> => {
        const image = await createImageBitmap(await (await fetch(data)).blob());
        const context = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height }).getContext("2d")!;
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, image.width, image.height).data;
      };
      const [first, second] = [await pixels(a), await pixels(b)];
      if (first.length !== second.length) return 1;
      let others = 0;
      for (let at = 0; at < first.length; at += 4) {
        const apart = [0, 1, 2].map((channel) => Math.abs(first[at + channel]! - second[at + channel]!));
        if (Math.max(...apart) >= step) others += 1;
      }
      return (4 * others) / first.length;
    },
    [dataOf(a), dataOf(b), STEP] as const,
  );
}

function dataOf(png: Buffer): string {
  return `data:image/png;base64,${png.toString("base64")}`;
}
