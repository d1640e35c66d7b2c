# SPDX-License-Identifier: Apache-2.0
"""A policy that only observes: what flows show is told, and passes. And the quota of bytes, which counts either way."""

import os
import socket
import struct
import time

import harness
import pytest
from dnsd import lookup
from harness import OTHER, SERVER, SERVER6, connect
from test_names import DENIED, NAME, SECOND, hello, tls

OBSERVED = {"verdict": "allow", "reason": "observed"}


@pytest.fixture
def observed(net, sandbox):
    net.dns.ttl = 60
    net.dns.names.update({NAME: [SERVER, SERVER6], SECOND: [OTHER], DENIED: [SERVER]})
    slot, ns = sandbox(allow=[NAME], observe=True)
    lookup(ns, NAME), lookup(ns, NAME, qtype=28)
    net.tls_names.clear()
    net.requests.clear()
    return slot, ns


def decisions(world, **want):
    return [e for e in world.gate.events if e["event"] == "decision" and not e["closed"]
            and all(e.get(k) == v for k, v in want.items())]


@pytest.mark.parametrize("port", [443, 8443])
def test_tls_of_an_allowed_name_is_an_ordinary_allow(net, observed, world, port):
    with tls(observed[1], SERVER, NAME, port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    world.gate.decision(addr=SERVER, port=port, verdict="allow", reason="allow_name", name=NAME)
    assert not decisions(world, addr=SERVER, reason="observed")


@pytest.mark.parametrize("port", [443, 8443])
@pytest.mark.parametrize("name,would", [(DENIED, "sni_not_allowed"), (None, "sni_missing")])
def test_tls_of_another_name_is_told(net, observed, world, port, name, would):
    with tls(observed[1], SERVER, name, port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    event = world.gate.decision(addr=SERVER, port=port, would=would, **OBSERVED)
    assert event.get("name") in ([DENIED] if name else [None, NAME])
    world.gate.decision(addr=SERVER, port=port, would=would, closed=True, **OBSERVED)
    assert len(decisions(world, addr=SERVER, port=port)) == 1
    assert net.tls_names == [name or "-"]


def test_an_address_that_no_entry_covers_is_told_with_the_name_it_showed(net, observed, world):
    with tls(observed[1], OTHER, "Some.Name.test") as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    world.gate.decision(addr=OTHER, port=443, name="some.name.test", would="not_in_allow_out", **OBSERVED)


def test_other_protocols(net, observed, world):
    for address in (SERVER, OTHER):
        with connect(observed[1], address, 7) as s:
            s.sendall(b"SSH-2.0-x\r\n")
            assert s.recv(100) == b"SSH-2.0-x\r\n"
    world.gate.decision(addr=SERVER, port=7, verdict="allow", reason="allow_name", name=NAME)
    world.gate.decision(addr=OTHER, port=7, would="not_in_allow_out", **OBSERVED)


def test_what_would_be_refused_on_443_and_80(net, observed, world, capture):
    """Neither TLS nor HTTP where that is required: it passes."""
    capture.packets()
    for port, data, would in ((443, b"SSH-2.0-observed\r\n", "tls_required"), (80, b"\x16\x03\x01\x02\0\1observed", "http_required")):
        with connect(observed[1], SERVER, port) as s:
            s.sendall(data)
            world.gate.decision(addr=SERVER, port=port, would=would, **OBSERVED)
            time.sleep(0.1)
    assert sum(b"observed" in p for p in capture.packets()) == 2


@pytest.mark.parametrize("port", [80, 8080])
def test_http(net, observed, world, port):
    """Each Host that would be refused is told once; all requests pass."""
    with connect(observed[1], SERVER, port) as s:
        for host in (NAME, DENIED, DENIED, "b.test", NAME, "b.test", "c d"):
            s.sendall(b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\n\r\nabc" % host.encode())
            assert b"200 OK" in s.recv(4096)
    assert len(net.requests) == 7
    world.gate.decision(addr=SERVER, port=port, verdict="allow", reason="allow_name", name=NAME)
    time.sleep(0.1)
    told = decisions(world, addr=SERVER, port=port, would="host_not_allowed", **OBSERVED)
    assert [e["name"] for e in told][:2] == [DENIED, "b.test"] and len(told) <= 3


def test_http_of_many_hosts_is_bounded(net, observed, world):
    with connect(observed[1], SERVER, 8080) as s:
        for i in range(30):
            s.sendall(b"GET / HTTP/1.1\r\nHost: n%d.test\r\n\r\n" % i)
            assert b"200 OK" in s.recv(4096)
    time.sleep(0.1)
    assert 1 <= sum(e["count"] for e in decisions(world, addr=SERVER, port=8080, reason="observed")) <= 8


@pytest.mark.parametrize("request_bytes", [
    b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\nHost: co.evil.test\r\n\r\n",
    b"CONNECT co.evil.test:443 HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: one.allowed.test\r\n\r\n",
])
def test_http_that_would_be_refused_for_its_form(net, observed, world, request_bytes):
    with connect(observed[1], SERVER, 8080) as s:
        for _ in range(2):
            s.sendall(request_bytes)
            assert b"200 OK" in s.recv(4096)
    event = world.gate.decision(addr=SERVER, port=8080, **OBSERVED)
    assert event["would"].startswith(("http_", "host_"))


def test_a_websocket(net, observed):
    with connect(observed[1], SERVER, 80) as s:
        s.sendall(b"GET /accept HTTP/1.1\r\nHost: one.allowed.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 101 ")
        s.sendall(b"echo")
        assert s.recv(4096) == b"echo"


def test_nothing_waits_for_an_observer(net, observed, world):
    """A server that speaks first; a client that says nothing, or the beginning of what could be a request."""
    def greet(c):
        c.sendall(b"220 hello\r\n")
        harness.echo(c)

    listener = harness.serve(world.net_ns, 2525, greet)
    for address in (SERVER, OTHER):
        started = time.monotonic()
        with connect(observed[1], address, 2525) as s:
            assert s.recv(100) == b"220 hello\r\n"
            assert time.monotonic() - started < 0.5
            s.sendall(b"QUIT")  # no end of the line
            assert s.recv(100) == b"QUIT"
            assert time.monotonic() - started < 2
            s.sendall(b"\x16")
            started = time.monotonic()
            assert s.recv(100) == b"\x16"
            assert time.monotonic() - started < 0.3
    world.gate.decision(addr=SERVER, port=2525, would="undecided", **OBSERVED)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_tls_that_begins_later_is_told(net, observed, world):
    def smtp(c):
        c.recv(100)
        c.sendall(b"220 go\r\n")
        net._tls(c)

    listener = harness.serve(world.net_ns, 2587, smtp)
    with connect(observed[1], SERVER, 2587) as s:
        s.sendall(b"STARTTLS\r\n")
        assert s.recv(100) == b"220 go\r\n"
        s.sendall(hello(DENIED))
        assert s.recv(1) == b"\x16"
    assert net.tls_names == [DENIED]
    world.gate.decision(addr=SERVER, port=2587, name=DENIED, would="sni_not_allowed", **OBSERVED)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_denied_names_of_an_open_policy(net, sandbox, world):
    """"Everything but these": also these pass, and are told."""
    net.dns.names.update({DENIED: [SERVER]})
    _, ns = sandbox(allow=["*"], deny=[DENIED], observe=True)
    with tls(ns, SERVER, DENIED) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    world.gate.decision(addr=SERVER, port=443, name=DENIED, would="sni_not_allowed", **OBSERVED)
    with connect(ns, SERVER, 80) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n")
        assert b"200 OK" in s.recv(4096)
    world.gate.decision(addr=SERVER, port=80, name=DENIED, would="host_not_allowed", **OBSERVED)


def test_from_observing_to_enforcing(net, observed, world):
    """What showed an allowed name stays; what showed another one, or nothing that can be judged, does not."""
    slot, ns = observed
    with tls(ns, SERVER, NAME) as kept, tls(ns, SERVER, DENIED) as cut, connect(ns, SERVER, 8080) as mixed, \
            connect(ns, SERVER, 7) as plain, connect(ns, OTHER, 7) as closed:
        for host in (NAME, DENIED):
            mixed.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
            assert b"200 OK" in mixed.recv(4096)
        for s in (plain, closed):
            s.sendall(b"SSH-2.0-x\r\n")
            assert s.recv(100) == b"SSH-2.0-x\r\n"
        world.update(slot, 2, allow=[NAME])
        for s in (kept, plain):
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        for s in (cut, mixed, closed):
            with pytest.raises(OSError) as e:
                s.recv(1)
            assert not isinstance(e.value, TimeoutError)
    world.gate.decision(addr=SERVER, verdict="deny", reason="sni_not_allowed", name=DENIED)


def test_from_enforcing_to_observing(net, sandbox, world):
    net.dns.names[NAME] = [SERVER]
    slot, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    with connect(ns, SERVER, 8080) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME.encode())
        assert b"200 OK" in s.recv(4096)
        world.update(slot, 2, allow=["other.test"], observe=True)
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % DENIED.encode())
        assert b"200 OK" in s.recv(4096)
    world.gate.decision(addr=SERVER, name=DENIED, would="host_not_allowed", **OBSERVED)


def fetch(ns, n, port, address=SERVER):
    """Asks for n bytes and returns how many came."""
    got = 0
    with connect(ns, address, port) as s:
        try:
            s.sendall(struct.pack(">I", n))
            while data := s.recv(65536):
                got += len(data)
        except ConnectionError:
            pass
    return got


@pytest.fixture
def source(world):
    def give(c):
        c.sendall(bytes(struct.unpack(">I", c.recv(4, socket.MSG_WAITALL))[0]))

    listener = harness.serve(world.net_ns, 2600, give)
    yield 2600
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def exactly(s, n):
    data = b""
    while len(data) < n and (part := s.recv(n - len(data))):
        data += part
    return data


def test_the_quota_of_bytes(net, sandbox, world, source):
    slot, ns = sandbox(allow=[SERVER, SERVER6])
    world.update(slot, 2, allow=[SERVER, SERVER6], limits={"bytes": 3 << 20})
    assert fetch(ns, 1 << 20, source) == 1 << 20
    assert fetch(ns, 1 << 20, source, SERVER6) == 1 << 20
    with connect(ns, SERVER, 7) as idle:
        idle.sendall(b"x")
        assert idle.recv(1) == b"x"
        # Bytes are counted as they leave, and a turn moves a bounded number of them.
        assert fetch(ns, 64 << 20, source) < 8 << 20
        world.gate.decision(addr=SERVER, port=source, verdict="deny", reason="limit_bytes")
        world.gate.forget_events()
        with pytest.raises(OSError):
            connect(ns, SERVER, 7, 0.5)
        world.gate.decision(addr=SERVER, port=7, verdict="deny", reason="limit_bytes")
        idle.sendall(b"x")  # it has ended the moment it moves
        with pytest.raises(ConnectionError):
            idle.recv(1), idle.recv(1)
    world.update(slot, 3, allow=[SERVER], limits={"bytes": 1 << 30})
    assert fetch(ns, 1000, source) == 1000


def test_uploads_count_too_and_each_byte_once(net, sandbox, world):
    """Half of the quota up and, echoed, half of it down; by a name, so by the path that reads what is sent."""
    net.dns.names[NAME] = [SERVER]
    for policy in ({"allow": [SERVER]}, {"allow": [NAME]}):
        slot, ns = sandbox(**policy)
        if NAME in policy["allow"]:
            lookup(ns, NAME)
        world.update(slot, 2, limits={"bytes": 2 * 100_000 + 100}, **policy)
        with connect(ns, SERVER, 7) as s:
            data = b"\0" + os.urandom(99_999)
            s.sendall(data)
            assert exactly(s, len(data)) == data
            s.sendall(b"\0" * 200)
            with pytest.raises(ConnectionError):
                while s.recv(4096):
                    pass
                raise ConnectionError("ended")
        world.gate.decision(addr=SERVER, port=7, verdict="deny", reason="limit_bytes")


def test_a_smaller_quota_ends_what_is_there(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER])
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"x" * 1000)
        assert len(exactly(s, 1000)) == 1000
        world.update(slot, 2, allow=[SERVER], limits={"bytes": 100_000})
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        world.update(slot, 3, allow=[SERVER], limits={"bytes": 1000})
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    world.gate.decision(addr=SERVER, port=7, verdict="deny", reason="limit_bytes")


