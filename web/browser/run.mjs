// The page in a real browser: `node browser/run.mjs [NAME …]` makes pages with the attlas command, and runs browser/*.test.ts (or
// those whose file begins with a NAME) against them in Debian's Chromium.
//
// ATTLAS_CHROMIUM says where Chromium is, ATTLAS_SKIP_BROWSER=1 leaves these tests out where there is none, ATTLAS_COMMAND says where
// the attlas command is (target/debug/attlas otherwise), and ATTLAS_ACCEPT=1 takes new pictures for the stored ones.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

process.chdir(join(dirname(fileURLToPath(import.meta.url)), ".."));

const chromium = [process.env.ATTLAS_CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];
const found = chromium.find((path) => path && existsSync(path));
if (found === undefined && process.env.ATTLAS_SKIP_BROWSER === "1") {
  console.log("NOT tested: there is no Chromium, and ATTLAS_SKIP_BROWSER=1 leaves the browser tests out");
  process.exit(0);
}
if (found === undefined) {
  const ways = "install it (Debian: apt-get install chromium), point ATTLAS_CHROMIUM at it, or set ATTLAS_SKIP_BROWSER=1 to leave the browser tests out";
  throw new Error(`no Chromium was found: ${ways}`);
}
const attlas = resolve(process.env.ATTLAS_COMMAND ?? "../target/debug/attlas");
if (!existsSync(attlas)) throw new Error(`there is no ${attlas}: cargo build -p attlas-cli makes it, or point ATTLAS_COMMAND at one`);

const wanted = process.argv.slice(2);
const tests = readdirSync("browser").filter((name) => name.endsWith(".test.ts") && (wanted.length === 0 || wanted.some((start) => name.startsWith(start))));
if (tests.length === 0) throw new Error(`no test in web/browser begins with ${wanted.join(" or ")}`);
await build({
  entryPoints: ["pages.ts", ...tests].map((name) => `browser/${name}`),
  outdir: "browser/build",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  logLevel: "warning",
});

const { makePages } = await import("./build/pages.mjs");
const folder = mkdtempSync(join(tmpdir(), "attlas-browser-"));
let status = 1;
try {
  makePages(attlas, folder);
  const files = tests.map((name) => `browser/build/${name.replace(/ts$/, "mjs")}`);
  const env = { ...process.env, ATTLAS_CHROMIUM: found, ATTLAS_PAGES: folder };
  status = spawnSync(process.execPath, ["--test", "--test-concurrency=1", ...files], { stdio: "inherit", env }).status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status);
