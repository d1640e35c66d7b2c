# SPDX-License-Identifier: Apache-2.0
"""What the network routes say of real traffic, in the lab's internet."""

import json
import socket
import sys
import threading
import time

import pytest
from conftest import REPOSITORY, Daemon, eventually
from test_network import Follower, log, network

sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "sdk/python")]

from declaw import ConflictException, Sandbox, SandboxNetworkOpts  # noqa: E402
from lab import Lab  # noqa: E402
from lab.addresses import A1, A2, A2_6, GITHUB, METADATA, PRIVATE, RESOLVER  # noqa: E402

PROBE = r"""
import json, socket, ssl, sys, time

def connect(host, port, family=0):
    last = None
    for f, kind, proto, _, where in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
        s = socket.socket(f, kind, proto)
        s.settimeout(1.5)
        try:
            s.connect(where)
            return s
        except OSError as e:
            last = e
            s.close()
    raise last

def tls(host, port, sni=True):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    s = context.wrap_socket(connect(host, port), server_hostname=host if sni is True else sni or None)
    s.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
    return s.recv(12).startswith(b"HTTP/1.1 200")

def http(host, port):
    s = connect(host, port)
    s.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
    return s.recv(12).startswith(b"HTTP/1.1 200")

def echo(host, port):
    s = connect(host, port)
    s.sendall(b"hello")
    return s.recv(5) == b"hello"

def banner(host, port):
    return connect(host, port).recv(4) in (b"SSH-", b"220 ")

def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1.5)
    s.sendto(b"hello", (host, port))
    return s.recv(5) == b"hello"

def lookup(host):
    return bool(socket.getaddrinfo(host, 443, 0, socket.SOCK_STREAM))

def resolve(host):
    began = time.monotonic()
    found = sorted({x[4][0] for x in socket.getaddrinfo(host, 443, 0, socket.SOCK_STREAM)})
    return [found, time.monotonic() - began]

for name, *arguments in json.loads(sys.argv[1]):
    try:
        print(json.dumps(globals()[name](*arguments)))
    except (OSError, ValueError) as e:
        print(json.dumps(f"{type(e).__name__}: {e}"))
"""


@pytest.fixture(scope="module")
def lab():
    with Lab() as up:
        yield up


@pytest.fixture(scope="module")
def daemon(lab):
    d = Daemon("--uplink-netns", lab.uplink, "--resolver", RESOLVER)
    yield d
    print(d.log())
    assert d.stop() == 0


class Box:
    def __init__(self, daemon, policy):
        self.daemon = daemon
        self.id = daemon.create(template="python", network=policy)["sandbox_id"]
        assert daemon.request("POST", f"/sandboxes/{self.id}/files", {"path": "/tmp/probe.py", "data": PROBE}).status == 200

    def probe(self, *steps):
        done = self.daemon.run(self.id, f"python3 /tmp/probe.py '{json.dumps(steps)}'", timeout=60)
        assert done["exit_code"] == 0, done["stderr"]
        return [json.loads(line) for line in done["stdout"].splitlines()]

    def log(self, query=""):
        return log(self.daemon, self.id, query).json["decisions"]

    def suggest(self):
        return self.daemon.request("GET", f"/sandboxes/{self.id}/network/suggest").json

    def put(self, policy):
        answer = network(self.daemon, self.id, "PUT", policy)
        assert answer.status == 200, answer.body


@pytest.fixture
def box(daemon):
    made = []

    def make(server=daemon, **policy):
        made.append(Box(server, policy))
        return made[-1]

    yield make
    for one in made:
        one.daemon.request("DELETE", f"/sandboxes/{one.id}")


