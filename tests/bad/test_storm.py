# SPDX-License-Identifier: Apache-2.0
"""
Malformed everything from inside, live, through the whole server: nothing leaks, nothing ends, a neighbour does not notice,
and afterwards everything is given back.

STORM_SECONDS and STORM_SEED (a number, or "random") make it longer and other; see `make fuzz-live`.
"""
import collections
import json
import os
import random
import re
import subprocess
import time

from ground import Api
from kit import BUILD, Box, Far
from lab.addresses import (A1, A1_6, A2, A2_6, GITHUB, METADATA, METADATA_6, PRIVATE, PRIVATE_6, PYPI, PYPI_6, RESOLVER,
                           SILENT, UPLINK4, UPLINK6)
from traces import child
from weather import SLOW, Neighbour, cpu, fds, until

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = float(os.environ.get("STORM_SECONDS", "20"))
LONG = SECONDS > 60
RATE = 1500
NAMES = ["one.allowed.test", "api.github.com", "a.wild.test"]
POLICY = {"allow_out": [A1, A1_6, "one.allowed.test", "api.github.com", "*.wild.test"]}
ALLOWED_QUERY = re.compile(r"(one\.allowed\.test|api\.github\.com|two\.allowed\.test|([^.]+\.)+wild\.test)\.?\Z", re.I)
# The gate keeps so many pipes for the next flows (src/gate/relay.c), and libunbound a few sockets.
SPARE_PIPES, SPARE_SOCKETS = 128, 40


def seed() -> int:
    text = os.environ.get("STORM_SEED", "1")
    return random.SystemRandom().getrandbits(32) if text == "random" else int(text)


def addresses_of(box):
    """The link's own addresses, as the sandbox's namespace has them."""
    out = json.loads(subprocess.run(["nsenter", f"--net=/proc/{box.pid()}/ns/net", "ip", "-j", "addr", "show", "eth0"],
                                    capture_output=True, text=True, check=True, timeout=20).stdout)
    found = {a["family"]: a["local"] for a in out[0]["addr_info"] if a["scope"] == "global"}
    return [found["inet"], found["inet6"]]


