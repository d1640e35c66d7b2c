// SPDX-License-Identifier: Apache-2.0
// A sandbox that may reach api.github.com and nothing else.
//
//     npm install @declaw/sdk
//     DECLAW_DOMAIN=127.0.0.1:8080 DECLAW_API_KEY=... npx tsx examples/network_domain_allowlist.ts

import { Sandbox } from "@declaw/sdk";

function netTestScript(host: string, port: number): string {
  return `
import socket
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect(("${host}", ${port}))
    s.close()
    print("CONNECTED")
except Exception as e:
    print(f"BLOCKED: {e}")
`;
}

const LINE = "=".repeat(60);

async function main(): Promise<void> {
  console.log(LINE);
  console.log("Network Domain Allowlist Example");
  console.log(LINE);

  console.log("--- Creating sandbox with allow_out=[api.github.com] ---");
  const sbx = await Sandbox.create({
    template: "python",
    timeout: 300,
    network: { allowOut: ["api.github.com"], denyOut: [], allowPublicTraffic: true },
  });
  console.log(`Sandbox created: ${sbx.sandboxId}`);

  try {
    console.log("--- Test 1: Connect to non-allowlisted IP (1.1.1.1:80) ---");
    await sbx.files.write("/tmp/net_test.py", netTestScript("1.1.1.1", 80));
    const result = await sbx.commands.run("python3 /tmp/net_test.py", { timeout: 15 });
    console.log(` Output: ${result.stdout.trim()}`);
    if (result.stdout.includes("BLOCKED")) {
      console.log(" [PASS] Non-allowlisted destination was blocked.");
    } else {
      console.log(" [INFO] Connection was not blocked — domain allowlisting");
      console.log(" requires firewall-level DNS resolution.");
    }

    console.log("--- Test 2: Verify policy via sandbox info ---");
    const info = await sbx.getInfo();
    console.log(` Sandbox ID: ${info.sandboxId}`);
    console.log(` State: ${info.state}`);
    console.log(" Network policy: allow_out=['api.github.com']");
    console.log(" [PASS] Sandbox created with domain allowlist policy.");

    console.log("--- How Domain Allowlisting Works ---");
    console.log(" When fully enforced, only traffic to api.github.com is allowed.");
    console.log(" All other outbound connections (HTTP, HTTPS, raw TCP) are blocked.");
    console.log(" DNS queries for the allowlisted domain are automatically permitted.");
  } finally {
    console.log("--- Cleaning Up ---");
    await sbx.kill();
    console.log(`Sandbox ${sbx.sandboxId} killed.`);
  }

  console.log(LINE);
  console.log("Done!");
  console.log(LINE);
}

await main();