def test_a_flow_is_one_row_and_two_events(box, daemon):
    one = box(allow_out=["one.allowed.test:443"])
    f = Follower(daemon, one.id)
    assert one.probe(["tls", "one.allowed.test", 443]) == [True]
    row = eventually(lambda: next((r for r in one.log("?proto=tcp") if r["closed"]), None))
    assert row and len(one.log("?proto=tcp&verdict=allow")) == 1
    assert row["name"] == "one.allowed.test" and row["bytes_out"] > 100 and row["bytes_in"] > 100 and row["ended"] >= row["time"]
    assert eventually(lambda: [e for e, i, d in f.events if d.get("flow") == row["flow"]] == ["decision", "end"]), f.events
    decision, end = [d for _, _, d in f.events if d.get("flow") == row["flow"]]
    assert not decision["closed"] and "ended" not in decision and end == row
    assert [r["id"] for r in one.log("?name=*.allowed.test&port=443")] == [row["id"]]
    f.close()
    counters = network(daemon, one.id).json["enforced"]
    assert counters["bytes_out"] >= row["bytes_out"] and counters["bytes_in"] >= row["bytes_in"] and counters["flows"] == 0


def test_a_patch_is_in_force_when_it_returns(box, daemon):
    one = box(allow_out=[])
    assert one.probe(["http", A1, 80])[0] is not True
    network(daemon, one.id, "PATCH", {"add": {"allow_out": [A1]}})
    assert one.probe(["http", A1, 80]) == [True]
    network(daemon, one.id, "PATCH", {"remove": {"allow_out": [A1]}})
    assert one.probe(["http", A1, 80])[0] is not True


def test_rejected_is_told_at_once(box):
    one = box(allow_out=[], blocked="reject")
    began = time.monotonic()
    assert "refused" in one.probe(["http", A1, 80])[0].lower() and time.monotonic() - began < 1.4


TRAFFIC = [
    ["tls", "one.allowed.test", 443], ["http", "two.allowed.test", 80], ["http", "two.allowed.test", 8080], ["banner", "evil.test", 22], ["lookup", "example.org"],
    ["echo", GITHUB, 7], ["udp", GITHUB, 7], ["tls", GITHUB, 8443, "unasked.test"],
]


def test_what_an_observing_sandbox_did_becomes_its_policy(box, daemon):
    one = box(allow_out=["a.test"], mode="observe")
    assert one.probe(*TRAFFIC) == [True] * len(TRAFFIC)
    refused = [METADATA, PRIVATE]
    assert True not in one.probe(*(["http", a, 80] for a in refused)), "these stay closed"
    got = one.suggest()
    names = [e for e in got["network"]["allow_out"] if not e[0].isdigit()]
    assert names == ["evil.test:22", "example.org:443", "one.allowed.test:443", "two.allowed.test:80", "two.allowed.test:8080"], got
    assert got["network"]["allow_out"][len(names):] == [f"{GITHUB}:7", f"{GITHUB}:8443"]
    assert {r["addr"]: r["reason"] for r in got["not_coverable"] if r["protocol"] == "tcp"} == {METADATA: "floor_metadata", PRIVATE: "private_address"}
    assert got["overflow"] == 0
    assert [e["entry"] for e in got["entries"]] == got["network"]["allow_out"]
    echo = next(e for e in got["entries"] if e["entry"] == f"{GITHUB}:7")
    assert echo["protocols"] == ["tcp", "udp"] and echo["count"] == 2 and echo["first"] <= echo["last"]
    assert all(r["reason"] == "observed" and r["verdict"] == "allow" for r in one.log("?would=true"))

    enforcing = box(**got["network"])
    assert enforcing.probe(*TRAFFIC) == [True] * len(TRAFFIC)
    for entry in got["network"]["allow_out"]:
        less = box(allow_out=[e for e in got["network"]["allow_out"] if e != entry])
        results = less.probe(*TRAFFIC)
        assert results != [True] * len(TRAFFIC), f"{entry} was not needed"
    one.put({**got["network"], "mode": "enforce"})
    assert one.probe(["http", "three.allowed.test", 80], ["echo", A1, 7])[0] is not True
    assert one.suggest()["network"] == got["network"], "what is enforced adds nothing"


