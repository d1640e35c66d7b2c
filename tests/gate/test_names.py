# SPDX-License-Identifier: Apache-2.0
"""Flows that are allowed because of a name: they must prove it, and reach only what the name is now."""

import socket
import ssl
import time

import harness
import pytest
from dnsd import lookup
from harness import MOVED, OTHER, SERVER, SERVER6, connect, inside

NAME, SECOND, DENIED = "one.allowed.test", "two.allowed.test", "co.evil.test"


@pytest.fixture
def named(net, sandbox):
    """A sandbox that may use two names, and has looked them up."""
    net.dns.ttl = 60
    net.dns.names.update({NAME: [SERVER, SERVER6], SECOND: [SERVER], DENIED: [SERVER], "moved.test": [SERVER]})
    slot, ns = sandbox(allow=[NAME, SECOND])
    assert lookup(ns, NAME) == [SERVER]
    assert lookup(ns, NAME, qtype=28) == [SERVER6]
    net.requests.clear()
    net.tls_names.clear()
    return slot, ns


def hello(name):
    """The bytes of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def tls(ns, address, name, port=443):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connect(ns, address, port), server_hostname=name, suppress_ragged_eofs=False)


def http(ns, request, address=SERVER, port=80):
    with connect(ns, address, port) as s:
        s.sendall(request)
        return read_all(s)


def read_all(s):
    data = b""
    try:
        while part := s.recv(65536):
            data += part
    except TimeoutError:
        data += b"<timeout>"
    return data


def test_without_a_lookup_the_address_is_closed(net, sandbox, world, capture):
    _, ns = sandbox(allow=[NAME])
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 443, 0.5)
    assert capture.mentions(SERVER) == 0
    world.gate.decision(addr=SERVER, reason="not_in_allow_out")


def test_the_lookup_of_another_sandbox_opens_nothing(net, named, sandbox):
    _, ns = sandbox(allow=[NAME])
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 443, 0.5)


@pytest.mark.parametrize("address", [SERVER, SERVER6])
@pytest.mark.parametrize("port", [443, 8443])
def test_sni_that_is_allowed(net, named, world, address, port):
    with tls(named[1], address, NAME, port) as s:
        s.sendall(b"hello")
        assert s.recv(5) == b"hello"
    assert net.tls_names == [NAME]
    event = world.gate.decision(addr=address, verdict="allow", name=NAME)
    assert event["reason"] == "allow_name"
    time.sleep(0.1)
    assert [e["verdict"] for e in world.gate.events if e.get("addr") == address and not e["closed"]] == ["allow"]


@pytest.mark.parametrize("port", [443, 8443])
@pytest.mark.parametrize("name,reason", [(DENIED, "sni_not_allowed"), (None, "sni_missing"), (SECOND, "sni_mismatch")])
def test_sni_that_is_not(net, named, world, name, reason, port):
    """SECOND is allowed, but this sandbox has not resolved it to this address."""
    with pytest.raises(ssl.SSLError) as e:
        tls(named[1], SERVER, name, port)
    assert "ALERT" in e.value.reason or "UNRECOGNIZED_NAME" in e.value.reason
    assert net.tls_names == []
    world.gate.decision(addr=SERVER, verdict="deny", reason=reason)


def test_second_name_of_the_same_address(net, named):
    assert lookup(named[1], SECOND) == [SERVER]
    with tls(named[1], SERVER, SECOND) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"


@pytest.mark.parametrize("name,step", [(NAME, 1), (NAME, 100), (DENIED, 1), (DENIED, 100)])
def test_hello_in_pieces(net, named, name, step):
    with connect(named[1], SERVER, 443) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = hello(name)
        for i in range(0, len(data), step):
            s.sendall(data[i : i + step])
        first = s.recv(1)
    assert first == (b"\x16" if name == NAME else b"\x15")
    assert net.tls_names == ([NAME] if name == NAME else [])


@pytest.mark.parametrize("name", [NAME, DENIED])
def test_hello_over_records(net, named, name):
    data = hello(name)
    body = data[5:]
    for cut in (1, 4, 60, len(body) // 2, len(body) - 1):
        parts = [body[:cut], body[cut:]]
        with connect(named[1], SERVER, 443) as s:
            s.sendall(b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in parts))
            assert s.recv(1) == (b"\x16" if name == NAME else b"\x15")


def test_tls_is_required_on_443(net, named, world, capture):
    for data, reply in ((b"SSH-2.0-x\r\n", b""), (b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n", b"HTTP/1.1 403 ")):
        capture.packets()
        with connect(named[1], SERVER, 443) as s:
            s.sendall(data)
            assert read_all(s)[:13] == reply
        world.gate.decision(addr=SERVER, port=443, reason="tls_required")
        assert not any(data[:8] in p for p in capture.packets())


def test_http_is_required_on_80(net, named, world):
    with connect(named[1], SERVER, 80) as s:
        s.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert read_all(s) == b""
    world.gate.decision(addr=SERVER, port=80, reason="http_required")


def test_other_protocols_pass_on_the_pin(net, named, world):
    with connect(named[1], SERVER, 7) as s:
        s.sendall(b"SSH-2.0-test\r\n")
        assert s.recv(100) == b"SSH-2.0-test\r\n"


def test_server_may_speak_first(net, named, world):
    def greet(c):
        c.sendall(b"220 hello\r\n")
        harness.echo(c)

    listener = harness.serve(world.net_ns, 2525, greet)
    with connect(named[1], SERVER, 2525) as s:
        assert s.recv(100) == b"220 hello\r\n"
        s.sendall(b"EHLO x\r\n")
        assert s.recv(100) == b"EHLO x\r\n"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_client_that_only_ends(net, named, world):
    """No byte, then the end: nothing to prove."""
    listener = harness.serve(world.net_ns, 2526, lambda c: c.sendall(b"bye") if c.recv(1) == b"" else None)
    with connect(named[1], SERVER, 2526) as s:
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b"bye"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("port", [80, 8080])
def test_http_host(net, named, world, port):
    good = http(named[1], b"GET /a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % NAME.encode() + b"", port=port)
    assert good.startswith(b"HTTP/1.1 200") or b"you asked GET /a" in good
    assert len(net.requests) == 1
    for host, reason in ((DENIED, "host_not_allowed"), (SECOND, "host_mismatch"), (f"{NAME}:81", "host_mismatch")):
        bad = http(named[1], b"GET /b HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode(), port=port)
        assert bad.startswith(b"HTTP/1.1 403 ") and b"Connection: close" in bad, bad
        world.gate.decision(addr=SERVER, port=port, reason=reason)
    bad = http(named[1], b"GET /b HTTP/1.0\r\n\r\n", port=port)
    assert bad.startswith(b"HTTP/1.1 400 ")
    assert len(net.requests) == 1


def test_http_refusal_as_json(net, named):
    bad = http(named[1], b"GET / HTTP/1.1\r\nHost: co.evil.test\r\nAccept: application/json\r\n\r\n")
    head, body = bad.split(b"\r\n\r\n", 1)
    import json

    assert b"Content-Type: application/json" in head
    assert json.loads(body)["reason"] == "host_not_allowed"


@pytest.mark.parametrize("port", [80, 8080])
def test_second_request_with_another_host(net, named, world, port):
    """The first one's response arrives whole; nothing of the second leaves."""
    with connect(named[1], SERVER, port) as s:
        s.sendall(b"GET /first HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME.encode())
        assert b"you asked GET /first HTTP/1.1" in s.recv(4096)
        s.sendall(b"GET /second HTTP/1.1\r\nHost: %s\r\n\r\n" % DENIED.encode())
        started = time.monotonic()
        bad = read_all(s)
        assert time.monotonic() - started < 1
    assert bad.startswith(b"HTTP/1.1 403 ")
    assert len(net.requests) == 1


def test_pipelined_request_with_another_host(net, named):
    post = b"POST /first HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello" % NAME.encode()
    evil = b"GET /second HTTP/1.1\r\nHost: %s\r\n\r\n" % DENIED.encode()
    for step in (1, 7, 1000):
        net.requests.clear()
        with connect(named[1], SERVER, 80) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = post + evil
            for i in range(0, len(data), step):
                s.sendall(data[i : i + step])
            reply = read_all(s)
        assert b"you asked POST /first" in reply and reply.count(b"HTTP/1.1 403 ") == 1
        assert reply.index(b"200 OK") < reply.index(b"403 Forbidden")
        assert len(net.requests) == 1


def test_keep_alive_and_bodies(net, named):
    with connect(named[1], SERVER, 80) as s:
        for i in range(20):
            body = b"x" * (i * 1000)
            s.sendall(b"POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n" % (i, NAME.encode(), len(body)) + body)
            assert b"you asked POST /%d HTTP" % i in s.recv(4096)
    assert len(net.requests) == 20


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"CONNECT co.evil.test:443 HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\nHost: co.evil.test\r\n\r\n",
        b"GET http://co.evil.test/ HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: one.allowed.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: one.allowed.test\r\n\r\n",
    ],
)
def test_http_tricks(net, named, request_bytes):
    bad = http(named[1], request_bytes)
    assert bad[:10] in (b"HTTP/1.1 4",), bad
    assert net.requests == []


