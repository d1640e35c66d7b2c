// SPDX-License-Identifier: Apache-2.0
// That the packages of the lock file load here, and are those versions.
import { readFileSync } from "node:fs";
import { Sandbox as Declaw } from "@declaw/sdk";
import { Sandbox as E2b } from "e2b";

function version(name: string): string {
  return JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}

console.log(JSON.stringify({
  "@declaw/sdk": version("@declaw/sdk"),
  e2b: version("e2b"),
  loaded: [typeof Declaw.create, typeof E2b.create],
}));
