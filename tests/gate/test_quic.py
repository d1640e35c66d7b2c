# SPDX-License-Identifier: Apache-2.0
"""QUIC on flows whose names count: every Initial that opens is judged before a byte of it goes up."""

import os
import random
import socket
import time

import pytest
import quic
from dnsd import lookup
from harness import MOVED, OTHER, SERVER, SERVER6
from quic import V1, V2, crypto, hello, initial, long_packet, seal, split
from test_udp import ask, client, flows, refused, silent, udp, wait_for  # noqa: F401

NAME, SECOND, DENIED = "one.allowed.test", "two.allowed.test", "co.evil.test"
OTHER_PORT = 8443


@pytest.fixture
def far(udp):  # noqa: F811
    return {port: udp(port) for port in (443, OTHER_PORT)}


@pytest.fixture
def named(net, sandbox, far):
    net.dns.ttl = 60
    net.dns.names.update({NAME: [SERVER, SERVER6], SECOND: [SERVER], DENIED: [SERVER]})
    slot, ns = sandbox(allow=[NAME, SECOND])
    assert lookup(ns, NAME) == [SERVER]
    assert lookup(ns, NAME, qtype=28) == [SERVER6]
    return slot, ns


def exchange(s, *datagrams):
    """Sends, and takes as many echoes."""
    for d in datagrams:
        s.send(d)
    assert [s.recv(65536) for _ in datagrams] == list(datagrams)


def is_refused(s):
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        s.recv(1)
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("address", [SERVER, SERVER6])
@pytest.mark.parametrize("port", [443, OTHER_PORT])
@pytest.mark.parametrize("version", [V1, V2])
def test_an_allowed_name_passes(named, far, world, address, port, version):
    first = initial(NAME, version=version)
    with client(named[1], address, port) as s:
        exchange(s, first, long_packet(2, b"", version), b"\x40" + os.urandom(100), first)
    assert far[port].got[0] == first
    event = world.gate.decision(proto="udp", addr=address, verdict="allow")
    assert (event["reason"], event["name"]) == ("allow_name", NAME)


@pytest.mark.parametrize("port", [443, OTHER_PORT])
@pytest.mark.parametrize("name,reason", [(DENIED, "sni_not_allowed"), (None, "sni_missing"), (SECOND, "sni_mismatch")])
def test_another_name_is_refused_at_once(named, far, world, name, reason, port):
    """SECOND is allowed, but this sandbox has not resolved it to this address."""
    first = initial(name)
    with client(named[1], SERVER, port) as s:
        for _ in range(3):  # sent again, it is answered again
            s.send(first)
            is_refused(s)
    assert far[port].got == []
    event = world.gate.decision(proto="udp", addr=SERVER, verdict="deny", reason=reason)
    time.sleep(1.2)  # the window in which refusals of one kind become one
    assert [e["count"] for e in world.gate.events if e.get("reason") == reason] == [1], "no second record"
    assert event.get("name") == name
    assert flows(world) == 0 or world.gate.request("query", sandbox=f"s{named[0]}")["flows"] == 0


@pytest.mark.parametrize("first", [
    b"x", b"", b"\x40" + bytes(1200), bytes(1200), b"\xc0", os.urandom(1200), long_packet(1, b"12345678"),
    long_packet(2, b"12345678"), long_packet(0, b"12345678", body=bytes(1100)), b"\xc0\0\0\0\0\x08" + bytes(1200),
    b"\xcf\x1a\x2a\x3a\x4a\x08" + bytes(1200), b"\xc0\xff\0\0\x1d\x08" + bytes(1200), b"GET / HTTP/1.1\r\n\r\n"],
    ids=["x", "empty", "short header", "zeros", "c0", "random", "0-RTT", "handshake", "initial that does not open",
         "negotiation", "grease", "draft 29", "http"])
def test_443_of_a_name_is_quic(named, far, world, first):
    with client(named[1], SERVER, 443) as s:
        s.send(first)
        is_refused(s)
    assert far[443].got == []
    world.gate.decision(proto="udp", addr=SERVER, reason="quic_required")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize("name", [NAME, DENIED])
def test_hello_in_pieces(named, far, name, order):
    pieces = split(hello(name), os.urandom(8), (50, 120))
    with client(named[1], SERVER, 443, 0.3) as s:
        for i in order[:-1]:
            s.send(pieces[i])
        with pytest.raises(TimeoutError):
            s.recv(1)
        assert far[443].got == [], "no piece leaves before the whole"
        s.send(pieces[order[-1]])
        if name == NAME:
            assert [s.recv(65536) for _ in pieces] == [pieces[i] for i in order]
        else:
            is_refused(s)
            assert far[443].got == []


