// SPDX-License-Identifier: Apache-2.0
// All cases of the npm package e2b, and what the package offers of sandboxes that none of them is about.
import { fileURLToPath } from "node:url";
import * as sdk from "e2b";
import "./e2b_commands.js";
import "./e2b_files.js";
import "./e2b_git.js";
import "./e2b_refused.js";
import "./e2b_sandbox.js";
import { main } from "./harness.js";
import { counting, surface } from "./surface.js";

const dist = fileURLToPath(new URL("./node_modules/e2b/dist/", import.meta.url));

/** Classes that have no name of their own among what the package exports. Nothing is asked of a server here. */
function inner(): object {
  const sbx = new sdk.Sandbox({ sandboxId: "none", envdVersion: "0.6.1", apiKey: "none" });
  const pages = sdk.Sandbox.list({ apiKey: "none" });
  return {
    Filesystem: sbx.files.constructor,
    Commands: sbx.commands.constructor,
    Pty: sbx.pty.constructor,
    Git: sbx.git.constructor,
    SandboxPaginator: pages.constructor,
    Paginator: Object.getPrototypeOf(pages.constructor),
    SandboxApi: Object.getPrototypeOf(sdk.Sandbox),
  };
}

const { Sandbox, CommandExitError, getSignature } = sdk;
const own = surface({ Sandbox, CommandExitError, getSignature, ...inner() }, `${dist}index.d.ts`);
// What a class has from the one it is made of is its own to who calls it.
const offered = new Map([...own].map(([name, f]) => [name.replace(/^SandboxApi\./, "Sandbox.").replace(/^Paginator#/, "SandboxPaginator#"), f]));
const ran = await counting(`${dist}index.js`);
await main(async () => ({ surface: [...offered.keys()], called: await ran(offered) }));
