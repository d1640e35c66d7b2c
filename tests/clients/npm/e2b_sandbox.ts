// SPDX-License-Identifier: Apache-2.0
// Sandboxes by the package's own classes: made, found, changed, paused, ended.
import { get } from "node:http";
import {
  ALL_TRAFFIC, AuthenticationError, ConnectionConfig, Sandbox, SandboxError, SandboxNotFoundError, type SandboxInfo, type SandboxListOpts,
} from "e2b";
import { inSandbox, ours } from "./e2b_bench.js";
import { eq, fails, match, ok, test, until } from "./harness.js";

async function all(opts: SandboxListOpts): Promise<SandboxInfo[]> {
  const pages = Sandbox.list(opts);
  const found: SandboxInfo[] = [];
  while (pages.hasNext) found.push(...(await pages.nextItems()));
  return found;
}

const seconds = (info: SandboxInfo): number => (info.endAt.getTime() - Date.now()) / 1000;
const unknown = "sbx-00000000";

test("Sandbox.create", "a sandbox with nothing said about it", () => inSandbox(async (sbx) => {
  const seen = await ours(`/sandboxes/${sbx.sandboxId}`);
  eq([seen.template_id, seen.state, seen.network], ["base", "running", { allow_out: ["*"] }]);
}));

test("Sandbox.create", "the time that it has when none is said", async () => {
  const sbx = await Sandbox.create();
  eq((await ours(`/sandboxes/${sbx.sandboxId}`)).timeout, 300);
  await sbx.kill();
});

test("Sandbox.create", "every option is honoured and shown", async () => {
  await inSandbox(async (sbx) => {
    const seen = await ours(`/sandboxes/${sbx.sandboxId}`);
    eq([seen.template_id, seen.timeout, seen.metadata, seen.envs], ["python", 77, { job: "nightly", "größe": "ü😀" }, { COLOUR: "blue" }]);
    eq(seen.lifecycle, { on_timeout: "pause", auto_resume: true });
    const info = await sbx.getInfo();
    eq([info.templateId, info.name, info.metadata], ["python", "python", { job: "nightly", "größe": "ü😀" }]);
    eq(info.lifecycle, { onTimeout: "pause", autoResume: true });
    eq(info.network?.allowOut, ["api.github.com", "1.1.1.1"]);
    eq(info.network?.denyOut, [ALL_TRAFFIC]);
  }, {
    template: "python", timeoutMs: 77_000, secure: true, metadata: { job: "nightly", "größe": "ü😀" }, envs: { COLOUR: "blue" },
    network: { allowOut: ["api.github.com", "1.1.1.1"], denyOut: ({ allTraffic }) => [allTraffic] },
    lifecycle: { onTimeout: { action: "pause", keepMemory: true }, autoResume: true },
  });
});

test("Sandbox.create", "allowInternetAccess false", () => inSandbox(async (sbx) => {
  const info = await sbx.getInfo();
  eq([info.allowInternetAccess, info.network?.denyOut], [false, [ALL_TRAFFIC]]);
}, { allowInternetAccess: false }));

test("Sandbox.create", "a template that there is not", async () => {
  await fails(Sandbox.create("no-such-template"), SandboxError, /^4\d\d: .*no-such-template/);
});

test("Sandbox.create", "a key that is not one", async () => {
  await fails(Sandbox.create({ apiKey: "e2b_" + "0".repeat(40) }), AuthenticationError, /key/);
});

test("Sandbox.create", "names in allowOut without everything denied", async () => {
  await fails(Sandbox.create({ network: { allowOut: ["api.github.com"] } }), SandboxError, /^400: .*0\.0\.0\.0\/0/);
});

