# SPDX-License-Identifier: Apache-2.0
"""Section E: HTTP."""
import pytest
from kit import a1, http, socket_family

PORTS = [80, 8080]


@pytest.fixture
def one(box, family):
    made = box(allow_out=["one.allowed.test"])
    assert made.run("lookup", name="one.allowed.test", family=socket_family(family))["ok"]
    return made


def say(one, family, user, data, port=80, gap=0.0, wait=1.0):
    chunks = data if isinstance(data, list) else [data]
    out = one.run("tcp", user, host=a1(family), port=port, send=[c.hex() for c in chunks], gap=gap, wait=wait, read=200000)
    return bytes.fromhex(out["data"])


def host(name, port):
    return name if port == 80 else f"{name}:{port}"


def hosts_seen(seen):
    return [r["raw"] if isinstance(r.get("raw"), str) else r for r in seen.requests()]


# EC-160
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("gap", [0.0, 0.3], ids=["pipelined", "in turn"])
def test_ec160_every_request_is_judged(one, far, port, gap, user, family):
    good, bad = http(host("one.allowed.test", port)), http(host("co.evil.test", port), "/second")
    seen = far()
    got = say(one, family, user, [good, bad], port, gap)
    assert got.count(b"HTTP/1.1 200") == 1 and b"HTTP/1.1 403" in got, got
    assert len(seen.requests()) == 1
    assert not any("second" in str(r) for r in seen.requests())
    assert not any(b"co.evil" in c["first"] for c in seen.connections())
    assert [(d["reason"], d["name"]) for d in one.refusals(port=port)] == [("host_not_allowed", "co.evil.test")]
    seen = far()
    got = say(one, family, user, [good, good], port, gap)
    assert got.count(b"HTTP/1.1 200") == 2 and len(seen.requests()) == 2


def test_ec160_a_body_hides_no_request(one, far, user, family):
    inner = http("co.evil.test", "/smuggled")
    for framing in (f"Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"):
        body = b"" if "Length" in framing else b"3\r\nabc\r\n0\r\n\r\n"
        seen = far()
        got = say(one, family, user, http("one.allowed.test", method="POST", extra=framing) + body + inner)
        assert b"HTTP/1.1 403" in got
        assert not any("smuggled" in str(r) for r in seen.requests())
    seen = far()  # control: the same bytes inside a body are a body
    got = say(one, family, user, http("one.allowed.test", method="POST", extra=f"Content-Length: {len(inner)}\r\n") + inner)
    assert got.count(b"HTTP/1.1 200") == 1 and len(seen.requests()) == 1


# EC-161
@pytest.mark.parametrize("port", PORTS)
def test_ec161_two_hosts_are_refused(one, far, port, user, family):
    for first, second in (("one.allowed.test", "co.evil.test"), ("co.evil.test", "one.allowed.test"),
                          ("one.allowed.test", "one.allowed.test")):
        seen = far()
        got = say(one, family, user, http(host(first, port), extra=f"Host: {host(second, port)}\r\n"), port)
        assert got.startswith(b"HTTP/1.1 400"), got
        assert seen.requests() == [] and all(not c["first"] for c in seen.connections())
    assert say(one, family, user, http(host("one.allowed.test", port)), port).startswith(b"HTTP/1.1 200")


# EC-162
def test_ec162_absolute_form_must_agree_with_host(one, far, user, family):
    for target, name in (("http://co.evil.test/", "one.allowed.test"), ("http://one.allowed.test/", "co.evil.test"),
                         ("http://one.allowed.test@co.evil.test/", "one.allowed.test"),
                         ("https://co.evil.test/", "one.allowed.test"), ("http://co.evil.test/", "co.evil.test")):
        seen = far()
        got = say(one, family, user, http(name, target))
        assert got[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403"), (target, name, got)
        assert seen.requests() == [] and all(not c["first"] for c in seen.connections())
    assert say(one, family, user, http("one.allowed.test", "http://one.allowed.test/")).startswith(b"HTTP/1.1 200")


# Beyond the first wave, because every one of them would be a way around the above.
@pytest.mark.parametrize("request_bytes", [
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET /\r\n", b"\r\nGET / HTTP/1.1\r\nHost: co.evil.test\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT co.evil.test:443 HTTP/1.1\r\nHost: co.evil.test:443\r\n\r\n",
    b"GET / HTTP/1.1\nHost: co.evil.test\n\n", b"GET / HTTP/1.1\r\nHost : one.allowed.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: one.allowed.test\r\n Host: co.evil.test\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: one.allowed.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x05hello",
], ids=lambda b: repr(b[:24]))
def test_what_names_no_allowed_host_does_not_pass_on_port_80(one, far, request_bytes, user, family):
    seen = far()
    got = say(one, family, user, request_bytes)
    assert got == b"" or got[:1] == b"\x15" or got[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403"), got
    assert seen.requests() == [] and all(not c["first"] for c in seen.connections())


def test_other_protocols_pass_on_the_pin_and_the_server_may_speak_first(one, user, family):
    out = one.run("tcp", user, host=a1(family), port=22, read=4, wait=2.0)
    assert bytes.fromhex(out["data"]) == b"SSH-"
    out = one.run("tcp", user, host=a1(family), port=7, send=[b"\x00\x01binary".hex()], read=8)
    assert bytes.fromhex(out["data"]) == b"\x00\x01binary"
