// SPDX-License-Identifier: Apache-2.0
import {
  ALL_TRAFFIC, ApiClient, AuthenticationError, ConflictError, ConnectionConfig, InvalidArgumentError, NotFoundError, Sandbox, SandboxError,
  SandboxPaginator, SandboxState, createInjectionDefenseConfig, createPIIConfig, createSecurityPolicy, createNetworkPolicy,
  getSharedClient, resetSharedClients,
} from "@declaw/sdk";
import { client, get, inSandbox, only } from "./declaw_bench.js";
import { alone, eq, fails, match, ok, test, until } from "./harness.js";

test("Sandbox.create", "a sandbox with nothing said about it", () => inSandbox(async (sbx) => {
  match(sbx.sandboxId, /^sbx-[a-z0-9]+$/);
  const seen = await get(`/sandboxes/${sbx.sandboxId}`);
  eq([seen.template_id, seen.state, seen.timeout], ["base", "running", 300]);
}));

test("Sandbox.create", "every option is honoured and shown", () => inSandbox(async (sbx) => {
  const seen = await get(`/sandboxes/${sbx.sandboxId}`);
  eq(seen.timeout, 77);
  eq(seen.template_id, "python");
  eq(seen.metadata, { job: "nightly", "größe": "ü😀" });
  eq(seen.envs, { COLOUR: "blue", EMPTY: "" });
  eq(seen.lifecycle, { on_timeout: "pause", auto_resume: true });
  eq(seen.network.allow_out, ["api.github.com", "10.1.0.0/16"]);
  eq((await sbx.commands.run('echo "$COLOUR:$EMPTY:"')).stdout, "blue::\n");
}, {
  template: "python", timeout: 77, secure: true, metadata: { job: "nightly", "größe": "ü😀" }, envs: { COLOUR: "blue", EMPTY: "" },
  network: { allowOut: ["api.github.com", "10.1.0.0/16"], denyOut: [], allowPublicTraffic: true },
  lifecycle: { onTimeout: "pause", autoResume: true },
}));

test("Sandbox.create", "a policy decides what is reached", () => inSandbox(async (sbx) => {
  const names = await sbx.commands.run("getent ahostsv4 api.github.com >/dev/null && echo one; getent ahostsv4 example.org >/dev/null || echo refused");
  eq(names.stdout, "one\nrefused\n");
}, { network: { allowOut: ["api.github.com"], denyOut: [ALL_TRAFFIC], allowPublicTraffic: true } }));

test("Sandbox.create", "allowInternetAccess false", () => inSandbox(async (sbx) => {
  eq((await get(`/sandboxes/${sbx.sandboxId}`)).network.deny_out, ["0.0.0.0/0"]);
  eq((await sbx.commands.run("getent hosts api.github.com")).exitCode, 2);
}, { allowInternetAccess: false }));

test("Sandbox.create", "the network of a security policy is enforced", () => inSandbox(async (sbx) => {
  eq((await get(`/sandboxes/${sbx.sandboxId}`)).network.allow_out, ["api.github.com"]);
}, { security: createSecurityPolicy({ network: createNetworkPolicy({ allowOut: ["api.github.com"] }) }) }));

test("Sandbox.create", "security is stored, and what is not there is named", () => inSandbox(async (sbx) => {
  const seen = await get(`/sandboxes/${sbx.sandboxId}`);
  const stored = JSON.parse(seen.security.policy_json);
  eq([stored.pii.enabled, stored.injection_defense.enabled], [true, true]);
}, {
  security: createSecurityPolicy({
    pii: createPIIConfig({ enabled: true }), injectionDefense: createInjectionDefenseConfig({ enabled: true, action: "block" }),
  }),
}));

test(["Sandbox.create", "NotFoundError"], "an unknown template", async () => {
  await fails(Sandbox.create({ template: "no-such-template" }), NotFoundError, /^HTTP 404: .*no-such-template/);
});

test(["Sandbox.create", "InvalidArgumentError"], "a policy entry that means nothing", async () => {
  const network = { allowOut: ["not a host"], denyOut: [], allowPublicTraffic: true };
  await fails(Sandbox.create({ network }), InvalidArgumentError, /^HTTP 400: .*not a host/);
});

test(["Sandbox.create", "AuthenticationError"], "a key that is not one", async () => {
  await fails(Sandbox.create({ apiKey: "dcl_wrong" }), AuthenticationError, /^HTTP 401: /);
});

