// SPDX-License-Identifier: Apache-2.0
// What users of the hosted service have checked of it, in their order, where declaw_*.ts does not have it as it stands there.
// tests/clients/acceptance.py is the same with our Python package.
import { CommandExitError, Sandbox, SandboxState, createNetworkPolicy, createSecurityPolicy } from "@declaw/sdk";
import { client, get, inSandbox, text } from "./declaw_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

test("Sandbox.list", "acceptance: an array with what is there", () => inSandbox(async (sbx) => {
  ok((await Sandbox.list()).sandboxes.some((s) => s.sandboxId === sbx.sandboxId));
}));

test("Sandbox.create", "acceptance: id, token, domain, running, the same when asked for, and a new timeout", () => inSandbox(async (sbx) => {
  ok(sbx.sandboxId && sbx.envdAccessToken && sbx.sandboxDomain);
  const info = await sbx.getInfo();
  eq([info.sandboxId, info.state, await sbx.isRunning()], [sbx.sandboxId, SandboxState.Running, true]);
  await sbx.setTimeout(600);
  eq((await get(`/sandboxes/${sbx.sandboxId}`)).timeout, 600);
  ok(Array.isArray(await sbx.getMetrics()));
}));

test("Commands#run", "acceptance: echo, env, cwd, exit 42, three lines, stderr", () => inSandbox(async (sbx) => {
  eq((await sbx.commands.run("echo hello")).stdout, "hello\n");
  eq((await sbx.commands.run("echo $FOO", { envs: { FOO: "bar" } })).stdout, "bar\n");
  eq((await sbx.commands.run("pwd", { cwd: "/tmp" })).stdout, "/tmp\n");
  eq((await sbx.commands.run("exit 42")).exitCode, 42);
  eq((await sbx.commands.run("echo a; echo b; echo c")).stdout.split("\n").length, 4);
  eq((await sbx.commands.run("echo oops >&2")).stderr, "oops\n");
}));

test("Commands#run", "acceptance: background and wait, list, kill, stdin of a cat, exit 7", () => inSandbox(async (sbx) => {
  eq((await (await sbx.commands.run("echo bg", { background: true })).wait()).stdout, "bg\n");
  ok(Array.isArray(await sbx.commands.list()));
  eq(await sbx.commands.kill((await sbx.commands.run("sleep 100", { background: true })).pid), true);
  const { pid } = await sbx.commands.run("cat", { background: true });
  await sbx.commands.sendStdin(pid, "hello\n");
  eq(await sbx.commands.kill(pid), true);
  eq((await fails((await sbx.commands.run("exit 7", { background: true })).wait(), CommandExitError)).exitCode, 7);
}));

test("Filesystem#write", "acceptance: write, read, batch, list, exists, info, rename, remove, mkdir, nested", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/x/a.txt", "hello");
  eq(await sbx.files.read("/tmp/x/a.txt"), "hello");
  eq((await sbx.files.writeFiles(["b", "c", "d"].map((n) => ({ path: `/tmp/x/${n}`, data: n })))).length, 3);
  eq((await sbx.files.list("/tmp/x")).map((e) => e.name).sort(), ["a.txt", "b", "c", "d"]);
  eq([await sbx.files.exists("/tmp/x/b"), await sbx.files.exists("/tmp/x/z")], [true, false]);
  const info = await sbx.files.getInfo("/tmp/x/a.txt");
  ok(info.name === "a.txt" && info.type === "file" && info.size > 0);
  eq((await sbx.files.rename("/tmp/x/b", "/tmp/x/e")).name, "e");
  await sbx.files.remove("/tmp/x/e");
  eq(await sbx.files.exists("/tmp/x/e"), false);
  eq(await sbx.files.makeDir("/tmp/x/new"), true);
  await sbx.files.write("/tmp/x/new/deep/f", "nested");
  eq(await sbx.files.read("/tmp/x/new/deep/f"), "nested");
}));

test("Filesystem#read", "acceptance: unicode and emoji survive", () => inSandbox(async (sbx) => {
  const all = "Grüße, 世界, Привет 🎉👩‍💻\u0085\u2028 end";
  await sbx.files.write("/tmp/u", all);
  eq([await sbx.files.read("/tmp/u"), (await sbx.commands.run("cat /tmp/u")).stdout], [all, all]);
}));

test("Filesystem#remove", "acceptance: DELETE with an encoded query", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/with space", "");
  await client().delete(`/sandboxes/${sbx.sandboxId}/files?path=${encodeURIComponent("/tmp/with space")}&username=user`);
  eq(await sbx.files.exists("/tmp/with space"), false);
}));

test("Commands#runStream", "acceptance: both lines", () => inSandbox(async (sbx) => {
  const { stdout } = await sbx.commands.runStream("echo line1; echo line2");
  match(stdout, /line1\nline2/);
}));

test("Pty#create", "acceptance: a number, stdin, resize, kill", () => inSandbox(async (sbx) => {
  let seen = "";
  const pty = await sbx.pty.create({ onData: (d) => { seen += text(d); } });
  ok(Number.isInteger(pty.pid));
  await pty.sendInput("echo $((40 + 2))\n");
  await pty.resize({ cols: 120, rows: 40 });
  await until("output", () => seen.includes("42"));
  eq(await pty.kill(), true);
}));

test("Sandbox.create", "acceptance: metadata, envs, network and security", () => inSandbox(async (sbx) => {
  const seen = await get(`/sandboxes/${sbx.sandboxId}`);
  eq([seen.metadata, seen.network.deny_out], [{ owner: "me" }, ["0.0.0.0/0"]]);
  ok(seen.security !== null && seen.security !== undefined);
  eq((await sbx.commands.run("echo $MINE")).stdout, "yes\n");
}, {
  metadata: { owner: "me" }, envs: { MINE: "yes" },
  security: createSecurityPolicy({ network: createNetworkPolicy({ denyOut: ["0.0.0.0/0"] }) }),
}));

test("Sandbox#pause", "acceptance: a paused one is killed, and said to be", async () => {
  const sbx = await Sandbox.create();
  await sbx.pause();
  eq(await sbx.kill({ wait: true }), true);
  eq((await sbx.getInfo()).state, SandboxState.Killed);
});
