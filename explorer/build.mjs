// Bundles the page into the package; with --tests, the tests into build/.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";

import { build } from "esbuild";

const web = "../src/vaekit/show/explorer/web";

if (process.argv.includes("--tests")) {
  rmSync("build", { recursive: true, force: true });
  const tests = readdirSync("tests").filter((name) => name.endsWith(".test.ts"));
  await build({ entryPoints: tests.map((name) => `tests/${name}`), outdir: "build", outExtension: { ".js": ".mjs" }, bundle: true, platform: "node", format: "esm", logLevel: "warning" });
} else {
  mkdirSync(web, { recursive: true });
  // "</script" in the text of a script would end it where the page is one file; esbuild writes "<\/script".
  await build({ entryPoints: { explorer: "src/main.ts" }, outdir: web, bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "none", logLevel: "warning" });
  await build({ entryPoints: { explorer: "src/explorer.css" }, outdir: web, bundle: true, minify: true, logLevel: "warning" });
  copyFileSync("src/page.html", `${web}/page.html`);
  await build({ entryPoints: ["src/programs.ts"], outfile: "build/programs.mjs", bundle: true, format: "esm", platform: "node" });
  const { OPERATORS } = await import("./build/programs.mjs");
  // By this the Python tests know, without Node, whether what is built is that of the sources.
  const hash = createHash("sha256");
  const sources = readdirSync("src", { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  for (const path of sources.map((each) => `${each.parentPath ?? each.path}/${each.name}`).sort()) hash.update(`${path}\n`).update(readFileSync(path));
  writeFileSync(`${web}/sources.sha256`, `${hash.digest("hex")}\n`);
  writeFileSync(`${web}/operators.json`, JSON.stringify(Object.keys(OPERATORS).sort(), null, 1) + "\n");
}
