# SPDX-License-Identifier: Apache-2.0
"""The upstream resolver misbehaves: what the client is told, what is pinned, and that nobody else is kept waiting."""

import socket
import struct
import threading
import time

import dnsd
import pytest
from dnsd import A, AAAA, CNAME, TXT, ask, rr
from harness import MOVED, OTHER, SERVER, connect, run

SERVFAIL, NXDOMAIN = 2, 3
EDE_OTHER, EDE_FILTERED, EDE_NETWORK = 0, 17, 23
CROWD = [f"93.190.{i // 250}.{i % 250}" for i in range(500)]


@pytest.fixture(autouse=True)
def gate_stays(world, net):
    """Whatever happens, it is the same process afterwards, and it serves."""
    process = world.gate.process
    yield
    assert process.poll() is None
    assert world.gate.process is process
    assert world.gate.request("status")["ok"]
    net.dns.script.clear()
    net.dns.ttl = 60


@pytest.fixture
def box(net, sandbox):
    """A sandbox that may use everything below bad.test, and one that has nothing to do with it."""
    slot, ns = sandbox(allow=["*.bad.test"])
    net.dns.names["good.test"] = [SERVER]
    _, neighbour = sandbox(allow=["good.test", "*.good.test"])
    return slot, ns, neighbour


def pins(world, slot):
    return world.gate.request("query", sandbox=f"s{slot}")["pins"]


def unreachable(ns, address):
    with pytest.raises(TimeoutError):
        connect(ns, address, 7, 0.3)



BAD_AT_ONCE = {
    "servfail": lambda q: q.reply(rcode=2),
    "refused": lambda q: q.reply(rcode=5),
    "formerr": lambda q: q.reply(rcode=1),
    "notimp": lambda q: q.reply(rcode=4),
    "loop": lambda q: q.reply([rr("loop.bad.test", CNAME, "loop2.bad.test"), rr("loop2.bad.test", CNAME, "loop.bad.test")]),
    "self": lambda q: q.reply([rr("self.bad.test", CNAME, "self.bad.test")]),
    "chain": lambda q: q.reply(
        [rr(q.name if i == 0 else f"c{i}.bad.test", CNAME, f"c{i + 1}.bad.test") for i in range(50)]
        + [rr("c50.bad.test", A, SERVER)]
    ),
}


@pytest.mark.parametrize("case", BAD_AT_ONCE)
def test_no_answer_at_once(net, box, world, case):
    slot, ns, _ = box
    name = f"{case}.bad.test"
    for i in range(1, 51):
        # Whoever asks for a link of the chain itself gets the next one.
        net.dns.script[f"c{i}.bad.test"] = lambda q, i=i: q.reply(
            [rr(q.name, CNAME, f"c{i + 1}.bad.test")] if i < 50 else [rr(q.name, A, SERVER)])
    net.dns.script["loop2.bad.test"] = lambda q: q.reply([rr("loop2.bad.test", CNAME, "loop.bad.test")])
    net.dns.script[name] = BAD_AT_ONCE[case]
    started = time.monotonic()
    answer = ask(ns, name)
    assert (answer.rcode, answer.addresses, answer.ede) == (SERVFAIL, [], EDE_NETWORK), answer
    assert "the server's resolver gave no answer" in answer.text and name in answer.text
    assert time.monotonic() - started < 9
    event = world.gate.decision(name=name, verdict="deny")
    assert (event["reason"], event["qtype"], event["sandbox"]) == ("resolver_failed", "A", f"s{slot}")
    assert pins(world, slot) == 0
    unreachable(ns, SERVER)


def turn(data, at, value):
    return data[:at] + value + data[at + len(value) :]


