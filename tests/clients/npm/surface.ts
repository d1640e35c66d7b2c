// SPDX-License-Identifier: Apache-2.0
// What a package offers, read from the package itself, and what of it has run, as V8 counts it: the package stays as it is.
import { readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";

type Callable = (...a: never[]) => unknown;

function isClass(value: unknown): value is Callable & { prototype: object } {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

function functionsOf(holder: object, prefix: string, skip: string[]): [string, Callable][] {
  const found: [string, Callable][] = [];
  for (const key of Reflect.ownKeys(holder)) {
    const property = Object.getOwnPropertyDescriptor(holder, key)!;
    const callable = property.get ?? property.value;
    if (typeof callable === "function" && !skip.includes(String(key))) {
      found.push([prefix + (typeof key === "symbol" ? `[${key.description!.replace(/^.*\./, "")}]` : key), callable]);
    }
  }
  return found;
}

/** Members that the package's type declarations call private or protected: "Class.member". */
function privateMembers(declarations: string): Set<string> {
  const found = new Set<string>();
  for (const [, name, body] of declarations.matchAll(/^declare (?:abstract )?class (\w+)[^{]*\{\n(.*?)^\}/gms)) {
    for (const [, member] of body.matchAll(/^ {2,4}(?:private|protected) (?:static |readonly |abstract )*(\w+)/gm)) found.add(`${name}.${member}`);
  }
  return found;
}

/** name -> function of everything that can be called: "f", "Class.static", "Class#method"; a class without any is there as "Class". */
export function surface(module: object, declarations: string): Map<string, Callable> {
  const hidden = privateMembers(readFileSync(declarations, "utf8"));
  const found = new Map<string, Callable>();
  for (const [name, value] of Object.entries(module)) {
    if (!isClass(value)) {
      if (typeof value === "function") found.set(name, value as Callable);
      continue;
    }
    const members = [
      ...functionsOf(value, `${name}.`, ["prototype", "length", "name"]),
      ...functionsOf(value.prototype, `${name}#`, ["constructor"]),
    ].filter(([member]) => !hidden.has(member.replace("#", ".")));
    if (members.length === 0) found.set(name, value);
    for (const [member, callable] of members) found.set(member, callable);
  }
  return found;
}

/** Counts calls from now on. The answer says which functions of a file of the package have run since. */
export async function counting(file: string): Promise<(f: Map<string, Callable>) => Promise<string[]>> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  return async (functions) => {
    const source = readFileSync(file, "utf8");
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const ran = new Set<string>();
    for (const script of result.filter((s) => s.url.endsWith(file.replace(/^.*\/node_modules\//, "")))) {
      for (const { ranges } of script.functions) {
        if (ranges[0].count > 0) ran.add(source.slice(ranges[0].startOffset, ranges[0].endOffset));
      }
    }
    return [...functions].filter(([, f]) => ran.has(Function.prototype.toString.call(f))).map(([name]) => name);
  };
}