def test_what_comes_between_the_pieces_waits_too(named, far):
    dcid = os.urandom(8)
    a, b = split(hello(NAME), dcid, (100,))
    early, noise = long_packet(1, dcid), b"\x45" + bytes(60)
    with client(named[1], SERVER, 443) as s:
        for d in (a, early, noise, b):
            s.send(d)
        assert [s.recv(65536) for _ in range(4)] == [a, early, noise, b]


def test_coalesced_0rtt(named, far):
    dcid = os.urandom(8)
    first = seal(crypto(hello(NAME)), dcid, pad_to=800) + long_packet(1, dcid, body=os.urandom(300))
    with client(named[1], SERVER, 443) as s:
        exchange(s, first)
    refusal = seal(crypto(hello(DENIED)), dcid, pad_to=800) + long_packet(1, dcid, body=os.urandom(300))
    with client(named[1], SERVER, 443) as s:
        s.send(refusal)
        is_refused(s)


def test_coalesced_behind_something_else(named, far):
    """An Initial is found wherever it stands."""
    for port in (443, OTHER_PORT):
        with client(named[1], SERVER, port) as s:
            exchange(s, initial(NAME))
            s.send(long_packet(2, b"12345678") + initial(DENIED))
            is_refused(s)
        assert len(far[port].got) == 1


@pytest.mark.parametrize("port", [443, OTHER_PORT])
def test_a_second_connection_on_the_flow(named, far, world, port):
    for name in (DENIED, SECOND, None):  # SECOND is allowed, and not resolved to this address
        with client(named[1], SERVER, port) as s:
            first, same = initial(NAME), initial(NAME)
            exchange(s, first, b"\x40" + bytes(50), same)
            far[port].got.clear()
            s.send(initial(name))
            is_refused(s)
            s.send(b"\x40" + bytes(50))  # the flow is gone
            is_refused(s)
        assert far[port].got == []


def test_names_of_one_address_from_one_socket(named, far, world):
    """Go's HTTP/3 speaks to all servers from one socket. Every name has its records, and the bytes are counted once."""
    slot, ns = named
    lookup(ns, SECOND)
    world.gate.forget_events()
    sent = 0
    with client(ns, SERVER, 443) as s:
        for name in (NAME, SECOND, NAME, SECOND):
            first = initial(name)
            exchange(s, first)
            sent += len(first)
        exchange(s, b"\x40" + bytes(50))
        starts = [world.gate.decision(proto="udp", addr=SERVER, verdict="allow", name=n) for n in (NAME, SECOND)]
        assert [e["reason"] for e in starts] == ["allow_name"] * 2
        assert starts[0]["flow"] != starts[1]["flow"]
        world.update(slot, 2, allow=[NAME])
        is_refused(s)
    ends = [world.gate.decision(proto="udp", closed=True, name=n) for n in (NAME, SECOND)]
    assert [e["flow"] for e in ends] == [e["flow"] for e in starts]
    assert [(e["bytes_out"], e["bytes_in"]) for e in ends] == [(sent + 51, sent + 51), (0, 0)]
    time.sleep(1.2)
    assert len([e for e in world.gate.events if e.get("verdict") == "allow" and e.get("proto") == "udp"]) == 4


def test_a_second_connection_in_pieces_holds_everything(named, far):
    a, b = split(hello(DENIED), os.urandom(8), (100,))
    with client(named[1], SERVER, 443, 0.3) as s:
        exchange(s, initial(NAME))
        s.send(a)
        s.send(b"\x40" + bytes(50))
        with pytest.raises(TimeoutError):
            s.recv(1)
        s.send(b)
        is_refused(s)
    assert len(far[443].got) == 1


def test_a_hello_said_again_differently(named, far):
    """The first datagram is too short for a server to take (RFC 9000 section 14.1); the second has its place."""
    dcid = os.urandom(8)
    with client(named[1], SERVER, 443) as s:
        exchange(s, seal(crypto(hello(NAME)), dcid, pad_to=0))
        s.send(seal(crypto(hello(DENIED)), dcid, pn=1))
        is_refused(s)
    assert len(far[443].got) == 1


