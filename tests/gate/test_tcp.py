# SPDX-License-Identifier: Apache-2.0
"""Connections by address: what connect() says inside is what the far side did, and what is refused never leaves."""

import errno
import hashlib
import os
import socket
import struct
import threading
import time

import harness
import pytest
from harness import OTHER, OTHER6, SERVER, SERVER6, SILENT, UNREACHABLE, connect, inside, slot_addr4, slot_addr6

ALL = [SERVER, SERVER6, UNREACHABLE, SILENT]
BOTH = pytest.mark.parametrize("server", [SERVER, SERVER6])


@BOTH
def test_allowed_echoes(net, sandbox, world, server):
    _, ns = sandbox(allow=ALL)
    with connect(ns, server, 7) as s:
        s.sendall(b"hello")
        assert s.recv(100) == b"hello"
        assert s.getpeername()[0] == server
    event = world.gate.decision(addr=server, verdict="allow")
    assert event["port"] == 7 and event["rule"].startswith("allow_out[")
    end = world.gate.decision(addr=server, closed=True)
    assert (end["bytes_out"], end["bytes_in"]) == (5, 5)


@BOTH
def test_refused_is_refused(net, sandbox, server):
    _, ns = sandbox(allow=ALL)
    started = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(ns, server, 81)
    assert time.monotonic() - started < 0.5


def test_unreachable_is_unreachable(net, sandbox):
    _, ns = sandbox(allow=ALL)
    with pytest.raises(OSError) as e:
        connect(ns, UNREACHABLE, 80)
    assert e.value.errno == errno.EHOSTUNREACH


def test_silence_is_silence(net, sandbox, capture):
    _, ns = sandbox(allow=ALL)
    with pytest.raises(TimeoutError):
        connect(ns, SILENT, 80, 1.0)
    assert capture.mentions(SILENT) > 0


@pytest.mark.parametrize("server", [OTHER, OTHER6])
def test_not_allowed_times_out_and_nothing_leaves(net, sandbox, world, capture, server):
    _, ns = sandbox(allow=ALL)
    with pytest.raises(TimeoutError):
        connect(ns, server, 7, 1.3)  # long enough for the SYN to be sent again
    assert capture.mentions(server) == 0
    time.sleep(0.1)
    refusals = [e for e in world.gate.events if e.get("addr") == server]
    assert [(e["verdict"], e["reason"], e["count"]) for e in refusals] == [("deny", "not_in_allow_out", 1)]


def test_port_of_a_rule(net, sandbox):
    _, ns = sandbox(allow=[f"{SERVER}:7"])
    connect(ns, SERVER, 7).close()
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 80, 0.5)


def _listening_ports(world):
    out = harness.run("ip", "netns", "exec", world.gate_ns, "ss", "-Hltn")
    return sorted({int(line.split()[3].rsplit(":", 1)[1]) for line in out.splitlines()} - {53})


def test_the_listeners_own_ports_are_nobodys(net, sandbox, world, capture):
    _, ns = sandbox(allow=[SERVER, SERVER6])
    ports = _listening_ports(world)
    assert len(ports) == 2
    for port in ports:
        for address in (OTHER, OTHER6, "100.112.0.1", "fd64:6377::1"):
            with pytest.raises(TimeoutError):
                connect(ns, address, port, 0.3)
        for address in (SERVER, SERVER6):  # allowed: the server's own word counts
            with pytest.raises(ConnectionRefusedError):
                connect(ns, address, port, 2)


def test_listener_port_of_a_server(net, sandbox, world):
    """A server that happens to listen on the gate's own port is reached like any other."""
    _, ns = sandbox(allow=[SERVER])
    port = _listening_ports(world)[0]
    listener = harness.serve(world.net_ns, port, harness.echo)
    try:
        with connect(ns, SERVER, port) as s:
            s.sendall(b"x" * 1000)
            assert len(s.recv(1000, socket.MSG_WAITALL)) == 1000
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_stray_segments_open_nothing(net, sandbox, world, capture):
    """ACK, SYN+FIN and SYN+ACK by hand, to the listener and elsewhere."""
    slot, ns = sandbox(allow=[SERVER])
    source = slot_addr4(slot)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            for port in (*_listening_ports(world), 7):
                for flags in (0x10, 0x03, 0x12, 0x00, 0x18):
                    segment = struct.pack(">HHIIBBHHH", 4242, port, 1, 1, 5 << 4, flags, 64000, 0, 0)
                    raw.sendto(_tcp_sum(source, SERVER, segment), (SERVER, 0))

    capture.packets()
    inside(ns, send)
    time.sleep(0.3)
    assert capture.mentions(SERVER) == 0


