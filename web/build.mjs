// Builds the viewer: `node build.mjs` writes dist/ (committed, embedded in the crate attlas-viewer), and
// `node build.mjs tests` writes the bundled unit tests to build/.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const common = { bundle: true, charset: "ascii", legalComments: "none", logLevel: "warning", target: "es2022" };

if (process.argv[2] === "tests") {
  const entryPoints = readdirSync("tests").filter((name) => name.endsWith(".test.ts")).map((name) => `tests/${name}`);
  await build({
    ...common,
    entryPoints,
    outdir: "build",
    outExtension: { ".js": ".mjs" },
    entryNames: "[name]",
    platform: "node",
    format: "esm",
    loader: { ".json": "json" },
  });
} else {
  mkdirSync("dist", { recursive: true });
  for (const [entry, name] of [["src/main.ts", "viewer.js"], ["src/style.css", "viewer.css"]]) {
    const { outputFiles } = await build({ ...common, entryPoints: [entry], format: "iife", minify: true, write: false });
    const text = outputFiles[0].text.trimEnd();
    if (/<\/(script|style)|<!--/i.test(text)) throw new Error(`${name} would close its own tag`);
    writeFileSync(`dist/${name}`, text);
    // the page's content security policy allows these very bytes and no others
    writeFileSync(`dist/${name}.sha256`, createHash("sha256").update(text).digest("base64") + "\n");
  }
}
