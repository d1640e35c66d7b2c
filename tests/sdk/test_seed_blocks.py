# SPDX-License-Identifier: Apache-2.0
"""The walk-through this project began from: its code blocks, pasted into one file, run as they are; and our example
prints its expected output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sdk_stub import REPO, Answer, Request, Stub, reply

SEED_BLOCKS = '''\
from declaw import Sandbox
sbx = Sandbox.create(
    template="python",
    timeout=300,
    network={"allow_out": ["api.github.com"]},
)
print(f"Sandbox created: {sbx.sandbox_id}")
NET_TEST_SCRIPT = """
import socket
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(5)
    s.connect(("{host}", {port}))
    s.close()
    print("CONNECTED")
except Exception as e:
    print(f"BLOCKED: {{e}}")
"""
script = NET_TEST_SCRIPT.format(host="1.1.1.1", port=80)
sbx.files.write("/tmp/net_test.py", script)
result = sbx.commands.run("python3 /tmp/net_test.py", timeout=15)
print(f" Output: {result.stdout.strip()}")
if "BLOCKED" in result.stdout:
    print(" [PASS] Non-allowlisted destination was blocked.")
else:
    print(" [INFO] Connection was not blocked — domain allowlisting")
    print(" requires firewall-level DNS resolution.")
info = sbx.get_info()
print(f" Sandbox ID: {info.sandbox_id}")
print(f" State: {info.state}")
print(" Network policy: allow_out=['api.github.com']")
print(" [PASS] Sandbox created with domain allowlist policy.")
'''

# As the seed gives it, leading white space gone.
EXPECTED = """\
============================================================
Network Domain Allowlist Example
============================================================
--- Creating sandbox with allow_out=[api.github.com] ---
Sandbox created: sbx_abc123
--- Test 1: Connect to non-allowlisted IP (1.1.1.1:80) ---
Output: BLOCKED: timed out
[PASS] Non-allowlisted destination was blocked.
--- Test 2: Verify policy via sandbox info ---
Sandbox ID: sbx_abc123
State: running
Network policy: allow_out=['api.github.com']
[PASS] Sandbox created with domain allowlist policy.
--- How Domain Allowlisting Works ---
When fully enforced, only traffic to api.github.com is allowed.
All other outbound connections (HTTP, HTTPS, raw TCP) are blocked.
DNS queries for the allowlisted domain are automatically permitted.
--- Cleaning Up ---
Sandbox sbx_abc123 killed.
============================================================
Done!
============================================================
"""


@pytest.fixture
def server(stub: Stub) -> Stub:
    created = {"sandbox_id": "sbx_abc123", "template_id": "python", "state": "running"}

    def handle(request: Request) -> Answer:
        last = request.target.split("?")[0].rpartition("/")[2]
        if request.method == "DELETE":
            return reply(202, {"queued": True})
        if last == "files":
            compile(request.json["data"], "net_test.py", "exec")
            return reply(200, {"path": request.json["path"], "size": 1})
        if last == "commands":
            return reply(200, {"stdout": "BLOCKED: timed out\n", "stderr": "", "exit_code": 0})
        return reply(201 if request.method == "POST" else 200, created)

    stub.handler = handle
    return stub


def run_script(path: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(REPO / "sdk" / "python"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, str(path)], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_seed_blocks(server: Stub, tmp_path: Path) -> None:
    script = tmp_path / "seed.py"
    script.write_text(SEED_BLOCKS, encoding="utf-8")
    assert run_script(script) == (
        "Sandbox created: sbx_abc123\n"
        " Output: BLOCKED: timed out\n"
        " [PASS] Non-allowlisted destination was blocked.\n"
        " Sandbox ID: sbx_abc123\n"
        " State: running\n"
        " Network policy: allow_out=['api.github.com']\n"
        " [PASS] Sandbox created with domain allowlist policy.\n"
    )
    create = server.requests[0]
    assert create.json["template"] == "python" and create.json["network"] == {"allow_out": ["api.github.com"]}


def test_example(server: Stub) -> None:
    output = run_script(REPO / "examples" / "network_domain_allowlist.py")
    assert [line.strip() for line in output.splitlines()] == EXPECTED.splitlines()
    assert server.requests[-1].method == "DELETE"


def test_example_kills_on_failure(server: Stub) -> None:
    good = server.handler
    server.handler = lambda r: reply(400, {"message": "no"}) if r.target.endswith("/commands") else good(r)
    with pytest.raises(AssertionError, match="HTTP 400: no"):
        run_script(REPO / "examples" / "network_domain_allowlist.py")
    assert server.requests[-1].method == "DELETE"
