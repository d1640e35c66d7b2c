// SPDX-License-Identifier: Apache-2.0
// What this server does not have: it says so with a status that no client tries again.
import { Governance, NotFoundError, Sandbox, Vault } from "@declaw/sdk";
import { fails, test } from "./harness.js";

const scopes = [{ domainRegex: "^api\\.example\\.com$" }];

function refused(call: () => Promise<unknown>): () => Promise<string> {
  return async () => {
    await fails(call(), NotFoundError, /^HTTP 404: /);
    return "refused with 404: not part of this server";
  };
}

test("Governance.listPacks", "listing governance packs", refused(() => Governance.listPacks()));
test("Governance.getPack", "a governance pack", refused(() => Governance.getPack("hipaa")));
test("Vault.createSecret", "making a secret", refused(() => Vault.createSecret({ name: "s", value: "v", scopes })));
test("Vault.listSecrets", "listing secrets", refused(() => Vault.listSecrets()));
test("Vault.rotateSecret", "rotating a secret", refused(() => Vault.rotateSecret("s", "w")));
test("Vault.deleteSecret", "deleting a secret", refused(() => Vault.deleteSecret("s")));
test("Vault.updateScopes", "changing the scopes of a secret", refused(() => Vault.updateScopes("s", scopes)));
test("Vault.listPresets", "listing presets of secrets", refused(() => Vault.listPresets()));
test("Sandbox.create", "a variable from the vault", refused(() => Sandbox.create({ vaultRefs: { TOKEN: "bare-name" } })));
