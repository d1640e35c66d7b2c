# SPDX-License-Identifier: Apache-2.0
"""
Servers that misbehave at each step: inside, it looks as it does without a gate, the flow ends, and the record has the bytes.

Every conversation is held twice, from the uplink's namespace without a gate and from a sandbox, and what the two clients
and the server experienced is compared.
"""
import errno
import hashlib
import select
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import harness
import pytest
from harness import SERVER, SERVER6, connect, inside
from packets import ACK, FIN, PSH, frame, ip, tcp
from quic import hello
from weather import SLOW, cpu, fds, resolve, until

NAME = "one.allowed.test"


def record(message):
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


# What the client says first decides how the gate handles the flow: by an address rule without looking, by a name's as TLS,
# as HTTP, or as something else that is watched.
FIRST = {
    "address": b"just bytes\r\n",
    "tls": record(hello(NAME)),
    "http": b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000000\r\n\r\n" % NAME.encode(),
    "watched": b"SSH-2.0-client\r\n",
}
BLOCK = bytes(range(256)) * 400


class Case:
    """A server's way to behave, and the client that meets it."""

    reset_loses = False  # how many bytes come before a reset is a race, with a gate or without
    connects = True
    may_refuse = False
    lasts = False  # the gate goes on for its own time, which is longer than the client's

    def serve(self, c, first, note):
        """note["read"]: bytes that came."""
        raise NotImplementedError

    def talk(self, s, first, got):
        """Appends to got what is received; raises as sockets do."""
        s.sendall(first)
        drain(s, got)


def drain(s, got):
    while part := s.recv(65536):
        got += part


def read(c, n, note):
    while n and (part := c.recv(min(n, 65536))):
        note["read"] += len(part)
        n -= len(part)
    return n == 0


def reset(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


class ResetAtOnce(Case):
    """The reset may be there before the gate has let its client in: then it is a refusal."""

    reset_loses = True
    may_refuse = True

    def serve(self, c, first, note):
        reset(c)


class EndAtOnce(Case):
    def serve(self, c, first, note):
        c.shutdown(socket.SHUT_WR)
        read(c, 1 << 30, note)


class ResetAfterFirst(Case):
    def serve(self, c, first, note):
        read(c, len(first), note)
        reset(c)


class EndAfterFirst(Case):
    def serve(self, c, first, note):
        read(c, len(first), note)


class ResetInResponse(Case):
    def serve(self, c, first, note):
        read(c, len(first), note)
        c.sendall(BLOCK)
        time.sleep(0.3)
        reset(c)


class EndInResponse(Case):
    def serve(self, c, first, note):
        read(c, len(first), note)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + BLOCK)


class ServerEndsFirst(Case):
    def serve(self, c, first, note):
        read(c, len(first), note)
        c.sendall(b"bye")
        c.shutdown(socket.SHUT_WR)
        read(c, 1 << 30, note)

    def talk(self, s, first, got):
        s.sendall(first)
        drain(s, got)
        for _ in range(4):
            s.sendall(BLOCK)
            time.sleep(0.02)


class ClientEndsFirst(Case):
    def serve(self, c, first, note):
        read(c, 1 << 30, note)
        time.sleep(0.1)
        c.sendall(BLOCK * 3)

    def talk(self, s, first, got):
        s.sendall(first + BLOCK)
        s.shutdown(socket.SHUT_WR)
        drain(s, got)


class ZeroWindow(Case):
    """Nothing is read for two seconds, while much more is sent than all buffers hold."""

    def serve(self, c, first, note):
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        read(c, len(first), note)
        time.sleep(2)
        digest = hashlib.sha256()
        while part := c.recv(1 << 20):
            note["read"] += len(part)
            digest.update(part)
        c.sendall(digest.digest())

    def talk(self, s, first, got):
        s.sendall(first)
        for _ in range(100):
            s.sendall(BLOCK)
        s.shutdown(socket.SHUT_WR)
        drain(s, got)


