// SPDX-License-Identifier: Apache-2.0
// What this server does not have in E2B's API: it says so, and does nothing by halves.
import { Sandbox, SandboxError, SandboxNotFoundError, Secret, SecretError, Template, Volume, VolumeError, type SandboxOpts } from "e2b";
import { inSandbox } from "./e2b_bench.js";
import { eq, fails, test } from "./harness.js";

function refused(opts: SandboxOpts, word: RegExp): () => Promise<string> {
  return async () => {
    await fails(Sandbox.create(opts), SandboxError, word);
    return "refused with 400: not part of this server";
  };
}

test("Sandbox.create", "the option network.rules", refused({ network: { rules: { "a.test": [{ transform: { headers: { A: "b" } } }] } } }, /^400: network\.rules/));
test("Sandbox.create", "the option network.egressProxy", refused({ network: { egressProxy: { address: "a.test:1080" } } }, /^400: network\.egressProxy/));
test("Sandbox.create", "the option network.httpsPorts", refused({ network: { httpsPorts: [8443] } }, /^400: network\.httpsPorts/));
test("Sandbox.create", "the option volumeMounts", refused({ volumeMounts: { "/mnt": "a-volume" } }, /^400: volumeMounts/));
test("Sandbox.create", "the option mcp", refused({ template: "base", mcp: { exa: { apiKey: "x" } } as never }, /^400: mcp/));
test("Sandbox.create", "the option iam", refused({ iam: { tokens: { a: Secret.iamToken({ audience: "a", tokenType: "jwt" } as never) } } }, /^400: iam/));
test("Sandbox.create", "the option lifecycle.onTimeout.keepMemory", refused({ lifecycle: { onTimeout: { action: "pause", keepMemory: false } } }, /^400: autoPauseMemory/));

test("Sandbox#pause", "without its memory", () => inSandbox(async (sbx) => {
  await fails(sbx.pause({ keepMemory: false }), SandboxError, /^400: memory/);
  return "refused with 400: what is paused keeps its memory";
}));

test(["Sandbox#createSnapshot", "Sandbox.createSnapshot"], "a snapshot", () => inSandbox(async (sbx) => {
  await fails(sbx.createSnapshot(), SandboxNotFoundError);
  await fails(Sandbox.createSnapshot(sbx.sandboxId), SandboxNotFoundError);
  return "refused with 404: snapshots are in our own API";
}));

test(["Sandbox#listSnapshots", "Sandbox.listSnapshots", "SnapshotPaginator#nextItems"], "listing snapshots", () => inSandbox(async (sbx) => {
  await fails(sbx.listSnapshots().nextItems(), SandboxError, /^404: /);
  await fails(Sandbox.listSnapshots().nextItems(), SandboxError, /^404: /);
  return "refused with 404: snapshots are in our own API";
}));

test("Sandbox.deleteSnapshot", "deleting a snapshot", async () => {
  eq(await Sandbox.deleteSnapshot("snap-none"), false);
  return "answered with false: snapshots are in our own API";
});

test(["Sandbox#fork", "Sandbox.fork"], "a fork", () => inSandbox(async (sbx) => {
  await fails(sbx.fork(), SandboxNotFoundError);
  await fails(Sandbox.fork(sbx.sandboxId), SandboxNotFoundError);
  return "refused with 404: not part of this server";
}));

test("Volume", "volumes", async () => {
  await fails(Volume.list(), VolumeError, /404/);
  await fails(Volume.create("a"), VolumeError, /404/);
  return "refused with 404: volumes are in our own API";
});

test("Template", "building a template", async () => {
  const error = await Template.build(Template().fromBaseImage().runCmd("true"), "a-template").then(() => undefined, (e: unknown) => e);
  eq(error instanceof Error && /404/.test(error.message), true);
  return "refused with 404: templates are in our own API";
});

test("Secret", "secrets", async () => {
  const error = await Secret.list().nextItems().then(() => undefined, (e: unknown) => e);
  eq(error instanceof SecretError, true);
  return "refused with 404: not part of this server";
});
