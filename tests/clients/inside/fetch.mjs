// SPDX-License-Identifier: Apache-2.0
// fetch.mjs URL: prints status and SHA-256 of the body.
import { createHash } from "node:crypto";
const answer = await fetch(process.argv[2], { signal: AbortSignal.timeout(4000) });
const body = Buffer.from(await answer.arrayBuffer());
console.log(answer.status, createHash("sha256").update(body).digest("hex"));
