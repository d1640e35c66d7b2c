// SPDX-License-Identifier: Apache-2.0
// What the package does without a server, given what this server answers.
import * as sdk from "@declaw/sdk";
import { get, inSandbox } from "./declaw_bench.js";
import { eq, fails, ok, test } from "./harness.js";

const when = "2026-01-15T10:30:00.123456+00:00";

function throws(call: () => unknown): Promise<unknown> {
  return fails(Promise.resolve().then(call), sdk.InvalidArgumentError);
}

test(["parseSandboxInfo", "parseSandboxLifecycle"], "an answer of the server", () => inSandbox(async (sbx) => {
  const row = await get(`/sandboxes/${sbx.sandboxId}`);
  const info = sdk.parseSandboxInfo(row);
  eq([info.sandboxId, info.templateId, info.state], [sbx.sandboxId, "base", "running"]);
  ok(Math.abs(info.startedAt!.getTime() - Date.now()) < 60_000);
  eq(sdk.parseSandboxLifecycle(row.lifecycle), { onTimeout: "kill", autoResume: false });
}));

test("parseSandboxMetrics", "an answer of the server", () => inSandbox(async (sbx) => {
  const [row] = await get(`/sandboxes/${sbx.sandboxId}/metrics`);
  eq(Object.keys(sdk.parseSandboxMetrics(row)).sort(), ["cpuUsagePercent", "diskUsageMb", "memoryUsageMb", "timestamp"]);
}));

test(["parseCommandResult", "parseProcessInfo", "parseEntryInfo", "parseWriteInfo", "parseFilesystemEvent"], "rows of commands and files", async () => {
  eq(sdk.parseCommandResult({ stdout: "a", stderr: "b", exit_code: 3 }), { stdout: "a", stderr: "b", exitCode: 3 });
  eq(sdk.parseProcessInfo({ pid: 2, cmd: "c", is_pty: true, envs: {} }), { pid: 2, cmd: "c", isPty: true, envs: {} });
  eq(sdk.parseEntryInfo({ name: "n", path: "/n", type: "dir", size: 4 }), { name: "n", path: "/n", type: sdk.FileType.Dir, size: 4 });
  eq(sdk.parseWriteInfo({ path: "/n", size: 4 }), { path: "/n", size: 4 });
  eq(sdk.parseFilesystemEvent({ type: "write", path: "/n" }), { type: sdk.FilesystemEventType.Write, path: "/n", timestamp: undefined });
});

test(["parseSnapshot", "parseSnapshotInfo"], "rows of snapshots", async () => {
  const row = { snapshot_id: "snap-1", sandbox_id: "sbx-1", source: "manual", mem_blob_key: "", vmstate_blob_key: "", created_at: when };
  eq([sdk.parseSnapshot(row).source, sdk.parseSnapshotInfo(row).createdAt!.toISOString()], ["manual", "2026-01-15T10:30:00.123Z"]);
});

test(["parseBuildInfo", "parseTemplateBuildStatus"], "rows of builds", async () => {
  const row = { build_id: "bld-1", status: "completed", template_id: "tpl-1", logs: ["one"] };
  eq(sdk.parseBuildInfo(row), { buildId: "bld-1", status: "completed", templateId: "tpl-1" });
  eq(sdk.parseTemplateBuildStatus(row), { buildId: "bld-1", status: "completed", logs: ["one"] });
});

test(["parseVolumeInfo", "parseFileEntry", "parseFileInfo", "parseLockLease", "parseLockStatus", "volumeAttachmentToJSON"], "rows of volumes", async () => {
  eq(sdk.parseVolumeInfo({ volume_id: "vol-1", name: "n", size_bytes: 3, created_at: when }).sizeBytes, 3);
  const row = { name: "a", path: "/a", is_dir: false, size: 1, mod_time: when, mode: 420, version: "v1" };
  eq([sdk.parseFileEntry(row).isDir, sdk.parseFileInfo(row).version], [false, "v1"]);
  eq(sdk.parseLockLease({ token: "t", ttl_seconds: 30, expires_at: when }), { token: "t", ttlSeconds: 30, expiresAt: when });
  eq(sdk.parseLockStatus({ held: true, expires_in_ms: 5 }), { held: true, expiresInMs: 5 });
  eq(sdk.volumeAttachmentToJSON({ volumeId: "vol-1", mountPath: "/d", mode: "mount-ro", subpath: "s" }),
    { volume_id: "vol-1", mount_path: "/d", mode: "mount-ro", subpath: "s" });
});

test(["parseGovernancePack", "parseVaultPreset", "parseVaultScope", "parseVaultSecret", "vaultScopeToJSON"], "rows that this server never sends", async () => {
  eq(sdk.parseGovernancePack({ name: "hipaa" }).name, "hipaa");
  eq(sdk.parseVaultScope(sdk.vaultScopeToJSON({ domainRegex: "^a$", headerName: "X" })), { domainRegex: "^a$", headerName: "X" });
  eq([sdk.parseVaultPreset({ key: "k" }).key, sdk.parseVaultSecret({ secret_id: "s" }).secretId], ["k", "s"]);
});

