"""Connecting to an allowed name's address through the gate, beside the same loop in the uplink's own namespace."""
import json
import statistics
import subprocess
from typing import Any, List

from lab.addresses import A1

from .life import create
from .numbers import GAP_SECONDS, Plan, Row, modes, say

TARGET_EXTRA_MS = 0.3
NAME, PORT, BLOCKS = "one.allowed.test", 8080, 6
PYTHON = "/usr/bin/python3"
# One and the same program on both sides. Prints milliseconds of each connect and close.
LOOP = """
import json, socket, sys, time
address, port, n, gap = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
took = []
for i in range(n + 3):
    time.sleep(gap)
    begun = time.perf_counter()
    s = socket.socket()
    s.connect((address, port))
    s.close()
    took.append(1e3 * (time.perf_counter() - begun))
print(json.dumps(took[3:]))
"""
RESOLVE = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 0, socket.AF_INET)[0][4][0])"


def run(lab: Any, server: Any, plan: Plan) -> List[Row]:
    lab.dns.set(NAME, "A", A1, ttl=3600)  # the pin outlives the measurement
    sbx = create(server, network={"allow_out": [NAME]})
    sbx.files.write("/tmp/loop.py", LOOP)
    sbx.files.write("/tmp/resolve.py", RESOLVE)
    address = sbx.commands.run(f"python3 /tmp/resolve.py {NAME}", timeout=20).stdout.strip()
    if address != A1:
        raise RuntimeError(f"{NAME} is {address!r}")

    def inside(n: int, gap: float) -> List[float]:
        done = sbx.commands.run(f"python3 /tmp/loop.py {address} {PORT} {n} {gap}", timeout=120)
        if done.exit_code != 0:
            raise RuntimeError(done.stderr)
        return list(json.loads(done.stdout))

    def direct(n: int, gap: float) -> List[float]:
        argv = ["ip", "netns", "exec", lab.uplink, PYTHON, "-c", LOOP, address, str(PORT), str(n), str(gap)]
        return list(json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=120).stdout))

    rows: List[Row] = []
    for mode, gap, n in modes(plan.connects, plan.connects_gapped):
        say(f"connects through the gate and past it, {mode}, {n} times each")
        through: List[float] = []
        past: List[float] = []
        blocks = BLOCKS if not gap else 2
        for _ in range(blocks):
            through += inside(n // blocks, GAP_SECONDS if gap else 0)
            past += direct(n // blocks, GAP_SECONDS if gap else 0)
        extra = statistics.median(through) - statistics.median(past)
        rows += [
            Row("connect through the gate", mode, through),
            Row("connect directly", mode, past),
            Row("  difference of the medians", mode, value=extra, target=TARGET_EXTRA_MS),
        ]
    sbx.kill(wait=True)
    return rows