# Nobody can tell from these what the answer is, so they are like none.
LIKE_SILENCE = {
    "silent": lambda q: None,
    "wrongid": lambda q: q.reply([rr(q.name, A, SERVER)], ident=bytes(x ^ 0x55 for x in q.id)),
    "otherquestion": lambda q: q.reply([rr("other.bad.test", A, SERVER)],
                                       raw=dnsd.encode_name("other.bad.test") + struct.pack(">HH", q.qtype, 1)),
    "othertype": lambda q: q.reply([rr(q.name, A, SERVER)], raw=dnsd.encode_name(q.name) + struct.pack(">HH", TXT, 1)),
    "noquestion": lambda q: q.id + struct.pack(">HHHHH", 0x8580, 0, 1, 0, 0) + rr(q.name, A, SERVER),
    "garbage": lambda q: b"\xff" * 40,
    "empty": lambda q: b"",
    "short": lambda q: q.id + b"\x85\x80",
    "header": lambda q: q.id + struct.pack(">HHHHH", 0x8580, 1, 1, 0, 0),
    "notareply": lambda q: q.reply([rr(q.name, A, SERVER)], flags=0x0100),
    "cut": lambda q: q.reply([rr(q.name, A, SERVER)])[:-2],
    "count": lambda q: turn(q.reply([rr(q.name, A, SERVER)]), 6, b"\xff\xff"),
    "pointer": lambda q: q.reply([b"\xc0" + bytes([len(q.raw) + 12]) + struct.pack(">HHIH", A, 1, 60, 4) + b"\1\2\3\4"]),
    "rdlength": lambda q: q.reply([dnsd.encode_name(q.name) + struct.pack(">HHIH", A, 1, 60, 3) + b"\1\2\3"]),
    "late": lambda q: (11.0, q.reply([rr(q.name, A, SERVER)])),
    "tcpstall": lambda q: None if q.tcp else q.reply(flags=0x8780),
    "tcpreset": lambda q: dnsd.RESET if q.tcp else q.reply(flags=0x8780),
    "tcplate": lambda q: (11.0, q.reply([rr(q.name, A, SERVER)])) if q.tcp else q.reply(flags=0x8780),
    "tcpgarbage": lambda q: b"\xff" * 3000 if q.tcp else q.reply(flags=0x8780),
    "tctwice": lambda q: q.reply(flags=0x8780),
}


