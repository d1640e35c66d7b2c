# SPDX-License-Identifier: Apache-2.0
"""The published clients of npm/package.json: installed once per lock file, and TypeScript that is run against them.

`make test` installs them; whoever runs a test alone has them installed by it. The machine's own npm configuration says
where packages come from; the lock file says which they are, with their digests. Node.js is one of them, since the clients
want a newer one than Debian's.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence

_HERE = Path(__file__).resolve().parent / "npm"
ROOT = _HERE.parents[2]
_BUILD = ROOT / "build-clients"
_INSTALL_SECONDS = 600
_COMPILE_SECONDS = 300


def _digest(files: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        found.update(f"{file.name} {len(data)}\n".encode() + data)
    return found.hexdigest()[:16]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Suites run beside each other: one installs, the others wait for it."""
    _BUILD.mkdir(exist_ok=True)
    with open(_BUILD / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(argv: Sequence[str], folder: Path, seconds: int) -> None:
    done = subprocess.run(argv, cwd=folder, timeout=seconds, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: ended with {done.returncode}\n{done.stdout}{done.stderr}")


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name below build-clients, made by `make(folder)` where it is not there yet. It appears when it is whole."""
    folder = _BUILD / name
    with _locked():
        if not folder.exists():
            new = Path(tempfile.mkdtemp(prefix="new-", dir=_BUILD))
            try:
                make(new)
                new.rename(folder)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
    return folder


def installed() -> Path:
    """The folder whose node_modules has the packages of the lock file."""
    sources = [_HERE / "package.json", _HERE / "package-lock.json"]

    def make(folder: Path) -> None:
        for source in sources:
            shutil.copy(source, folder)
        # None of them has anything to do at installation.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, _INSTALL_SECONDS)

    return _made(f"npm-{_digest(sources)}", make)


def node() -> Path:
    """The Node.js of the lock file."""
    found = list(installed().glob("node_modules/node-linux-*/bin/node"))
    if len(found) != 1:
        raise RuntimeError(f"the lock file of {_HERE} has no Node.js for this machine")
    return found[0]


def compiled(*sources: Path) -> Path:
    """The folder with the JavaScript of these TypeScript files. They may import each other and the packages; types are checked."""
    modules, program = installed() / "node_modules", str(node())
    files = [_HERE / "tsconfig.json", *sources]

    def make(folder: Path) -> None:
        # A module's packages are looked for from where it lies upwards, so the sources come here.
        (folder / "node_modules").symlink_to(modules)
        (folder / "package.json").write_text('{"type": "module"}\n', encoding="ascii")
        for file in files:
            shutil.copy(file, folder)
        _run([program, str(modules / "typescript" / "bin" / "tsc"), "-p", "."], folder, _COMPILE_SECONDS)

    return _made(f"js-{_digest([*files, _HERE / 'package-lock.json'])}", make)


def sources(*patterns: str) -> List[Path]:
    """TypeScript files of tests/clients/npm."""
    return sorted(file for pattern in patterns for file in _HERE.glob(pattern))


def run(script: Path, arguments: Sequence[str] = (), env: Optional[Mapping[str, str]] = None,
        seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    """Runs a compiled file. env: what is added to a small environment, without anything of the caller's that a client reads."""
    small: Dict[str, str] = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(script.parent), **(env or {})}
    return subprocess.run([str(node()), str(script), *arguments], env=small, timeout=seconds, check=False, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    print(installed())
