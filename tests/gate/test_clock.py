# SPDX-License-Identifier: Apache-2.0
"""Time that jumps: TTLs and idle flows over hours, and a wall clock that is set by a day. No test waits for it."""

import mmap
import socket
import struct
import time

import harness
import pytest
from dnsd import lookup
from harness import MOVED, SERVER, connect

HOUR, DAY = 3600, 86400


class Clock:
    """The gate's clocks, moved against the machine's."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(16))
        with open(path, "r+b") as f:
            self._map = mmap.mmap(f.fileno(), 16)
        self.wall_s, self.mono_s = 0.0, 0.0

    def _put(self):
        self._map[:] = struct.pack("=qq", int(self.wall_s * 1e6), int(self.mono_s * 1e3))
        time.sleep(0.1)  # the loop looks every 20 ms

    def pass_by(self, seconds):
        """Time goes by, on all clocks."""
        self.mono_s += seconds
        self.wall_s += seconds
        self._put()

    def set_wall(self, seconds):
        """Somebody sets the wall clock to so much from now."""
        self.wall_s = seconds
        self._put()


def talk(s):
    """A line that is neither TLS nor HTTP, there and back."""
    s.sendall(b"hello\n")
    assert s.recv(6) == b"hello\n"


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock") / "offsets")


@pytest.fixture(scope="module")
def world(clock):
    with harness.World() as w, pytest.MonkeyPatch.context() as env:
        env.setenv("DECLAW_TEST_CLOCK", str(clock.path))
        w.start_gate("--resolver", "9.9.9.9")
        yield w


@pytest.fixture
def names(net):
    """Names whose answers no cache between the server and the gate keeps."""
    net.dns.ttl = 0
    before = dict(net.dns.names)
    yield net.dns.names
    net.dns.names.clear()
    net.dns.names.update(before)


def test_hooks_are_built_in(world, net, sandbox, clock):
    """Otherwise nothing here would test anything."""
    _, ns = sandbox(allow=[])
    clock.pass_by(DAY)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.3)
    assert abs(world.gate.decision(addr=SERVER, verdict="deny")["time"] - time.time() - clock.wall_s) < 2


@pytest.mark.parametrize("hours", [1, 24])
def test_first_answer_works_hours_later(net, names, sandbox, clock, hours):
    """A runtime that looks a name up once and keeps the address."""
    names["kept.test"] = [SERVER]
    _, ns = sandbox(allow=["kept.test"])
    assert lookup(ns, "kept.test") == [SERVER]
    clock.pass_by(hours * HOUR)
    asked = net.dns.queries.count("kept.test")
    with connect(ns, SERVER, 7) as s:
        talk(s)
    assert net.dns.queries.count("kept.test") > asked  # not on trust


def test_address_that_the_name_gave_up_is_never_dialled(net, names, sandbox, world, clock, capture):
    names["moved.test"] = [SERVER]
    _, ns = sandbox(allow=["moved.test"])
    assert lookup(ns, "moved.test") == [SERVER]
    names["moved.test"] = [MOVED]
    clock.pass_by(HOUR)
    capture.packets()
    with connect(ns, SERVER, 7) as s:
        talk(s)
    packets = capture.packets()
    assert any(socket.inet_aton(MOVED) in p[14:54] for p in packets)
    assert not any(socket.inet_aton(SERVER) in p[14:54] for p in packets)
    del names["moved.test"]
    clock.pass_by(HOUR)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.5)
    world.gate.decision(addr=SERVER, reason="name_gone")
    assert not any(socket.inet_aton(SERVER) in p[14:54] for p in capture.packets())


def test_rule_is_gone_an_hour_later(net, names, sandbox, world, clock):
    names["kept.test"] = [SERVER]
    slot, ns = sandbox(allow=["kept.test"])
    assert lookup(ns, "kept.test") == [SERVER]
    world.update(slot, 2, allow=[])
    clock.pass_by(HOUR)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.5)
    world.gate.decision(addr=SERVER, reason="not_in_allow_out")


def test_idle_flow_survives_hours(net, names, sandbox, world, clock):
    net.dns.ttl = 5
    names["idle.test"] = [SERVER]
    slot, ns = sandbox(allow=["idle.test"])
    assert lookup(ns, "idle.test") == [SERVER]
    with connect(ns, SERVER, 7) as s:
        talk(s)
        names["idle.test"] = [MOVED]
        for _ in range(6):
            clock.pass_by(HOUR)
        talk(s)
        # Not even a new policy with the same rule ends it.
        world.update(slot, 2, allow=["idle.test"])
        talk(s)
    end = world.gate.decision(addr=SERVER, closed=True)
    assert end["duration_ms"] >= 6 * HOUR * 1000 and end["bytes_out"] == 18


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_wall_clock_is_set(net, names, sandbox, world, clock, jump):
    """Nothing but the recorded times knows."""
    net.dns.ttl = 60
    names["wall.test"] = [SERVER]
    clock.set_wall(0)
    _, ns = sandbox(allow=["wall.test"])
    assert lookup(ns, "wall.test") == [SERVER]
    asked = len(net.dns.queries)
    with connect(ns, SERVER, 7) as s:
        talk(s)
        before = world.gate.decision(addr=SERVER, verdict="allow")
        clock.set_wall(jump)
        try:
            talk(s)
            world.gate.forget_events()
            with connect(ns, SERVER, 7) as again:
                talk(again)
            assert len(net.dns.queries) == asked  # the pin is as fresh as it was
            after = world.gate.decision(addr=SERVER, verdict="allow")
            assert abs(after["time"] - before["time"] - jump) < 5
            assert {k: after[k] for k in ("reason", "rule", "name")} == {k: before[k] for k in ("reason", "rule", "name")}
            assert 0 <= world.gate.decision(addr=SERVER, closed=True)["duration_ms"] < 5000
            with pytest.raises(TimeoutError):
                connect(ns, MOVED, 7, 0.3)
            assert abs(world.gate.decision(addr=MOVED)["time"] - time.time() - jump) < 5
        finally:
            clock.set_wall(0)
        talk(s)


def test_limits_and_windows_go_on_after_a_day(net, names, sandbox, world, clock):
    """Merged records come, rates refill and no more than that, a minute of names is over."""
    names.update({f"n{i}.many.test": [SERVER] for i in range(9)})
    _, ns = sandbox(allow=["*.many.test"], limits={"names_per_minute": 3})
    for i in range(3):
        assert lookup(ns, f"n{i}.many.test") == [SERVER]
    for _ in range(5):
        with pytest.raises(OSError) as e:
            lookup(ns, "n3.many.test")
        assert e.value.errno == 5
    world.gate.decision(name="n3.many.test", reason="limit_dns_names", count=1)
    clock.pass_by(DAY)
    world.gate.decision(name="n3.many.test", reason="limit_dns_names", count=4)
    for i in range(3, 6):
        assert lookup(ns, f"n{i}.many.test") == [SERVER]
    with pytest.raises(OSError):
        lookup(ns, "n6.many.test")