def test_a_hello_said_again_under_the_servers_id(named, far):
    dcid, theirs = os.urandom(8), os.urandom(8)
    with client(named[1], SERVER, 443) as s:
        exchange(s, seal(crypto(hello(NAME)), dcid, pad_to=0), seal(b"\x01", theirs, key_dcid=dcid, pn=1))
        s.send(seal(crypto(hello(DENIED)), theirs, key_dcid=dcid, pn=2))
        is_refused(s)
    assert len(far[443].got) == 2


def test_one_connection_on_two_flows(named, far, sandbox):
    """Servers find it by its ID alone, and could take one half of its hello from here and the other from there."""
    dcid = os.urandom(8)
    _, other = sandbox(allow=[NAME])
    lookup(other, NAME)
    with client(named[1], SERVER, OTHER_PORT) as s:  # it sent nothing, so its ID is still free
        s.send(seal(crypto(hello(DENIED)), dcid))
        is_refused(s)
    with client(named[1], SERVER, 443) as s:
        exchange(s, seal(crypto(hello(NAME)), dcid))
        for ns in (named[1], other):
            refused(ns, SERVER, 443, seal(crypto(hello(NAME)), dcid))
        exchange(s, seal(crypto(hello(NAME)), os.urandom(8)))
    assert len(far[443].got) == 2


def test_behind_a_second_hello_comes_no_gap(named, far, world):
    """What fills it later would be a part of the handshake that nobody has looked at."""
    dcid = os.urandom(8)
    one, two = hello(NAME), hello(NAME)
    at = len(one) + len(two)
    with client(named[1], SERVER, 443) as s:
        exchange(s, seal(crypto(one), dcid))
        s.send(seal(crypto(two, len(one)) + crypto(bytes(100), at + 200), dcid, pn=1))
        is_refused(s)
    world.gate.decision(proto="udp", addr=SERVER, reason="quic_malformed")
    assert len(far[443].got) == 1


def test_a_second_hello_is_judged(named, far):
    """HelloRetryRequest asks for one, and there are servers that take its name."""
    lookup(named[1], SECOND)
    for name in (NAME, DENIED, SECOND):
        dcid, theirs = os.urandom(8), os.urandom(8)
        one, two = hello(NAME), hello(name)
        with client(named[1], SERVER, 443) as s:
            exchange(s, seal(crypto(one), dcid))
            second = seal(crypto(two, len(one)), theirs, key_dcid=dcid, pn=1)
            s.send(second)
            if name == NAME:
                assert s.recv(65536) == second
            else:
                is_refused(s)


def test_initials_that_open_under_no_key_do_not_pass(named, far):
    with client(named[1], SERVER, 443, 0.3) as s:
        exchange(s, initial(NAME))
        s.send(long_packet(0, b"12345678", body=os.urandom(1100)))
        with pytest.raises(TimeoutError):
            s.recv(1)
        exchange(s, b"\x40" + bytes(50))


def test_unknown_versions_never_pass_on_443(named, far):
    with client(named[1], SERVER, 443, 0.3) as s:
        exchange(s, initial(NAME))
        s.send(b"\xcf\x1a\x2a\x3a\x4a\x08" + bytes(1200))
        with pytest.raises(TimeoutError):
            s.recv(1)
        exchange(s, b"\x40" + bytes(50))
    with client(named[1], SERVER, OTHER_PORT) as s:
        exchange(s, b"\xcf\x1a\x2a\x3a\x4a\x08" + bytes(1200))


@pytest.mark.parametrize("version", [b"\xff\0\0\x1d", b"Q046", b"Q050", b"T051", b"\xfa\xce\xb0\x02"])
def test_old_versions_hide_their_names(named, net, sandbox, far, version):
    """Some servers still speak them; on other ports than 443 they would pass for another protocol."""
    net.dns.names.update({DENIED: [SERVER]})
    _, wide = sandbox(deny=[DENIED], default_allow=True)
    for ns, port in ((named[1], OTHER_PORT), (wide, 443)):
        with client(ns, SERVER, port, 0.3) as s:
            s.send(b"\xc0" + version + b"\x08" + bytes(1200))
            with pytest.raises(TimeoutError):
                s.recv(1)
            exchange(s, b"\x80" + b"\x7a" + os.urandom(20))
    assert [len(far[port].got) for port in (OTHER_PORT, 443)] == [1, 1]


