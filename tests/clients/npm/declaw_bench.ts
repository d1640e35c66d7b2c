// SPDX-License-Identifier: Apache-2.0
import { ApiClient, ConnectionConfig, Sandbox, type SandboxOpts } from "@declaw/sdk";

/** A sandbox for one case, killed at its end. */
export async function inSandbox<T>(body: (sbx: Sandbox) => Promise<T>, opts: SandboxOpts = {}): Promise<T> {
  const sbx = await Sandbox.create({ timeout: 300, ...opts });
  try {
    return await body(sbx);
  } finally {
    await sbx.kill({ wait: true });
  }
}

/** A client of its own, for looking at what the classes do not show. */
export function client(): ApiClient {
  return new ApiClient(new ConnectionConfig());
}

export async function get(path: string): Promise<any> {
  return client().get(path);
}

/** The parts of a list of sandboxes that are one of these, whatever else runs beside. */
export function only<T extends { sandboxId: string }>(list: T[], ids: string[]): T[] {
  return list.filter((s) => ids.includes(s.sandboxId));
}

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);
