# SPDX-License-Identifier: Apache-2.0
"""The whole server: its resolver is not there, the daemon stands still. Sandboxes that need neither do not notice."""
import os
import re
import signal
import subprocess
import time

import pytest
from ground import Api
from kit import Box, Far
from lab.addresses import A1, A1_6, A2, RESOLVER
from traces import child
from weather import SLOW, Neighbour, until


def tool(*argv, text=""):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def lab_filter(lab, verdict):
    """What becomes of queries at the resolver's machine."""
    rule = f"ip daddr {RESOLVER} meta l4proto {{ tcp, udp }} th dport 53 {verdict}"
    tool("ip", "netns", "exec", lab.internet, "nft", "-f", "-",
         text=f"table inet bad {{ chain in {{ type filter hook input priority -10; {rule}; }}; }}\n")
    return lambda: tool("ip", "netns", "exec", lab.internet, "nft", "delete table inet bad")


def lab_route(lab, kind):
    tool("ip", "-n", lab.uplink, "route", "add", kind, f"{RESOLVER}/32")
    return lambda: tool("ip", "-n", lab.uplink, "route", "del", kind, f"{RESOLVER}/32")


WAYS = {
    "black_hole": lambda lab: lab_filter(lab, "drop"),
    "port_unreachable": lambda lab: lab_filter(lab, "reject with icmpx port-unreachable"),
    "no_route": lambda lab: lab_route(lab, "unreachable"),
    "silent_route": lambda lab: lab_route(lab, "blackhole"),
}


@pytest.mark.parametrize("way", WAYS)
def test_resolver_gone(lab, daemon, way):
    """Cached names go on, new ones fail within their time, and are there as soon as the resolver is."""
    known = f"{way.replace('_', '')}.allowed.test"
    lab.dns.set(known, "A", A1, ttl=60)
    cached, asks = Box(daemon, {"allow_out": [A1, known]}), Box(daemon, {"allow_out": [A1, "*.wild.test"]})
    far = Far(lab)
    undo = None
    try:
        assert cached.run("lookup", name=known, family=2)["ok"]
        undo = WAYS[way](lab)
        neighbour = Neighbour(cached, known, A1, 60)
        started = time.monotonic()
        name = f"{way.replace('_', '-')}.wild.test"
        lost = asks.run("lookup", name=name, family=2)
        print(f"{way}: {lost}")
        assert not lost["ok"] and lost["seconds"] < 12 * SLOW
        # A client may give up sooner than the gate; the record comes with the gate's word.
        until(lambda: asks.refusals(reason="resolver_failed", name=name), 10)
        assert time.monotonic() - started < 12 * SLOW
        time.sleep(1)
        undo()
        undo = None
        again = asks.run("lookup", name="again-" + name, family=2)
        assert again["ok"] and again["seconds"] < 3 * SLOW, again
        neighbour.stop()
        print(neighbour.check(20, 0.2, 2))
    finally:
        if undo:
            undo()
        cached.kill()
        asks.kill()
    # The other resolvers of the world were not tried instead.
    assert {p.dst for p in far.packets(port=53)} <= {RESOLVER}


FLOOD = """
import socket, sys, time
end, n = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    for port in range(1000, 1200):
        with socket.socket() as s:
            s.setblocking(False)
            s.connect_ex((sys.argv[2], port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((sys.argv[2], port))
            s.send(b"x")
        n += 2
    time.sleep(0.05)
print(n)
"""
ECHO = """
import socket, sys, time
end, times = time.monotonic() + float(sys.argv[1]), []
while time.monotonic() < end:
    start = time.monotonic()
    with socket.create_connection((sys.argv[2], 7), 3) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    times.append(time.monotonic() - start)
    time.sleep(0.02)
print(len(times), max(times))
"""


def in_network(box, script, *words):
    return subprocess.Popen(["nsenter", f"--net=/proc/{box.pid()}/ns/net", "/usr/bin/python3", "-c", script, *map(str, words)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_daemon_stands_still(lab, daemon):
    """Three seconds, while decisions flood: the gate decides on, and the log says afterwards what happened."""
    gate = child(daemon.pid, "declaw-gate")
    loud, quiet = Box(daemon, {"allow_out": [A1]}), Box(daemon, {"allow_out": [A1, A1_6]})
    far = Far(lab)
    runs = [in_network(loud, FLOOD, 4, A2), in_network(quiet, ECHO, 4, A1)]
    time.sleep(0.5)
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        time.sleep(3)
        assert far.packets(dst=A1, port=7), "the gate stands still too"
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    said = []
    for run in runs:
        out, errors = run.communicate(timeout=30)
        assert run.returncode == 0, errors
        said.append(out.split())
    print(f"{said[0][0]} refusals, {said[1][0]} connections, the longest took {float(said[1][1]):.3f} s")
    assert int(said[1][0]) > 50 and float(said[1][1]) < 1 * SLOW
    api = Api(daemon)
    assert api.call("GET", "/health").json == {**api.call("GET", "/health").json, "status": "ok", "gate": "up"}
    assert child(daemon.pid, "declaw-gate") == gate
    far.silent(A2)

    def counted():
        rows = loud.sbx.network_log(limit=1000, verdict="deny")
        return sum(r["count"] for r in rows)

    # Repeats are merged, and what did not fit is counted in the daemon's log; nothing is silently gone.
    lost = sum(int(n) for n in re.findall(r'dropped.*?"?count"?[=:] ?(\d+)', daemon.log()))
    total = until(counted, 5, lambda n: n > 0)
    print(f"{total} counted in the newest rows, {lost} dropped")
    until(lambda: quiet.sbx.network_log(limit=1000, verdict="allow"), 3)
    loud.kill()
    quiet.kill()
