// SPDX-License-Identifier: Apache-2.0
// Files in both directions, in every form that the package has, directories, watches, and URLs that need no key.
import {
  FileNotFoundError, FileType, FilesystemEventType, InvalidArgumentError, NotEnoughSpaceError, Sandbox, SandboxError, TemplateError, TimeoutError,
  getSignature, type FilesystemEvent,
} from "e2b";
import { buffer, bytes, inSandbox, noise, text } from "./e2b_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

const HOME = "/home/user";

async function whole(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream as unknown as AsyncIterable<Uint8Array>) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

function pieces(data: Uint8Array, size: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= data.length) return controller.close();
      controller.enqueue(data.slice(at, at + size));
      at += size;
    },
  });
}

test(["Filesystem#write", "Filesystem#read"], "text, with parents made on the way", () => inSandbox(async (sbx) => {
  const info = await sbx.files.write("/tmp/a/b/ü.txt", "grüße\n😀");
  eq([info.name, info.path, info.type], ["ü.txt", "/tmp/a/b/ü.txt", FileType.FILE]);
  eq(await sbx.files.read("/tmp/a/b/ü.txt"), "grüße\n😀");
  await sbx.files.write("/tmp/a/b/ü.txt", "shorter");
  eq(await sbx.files.read("/tmp/a/b/ü.txt"), "shorter");
}));

test(["Filesystem#write", "Filesystem#read"], "bytes, blobs and streams of any content", () => inSandbox(async (sbx) => {
  const data = noise(3_000_001);
  await sbx.files.write("bytes", buffer(data));
  await sbx.files.write("blob", new Blob([buffer(data)]));
  await sbx.files.write("stream", pieces(data, 70_000) as never);
  for (const path of ["bytes", "blob", `${HOME}/stream`]) {
    eq(await sbx.files.read(path, { format: "bytes" }), data);
    eq(new Uint8Array(await (await sbx.files.read(path, { format: "blob" })).arrayBuffer()), data);
    eq(await whole(await sbx.files.read(path, { format: "stream" })), data);
  }
}));

test(["Filesystem#write", "Filesystem#read"], "empty files", () => inSandbox(async (sbx) => {
  await sbx.files.write("empty", "");
  eq(await sbx.files.read("empty"), "");
  eq(await sbx.files.read("empty", { format: "bytes" }), new Uint8Array(0));
  eq((await sbx.files.read("empty", { format: "blob" })).size, 0);
  eq(await whole(await sbx.files.read("empty", { format: "stream" })), new Uint8Array(0));
}));

test(["Filesystem#write", "Filesystem#read"], "compressed on the way", () => inSandbox(async (sbx) => {
  const long = "seed ".repeat(100_000);
  const info = await sbx.files.write("packed", long, { gzip: true });
  eq(info.path, `${HOME}/packed`);
  eq(await sbx.files.read("packed", { gzip: true }), long);
  await sbx.files.write("octets", long, { useOctetStream: true });
  eq(await sbx.files.read("octets"), long);
}));

test(["Filesystem#write", "Filesystem#writeFiles"], "several at once, with names that need care", () => inSandbox(async (sbx) => {
  const names = ["/tmp/several/1", "two words", 'quo"ted', "per%cent", "späße/😀", "semi;colon=1", "back\\slash"];
  const infos = await sbx.files.write(names.map((path) => ({ path, data: `of ${path}` })));
  const paths = names.map((n) => (n.startsWith("/") ? n : `${HOME}/${n}`));
  eq(infos.map((i) => i.path), paths);
  for (const [i, path] of paths.entries()) eq(await sbx.files.read(path), `of ${names[i]}`);
  const again = await sbx.files.writeFiles([{ path: "x", data: buffer(bytes("1")) }, { path: "y", data: new Blob(["2"]) }, { path: "z", data: "3" }]);
  eq(again.map((i) => i.name), ["x", "y", "z"]);
  eq(await Promise.all(["x", "y", "z"].map((p) => sbx.files.read(p))), ["1", "2", "3"]);
  eq(await sbx.files.write([]), []);
}));

test(["Filesystem#write", "Filesystem#read"], "as another account", () => inSandbox(async (sbx) => {
  await sbx.files.write("of-root", "x", { user: "root" });
  eq(await sbx.files.read("/root/of-root", { user: "root" }), "x");
  await fails(sbx.files.write("/etc/of-user", "x"), SandboxError, /^403: /);
  await fails(sbx.files.read("x", { user: "nobody-here" }), InvalidArgumentError);
}));

