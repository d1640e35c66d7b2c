// SPDX-License-Identifier: Apache-2.0
import {
  CommandExitError, InvalidArgumentError, NotEnoughSpaceError, SandboxError, TimeoutError, type Sandbox,
} from "@declaw/sdk";
import { bytes, inSandbox, text } from "./declaw_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

test("Commands#run", "what it wrote and how it ended", () => inSandbox(async (sbx) => {
  eq(await sbx.commands.run("echo out; echo err >&2; exit 42"), { stdout: "out\n", stderr: "err\n", exitCode: 42 });
  eq((await sbx.commands.run("printf 'a\\nb\\nc'")).stdout, "a\nb\nc");
  eq((await sbx.commands.run("printf 'gr\\303\\266\\303\\237e \\360\\237\\230\\200 \\377'")).stdout, "größe 😀 \ufffd");
}));

test("Commands#run", "variables, folder and user", () => inSandbox(async (sbx) => {
  const opts = { envs: { A: "b c", ALL: "mine" }, cwd: "/usr/share" };
  eq((await sbx.commands.run('echo "$A|$ALL|$BOX|$PWD|$(id -un)"', opts)).stdout, "b c|mine|here|/usr/share|user\n");
  eq((await sbx.commands.run("id -un; pwd", { user: "root" })).stdout, "root\n/root\n");
}, { envs: { ALL: "box", BOX: "here" } }));

test("Commands#run", "callbacks get every line", () => inSandbox(async (sbx) => {
  const lines: string[] = [];
  await sbx.commands.run("printf '1\\n2\\n'; echo 3 >&2", { onStdout: (l) => lines.push(l), onStderr: (l) => lines.push(`err ${l}`) });
  eq(lines, ["1\n", "2\n", "err 3\n"]);
}));

test(["Commands#run", "TimeoutError"], "its time is up", () => inSandbox(async (sbx) => {
  await fails(sbx.commands.run("sleep 1000", { timeout: 0.3 }), TimeoutError, /^HTTP 408: /);
  eq((await sbx.commands.run("pgrep sleep")).exitCode, 1);
}));

test("Commands#run", "in the background, and waited for", () => inSandbox(async (sbx) => {
  const handle = await sbx.commands.run("sleep 0.2; echo done; echo bad >&2", { background: true });
  ok(handle.pid > 0);
  const lines: string[] = [];
  eq(await handle.wait({ onStdout: (l) => lines.push(l), onStderr: (l) => lines.push(l) }), { stdout: "done\n", stderr: "bad\n", exitCode: 0 });
  eq(lines, ["done\n", "bad\n"]);
}));

test(["CommandHandle#wait", "CommandExitError"], "a command that fails", () => inSandbox(async (sbx) => {
  const handle = await sbx.commands.run("echo out; echo err >&2; exit 7", { background: true });
  const error = await fails(handle.wait(), CommandExitError);
  eq([error.exitCode, error.stdout, error.stderr], [7, "out\n", "err\n"]);
}));

test("CommandHandle#wait", "a number that is no process", () => inSandbox(async (sbx) => {
  const error = await fails(sbx.commands.connect(999_999).wait(), CommandExitError);
  eq([error.exitCode, error.stderr], [1, "process not found"]);
}));

test(["CommandHandle#pid", "CommandHandle#kill", "CommandHandle#disconnect"], "killed, and left alone", () => inSandbox(async (sbx) => {
  const handle = await sbx.commands.run("sleep 1000 & sleep 1000", { background: true });
  handle.disconnect();
  eq((await sbx.commands.list()).map((p) => p.pid), [handle.pid]);
  eq(await handle.kill(), true);
  // Its group goes with it.
  await until("gone", async () => (await sbx.commands.run("pgrep sleep")).exitCode === 1);
}));

test("Commands#list", "what runs in the background", () => inSandbox(async (sbx) => {
  eq(await sbx.commands.list(), []);
  const handle = await sbx.commands.run("sleep 1000", { background: true, envs: { X: "1" } });
  await sbx.pty.create();
  eq(await sbx.commands.list(), [{ pid: handle.pid, cmd: "sleep 1000", isPty: false, envs: { X: "1" } }]);
  await handle.kill();
  eq(await sbx.commands.list(), []);
}));

test("Commands#kill", "one that runs, and one that does not", () => inSandbox(async (sbx) => {
  const { pid } = await sbx.commands.run("sleep 1000", { background: true });
  eq(await sbx.commands.kill(pid), true);
  eq(await sbx.commands.kill(999_999), false);
}));