test(["Sandbox.connect", "Sandbox#connect"], "to one that runs, which loses none of its time", () => inSandbox(async (sbx) => {
  await sbx.files.write("note", "kept");
  const again = await Sandbox.connect(sbx.sandboxId, { timeoutMs: 10_000 });
  eq(await again.files.read("note"), "kept");
  ok(seconds(await again.getInfo()) > 250);
  await again.connect({ timeoutMs: 900_000 });
  ok(seconds(await again.getInfo()) > 850);
}));

test("Sandbox.connect", "to one that there is not", async () => {
  await fails(Sandbox.connect(unknown), SandboxNotFoundError);
});

test(["Sandbox#getInfo", "Sandbox.getInfo", "Sandbox.getFullInfo"], "what it says of itself", () => inSandbox(async (sbx) => {
  const info = await sbx.getInfo();
  eq([info.sandboxId, info.state, info.cpuCount, info.memoryMB], [sbx.sandboxId, "running", 2, 1024]);
  ok(Math.abs(Date.now() - info.startedAt.getTime()) < 60_000 && seconds(info) > 250 && seconds(info) <= 300);
  eq([info.allowInternetAccess, info.network?.allowOut, info.network?.denyOut, info.network?.allowPublicTraffic], [true, [], [], true]);
  eq([info.lifecycle, info.volumeMounts], [{ onTimeout: "kill", autoResume: false }, []]);
  eq(await Sandbox.getInfo(sbx.sandboxId), info);
  eq(await Sandbox.getFullInfo(sbx.sandboxId), info);
}));

test("Sandbox.getInfo", "of one that there is not", async () => {
  await fails(Sandbox.getInfo(unknown), SandboxNotFoundError);
});

test(["Sandbox.list", "SandboxPaginator#nextItems", "SandboxPaginator#hasNext", "SandboxPaginator#nextToken"], "pages, filters and orders", async () => {
  const mark = `m ${Math.random()} &=%+ä`;
  const made: Sandbox[] = [];
  try {
    for (let n = 0; n < 3; n++) made.push(await Sandbox.create({ metadata: { mark, "key of %": String(n) } }));
    const ids = made.map((s) => s.sandboxId);
    await made[1].pause();
    const found = async (opts: SandboxListOpts): Promise<string[]> => (await all(opts)).map((s) => s.sandboxId);
    eq(await found({ query: { metadata: { mark } } }), ids.toReversed());
    eq(await found({ query: { metadata: { mark } }, order: "asc", limit: 1 }), ids);
    eq(await found({ query: { metadata: { mark, "key of %": "2" } } }), [ids[2]]);
    eq(await found({ query: { metadata: { mark: "another" } } }), []);
    eq(await found({ query: { metadata: { mark }, state: ["paused"] } }), [ids[1]]);
    eq(await found({ query: { metadata: { mark }, state: ["running", "paused"], template: "base" }, order: "asc" }), ids);
    eq(await found({ query: { metadata: { mark }, startedAfter: new Date(Date.now() + 60_000) } }), []);
    const first = Sandbox.list({ query: { metadata: { mark } }, order: "asc", limit: 2 });
    eq((await first.nextItems()).map((s) => s.sandboxId), ids.slice(0, 2));
    ok(first.hasNext && first.nextToken);
    const rest = Sandbox.list({ query: { metadata: { mark } }, order: "asc", nextToken: first.nextToken });
    const [last, ...more] = await rest.nextItems();
    eq([last.sandboxId, last.state, last.metadata["key of %"], more.length, rest.hasNext], [ids[2], "running", "2", 0, false]);
  } finally {
    await Promise.all(made.map((s) => s.kill()));
  }
});

test(["Sandbox#kill", "Sandbox.kill"], "once, and there is nothing to kill", async () => {
  const [one, other] = await Promise.all([Sandbox.create(), Sandbox.create()]);
  eq([await one.kill(), await one.kill()], [true, false]);
  eq([await Sandbox.kill(other.sandboxId), await Sandbox.kill(other.sandboxId), await Sandbox.kill(unknown)], [true, false, false]);
  eq((await ours(`/sandboxes/${one.sandboxId}`)).state, "killed");
});

