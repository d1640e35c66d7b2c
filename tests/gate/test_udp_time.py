# SPDX-License-Identifier: Apache-2.0
"""The clocks of UDP flows, with a gate whose minutes are shortened (it is built with test hooks)."""

import os
import time

import harness
import pytest
from dnsd import lookup
from harness import SERVER, SILENT
from quic import crypto, hello, initial, seal, split
from test_udp import client, refused, udp, wait_for  # noqa: F401

IDLE, SILENT_MS, INSPECT, ID_MS = 700, 300, 200, 600
NAME, DENIED = "one.allowed.test", "co.evil.test"


@pytest.fixture(scope="module")
def world():
    hooks = {"DECLAW_TEST_UDP_IDLE_MS": IDLE, "DECLAW_TEST_UDP_SILENT_MS": SILENT_MS, "DECLAW_TEST_UDP_INSPECT_MS": INSPECT,
             "DECLAW_TEST_UDP_ID_MS": ID_MS}
    os.environ.update({k: str(v) for k, v in hooks.items()})
    try:
        with harness.World() as w:
            w.start_gate("--resolver", "9.9.9.9")
            yield w
    finally:
        for k in hooks:
            del os.environ[k]


def flows(world, slot):
    return world.gate.request("query", sandbox=f"s{slot}")["flows"]


def test_a_silent_flow_ends_soon(sandbox, world):
    slot, ns = sandbox(allow=[SILENT])
    with client(ns, SILENT, 9001) as s:
        s.send(b"x")
        wait_for(lambda: flows(world, slot) == 1)
        time.sleep(SILENT_MS / 1000 + 0.2)
        assert flows(world, slot) == 0
    end = world.gate.decision(proto="udp", addr=SILENT, closed=True)
    assert (end["bytes_out"], end["bytes_in"]) == (1, 0)
    assert SILENT_MS <= end["duration_ms"] < SILENT_MS + 300
    start = world.gate.decision(proto="udp", addr=SILENT, closed=False)
    assert start["flow"] == end["flow"]


def test_an_answered_flow_lives_longer_and_while_it_is_used(sandbox, world, udp):  # noqa: F811
    far = udp(9001)
    slot, ns = sandbox(allow=[SERVER])
    with client(ns, SERVER, 9001) as s:
        for _ in range(4):
            s.send(b"x")
            assert s.recv(1) == b"x"
            time.sleep(SILENT_MS / 1000 + 0.15)
        assert flows(world, slot) == 1
        time.sleep(IDLE / 1000)
        assert flows(world, slot) == 0
        s.send(b"y")  # a new one
        assert s.recv(1) == b"y"
    assert len({p[1] for p in far.peers}) == 2


def test_an_incomplete_hello_is_refused_in_the_end(net, sandbox, world, udp):  # noqa: F811
    far = udp(443)
    net.dns.names.update({NAME: [SERVER], DENIED: [SERVER]})
    for policy in ({"allow": [NAME]}, {"deny": [DENIED], "default_allow": True}):
        slot, ns = sandbox(**policy)
        lookup(ns, NAME)
        a, _ = split(hello(NAME), os.urandom(8), (100,))
        with client(ns, SERVER, 443) as s:
            started = time.monotonic()
            s.send(a)
            with pytest.raises(ConnectionRefusedError):
                s.recv(1)
            # The gate's time moves when it wakes up, a moment before what it is woken by.
            assert INSPECT / 1000 - 0.02 <= time.monotonic() - started < INSPECT / 1000 + 0.4
        world.gate.decision(proto="udp", addr=SERVER, reason="quic_malformed", sandbox=f"s{slot}")
        assert flows(world, slot) == 0
    assert far.got == []


def test_an_observer_waits_no_longer(net, sandbox, world, udp):  # noqa: F811
    udp(443)
    net.dns.names.update({NAME: [SERVER]})
    _, ns = sandbox(allow=[NAME], observe=True)
    lookup(ns, NAME)
    a, b = split(hello(NAME), os.urandom(8), (100,))
    with client(ns, SERVER, 443) as s:
        s.send(a)
        assert s.recv(65536) == a
        s.send(b)
        assert s.recv(65536) == b
    assert world.gate.decision(proto="udp", addr=SERVER, verdict="allow")["reason"] == "observed"


def test_a_connection_belongs_to_its_flow_as_long_as_it_is_spoken_on(net, sandbox, world, udp):  # noqa: F811
    """Its server may have begun with what the first flow sent last, and would take the rest of a hello from a second one."""
    far = udp(443)
    net.dns.names.update({NAME: [SERVER]})
    _, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    dcid = os.urandom(8)
    first = seal(crypto(hello(NAME)), dcid)
    with client(ns, SERVER, 443) as s:
        for _ in range(4):
            s.send(first)
            assert s.recv(65536) == first
            time.sleep(ID_MS / 1000 * 0.6)
        refused(ns, SERVER, 443, seal(crypto(hello(NAME)), dcid))
        assert len(far.got) == 4
        time.sleep(ID_MS / 1000 + 0.1)
        again = seal(crypto(hello(NAME)), dcid)
        with client(ns, SERVER, 443) as other:
            other.send(again)
            assert other.recv(65536) == again
        s.send(first)  # now it is the other's
        with pytest.raises(ConnectionRefusedError):
            s.recv(1)


def test_old_connections_make_room(net, sandbox, world, udp):  # noqa: F811
    """A client that keeps its socket begins a connection now and then. None is forgotten while its server may wait for more."""
    udp(443)
    net.dns.names.update({NAME: [SERVER]})
    slot, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    firsts = [initial(NAME) for _ in range(17)]
    with client(ns, SERVER, 443) as s:
        for i in range(2):
            for first in firsts[i * 8 : i * 8 + 8]:
                s.send(first)
                assert s.recv(65536) == first
            for _ in range(2):
                time.sleep(ID_MS / 2000 + 0.05)
                s.send(b"\x40" + bytes(50))
                assert len(s.recv(100)) == 51
        s.send(firsts[16])
        assert s.recv(65536) == firsts[16]
        for first in (initial(NAME) for _ in range(7)):
            s.send(first)
            assert s.recv(65536) == first
        s.send(initial(NAME))
        with pytest.raises(ConnectionRefusedError):
            s.recv(1)
    world.gate.decision(proto="udp", addr=SERVER, reason="gate_resources", sandbox=f"s{slot}")