test("Commands#sendStdin", "read by the command", () => inSandbox(async (sbx) => {
  const handle = await sbx.commands.run("read -r a; read -r b; echo \"$b-$a\"", { background: true });
  await sbx.commands.sendStdin(handle.pid, "eins 😀\n");
  await sbx.commands.sendStdin(handle.pid, "zwei\n");
  eq((await handle.wait()).stdout, "zwei-eins 😀\n");
}));

test("Commands#connect", "waited for by another handle", () => inSandbox(async (sbx) => {
  const { pid } = await sbx.commands.run("sleep 0.3; echo late", { background: true });
  const again = sbx.commands.connect(pid);
  eq([again.pid, (await again.wait()).stdout], [pid, "late\n"]);
}));

test("Commands#runStream", "line by line, while it runs", () => inSandbox(async (sbx) => {
  // It goes on only when the first line has arrived here.
  const out: string[] = [];
  const err: string[] = [];
  let going: Promise<unknown> = Promise.resolve();
  const result = await sbx.commands.runStream("echo one; while ! test -e /tmp/go; do sleep 0.01; done; echo two; echo 'drei 😀 \u2028' >&2; exit 3", {
    onStdout: (l) => {
      if (out.push(l) === 1) going = sbx.files.write("/tmp/go", "");
    },
    onStderr: (l) => err.push(l),
  });
  await going;
  eq(result, { stdout: "one\ntwo\n", stderr: "drei 😀 \u2028\n", exitCode: 3 });
  eq([out, err], [["one\n", "two\n"], ["drei 😀 \u2028\n"]]);
}));

test("Commands#runStream", "variables, folder, user and time", () => inSandbox(async (sbx) => {
  eq((await sbx.commands.runStream('echo "$V $PWD $(id -un)"', { envs: { V: "v" }, cwd: "/tmp", user: "root" })).stdout, "v /tmp root\n");
  await fails(sbx.commands.runStream("sleep 1000", { timeout: 0.3 }), SandboxError, /timed out/);
}));

test("Commands#runStream", "silence longer than clients wait for bytes", () => inSandbox(async (sbx) => {
  const chunks: string[] = [];
  const body = JSON.stringify({ cmd: "sleep 17; echo heard", stream: true });
  const answer = await fetch(`${sbx.envdApiUrl}/commands/stream`, { method: "POST", body, headers: { "X-API-Key": process.env.DECLAW_API_KEY! } });
  for await (const chunk of answer.body!) chunks.push(text(chunk));
  ok(chunks.length > 1 && chunks[0].startsWith(":"), chunks.join("|"));
  match(chunks.join(""), /heard/);
}));

// -- files

test("Filesystem#write", "text and bytes", () => inSandbox(async (sbx) => {
  eq(await sbx.files.write("/tmp/deep/er/größe 😀.txt", "ünï 😀\n"), { path: "/tmp/deep/er/größe 😀.txt", size: 11 });
  eq(await sbx.files.read("/tmp/deep/er/größe 😀.txt"), "ünï 😀\n");
  const raw = new Uint8Array(1_000_000).map((_, i) => (i * i) >> 3);
  eq(await sbx.files.write("/tmp/raw", raw, { user: "root" }), { path: "/tmp/raw", size: raw.length });
  eq(await sbx.files.read("/tmp/raw", { format: "bytes" }), raw);
  eq((await sbx.commands.run("stat -c %U /tmp/raw /tmp/deep")).stdout, "root\nuser\n");
}));

test("Filesystem#write", "nothing at all", () => inSandbox(async (sbx) => {
  eq((await sbx.files.write("/tmp/empty", "")).size, 0);
  eq((await sbx.files.write("/tmp/empty2", new Uint8Array())).size, 0);
  eq((await sbx.files.read("/tmp/empty", { format: "bytes" })).length, 0);
}));

test(["Filesystem#write", "NotEnoughSpaceError"], "more than there is room for", () => inSandbox(async (sbx) => {
  await sbx.commands.run("fallocate -l $(($(df --output=avail -B1 /tmp | tail -1) - 100000)) /tmp/full");
  await fails(sbx.files.write("/tmp/more", new Uint8Array(2_000_000)), NotEnoughSpaceError, /^HTTP 413: /);
}));

test("Filesystem#read", "text, bytes, and what is not there", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/json", '{"a":1}');
  eq(await sbx.files.read("/tmp/json"), '{"a":1}');
  eq(text(await sbx.files.read("/tmp/json", { format: "bytes" })), '{"a":1}');
  const missing: unknown = await sbx.files.read("/tmp/none").catch((e: unknown) => e);
  match(String(missing), /HTTP 404/);
  await fails(sbx.files.read("/tmp"), InvalidArgumentError, /^HTTP 400: /);
}));

