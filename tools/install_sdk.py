"""Puts the SDK where the machine's python3 finds it: <prefix>/lib/python3.N/dist-packages (Debian's place for local packages)."""
import argparse
import os
import pathlib
import shutil
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "sdk" / "python" / "declaw"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", default="/usr/local")
    args = parser.parse_args()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = pathlib.Path(os.environ.get("DESTDIR", "") + args.prefix) / "lib" / version / "dist-packages"
    shutil.rmtree(folder / "declaw", ignore_errors=True)
    shutil.copytree(SOURCE, folder / "declaw", ignore=shutil.ignore_patterns("__pycache__"))
    print(f"SDK installed in {folder / 'declaw'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
