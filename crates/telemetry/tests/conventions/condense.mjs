// Condenses the data of the npm package @sentry/conventions into attributes-<version>.json, so that the tests need no npm.
//
//   npm pack @sentry/conventions@0.33.0 && tar xzf sentry-conventions-0.33.0.tgz
//   node condense.mjs package > attributes-0.33.0.json
//
// The package is MIT licensed (Copyright (c) 2023-2025 Functional Software, Inc. dba Sentry); names and types are taken over,
// descriptions are not.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const root = resolve(process.argv[2] ?? "package");
const load = (name) => import(pathToFileURL(resolve(root, "dist", name)).href);
const about = JSON.parse(readFileSync(resolve(root, "package.json"), "utf8"));
const { ATTRIBUTE_METADATA } = await load("attributes.mjs");
const texts = async (name) => Object.values(await load(name)).filter((value) => typeof value === "string").sort();

const lines = Object.entries(ATTRIBUTE_METADATA)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, { type, deprecation }]) => {
    const entry = { type };
    if (deprecation) entry.deprecated = deprecation.replacement ?? true;
    return `    ${JSON.stringify(name)}: ${JSON.stringify(entry)}`;
  });

console.log(`{
  "package": ${JSON.stringify(`${about.name} ${about.version}`)},
  "license": ${JSON.stringify(`${about.license}, Copyright (c) 2023-2025 Functional Software, Inc. dba Sentry`)},
  "made_by": "condense.mjs",
  "ops": ${JSON.stringify(await texts("op.mjs"))},
  "metrics": ${JSON.stringify(await texts("metrics.mjs"))},
  "attributes": {
${lines.join(",\n")}
  }
}`);
