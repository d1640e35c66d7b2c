# SPDX-License-Identifier: Apache-2.0
"""What one sandbox may use: every limit is a refusal with a reason of its own, and a flood is nobody else's trouble."""

import json
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

import dnsd
import harness
import pytest
from dnsd import ask, lookup
from harness import OTHER, SERVER, SILENT, connect, inside, slot_addr4

EDE_PROHIBITED, REFUSED = 18, 5


def held(ns, address, port, n):
    """n connections that are open when this returns."""
    return [connect(ns, address, port) for _ in range(n)]


def dial(ns, address, port, n):
    """n connections that nobody waits for."""

    def work():
        out = []
        for _ in range(n):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address, port))
            out.append(s)
        return out

    return inside(ns, work)


def state(world, slot):
    return world.gate.request("query", sandbox=f"s{slot}")


def until(condition, seconds=3.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_flows(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER], limits={"flows": 5})
    sockets = held(ns, SERVER, 7, 5)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.4)
    event = world.gate.decision(sandbox=f"s{slot}", verdict="deny")
    assert (event["reason"], event["addr"], event["port"]) == ("limit_flows", SERVER, 7)
    assert "limits.flows" in event["message"]
    assert state(world, slot)["flows"] == 5 and state(world, slot)["limits"]["flows"] == 5
    sockets.pop().close()
    until(lambda: state(world, slot)["flows"] == 4)
    connect(ns, SERVER, 7).close()
    for s in sockets:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        s.close()


def test_half_open(net, sandbox, world):
    slot, ns = sandbox(allow=[SILENT, SERVER], limits={"half_open": 3})
    sockets = dial(ns, SILENT, 7, 3)
    until(lambda: state(world, slot)["half_open"] == 3)
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.4)
    event = world.gate.decision(sandbox=f"s{slot}", verdict="deny")
    assert event["reason"] == "limit_half_open" and "limits.half_open" in event["message"]
    for s in sockets:
        s.close()


def test_flow_rate(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER], limits={"flows_per_second": 5})
    sockets = dial(ns, SERVER, 7, 40)
    event = world.gate.decision(sandbox=f"s{slot}", verdict="deny")
    assert event["reason"] == "limit_flow_rate" and "limits.flows_per_second" in event["message"]
    until(lambda: state(world, slot)["flows"] >= 10)
    assert state(world, slot)["flows"] <= 13
    for s in sockets:
        s.close()


def test_bytes(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER], limits={"bytes": 100_000})
    with connect(ns, SERVER, 7) as s, connect(ns, SERVER, 7) as other:
        s.sendall(b"x" * 1000)
        assert len(s.recv(1000, socket.MSG_WAITALL)) == 1000
        with pytest.raises(OSError):
            for _ in range(1000):
                s.sendall(b"x" * 10_000)
                s.recv(10_000)
                time.sleep(0.005)
        event = world.gate.decision(sandbox=f"s{slot}", reason="limit_bytes")
        assert event["verdict"] == "deny" and "limits.bytes" in event["message"]
        with pytest.raises(TimeoutError):
            connect(ns, SERVER, 7, 0.4)
        with pytest.raises(OSError):
            for _ in range(20):
                other.sendall(b"x")
                assert other.recv(1)
                time.sleep(0.02)
            raise AssertionError("a flow went on although nothing was left")
    now = state(world, slot)
    assert 100_000 <= now["bytes_out"] + now["bytes_in"] < 400_000
    # More of it: it goes on.
    world.update(slot, 2, allow=[SERVER], limits={"bytes": 10_000_000})
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"


