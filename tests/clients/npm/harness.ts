// SPDX-License-Identifier: Apache-2.0
// Cases of a client: each says which calls it is about, and runs against the server that the environment names.
//
//   node main.js               runs all cases, and writes a line of JSON for each
//   node main.js --list        says which there are
//   node main.js NAME...       runs these; a case's name is its first call and its title: "Sandbox.create: an unknown template"
import assert from "node:assert/strict";

export interface Case {
  name: string;
  calls: string[];
  title: string;
  body: () => Promise<string | void>;
  alone: boolean;
}

const all: Case[] = [];

function add(calls: string | string[], title: string, body: Case["body"], single: boolean): void {
  const list = typeof calls === "string" ? [calls] : calls;
  const name = `${list[0]}: ${title}`;
  assert(!all.some((c) => c.name === name), `two cases are called ${name}`);
  all.push({ name, calls: list, title, body, alone: single });
}

/** body may answer with what the table says instead of "works", such as how the server refuses the call. */
export function test(calls: string | string[], title: string, body: Case["body"]): void {
  add(calls, title, body, false);
}

/** A case that would disturb others: it runs when they are done. */
export function alone(calls: string | string[], title: string, body: Case["body"]): void {
  add(calls, title, body, true);
}

// Functions of their own, since TypeScript takes no assertion by another name.
export function eq(value: unknown, wanted: unknown, message?: string): void {
  assert.deepEqual(value, wanted, message);
}

export function ok(value: unknown, message?: string): asserts value {
  assert(value, message);
}

export const match: (text: string, wanted: RegExp) => void = assert.match;

/** The error of this class that the promise must end with. */
export async function fails<T extends Error>(promise: Promise<unknown>, kind: abstract new (...a: never[]) => T, text?: RegExp): Promise<T> {
  const error = await promise.then((value) => assert.fail(`no error, but ${JSON.stringify(value)}`), (e: unknown) => e);
  // By its name too: subclasses are other answers.
  assert(error instanceof kind && error.constructor === kind, `not ${kind.name}: ${error}`);
  if (text) match(error.message, text);
  return error;
}

/** Asks until the answer is true; for what the client has no way to wait for. */
export async function until(what: string, check: () => Promise<boolean> | boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await check())) {
    assert(Date.now() < end, `${what}: not after ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const AT_ONCE = 4;
const CASE_SECONDS = 120;

async function run(c: Case): Promise<void> {
  const start = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${CASE_SECONDS} s`)), CASE_SECONDS * 1000);
  });
  const row: Record<string, unknown> = { name: c.name, calls: c.calls, title: c.title };
  try {
    row.result = (await Promise.race([c.body(), late])) ?? "works";
  } catch (e) {
    row.error = e instanceof Error ? e.stack ?? e.message : String(e);
  } finally {
    clearTimeout(timer);
  }
  console.log(JSON.stringify({ ...row, ms: Math.round(performance.now() - start) }));
}

/** after: more to say when all have run. */
export async function main(after?: () => Promise<unknown>): Promise<void> {
  const wanted = process.argv.slice(2);
  if (wanted[0] === "--list") {
    console.log(JSON.stringify(all.map(({ name, calls, title }) => ({ name, calls, title }))));
    return;
  }
  const chosen = all.filter((c) => wanted.length === 0 || wanted.includes(c.name));
  const todo = chosen.filter((c) => !c.alone);
  const next = async (): Promise<void> => {
    for (let c = todo.shift(); c; c = todo.shift()) await run(c);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  for (const c of chosen.filter((c) => c.alone)) await run(c);
  if (after) console.log(JSON.stringify(await after()));
  // What a client keeps open must not keep the program.
  process.exit(0);
}
