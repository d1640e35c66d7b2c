# SPDX-License-Identifier: Apache-2.0
"""The gate runs out of descriptors, or of memory, because of one sandbox: refusals with a record, and over when it is over."""
import contextlib
import resource
import socket
import struct
import time

import pytest
from dnsd import ask, query_bytes
from ground import BUILD
from harness import OTHER, OTHER6, SERVER, SERVER6, connect, inside
from weather import cpu, datagram, echo_once, fds, knock, resolve, udp_echo, until

ROOM = 24  # descriptors that the gate may still open
GENEROUS = {"flows": 16000, "half_open": 16000, "flows_per_second": 100000, "dns_per_second": 100000}


@pytest.fixture(scope="module")
def echoes(world):
    sockets = udp_echo(world.net_ns, SERVER, SERVER6)
    yield
    for s in sockets:
        s.close()


@pytest.fixture
def squeezed(world):
    """squeezed(limit, value): a new gate with the limit, hard. Another one without it takes over at the end."""

    def start(limit, value):
        world.stop_gate()
        gate = world.start_gate(before=lambda: resource.setrlimit(limit, (value, value)))
        # Root without CAP_SYS_RESOURCE can not raise it again, and may not call prlimit; with it, the other way round.
        with contextlib.suppress(PermissionError):
            resource.prlimit(gate.process.pid, limit, (value, value))
        return gate.process.pid

    yield start
    world.stop_gate()
    world.start_gate()


def greedy_tcp(ns, n=60):
    def work():
        held = []
        for i in range(n):
            s = socket.socket(socket.AF_INET6 if i % 2 else socket.AF_INET)
            s.setblocking(False)
            s.connect_ex((SERVER6 if i % 2 else SERVER, 7))
            held.append(s)
        return held

    return inside(ns, work)


def greedy_udp(ns, n=60):
    def work():
        held = []
        for _ in range(n):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setblocking(False)
            s.connect((SERVER, 7))
            s.send(b"x")
            held.append(s)
        return held

    return inside(ns, work)


def greedy_dns(ns, n=40):
    """Connections to the resolver, each with a question that has to go upstream."""

    def work():
        held = []
        for i in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("100.112.0.1", 53))
            held.append(s)
        time.sleep(0.1)
        for i, s in enumerate(held):
            message = query_bytes(f"fresh{i}.allowed.test")
            try:
                s.send(struct.pack(">H", len(message)) + message)
            except OSError:
                pass  # refused, which is the case
        return held

    return inside(ns, work)


def _answered(ns):
    """One datagram's answer, or None: the first may meet a descriptor that is still on its way back."""
    try:
        return datagram(ns, SERVER)
    except OSError:
        return None


GREEDY = {"tcp": greedy_tcp, "udp": greedy_udp, "dns": greedy_dns}


@pytest.mark.parametrize("kind", [*GREEDY, "all"])
def test_descriptors(net, world, sandbox, echoes, capture, squeezed, kind):
    net.dns.names["one.allowed.test"] = [SERVER]
    pid = squeezed(resource.RLIMIT_NOFILE, sum(fds(world.gate.process.pid).values()) + ROOM)
    slot, greedy = sandbox(allow=[SERVER, SERVER6, "*.allowed.test"], limits=GENEROUS)
    _, neighbour = sandbox(allow=[SERVER, SERVER6, "one.allowed.test"])
    assert resolve(neighbour, "one.allowed.test") == [SERVER]
    before = fds(pid)
    with connect(neighbour, SERVER, 7) as old:
        old.sendall(b"1")
        assert old.recv(1) == b"1"
        capture.packets()
        held = [s for k, work in GREEDY.items() if kind in (k, "all") for s in work(greedy)]
        knock(greedy, [OTHER, OTHER6])
        if kind != "dns":
            word = until(lambda: [e for e in world.gate.events if e.get("reason") == "gate_resources"], 3)
            assert {e["proto"] for e in word} <= ({"tcp", "udp"} if kind == "all" else {kind}), word
        burnt = cpu(pid)
        for _ in range(20):
            old.sendall(b"on and on")
            assert old.recv(9, socket.MSG_WAITALL) == b"on and on"
            time.sleep(0.1)
        assert cpu(pid) - burnt < 0.15, "the gate is busy with having nothing"
        print(f"{sum(before.values())} -> {sum(fds(pid).values())} descriptors")
        for s in held:
            s.close()
        if kind in ("udp", "all"):
            # A flow of UDP ends with its silence or its sandbox, not with the client's socket.
            assert world.gate.request("detach", sandbox=f"s{slot}")["ok"]
        started = time.monotonic()
        until(lambda: _works(neighbour), 3)
        assert time.monotonic() - started < 1.5
        assert until(lambda: _answered(neighbour), 3) == b"datagram"
    assert ask(neighbour, "one.allowed.test").rcode == 0
    assert untouched(capture)
    assert world.gate.request("detach", sandbox=f"s{slot}")["ok"]
    until(lambda: fds(pid), 5, lambda now: now.get("socket", 0) <= before.get("socket", 0) + 4)
    assert world.gate.process.poll() is None and world.gate.process.pid == pid