def _tcp_sum(source, target, segment, payload=b""):
    data = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack(">HH", 6, len(segment + payload))
    data += segment + payload + b"\0" * (len(payload) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return segment[:16] + struct.pack(">H", ~total & 0xFFFF) + segment[18:] + payload


@pytest.mark.parametrize("port", [7, 53])
def test_spoofed_source_is_dropped(net, sandbox, world, capture, port):
    """One sandbox in another's name: neither a flow nor a query."""
    victim, victim_ns = sandbox(allow=[SERVER, SERVER6])
    _, ns = sandbox(allow=[SERVER, SERVER6])
    v4, v6 = slot_addr4(victim), slot_addr6(victim)
    harness.run("ip", "-n", ns, "addr", "add", f"{v4}/32", "dev", "eth0")
    harness.run("ip", "-n", ns, "addr", "add", f"{v6}/128", "dev", "eth0", "nodad")
    capture.packets()
    for source, target in ((v4, SERVER), (v6, SERVER6)):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET

        def work(kind):
            with socket.socket(family, kind) as s:
                s.settimeout(0.5)
                s.bind((source, 0))
                s.connect((target, port))
                s.send(b"\0" * 17)
                s.recv(100)

        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with pytest.raises(TimeoutError):
                inside(ns, lambda: work(kind))
    assert capture.mentions(SERVER) == capture.mentions(SERVER6) == 0
    assert [e for e in world.gate.events if e["event"] == "decision"] == []
    connect(victim_ns, SERVER, 7).close()


def test_unknown_source_has_no_policy(net, world, capture):
    ns = world.sandbox(900)
    world.gate.forget_events()
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.5)
    assert capture.mentions(SERVER) == 0
    assert world.gate.decision(reason="no_policy", source=slot_addr4(900))["sandbox"] is None


def test_sandboxes_do_not_meet(net, sandbox, world):
    other, other_ns = sandbox(allow=[SERVER])
    _, ns = sandbox(allow=["100.112.0.0/12"] if False else [SERVER], default_allow=True)
    listener = harness.serve(other_ns, 7, harness.echo)
    for address in (slot_addr4(other), slot_addr6(other)):
        with pytest.raises(TimeoutError):
            connect(ns, address, 7, 0.5)
        world.gate.decision(addr=address, reason="floor_sandbox")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_the_machine_itself_is_closed(net, sandbox, world):
    _, ns = sandbox(default_allow=True)
    for address in ("203.0.113.2", "2001:db8:77::2"):
        with pytest.raises(TimeoutError):
            connect(ns, address, 22, 0.4)
        assert world.gate.decision(addr=address, verdict="deny")["reason"] in ("floor_host", "private_address")


