# SPDX-License-Identifier: Apache-2.0
"""`declaw policy check` held against the wire: random policies and targets, on a real gate.

For each pair the program's verdict must be what happens: a flow is allowed when the far side sees what it carries, a name when
its addresses are given. Every flow carries a word of its own, so a packet that comes late or elsewhere is found too.
"""

import concurrent.futures
import json
import os
import random
import re
import selectors
import socket
import struct
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import harness
import pytest
import quic
from dnsd import Dns
from harness import MOVED, OTHER, OTHER6, SERVER, SERVER6, inside

SEED = 20261123
PAIRS = 10_000
SANDBOXES = 12
FLOWS = 40  # with each policy; and every name is asked for
WITH_UDP = True  # datagrams and QUIC
OBSERVING = 0.1  # of the policies
# A refusal is answered at once; this long after the last sign of life no more is expected of what is to be refused.
QUIET_S, PATIENCE_S = 0.3, 8.0

MACHINE = "93.184.215.200"  # of the very machine that the gate dials from
UPLINK, UPLINK6 = "203.0.113.2", "2001:db8:77::2"
PRIVATE, PRIVATE6 = "10.20.0.5", "fd20::5"
NAMES: Dict[str, List[str]] = {
    "one.allowed.test": [SERVER, SERVER6],
    "two.allowed.test": [OTHER],
    "deep.one.allowed.test": [MOVED],
    "allowed.test": [SERVER, OTHER6],
    "evil.test": [OTHER, OTHER6],
    "co.evil.test": [SERVER],
    "api-1.sub.test": [MOVED, SERVER6],
    "db": [SERVER],
    "private.test": [PRIVATE, PRIVATE6],
    "mixed.test": [MOVED, PRIVATE],
    "machine.test": [MACHINE, UPLINK6],
}
ADDRESSES = [SERVER, SERVER6, OTHER, OTHER6, MOVED, PRIVATE, PRIVATE6, MACHINE]
RARE_ADDRESSES = [UPLINK, "169.254.169.254", "::ffff:" + SERVER]
PORTS = [7, 80, 443, 8080, 8443]
UDP_PORTS = [7, 443, 8080]
DATAGRAMS = ("udp", "quic")
HOST_ENTRIES = [*NAMES, "*.allowed.test", "*.test", "*.one.allowed.test", "*.evil.test", "*.sub.test", "ONE.Allowed.TEST."]
REGEX_ENTRIES = [r"~(one|two)\.allowed\.test", r"~.*\.test", r"~[a-z]+\.evil\.test", r"~api-[0-9]+\.sub\.test", r"~[a-z.]*allowed.*"]
ADDRESS_ENTRIES = [*ADDRESSES, "93.184.215.0/24", "93.184.215.14/31", "93.184.0.0/16", "2606:2800:21f::/48", "2606:2800:21f::14/127",
                   "10.0.0.0/8", "10.20.0.0/16", "fd00::/8", "fd20::/64", "8.0.0.0/8"]
ALL_ENTRIES = ["*", "0.0.0.0/0", "::/0"]
PORT_ENDINGS = ["", "", "", ":443", ":80", ":7", ":1-100", ":8000-8999", ":80-8080"]
WORD = re.compile(rb"<[0-9a-f]{12}>")


@dataclass
class Policy:
    allow: Optional[List[str]]
    deny: Optional[List[str]]
    default_allow: bool
    observe: bool

    def document(self) -> str:
        network: Dict[str, Any] = {"blocked": "reject", **({"mode": "observe"} if self.observe else {})}
        if self.allow is not None:
            network["allow_out"] = self.allow
        if self.deny is not None:
            network["deny_out"] = self.deny
        return json.dumps({"network": network})


@dataclass
class Flow:
    target: str
    address: str
    port: int
    kind: str  # tcp, tls, http, udp, quic
    name: str = ""
    by_lookup: bool = False  # the client dials what a lookup gave, or nothing
    word: bytes = b""
    packet: bytes = b""  # of QUIC
    expected: str = ""
    seen: bool = False
    done: bool = False


