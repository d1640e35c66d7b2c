"""Every header of src/ compiles alone, so that including it never depends on what came before."""
import concurrent.futures
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def check(header: pathlib.Path) -> str:
    name = header.relative_to(ROOT / "src")
    done = subprocess.run(
        ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-function",
         "-Wno-missing-field-initializers", "-I", str(ROOT / "src"), "-x", "c", "-"],
        input=f'#include "{name}"\n', text=True, capture_output=True, check=False)
    return "" if done.returncode == 0 else f"{header.relative_to(ROOT)} does not compile alone:\n{done.stderr}"


def main() -> int:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        problems = [p for p in pool.map(check, sorted((ROOT / "src").rglob("*.h"))) if p]
    print("".join(problems), end="")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