@pytest.mark.parametrize("host", [NAME, DENIED])
def test_what_follows_an_upgrade_is_not_kept(net, observed, world, host):
    """Nobody waited for the server's word on it, so what the client sends behind it may be requests for any name."""
    slot, ns = observed
    lookup(ns, DENIED)
    with connect(ns, SERVER, 8080) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" % host.encode())
        assert b"200 OK" in s.recv(4096)
        world.update(slot, 2, allow=[NAME, DENIED])
        net.requests.clear()
        with pytest.raises(ConnectionError):
            s.sendall(b"GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n")
            assert not s.recv(4096)
            raise ConnectionError("ended")
    assert not net.requests
    world.gate.decision(addr=SERVER, port=8080, verdict="deny", reason="undecided")


def test_what_waits_for_an_observer_is_not_kept(net, observed, world, capture):
    """The start of a hello that went nowhere yet: the new policy asks for a whole one, and for nothing else on port 443."""
    slot, ns = observed
    capture.packets()
    with connect(ns, SERVER, 443) as s:
        s.sendall(b"\x16\3\1\x40\0\1\0\x3f\xfc\3\3" + bytes(33) + b"\0\2\x13\1\1\0")
        world.gate.decision(addr=SERVER, port=443, would="undecided", **OBSERVED)
        world.update(slot, 2, allow=[NAME])
        with pytest.raises(ConnectionError):
            s.sendall(b"\xff\xffsmuggled" + bytes(20000))
            assert not s.recv(4096)
            raise ConnectionError("ended")
        time.sleep(0.1)
    assert not any(b"smuggled" in p for p in capture.packets())