def test_no_answer_in_time(net, box, world):
    """All of them together, and a neighbour's lookups meanwhile."""
    slot, ns, neighbour = box
    answers, times = {}, []
    for case, script in LIKE_SILENCE.items():
        net.dns.script[f"{case}.bad.test"] = script

    def one(case):
        started = time.monotonic()
        answers[case] = ask(ns, f"{case}.bad.test"), time.monotonic() - started

    threads = [threading.Thread(target=one, args=(case,)) for case in LIKE_SILENCE]
    for t in threads:
        t.start()
    i = 0
    while any(t.is_alive() for t in threads):
        i += 1
        net.dns.names[f"n{i}.good.test"] = [SERVER]
        started = time.monotonic()
        assert dnsd.lookup(neighbour, f"n{i}.good.test" if i <= 100 else "good.test") == [SERVER]
        times.append(time.monotonic() - started)
        time.sleep(0.05)
    for t in threads:
        t.join()
    times.sort()
    assert len(times) > 20 and times[len(times) // 2] < 0.1 and times[-1] < 1, times[-5:]
    for case, (answer, seconds) in answers.items():
        assert (answer.rcode, answer.addresses, answer.ede) == (SERVFAIL, [], EDE_NETWORK), (case, answer)
        assert seconds < 9.5, (case, seconds)  # 8 s, and a busy machine
        assert world.gate.decision(name=f"{case}.bad.test", verdict="deny")["reason"] == "resolver_failed"
    assert pins(world, slot) == 0
    unreachable(ns, SERVER)
    # When the late ones come in there is nobody to take them.
    time.sleep(max(0, 11.5 - max(s for _, s in answers.values())))
    assert pins(world, slot) == 0


def test_lies_about_other_names(net, box, world):
    """Only what is on the chain from the queried name counts."""
    slot, ns, neighbour = box
    net.dns.script["extra.bad.test"] = lambda q: q.reply(
        [rr(q.name, A, SERVER), rr("good.test", A, OTHER), rr("x.bad.test", A, OTHER)],
        more=[rr("good.test", A, OTHER), rr("x.bad.test", A, OTHER)])
    net.dns.script["foreign.bad.test"] = lambda q: q.reply([rr("y.bad.test", A, OTHER)], more=[rr(q.name, A, OTHER)])
    net.dns.script["x.bad.test"] = lambda q: q.reply([rr(q.name, A, MOVED)])
    net.dns.script["y.bad.test"] = lambda q: q.reply([rr(q.name, A, MOVED)])
    assert ask(ns, "extra.bad.test").addresses == [SERVER]
    assert pins(world, slot) == 1
    assert ask(ns, "foreign.bad.test").addresses == []
    assert pins(world, slot) == 1
    # Nothing of it stays in a cache that others see, either.
    assert ask(ns, "x.bad.test").addresses == [MOVED]
    assert ask(ns, "y.bad.test").addresses == [MOVED]
    assert ask(neighbour, "good.test").addresses == [SERVER]
    unreachable(ns, OTHER)


@pytest.mark.parametrize("address,reason", [
    ("10.1.2.3", "private_answer"), ("192.168.1.1", "private_answer"), ("127.0.0.1", "floor_loopback"),
    ("169.254.169.254", "floor_metadata"), ("100.112.1.0", "floor_sandbox"), ("0.0.0.0", "floor_reserved"),
    ("203.0.113.2", "floor_host"), ("fe80::1", "floor_link_local"), ("64:ff9b::a00:1", "floor_embedded"),
])
def test_private_answers(net, box, world, address, reason):
    slot, ns, _ = box
    qtype = AAAA if ":" in address else A
    public = "2606:2800:21f::14" if ":" in address else SERVER
    net.dns.script["private.bad.test"] = lambda q: q.reply([rr(q.name, qtype, address, 0)])
    answer = ask(ns, "private.bad.test", qtype)
    assert (answer.rcode, answer.addresses, answer.ede) == (0, [], EDE_FILTERED)
    assert address in answer.text
    assert world.gate.decision(name="private.bad.test", addr=address)["reason"] == reason
    assert pins(world, slot) == 0
    net.dns.script["mixed.bad.test"] = lambda q: q.reply(
        [rr(q.name, qtype, address, 0), rr(q.name, qtype, public, 0), rr(q.name, qtype, address, 0)])
    assert ask(ns, "mixed.bad.test", qtype).addresses == [public]
    assert pins(world, slot) == 1


def test_crowd(net, box, world):
    """Five hundred addresses: too many for UDP, all of them over TCP, and each of them can be connected to."""
    slot, ns, _ = box
    run("ip", "-n", world.net_ns, "route", "add", "local", "93.190.0.0/16", "dev", "lo")
    try:
        net.dns.script["crowd.bad.test"] = lambda q: (
            q.reply([rr(q.name, A, x) for x in CROWD]) if q.tcp else q.reply(flags=0x8780))
        answer = ask(ns, "crowd.bad.test")
        assert answer.rcode == 0 and answer.truncated
        answer = ask(ns, "crowd.bad.test", tcp=True)
        assert sorted(answer.addresses) == sorted(CROWD) and not answer.truncated
        assert pins(world, slot) == len(CROWD)
        for address in CROWD:
            with connect(ns, address, 7) as s:
                assert s.getpeername()[0] == address
    finally:
        run("ip", "-n", world.net_ns, "route", "del", "local", "93.190.0.0/16", "dev", "lo")


def test_huge_answer(net, box, world):
    """64 KiB over TCP, more addresses than an answer may have: no part of it is taken for the whole."""
    slot, ns, neighbour = box
    many = [f"93.191.{i // 256}.{i % 256}" for i in range(2300)]
    net.dns.script["huge.bad.test"] = lambda q: (
        q.reply([rr(q.name, A, x) for x in many])[:65535] if q.tcp else q.reply(flags=0x8780))
    net.dns.script["fat.bad.test"] = lambda q: (
        q.reply([rr(q.name, A, SERVER)], more=[rr(q.name, TXT, b"\xff" + bytes(255)) for _ in range(200)])
        if q.tcp else q.reply(flags=0x8780))
    answer = ask(ns, "huge.bad.test", tcp=True)
    assert (answer.rcode, answer.addresses, answer.ede) == (SERVFAIL, [], EDE_NETWORK)
    assert world.gate.decision(name="huge.bad.test")["reason"] == "resolver_failed"
    assert pins(world, slot) == 0
    assert ask(ns, "fat.bad.test").addresses == [SERVER]
    assert ask(neighbour, "good.test").addresses == [SERVER]


def test_short_chain(net, box, world):
    """The pin is of the name that was asked, for the address at the end."""
    slot, ns, _ = box
    links = ["start.bad.test"] + [f"l{i}.elsewhere.test" for i in range(7)]
    net.dns.script["start.bad.test"] = lambda q: q.reply(
        [rr(a, CNAME, b) for a, b in zip(links, links[1:])] + [rr(links[-1], A, SERVER)])
    for a, b in zip(links[1:], links[2:]):
        net.dns.script[a] = lambda q, b=b: q.reply([rr(q.name, CNAME, b)])
    net.dns.script[links[-1]] = lambda q: q.reply([rr(q.name, A, SERVER)])
    assert ask(ns, "start.bad.test").addresses == [SERVER]
    assert pins(world, slot) == 1
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"hello\n")
        assert s.recv(6) == b"hello\n"
    assert world.gate.decision(addr=SERVER, verdict="allow")["name"] == "start.bad.test"