class OneByte(Case):
    def serve(self, c, first, note):
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in first:
            if not read(c, 1, note):
                return
        for i in range(300):
            c.sendall(BLOCK[i:i + 1])
            time.sleep(0.001)


class ResetWhileSending(Case):
    reset_loses = True

    def serve(self, c, first, note):
        read(c, 200000, note)
        reset(c)

    def talk(self, s, first, got):
        s.sendall(first)
        for _ in range(3000):
            s.sendall(BLOCK)


class EndWhileSending(Case):
    """The server closes with bytes unread: its kernel answers the rest with a reset."""

    reset_loses = True

    def serve(self, c, first, note):
        read(c, 200000, note)
        c.close()

    talk = ResetWhileSending.talk


class Urgent(Case):
    """A byte out of band is not in the stream."""

    def serve(self, c, first, note):
        read(c, len(first), note)
        c.sendall(b"abc")
        c.send(b"!", socket.MSG_OOB)
        c.sendall(b"def")


class ClosedPort(Case):
    connects = False


class LostSyn(Case):
    """The first SYN of each connection is lost, the second is not."""

    serve = EndAfterFirst.serve


class SynLostForEver(Case):
    connects = False
    lasts = True


# -- the harness of these cases

END_OF = {errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ECONNREFUSED: "refused", errno.ECONNABORTED: "reset"}


def experience(case, ns, address, port, first):
    """(how it ended, what was received)"""
    got = bytearray()
    try:
        with connect(ns, address, port, 2.5 * SLOW if case.connects else 1.5) as s:
            s.settimeout(20)
            case.talk(s, first, got)
        return "end", got
    except TimeoutError:
        return "timeout", got
    except OSError as e:
        return END_OF.get(e.errno, errno.errorcode.get(e.errno or 0, repr(e))), got


@pytest.fixture(scope="module")
def inhabitants(net, world):
    """Two sandboxes: one has the server by address, the other by name."""
    net.dns.names[NAME] = [SERVER, SERVER6]
    net.dns.ttl = 600
    by_address, by_name = world.sandbox(9001), world.sandbox(9002)
    for slot, allow in POLICIES.items():
        world.attach(slot, allow=allow)
    for qtype in (1, 28):
        assert resolve(by_name, NAME, qtype=qtype)
    return {mode: (9001, by_address) if mode == "address" else (9002, by_name) for mode in FIRST}


class Far:
    """A server for one case, one port for each conversation."""

    def __init__(self, world, case, ports):
        self.notes, self.listeners = {}, []
        for port, first in ports.items():
            self.notes[port] = {"read": 0, "done": threading.Event()}
            if case.connects:
                self.listeners.append(harness.serve(world.net_ns, port, self._handler(case, first, self.notes[port])))

    @staticmethod
    def _handler(case, first, note):
        def handle(c):
            try:
                case.serve(c, first, note)
            finally:
                note["done"].set()

        return handle

    def close(self):
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def rules(world, text):
    """The far side's packet filter."""
    harness.run("ip", "netns", "exec", world.net_ns, "nft", "-f", "-", stdin=text)


@pytest.fixture
def filtered(world):
    """filtered(rule, ...): on what comes to the servers; gone after the test."""

    def add(*lines):
        body = "".join(f"    {line}\n" for line in lines)
        rules(world, f"table inet bad {{\n  chain in {{\n    type filter hook input priority 0;\n{body}  }}\n}}\n")

    rules(world, "table inet bad { }\n")
    yield add
    rules(world, "delete table inet bad\n")


CASES = [ResetAtOnce, EndAtOnce, ResetAfterFirst, EndAfterFirst, ResetInResponse, EndInResponse, ServerEndsFirst,
         ClientEndsFirst, ZeroWindow, OneByte, ResetWhileSending, EndWhileSending, Urgent,
         ClosedPort, LostSyn, SynLostForEver]