test("Filesystem#writeFiles", "text and bytes together, in their order", () => inSandbox(async (sbx) => {
  const written = await sbx.files.writeFiles([
    { path: "/tmp/1", data: "one" }, { path: "/tmp/2", data: bytes("zwei") }, { path: "/tmp/sub/3", data: "drei" },
  ]);
  eq(written, [{ path: "/tmp/1", size: 3 }, { path: "/tmp/2", size: 4 }, { path: "/tmp/sub/3", size: 4 }]);
  eq((await sbx.commands.run("cat /tmp/1 /tmp/2 /tmp/sub/3")).stdout, "onezweidrei");
}));

async function tree(sbx: Sandbox): Promise<void> {
  await sbx.files.writeFiles([{ path: "/tmp/t/a", data: "12345" }, { path: "/tmp/t/d/b", data: "" }, { path: "/tmp/t/d/e/c", data: "" }]);
}

test("Filesystem#list", "one level, some levels, and nothing", () => inSandbox(async (sbx) => {
  await tree(sbx);
  const names = async (depth?: number): Promise<string[]> => (await sbx.files.list("/tmp/t", { depth })).map((e) => `${e.type} ${e.path}`).sort();
  eq(await names(), ["dir /tmp/t/d", "file /tmp/t/a"]);
  eq(await names(3), ["dir /tmp/t/d", "dir /tmp/t/d/e", "file /tmp/t/a", "file /tmp/t/d/b", "file /tmp/t/d/e/c"]);
  eq((await sbx.files.list("/tmp/t")).find((e) => e.name === "a")!.size, 5);
  eq(await sbx.files.list("/tmp/none"), []);
}));

test("Filesystem#exists", "files, folders, and neither", () => inSandbox(async (sbx) => {
  await tree(sbx);
  eq(await Promise.all(["/tmp/t/a", "/tmp/t/d", "/tmp/t/x"].map((p) => sbx.files.exists(p))), [true, true, false]);
}));

test("Filesystem#getInfo", "a file, a folder, a link", () => inSandbox(async (sbx) => {
  await tree(sbx);
  eq(await sbx.files.getInfo("/tmp/t/a"), { name: "a", path: "/tmp/t/a", type: "file", size: 5 });
  eq((await sbx.files.getInfo("/tmp/t/d")).type, "dir");
  await sbx.commands.run("ln -s d /tmp/t/l");
  eq((await sbx.files.getInfo("/tmp/t/l")).type, "dir");
}));

test("Filesystem#remove", "names that a URL would cut", () => inSandbox(async (sbx) => {
  await sbx.files.writeFiles(["/tmp/r/a", "/tmp/r/a#b", "/tmp/r/a&b=c", "/tmp/r/a+b %41"].map((path) => ({ path, data: "" })));
  for (const name of ["a#b", "a&b=c", "a+b %41"]) await sbx.files.remove(`/tmp/r/${name}`);
  eq((await sbx.files.list("/tmp/r")).map((e) => e.name), ["a"]);
  await sbx.files.remove("/tmp/r");
  eq(await sbx.files.exists("/tmp/r"), false);
}));

test("Filesystem#rename", "into a new name", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/old", "x");
  const entry = await sbx.files.rename("/tmp/old", "/tmp/new");
  eq([entry.name, entry.path, entry.type, entry.size], ["new", "/tmp/new", "file", 1]);
  eq(await sbx.files.exists("/tmp/old"), false);
}));

test("Filesystem#makeDir", "new, and there already", () => inSandbox(async (sbx) => {
  eq([await sbx.files.makeDir("/tmp/m/n/o"), await sbx.files.makeDir("/tmp/m/n/o")], [true, false]);
  eq((await sbx.files.getInfo("/tmp/m/n/o")).type, "dir");
}));

test(["Filesystem#watchDir", "WatchHandle#getNewEvents", "WatchHandle#stop", "WatchHandle#pushEvent"], "taken by the server, which the package never asks for events", () => inSandbox(async (sbx) => {
  const watch = await sbx.files.watchDir("/tmp", { recursive: true });
  await sbx.files.write("/tmp/seen", "");
  eq(watch.getNewEvents(), []);
  watch.pushEvent({ type: "create" as never, path: "/tmp/x" });
  eq(watch.getNewEvents().length, 1);
  watch.stop();
  const missing: unknown = await sbx.files.watchDir("/tmp/none").catch((e: unknown) => e);
  match(String(missing), /HTTP 404/);
  return "works; its handle never has events";
}));