@pytest.mark.parametrize("ttl,least,most", [(0, 0, 0), (1, 0, 1), (2**31 - 1, 3500, 3600), (2**31, 0, 3600), (2**32 - 1, 0, 3600)])
def test_ttl(net, box, world, ttl, least, most):
    """No lifetime makes an answer last for ever, or keeps it from being used at once."""
    slot, ns, _ = box
    name = f"ttl{ttl}.bad.test"
    net.dns.script[name] = lambda q: q.reply([rr(q.name, A, SERVER, ttl)])
    answer = ask(ns, name)
    assert answer.addresses == [SERVER] and least <= answer.ttl <= most
    assert pins(world, slot) == 1
    with connect(ns, SERVER, 7) as s:
        s.sendall(b"hello\n")
        assert s.recv(6) == b"hello\n"


def test_truncated_then_tcp(net, box):
    _, ns, _ = box
    net.dns.script["tc.bad.test"] = lambda q: q.reply([rr(q.name, A, SERVER)]) if q.tcp else q.reply(flags=0x8780)
    assert ask(ns, "tc.bad.test").addresses == [SERVER]


# Late for a client in a hurry, in time for the gate: it asks again after 376 ms.
SLOW = 0.3


def until_idle(world, slot):
    end = time.monotonic() + 10
    while world.gate.request("query", sandbox=f"s{slot}")["queries"]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_client_gives_up(net, box, world):
    """Over UDP nobody can know; over TCP a reset is seen, and nothing is pinned for nobody."""
    slot, ns, _ = box
    net.dns.script["slow.bad.test"] = lambda q: (SLOW, q.reply([rr(q.name, A, SERVER, 0)]))
    message = dnsd.query_bytes("slow.bad.test")
    with connect(ns, "100.112.0.1", 53) as s:
        s.sendall(struct.pack(">H", len(message)) + message)
        time.sleep(0.1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert world.gate.request("query", sandbox=f"s{slot}")["queries"] == 1
    until_idle(world, slot)
    assert pins(world, slot) == 0
    with pytest.raises(TimeoutError):
        ask(ns, "slow.bad.test", timeout=0.1)
    until_idle(world, slot)
    assert ask(ns, "slow.bad.test").addresses == [SERVER]
    assert pins(world, slot) == 1


def test_sandbox_goes_while_it_waits(net, sandbox, world):
    slot, ns = sandbox(allow=["*.bad.test"])
    net.dns.script["slow.bad.test"] = lambda q: (SLOW, q.reply([rr(q.name, A, SERVER, 0)]))
    with pytest.raises(TimeoutError):
        ask(ns, "slow.bad.test", timeout=0.1)
    assert world.gate.request("query", sandbox=f"s{slot}")["queries"] == 1
    assert world.gate.request("detach", sandbox=f"s{slot}")["found"]
    world.attach(slot, allow=["*.bad.test"])
    time.sleep(2 * SLOW)
    assert pins(world, slot) == 0


@pytest.mark.parametrize("crowd", [1, 5])
def test_slow_names_of_others(net, sandbox, world, crowd):
    """Sandboxes that ask for a thousand names a second, of servers that never answer: their own share is all they fill."""
    net.dns.silent.add("slow.test")
    net.dns.names.update({f"n{i}.good.test": [SERVER] for i in range(1000)})
    _, neighbour = sandbox(allow=["*.good.test"])
    boxes = [sandbox(allow=["*.slow.test"], limits={"names_per_minute": 100000}) for _ in range(crowd)]
    world.gate.forget_events()
    stop = threading.Event()

    def flood(slot, ns):
        from harness import inside

        s = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with s:
            s.connect(("100.112.0.1", 53))
            i = 0
            while not stop.wait(0.02):
                for _ in range(20):
                    i += 1
                    s.send(dnsd.query_bytes(f"x{i}.s{slot}.slow.test"))

    threads = [threading.Thread(target=flood, args=box) for box in boxes]
    for t in threads:
        t.start()
    times = []
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            started = time.monotonic()
            assert dnsd.lookup(neighbour, f"n{crowd * 100 + len(times)}.good.test") == [SERVER]
            times.append(time.monotonic() - started)
            time.sleep(0.05)
        for slot, _ in boxes:
            waiting = world.gate.request("query", sandbox=f"s{slot}")["queries"]
            assert 200 <= waiting <= 256
            assert world.gate.decision(sandbox=f"s{slot}", proto="dns", reason="limit_dns_rate")
    finally:
        stop.set()
        for t in threads:
            t.join()
        net.dns.silent.discard("slow.test")
    times.sort()
    print(f"\nlookups beside {crowd} floods: p50 {times[len(times) // 2] * 1000:.1f} ms, worst {times[-1] * 1000:.1f} ms")
    assert len(times) > 40 and times[len(times) // 2] < 0.05 and times[-1] < 1, times[-5:]
