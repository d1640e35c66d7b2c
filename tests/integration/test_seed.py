# SPDX-License-Identifier: Apache-2.0
"""The walk-through this project began from, run as a user runs it, against the real server."""
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

from ground import BUILD, REPO, SLOW, Api, until

sys.path.append(str(REPO / "tests" / "sdk"))
from test_seed_blocks import SEED_BLOCKS  # noqa: E402

PYTHON = "/usr/bin/python3"
EXAMPLE = REPO / "examples" / "network_domain_allowlist.py"


def run(script: Path, env: Dict[str, str], *arguments: str, seconds: float = 60) -> str:
    # As little environment as a user could have: what the script needs must come from these variables.
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO / "sdk" / "python"), "PYTHONIOENCODING": "utf-8",
             "PYTHONDONTWRITEBYTECODE": "1", **env}
    clean.update({k: v for k, v in os.environ.items() if k in ("ASAN_OPTIONS", "UBSAN_OPTIONS")})
    done = subprocess.run([PYTHON, str(script), *arguments], env=clean, capture_output=True, text=True,
                          timeout=seconds * SLOW, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def normal(output: str) -> List[str]:
    return [re.sub(r"sbx[-_][a-z0-9]+", "sbx_abc123", line.strip()) for line in output.splitlines()]


def test_example(lab: Any, daemon: Any) -> None:
    mark = lab.capture.mark()
    output = run(EXAMPLE, daemon.env)
    assert normal(output) == EXAMPLE.with_suffix(".expected.txt").read_text().splitlines()
    # "BLOCKED" was printed because nothing left, not because nothing would have answered.
    assert lab.capture.packets(dst=["1.1.1.1"], port=80, since=mark) == []
    until(Api(daemon).running, 5, lambda ids: ids == [])


def test_the_destination_would_have_answered(lab: Any, daemon: Any) -> None:
    """The control arm of the above: without a policy the same address takes the same connection."""
    sbx = Api(daemon).sandbox(template="python")
    sbx.files.write("/tmp/t.py", "import socket\nsocket.create_connection(('1.1.1.1', 80), 5).close()\nprint('CONNECTED')")
    assert sbx.commands.run("python3 /tmp/t.py", timeout=15).stdout == "CONNECTED\n"
    sbx.kill()


def test_seed_blocks(daemon: Any, tmp_path: Path) -> None:
    script = tmp_path / "seed.py"
    script.write_text(SEED_BLOCKS, encoding="utf-8")
    assert normal(run(script, daemon.env)) == [
        "Sandbox created: sbx_abc123",
        "Output: BLOCKED: timed out",
        "[PASS] Non-allowlisted destination was blocked.",
        "Sandbox ID: sbx_abc123",
        "State: running",
        "Network policy: allow_out=['api.github.com']",
        "[PASS] Sandbox created with domain allowlist policy.",
    ]
    for sandbox_id in Api(daemon).running():  # the blocks leave it running
        Api(daemon).call("DELETE", f"/sandboxes/{sandbox_id}")


def test_demo() -> None:
    path = f"{REPO}/sdk/python:{REPO}/tests"
    output = run(REPO / "tools" / "demo.py", {"PYTHONPATH": path}, "--build", str(BUILD), seconds=120)
    print(output)
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "1.1.1.1:80 from an unrestricted sandbox CONNECTED" in lines
    expected = EXAMPLE.with_suffix(".expected.txt").read_text().splitlines()
    shown = normal(output)
    start = shown.index("Network Domain Allowlist Example") - 1
    assert shown[start:start + len(expected)] == expected
    assert any(line.startswith("api.github.com:443 with TLS by its name CONNECTED TLSv1") for line in lines)
    assert any(line.startswith("gist-cotenant.evil.test on the same address BLOCKED") for line in lines)
    assert any(line.startswith("example.org looked up BLOCKED") for line in lines)
    reasons = [line for line in lines if re.match(r"\[[a-z_]+\] .*", line)]
    assert len(reasons) >= 3, output
    assert re.search(r"create [\d.]+ ms, first command [\d.]+ ms, kill [\d.]+ ms", output)