def test_a_flow_that_shows_no_name_needs_its_address(box):
    one = box(allow_out=["a.test"], mode="observe")
    silent = ["tls", "one.allowed.test", 443, False]
    assert one.probe(silent) == [True]
    got = one.suggest()
    assert got["network"]["allow_out"] == ["one.allowed.test:443", f"{A1}:443"], got
    assert "sni_missing" in got["entries"][1]["why"]
    assert box(**got["network"]).probe(silent) == [True]
    for entry in got["network"]["allow_out"]:
        assert box(allow_out=[entry]).probe(silent) != [True], "each is needed: one to find the address, one to pass"


def test_entries_that_were_used_are_part_of_the_suggestion(box):
    one = box(allow_out=["*.allowed.test", A2], mode="observe")
    assert one.probe(["tls", "one.allowed.test", 443], ["echo", A2, 7], ["lookup", "two.allowed.test"]) == [True] * 3
    assert one.suggest()["network"]["allow_out"] == ["one.allowed.test:443", "two.allowed.test:443", f"{A2}:7"]


@pytest.fixture(scope="module")
def four(lab):
    d = Daemon("--uplink-netns", lab.uplink, "--resolver", RESOLVER, "--no-ipv6")
    yield d
    print(d.log())
    assert d.stop() == 0


def test_without_ipv6(box, four, lab):
    one = box(four, allow_out=["*"])
    found, seconds = one.probe(["resolve", "one.allowed.test"])[0]
    assert found == [A1] and seconds < 1, "no address of IPv6, and no wait for one"
    assert [q.qtype for q in lab.dns.queries("one.allowed.test") if q.qtype == 28] == [], "nobody is asked for one"
    assert one.probe(["tls", "one.allowed.test", 443], ["lookup", "one.allowed.test"]) == [True, True]
    assert one.probe(["connect", A2_6, 80])[0] is not True
    inside = four.run(one.id, "cat /proc/net/if_inet6 /proc/net/ipv6_route 2>/dev/null | grep -v ' lo$'; cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    assert inside["stdout"].split() == ["1"], inside
    assert network(four, one.id).json["enforced"]["flows"] >= 0


def test_with_ipv6_it_is_there(box):
    """The control of the test above."""
    one = box(allow_out=["*"])
    assert len(one.probe(["resolve", "one.allowed.test"])[0][0]) == 2
    assert one.probe(["http", A2_6, 80]) == [True]


def test_the_sdk_speaks_to_it(box, daemon):
    one = box(allow_out=[A1])
    sbx = Sandbox.connect(one.id, domain=f"{daemon.host}:{daemon.port}", api_key=daemon.key)
    follow = sbx.network.follow(addr=A2)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(follow), daemon=True)
    reader.start()
    assert sbx.network.allow(A2)["generation"] == 2
    assert one.probe(["http", A2, 80]) == [True]
    assert sbx.network.remove(A2, "x.test") == {"network": {"allow_out": [A1]}, "generation": 3, "not_found": ["x.test"]}
    assert one.probe(["http", A2, 80])[0] is not True
    assert eventually(lambda: [e["event"] for e in seen][:2] == ["decision", "end"] and len(seen) >= 3), seen
    page = sbx.network.log(1, addr=A2, verdict="deny")
    assert page["decisions"][0]["reason"] == "not_in_allow_out" == sbx.network_log(verdict="deny")[-1]["reason"]
    with pytest.raises(ConflictException):
        sbx.network.update(mode="observe", generation=2)
    assert sbx.network.set(SandboxNetworkOpts([], mode="observe", limits={"flows": 9}))["generation"] == 4
    assert sbx.network.get()["enforced"]["limits"]["flows"] == 9
    assert one.probe(["http", A2, 80]) == [True]
    assert sbx.network.suggest()["network"] == {"allow_out": [f"{A2}:80"]}
    sbx.kill(wait=True)
    reader.join(5)
    assert not reader.is_alive() and seen[-1]["event"] in ("decision", "end")


