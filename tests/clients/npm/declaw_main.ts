// SPDX-License-Identifier: Apache-2.0
// All cases of @declaw/sdk, and what the package offers that none of them is about.
import { fileURLToPath } from "node:url";
import * as sdk from "@declaw/sdk";
import "./declaw_acceptance.js";
import "./declaw_commands.js";
import "./declaw_models.js";
import "./declaw_refused.js";
import "./declaw_sandbox.js";
import "./declaw_snapshots.js";
import "./declaw_templates.js";
import "./declaw_terminals.js";
import "./declaw_volumes.js";
import { main } from "./harness.js";
import { counting, surface } from "./surface.js";

const dist = fileURLToPath(new URL("./node_modules/@declaw/sdk/dist/", import.meta.url));
const offered = surface(sdk, `${dist}index.d.ts`);
const ran = await counting(`${dist}index.js`);
await main(async () => ({ surface: [...offered.keys()], called: await ran(offered) }));
