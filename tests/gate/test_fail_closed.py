# SPDX-License-Identifier: Apache-2.0
"""A gate that is gone lets nothing out, and a new one takes over the namespace as it is."""

import os
import resource
import signal
import socket
import time

import pytest
from harness import OTHER, SERVER, SERVER6, Capture, connect, inside


def test_killed_gate_means_silence_and_a_new_one_serves(net, sandbox, world, capture):
    slot, ns = sandbox(allow=[SERVER, SERVER6])
    old = connect(ns, SERVER, 7)
    old.sendall(b"1")
    assert old.recv(1) == b"1"
    world.gate.process.send_signal(signal.SIGKILL)
    world.gate.process.wait(5)
    capture.packets()
    for address in (SERVER, SERVER6, OTHER):
        with pytest.raises(TimeoutError):
            connect(ns, address, 7, 0.5)

    def datagrams():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x" * 20, (SERVER, 53))
            s.sendto(b"x" * 20, (SERVER, 443))

    inside(ns, datagrams)
    assert capture.mentions(SERVER) == capture.mentions(SERVER6) == capture.mentions(OTHER) == 0
    old.close()

    world.start_gate()
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.5)  # not attached yet: no policy
    world.attach(slot, allow=[SERVER, SERVER6])
    for address in (SERVER, SERVER6):
        with connect(ns, address, 7) as s:
            s.sendall(b"again")
            assert s.recv(5) == b"again"
    with pytest.raises(TimeoutError):
        connect(ns, OTHER, 7, 0.5)


def test_restarts_under_traffic(net, sandbox, world):
    """A client that never stops trying, over three restarts: only the allowed address is ever seen outside."""
    slot, ns = sandbox(allow=[SERVER])
    watch = Capture(world.net_ns, "inet")
    for _ in range(3):
        world.gate.process.kill()
        world.gate.process.wait(5)

        def knock():
            for address in (SERVER, OTHER) * 20:
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((address, 7))
                s.close()

        inside(ns, knock)
        world.start_gate()
        inside(ns, knock)
        world.attach(slot, allow=[SERVER])
        connect(ns, SERVER, 7).close()
    assert watch.mentions(OTHER) == 0
    watch.close()


def test_out_of_descriptors(net, sandbox, world):
    """Refused with a record, without spinning, and over when descriptors are there again."""
    slot, ns = sandbox(allow=[SERVER])
    world.stop_gate()
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    world.start_gate(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    try:
        with open(f"/proc/{world.gate.process.pid}/limits", encoding="ascii") as f:
            if not any(line.split()[:5] == ["Max", "open", "files", "64", "64"] for line in f):
                pytest.skip("the gate may raise its own limit here")
        world.attach(slot, allow=[SERVER])
        held = []
        for _ in range(40):
            try:
                held.append(connect(ns, SERVER, 7, 0.2))
            except (TimeoutError, ConnectionResetError):
                break
        assert 5 < len(held) < 40
        world.gate.decision(addr=SERVER, reason="gate_resources")
        before = _cpu(world)
        time.sleep(0.5)
        assert _cpu(world) - before < 0.1
        for s in held:
            s.close()
        time.sleep(0.1)
        with connect(ns, SERVER, 7) as s:
            s.sendall(b"x\n")
            assert s.recv(2) == b"x\n"
    finally:
        world.stop_gate()
        world.start_gate()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == ours


def _cpu(world):
    with open(f"/proc/{world.gate.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
