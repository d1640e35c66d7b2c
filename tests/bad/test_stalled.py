# SPDX-License-Identifier: Apache-2.0
"""The gate stands still, or is killed; nobody reads what it tells. Nothing passes without it, and nothing waits for a reader."""
import os
import signal
import socket
import time

import pytest
from dnsd import lookup
from harness import OTHER, OTHER6, SERVER, SERVER6, connect, inside
from weather import SLOW, cpu, datagram, echo_once, knock, udp_echo, until

NAME = "one.allowed.test"
ALLOW = [SERVER, SERVER6, NAME]


@pytest.fixture(scope="module")
def echoes(world):
    sockets = udp_echo(world.net_ns, SERVER, SERVER6)
    yield
    for s in sockets:
        s.close()


def syns_and_datagrams(packets):
    """Of these packets on the uplink, those that begin something: SYNs, datagrams."""
    found = []
    for p in packets:
        six = p[12:14] == b"\x86\xdd"
        proto, head = (p[20], p[54:]) if six else (p[23], p[34:])
        if proto == 17 or (proto == 6 and head[13] & 0x12 == 2):
            found.append(p)
    return found


def works(ns):
    for address in (SERVER, SERVER6):
        echo_once(ns, address)
        assert datagram(ns, address) == b"datagram"
    assert lookup(ns, NAME) == [SERVER]


def nothing_passes(ns, capture, seconds):
    """Everything is tried for so long, refused and allowed: nothing new is seen outside."""
    capture.packets()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        knock(ns, [OTHER, OTHER6, SERVER, SERVER6])
        with pytest.raises(OSError):
            connect(ns, SERVER, 7, 0.2).close()
    assert syns_and_datagrams(capture.packets()) == []


def test_stopped(net, world, sandbox, capture, echoes):
    net.dns.names[NAME] = [SERVER]
    _, ns = sandbox(allow=ALLOW)
    works(ns)
    with connect(ns, SERVER, 7) as old:
        pid = world.gate.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            old.sendall(b"waiting")
            nothing_passes(ns, capture, 3)
        finally:
            os.kill(pid, signal.SIGCONT)
        old.settimeout(3)
        assert old.recv(7, socket.MSG_WAITALL) == b"waiting"
        works(ns)
    # What was knocked at meanwhile is refused now, with a record, and not let through late.
    world.gate.decision(addr=OTHER, verdict="deny", reason="not_in_allow_out")
    time.sleep(0.3)
    assert not any(socket.inet_aton(OTHER) in p[14:54] for p in capture.packets())
    assert world.gate.process.pid == pid and world.gate.process.poll() is None


def test_killed(net, world, sandbox, capture, echoes):
    net.dns.names[NAME] = [SERVER]
    slot, ns = sandbox(allow=ALLOW)
    works(ns)
    with connect(ns, SERVER, 7) as old:
        world.gate.process.kill()
        world.gate.process.wait(5)
        nothing_passes(ns, capture, 1)
        world.start_gate()
        nothing_passes(ns, capture, 0.5)  # it does not know the sandbox yet
        world.attach(slot, allow=ALLOW)
        until(lambda: _echoes(ns), 3)
        works(ns)
        # The kernel ended the old connection for the dead process; nobody goes on with it.
        old.settimeout(3)
        try:
            old.sendall(b"x")
            assert old.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass


def _echoes(ns):
    try:
        echo_once(ns, SERVER, 0.5)
        return True
    except OSError:
        return False


SANDBOXES, PORTS = 44, 250  # more refusals than the gate keeps for a reader, each of a kind of its own


def test_nobody_reads_the_decisions(net, world, sandbox, echoes):
    """The gate goes on as fast as ever, and in the end its words and what it had to drop add up to all that happened."""
    made = [sandbox(allow=[SERVER]) for _ in range(SANDBOXES)]
    _, ns = sandbox(allow=[SERVER])
    pid = world.gate.process.pid

    def refused():
        for port in range(1000, 1000 + PORTS):
            with socket.socket() as s:
                s.setblocking(False)
                s.connect_ex((OTHER, port))

    with world.gate._event_lock:  # the reader takes one more and then stands still
        for _, namespace in made:
            inside(namespace, refused)
            # SYNs are read in their order, so this one's answer says that the gate has read those before it: its queue
            # holds some hundred, and who is gone sends none again.
            echo_once(ns, SERVER)
        burnt, started = cpu(pid), time.monotonic()
        while time.monotonic() < started + 3:
            before = time.monotonic()
            echo_once(ns, SERVER)
            assert time.monotonic() - before < 0.5 * SLOW
            time.sleep(0.05)
        assert cpu(pid) - burnt < 0.5 * SLOW
    echo_once(ns, SERVER)

    def told():
        rows = [e for e in world.gate.events if e["event"] == "decision" and e.get("addr") == OTHER]
        return sum(e["count"] for e in rows)

    def dropped():
        return sum(e.get("dropped", 0) for e in world.gate.events)

    # A count of what was dropped comes with the next event: the neighbour's.
    until(lambda: told() + dropped(), 5, lambda n: n > 0.95 * SANDBOXES * PORTS)
    print(f"{told()} told, {dropped()} dropped, {SANDBOXES * PORTS} refusals")
    # Among what was dropped are the neighbour's allowed connections too.
    assert dropped() > 100 and told() + dropped() <= SANDBOXES * PORTS + 400
