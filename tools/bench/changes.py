"""Putting another policy in force while a sandbox runs: until the request is answered, and until what it denies is dead."""
import json
import threading
import time
from typing import Any, Dict, List

from lab.addresses import A1, ECHO

from .attach import entries
from .life import create
from .numbers import BACK_TO_BACK, Plan, Row, say

SIZES = (1, 10_000)
TARGET_ANSWER_MS, TARGET_DEAD_MS = 10.0, 100.0
# Runs inside: one TCP connection and one UDP flow to the echo server, until both are dead. Prints when, on the machine's one monotonic clock.
FLOWS = """
import json, socket, sys, threading, time
peer = (sys.argv[1], int(sys.argv[2]))
t = socket.create_connection(peer, 5)
t.sendall(b"x")
assert t.recv(1) == b"x"
t.settimeout(20)
died = {}
def tcp():
    try:
        data = t.recv(1)
    except OSError:
        data = b""
    died["tcp"] = None if data else time.monotonic()
thread = threading.Thread(target=tcp)
thread.start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect(peer)
u.settimeout(0.02)
last, begun = 0.0, time.monotonic()
while time.monotonic() < (last or begun) + 0.2 and time.monotonic() < begun + 20:
    try:
        u.send(b"y")
        u.recv(10)
        if not last:
            open("/tmp/ready", "w").close()
        last = time.monotonic()
    except OSError:
        time.sleep(0.001)
thread.join()
died["udp"] = last
print(json.dumps(died))
"""


def once(sbx: Any, allow_out: List[str]) -> Dict[str, float]:
    """Milliseconds from the request until it is answered, and until the flows are dead."""
    sbx.set_network({"allow_out": [A1]})
    sbx.commands.run("rm -f /tmp/ready")
    out: List[Any] = []
    thread = threading.Thread(target=lambda: out.append(sbx.commands.run(f"python3 /tmp/flows.py {A1} {ECHO}", timeout=60)))
    thread.start()
    until = time.monotonic() + 20
    while sbx.commands.run("test -e /tmp/ready").exit_code != 0:
        if time.monotonic() > until or not thread.is_alive():
            raise RuntimeError("the flows were not open in time")
        time.sleep(0.05)
    begun = time.monotonic()
    sbx.set_network({"allow_out": allow_out})
    answered = time.monotonic()
    thread.join()
    if not out or out[0].exit_code != 0:
        raise RuntimeError(out[0].stderr if out else "the flows did not end")
    died = json.loads(out[0].stdout)
    return {"answer": 1e3 * (answered - begun), "tcp": 1e3 * (died["tcp"] - begun), "udp": max(0.0, 1e3 * (died["udp"] - begun))}


def run(server: Any, plan: Plan) -> List[Row]:
    sbx = create(server, network={"allow_out": [A1]})
    sbx.files.write("/tmp/flows.py", FLOWS)
    rows: List[Row] = []
    for size in SIZES:
        say(f"changes of a policy to one of {size:,}, {plan.changes} times")
        took = [once(sbx, entries(size)) for _ in range(plan.changes)]
        kind = f"{size:,} entr{'y' if size == 1 else 'ies'}"
        rows += [Row(f"change to {kind}, until answered", BACK_TO_BACK, [t["answer"] for t in took], target=TARGET_ANSWER_MS),
                 Row("  until an open TCP flow is dead inside", BACK_TO_BACK, [t["tcp"] for t in took], target=TARGET_DEAD_MS),
                 Row("  until the last datagram of a UDP flow", BACK_TO_BACK, [t["udp"] for t in took], target=TARGET_DEAD_MS)]
    sbx.kill(wait=True)
    return rows