test("Filesystem#read", "what there is not", () => inSandbox(async (sbx) => {
  await fails(sbx.files.read("/tmp/none"), FileNotFoundError, /none/);
  await fails(sbx.files.read("/tmp"), InvalidArgumentError, /\/tmp/);
}));

test("Filesystem#write", "a full disk", () => inSandbox(async (sbx) => {
  const part = noise(64 << 20);
  let error: unknown;
  for (let n = 0; n < 20 && !error; n++) error = await sbx.files.write(`/tmp/${n}`, buffer(part)).catch((e: unknown) => e).then((e) => (e instanceof Error ? e : undefined));
  ok(error instanceof NotEnoughSpaceError, String(error));
  await sbx.files.remove("/tmp/0");
  await sbx.files.write("/tmp/again", "x");
}));

test("Filesystem#write", "metadata of files", () => inSandbox(async (sbx) => {
  await fails(sbx.files.write("x", "y", { metadata: { a: "b" } }), TemplateError);
  return "refused by the package: this server has no metadata of files, and says so by its version";
}));

test("Filesystem#list", "a directory, and what is below", () => inSandbox(async (sbx) => {
  await sbx.files.write([{ path: "/tmp/d/a", data: "12345" }, { path: "/tmp/d/e/f/g", data: "" }]);
  await sbx.commands.run("ln -s /tmp/d/a /tmp/d/link");
  const flat = await sbx.files.list("/tmp/d");
  eq(flat.map((e) => [e.name, e.type]).sort(), [["a", "file"], ["e", "dir"], ["link", "file"]]);
  const a = flat.find((e) => e.name === "a")!;
  eq([a.path, a.size, a.owner, a.group, a.mode, a.permissions], ["/tmp/d/a", 5, "user", "user", 0o644, "-rw-r--r--"]);
  ok(Math.abs(a.modifiedTime!.getTime() - Date.now()) < 60_000);
  eq(flat.find((e) => e.name === "link")!.symlinkTarget, "/tmp/d/a");
  eq((await sbx.files.list("/tmp/d", { depth: 3 })).map((e) => e.path).sort(), ["/tmp/d/a", "/tmp/d/e", "/tmp/d/e/f", "/tmp/d/e/f/g", "/tmp/d/link"]);
  await fails(sbx.files.list("/tmp/none"), FileNotFoundError);
  await fails(sbx.files.list("/tmp/d/a"), InvalidArgumentError);
}));

test(["Filesystem#exists", "Filesystem#getInfo"], "files, directories and nothing", () => inSandbox(async (sbx) => {
  await sbx.files.write("f", "abc");
  eq([await sbx.files.exists("f"), await sbx.files.exists("/tmp"), await sbx.files.exists("none")], [true, true, false]);
  const info = await sbx.files.getInfo("f");
  eq([info.name, info.path, info.type, info.size], ["f", `${HOME}/f`, FileType.FILE, 3]);
  eq((await sbx.files.getInfo("/tmp")).type, FileType.DIR);
  await fails(sbx.files.getInfo("none"), FileNotFoundError);
}));

test("Filesystem#makeDir", "with its parents, once", () => inSandbox(async (sbx) => {
  eq([await sbx.files.makeDir("/tmp/m/n"), await sbx.files.makeDir("/tmp/m/n")], [true, false]);
  eq((await sbx.files.getInfo("/tmp/m/n")).type, FileType.DIR);
}));

test("Filesystem#rename", "to another place", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/old", "x");
  const info = await sbx.files.rename("/tmp/old", "/tmp/new");
  eq([info.name, info.path, info.type], ["new", "/tmp/new", FileType.FILE]);
  eq([await sbx.files.exists("/tmp/old"), await sbx.files.read("/tmp/new")], [false, "x"]);
  await fails(sbx.files.rename("/tmp/old", "/tmp/other"), FileNotFoundError);
}));

test("Filesystem#remove", "a file, a tree, and nothing", () => inSandbox(async (sbx) => {
  await sbx.files.write([{ path: "/tmp/r/a", data: "" }, { path: "/tmp/r/b/c", data: "" }]);
  await sbx.files.remove("/tmp/r/a");
  await sbx.files.remove("/tmp/r");
  eq(await sbx.files.exists("/tmp/r"), false);
  await sbx.files.remove("/tmp/r");
}));