def websocket(path):
    return (b"GET /%s HTTP/1.1\r\nHost: one.allowed.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: x\r\n\r\n" % path)


def test_websocket(net, named):
    with connect(named[1], SERVER, 80) as s:
        s.sendall(websocket(b"accept") + b"early")
        data = b""
        while b"early" not in data:
            data += s.recv(4096)
        assert data.startswith(b"HTTP/1.1 101 ")
        s.sendall(b"GET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n")  # opaque by now, and the far side agreed
        assert b"co.evil.test" in s.recv(4096)


def test_websocket_that_is_refused_takes_nothing_more(net, named):
    with connect(named[1], SERVER, 80) as s:
        s.sendall(websocket(b"no") + b"GET /evil HTTP/1.1\r\nHost: co.evil.test\r\n\r\n")
        data = read_all(s)
    assert b"you asked GET /no" in data
    assert len(net.requests) == 1


def test_undecided_bytes_and_the_end(net, named, world):
    with connect(named[1], SERVER, 8080) as s:
        s.sendall(b"GE")
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b""
    world.gate.decision(addr=SERVER, port=8080, reason="undecided")


def test_address_rule_is_not_looked_at(net, sandbox):
    _, ns = sandbox(allow=[SERVER])
    assert b"you asked GET" in http(ns, b"GET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n" + b"") + b""


