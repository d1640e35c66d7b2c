# SPDX-License-Identifier: Apache-2.0
"""Encrypted Client Hello: refused where a name must be proven, unless the policy allows it; then its outer name counts."""

import os
import socket
import struct

import harness
import pytest
import quic
from dnsd import lookup
from harness import OTHER, SERVER, connect
from test_quic import exchange, is_refused
from test_udp import client, udp, wait_for  # noqa: F401

NAME, DENIED = "one.allowed.test", "co.evil.test"
PORT = 9443


def with_ech(name):
    return quic.with_extension(quic.hello(name), 0xFE0D, os.urandom(150))


def record(message):
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


@pytest.fixture
def named(net, sandbox):
    net.dns.ttl = 60
    net.dns.names.update({NAME: [SERVER], DENIED: [SERVER]})
    slot, ns = sandbox(allow=[NAME], allow_ech=True)
    assert lookup(ns, NAME) == [SERVER]
    return slot, ns


@pytest.fixture
def echo(world):
    listener = harness.serve(world.net_ns, PORT, harness.echo)
    yield listener
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("name,passes", [(NAME, True), (DENIED, False)])
def test_the_outer_name_counts(named, echo, world, name, passes):
    message = record(with_ech(name))
    with connect(named[1], SERVER, PORT) as s:
        s.sendall(message)
        got = s.recv(65536)
    if passes:
        assert got == message[:len(got)] and got
    else:
        assert got[:1] == b"\x15", "an alert"
        world.gate.decision(addr=SERVER, verdict="deny", reason="sni_not_allowed")


def test_live_flows_follow_the_switch(named, echo, world, udp):  # noqa: F811
    """An unrelated change keeps what is there; without the switch it ends, over TCP and over QUIC."""
    slot, ns = named
    message = record(with_ech(NAME))
    far = udp(PORT)
    with connect(ns, SERVER, PORT) as s, client(ns, SERVER, PORT) as q:
        s.sendall(message)
        assert s.recv(65536)
        exchange(q, quic.seal(quic.crypto(with_ech(NAME)), os.urandom(8)))
        world.update(slot, 2, allow=[NAME, OTHER], allow_ech=True)
        s.sendall(b"still")
        assert s.recv(65536)
        exchange(q, b"\x40" + bytes(50))
        world.update(slot, 3, allow=[NAME])
        wait_for(lambda: len([e for e in world.gate.events if e.get("reason") == "ech"]) == 2)
        with pytest.raises(OSError):
            for _ in range(3):
                s.sendall(b"gone")
                if not s.recv(65536):
                    raise ConnectionResetError
    assert far.got


def test_quic_needs_the_switch(named, world, udp):  # noqa: F811
    slot, ns = named
    far = udp(PORT)
    world.update(slot, 2, allow=[NAME])
    with client(ns, SERVER, PORT) as q:
        q.send(quic.seal(quic.crypto(with_ech(NAME)), os.urandom(8)))
        is_refused(q)
    assert far.got == []