test(["Sandbox#sandboxId", "Sandbox#config", "Sandbox#envdAccessToken", "Sandbox#sandboxDomain", "Sandbox#trafficAccessToken",
  "Sandbox#commands", "Sandbox#files", "Sandbox#pty", "Sandbox#stdio", "Sandbox#envdApiUrl"], "what a new sandbox knows of itself", () => inSandbox(async (sbx) => {
  ok(sbx.envdAccessToken && sbx.sandboxDomain && sbx.trafficAccessToken);
  const base = `http://${process.env.DECLAW_DOMAIN}`;
  eq(sbx.config.apiUrl, base);
  eq(sbx.envdApiUrl, `${base}/sandboxes/${sbx.sandboxId}`);
  ok([sbx.commands, sbx.files, sbx.pty, sbx.stdio].every(Boolean));
}));

test("Sandbox.connect", "the same sandbox again", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/note", "kept");
  const again = await Sandbox.connect(sbx.sandboxId);
  eq(await again.files.read("/tmp/note"), "kept");
}));

test("Sandbox.connect", "an unknown id, and what is no id", async () => {
  await fails(Sandbox.connect("sbx-none0000"), NotFoundError, /^HTTP 404/);
  await fails(Sandbox.connect("../auth"), InvalidArgumentError, /Invalid sandbox ID/);
});

test("Sandbox.list", "by metadata and state", () => inSandbox(async (sbx) => {
  const mine = await Sandbox.list({ query: { metadata: '{"listed": "here"}' } });
  eq(mine.sandboxes.map((s) => s.sandboxId), [sbx.sandboxId]);
  eq([mine.sandboxes[0].state, mine.sandboxes[0].metadata], [SandboxState.Running, { listed: "here" }]);
  eq(only((await Sandbox.list({ query: { state: "paused" } })).sandboxes, [sbx.sandboxId]), []);
  eq(only((await Sandbox.list({ query: { state: "live" } })).sandboxes, [sbx.sandboxId]).length, 1);
}, { metadata: { listed: "here" } }));

test(["Sandbox.list", "SandboxPaginator#hasNext", "SandboxPaginator#nextItems", "SandboxPaginator#[asyncIterator]"], "page by page", async () => {
  const metadata = { book: "pages" };
  const made = await Promise.all([1, 2, 3].map(() => Sandbox.create({ metadata })));
  const ids = made.map((s) => s.sandboxId).sort();
  const query = { metadata: JSON.stringify(metadata) };
  try {
    const first = await Sandbox.list({ query, limit: 2 });
    ok(first.nextToken && first.sandboxes.length === 2);
    const second = await Sandbox.list({ query, limit: 2, nextToken: first.nextToken });
    eq([...first.sandboxes, ...second.sandboxes].map((s) => s.sandboxId).sort(), ids);
    eq(second.nextToken, undefined);

    const pages = new SandboxPaginator(client(), { query, limit: 2 });
    const found: string[] = [];
    for await (const page of pages) found.push(...page.map((s) => s.sandboxId));
    eq([found.sort(), pages.hasNext], [ids, false]);
    await fails(pages.nextItems(), SandboxError, /No more pages/);
  } finally {
    await Sandbox.killMany(ids, { wait: true });
  }
});

test("Sandbox#kill", "waiting for it, and once more", async () => {
  const sbx = await Sandbox.create();
  eq(await sbx.kill({ wait: true }), true);
  eq((await sbx.getInfo()).state, SandboxState.Killed);
  eq(await sbx.kill({ wait: true }), true);
});

test("Sandbox#kill", "without waiting", async () => {
  const sbx = await Sandbox.create();
  eq(await sbx.kill(), true);
  await until("killed", async () => (await sbx.getInfo()).state === SandboxState.Killed);
});

test("Sandbox.kill", "by its id", async () => {
  const [one, two] = await Promise.all([Sandbox.create(), Sandbox.create()]);
  eq(await Sandbox.kill(one.sandboxId, { wait: true }), true);
  eq(await one.isRunning(), false);
  eq(await Sandbox.kill(two.sandboxId), true);
  await until("killed", async () => !(await two.isRunning()));
  await fails(Sandbox.kill("sbx-none0000"), NotFoundError);
});

test("Sandbox.killMany", "some, one that is not there, and none", async () => {
  const ids = (await Promise.all([Sandbox.create(), Sandbox.create()])).map((s) => s.sandboxId);
  const done = await Sandbox.killMany([...ids, "sbx-none0000"], { wait: true });
  eq(ids.map((id) => done[id]), [{ killed: true }, { killed: true }]);
  ok(done["sbx-none0000"].error);
  eq(await Sandbox.killMany([]), {});
  const more = await Sandbox.create();
  eq(await Sandbox.killMany([more.sandboxId]), { [more.sandboxId]: { queued: true } });
});

test(["Sandbox#isRunning", "Sandbox#getInfo"], "alive and dead", async () => {
  const sbx = await Sandbox.create({ timeout: 120, metadata: { a: "b" } });
  eq(await sbx.isRunning(), true);
  const info = await sbx.getInfo();
  eq([info.sandboxId, info.templateId, info.state, info.metadata], [sbx.sandboxId, "base", SandboxState.Running, { a: "b" }]);
  eq(info.endAt!.getTime() - info.startedAt!.getTime(), 120_000);
  await sbx.kill({ wait: true });
  eq([await sbx.isRunning(), (await sbx.getInfo()).state], [false, SandboxState.Killed]);
});