test("Sandbox#isRunning", "while it runs, paused, and killed", async () => {
  const sbx = await Sandbox.create();
  eq(await sbx.isRunning(), true);
  await sbx.pause();
  eq(await sbx.isRunning(), false);
  await sbx.connect();
  eq(await sbx.isRunning(), true);
  await sbx.kill();
  eq(await sbx.isRunning(), false);
});

test(["Sandbox#setTimeout", "Sandbox.setTimeout"], "longer, shorter, and over", async () => {
  const sbx = await Sandbox.create({ timeoutMs: 60_000 });
  await sbx.setTimeout(900_000);
  ok(seconds(await sbx.getInfo()) > 850);
  await Sandbox.setTimeout(sbx.sandboxId, 30_000);
  ok(seconds(await sbx.getInfo()) <= 30);
  await sbx.setTimeout(1_000);
  await until("its end", async () => !(await sbx.isRunning()));
  await fails(sbx.setTimeout(1_000), SandboxNotFoundError);
});

test(["Sandbox#pause", "Sandbox.pause", "Sandbox#betaPause", "Sandbox.betaPause"], "nothing runs meanwhile, and it goes on", () => inSandbox(async (sbx) => {
  const counting = await sbx.commands.run("while :; do echo x >> /tmp/ticks; sleep 0.01; done", { background: true, timeoutMs: 0 });
  await until("the first ticks", () => sbx.files.exists("/tmp/ticks"));
  eq([await sbx.pause(), await sbx.pause(), await Sandbox.pause(sbx.sandboxId)], [true, false, false]);
  eq((await sbx.getInfo()).state, "paused");
  await counting.disconnect();
  const again = await Sandbox.connect(sbx.sandboxId, { timeoutMs: 200_000 });
  const before = (await again.files.read("/tmp/ticks")).length;
  await until("more ticks", async () => (await again.files.read("/tmp/ticks")).length > before);
  ok(seconds(await again.getInfo()) <= 200);
  eq([await sbx.betaPause(), await Sandbox.betaPause(sbx.sandboxId)], [true, false]);
  await sbx.connect();
}));

test("Sandbox.pause", "one that there is not", async () => {
  await fails(Sandbox.pause(unknown), SandboxNotFoundError);
});

test(["Sandbox#getMetrics", "Sandbox.getMetrics"], "what it uses", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/large", "x".repeat(20 << 20));
  const samples = await sbx.getMetrics();
  const last = samples.at(-1)!;
  eq([last.cpuCount, last.memTotal, last.diskTotal], [2, 1 << 30, 1 << 30]);
  ok(last.diskUsed >= 20 << 20 && last.memUsed > 0 && last.cpuUsedPct >= 0);
  ok(Math.abs(last.timestamp.getTime() - Date.now()) < 60_000);
  eq(await Sandbox.getMetrics(sbx.sandboxId, { end: new Date(Date.now() - 3_600_000) }), []);
}));

/** A request to the server under this name, which nobody needs to resolve. */
function asHost(name: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get(`http://${process.env.DECLAW_DOMAIN}/page`, { headers: { Host: name, ...headers } }, (answer) => {
      let body = "";
      answer.on("data", (piece) => (body += piece));
      answer.on("end", () => resolve({ status: answer.statusCode!, body }));
    }).on("error", reject);
  });
}

test(["Sandbox#getHost", "Sandbox.create"], "a port by its name, and the token that opens it", () => inSandbox(async (sbx) => {
  const host = sbx.getHost(8000), token = { "e2b-traffic-access-token": sbx.trafficAccessToken! };
  eq(host, `8000-${sbx.sandboxId}.${process.env.DECLAW_DOMAIN}`);
  await sbx.files.write("/tmp/web/page", "from inside");
  await sbx.commands.run("python3 -m http.server -d /tmp/web 8000", { background: true, timeoutMs: 0 });
  await until("the server inside", async () => (await asHost(host, token)).status === 200);
  eq(await asHost(host, token), { status: 200, body: "from inside" });
  eq((await asHost(host)).status, 403);
  eq((await asHost(host, { "e2b-traffic-access-token": "another" })).status, 403);
  eq((await sbx.getInfo()).network?.allowPublicTraffic, false);
}, { network: { allowPublicTraffic: false } }));

