# SPDX-License-Identifier: Apache-2.0
"""The TypeScript example, with the published package, prints what the walk-through promises, word for word; and so does the
Python one. The lab's internet has 1.1.1.1:80, so that "blocked" means something."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from declaw import Sandbox
from npm_packages import compiled, run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "network_domain_allowlist"
WANTED = EXAMPLE.with_suffix(".expected.txt").read_text(encoding="utf-8").splitlines()


def _typescript(env):
    return run(compiled(EXAMPLE.with_suffix(".ts")) / f"{EXAMPLE.name}.js", env=env)


def _python(env):
    small = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "sdk" / "python"), "PYTHONIOENCODING": "utf-8", **env}
    return subprocess.run([sys.executable, str(EXAMPLE.with_suffix(".py"))], env=small, timeout=120, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("example", [_typescript, _python])
def test_the_output_is_the_documents(server, example):
    done = example(server.env)
    assert done.returncode == 0, done.stderr
    ids = set(re.findall(r"sbx[-_][a-z0-9]+", done.stdout))
    assert len(ids) == 1
    assert [re.sub(r"sbx[-_][a-z0-9]+", "sbx_abc123", line.strip()) for line in done.stdout.splitlines()] == WANTED
    # It was the policy, and the sandbox is gone.
    sbx = Sandbox.connect(ids.pop(), domain=server.domain, api_key=server.key)
    assert ("1.1.1.1", "deny") in {(d["addr"], d["verdict"]) for d in sbx.network_log()}
    assert not sbx.is_running()


def test_without_a_policy_the_address_answers(server):
    sbx = Sandbox.create(template="python", domain=server.domain, api_key=server.key)
    script = "import socket; socket.create_connection(('1.1.1.1', 80), 5); print('CONNECTED')"
    try:
        assert sbx.commands.run(f'python3 -c "{script}"').stdout == "CONNECTED\n"
    finally:
        sbx.kill(wait=True)
