# SPDX-License-Identifier: Apache-2.0
"""Refusals under `"blocked": "reject"`: an answer at once instead of silence. Not for who is unknown."""

import errno
import socket
import struct
import threading
import time

import harness
import pytest
from dnsd import lookup
from harness import OTHER, OTHER6, SERVER, SERVER6, SILENT, connect, inside
from test_tcp import _tcp_sum

PROHIBITED4, PROHIBITED6 = (3, 13), (1, 1)


def refused(ns, address, port=7):
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(ns, address, port, 2)
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("address", [OTHER, OTHER6, "10.1.2.3", "169.254.169.254", "203.0.113.2", "100.112.0.1", "fd64:6377::1"])
def test_a_denied_connection_is_reset(net, sandbox, world, capture, address):
    _, ns = sandbox(allow=[SERVER, SERVER6], reject=True)
    for _ in range(3):
        refused(ns, address)
    assert capture.mentions(address) == 0
    world.gate.decision(proto="tcp", addr=address, verdict="deny")
    for server in (SERVER, SERVER6):
        connect(ns, server, 7).close()


def test_a_syn_sent_again_is_answered_again_and_recorded_once(sandbox, world):
    """By hand, because a kernel that was answered sends no second one."""
    slot, ns = sandbox(allow=[SERVER], reject=True)
    def work():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.settimeout(1)
            syn = struct.pack(">HHIIBBHHH", 4242, 80, 7, 0, 5 << 4, 2, 64000, 0, 0)
            resets = 0
            for _ in range(3):
                raw.sendto(_tcp_sum(harness.slot_addr4(slot), OTHER, syn), (OTHER, 0))
                packet = raw.recv(200)[20:]
                assert struct.unpack_from(">HHII", packet) == (80, 4242, 0, 8) and packet[13] == 0x14
                resets += 1
            return resets

    assert inside(ns, work) == 3
    time.sleep(1.2)
    told = [e for e in world.gate.events if e.get("addr") == OTHER and e["sandbox"] == f"s{slot}"]
    assert [e["count"] for e in told] == [1], told


def test_drop_stays_silent(sandbox):
    _, ns = sandbox(allow=[SERVER])
    with pytest.raises(TimeoutError):
        connect(ns, OTHER, 7, 0.5)


def test_an_unknown_source_hears_nothing(world):
    ns = world.sandbox(902)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.5)


def _ping(ns, address, proto=None):
    """The ICMP type and code of the answer to an echo request (or a packet of another protocol)."""
    six = ":" in address
    icmp = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP

    def work():
        family = socket.AF_INET6 if six else socket.AF_INET
        with socket.socket(family, socket.SOCK_RAW, icmp) as listen, \
                socket.socket(family, socket.SOCK_RAW, proto or icmp) as s:
            listen.settimeout(3)
            s.sendto(bytes([128 if six else 8, 0]) + (b"\0\0" if six else b"\xf7\xff") + bytes(4), (address, 0))
            while True:
                data = listen.recv(200)
                data = data if six else data[20:]
                if data[0] in (1, 3):
                    return data[0], data[1]

    return inside(ns, work)


def test_other_protocols_are_prohibited(sandbox, world):
    _, ns = sandbox(allow=[SERVER, SERVER6], reject=True)
    assert _ping(ns, SERVER) == _ping(ns, OTHER) == PROHIBITED4
    assert _ping(ns, SERVER6) == PROHIBITED6
    assert _ping(ns, SERVER, 132) == PROHIBITED4
    world.gate.decision(proto="icmp", addr=SERVER, reason="protocol_unsupported")
    _, ns = sandbox(allow=[SERVER])
    with pytest.raises(TimeoutError):
        _ping(ns, SERVER)


def test_limits_and_lost_names_are_answered(net, sandbox, world):
    net.dns.ttl = 0
    net.dns.names["moved.test"] = [SERVER]
    _, ns = sandbox(allow=["moved.test"], reject=True)
    lookup(ns, "moved.test")
    net.dns.names["moved.test"] = ["10.9.8.7"]
    time.sleep(1.2)
    refused(ns, SERVER)
    world.gate.decision(addr=SERVER, reason="name_gone")
    net.dns.names.pop("moved.test")
    net.dns.ttl = 60
    slot = 880
    ns = world.sandbox(slot)
    image = harness.policy_image(allow=[SERVER, SILENT], reject=True)
    assert world.gate.request("attach", image, sandbox=f"s{slot}", addr4=harness.slot_addr4(slot),
                              addr6=harness.slot_addr6(slot), generation=1, limits={"half_open": 1})["ok"]

    def work():
        s = socket.socket()
        s.setblocking(False)
        assert s.connect_ex((SILENT, 80)) == errno.EINPROGRESS
        return s

    with inside(ns, work):
        time.sleep(0.1)
        refused(ns, SERVER)
        world.gate.decision(sandbox=f"s{slot}", reason="limit_half_open")


def test_a_new_policy_answers_what_is_held(sandbox, world):
    slot, ns = sandbox(allow=[SILENT], reject=True)

    def work():
        with socket.socket() as s:
            s.settimeout(3)
            threading.Timer(0.3, world.update, (slot, 2), {"allow": [SERVER], "reject": True}).start()
            started = time.monotonic()
            with pytest.raises(ConnectionRefusedError):
                s.connect((SILENT, 80))
            assert time.monotonic() - started < 0.8, "before the next SYN"

    inside(ns, work)


def test_a_local_address_by_a_route_alone_leaves_no_flow_behind(sandbox, world):
    """It is found when the address is about to be dialled, after the flow was made."""
    harness.run("ip", "-n", world.uplink_ns, "route", "add", "local", "93.184.215.200/32", "dev", "lo")
    for reject in (True, False):
        slot, ns = sandbox(allow=["93.184.215.200"], reject=reject)
        if reject:
            refused(ns, "93.184.215.200")
        else:
            with pytest.raises(TimeoutError):
                connect(ns, "93.184.215.200", 7, 0.5)
        world.gate.decision(addr="93.184.215.200", reason="floor_host", sandbox=f"s{slot}")
        assert world.gate.request("query", sandbox=f"s{slot}")["flows"] == 0
        assert world.gate.request("query", sandbox=f"s{slot}")["half_open"] == 0
