# SPDX-License-Identifier: Apache-2.0
"""The gate is killed while sandboxes talk: silence, then a new one with the same policies; never an open door."""
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any, Callable, List

from ground import SLOW, until
from lab.addresses import A1, A2, A2_6, GITHUB
from traces import processes

KNOCKER = (Path(__file__).parent / "knocker.py").read_text()
POLICY = {"allow_out": ["one.allowed.test", f"{A1}/32:8080", f"{GITHUB}/32:7"]}
ROUNDS = 5
# From the SIGKILL to an allowed connection, without the pause that a gate that keeps dying is given.
BACK_SECONDS = 1.0
LIE = """
import socket, sys
def get(host):
    s = socket.create_connection((sys.argv[1], 80), 3)
    s.settimeout(2)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + host.encode() + b"\\r\\n\\r\\n")
    try:
        return s.recv(100)[:12].decode()
    except OSError as e:
        return type(e).__name__
socket.getaddrinfo("one.allowed.test", 80)
print(get("one.allowed.test"), get("co.evil.test"))
"""


def pauses(log: str) -> List[int]:
    return [int(ms) for ms in re.findall(r'"gate ended, starting it again" pause_ms=(\d+)', log)]


def first(events: List[list], since: float, outcome: str) -> float:
    """When the first event that was begun after `since` and ended like this had ended; infinity for none."""
    return min((end for begun, end, what in events if begun > since and what == outcome), default=float("inf"))


def test_gate_death(watched: Callable[..., Any], lab: Any) -> None:
    server, traces, api = watched()
    lab.dns.reset()
    mark, queries = lab.capture.mark(), len(lab.dns.queries())
    boxes = [api.sandbox(template="python", network=POLICY, timeout=300) for _ in range(3)]
    for sbx in boxes:
        sbx.files.write("/tmp/knocker.py", KNOCKER)
        sbx.files.write("/tmp/lie.py", LIE)
    results: List[Any] = []
    command = f"python3 /tmp/knocker.py 60 one.allowed.test {A1} {A2} {GITHUB}"
    clients = [threading.Thread(target=lambda s=s: results.append(s.commands.run(command, timeout=120))) for s in boxes]
    for t in clients:
        t.start()
    kills, old_gates = [], []
    for _ in range(ROUNDS):
        # Traffic of each runs before the kill, so that there is something to be cut.
        until(lambda: held(lab), 20, lambda n: n == len(boxes))
        gate = traces.gate()
        old_gates.append(gate)
        kills.append(time.monotonic())
        os.kill(gate, signal.SIGKILL)
        until(lambda: held(lab), 5, lambda n: n == 0)
    until(lambda: held(lab), 20, lambda n: n == len(boxes))
    for sbx in boxes:
        sbx.files.write("/tmp/stop", "")
    for t in clients:
        t.join()
    check_clients(results, kills, pauses(server.log()))
    # The decisions of the far side: not one packet to who is denied, not one question about its names.
    assert lab.capture.packets(dst=[A2, A2_6], since=mark, outgoing=True) == []
    assert [q for q in lab.dns.queries()[queries:] if (q.qname or "").endswith("evil.test")] == []
    assert not set(old_gates) & set(processes()), "a gate that was killed is still there"
    # Exactly the same policy: the name is allowed, its neighbour on the same address is not.
    for sbx in boxes:
        done = sbx.commands.run(f"python3 /tmp/lie.py {A1}", timeout=20)
        assert done.stdout.startswith("HTTP/1.1 200 "), done
        assert "200" not in done.stdout[13:], done
        sbx.kill()


def held(lab: Any) -> int:
    """Flows to the echo server that the far side has open, and that carry something."""
    return len([c for c in lab.web.connections() if c["port"] == 7 and not c["closed"] and c["bytes_in"] > 10])


def check_clients(results: List[Any], kills: List[float], waits: List[int]) -> None:
    assert len(waits) == ROUNDS, waits
    for number, result in enumerate(results):
        assert result.exit_code == 0, result.stderr
        events = json.loads(result.stdout)
        assert len(events["denied"]) > ROUNDS
        assert {what for _, _, what in events["denied"]} <= {"timeout", "TimeoutError"}, set(w for *_, w in events["denied"])
        for kill, wait_ms in zip(kills, waits):
            connect = first(events["allowed"], kill, "connected") - kill
            names = first(events["dns"], kill, "answered") - kill
            dead = [t for t, _, what in events["old"] if t > kill and what.startswith("dead")]
            print(f"sandbox {number}: connect after {1e3 * connect:.0f} ms, name after {1e3 * names:.0f} ms "
                  f"(of it a pause of {wait_ms} ms)")
            bound = BACK_SECONDS * SLOW + wait_ms / 1000
            assert connect < bound and names < bound
            assert dead, "the old flow lived on"
        assert sum(what == "up" for *_, what in events["old"]) == ROUNDS + 1


def test_a_gate_that_hangs_is_replaced(watched: Callable[..., Any], lab: Any) -> None:
    server, traces, api = watched()
    lab.dns.reset()
    old = api.sandbox(template="python", network=POLICY, timeout=300)
    old.files.write("/tmp/lie.py", LIE)
    gate = traces.gate()
    os.kill(gate, signal.SIGSTOP)
    # The first request to need the gate finds out; the SDK asks again, and the next life serves it.
    sbx = api.sandbox(template="python", network=POLICY, timeout=300)
    sbx.files.write("/tmp/lie.py", LIE)
    assert traces.gate() != gate and gate not in processes()
    for one in (old, sbx):
        done = until(lambda: one.commands.run(f"python3 /tmp/lie.py {A1}", timeout=20), 5,
                     lambda done: done.stdout.startswith("HTTP/1.1 200 "))
        assert done.stdout.startswith("HTTP/1.1 200 ") and "200" not in done.stdout[13:], done
