// SPDX-License-Identifier: Apache-2.0
import { Sandbox, type SandboxOpts } from "e2b";

/** A sandbox for one case, killed at its end. */
export async function inSandbox<T>(body: (sbx: Sandbox) => Promise<T>, opts: SandboxOpts = {}): Promise<T> {
  const sbx = await Sandbox.create({ timeoutMs: 300_000, ...opts });
  try {
    return await body(sbx);
  } finally {
    await sbx.kill();
  }
}

/** What our own API says of it. */
export async function ours(path: string): Promise<any> {
  const answer = await fetch(`http://${process.env.DECLAW_DOMAIN}${path}`, { headers: { "X-API-Key": process.env.DECLAW_API_KEY! } });
  return answer.json();
}

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);
/** An ArrayBuffer of its own, which is what the package takes. */
export const buffer = (b: Uint8Array): ArrayBuffer => Uint8Array.from(b).buffer;

/** n bytes without a pattern, the same each time. */
export function noise(n: number): Uint8Array {
  const made = new Uint8Array(n);
  for (let i = 0, x = 1; i < n; i++) made[i] = (x = (Math.imul(x, 1103515245) + 12345) >>> 0) >>> 16;
  return made;
}