@pytest.mark.parametrize("port,data", [
    (443, b"GET / HTTP/1.1\r\nHost: port.allowed.test\r\n\r\n"),
    (80, hello("port.allowed.test")),
    (443, b"EHLO x\r\n" + hello("port.allowed.test")),
], ids=["http-on-443", "tls-on-80", "tls-behind-something-on-443"])
def test_what_a_port_must_speak_after_an_open_policy(net, sandbox, world, port, data):
    """Everything but a name was allowed, and now one name: what that name's port would not take does not go on."""
    nft = ("ip", "netns", "exec", world.net_ns, "nft")
    harness.run(*nft, "-f", "-", stdin=f"""
table ip patient {{
 chain c {{
  type nat hook prerouting priority -100
  ip daddr {OTHER} tcp dport {{ 80, 443 }} redirect to :2700
 }}
}}""")
    listener = harness.serve(world.net_ns, 2700, harness.echo)  # takes whatever comes
    try:
        net.dns.names["port.allowed.test"] = [OTHER]
        slot, ns = sandbox(allow=["*"], deny=[DENIED])
        lookup(ns, "port.allowed.test")
        with connect(ns, OTHER, port) as s:
            s.sendall(data)
            assert exactly(s, len(data)) == data
            world.update(slot, 2, allow=["port.allowed.test"])
            event = world.gate.decision(addr=OTHER, port=port, verdict="deny")
        assert event["reason"] in ("tls_required", "http_required", "undecided")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        harness.run(*nft, "delete", "table", "ip", "patient")
