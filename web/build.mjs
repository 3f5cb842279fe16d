// Builds the viewer: `node build.mjs` writes dist/ (committed; the page's script and style are embedded in the crate attlas-viewer,
// the element is what `npm pack` packs), and `node build.mjs tests` writes the bundled unit tests to build/.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import ts from "typescript";

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
  await build({ ...common, entryPoints: ["src/element.ts"], outfile: "dist/attlas-viewer.js", format: "esm" });
  const types = ts.transpileDeclaration(readFileSync("src/element.ts", "utf8"), { fileName: "element.ts", reportDiagnostics: true });
  for (const fault of types.diagnostics) throw new Error(`element.ts: ${ts.flattenDiagnosticMessageText(fault.messageText, "\n")}`);
  writeFileSync("dist/attlas-viewer.d.ts", types.outputText);
}
