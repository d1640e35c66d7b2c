#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a C file out of a JSON file: embed.py IN.json OUT.c NAME. A build step.

The bytes of NAME are the document without its white space; a document that is not JSON, or says a member twice, stops the build.
"""
import json
import sys


def no_twice(pairs):
    names = [k for k, _ in pairs]
    twice = {k for k in names if names.count(k) > 1}
    if twice:
        sys.exit(f"{sys.argv[1]}: twice in one object: {', '.join(sorted(twice))}")
    return dict(pairs)


def main() -> None:
    source, target, name = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        data = json.dumps(json.load(f, object_pairs_hook=no_twice), separators=(",", ":")).encode("ascii")
    lines = [", ".join(map(str, data[at : at + 24])) for at in range(0, len(data), 24)]
    with open(target, "w", encoding="ascii") as f:
        f.write(f'#include "daemon/{name}.h"\n\nconst char {name}[] = {{\n\t' + ",\n\t".join(lines) + f"\n}};\nconst size_t {name}_n = sizeof({name});\n")


main()
