// SPDX-License-Identifier: Apache-2.0
import { NotFoundError, Sandbox, SandboxError, SnapshotPaginator } from "@declaw/sdk";
import { client, inSandbox } from "./declaw_bench.js";
import { eq, fails, ok, test } from "./harness.js";

test(["Sandbox#snapshot", "Sandbox#createSnapshot", "Sandbox#listSnapshots"], "made, and listed newest first", () => inSandbox(async (sbx) => {
  eq(await sbx.listSnapshots(), []);
  const one = await sbx.snapshot();
  eq([one.sandboxId, one.source, one.memBlobKey, one.vmstateBlobKey], [sbx.sandboxId, "manual", "", ""]);
  ok(Math.abs(new Date(one.createdAt).getTime() - Date.now()) < 60_000);
  const two = await sbx.createSnapshot();
  ok(two.createdAt instanceof Date);
  eq((await sbx.listSnapshots()).map((s) => s.snapshotId), [two.snapshotId, one.snapshotId]);
}));

test("Sandbox.restore", "files as they were, under the same id", () => inSandbox(async (sbx) => {
  await sbx.files.write("/home/user/kept", "before");
  const { snapshotId } = await sbx.snapshot();
  await sbx.files.write("/home/user/kept", "after");
  await sbx.files.write("/home/user/later", "");
  const again = await Sandbox.restore(sbx.sandboxId, { snapshotId });
  eq([again.sandboxId, await again.files.read("/home/user/kept"), await again.files.exists("/home/user/later")], [sbx.sandboxId, "before", false]);
  eq(await again.isRunning(), true);
}));

test("Sandbox.restore", "a killed sandbox, from the newest", () => inSandbox(async (sbx) => {
  await sbx.files.write("/home/user/kept", "old");
  await sbx.snapshot();
  await sbx.files.write("/home/user/kept", "new");
  await sbx.snapshot();
  await sbx.kill({ wait: true });
  const again = await Sandbox.restore(sbx.sandboxId);
  eq(await again.files.read("/home/user/kept"), "new");
}));

test("Sandbox.restore", "what there is nothing to restore from", () => inSandbox(async (sbx) => {
  await fails(Sandbox.restore(sbx.sandboxId), NotFoundError);
  await fails(Sandbox.restore("sbx-none0000"), NotFoundError);
  await fails(Sandbox.restore(sbx.sandboxId, { snapshotId: "snap-none0000" }), NotFoundError);
}));

test("Sandbox#deleteSnapshot", "once, and once more", () => inSandbox(async (sbx) => {
  const { snapshotId } = await sbx.snapshot();
  eq([await sbx.deleteSnapshot(snapshotId), await sbx.listSnapshots(), await sbx.deleteSnapshot(snapshotId)], [true, [], true]);
}));

test(["SnapshotPaginator#hasNext", "SnapshotPaginator#nextItems", "SnapshotPaginator#[asyncIterator]"], "page by page", () => inSandbox(async (sbx) => {
  const made = [];
  for (let i = 0; i < 3; i++) made.unshift((await sbx.snapshot()).snapshotId);
  const pages = new SnapshotPaginator(client(), { sandboxId: sbx.sandboxId, limit: 2 });
  const found: string[][] = [];
  for await (const page of pages) found.push(page.map((s) => s.snapshotId));
  eq([found, pages.hasNext], [[made.slice(0, 2), made.slice(2)], false]);
  await fails(pages.nextItems(), SandboxError, /No more pages/);
}));

test("Sandbox#createSnapshot", "acceptance: POST snapshots, as it was called once", () => inSandbox(async (sbx) => {
  const made = (await client().post(`/sandboxes/${sbx.sandboxId}/snapshots`)) as { snapshot_id: string };
  ok(made.snapshot_id);
}));