def test_bytes_of_many_flows_at_once(net, sandbox, world):
    """Each flow has data waiting when the quota runs out: that of one goes, not that of all."""
    got = []
    listener = harness.serve(world.net_ns, 2601, lambda c: got.extend(iter(lambda: len(c.recv(65536)), 0)))
    slot, ns = sandbox(allow=[SERVER], limits={"bytes": 10_000})
    flows = held(ns, SERVER, 2601, 20)
    os.kill(world.gate.process.pid, signal.SIGSTOP)
    try:
        time.sleep(0.1)
        for s in flows:
            s.setblocking(False)
            assert s.send(bytes(60_000)) > 30_000
        time.sleep(0.2)
    finally:
        os.kill(world.gate.process.pid, signal.SIGCONT)
    until(lambda: state(world, slot)["flows"] == 0)
    assert sum(got) < 10_000 + 70_000
    for s in flows:
        s.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_dns_rate(net, sandbox, world):
    slot, ns = sandbox(allow=["good.test"], limits={"dns_per_second": 10})
    net.dns.names["good.test"] = [SERVER]
    asked = len(net.dns.queries)
    answers = [ask(ns, "evil.test") for _ in range(20)] + [ask(ns, "good.test") for _ in range(10)]
    told = [a for a in answers if "limits.dns_per_second" in a.text]
    assert len(told) >= 5
    assert all((a.rcode, a.ede, a.addresses) == (REFUSED, EDE_PROHIBITED, []) for a in told)
    event = world.gate.decision(sandbox=f"s{slot}", reason="limit_dns_rate")
    assert event["proto"] == "dns" and event["verdict"] == "deny"
    assert len(net.dns.queries) - asked <= 1
    time.sleep(0.5)
    assert ask(ns, "good.test").addresses == [SERVER]


def test_dns_names(net, sandbox, world):
    slot, ns = sandbox(allow=["*.wild.test", "good.test"], limits={"names_per_minute": 4})
    net.dns.names.update({f"n{i}.wild.test": [SERVER] for i in range(10)})
    net.dns.names["good.test"] = [SERVER]
    answers = [ask(ns, f"n{i}.wild.test") for i in range(6)]
    assert [a.rcode for a in answers] == [0, 0, 0, 0, REFUSED, REFUSED]
    assert answers[5].ede == EDE_PROHIBITED and "limits.names_per_minute" in answers[5].text
    assert "n5.wild.test" not in net.dns.queries
    event = world.gate.decision(name="n4.wild.test")
    assert (event["reason"], event["verdict"]) == ("limit_dns_names", "deny")
    assert ask(ns, "n0.wild.test").rcode == 0 and ask(ns, "good.test").rcode == 0
    world.update(slot, 2, allow=["*.wild.test"], limits={"names_per_minute": 5})
    assert ask(ns, "n5.wild.test").rcode == 0
    assert ask(ns, "n6.wild.test").rcode == REFUSED


def test_dns_connections(net, sandbox, world):
    slot, ns = sandbox(allow=["good.test"])
    net.dns.names["good.test"] = [SERVER]
    sockets = dial(ns, "100.112.0.1", 53, 30)
    assert world.gate.decision(sandbox=f"s{slot}", proto="dns")["reason"] == "limit_dns_rate"
    time.sleep(0.2)
    ended = 0
    for s in sockets:
        try:
            ended += s.recv(1) == b""
        except BlockingIOError:
            pass
        except ConnectionResetError:
            ended += 1
    assert ended == 14
    for s in sockets:
        s.close()
    until(lambda: ask(ns, "good.test", tcp=True).addresses == [SERVER])


def test_dns_rate_over_tcp(net, sandbox, world):
    """Told, and then the connection ends."""
    slot, ns = sandbox(allow=["good.test"], limits={"dns_per_second": 2})
    message = dnsd.query_bytes("evil.test")
    with connect(ns, "100.112.0.1", 53) as s:
        s.sendall((struct.pack(">H", len(message)) + message) * 200)
        data = b""
        try:
            while part := s.recv(65536):
                data += part
        except ConnectionResetError:
            pass
    assert b"limits.dns_per_second" in data and data.count(b"allow_out") < 10
    assert world.gate.decision(sandbox=f"s{slot}", reason="limit_dns_rate")


def test_update_is_in_force_at_once(net, sandbox, world):
    slot, ns = sandbox(allow=[SERVER])
    sockets = held(ns, SERVER, 7, 3)
    world.update(slot, 2, allow=[SERVER], limits={"flows": 3})
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 0.3)
    world.update(slot, 3, allow=[SERVER], limits={"flows": 4})
    sockets += held(ns, SERVER, 7, 1)
    world.update(slot, 4, allow=[SERVER])
    sockets += held(ns, SERVER, 7, 10)
    assert state(world, slot)["limits"]["flows"] == 1024
    for s in sockets:
        s.close()


