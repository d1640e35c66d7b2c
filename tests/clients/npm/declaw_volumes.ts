// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConflictError, InvalidArgumentError, NotFoundError, Sandbox, Volumes, type VolumeInfo } from "@declaw/sdk";
import { inSandbox } from "./declaw_bench.js";
import { eq, fails, ok, test } from "./harness.js";

/** A gzipped tar with these files. */
function archive(files: Record<string, string>): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "volume-"));
  try {
    for (const [name, data] of Object.entries(files)) {
      mkdirSync(join(folder, name, ".."), { recursive: true });
      writeFileSync(join(folder, name), data);
    }
    return new Uint8Array(execFileSync("tar", ["-cz", "-C", folder, "."]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function withVolume(body: (v: VolumeInfo) => Promise<void>, files: Record<string, string> = { "a.txt": "eins", "d/b.txt": "zwei" }): Promise<void> {
  const volume = await Volumes.create("cases", archive(files));
  try {
    await body(volume);
  } finally {
    await Volumes.delete(volume.volumeId);
  }
}

test(["Volumes.create", "Volumes.get", "Volumes.list", "Volumes.delete"], "made from an archive, listed, deleted", async () => {
  let id = "";
  await withVolume(async (volume) => {
    id = volume.volumeId;
    ok(/^vol-/.test(id) && volume.sizeBytes > 0 && volume.name === "cases");
    eq((await Volumes.get(id)).volumeId, id);
    ok((await Volumes.list()).some((v) => v.volumeId === id));
  });
  await fails(Volumes.get(id), NotFoundError);
  ok(!(await Volumes.list()).some((v) => v.volumeId === id));
});

test("Volumes.create", "what is no archive", async () => {
  await fails(Volumes.create("bad", new Uint8Array([1, 2, 3, 4])), InvalidArgumentError);
});

test("Volumes.download", "what it holds", () => withVolume(async ({ volumeId }) => {
  const listed = execFileSync("tar", ["-tz"], { input: await Volumes.download(volumeId) }).toString().split("\n").map((n) => n.replace(/^\.\//, ""));
  ok(listed.includes("a.txt") && listed.includes("d/b.txt"), `${listed}`);
}));

test("Sandbox.create", "a volume that is copied, and one that is only read", () => withVolume(async ({ volumeId }) => {
  await inSandbox(async (sbx) => {
    eq((await sbx.commands.run("cat /data/a.txt /data/d/b.txt /ro/a.txt")).stdout, "einszweieins");
    eq((await sbx.commands.run("echo changed > /data/a.txt; cat /data/a.txt; echo no > /ro/a.txt")).stdout, "changed\n");
    eq((await sbx.commands.run("cat /ro/a.txt")).stdout, "eins");
  }, { volumes: [{ volumeId, mountPath: "/data" }, { volumeId, mountPath: "/ro", mode: "mount-ro" }] });
}));

test("Sandbox.create", "a volume that is not there", async () => {
  await fails(Sandbox.create({ volumes: [{ volumeId: "vol-none0000", mountPath: "/data" }] }), NotFoundError, /no such volume/);
});

test("Volumes.empty", "nothing in it", async () => {
  const volume = await Volumes.empty("nothing");
  try {
    eq([volume.name, (await Volumes.create("none")).name], ["nothing", "none"]);
    await inSandbox(async (sbx) => eq(await sbx.files.list("/data"), []), { volumes: [{ volumeId: volume.volumeId, mountPath: "/data" }] });
  } finally {
    for (const v of await Volumes.list()) if (["nothing", "none"].includes(v.name)) await Volumes.delete(v.volumeId);
  }
});

test(["Volumes.commit", "Volumes.snapshot"], "what a sandbox made, as new volumes", () => withVolume(async ({ volumeId }) => {
  await inSandbox(async (sbx) => {
    await sbx.files.write("/data/made", "inside");
    const made = [await Volumes.commit(sbx.sandboxId, volumeId), await Volumes.snapshot(sbx.sandboxId, "/data", "of a path")];
    eq(made.map((v) => v.name), ["cases-commit", "of a path"]);
    for (const { volumeId: id } of made) {
      await inSandbox(async (other) => eq((await other.commands.run("cat /d/a.txt /d/made")).stdout, "einsinside"), {
        volumes: [{ volumeId: id, mountPath: "/d" }],
      });
      await Volumes.delete(id);
    }
    await fails(Volumes.snapshot(sbx.sandboxId, "/proc"), InvalidArgumentError);
  }, { volumes: [{ volumeId, mountPath: "/data" }] });
}));

test("Volumes.ingest", "refused", async () => {
  await fails(Volumes.ingest("files", archive({ a: "" })), InvalidArgumentError, /^HTTP 422: /);
  return "refused with 422: volumes of this server do not change";
});

test(["Volumes.files", "VolumeFiles#write", "VolumeFiles#read", "VolumeFiles#list", "VolumeFiles#info", "VolumeFiles#exists", "VolumeFiles#remove",
  "VolumeFiles#rename", "VolumeFiles#mkdir"], "file by file", () => withVolume(async ({ volumeId }) => {
  const files = Volumes.files(volumeId);
  for (const call of [() => files.write("/a", new Uint8Array(1)), () => files.read("/a"), () => files.list("/"), () => files.info("/a"),
    () => files.exists("/a"), () => files.remove("/a"), () => files.rename("/a", "/b"), () => files.mkdir("/d")]) {
    await fails(call(), ConflictError, /^HTTP 409: /);
  }
}).then(() => "refused with 409: volumes of this server do not change"));

test(["Volumes.locks", "VolumeLocks#acquire", "VolumeLocks#release", "VolumeLocks#renew", "VolumeLocks#status"], "locks", () => withVolume(async ({ volumeId }) => {
  const locks = Volumes.locks(volumeId);
  for (const call of [() => locks.acquire("/a", 30), () => locks.release("/a", "t"), () => locks.renew("/a", "t"), () => locks.status("/a")]) {
    await fails(call(), InvalidArgumentError, /^HTTP 422: /);
  }
}).then(() => "refused with 422: volumes of this server do not change"));
