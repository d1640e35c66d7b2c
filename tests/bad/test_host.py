# SPDX-License-Identifier: Apache-2.0
"""
Somebody else administers the machine's network while sandboxes talk: rules flushed, added, routes and the device gone and back.

Each step is looked at from outside: whatever the machine's own rules are, nothing goes where no rule of a sandbox leads, and
when they are as before, everything works as before.
"""
import errno
import socket
import time

import harness
import pytest
from dnsd import lookup
from harness import OTHER, OTHER6, SERVER, SERVER6, connect, inside
from weather import datagram, echo_once, knock, udp_echo, until

NAME, DENIED = "one.allowed.test", "co.evil.test"
BATCH = """
addr replace 203.0.113.2/24 dev wan
addr replace 2001:db8:77::2/64 dev wan nodad
neigh replace 203.0.113.1 lladdr {mac} dev wan nud permanent
neigh replace 2001:db8:77::1 lladdr {mac} dev wan nud permanent
route replace default via 203.0.113.1
route replace default via 2001:db8:77::1
""".format(mac=harness.SANDBOX_MAC)


@pytest.fixture(scope="module")
def echoes(world):
    sockets = udp_echo(world.net_ns, SERVER, SERVER6, OTHER)
    yield
    for s in sockets:
        s.close()


class Life:
    """A sandbox with an old connection, and what it may and may not."""

    def __init__(self, world, ns, capture, dns):
        self.world, self.ns, self.capture, self.dns = world, ns, capture, dns
        self.old = connect(ns, SERVER, 7)
        self.works()
        capture.packets()
        dns.queries.clear()

    def works(self):
        """Allowed in every way, on both families."""
        for address in (SERVER, SERVER6):
            echo_once(self.ns, address)
            assert datagram(self.ns, address) == b"datagram"
        assert lookup(self.ns, NAME) == [SERVER]

    def old_works(self):
        self.old.settimeout(8)
        self.old.sendall(b"still")
        assert self.old.recv(5, socket.MSG_WAITALL) == b"still"

    def knocks(self):
        """What is refused is tried, and nothing of it is seen outside. Says so; the capture starts anew."""
        knock(self.ns, [OTHER, OTHER6, "10.9.8.7", "169.254.169.254"])
        with pytest.raises(OSError):
            lookup(self.ns, DENIED)
        time.sleep(0.1)
        packets = self.capture.packets()
        for address in (OTHER, OTHER6, "10.9.8.7", "169.254.169.254"):
            raw = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
            assert not [p for p in packets if raw in p[14:54]], address
        assert DENIED not in self.dns.queries

    def fails(self, *numbers):
        """Allowed, and does not work; returns at once when numbers are given."""
        for address in (SERVER, SERVER6):
            started = time.monotonic()
            with pytest.raises(OSError) as e:
                connect(self.ns, address, 7, 0.8).close()
            if numbers:
                assert e.value.errno in numbers, e.value
                assert time.monotonic() - started < 0.5


@pytest.fixture
def life(net, world, sandbox, capture, echoes):
    net.dns.names.update({NAME: [SERVER], DENIED: [OTHER]})
    _, ns = sandbox(allow=[SERVER, SERVER6, NAME])
    life = Life(world, ns, capture, net.dns)
    yield life
    life.old.close()
    harness.run("ip", "netns", "exec", world.uplink_ns, "nft", "flush", "ruleset")
    harness.run("ip", "-n", world.uplink_ns, "link", "set", "wan", "up")
    harness.run("ip", "-n", world.uplink_ns, "-batch", "-", stdin=BATCH)


def nft(world, text, ns=None):
    harness.run("ip", "netns", "exec", ns or world.uplink_ns, "nft", "-f", "-", stdin=text)


def test_rules_flushed(life, world):
    nft(world, "table inet mine { chain out { type filter hook output priority 0; counter; }; }\n")
    nft(world, "flush ruleset\n")
    life.works()
    life.old_works()
    life.knocks()


