# SPDX-License-Identifier: Apache-2.0
"""A server may ask for a second ClientHello (HelloRetryRequest): it is judged as the first one was, and names the same."""

import os
import socket
import ssl
import time

import harness
import pytest
from conftest import Net
from dnsd import lookup
from harness import SERVER, SERVER6, connect
from test_names import NAME, SECOND, read_all, tls

DENIED = "code.denied.test"  # as long as the others, so that one name can be written over another
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
CCS, WARNING, FATAL = b"\x14\3\3\0\1\1", b"\x15\3\3\0\2\1\x70", b"\x15\3\3\0\2\2\x28"
SESSION = slice(5 + 4 + 2 + 32 + 1, 5 + 4 + 2 + 32 + 1 + 32)  # of either side's hello
PORTS, FAMILIES = [443, 8443], [SERVER, SERVER6]
assert len(NAME) == len(SECOND) == len(DENIED)


def record(data, kind=22):
    return bytes([kind, 3, 3]) + len(data).to_bytes(2, "big") + data


def records(data):
    out = []
    while data:
        n = 5 + int.from_bytes(data[3:5], "big")
        out.append(data[:n])
        data = data[n:]
    return out


class RetryNet(Net):
    """Its TLS servers take P-384 only, for which no client makes a key share unasked. What they read is kept as it came."""

    def __init__(self, world, folder):
        self.seen = []  # [bytes, how it ended] of each connection
        self.script = None  # instead of TLS: the whole answer to the first hello; then it only reads
        self.step = 1 << 20  # bytes in one go
        super().__init__(world, folder)
        self._context.set_ecdh_curve("secp384r1")

    def forget(self):
        self.seen.clear()
        self.tls_names.clear()
        self.script = None
        self.step = 1 << 20

    def _say(self, c, data):
        for i in range(0, len(data), self.step):
            c.sendall(data[i : i + self.step])

    def _tls(self, c):
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        this = [b"", None]
        self.seen.append(this)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = self._context.wrap_bio(incoming, outgoing, server_side=True)
        script, shaken = self.script, False
        try:
            while data := c.recv(65536):
                this[0] += data
                if self.script is not None:
                    self._say(c, script)
                    script = b""
                    continue
                incoming.write(data)
                try:
                    if not shaken:
                        t.do_handshake()
                        shaken = True
                    while part := t.read(65536):
                        t.write(part)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    self._say(c, outgoing.read())
                    continue
                self._say(c, outgoing.read())
            this[1] = "end"
        except ConnectionResetError:
            this[1] = "reset"

    def ended(self):
        """How the only connection ended, and what was read on it."""
        end = time.monotonic() + 3
        while not (self.seen and self.seen[0][1]) and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.seen) == 1
        return self.seen[0][1], self.seen[0][0]


@pytest.fixture(scope="module")
def net(world, tmp_path_factory):
    n = RetryNet(world, tmp_path_factory.mktemp("net"))
    n.dns.ttl = 60
    n.dns.names.update({NAME: FAMILIES, SECOND: FAMILIES, DENIED: FAMILIES})
    yield n
    n.close()


def look_up(ns, *names):
    for name in names:
        assert lookup(ns, name) == [SERVER]
        assert lookup(ns, name, qtype=28) == [SERVER6]


@pytest.fixture
def named(net, sandbox):
    slot, ns = sandbox(allow=[NAME, SECOND])
    look_up(ns, NAME, SECOND)
    net.forget()
    return slot, ns