test("Sandbox.create", "where the server is, from the environment", async () => {
  const config = new ConnectionConfig();
  eq([config.apiUrl, config.sandboxUrl], [process.env.E2B_API_URL, process.env.E2B_SANDBOX_URL]);
});

// The lab's internet: A2 is example.org, the other one api.github.com.
const A2 = "203.1.113.66", GITHUB = "140.82.121.6", METADATA = "169.254.169.254";

/** Which of these answer a request from inside. */
async function reached(sbx: Sandbox, ...hosts: string[]): Promise<string[]> {
  const probes = hosts.map((h) => `(curl -4 -s -f -m 4 -o /dev/null http://${h}/ && echo ${h}) &`).join(" ");
  return (await sbx.commands.run(`${probes} wait`, { timeoutMs: 30_000 })).stdout.split("\n").filter(Boolean).sort();
}

test(["Sandbox#updateNetwork", "Sandbox.updateNetwork"], "each update is enforced before it is answered", () => inSandbox(async (sbx) => {
  const every = ["api.github.com", "example.org", A2, GITHUB, METADATA];
  const open = ["api.github.com", "example.org", A2, GITHUB].sort();
  eq(await reached(sbx, ...every), open);
  await sbx.updateNetwork({ denyOut: [A2] });
  eq(await reached(sbx, ...every), ["api.github.com", GITHUB].sort());
  await sbx.updateNetwork({ denyOut: ["203.1.0.0/16"], allowOut: [A2] });
  eq(await reached(sbx, A2, GITHUB), [GITHUB, A2].sort());
  await Sandbox.updateNetwork(sbx.sandboxId, { allowOut: ["api.github.com"], denyOut: [ALL_TRAFFIC] });
  eq(await reached(sbx, ...every), ["api.github.com"]);
  await sbx.updateNetwork({ allowInternetAccess: false });
  eq(await reached(sbx, ...every), []);
  eq((await sbx.getInfo()).allowInternetAccess, false);
  await sbx.updateNetwork({ allowInternetAccess: false, allowOut: [GITHUB] });
  eq(await reached(sbx, ...every), [GITHUB]);
  await sbx.updateNetwork({});
  eq(await reached(sbx, ...every), open);
}));

test("Sandbox.create", "its network is enforced from the start", async () => {
  await inSandbox(async (sbx) => eq(await reached(sbx, "api.github.com", "example.org", A2), ["api.github.com"]),
    { network: { allowOut: ["api.github.com"], denyOut: [ALL_TRAFFIC] } });
  await inSandbox(async (sbx) => eq(await reached(sbx, "api.github.com", A2), []), { allowInternetAccess: false });
});

test("Sandbox#updateNetwork", "what makes no sense changes nothing", () => inSandbox(async (sbx) => {
  await sbx.updateNetwork({ denyOut: [A2] });
  await fails(sbx.updateNetwork({ allowOut: ["example.org"] }), SandboxError, /^400: .*0\.0\.0\.0\/0/);
  await fails(sbx.updateNetwork({ denyOut: ["example.org"] }), SandboxError, /^400: .*denyOut\[0\]/);
  eq((await sbx.getInfo()).network?.denyOut, [A2]);
  await fails(Sandbox.updateNetwork(unknown, {}), SandboxNotFoundError);
  await sbx.pause();
  match((await fails(sbx.updateNetwork({}), SandboxError)).message, /^409: .*paused/);
}));