@pytest.mark.parametrize("port", [443, OTHER_PORT])
def test_ech(named, far, world, port):
    message = quic.with_extension(hello(NAME), 0xFE0D, os.urandom(150))
    with client(named[1], SERVER, port) as s:
        s.send(seal(crypto(message), os.urandom(8)))
        is_refused(s)
    world.gate.decision(proto="udp", addr=SERVER, reason="ech")
    assert far[port].got == []


@pytest.mark.parametrize("frames", [b"\x02\0\0\0\0\x1c\x0a\x00\x00", b"\x1e" + crypto(b"\x01"), crypto(b"\x02\0\0\x04abcd"),
                                    crypto(b"\x01\0\0\x02ab"), b"\x08\0hello"], ids=["no crypto", "a frame that has no place here",
                                    "server hello", "a short hello", "stream"])
def test_what_can_not_be_a_hello(named, far, world, frames):
    with client(named[1], SERVER, 443, 0.3) as s:
        s.send(seal(frames, os.urandom(8)))
        if b"\x1c" in frames:  # may still become one; the deadline tells
            with pytest.raises(TimeoutError):
                s.recv(1)
        else:
            is_refused(s)
            world.gate.decision(proto="udp", addr=SERVER, reason="quic_malformed")
    assert far[443].got == []


def test_too_many_connections(named, far, world):
    with client(named[1], SERVER, 443) as s:
        for _ in range(8):
            exchange(s, initial(NAME))
        s.send(initial(NAME))
        is_refused(s)
    world.gate.decision(proto="udp", addr=SERVER, reason="gate_resources")


def test_held_bytes_are_bounded(named, far, world):
    a, _ = split(hello(NAME), os.urandom(8), (100,))
    with client(named[1], SERVER, 443, 0.5) as s:
        s.send(a)
        with pytest.raises(ConnectionRefusedError):
            for _ in range(100):
                s.send(b"\x40" + bytes(1400))
                time.sleep(0.001)
    world.gate.decision(proto="udp", addr=SERVER, reason="quic_malformed")
    assert far[443].got == []


def test_denied_names_of_an_open_default(net, sandbox, far, world):
    net.dns.names.update({DENIED: [SERVER], NAME: [SERVER]})
    _, ns = sandbox(deny=[DENIED], default_allow=True)
    with client(ns, SERVER, 443, 0.5) as s:
        ech = seal(crypto(quic.with_extension(hello(NAME), 0xFE0D, os.urandom(150))), os.urandom(8))
        exchange(s, b"anything", b"\xcf\x1a\x2a\x3a\x4a\x08" + bytes(100), initial(NAME), initial(SECOND), initial(None), ech)
        a, b = split(hello(DENIED), os.urandom(8), (100,))
        s.send(a)
        with pytest.raises(TimeoutError):
            s.recv(1)
        s.send(b)
        is_refused(s)
    assert len(far[443].got) == 6
    refused(ns, SERVER, OTHER_PORT, initial(DENIED))
    world.gate.decision(proto="udp", addr=SERVER, port=OTHER_PORT, reason="sni_not_allowed")


def test_an_address_rule_is_not_looked_at(sandbox, far):
    _, ns = sandbox(allow=[SERVER])
    with client(ns, SERVER, 443) as s:
        exchange(s, initial(DENIED), b"x", long_packet(0, b"12345678", body=bytes(1100)))


def test_an_observer_lets_it_pass_and_says_so(net, sandbox, far, world):
    net.dns.names.update({NAME: [SERVER]})
    _, ns = sandbox(allow=[NAME], observe=True)
    lookup(ns, NAME)
    with client(ns, SERVER, 443) as s:
        exchange(s, initial(DENIED), initial(NAME))
    event = world.gate.decision(proto="udp", addr=SERVER, verdict="allow")
    assert event["reason"] == "observed" and event["name"] == DENIED
    world.gate.forget_events()
    with client(ns, SERVER, 443) as s:
        exchange(s, initial(NAME), b"\x40" + bytes(50))
    assert world.gate.decision(proto="udp", addr=SERVER, verdict="allow")["reason"] == "allow_name"
    world.gate.forget_events()
    assert ask(ns, SERVER, 443, b"no quic") == b"no quic"
    assert world.gate.decision(proto="udp", addr=SERVER, verdict="allow")["reason"] == "observed"
    silent(ns, "10.1.2.3", 443)