class Client:
    """OpenSSL's hellos, and a connection that they need not go over."""

    def __init__(self, ns, address=SERVER, port=443, name=NAME):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._id = b""
        self.socket = connect(ns, address, port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flight(self, answer=b""):
        """The next bytes of the client, who has read the answer."""
        self._in.write(answer)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        data = self._out.read()
        self._id = self._id or data[SESSION]
        return data

    def read(self, n):
        data = b""
        while len(data) < n and (part := self.socket.recv(n - len(data))):
            data += part
        return data

    def read_record(self):
        head = self.read(5)
        return head + self.read(int.from_bytes(head[3:5], "big")) if head else b""

    def was_taken(self):
        """The server answers with a ServerHello."""
        data = CCS
        while data == CCS:
            data = self.read_record()
        return data[0] == 22 and data[5] == 2 and RETRY_RANDOM not in data

    def read_retry(self):
        data = self.read_record()
        assert RETRY_RANDOM in data
        return data

    def second(self, answer, name=NAME):
        """The second hello, in the name's place another."""
        answer = answer[: SESSION.start] + self._id + answer[SESSION.stop :]
        out = [r for r in records(self.flight(answer)) if r[0] == 22]
        assert len(out) == 1 and out[0].count(NAME.encode()) == 1
        return out[0].replace(NAME.encode(), name.encode())

    def rest(self):
        """What still comes; the last record of it. A reset behind an alert is an end too."""
        last = b""
        try:
            while data := self.read_record():
                last = data
        except ConnectionResetError:
            pass
        return last


def retry_of(ns, net):
    """A HelloRetryRequest that this server would send."""
    with Client(ns) as c:
        c.socket.sendall(c.flight())
        return c.read_retry()


@pytest.mark.parametrize("address", FAMILIES)
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_usual_client_is_unharmed(net, named, world, address, port, step):
    """step: the server's records come byte by byte."""
    net.step = step
    data = os.urandom(1 << 12 if step == 1 else 1 << 20)
    with tls(named[1], address, NAME, port) as s:
        for _ in range(2):
            s.sendall(data[: 1 << 12])
            got = b""
            while len(got) < 1 << 12:
                got += s.recv(1 << 16)
            assert got == data[: 1 << 12]
    hellos = [r for r in records(net.ended()[1]) if r[0] == 22 and r[5] == 1]
    assert len(hellos) == 2
    assert net.tls_names[-1] == NAME
    world.gate.decision(addr=address, port=port, verdict="allow", name=NAME)
    time.sleep(0.05)
    assert not [e for e in world.gate.events if e.get("verdict") == "deny"]


BETWEEN = {
    "nothing": [],
    "ccs": [CCS],
    "early data": [record(os.urandom(1000), 23), record(b"\x16" * 40, 23)],
    "all": [CCS, WARNING, record(os.urandom(16384), 23), CCS],
}


@pytest.mark.parametrize("address", FAMILIES)
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name,reason", [(DENIED, "sni_not_allowed"), (SECOND, "sni_mismatch")])
@pytest.mark.parametrize("between", BETWEEN)
def test_another_name_in_the_second_hello(net, named, world, address, port, name, reason, between):
    """SECOND is allowed, and at this address. The server is reset and has not seen a byte of the hello."""
    with Client(named[1], address, port) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry(), name)
        extra = b"".join(BETWEEN[between])
        c.socket.sendall(extra)
        if extra:
            time.sleep(0.05)
        c.socket.sendall(second)
        assert c.rest() == b"\x15\3\3\0\2\2\x31"
    world.gate.decision(addr=address, port=port, verdict="deny", reason=reason, name=name)
    how, seen = net.ended()
    assert how == "reset" or "data" in between or between == "all"  # which this server answered by an alert
    assert seen.startswith(first) and (first + extra).startswith(seen)
    assert name not in net.tls_names


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("step", [1, 3, 60])
@pytest.mark.parametrize("name", [NAME, DENIED, SECOND])
def test_the_second_hello_in_pieces(net, named, port, step, name):
    with Client(named[1], port=port) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry(), name)
        for i in range(0, len(second), step):
            c.socket.sendall(second[i : i + step])
        if name == NAME:
            assert c.was_taken()
            return
        assert c.rest() == b"\x15\3\3\0\2\2\x31"
    assert net.ended() == ("reset", first)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("cut", [1, 4, 40, 200])
def test_the_second_hello_over_records(net, named, world, port, cut):
    for name in (DENIED, SECOND):
        net.forget()
        with Client(named[1], port=port) as c:
            first = c.flight()
            c.socket.sendall(first)
            second = c.second(c.read_retry(), name)[5:]
            c.socket.sendall(record(second[:cut]) + record(second[cut:]))
            assert c.rest() == b"\x15\3\3\0\2\2\x31"
        assert net.ended() == ("reset", first)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("cut", [1, 4, 40, 200])
def test_early_data_inside_the_second_hello(net, named, world, port, cut):
    """A server that reads over early data does so between the parts of a hello as well. No client has to."""
    with Client(named[1], port=port) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry(), DENIED)[5:]
        c.socket.sendall(record(second[:cut]) + record(os.urandom(50), 23))
        time.sleep(0.02)
        c.socket.sendall(record(second[cut:]))
        assert c.rest()[:5] == b"\x15\3\3\0\2"
    world.gate.decision(addr=SERVER, port=port, reason="tls_malformed")
    assert net.ended() == ("reset", first)


@pytest.mark.parametrize("address", FAMILIES)
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name,reason", [(DENIED, "sni_not_allowed"), (SECOND, "sni_mismatch")])
@pytest.mark.parametrize("between", ["nothing", "all"])
def test_it_does_not_wait_for_the_question(net, named, world, address, port, name, reason, between):
    answer = retry_of(named[1], net)
    net.forget()
    with Client(named[1], address, port) as c:
        first = c.flight()
        c.socket.sendall(first + b"".join(BETWEEN[between]) + c.second(answer, name))
        assert c.rest() == b"\x15\3\3\0\2\2\x31"
    world.gate.decision(addr=address, port=port, verdict="deny", reason=reason)
    assert name.encode() not in b"".join(x[0] for x in net.seen)
    assert name not in net.tls_names


