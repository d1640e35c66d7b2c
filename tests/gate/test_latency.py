# SPDX-License-Identifier: Apache-2.0
"""What the gate costs: connect and first byte, through it and past it. Prints; fails only far beyond the goal."""

import socket
import statistics
import time

from harness import SERVER, inside

ROUNDS = 400


def _times(ns):
    def work():
        out = []
        for _ in range(ROUNDS):
            t = time.perf_counter()
            with socket.socket() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                s.connect((SERVER, 7))
                s.sendall(b"x")
                s.recv(1)
            out.append((time.perf_counter() - t) * 1000)
        return out

    return inside(ns, work)


def test_connect_and_first_byte(net, sandbox, world):
    _, ns = sandbox(allow=[SERVER])
    _times(ns)
    through, direct = _times(ns), _times(world.uplink_ns)
    line = ", ".join(
        f"{name} p50 {statistics.median(x):.3f} p99 {statistics.quantiles(x, n=100)[98]:.3f} ms"
        for name, x in (("through the gate", through), ("direct", direct))
    )
    print(f"\nconnect + first byte: {line}")
    assert statistics.median(through) < statistics.median(direct) + 2