def test_a_policy_can_be_changed_without_descriptors(net, world, sandbox, echoes, squeezed):
    squeezed(resource.RLIMIT_NOFILE, sum(fds(world.gate.process.pid).values()) + ROOM)
    slot, greedy = sandbox(allow=[SERVER, SERVER6], limits=GENEROUS)
    slot2, neighbour = sandbox(allow=[SERVER, OTHER])
    held = greedy_udp(greedy)
    until(lambda: [e for e in world.gate.events if e.get("reason") == "gate_resources"], 3)
    try:
        world.update(slot2, 2, allow=[OTHER])
    finally:
        for s in held:
            s.close()


def untouched(capture):
    raws = [socket.inet_pton(socket.AF_INET, OTHER), socket.inet_pton(socket.AF_INET6, OTHER6)]
    return not [p for p in capture.packets() if any(raw in p[14:54] for raw in raws)]


def _works(ns):
    try:
        echo_once(ns, SERVER, 0.5)
        return True
    except OSError:
        return False


def vm_size(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmSize"))


@pytest.mark.skipif("asan" in BUILD.name, reason="AddressSanitizer ends the process itself when memory is out")
def test_memory(net, world, sandbox, echoes, capture, squeezed):
    """Hardly a page more for the gate than its start takes, while one sandbox has it keep hellos and flows."""
    net.dns.names["one.allowed.test"] = [SERVER]
    # Twice, since with little room fewer arenas are set aside; with a lookup, so that the resolver has all it needs.
    for more in (16 << 20, 1 << 20):
        assert resolve(sandbox(allow=["one.allowed.test"])[1], "one.allowed.test") == [SERVER]
        pid = squeezed(resource.RLIMIT_AS, vm_size(world.gate.process.pid) + more)
    slot, greedy = sandbox(allow=[SERVER, SERVER6], limits=GENEROUS)
    slot2, named = sandbox(allow=["one.allowed.test"], limits=GENEROUS)
    assert resolve(named, "one.allowed.test") == [SERVER]
    _, neighbour = sandbox(allow=[SERVER])
    with connect(neighbour, SERVER, 7) as old:
        old.sendall(b"1")
        assert old.recv(1) == b"1"
        capture.packets()
        held = []
        for _ in range(6):
            held += greedy_tcp(greedy, 200) + greedy_udp(greedy, 200)
            held += half_hellos(named, 20)
        # No questions: what libunbound does without memory is not the same every time.
        knock(greedy, [OTHER, OTHER6])
        for _ in range(10):
            old.sendall(b"on and on")
            assert old.recv(9, socket.MSG_WAITALL) == b"on and on"
            time.sleep(0.05)
        assert world.gate.process.poll() is None
        refused = [e for e in world.gate.events if e.get("reason") == "gate_resources"]
        print(f"{len(refused)} refusals, for example {refused[:1]}")
        for s in held:
            s.close()
    for s in (slot, slot2):
        assert world.gate.request("detach", sandbox=f"s{s}")["ok"]
    until(lambda: _works(neighbour), 3)
    assert untouched(capture)
    until(lambda: world.gate.request("status")["flows"], 10, lambda n: n <= 1)
    assert world.gate.process.poll() is None and world.gate.process.pid == pid
    if not refused:
        pytest.skip("the gate had enough memory put by: nothing was refused, so nothing of ENOMEM was seen")


def half_hellos(ns, n):
    """Connections that hold 32 KiB each of a hello that does not end."""
    part = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xf0\x00\x03\x03" + bytes(0x4000 - 6)
    held = greedy_tcp(ns, n)
    time.sleep(0.1)
    for s in held:
        try:
            s.send(part + b"\x16\x03\x01\x40\x00" + bytes(0x4000))
        except OSError:
            pass  # refused, which is the case
    return held