def rage(box, number, build):
    corpus = os.path.join(HERE, "..", "fuzz", "wire", "corpus")
    what = {"seed": number, "seconds": SECONDS, "rate": RATE, "corpus": os.path.abspath(corpus), "addrs": addresses_of(box),
            "seal": str(build / "tests" / "gate" / "quic-seal"), "names": NAMES, "good": [A1, A1_6, GITHUB],
            "bad": [A2, A2_6, METADATA, METADATA_6, PRIVATE, PRIVATE_6, PYPI, PYPI_6, SILENT, UPLINK4, UPLINK6, RESOLVER,
                    "127.0.0.1", "::1", "224.0.0.251", "ff02::1", "255.255.255.255", "100.112.1.0"]}
    return subprocess.Popen(["nsenter", f"--net=/proc/{box.pid()}/ns/net", "/usr/bin/python3",
                             os.path.join(HERE, "storm.py"), json.dumps(what)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def first_hello(data):
    """The first handshake message of a stream, as far as it is there; what follows is the two ends' own business."""
    body = b""
    while len(data) >= 5 and data[0] == 0x16:
        n = int.from_bytes(data[3:5], "big")
        body, data = body + data[5:5 + n], data[5 + n:]
        whole = 4 + int.from_bytes(body[1:4], "big")
        if len(body) >= whole:
            return body[:whole]
    return body


def leaks(far, seen):
    """What went out to where no rule leads, or asked for what no rule names. Counts in seen what went out at all."""
    targets = {A1, A1_6, GITHUB, RESOLVER}
    out = [p for p in far.packets() if p.dst not in targets or (p.dst == RESOLVER and p.dport != 53)]
    queries, requests, connections = far.queries(), far.requests(), far.connections()
    seen.update(p.proto for p in far.packets())
    seen.update(queries=len(queries), requests=len(requests), tls=sum(c["tls"] for c in connections))
    asked = [q for q in queries if not q.qname or not ALLOWED_QUERY.match(q.qname) or q.qtype not in ("A", "AAAA", "HTTPS")]
    # GITHUB is open by name alone: on these ports every connection has to say it.
    hosts = [r for r in requests if r["local"] == GITHUB and r["port"] == 80 and r["host"]
             and not re.match(r"api\.github\.com\.?(:80)?\Z", r["host"], re.I)]
    hellos = [c for c in connections if c["local"] == GITHUB and c["port"] == 443
              and any(name in first_hello(c["first"]).lower() for name in (b"evil", b"allowed.test", b"wild.test"))]
    return [str(x)[:300] for x in (*out[:5], *asked[:5], *hosts[:5], *hellos[:5])]


def enforced(daemon, box):
    return Api(daemon).call("GET", f"/sandboxes/{box.sbx.sandbox_id}/network").json["enforced"]


def test_storm(lab, daemon):
    number = seed()
    print(f"\nseed {number}, {SECONDS:.0f} s")
    gate = child(daemon.pid, "declaw-gate")
    lab.dns.set("two.allowed.test", "A", A1, ttl=1)
    victim, other = Box(daemon, POLICY), Box(daemon, {"allow_out": [A1, "two.allowed.test"]})
    for box in (victim, other):
        box.sbx.set_timeout(int(SECONDS) + 600)
    Neighbour(other, "two.allowed.test", A1, 0.5).join()  # what comes up with the first packets is there
    before, burnt, far = fds(gate), cpu(gate), Far(lab)
    neighbour = Neighbour(other, "two.allowed.test", A1, SECONDS + 60)
    storm = rage(victim, number, BUILD)
    found, seen = [], collections.Counter()
    try:
        end = time.monotonic() + SECONDS + 60
        while storm.poll() is None and time.monotonic() < end:
            # In pieces, so that ten minutes of packets need no memory for all of them.
            try:
                storm.wait(20)
            except subprocess.TimeoutExpired:
                found += leaks(far, seen)
                lab.capture.clear()
                lab.dns.clear()
                lab.web.clear()
                far = Far(lab)
    finally:
        storm.kill()
    out, errors = storm.communicate()
    assert storm.returncode == 0, errors
    counts = json.loads(out)
    time.sleep(0.2)
    found += leaks(far, seen)
    print(f"{sum(counts.values())} actions {counts}; the gate took {cpu(gate) - burnt:.1f} s")
    print(f"seen on the far side: {dict(seen)}")
    assert found == [], found
    # The storm was strong enough to get through where it may: otherwise nothing was shown.
    assert min(seen[what] for what in ("tcp", "udp", "queries", "requests", "tls")) > 10
    assert sum(counts.values()) > 100 * SECONDS and min(counts.values()) > 0
    assert child(daemon.pid, "declaw-gate") == gate and os.path.exists(f"/proc/{daemon.pid}")
    neighbour.stop()
    print(neighbour.check(20, 0.2, 4))

    # Nothing of it stays: TCP and queries by themselves, UDP when it has been idle, all of it with the policy.
    state = until(lambda: enforced(daemon, victim), 30 / SLOW + 130 * LONG,
                  lambda s: s["queries"] == 0 and s["flows"] == (0 if LONG else s["udp_flows"]))
    print(state)
    rows = victim.sbx.network_log(limit=1000)
    assert {"deny", "allow"} <= {r["verdict"] for r in rows}
    victim.sbx.set_network({"allow_out": []})
    until(lambda: enforced(daemon, victim), 2, lambda s: s["flows"] == 0 and s["udp_flows"] == 0 and s["half_open"] == 0)
    victim.kill()
    after = until(lambda: fds(gate), 20, lambda a: a.get("pipe", 0) <= before.get("pipe", 0) + SPARE_PIPES
                  and a.get("socket", 0) <= before.get("socket", 0) + SPARE_SOCKETS)
    print(f"descriptors {before} -> {after}")
    other.kill()
    assert child(daemon.pid, "declaw-gate") == gate