test("Sandbox#setTimeout", "counts from now", () => inSandbox(async (sbx) => {
  const before = Date.now();
  await sbx.setTimeout(1000);
  const left = (await sbx.getInfo()).endAt!.getTime() - before;
  ok(left > 990_000 && left < 1_100_000, `${left}`);
  await fails(sbx.setTimeout(-1), InvalidArgumentError);
}, { timeout: 60 }));

test("Sandbox#setTimeout", "it ends when its time is up", async () => {
  const sbx = await Sandbox.create({ timeout: 300 });
  await sbx.setTimeout(1);
  await until("ended", async () => !(await sbx.isRunning()));
  eq((await sbx.getInfo()).state, SandboxState.Killed);
});

test("Sandbox#getMetrics", "of the moment and of a time", () => inSandbox(async (sbx) => {
  const [now] = (await sbx.getMetrics()).slice(-1);
  ok(now.timestamp instanceof Date && now.cpuUsagePercent >= 0 && now.memoryUsageMb > 0 && now.diskUsageMb >= 0);
  eq(await sbx.getMetrics({ start: new Date(Date.now() - 7200_000), end: new Date(Date.now() - 3600_000) }), []);
}));

test(["Sandbox#pause", "Sandbox#resume", "ConflictError"], "nothing runs meanwhile", () => inSandbox(async (sbx) => {
  const ticks = async (): Promise<number> => Number(await sbx.files.read("/tmp/n"));
  await sbx.commands.run("i=0; while :; do i=$((i+1)); echo $i > /tmp/m && mv /tmp/m /tmp/n; done", { background: true });
  await until("ticking", () => sbx.files.exists("/tmp/n"));
  await sbx.pause();
  eq([await sbx.isRunning(), (await sbx.getInfo()).state], [false, SandboxState.Paused]);
  await fails(sbx.commands.run("true"), ConflictError, /^HTTP 409: .*paused/);
  await fails(sbx.pause(), ConflictError);
  await sbx.resume();
  eq(await sbx.isRunning(), true);
  const then = await ticks();
  await until("ticking again", async () => (await ticks()) > then);
  await fails(sbx.resume(), ConflictError);
}));

test("Sandbox#resume", "woken by what it is asked to do", () => inSandbox(async (sbx) => {
  await sbx.pause();
  eq((await sbx.commands.run("echo awake")).stdout, "awake\n");
  eq(await sbx.isRunning(), true);
}, { lifecycle: { onTimeout: "pause", autoResume: true } }));

test("Sandbox#downloadUrl", "fetched by any HTTP client", () => inSandbox(async (sbx) => {
  await sbx.files.write("/tmp/a b#c&d=e.txt", "through a URL");
  const headers = { "X-API-Key": process.env.DECLAW_API_KEY! };
  const answer = await fetch(sbx.downloadUrl("/tmp/a b#c&d=e.txt", "user"), { headers });
  eq([answer.status, await answer.text()], [200, "through a URL"]);
  eq((await fetch(sbx.downloadUrl("/tmp/none"), { headers })).status, 404);
  eq((await fetch(sbx.downloadUrl("/tmp/a b#c&d=e.txt"))).status, 401);
}));

test("Sandbox#uploadUrl", "filled by any HTTP client", () => inSandbox(async (sbx) => {
  const body = new Uint8Array(300_000).map((_, i) => i * 7);
  const answer = await fetch(sbx.uploadUrl("/tmp/up.bin"), { method: "PUT", body, headers: { "X-API-Key": process.env.DECLAW_API_KEY! } });
  eq(await answer.json(), { path: "/tmp/up.bin", size: body.length });
  eq(await sbx.files.read("/tmp/up.bin", { format: "bytes" }), body);
}));

test(["Sandbox#close", "Sandbox#[asyncDispose]"], "the sandbox goes on", async () => {
  let left: Sandbox;
  {
    await using sbx = await Sandbox.create();
    sbx.close();
    left = sbx;
  }
  eq(await left.isRunning(), true);
  await left.kill({ wait: true });
});

test(["ConnectionConfig", "getSharedClient"], "from the environment and from options", async () => {
  const config = new ConnectionConfig();
  eq(config.apiUrl, `http://${process.env.DECLAW_DOMAIN}`);
  eq(new ConnectionConfig({ domain: "example.test" }).apiUrl, "https://example.test");
  const one = getSharedClient(new ConnectionConfig({ requestTimeout: 12_345 }));
  eq(getSharedClient(new ConnectionConfig({ requestTimeout: 12_345 })), one);
});