test(["Filesystem#watchDir", "WatchHandle#stop"], "what happens in a directory", () => inSandbox(async (sbx) => {
  await sbx.files.makeDir("/tmp/w");
  const events: FilesystemEvent[] = [];
  let ended = 0;
  const handle = await sbx.files.watchDir("/tmp/w", (e) => void events.push(e), { onExit: () => void ended++ });
  const seen = (name: string, type: FilesystemEventType) => until(`${type} of ${name}`, () => events.some((e) => e.name === name && e.type === type));
  await sbx.files.write("/tmp/w/a", "x");
  await seen("a", FilesystemEventType.CREATE);
  await seen("a", FilesystemEventType.WRITE);
  await sbx.commands.run("chmod 600 /tmp/w/a");
  await seen("a", FilesystemEventType.CHMOD);
  await sbx.files.rename("/tmp/w/a", "/tmp/w/b");
  await seen("a", FilesystemEventType.RENAME);
  await sbx.files.remove("/tmp/w/b");
  await seen("b", FilesystemEventType.REMOVE);
  await handle.stop();
  await until("the end", () => ended === 1);
  const before = events.length;
  await sbx.files.write("/tmp/w/c", "x");
  await sbx.files.exists("/tmp/w/c");
  eq(events.length, before);
}));

test("Filesystem#watchDir", "directories that are made later", () => inSandbox(async (sbx) => {
  await sbx.files.makeDir("/tmp/w");
  const names: string[] = [];
  const handle = await sbx.files.watchDir("/tmp/w", (e) => void names.push(e.name), { recursive: true, timeoutMs: 0 });
  await sbx.files.write("/tmp/w/x/y/z", "1");
  await until("a file in a new directory", () => names.includes("x/y/z"));
  await handle.stop();
}));

test("Filesystem#watchDir", "its time is up", () => inSandbox(async (sbx) => {
  let error: Error | undefined;
  await sbx.files.watchDir("/tmp", () => {}, { timeoutMs: 500, onExit: (e) => void (error = e) });
  await until("the end", () => error !== undefined);
  ok(error instanceof TimeoutError, String(error));
}));

test("Filesystem#watchDir", "what there is not", () => inSandbox(async (sbx) => {
  await fails(sbx.files.watchDir("/tmp/none", () => {}), FileNotFoundError);
}));

test(["Sandbox#downloadUrl", "Sandbox#uploadUrl", "getSignature"], "without a key, for as long as they say", () => inSandbox(async (sbx) => {
  const path = "/tmp/ä & b+c.txt";
  const form = new FormData();
  form.append("file", new Blob(["by a URL"]), "ignored");
  const sent = await fetch(await sbx.uploadUrl(path, { useSignatureExpiration: 60 }), { method: "POST", body: form });
  eq([sent.status, ((await sent.json()) as { path: string }[])[0].path], [200, path]);
  eq(await sbx.files.read(path), "by a URL");
  const url = await sbx.downloadUrl(path, { useSignatureExpiration: 60 });
  eq(await (await fetch(url)).text(), "by a URL");
  eq(await (await fetch(await sbx.downloadUrl(path, { user: "root" }))).text(), "by a URL");
  const named = new FormData();
  named.append("file", new Blob(["named"]), "/tmp/named");
  eq((await fetch(await sbx.uploadUrl(), { method: "POST", body: named })).status, 200);
  eq(await sbx.files.read("/tmp/named"), "named");
  eq((await fetch(url.replace("c.txt", "d.txt"))).status, 401);
  eq((await fetch(url, { method: "POST", body: form })).status, 401);
  eq((await fetch(await sbx.downloadUrl(path, { useSignatureExpiration: -1 }))).status, 401);
  match((await getSignature({ path, operation: "read", user: undefined, envdAccessToken: "x" })).signature, /^v1_[A-Za-z0-9+/]{43}$/);
}));

test("Sandbox#downloadUrl", "of a sandbox that is gone", async () => {
  const sbx = await Sandbox.create();
  await sbx.files.write("x", "y");
  const url = await sbx.downloadUrl("x");
  eq(text(new Uint8Array(await (await fetch(url)).arrayBuffer())), "y");
  await sbx.kill();
  eq((await fetch(url)).status, 401);
  await fails(sbx.files.read("x"), TimeoutError);
});