def test_a_reader_that_stalls_loses_rows_and_holds_up_nobody(box, daemon):
    one = box(allow_out=[])
    stalled = socket.create_connection((daemon.host, daemon.port))
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.sendall(f"GET /sandboxes/{one.id}/network/log?follow=true HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
    assert stalled.recv(17) == b"HTTP/1.1 200 OK\r\n"
    time.sleep(0.3)
    flood = "import socket\\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\nfor r in range(%d, %d):\\n  for p in range(200): s.sendto(b'x', ('203.1.113.66', 1000 + 200 * r + p))\\n  import time; time.sleep(1.01)"
    live = Follower(daemon, one.id)
    for r in range(0, 12, 6):
        done = daemon.run(one.id, f"printf \"{flood % (r, r + 6)}\" | python3 -", timeout=30)
        assert done["exit_code"] == 0, done["stderr"]
    assert eventually(lambda: len(live.addresses()) >= 2000, 10), "the others are told everything"
    assert "dropped" not in [e for e, _, _ in live.events]
    live.close()
    data = b""
    stalled.settimeout(5)
    while b"event: dropped" not in data:
        more = stalled.recv(1 << 16)
        assert more, data[-300:]
        data += more
    stalled.close()
    assert data.count(b"event: decision") < 2000


def test_observing_what_is_open_anyway_finds_names(box):
    """An address in place of its name would open every name that is served there."""
    one = box(allow_out=["*"], mode="observe")
    steps = [["tls", "one.allowed.test", 443], ["http", "two.allowed.test", 80], ["banner", "evil.test", 22], ["echo", GITHUB, 7], ["tls", GITHUB, 8443, "unasked.test"]]
    assert one.probe(*steps) == [True] * len(steps)
    got = one.suggest()["network"]
    assert got["allow_out"] == ["evil.test:22", "one.allowed.test:443", "two.allowed.test:80", f"{GITHUB}:7", f"{GITHUB}:8443"]
    assert box(**got).probe(*steps) == [True] * len(steps)
    assert not one.log("?would=true"), "nothing would have been refused"


def test_an_address_entry_is_not_taken_for_the_name_that_was_said(box):
    one = box(allow_out=["*"], deny_out=["three.allowed.test"], mode="observe")
    said = ["tls", GITHUB, 8443, "unasked.test"]
    assert one.probe(said) == [True]
    got = one.suggest()["network"]
    assert got["allow_out"] == [f"{GITHUB}:8443"] and box(**got).probe(said) == [True]


def test_a_name_is_suggested_for_its_own_addresses_only(box):
    one = box(allow_out=["a.test"], mode="observe")
    steps = [["tls", "one.allowed.test", 443], ["tls", GITHUB, 8443, "one.allowed.test"]]
    assert one.probe(*steps) == [True, True]
    got = one.suggest()["network"]
    assert got["allow_out"] == ["one.allowed.test:443", f"{GITHUB}:8443"]
    assert box(**got).probe(*steps) == [True, True]


def test_no_ipv6_stays_off(box, four):
    """Root of the sandbox can not bring it back, and the gate's side of the link has none to talk to."""
    one = box(four, allow_out=["*"])
    script = "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    assert four.run(one.id, script)["stdout"].split() == ["1"]
    probe = """
import socket
for where in (("fe80::1", 53, 0, socket.if_nametoindex("eth0")), ("ff02::1", 53, 0, socket.if_nametoindex("eth0")), ("::1", 53), ("2606:2800:220:1::1", 443)):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            s = socket.socket(socket.AF_INET6, kind, 58 if kind == socket.SOCK_RAW else 0)
            s.sendto(b"x" * 8, where)
            print("sent", kind, where)
        except OSError as e:
            pass
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    print("packets")
except OSError:
    pass
"""
    assert four.request("POST", f"/sandboxes/{one.id}/files", {"path": "/tmp/six.py", "data": probe}).status == 200
    done = four.run(one.id, "python3 /tmp/six.py")
    assert (done["exit_code"], done["stdout"]) == (0, ""), done