def test_denied_name_on_an_open_default(net, sandbox, world):
    net.dns.names.update({DENIED: [SERVER], NAME: [SERVER]})
    net.requests.clear()
    _, ns = sandbox(deny=[DENIED], default_allow=True)
    with tls(ns, SERVER, NAME) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    with pytest.raises(ssl.SSLError):
        tls(ns, SERVER, DENIED)
    bad = http(ns, b"GET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n")
    assert bad.startswith(b"HTTP/1.1 403 ")
    with connect(ns, SERVER, 80) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n")
        assert b"200 OK" in s.recv(4096)
        s.sendall(b"GET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n")
        assert read_all(s).startswith(b"HTTP/1.1 403 ")
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"\x15hello")
        assert s.recv(100) == b"\x15hello"


def test_pin_outlives_its_ttl_and_follows_its_name(net, sandbox, world, capture):
    """A client that keeps an address for long: it works while the name exists, and what is dialled is the name's."""
    net.dns.ttl = 0
    net.dns.names["moved.test"] = [SERVER]
    _, ns = sandbox(allow=["moved.test"])
    assert lookup(ns, "moved.test") == [SERVER]
    time.sleep(1.2)
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"same\n")
        assert s.recv(5) == b"same\n"
    net.dns.names["moved.test"] = [MOVED]
    time.sleep(1.2)
    capture.packets()
    with connect(ns, SERVER, 7) as s:
        assert s.getpeername()[0] == SERVER
        s.sendall(b"moved\n")
        assert s.recv(6) == b"moved\n"
    packets = capture.packets()
    assert sum(socket.inet_aton(MOVED) in p[14:54] for p in packets) > 0
    assert sum(socket.inet_aton(SERVER) in p[14:54] for p in packets) == 0
    net.dns.names["moved.test"] = ["10.9.8.7"]
    time.sleep(1.2)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 1)
    world.gate.decision(addr=SERVER, reason="name_gone")
    net.dns.names.pop("moved.test")
    net.dns.ttl = 60


def test_update_takes_a_name_away(net, named, world):
    slot, ns = named
    lookup(ns, SECOND)
    with tls(ns, SERVER, NAME) as kept, tls(ns, SERVER, SECOND) as cut:
        world.update(slot, 2, allow=[NAME])
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            cut.recv(1)
        world.gate.decision(addr=SERVER, verdict="deny", name=SECOND)