def test_flood_of_flows_is_counted(net, sandbox, world):
    """Some one by one, under their numbers, and the others together: no flow and no byte is missing."""
    slot, ns = sandbox(allow=[SERVER])

    def work():
        for _ in range(400):
            with socket.socket() as s:
                s.connect((SERVER, 7))
                s.sendall(b"12345")
                s.recv(5)

    inside(ns, work)

    def events(closed):
        return [e for e in world.gate.events if e["event"] == "decision" and e.get("addr") == SERVER and e["closed"] == closed]

    until(lambda: sum(e["count"] for e in events(True)) >= 400, 5)
    until(lambda: sum(e["count"] for e in events(False)) >= 400, 5)
    ends, starts = events(True), events(False)
    assert sum(e["count"] for e in ends) == 400 and sum(e["count"] for e in starts) == 400
    assert sum(e["bytes_out"] for e in ends) == 2000 == sum(e["bytes_in"] for e in ends)
    alone = [e["flow"] for e in starts if "flow" in e]
    assert 100 <= len(alone) < 400 and len(set(alone)) == len(alone)
    assert sorted(e["flow"] for e in ends if "flow" in e) == sorted(alone)
    assert all(e["count"] == 1 for e in ends + starts if "flow" in e)
    assert "dropped" not in "".join(str(e) for e in world.gate.events)


class Flood:
    """A process that can be let go and held."""

    def __init__(self, ns, rate, *what):
        script = os.path.join(os.path.dirname(__file__), "flood.py")
        self._process = subprocess.Popen([sys.executable, script, ns, str(rate), *what])

    def __enter__(self):
        self.hold()
        return self

    def hold(self):
        self._process.send_signal(signal.SIGSTOP)

    def go(self):
        assert self._process.poll() is None
        self._process.send_signal(signal.SIGCONT)

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()


def p50s(ns):
    """Medians of a connect and of a lookup, in ms."""

    def work():
        connects, lookups = [], []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns:
            dns.settimeout(2)
            dns.connect(("100.112.0.1", 53))
            for i in range(60):
                t = time.perf_counter()
                with socket.socket() as s:
                    s.settimeout(3)
                    s.connect((SERVER, 7))
                connects.append((time.perf_counter() - t) * 1000)
                t = time.perf_counter()
                dns.send(dnsd.query_bytes("good.test", ident=i))
                while dns.recv(4096)[:2] != struct.pack(">H", i):
                    pass
                lookups.append((time.perf_counter() - t) * 1000)
                time.sleep(0.002)
        return statistics.median(connects), statistics.median(lookups)

    return inside(ns, work)


@pytest.mark.parametrize("rate,what", [
    (10_000, ("syn", SERVER, "7")),
    (10_000, ("syn", OTHER, "7")),
    (10_000, ("dns", "x%d.evil.test")),
    (10_000, ("dns", "x%d.wild.test")),
    (2_000, ("dnstcp",)),
], ids=["syn-allowed", "syn-refused", "dns-refused", "dns-names", "dns-tcp"])
def test_neighbour_of_a_flood(net, sandbox, world, rate, what):
    """Quiet and flood in turns, so that what else the machine does meets both; medians of medians."""
    net.dns.names["good.test"] = [SERVER]
    slot, ns = sandbox(allow=[SERVER, "*.wild.test"])
    _, neighbour = sandbox(allow=[SERVER, "good.test"])
    assert lookup(neighbour, "good.test") == [SERVER]
    if what[0] == "syn":
        what = ("syn", slot_addr4(slot), *what[1:])
    p50s(neighbour)
    quiet, flooded = [], []
    with Flood(ns, rate, *what) as flood:
        for _ in range(7):
            quiet.append(p50s(neighbour))
            flood.go()
            time.sleep(0.4)
            flooded.append(p50s(neighbour))
            flood.hold()
            time.sleep(0.3)
    time.sleep(1.2)  # the last window of records
    seen = sum(e["count"] for e in world.gate.events if e.get("sandbox") == f"s{slot}" and not e["closed"])
    print(f"\n{seen} decisions about the flood", end="")
    assert seen >= rate  # it was one
    for i, name in enumerate(("connect", "lookup")):
        before, during = statistics.median(x[i] for x in quiet), statistics.median(x[i] for x in flooded)
        print(f"\n{name}: quiet {before:.3f} ms, beside the flood {during:.3f} ms")
        assert during <= 2 * before + 0.3