alone("resetSharedClients", "what is under way ends, and there are new clients", async () => {
  const sbx = await Sandbox.create();
  try {
    const waiting = fails(sbx.commands.run("touch /tmp/started; sleep 1000"), SandboxError, /closed/);
    await until("started", () => sbx.files.exists("/tmp/started"));
    const old = getSharedClient(sbx.config);
    resetSharedClients();
    await waiting;
    ok(getSharedClient(sbx.config) !== old);
  } finally {
    eq(await Sandbox.kill(sbx.sandboxId, { wait: true }), true);
  }
});

test(["ApiClient#get", "ApiClient#getBytes", "ApiClient#post", "ApiClient#patch", "ApiClient#put", "ApiClient#delete"], "any route", () => inSandbox(async (sbx) => {
  const api = client();
  const at = `/sandboxes/${sbx.sandboxId}`;
  eq(await api.post(`${at}/files`, { json: { path: "/tmp/x", data: "one" } }), { path: "/tmp/x", size: 3 });
  eq(await api.put(`${at}/files/raw`, { params: { path: "/tmp/y" }, body: new Uint8Array([1, 2]) }), { path: "/tmp/y", size: 2 });
  eq([...(await api.getBytes(`${at}/files`, { params: { path: "/tmp/y" } }))], [1, 2]);
  eq(await api.get(`${at}/files`, { params: { path: "/tmp/x" } }), "one");
  eq(((await api.patch(`${at}/files`, { json: { old_path: "/tmp/x", new_path: "/tmp/z" } })) as any).name, "z");
  await api.delete(`${at}/files`, { params: { path: "/tmp/z" } });
  eq(await sbx.files.exists("/tmp/z"), false);
}));

test(["ApiClient#stream", "ApiClient#streamGet"], "a body that goes on", () => inSandbox(async (sbx) => {
  const api = client();
  const answer = await api.stream(`/sandboxes/${sbx.sandboxId}/commands/stream`, { json: { cmd: "echo streamed", stream: true } });
  match(answer.headers.get("content-type")!, /^text\/event-stream/);
  match(await answer.text(), /streamed/);
  const { pid } = (await api.post(`/sandboxes/${sbx.sandboxId}/commands`, { json: { cmd: "echo followed", background: true } })) as any;
  match(await (await api.streamGet(`/sandboxes/${sbx.sandboxId}/commands/${pid}/stream`)).text(), /followed/);
}));

test(["ApiClient#close", "SandboxError"], "what is under way ends", () => inSandbox(async (sbx) => {
  const api = client();
  const waiting = fails(api.post(`/sandboxes/${sbx.sandboxId}/commands`, { json: { cmd: "echo $$ > /tmp/pid; exec sleep 1000" } }), SandboxError, /closed/);
  await until("started", () => sbx.files.exists("/tmp/pid"));
  const pid = (await sbx.files.read("/tmp/pid")).trim();
  api.close();
  await waiting;
  // A foreground command ends with its client.
  await until("gone", async () => (await sbx.commands.run(`kill -0 ${pid}`)).exitCode !== 0);
}));

test("ApiClient#get", "a server that is not there", async () => {
  const gone = new ApiClient(new ConnectionConfig({ apiUrl: "http://127.0.0.1:1" }), { retryDelay: 0.001 });
  await fails(gone.get("/sandboxes"), SandboxError, /failed after 3 retries/);
});

test(["Sandbox#getHost", "Sandbox#getMcpUrl"], "a server inside, by any HTTP client", () => inSandbox(async (sbx) => {
  eq(sbx.getHost(8000), `${sbx.envdApiUrl}/ports/8000`);
  eq(sbx.getMcpUrl(), `${sbx.envdApiUrl}/ports/50005/mcp`);
  const headers = { "X-API-Key": process.env.DECLAW_API_KEY! };
  await sbx.files.write("/tmp/www/mcp", "a tool\n");
  await sbx.commands.run("python3 -m http.server -d /tmp/www 50005", { background: true });
  await until("listening", async () => (await fetch(sbx.getMcpUrl(), { headers })).status === 200);
  eq(await (await fetch(sbx.getMcpUrl(), { headers })).text(), "a tool\n");
  eq((await fetch(`${sbx.getHost(50005)}/none`, { headers })).status, 404);
  eq((await fetch(sbx.getMcpUrl())).status, 401);
  eq((await fetch(sbx.getHost(49983), { headers })).status, 403);
}, { template: "python" }));

test("Sandbox#getHost", "closed by allowPublicTraffic", () => inSandbox(async (sbx) => {
  eq((await fetch(sbx.getHost(8000), { headers: { "X-API-Key": process.env.DECLAW_API_KEY! } })).status, 403);
}, { network: { allowOut: ["api.github.com"], denyOut: [], allowPublicTraffic: false } }));
