// SPDX-License-Identifier: Apache-2.0
// Commands, their input and output, and terminals.
import { CommandExitError, InvalidArgumentError, NotFoundError, TimeoutError } from "e2b";
import { bytes, inSandbox, text } from "./e2b_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

test("Commands#run", "what it wrote and how it ended", () => inSandbox(async (sbx) => {
  const done = await sbx.commands.run("echo out; echo err >&2; pwd; whoami");
  eq([done.exitCode, done.stdout, done.stderr, done.error], [0, "out\n/home/user\nuser\n", "err\n", undefined]);
}));

test(["Commands#run", "CommandExitError#exitCode", "CommandExitError#error", "CommandExitError#stdout", "CommandExitError#stderr"], "a command that fails", () => inSandbox(async (sbx) => {
  const error = await fails(sbx.commands.run("echo half; echo why >&2; exit 42"), CommandExitError);
  match(error.error ?? "", /42/);
  eq([error.exitCode, error.stdout, error.stderr], [42, "half\n", "why\n"]);
}));

test("Commands#run", "variables, folder and account", () => inSandbox(async (sbx) => {
  const done = await sbx.commands.run('echo "$A:$B:$PWD:$(whoami)"', { envs: { B: "own ü" }, cwd: "/tmp", user: "root" });
  eq(done.stdout, "of all:own ü:/tmp:root\n");
  await fails(sbx.commands.run("true", { cwd: "/none" }), InvalidArgumentError, /\/none/);
}, { envs: { A: "of all", B: "of all" } }));

test("Commands#run", "its time is up", () => inSandbox(async (sbx) => {
  await fails(sbx.commands.run("sleep 60", { timeoutMs: 500 }), TimeoutError);
  await until("its end", async () => (await sbx.commands.list()).length === 0);
}));

test("Commands#run", "output in pieces, as it comes", () => inSandbox(async (sbx) => {
  const out: string[] = [], err: string[] = [];
  const done = await sbx.commands.run("for i in 1 2 3; do echo $i; sleep 0.2; done; echo e >&2", { onStdout: (s) => void out.push(s), onStderr: (s) => void err.push(s) });
  ok(out.length >= 2);
  eq([out.join(""), err.join(""), done.stdout], ["1\n2\n3\n", "e\n", "1\n2\n3\n"]);
}));

test("Commands#run", "megabytes, whole", () => inSandbox(async (sbx) => {
  const done = await sbx.commands.run("seq 1 500000");
  eq([done.stdout.length, done.stdout.endsWith("\n499999\n500000\n")], [3388895, true]);
}));

test(["Commands#run", "CommandHandle#wait", "CommandHandle#exitCode", "CommandHandle#stdout", "CommandHandle#stderr", "CommandHandle#error"], "in the background, and waited for", () => inSandbox(async (sbx) => {
  const handle = await sbx.commands.run("echo a; sleep 0.3; echo b >&2", { background: true });
  ok(handle.pid > 0);
  eq(handle.exitCode, undefined);
  const done = await handle.wait();
  eq([done.stdout, done.stderr, handle.exitCode, handle.stdout, handle.stderr, handle.error], ["a\n", "b\n", 0, "a\n", "b\n", undefined]);
}));

test(["Commands#sendStdin", "Commands#closeStdin", "CommandHandle#sendStdin", "CommandHandle#closeStdin", "Commands#supportsStdinClose"], "read by the command", () => inSandbox(async (sbx) => {
  eq(sbx.commands.supportsStdinClose, true);
  const cat = await sbx.commands.run("cat", { background: true, stdin: true });
  await sbx.commands.sendStdin(cat.pid, "one\n");
  await cat.sendStdin(new Uint8Array([0xc3, 0xa4, 10]));
  await sbx.commands.closeStdin(cat.pid);
  eq((await cat.wait()).stdout, "one\nä\n");
  const again = await sbx.commands.run("wc -c", { background: true, stdin: true });
  await again.sendStdin("12345");
  await again.closeStdin();
  eq((await again.wait()).stdout.trim(), "5");
}));

test(["Commands#list", "Commands#kill", "CommandHandle#kill"], "what runs, until it is killed", () => inSandbox(async (sbx) => {
  const one = await sbx.commands.run("sleep 300", { background: true, envs: { X: "1" }, cwd: "/tmp" });
  const other = await sbx.commands.run("sleep 301", { background: true });
  const listed = (await sbx.commands.list()).find((p) => p.pid === one.pid)!;
  eq([listed.args.at(-1), listed.cwd, listed.envs.X], ["sleep 300", "/tmp", "1"]);
  eq([await sbx.commands.kill(one.pid), await other.kill()], [true, true]);
  const error = await fails(one.wait(), CommandExitError);
  match(error.error ?? "", /killed/);
  await until("both are gone", async () => (await sbx.commands.list()).length === 0);
  eq([await sbx.commands.kill(one.pid), await sbx.commands.kill(999999)], [false, false]);
}));

test(["Commands#connect", "CommandHandle#disconnect"], "left alone, and met again", () => inSandbox(async (sbx) => {
  const first = await sbx.commands.run("while read l; do echo got $l; done", { background: true, stdin: true, timeoutMs: 0 });
  await first.disconnect();
  const again = await sbx.commands.connect(first.pid);
  await again.sendStdin("x\n");
  await until("its output", () => again.stdout.includes("got x"));
  await again.closeStdin();
  eq((await again.wait()).stdout, "got x\n");
  await fails(sbx.commands.connect(999999), NotFoundError);
}));

test(["Pty#create", "Pty#sendInput", "Pty#resize", "Pty#kill"], "a terminal", () => inSandbox(async (sbx) => {
  let seen = "";
  const pty = await sbx.pty.create({ cols: 80, rows: 24, onData: (d) => void (seen += text(d)), envs: { MARK: "set" }, cwd: "/tmp" });
  await sbx.pty.sendInput(pty.pid, bytes("stty size; echo $MARK:$PWD:$TERM\n"));
  await until("the size", () => seen.includes("24 80") && seen.includes("set:/tmp:xterm-256color"));
  await sbx.pty.resize(pty.pid, { cols: 100, rows: 30 });
  await sbx.pty.sendInput(pty.pid, bytes("stty size\n"));
  await until("the new size", () => seen.includes("30 100"));
  eq(await sbx.pty.kill(pty.pid), true);
  await fails(pty.wait(), CommandExitError);
  eq(await sbx.pty.kill(pty.pid), false);
}));

test(["Pty#create", "Pty#connect"], "met again, and its exit", () => inSandbox(async (sbx) => {
  const pty = await sbx.pty.create({ cols: 80, rows: 24, onData: () => {}, user: "root", timeoutMs: 0 });
  await pty.disconnect();
  let seen = "";
  const again = await sbx.pty.connect(pty.pid, { onData: (d) => void (seen += text(d)) });
  await sbx.pty.sendInput(pty.pid, bytes("whoami; exit 7\n"));
  eq((await fails(again.wait(), CommandExitError)).exitCode, 7);
  match(seen, /\broot\b/);
}));