def test_queries_that_no_client_has_never_meet_the_gate(net, sandbox, world):
    """All queries wait in one queue: past 50,000 a second the ruleset drops those of whoever sends so many."""
    net.dns.names["good.test"] = [SERVER]
    _, ns = sandbox(allow=["good.test"])
    _, neighbour = sandbox(allow=["good.test"])
    message = dnsd.query_bytes("evil.test")

    def flood():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect(("100.112.0.1", 53))
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                for _ in range(500):
                    s.send(message)

    def dropped():
        rules = harness.run("ip", "netns", "exec", world.gate_ns, "nft", "-j", "list", "chain", "inet", "declaw", "query")
        return [e["counter"]["packets"] for r in json.loads(rules)["nftables"] if "rule" in r
                for e in r["rule"]["expr"] if "counter" in e]

    before = sum(dropped())
    assert lookup(ns, "good.test") == [SERVER] and sum(dropped()) == before
    inside(ns, flood)
    assert sum(dropped()) > before
    before = sum(dropped())
    time.sleep(0.3)
    for client in (neighbour, ns):
        assert lookup(client, "good.test") == [SERVER]
    assert sum(dropped()) == before


def test_observed_lookups(net, sandbox, world):
    """A policy that only observes: the name is answered and told, once a second; what is private stays closed."""
    net.dns.names.update({"other.test": [SERVER], "inner.test": ["10.1.2.3"]})
    slot, ns = sandbox(allow=["good.test"], observe=True)
    for _ in range(20):
        assert ask(ns, "other.test").addresses == [SERVER]
    event = world.gate.decision(sandbox=f"s{slot}", name="other.test", count=1)
    assert [event[k] for k in ("proto", "verdict", "reason", "would")] == ["dns", "allow", "observed", "name_not_allowed"]
    assert world.gate.decision(sandbox=f"s{slot}", name="other.test", count=19)["would"] == "name_not_allowed"
    answer = ask(ns, "inner.test")
    assert (answer.rcode, answer.addresses, answer.ede) == (0, [], 17)
    assert world.gate.decision(name="inner.test", verdict="deny")["reason"] == "private_answer"
    assert state(world, slot)["pins"] == 1


def test_what_waits_for_a_verdict_is_bounded(net, sandbox, world):
    """Heads that never end, in 32 KiB each: 8 MiB of one sandbox, whatever came and went before."""
    net.dns.ttl = 60
    net.dns.names["good.test"] = [SERVER]
    slot, ns = sandbox(allow=["good.test"])
    lookup(ns, "good.test")
    head = b"GET / HTTP/1.1\r\nHost: good.test\r\nX: " + b"x" * 20_000
    for _ in range(3):
        world.gate.forget_events()
        flows = held(ns, SERVER, 8080, 250)
        for s in flows:
            s.sendall(head)
        # Whole ones need nothing any more.
        for s in flows[:100]:
            s.sendall(b"\r\n\r\n")
            assert b"200 OK" in s.recv(4096)
        flows += held(ns, SERVER, 8080, 100)
        for s in flows[250:]:
            s.sendall(head)
        time.sleep(0.1)
        assert not [e for e in world.gate.events if e["verdict"] == "deny"]
        flows += held(ns, SERVER, 8080, 10)
        for s in flows[350:]:
            s.sendall(head)
        world.gate.decision(addr=SERVER, port=8080, verdict="deny", reason="gate_resources")
        for s in flows:
            s.close()
        until(lambda: state(world, slot)["flows"] == 0)