@dataclass
class Case:
    """One policy in one sandbox."""

    policy: Policy
    looked_up: List[str]
    flows: List[Flow]
    answers: Dict[str, Set[str]] = field(default_factory=dict)  # of the wire
    told: Dict[str, Set[str]] = field(default_factory=dict)  # of the checker


@dataclass
class Theme:
    """What a policy is mostly about, so that its entries and the targets meet often enough."""

    names: List[str]
    addresses: List[str]


def theme(rng: random.Random) -> Theme:
    names = rng.sample(list(NAMES), rng.choice([2, 3, len(NAMES)]))
    return Theme(names, sorted({a for n in names for a in NAMES[n]}))


def entry(rng: random.Random, about: Theme) -> str:
    kind = rng.random()
    if kind < 0.4:
        text = rng.choice(about.names if rng.random() < 0.6 else HOST_ENTRIES)
    elif kind < 0.52:
        text = rng.choice(REGEX_ENTRIES)
    elif kind < 0.9:
        text = rng.choice(about.addresses if rng.random() < 0.6 else ADDRESS_ENTRIES)
    else:
        text = rng.choice(ALL_ENTRIES)
    ending = rng.choice(PORT_ENDINGS)
    return f"[{text}]{ending}" if ending and text.count(":") > 1 else text + ending


def entries(rng: random.Random, about: Theme, absent: float, empty: float) -> Optional[List[str]]:
    dice = rng.random()
    if dice < absent:
        return None
    return [] if dice < absent + empty else [entry(rng, about) for _ in range(rng.randint(1, 4))]


def flow(rng: random.Random, about: Theme, looked_up: List[str], number: int) -> Flow:
    kind = rng.choice(["tcp", "tls", "http"] + ["udp", "quic"] * WITH_UDP)
    address = rng.choice(RARE_ADDRESSES if rng.random() < 0.03 else about.addresses if rng.random() < 0.8 else ADDRESSES)
    usual = {"tls": 443, "http": 80, "quic": 443}.get(kind, 7)
    port = usual if rng.random() < 0.5 else rng.choice(UDP_PORTS if kind in DATAGRAMS else PORTS)
    name, by_lookup = "", False
    if kind in ("tls", "http", "quic") and rng.random() < 0.92:
        name = rng.choice(about.names if rng.random() < 0.8 else list(NAMES))
        if rng.random() < 0.7:  # usually a name that has the address
            address = rng.choice(NAMES[name])
        by_lookup = name in looked_up and address in NAMES[name] and rng.random() < 0.5
    host = f"[{address}]" if ":" in address else address
    target = f"{name}:{port}/{kind}" if by_lookup else f"{name}@{host}:{port}/{kind}" if name else f"{host}:{port}/{kind}"
    return Flow(target, address, port, kind, name, by_lookup, b"<%012x>" % number)


def cases(rng: random.Random) -> Iterator[Case]:
    number, pairs = 0, 0
    while pairs < PAIRS:
        about = theme(rng)
        policy = Policy(entries(rng, about, 0.25, 0.05), entries(rng, about, 0.35, 0.05), rng.random() < 0.7,
                        rng.random() < OBSERVING)
        looked_up = [n for n in NAMES if rng.random() < 0.6] if rng.random() < 0.8 else []
        flows = []
        for _ in range(FLOWS):
            number += 1
            flows.append(flow(rng, about, looked_up, number))
        pairs += len(flows) + len(NAMES)
        yield Case(policy, looked_up, flows)


# What the program says.


