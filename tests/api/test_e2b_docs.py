# SPDX-License-Identifier: Apache-2.0
"""docs/e2b.md names every route of the E2B surface, and no other."""

import re
import subprocess

from conftest import REPOSITORY, build_dir


def test_every_route_is_named_and_no_other():
    argv = [str(build_dir() / "src/declawd/declawd"), "--print-routes"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    there = {line for line in text.splitlines() if line.split(" ")[1].startswith("/e2b/")}
    named = set(re.findall(r"`([A-Z]+ /e2b/[^`]+)`", (REPOSITORY / "docs/e2b.md").read_text()))
    assert there - named == set(), "routes that docs/e2b.md does not name"
    assert named - there == set(), "docs/e2b.md names routes that there are not"
