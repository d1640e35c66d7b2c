# SPDX-License-Identifier: Apache-2.0
"""The npm packages are those that package.json pins, and nothing but the machine's configuration says where from."""

import json
import re
from pathlib import Path

from npm_packages import compiled, run, sources

NPM = Path(__file__).resolve().parent / "npm"


def test_packages_are_the_pinned_ones():
    pinned = json.loads((NPM / "package.json").read_text())["devDependencies"]
    done = run(compiled(*sources("packages.ts")) / "packages.js")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**{name: pinned[name] for name in ("@declaw/sdk", "e2b")}, "loaded": ["function", "function"]}


def test_lock_file_has_digests_and_no_hosts():
    lock = json.loads((NPM / "package-lock.json").read_text())["packages"]
    packages = {name: row for name, row in lock.items() if name}
    assert packages and all("integrity" in row and "resolved" not in row for row in packages.values())
    assert all(re.fullmatch(r"[0-9.]+", version) for version in lock[""]["devDependencies"].values())