def check(policy: Policy, resolved: List[str], targets: List[str]) -> List[Dict[str, Any]]:
    argv = [os.path.join(harness.BUILD, "src/cli/declaw"), "policy", "check", "--json", "--policy", "/dev/fd/0"]
    argv += ["--default-egress", "allow" if policy.default_allow else "deny"]
    for address in (MACHINE, UPLINK, UPLINK6):
        argv += ["--host", address]
    for name in resolved:
        argv += ["--resolve", f"{name}={','.join(NAMES[name])}"]
    done = subprocess.run([*argv, *targets], input=policy.document(), capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), (argv, policy.document(), done.stderr)
    rows: List[Dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == any(r["verdict"] == "deny" for r in rows)
    return rows


def expect(case: Case) -> None:
    rows = check(case.policy, case.looked_up, [f.target for f in case.flows])
    at = 0
    for f in case.flows:
        mine = []
        while at < len(rows) and rows[at]["target"] == f.target and (not mine or rows[at].get("address") != mine[0].get("address")):
            mine.append(rows[at])
            at += 1
            if "address" not in mine[-1] or len(mine) == len(NAMES[f.name]):
                break
        chosen = [r for r in mine if r.get("address", f.address) == f.address]
        assert len(chosen) == 1, (f, mine)
        f.expected = chosen[0]["verdict"]
    assert at == len(rows)
    for row in check(case.policy, list(NAMES), list(NAMES)):
        given = {s["what"] for s in row["steps"] if s["step"] == "answer" and s["verdict"] == "allow"}
        assert (row["verdict"] == "allow") == bool(given), row
        case.told[row["target"]] = given


# What happens.


def hello(name: str, word: bytes) -> bytes:
    extensions = b""
    if name:
        raw = name.encode()
        extensions = struct.pack(">HHHBH", 0, len(raw) + 5, len(raw) + 3, 0, len(raw)) + raw
    extensions += struct.pack(">HHBH", 43, 3, 2, 0x0304)
    body = b"\x03\x03" + word.ljust(32, b"\0") + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def seal(everything: List[Case]) -> None:
    """One Initial with a whole hello for each QUIC flow; the word is its connection id, which is in the clear."""
    flows = [f for c in everything for f in c.flows if f.kind == "quic"]
    hellos = {name: quic.crypto(quic.hello(name or None)).hex() for name in ("", *NAMES)}
    lines = "".join(f"{quic.V1} {f.word.hex()} - - - 0 1200 {hellos[f.name]}\n" for f in flows)
    done = subprocess.run([os.path.join(harness.BUILD, "tests/gate/quic-seal")], input=lines, capture_output=True, text=True, check=True,
                          timeout=60)
    for f, packet in zip(flows, done.stdout.split(), strict=True):
        f.packet = bytes.fromhex(packet)


def opening(f: Flow) -> bytes:
    if f.kind == "quic":
        return f.packet
    if f.kind == "tls":
        return hello(f.name, f.word)
    if f.kind == "http":
        head = f"GET /{f.word.decode()} HTTP/1.1\r\n" + (f"Host: {f.name}\r\n" if f.name else "")
        return (head + "Connection: close\r\n\r\n").encode()
    return b"\x01" + f.word


class Wire:
    """Both ends of all flows, in one loop: the servers in the internet, the clients in the sandboxes."""

    def __init__(self, world: harness.World) -> None:
        self.selector = selectors.DefaultSelector()
        self.words: Set[bytes] = set()
        self.progress = 0.0
        self.servers: List[socket.socket] = []
        inside(world.net_ns, lambda: self._serve([a for a in ADDRESSES if a != MACHINE]))
        inside(world.uplink_ns, lambda: self._serve([MACHINE, UPLINK, UPLINK6]))

    def _serve(self, own: List[str]) -> None:
        for kind, ports in ((socket.SOCK_STREAM, PORTS), (socket.SOCK_DGRAM, UDP_PORTS)):
            for port in ports:
                # Not the wildcard address: an answer must come from where the question went.
                for address in own:
                    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((address, port))
                    s.setblocking(False)
                    if kind == socket.SOCK_STREAM:
                        s.listen(1024)
                    self.servers.append(s)
                    self.selector.register(s, selectors.EVENT_READ, self._accept if kind == socket.SOCK_STREAM else self._datagram)

    def close(self) -> None:
        for s in self.servers:
            self.selector.unregister(s)
            s.close()
        self.selector.close()

    def drop(self, s: socket.socket) -> None:
        self.selector.unregister(s)
        s.close()

    def _accept(self, s: socket.socket, _: int) -> None:
        try:
            while True:
                c, _peer = s.accept()
                c.setblocking(False)
                self.selector.register(c, selectors.EVENT_READ, self._connection)
        except BlockingIOError:
            pass

    def _note(self, data: bytes) -> bool:
        found = WORD.findall(data)
        self.words.update(found)
        return bool(found)

    def _connection(self, c: socket.socket, _: int) -> None:
        try:
            data = c.recv(65536)
        except OSError:
            data = b""
        # Every opening fits one segment.
        if self._note(data) or not data:
            self.drop(c)

    def _datagram(self, s: socket.socket, _: int) -> None:
        try:
            while True:
                data, peer = s.recvfrom(65536)
                self._note(data)
                s.sendto(data, peer)
        except OSError:
            pass

    def turn(self, seconds: float) -> None:
        for key, events in self.selector.select(seconds):
            self.progress = time.monotonic()
            key.data(key.fileobj, events)

    # Clients.

    def start(self, ns: str, flows: List[Flow]) -> List[socket.socket]:
        def work() -> List[socket.socket]:
            return [self._start_one(f) for f in flows]

        return inside(ns, work)

    def _start_one(self, f: Flow) -> socket.socket:
        family = socket.AF_INET6 if ":" in f.address and not f.address.startswith("::ffff:") else socket.AF_INET
        s = socket.socket(family, socket.SOCK_DGRAM if f.kind in DATAGRAMS else socket.SOCK_STREAM)
        s.setblocking(False)
        address = f.address[7:] if f.address.startswith("::ffff:") else f.address
        try:
            s.connect((address, f.port))
        except BlockingIOError:
            pass
        except OSError:
            f.done = True

        def on_event(_s: socket.socket, events: int) -> None:
            try:
                if events & selectors.EVENT_WRITE:
                    s.send(opening(f))
                    self.selector.modify(s, selectors.EVENT_READ, on_event)
                else:
                    s.recv(65536)  # an answer, the end, or an error: all say that it is over
                    self._end(s, f)
            except BlockingIOError:
                pass
            except OSError:
                self._end(s, f)

        self.selector.register(s, selectors.EVENT_WRITE, on_event)
        return s

    def _end(self, s: socket.socket, f: Flow) -> None:
        f.done = True
        self.selector.unregister(s)

    def play(self, started: List[Tuple[List[socket.socket], List[Flow]]]) -> None:
        begun = self.progress = time.monotonic()
        flows = [f for _, fs in started for f in fs]
        while time.monotonic() - begun < PATIENCE_S:
            self.turn(0.05)
            open_ones = [f for f in flows if not f.done]
            waits = any(f.expected == "allow" for f in open_ones)
            if not open_ones or (not waits and time.monotonic() - self.progress > QUIET_S):
                break
        for sockets, fs in started:
            for s, f in zip(sockets, fs):
                if not f.done:
                    self.selector.unregister(s)
                s.close()


def ask(ns: str, names: List[str]) -> Dict[str, Set[str]]:
    """The addresses that a client in the namespace is given."""

    def work() -> Dict[str, Set[str]]:
        out: Dict[str, Set[str]] = {}
        waiting: Dict[int, Tuple[str, int]] = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(6)
            s.connect(("100.112.0.1", 53))
            for name in names:
                out[name] = set()
                for qtype in (1, 28):
                    query_id = 0x100 + len(out) * 2 + (qtype == 28)
                    waiting[query_id] = (name, qtype)
                    question = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"
                    s.send(struct.pack(">HHHHHH", query_id, 0x0100, 1, 0, 0, 0) + question + struct.pack(">HH", qtype, 1))
            while waiting:
                data = s.recv(4096)
                name, qtype = waiting.pop(struct.unpack_from(">H", data)[0])
                assert data[3] & 15 in (0, 5), (name, qtype, data[3] & 15)
                out[name].update(addresses(data, len(name) + 2 + 4))
        return out

    return inside(ns, work)


def addresses(data: bytes, question_n: int) -> List[str]:
    out, i = [], 12 + question_n
    for _ in range(struct.unpack_from(">H", data, 6)[0]):
        i += 2 if data[i] & 0xC0 else question_n - 4
        rtype, _, _, size = struct.unpack_from(">HHIH", data, i)
        out.append(socket.inet_ntop(socket.AF_INET if rtype == 1 else socket.AF_INET6, data[i + 10 : i + 10 + size]))
        i += 10 + size
    return out


@pytest.fixture
def names(world: harness.World) -> Iterator[Dns]:
    harness.run("ip", "-n", world.net_ns, "addr", "add", f"{PRIVATE}/32", "dev", "lo")
    harness.run("ip", "-n", world.net_ns, "addr", "add", f"{PRIVATE6}/128", "dev", "lo", "nodad")
    harness.run("ip", "-n", world.uplink_ns, "addr", "add", f"{MACHINE}/32", "dev", "lo")
    time.sleep(0.2)  # the gate hears of it
    dns = Dns(world.net_ns, "9.9.9.9")
    dns.ttl = 3600
    dns.names.update(NAMES)
    yield dns
    dns.close()


def run_round(world: harness.World, wire: Wire, spaces: List[str], batch: List[Case]) -> None:
    assert world.gate
    started = []
    for slot, (ns, case) in enumerate(zip(spaces, batch), 1):
        p = case.policy
        world.gate.request("detach", sandbox=f"s{slot}")
        world.attach(slot, allow=p.allow, deny=p.deny or (), default_allow=p.default_allow, reject=True,
                     observe=p.observe)
        case.answers = ask(ns, case.looked_up)
        dialled = [f for f in case.flows if not f.by_lookup or f.address in case.answers[f.name]]
        started.append((wire.start(ns, dialled), dialled))
    wire.play(started)
    for ns, case in zip(spaces, batch):
        # Last, because an answer pins. What was asked before must be the same now.
        late = ask(ns, list(NAMES))
        assert all(late[n] == a for n, a in case.answers.items())
        case.answers = late
    world.gate.forget_events()


def differences(case: Case, counts: Counter) -> Iterator[str]:
    def line(target: str, said: str, happened: str) -> str:
        return (f"policy {case.policy.document()} default {'allow' if case.policy.default_allow else 'deny'}, looked up "
                f"{case.looked_up}: target {target}: the checker says {said}, the wire says {happened}")

    for f in case.flows:
        happened = "allow" if f.seen else "deny"
        counts[f.kind, happened] += 1
        if f.expected != happened:
            yield line(f.target + (f" ({f.address})" if f.by_lookup else ""), f.expected, happened)
    for name in NAMES:
        counts["dns", "allow" if case.answers[name] else "deny"] += 1
        if case.told[name] != case.answers[name]:
            yield line(name, f"addresses {sorted(case.told[name])}", f"addresses {sorted(case.answers[name])}")


def test_the_checker_says_what_happens(world: harness.World, names: Dns) -> None:
    print(f"seed {SEED}")
    wire = Wire(world)
    everything = list(cases(random.Random(SEED)))
    seal(everything)
    spaces = [world.sandbox(slot) for slot in range(1, SANDBOXES + 1)]
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            expected = [pool.submit(expect, c) for c in everything]
            for i in range(0, len(everything), SANDBOXES):
                for done in expected[i : i + SANDBOXES]:
                    done.result()
                run_round(world, wire, spaces, everything[i : i + SANDBOXES])
        wire.turn(0.5)  # what comes late
    finally:
        wire.close()
    counts: Counter = Counter()
    found: List[str] = []
    for case in everything:
        for f in case.flows:
            f.seen = f.word in wire.words
        found += differences(case, counts)
    print(f"{sum(counts.values())} pairs: {dict(counts)}")
    assert not found, f"seed {SEED}: {len(found)} differences, the first:\n" + "\n".join(found[:5])
    assert sum(counts.values()) >= PAIRS
    # Both verdicts of each kind are common enough to mean something.
    kinds = {kind for kind, _ in counts}
    assert kinds == {"tcp", "tls", "http", "dns"} | (set(DATAGRAMS) if WITH_UDP else set())
    for kind in kinds:
        for verdict in ("allow", "deny"):
            assert counts[kind, verdict] > PAIRS / 50, (kind, verdict, counts)