@pytest.mark.parametrize("kind", CASES, ids=lambda k: k.__name__)
def test_server(kind, net, world, inhabitants, filtered):
    case = kind()
    talks = [(mode, server, via) for mode in FIRST for server in (SERVER, SERVER6) for via in ("direct", "gate")]
    ports = {20000 + i: FIRST[mode] for i, (mode, _, _) in enumerate(talks)}
    if kind is LostSyn:
        filtered(*(f"tcp dport {p} tcp flags & (syn | ack) == syn limit rate 1/hour burst 1 packets drop" for p in ports))
    if kind is SynLostForEver:
        filtered("tcp dport 20000-20100 drop")
    gate = world.gate.process.pid
    before, burnt, started = fds(gate), cpu(gate), time.monotonic()
    world.gate.forget_events()
    far = Far(world, case, ports)
    try:
        with ThreadPoolExecutor(len(talks)) as pool:
            runs = [pool.submit(experience, case, inhabitants[mode][1] if via == "gate" else world.uplink_ns, server, port,
                                FIRST[mode]) for (mode, server, via), port in zip(talks, ports)]
            ends = [r.result(60) for r in runs]
        for port in ports:
            if case.connects and not (case.reset_loses and ends[port - 20000][0] in ("reset", "refused")):
                assert far.notes[port]["done"].wait(5), (talks[port - 20000], ends[port - 20000][0])
    finally:
        far.close()
    took = time.monotonic() - started
    for i in range(0, len(talks), 2):
        direct, gated = ends[i], ends[i + 1]
        print(f"{talks[i][:2]}: {direct[0]} {len(direct[1])} | {gated[0]} {len(gated[1])}; "
              f"server read {far.notes[20000 + i]['read']} | {far.notes[20001 + i]['read']}")
        if case.may_refuse and gated == ("refused", b""):
            gated = ("reset", b"")
        assert gated == direct, (talks[i], direct[0], len(direct[1]), gated[0], len(gated[1]))
        if not case.reset_loses:
            assert far.notes[20000 + i]["read"] == far.notes[20001 + i]["read"]
    assert cpu(gate) - burnt < 0.3 * took + 0.5 * SLOW, "the gate is busy with waiting"
    if case.lasts:
        close_all(world, inhabitants)
    check_end(world, inhabitants, before)
    if case.connects:
        check_records(world, case, talks, ends, far)


POLICIES = {9001: [SERVER, SERVER6], 9002: [NAME]}


def close_all(world, inhabitants):
    """Ends all flows by a policy, and opens the sandboxes again."""
    for slot in POLICIES:
        assert world.gate.request("query", sandbox=f"s{slot}")["half_open"] > 0
        world.update(slot, 2, allow=[])
        world.update(slot, 3, allow=POLICIES[slot])
    for qtype in (1, 28):
        resolve(inhabitants["tls"][1], NAME, qtype=qtype)


def check_end(world, inhabitants, before):
    """The flows are gone, and their descriptors with them."""
    for slot in {slot for slot, _ in inhabitants.values()}:
        until(lambda slot=slot: world.gate.request("query", sandbox=f"s{slot}"), 6, lambda s: s["flows"] == 0)
    until(lambda: fds(world.gate.process.pid), 3, lambda now: now.get("socket", 0) <= before.get("socket", 0)
          and now.get("pipe", 0) <= before.get("pipe", 0) + 128)


def check_records(world, case, talks, ends, far):
    for i, (mode, server, via) in enumerate(talks):
        if via != "gate":
            continue
        rows = [e for e in world.gate.events if e["event"] == "decision" and e.get("port") == 20000 + i]
        if case.may_refuse and not rows:
            continue
        said = [r for r in rows if not r["closed"]]
        assert [r["verdict"] for r in said] == ["allow"], (mode, rows)
        end = world.gate.decision(port=20000 + i, closed=True)
        out, into = far.notes[20000 + i]["read"], len(ends[i][1])
        if case.reset_loses:
            assert end["bytes_out"] >= out and end["bytes_in"] >= into, (mode, end, out, into)
        else:
            assert (end["bytes_out"], end["bytes_in"]) == (out, into), (mode, end, out, into)