def test_update_of_quic_flows(named, far, world):
    slot, ns = named
    lookup(ns, SECOND)
    with client(ns, SERVER, 443) as kept, client(ns, SERVER, 443) as cut:
        exchange(kept, initial(NAME))
        exchange(cut, initial(SECOND))
        world.update(slot, 2, allow=[NAME])
        is_refused(cut)  # told, so that its client can turn elsewhere
        exchange(kept, b"\x40" + bytes(50), initial(NAME))
        assert world.gate.decision(proto="udp", addr=SERVER, verdict="deny")["name"] == SECOND


def test_update_from_an_address_to_its_name(net, sandbox, far, world):
    """What nobody looked at can not be proven afterwards, unless its port asks for no proof."""
    net.dns.names.update({NAME: [SERVER]})
    slot, ns = sandbox(allow=[SERVER, NAME])
    lookup(ns, NAME)
    with client(ns, SERVER, 443) as web, client(ns, SERVER, OTHER_PORT) as loose, client(ns, SERVER, OTHER_PORT) as plain:
        exchange(web, initial(NAME))
        exchange(loose, initial(NAME))
        exchange(plain, b"not quic")
        world.update(slot, 2, allow=[NAME])
        exchange(plain, b"still there")
        plain.send(initial(DENIED))
        is_refused(plain)
        for s in (web, loose):
            is_refused(s)
            s.send(b"\x40" + bytes(50))
            is_refused(s)
    assert world.gate.decision(proto="udp", addr=SERVER, port=443, verdict="deny")["reason"] in ("quic_required", "undecided")
    world.gate.decision(proto="udp", addr=SERVER, port=OTHER_PORT, verdict="deny", reason="undecided")


def test_update_that_looks_no_more_lets_go_what_is_held(named, far, world):
    slot, ns = named
    a, b = split(hello(NAME), os.urandom(8), (100,))
    with client(ns, SERVER, 443) as s:
        s.send(a)
        time.sleep(0.1)
        world.update(slot, 2, allow=[SERVER])
        assert s.recv(65536) == a
        exchange(s, b)


def test_a_moved_name_must_be_the_very_one(net, sandbox, far, world):
    """The address is a handle of two names; one has moved, and its new address speaks for it alone."""
    net.dns.ttl = 0
    net.dns.names.update({"moved.test": [SERVER], "gone.test": [SERVER]})
    _, ns = sandbox(allow=["moved.test", "gone.test"])
    lookup(ns, "moved.test")
    lookup(ns, "gone.test")
    time.sleep(1.2)
    net.dns.names.update({"moved.test": [MOVED], "gone.test": [OTHER]})
    results = []
    for name in ("moved.test", "gone.test"):
        with client(ns, SERVER, 443, 1) as s:
            s.send(initial(name))
            try:
                s.recv(65536)
                results.append("ok")
            except ConnectionRefusedError:
                results.append("refused")
    assert sorted(results) == ["ok", "refused"]
    world.gate.decision(proto="udp", addr=SERVER, reason="sni_mismatch")
    net.dns.names.pop("moved.test")
    net.dns.names.pop("gone.test")
    net.dns.ttl = 60


def test_garbage(named, far, world, sandbox):
    """Seconds of random, cut and twisted datagrams: nothing of them leaves, and the gate is well afterwards."""
    rng = random.Random(7)
    good = [initial(NAME), initial(DENIED), *split(hello(NAME), b"abcdefgh", (60, 90)), long_packet(1, b"abcdefgh")]
    seconds = float(os.environ.get("DECLAW_FUZZ_SECONDS", "3"))
    end = time.monotonic() + seconds
    n = 0
    while time.monotonic() < end:
        with client(named[1], SERVER, rng.choice([443, OTHER_PORT]), 0.01) as s:
            for _ in range(20):
                d = bytearray(rng.choice(good))
                for _ in range(rng.randrange(4)):
                    d[rng.randrange(min(len(d), 40))] = rng.randrange(256)
                d = bytes(d[: rng.choice([len(d), rng.randrange(len(d) + 1)])])
                if rng.random() < 0.2:
                    d = d + bytes(rng.choice(good))
                if rng.random() < 0.1:
                    d = rng.randbytes(rng.randrange(1400))
                try:
                    s.send(d)
                    n += 1
                except OSError:
                    pass
    assert n > 100
    denied = hello(DENIED)
    assert not any(denied[:40] in d for d in far[443].got)
    assert world.gate.request("detach", sandbox=f"s{named[0]}")["ok"]
    _, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    with client(ns, SERVER, 443) as s:
        exchange(s, initial(NAME))