ANSWERS = {
    "an alert that ends it": FATAL,
    "another protocol": b"220 mx\r\n",
    "a hello request": record(b"\0\0\0\0"),
    "silence": b"",
    "warnings, and then the question": WARNING + CCS + WARNING + record(b"\2\0\0\x2a\3\3" + RETRY_RANDOM + b"\0\x13\1\0\0\2\0\0"),
    "two questions": 2 * record(b"\2\0\0\x2a\3\3" + RETRY_RANDOM + b"\0\x13\1\0\0\2\0\0"),
    "half a question": record(b"\2\0\0\x2a\3\3" + RETRY_RANDOM[:20]),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("step", [1, 1000])
def test_a_server_that_reads_on(net, named, world, port, answer, step):
    """Whatever it said, and it was no ServerHello: it may take the next hello for the first one."""
    retry = retry_of(named[1], net)
    net.forget()
    net.script, net.step = ANSWERS[answer], step
    with Client(named[1], port=port) as c:
        first = c.flight()
        c.socket.sendall(first)
        assert c.read(len(net.script)) == net.script
        c.socket.sendall(c.second(retry, DENIED))
        assert read_all(c.socket)[:5] == b"\x15\3\3\0\2"
    world.gate.decision(addr=SERVER, port=port, reason="sni_not_allowed")
    seen = net.ended()[1]
    assert seen == first if answer != "silence" else first.startswith(seen)


def test_behind_the_answer_nothing_is_looked_at(net, named):
    """The server has taken the hello, and what looks like another one is what the client encrypted."""
    with Client(named[1]) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry())
        c.socket.sendall(second)
        assert c.was_taken()
        data = second.replace(NAME.encode(), DENIED.encode()) * 3
        c.socket.sendall(data)
        c.socket.shutdown(socket.SHUT_WR)
        read_all(c.socket)
    assert net.ended()[1] == first + second + data


def test_a_second_hello_that_stops_half_way(net, named, world):
    with Client(named[1]) as c:
        first = c.flight()
        c.socket.sendall(first)
        c.socket.sendall(c.second(c.read_retry())[:-1])
        time.sleep(0.05)
        c.socket.shutdown(socket.SHUT_WR)
        assert c.rest() in (b"", CCS)
    world.gate.decision(addr=SERVER, reason="undecided")
    assert net.ended() == ("reset", first)


@pytest.mark.parametrize("port", PORTS)
def test_denied_names_under_an_open_default(net, sandbox, world, port):
    _, ns = sandbox(deny=[DENIED], default_allow=True)
    for name in (NAME, SECOND, DENIED):
        net.forget()
        with Client(ns, port=port) as c:
            first = c.flight()
            c.socket.sendall(first)
            second = c.second(c.read_retry(), name)
            c.socket.sendall(second)
            if name != DENIED:
                assert c.was_taken()
                continue
            assert c.rest() == b"\x15\3\3\0\2\2\x31"
        world.gate.decision(addr=SERVER, port=port, verdict="deny", reason="sni_not_allowed", name=DENIED)
        assert net.ended() == ("reset", first)


@pytest.mark.parametrize("port", PORTS)
def test_an_observer_is_told(net, sandbox, world, port):
    _, ns = sandbox(allow=[NAME, SECOND], observe=True)
    look_up(ns, NAME, SECOND)
    for name, would in ((DENIED, "sni_not_allowed"), (SECOND, "sni_mismatch")):
        net.forget()
        with Client(ns, port=port) as c:
            first = c.flight()
            c.socket.sendall(first)
            second = c.second(c.read_retry(), name)
            c.socket.sendall(second)
            assert c.was_taken()
        assert net.ended()[1] == first + second
        world.gate.decision(addr=SERVER, port=port, verdict="allow", name=name, would=would)


@pytest.mark.parametrize("port", PORTS)
def test_a_name_that_is_only_observed_is_still_judged_later(net, sandbox, world, port):
    """Asked for twice, it is told once, and a policy that means it knows what the flow is."""
    slot, ns = sandbox(allow=[SECOND], observe=True)
    look_up(ns, NAME)
    net.forget()
    with tls(ns, SERVER, NAME, port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        assert len([e for e in world.gate.events if e.get("name") == NAME and e.get("port") == port]) == 1
        world.update(slot, 2, allow=[NAME])
        s.sendall(b"y")
        assert s.recv(1) == b"y"


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("policy,name,passes", [
    ({"allow": [NAME]}, NAME, True),
    ({"allow": [NAME]}, SECOND, False),
    ({"allow": [SECOND, NAME], "deny": [DENIED]}, DENIED, False),
    ({"deny": [DENIED], "default_allow": True}, DENIED, False),
    ({"deny": [DENIED], "default_allow": True}, SECOND, True),
    ({"allow": [NAME, SERVER]}, DENIED, True),  # the address itself is open now
])
def test_a_new_policy_while_it_waits(net, named, world, port, policy, name, passes):
    slot, ns = named
    with Client(ns, port=port) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry(), name)
        world.update(slot, 2, **policy)
        c.socket.sendall(second)
        if passes:
            assert c.was_taken()
            return
        assert c.rest() == b"\x15\3\3\0\2\2\x31"
    assert net.ended() == ("reset", first)


def test_a_new_policy_without_the_name(net, named, world):
    slot, ns = named
    with Client(ns) as c:
        first = c.flight()
        c.socket.sendall(first)
        second = c.second(c.read_retry())
        world.update(slot, 2, allow=[SECOND])
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(3):
                c.socket.sendall(second)
                time.sleep(0.05)
    assert net.ended() == ("reset", first)