def test_everything_dropped(life, world):
    nft(world, """
table inet mine {
  chain out { type filter hook output priority 0; policy drop; }
  chain in { type filter hook input priority 0; policy drop; }
}
""")
    life.capture.packets()
    life.fails()
    life.old.sendall(b"still")  # lost for now, and sent again by the kernel
    knock(life.ns, [OTHER, OTHER6])
    assert life.capture.packets() == []
    nft(world, "delete table inet mine\n")
    assert life.old.recv(5, socket.MSG_WAITALL) == b"still"
    life.works()
    life.old_works()
    life.knocks()


def test_everything_rejected(life, world):
    nft(world, """
table inet mine {
  chain out {
    type filter hook output priority 0;
    oifname "wan" meta l4proto { tcp, udp } th dport 7 reject with icmpx admin-prohibited;
  }
}
""")
    life.fails()
    life.knocks()
    nft(world, "delete table inet mine\n")
    life.works()
    life.knocks()


@pytest.mark.parametrize("rule", ["masquerade", "snat ip to 203.0.113.2:30000-31000",
                                  "tcp dport 7777 dnat ip to 93.184.215.14:7"],
                         ids=lambda rule: rule.split()[-1])
def test_address_translation(life, world, rule):
    hook, priority = ("output", "-100") if "dnat" in rule else ("postrouting", "100")
    proto = "meta l4proto { tcp, udp }" if "snat" in rule else ""
    nft(world, f"table ip mine {{ chain c {{ type nat hook {hook} priority {priority}; {proto} {rule}; }}; }}\n")
    life.works()
    life.knocks()
    nft(world, "delete table ip mine\n")
    life.works()
    life.knocks()


def test_routes_gone_and_back(life, world):
    for family in ("-4", "-6"):
        harness.run("ip", "-n", world.uplink_ns, family, "route", "del", "default")
    life.fails(errno.ENETUNREACH, errno.EHOSTUNREACH)
    life.knocks()
    harness.run("ip", "-n", world.uplink_ns, "-batch", "-", stdin=BATCH)
    life.works()
    life.old_works()
    life.knocks()


def test_device_down_and_up(life, world):
    harness.run("ip", "-n", world.uplink_ns, "link", "set", "wan", "down")
    life.fails(errno.ENETUNREACH, errno.EHOSTUNREACH)
    knock(life.ns, [OTHER, OTHER6])
    assert life.capture.packets() == []
    harness.run("ip", "-n", world.uplink_ns, "link", "set", "wan", "up")
    harness.run("ip", "-n", world.uplink_ns, "-batch", "-", stdin=BATCH)
    life.works()
    life.old_works()
    life.knocks()


def test_address_replaced(life, world):
    """The machine gets another address: it is its own from then on, and the old one is not."""
    listener = inside(world.uplink_ns, lambda: socket.create_server(("0.0.0.0", 7008)))
    harness.run("ip", "-n", world.uplink_ns, "addr", "add", "203.0.113.77/24", "dev", "wan")
    try:
        until(lambda: "203.0.113.77" in world.gate.request("status")["host"], 2)
        with pytest.raises(TimeoutError):
            connect(life.ns, "203.0.113.77", 7008, 0.4)
        life.works()
        life.knocks()
    finally:
        harness.run("ip", "-n", world.uplink_ns, "addr", "del", "203.0.113.77/24", "dev", "wan")
        listener.close()
    until(lambda: "203.0.113.77" not in world.gate.request("status")["host"], 2)
    life.works()


def test_the_gates_own_rules_flushed(life, world):
    """Without its rules nothing goes, allowed or not; a new gate makes them again."""
    nft(world, "flush ruleset\n", world.gate_ns)
    life.capture.packets()
    life.fails()
    knock(life.ns, [OTHER, OTHER6])
    assert not any(socket.inet_aton(a) in p[14:54] for p in life.capture.packets() for a in (SERVER, OTHER) if p[47] & 2)
    world.stop_gate()
    world.start_gate()
    world.attach(_slot(world, life.ns), allow=[SERVER, SERVER6, NAME])
    life.works()
    life.knocks()


def _slot(world, ns):
    return int(ns[len(world.tag) + 2:])