class Wire:
    """All packets of the servers' machine, also its own, and a way to put others beside them."""

    def __init__(self, ns):
        self.socket = inside(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self.socket.bind(("inet", 3))

    def fin_from(self, port):
        """(source, destination, header of TCP, bytes in it) of the FIN that comes from this port."""
        end = time.monotonic() + 5
        while time.monotonic() < end and select.select([self.socket], [], [], 1)[0]:
            p = self.socket.recv(65536)[14:]
            six = p[0] >> 4 == 6
            src, dst, head = (p[8:24], p[24:40], p[40:]) if six else (p[12:16], p[16:20], p[20:])
            if (p[6] if six else p[9]) == 6 and struct.unpack_from(">H", head)[0] == port and head[13] & FIN:
                return src, dst, head[:20], len(head) - (head[12] >> 4) * 4
        raise AssertionError("no FIN was seen")


@pytest.mark.parametrize("mode", FIRST)
@pytest.mark.parametrize("server", [SERVER, SERVER6])
def test_data_behind_the_end(net, world, inhabitants, server, mode):
    """The server's machine goes on sending behind its FIN, and in the FIN's place: nobody gets to see any of it."""
    wire, sent = Wire(world.net_ns), threading.Event()

    def serve(c):
        drain_some(c, len(FIRST[mode]))
        c.sendall(b"bye")
        c.shutdown(socket.SHUT_WR)
        src, dst, head, n = wire.fin_from(20099)
        sport, dport, seq, ack = struct.unpack_from(">HHII", head)
        for shift in (0, 1, 2):
            segment = tcp(src, dst, sport, dport, PSH | ACK, seq + n + shift, ack, b"EVIL" * 25)
            wire.socket.send(frame(ip(src, dst, 6, segment)))
        sent.set()
        drain_some(c, 1 << 20)

    def meet(ns):
        got = bytearray()
        sent.clear()
        try:
            with connect(ns, server, 20099) as s:
                s.settimeout(5)
                s.sendall(FIRST[mode])
                drain(s, got)
                assert sent.wait(5)
                time.sleep(0.1)
                s.sendall(b"more")
                drain(s, got)
            return "end", bytes(got)
        except OSError as e:
            return END_OF[e.errno], bytes(got)

    listener = harness.serve(world.net_ns, 20099, serve)
    world.gate.forget_events()
    try:
        assert meet(world.uplink_ns) == meet(inhabitants[mode][1]) == ("reset", b"bye")
        assert world.gate.decision(port=20099, closed=True, addr=server)["bytes_in"] == 3
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        wire.socket.close()


def drain_some(c, n):
    while n and (part := c.recv(min(n, 65536))):
        n -= len(part)


@pytest.mark.parametrize("who", ["client", "server"])
def test_urgent_data_costs_no_time(net, world, inhabitants, who):
    """A byte out of band on a connection that stays open: the gate neither spins nor loses what comes behind."""

    def serve(c):
        speak(c) if who == "server" else listen(c)
        time.sleep(2)

    def speak(c):
        c.sendall(b"abc")
        c.send(b"!", socket.MSG_OOB)
        c.sendall(b"def")

    heard = []

    def listen(c):
        c.settimeout(1.5)
        data = b""
        try:
            while len(data) < 6:
                data += c.recv(100)
        except TimeoutError:
            pass
        heard.append(data)

    listener = harness.serve(world.net_ns, 20098, serve)
    try:
        with connect(inhabitants["address"][1], SERVER, 20098) as s:
            burnt = cpu(world.gate.process.pid)
            speak(s) if who == "client" else listen(s)
            until(lambda: heard, 3)
            assert cpu(world.gate.process.pid) - burnt < 0.3
            assert heard == [b"abcdef"]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
