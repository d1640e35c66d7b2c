"""Arrows go one way: each folder of src/ may include only the folders named here (ARCHITECTURE.md has the picture).

The pure libraries may also use only harmless system headers: no I/O, no clock, no environment.
"""
import pathlib
import re
import sys

ALLOWED = {
    "core": set(),
    "policy": {"core"},
    "wire": {"core"},
    "proto": {"core"},
    "sys": {"core"},
    "keydb": {"core"},
    "loop": {"core", "sys"},
    "gate": {"core", "policy", "wire", "proto", "sys", "loop"},
    "runtime": {"core", "proto", "sys"},
    "agent": {"core", "proto", "sys"},
    "unpack": {"core"},
    "cli": {"core", "policy", "keydb"},
    "daemon": {"core", "policy", "wire", "proto", "sys", "runtime", "keydb"},
    "e2b": {"core", "policy", "proto", "daemon"},
    "declawd": {"core", "runtime", "daemon", "e2b"},
}
PURE = {"core", "policy", "wire", "proto"}
PURE_SYSTEM = {
    "stddef.h", "stdint.h", "stdbool.h", "stdlib.h", "string.h", "stdio.h", "stdarg.h", "limits.h", "errno.h",
    "ctype.h", "inttypes.h", "netinet/in.h", "netinet/icmp6.h", "netinet/ip_icmp.h", "arpa/inet.h", "endian.h", "pcre2.h", "unistd.h", "assert.h",
}
# libcrypto opens QUIC Initials, whose keys are public: arithmetic, no I/O.
PURE_LAYER = {"wire": re.compile(r"openssl/")}
# stdio.h is there for snprintf; what does I/O or reads a clock is refused by name.
IMPURE_CALLS = re.compile(
    r"\b(open|fopen|read|write|recv|send|time|clock_gettime|gettimeofday|getenv|getaddrinfo|printf|puts|exit|fork)\s*\("
)
# The assertion's last words; close() of the clean-up helper; switches of test builds.
PURE_EXCEPTIONS = {("core", "err.c"), ("core", "macros.h"), ("core", "defence.c")}


def main() -> int:
    bad = 0
    src = pathlib.Path(__file__).resolve().parent.parent / "src"
    for path in sorted(src.rglob("*.[ch]")):
        layer = path.relative_to(src).parts[0]
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{path.relative_to(src.parent)}:{number}"
            if m := re.match(r'\s*#\s*include\s+"([^"/]+)/', line):
                if m[1] != layer and m[1] not in ALLOWED[layer]:
                    print(f"{where}: {layer} may not include {m[1]}")
                    bad = 1
            elif re.match(r'\s*#\s*include\s+"', line):
                print(f"{where}: includes carry the folder (\"{layer}/...\")")
                bad = 1
            if layer not in PURE or (layer, path.name) in PURE_EXCEPTIONS:
                continue
            own = PURE_LAYER.get(layer)
            if (m := re.match(r"\s*#\s*include\s+<([^>]+)>", line)) and m[1] not in PURE_SYSTEM and not (
                    own and own.match(m[1])):
                print(f"{where}: {layer} is pure; <{m[1]}> is not on its list")
                bad = 1
            code = re.sub(r'"(\\.|[^"\\])*"|/\*.*?\*/', "", line)
            if not code.lstrip().startswith("*") and (m := IMPURE_CALLS.search(code)):
                print(f"{where}: {layer} is pure; it calls {m[1]}")
                bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