test(["validateNetworkEntry", "domainMatches"], "entries of a policy", async () => {
  eq([sdk.validateNetworkEntry("10.0.0.0/8"), sdk.validateNetworkEntry("*.x.com", { allowDomains: true })], ["10.0.0.0/8", "*.x.com"]);
  await throws(() => sdk.validateNetworkEntry("x.com"));
  eq([sdk.domainMatches("*.x.com", "a.X.com"), sdk.domainMatches("*.x.com", "y.com")], [true, false]);
});

test(["createNetworkPolicy", "parseNetworkPolicy", "networkPolicyToOpts"], "a network policy, stored and read again", () => inSandbox(async (sbx) => {
  const seen = sdk.parseNetworkPolicy((await get(`/sandboxes/${sbx.sandboxId}`)).network);
  eq([seen.allowOut, seen.denyOut, seen.allowPublicTraffic], [["api.github.com"], ["10.0.0.0/8"], false]);
}, {
  network: sdk.networkPolicyToOpts(sdk.createNetworkPolicy({ allowOut: ["api.github.com"], denyOut: ["10.0.0.0/8"], allowPublicTraffic: false })),
}));

test(["createSecurityPolicy", "parseSecurityPolicy", "securityPolicyToJSON", "requiresTlsInterception", "createAuditConfig", "parseAuditConfig",
  "createEnvSecurityConfig", "parseEnvSecurityConfig", "isSensitive"], "a security policy, stored and read again", async () => {
  const policy = sdk.createSecurityPolicy({
    audit: sdk.createAuditConfig({ enabled: false }), envSecurity: sdk.createEnvSecurityConfig({ maskPatterns: ["*_HIDDEN"] }),
  });
  eq(sdk.requiresTlsInterception(policy), false);
  await inSandbox(async (sbx) => {
    const stored = JSON.parse((await get(`/sandboxes/${sbx.sandboxId}`)).security.policy_json);
    eq(sdk.securityPolicyToJSON(sdk.parseSecurityPolicy(stored)), sdk.securityPolicyToJSON(policy));
    eq([sdk.parseAuditConfig(stored.audit).enabled, sdk.parseEnvSecurityConfig(stored.env_security).maskPatterns], [false, ["*_HIDDEN"]]);
  }, { security: policy });
  eq([sdk.isSensitive("MY_HIDDEN", ["*_HIDDEN"]), sdk.isSensitive("OPEN", sdk.DEFAULT_MASK_PATTERNS)], [true, false]);
});

test(["fullInjectionDefensePolicy", "createPIIConfig", "parsePIIConfig", "createInjectionDefenseConfig", "parseInjectionDefenseConfig",
  "createToxicityConfig", "parseToxicityConfig", "toxicityConfigToJSON", "createCodeSecurityConfig", "parseCodeSecurityConfig",
  "codeSecurityConfigToJSON", "createInvisibleTextConfig", "parseInvisibleTextConfig", "invisibleTextConfigToJSON", "createContentGateConfig",
  "parseContentGateConfig", "contentGateConfigToJSON"], "what this server warns of is stored as it was sent", async () => {
  const policy = {
    ...sdk.fullInjectionDefensePolicy({ domains: ["x.com"] }), pii: sdk.createPIIConfig({ enabled: true, types: [sdk.PIIType.Email] }),
    toxicity: sdk.createToxicityConfig({ enabled: true }), codeSecurity: sdk.createCodeSecurityConfig({ enabled: true }),
    invisibleText: sdk.createInvisibleTextConfig({ enabled: true }), contentGate: sdk.createContentGateConfig({ enabled: true }),
  };
  eq(sdk.createInjectionDefenseConfig({ threshold: 0.5 }).threshold, 0.5);
  await inSandbox(async (sbx) => {
    const stored = JSON.parse((await get(`/sandboxes/${sbx.sandboxId}`)).security.policy_json);
    eq(sdk.parsePIIConfig(stored.pii).types, ["email"]);
    eq(sdk.parseInjectionDefenseConfig(stored.injection_defense).domains, ["x.com"]);
    eq(sdk.toxicityConfigToJSON(sdk.parseToxicityConfig(stored.toxicity)), stored.toxicity);
    eq(sdk.codeSecurityConfigToJSON(sdk.parseCodeSecurityConfig(stored.code_security)), stored.code_security);
    eq(sdk.invisibleTextConfigToJSON(sdk.parseInvisibleTextConfig(stored.invisible_text)), stored.invisible_text);
    eq(sdk.contentGateConfigToJSON(sdk.parseContentGateConfig(stored.content_gate)), stored.content_gate);
  }, { security: policy });
  await throws(() => sdk.createPIIConfig({ types: ["nonsense"] }));
});

test(["createTransformationRule", "applyTransformation", "parseAuditEntry"], "rules that the package itself applies", async () => {
  const rule = sdk.createTransformationRule({ match: "[0-9]+", replace: "#" });
  eq(sdk.applyTransformation(rule, "a1b22"), "a#b#");
  await throws(() => sdk.createTransformationRule({ match: "(", replace: "" }));
  eq(sdk.parseAuditEntry({ timestamp: when, method: "GET", status_code: 200 }).statusCode, 200);
});
