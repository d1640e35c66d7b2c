// SPDX-License-Identifier: Apache-2.0
import { NotFoundError, type PtyHandle } from "@declaw/sdk";
import { bytes, inSandbox, text } from "./declaw_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

/** Reads a terminal until its output has this. */
async function readUntil(handle: PtyHandle, wanted: RegExp): Promise<string> {
  let seen = "";
  for await (const chunk of handle.stream()) {
    seen += text(chunk);
    if (wanted.test(seen)) return seen;
  }
  throw new Error(`the terminal ended without ${wanted}: ${JSON.stringify(seen)}`);
}

test("Pty#create", "a shell of this size, folder, user and environment", () => inSandbox(async (sbx) => {
  const seen: string[] = [];
  const handle = await sbx.pty.create({
    size: { cols: 101, rows: 33 }, cwd: "/usr/share", user: "root", envs: { V: "own" }, onData: (d) => seen.push(text(d)),
  });
  ok(Number.isInteger(handle.pid));
  await handle.sendInput('stty size; echo "<$V $BOX $PWD $(id -un) $TERM>"; exit 5\n');
  eq(await handle.wait(), { exitCode: 5 });
  match(seen.join(""), /33 101[^]*<own here \/usr\/share root xterm-256color>/);
}, { envs: { BOX: "here" } }));

test("Pty#create", "its time is up", () => inSandbox(async (sbx) => {
  const handle = await sbx.pty.create({ timeout: 1, onData: () => undefined });
  ok((await handle.wait()).exitCode !== 0);
}));

test(["Pty#connect", "PtyHandle#stream", "PtyHandle#disconnect"], "left and joined again", () => inSandbox(async (sbx) => {
  const first = await sbx.pty.create();
  await readUntil(first, /[#$] /);
  first.disconnect();
  const second = sbx.pty.connect(first.pid);
  const reading = readUntil(second, /joined 42/);
  await until("echo", async () => {
    await second.sendInput("echo joined $((6 * 7))\n");
    return Promise.race([reading.then(() => true), new Promise<boolean>((r) => setTimeout(() => r(false), 500))]);
  });
  match(await reading, /joined 42/);
  eq(await second.kill(), true);
}));

test(["PtyHandle#sendInput", "PtyHandle#resize", "PtyHandle#wait", "PtyHandle#kill"], "used through its handle", () => inSandbox(async (sbx) => {
  const chunks: Uint8Array[] = [];
  const seen = (): string => Buffer.concat(chunks).toString();
  const handle = await sbx.pty.create({ onData: (d) => chunks.push(d) });
  await handle.resize({ cols: 77, rows: 11 });
  await handle.sendInput(bytes("stty size\n"));
  await until("size", () => /11 77/.test(seen()));
  await handle.sendInput("echo ready; cat\n");
  await until("cat", () => /^ready/m.test(seen()));
  await handle.sendInput("grüße 😀\n");
  await until("echo", () => (seen().match(/grüße 😀/g) ?? []).length >= 2);
  eq(await handle.kill(), true);
  await until("gone", async () => !(await sbx.commands.list()).some((p) => p.pid === handle.pid));
}));

test(["Pty#kill", "Pty#sendStdin", "Pty#resize"], "used by its number", () => inSandbox(async (sbx) => {
  const { pid } = await sbx.pty.create();
  await sbx.pty.resize(pid, { cols: 50, rows: 9 });
  await sbx.pty.sendStdin(pid, "stty size > /tmp/size; touch /tmp/done\n");
  await until("done", () => sbx.files.exists("/tmp/done"));
  eq(await sbx.files.read("/tmp/size"), "9 50\n");
  eq([await sbx.pty.kill(pid), await sbx.pty.kill(999_999)], [true, false]);
  await fails(sbx.pty.sendStdin(999_999, "x"), NotFoundError);
}));

test(["Stdio#start", "StdioProcess#sendStdin", "StdioProcess#closeStdin", "StdioProcess#wait", "StdioProcess#exitCode"], "talked to", () => inSandbox(async (sbx) => {
  const out: Uint8Array[] = [];
  let err = "";
  const process = await sbx.stdio.start('echo "$V $PWD $(id -un)" >&2; cat; exit 9', {
    envs: { V: "v" }, cwd: "/tmp", user: "root", onStdout: (d) => out.push(d), onStderr: (d) => { err += text(d); },
  });
  const all = new Uint8Array(200_000).map((_, i) => i * 31);
  await process.sendStdin(all.subarray(0, 100_000));
  await process.sendStdin(all.subarray(100_000));
  await process.closeStdin();
  eq(await process.wait(), { exitCode: 9 });
  eq(process.exitCode, 9);
  eq([Buffer.concat(out).equals(all), err], [true, "v /tmp root\n"]);
}));

test("StdioProcess#stream", "from its beginning, and from where it was left", () => inSandbox(async (sbx) => {
  const process = await sbx.stdio.start("echo one; read -r x; echo \"two $x\"");
  await process.sendStdin("go\n");
  let seen = "";
  eq(await process.stream({ onStdout: (d) => { seen += text(d); } }), { exitCode: 0 });
  eq(seen, "one\ntwo go\n");
  seen = "";
  // Everything was seen: the second stream has the end alone.
  eq(await process.stream({ onStdout: (d) => { seen += text(d); } }), { exitCode: 0 });
  eq(seen, "");
}));

test("StdioProcess#kill", "one that runs", () => inSandbox(async (sbx) => {
  const process = await sbx.stdio.start("sleep 1000");
  eq(await process.kill(), true);
  ok((await process.wait()).exitCode !== 0);
}));