def test_icmp_and_the_rest_are_refused_with_a_record(net, sandbox, world, capture):
    slot, ns = sandbox(allow=ALL)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
            s.sendto(b"\x08\0\xf7\xff\0\0\0\0", (SERVER, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 132) as s:
            s.sendto(b"\0" * 16, (SERVER, 0))

    capture.packets()
    inside(ns, send)
    world.gate.decision(proto="icmp", addr=SERVER, reason="protocol_unsupported")
    world.gate.decision(proto="other", addr=SERVER, reason="protocol_unsupported")
    assert capture.mentions(SERVER) == 0


def test_fragments_go_nowhere(net, sandbox, world, capture):
    _, ns = sandbox(allow=ALL)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: may be fragmented
            s.sendto(b"x" * 4000, (SERVER, 443))

    inside(ns, send)
    time.sleep(0.2)
    assert capture.mentions(SERVER) == 0
    assert [e for e in world.gate.events if e.get("proto") == "udp"] == []


@BOTH
def test_half_close(net, sandbox, world, server):
    """The far side answers only when it has seen the end, and its answer still arrives."""
    done = threading.Event()

    def after_the_end(c):
        data = b""
        while part := c.recv(65536):
            data += part
        c.sendall(hashlib.sha256(data).digest())
        done.set()

    listener = harness.serve(world.net_ns, 7001, after_the_end)
    _, ns = sandbox(allow=ALL)
    payload = os.urandom(300_000)
    with connect(ns, server, 7001) as s:
        s.sendall(payload)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(32, socket.MSG_WAITALL) == hashlib.sha256(payload).digest()
        assert s.recv(1) == b""
    assert done.is_set()
    end = world.gate.decision(addr=server, closed=True)
    assert (end["bytes_out"], end["bytes_in"]) == (300_000, 32)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_reset_passes_through(net, sandbox, world):
    def reset(c):
        c.recv(1)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    listener = harness.serve(world.net_ns, 7002, reset)
    _, ns = sandbox(allow=ALL)
    with connect(ns, SERVER, 7002) as s:
        s.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_client_reset_reaches_the_server(net, sandbox, world):
    seen = []

    def wait(c):
        try:
            seen.append(c.recv(1))
            seen.append(c.recv(1))
        except ConnectionResetError:
            seen.append("reset")

    listener = harness.serve(world.net_ns, 7003, wait)
    _, ns = sandbox(allow=ALL)
    s = connect(ns, SERVER, 7003)
    s.sendall(b"x")
    time.sleep(0.2)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    time.sleep(0.3)
    assert seen == [b"x", "reset"]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_large_transfer_both_ways(net, sandbox):
    """100 MB up and, at the same time, 100 MB down; nothing lost, doubled or out of order."""
    _, ns = sandbox(allow=ALL)
    block = os.urandom(1 << 20)
    blocks = 100
    got = hashlib.sha256()
    started = time.monotonic()
    with connect(ns, SERVER, 7, 30) as s:

        def send():
            for i in range(blocks):
                s.sendall(struct.pack(">I", i) + block[4:])
            s.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        n = 0
        while data := s.recv(1 << 20):
            got.update(data)
            n += len(data)
        sender.join()
    want = hashlib.sha256()
    for i in range(blocks):
        want.update(struct.pack(">I", i) + block[4:])
    assert n == blocks << 20 and got.digest() == want.digest()
    print(f"\n{blocks} MB each way in {time.monotonic() - started:.2f} s")


def test_slow_reader_holds_the_writer_back(net, sandbox, world):
    """The gate keeps no more than a pipe and socket buffers of a stalled flow, and does not spin meanwhile."""
    _, ns = sandbox(allow=ALL)
    with connect(ns, SERVER, 7, 2) as s:
        s.settimeout(1)
        sent = 0
        try:
            while sent < 200 << 20:
                sent += s.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 100 << 20
        before = _cpu(world)
        time.sleep(1)
        assert _cpu(world) - before < 0.1
        s.settimeout(20)
        s.shutdown(socket.SHUT_WR)
        n = 0
        while data := s.recv(1 << 20):
            n += len(data)
        assert n == sent


def _cpu(world):
    with open(f"/proc/{world.gate.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_both_ends_closed_behind_back_pressure_does_not_spin(net, sandbox, world):
    """The client has ended and been ended while its bytes still wait for a slow server."""
    resume = threading.Event()
    total = []

    def slow(c):
        c.shutdown(socket.SHUT_WR)
        resume.wait(10)
        n = 0
        while data := c.recv(1 << 20):
            n += len(data)
        total.append(n)

    listener = harness.serve(world.net_ns, 7004, slow)
    _, ns = sandbox(allow=ALL)
    with connect(ns, SERVER, 7004, 2) as s:
        s.settimeout(0.7)
        sent = 0
        try:
            while True:
                sent += s.send(b"x" * 65536)
        except TimeoutError:
            pass
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
        time.sleep(0.3)
        before = _cpu(world)
        time.sleep(1)
        assert _cpu(world) - before < 0.1
        resume.set()
        end = time.monotonic() + 10
        while not total and time.monotonic() < end:
            time.sleep(0.05)
    assert total == [sent]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_update_resets_what_it_denies_and_keeps_the_rest(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER, OTHER])
    with connect(ns, SERVER, 7) as kept, connect(ns, OTHER, 7) as cut:
        for s in (kept, cut):
            s.sendall(b"1")
            assert s.recv(1) == b"1"
        world.update(slot, 2, allow=[SERVER])
        with pytest.raises(ConnectionResetError):
            cut.recv(1)
        kept.sendall(b"2")
        assert kept.recv(1) == b"2"
        assert world.gate.decision(addr=OTHER, verdict="deny")["reason"] == "not_in_allow_out"
        with pytest.raises(TimeoutError):
            connect(ns, OTHER, 7, 0.4)


def test_detach_resets_everything(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER])
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"1")
        assert s.recv(1) == b"1"
        assert world.gate.request("query", sandbox=f"s{slot}")["flows"] == 1
        assert world.gate.request("detach", sandbox=f"s{slot}")["ok"]
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    # Flows of earlier tests may still be saying good-bye; none stays.
    deadline = time.monotonic() + 5
    while world.gate.request("status")["flows"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.gate.request("status")["flows"] == 0


def test_port_reuse_replaces_the_flow(net, sandbox):
    """A client that was reset without a word and comes back from the same port gets a new connection."""
    slot, ns = sandbox(allow=[SERVER])

    def work():
        for i in range(3):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((slot_addr4(slot), 40000))
            s.settimeout(4)
            s.connect((SERVER, 7))
            s.sendall(b"%d" % i)
            assert s.recv(1) == b"%d" % i
            if i < 2:  # vanish silently: repair mode closes a socket without a packet
                s.setsockopt(socket.IPPROTO_TCP, 19, 1)
            s.close()

    inside(ns, work)


def test_port_reuse_after_the_server_closed(net, sandbox, world):
    """The gate's side is in TIME_WAIT then, for the very ports that the next SYN has."""
    listener = harness.serve(world.net_ns, 7005, lambda c: c.sendall(b"bye"))
    slot, ns = sandbox(allow=[SERVER])

    def work():
        for _ in range(4):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((slot_addr4(slot), 40001))
            s.settimeout(4)
            s.connect((SERVER, 7005))
            assert s.recv(100, socket.MSG_WAITALL) == b"bye"
            s.close()
            time.sleep(0.05)  # until the last ACK is there, the client's own kernel keeps the port

    inside(ns, work)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_limit_of_half_open_flows(net, sandbox, world):
    """256 connections to a silent server; the next is refused with its own reason, and other sandboxes are not touched."""
    slot, ns = sandbox(allow=ALL)
    _, other = sandbox(allow=ALL)

    def work():
        sockets = [socket.socket() for _ in range(260)]
        for s in sockets:
            s.setblocking(False)
            s.connect_ex((SILENT, 80))
        return sockets

    sockets = inside(ns, work)
    world.gate.decision(addr=SILENT, reason="limit_half_open")
    connect(other, SERVER, 7).close()
    for s in sockets:
        s.close()
    assert world.gate.request("query", sandbox=f"s{slot}")["half_open"] == 256
    assert world.gate.request("detach", sandbox=f"s{slot}")["ok"]
    assert world.gate.request("status")["flows"] <= 1


def test_many_at_once(net, sandbox, world):
    _, ns = sandbox(allow=ALL)
    started = time.monotonic()

    def work():
        sockets = []
        for _ in range(200):
            s = socket.socket()
            s.settimeout(5)
            s.connect((SERVER, 7))
            sockets.append(s)
        for s in sockets:
            s.sendall(b"ping")
        for s in sockets:
            assert s.recv(4, socket.MSG_WAITALL) == b"ping"
            s.close()

    inside(ns, work)
    assert time.monotonic() - started < 3
    end = time.monotonic() + 3
    while world.gate.request("status")["flows"] and time.monotonic() < end:
        time.sleep(0.05)
    assert world.gate.request("status")["flows"] == 0
