# SPDX-License-Identifier: Apache-2.0
"""TLS that begins later: the name inside is compared as if the connection had started with it."""

import contextlib
import imaplib
import os
import smtplib
import socket
import ssl
import struct
import threading
import time

import harness
import pytest
from dnsd import lookup
from harness import OTHER, SERVER, SERVER6, connect, inside
from test_names import DENIED, NAME, SECOND, hello, read_all

POSTGRES, MYSQL, SMTP, IMAP, XMPP = 5432, 3306, 587, 143, 5222
SSL_REQUEST = struct.pack(">II", 8, 80877103)
CLIENT_SSL = 0x0800


class Far:
    """Servers that speak plain text first. What came up after the word for TLS is kept, hello or not."""

    def __init__(self, ns, context):
        self.context = context
        self.after = []  # one per connection: the bytes behind the word, of those that were no whole handshake
        self.plain = []
        self._listeners = [
            harness.serve(ns, port, handler)
            for port, handler in ((POSTGRES, self.postgres), (MYSQL, self.mysql), (SMTP, self.smtp), (IMAP, self.imap),
                                  (XMPP, self.xmpp))
        ]

    def close(self):
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def secure(self, c, early=b""):
        """The socket in TLS; early is what the client sent along with the word. None, if it never said hello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        seen = early
        incoming.write(early)
        while True:
            try:
                tls.do_handshake()
                c.sendall(outgoing.read())
                return Secured(c, tls, incoming, outgoing)
            except ssl.SSLWantReadError:
                c.sendall(outgoing.read())
                data = c.recv(65536)
                seen += data
                if not data:
                    self.after.append(seen)
                    return None
                incoming.write(data)

    def postgres(self, c):
        first = c.recv(8, socket.MSG_WAITALL)
        while first == struct.pack(">II", 8, 80877104):  # GSSENCRequest
            c.sendall(b"N")
            first = c.recv(8, socket.MSG_WAITALL)
        if first != SSL_REQUEST:
            self.plain.append(first + c.recv(4096))
            c.sendall(b"R" + struct.pack(">II", 8, 0))
            return
        c.sendall(b"S")
        s = self.secure(c)
        if s and (head := s.read(4)):
            size = struct.unpack(">I", head)[0]
            s.write(b"R" + struct.pack(">II", 8, 0) + s.read(size - 4))

    def mysql(self, c):
        greeting = b"\x0a8.0.36\0" + struct.pack("<I", 7) + b"saltsalt\0" + struct.pack("<H", 0xFFFF) + bytes(26)
        c.sendall(struct.pack("<I", len(greeting))[:3] + b"\0" + greeting)
        head = c.recv(36, socket.MSG_WAITALL)
        if not struct.unpack_from("<I", head, 4)[0] & CLIENT_SSL:
            self.plain.append(head)
            c.sendall(b"\x07\0\0\2\0\0\0\2\0\0\0")
            return
        s = self.secure(c)
        if s:
            size = int.from_bytes(s.read(4)[:3], "little")
            s.write(b"\x07\0\0\3" + s.read(size)[:7])

    def lines(self, c):
        buffer = b""
        while True:
            while b"\n" not in buffer:
                data = c.recv(1)  # nothing behind the line is taken from the kernel
                if not data:
                    return
                buffer += data
            line, buffer = buffer.split(b"\n", 1)
            yield line.rstrip(b"\r")

    def smtp(self, c):
        c.sendall(b"220 mx ESMTP\r\n")
        for line in self.lines(c):
            word = line.split(b" ")[0].upper()
            if word == b"EHLO":
                c.sendall(b"250-mx\r\n250 STARTTLS\r\n")
            elif word == b"STARTTLS":
                c.sendall(b"220 go\r\n")
                s = self.secure(c)
                while s and (line := s.line()):
                    s.write(b"250-mx\r\n250 8BITMIME\r\n" if line[:4].upper() == b"EHLO" else b"221 bye\r\n")
                return
            else:
                self.plain.append(line)
                c.sendall(b"502 what\r\n")

    def imap(self, c):
        c.sendall(b"* OK IMAP4rev1\r\n")
        for line in self.lines(c):
            tag, word = line.split(b" ")[:2]
            if word == b"CAPABILITY":
                c.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + tag + b" OK done\r\n")
            elif word == b"STARTTLS":
                c.sendall(tag + b" OK go\r\n")
                s = self.secure(c)
                while s and (line := s.line()):
                    tag, word = line.split(b" ")[:2]
                    s.write((b"* CAPABILITY IMAP4rev1\r\n" if word[:10] == b"CAPABILITY" else b"* BYE\r\n") + tag + b" OK done\r\n")
                return

    def xmpp(self, c):
        """No lines: one word, and what follows it in the kernel is TLS."""
        word = c.recv(11, socket.MSG_WAITALL)
        if word == b"<starttls/>":
            time.sleep(0.1)
            c.sendall(b"<proceed/>")
            s = self.secure(c)
            while s and (data := s.read(1)):
                s.write(data)


class Secured:
    def __init__(self, c, tls, incoming, outgoing):
        self.c, self.tls, self.incoming, self.outgoing = c, tls, incoming, outgoing

    def read(self, n):
        out = b""
        while len(out) < n:
            try:
                data = self.tls.read(n - len(out))
                if not data:
                    return out
                out += data
            except ssl.SSLWantReadError:
                data = self.c.recv(65536)
                if not data:
                    return out
                self.incoming.write(data)
        return out

    def line(self):
        out = b""
        while not out.endswith(b"\n"):
            data = self.read(1)
            if not data:
                return b""
            out += data
        return out

    def write(self, data):
        self.tls.write(data)
        self.c.sendall(self.outgoing.read())


@pytest.fixture(scope="module")
def far(net, world):
    f = Far(world.net_ns, net._context)
    yield f
    f.close()


@pytest.fixture
def named(net, far, sandbox):
    net.dns.ttl = 60
    net.dns.names.update({NAME: [SERVER, SERVER6], SECOND: [OTHER], DENIED: [SERVER]})
    slot, ns = sandbox(allow=[NAME, SECOND])
    lookup(ns, NAME), lookup(ns, NAME, qtype=28)
    net.tls_names.clear()
    far.after.clear()
    far.plain.clear()
    return slot, ns


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def postgres(ns, address, name):
    """As libpq does with sslmode=require."""
    with connect(ns, address, POSTGRES) as s:
        s.sendall(SSL_REQUEST)
        assert s.recv(1) == b"S"
        with context().wrap_socket(s, server_hostname=name) as t:
            t.sendall(struct.pack(">I", 20) + b"0123456789abcdef")
            return t.recv(100) == b"R" + struct.pack(">II", 8, 0) + b"0123456789abcdef"


def mysql(ns, address, name):
    """As libmysqlclient does: the hello follows the request without a wait."""
    with connect(ns, address, MYSQL) as s:
        assert s.recv(4096)[4] == 10
        s.sendall(b"\x20\0\0\1" + struct.pack("<IIB", CLIENT_SSL | 0x200, 1 << 24, 33) + bytes(23))
        with context().wrap_socket(s, server_hostname=name) as t:
            t.sendall(b"\x20\0\0\2" + bytes(32))
            return t.recv(100) == b"\x07\0\0\3" + bytes(7)


def smtp(ns, address, name):
    def work():
        with smtplib.SMTP(timeout=5) as s:
            s.connect(address, SMTP)
            s._host = name or "\0"
            c = context()
            if name is None:
                c.wrap_socket, wrap = (lambda sock, server_hostname: wrap(sock)), c.wrap_socket
            s.starttls(context=c)
            return s.ehlo()[0] == 250

    return inside(ns, work)


def imap(ns, address, name):
    def work():
        s = imaplib.IMAP4(address, IMAP, timeout=5)
        s.host = name
        s.starttls(context())
        s.logout()
        return True

    return inside(ns, work)


CLIENTS = {"postgres": postgres, "mysql": mysql, "smtp": smtp, "imap": imap}
PORTS = {"postgres": POSTGRES, "mysql": MYSQL, "smtp": SMTP, "imap": IMAP}


@pytest.mark.parametrize("protocol", CLIENTS)
@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_an_allowed_name(net, named, far, world, protocol, address):
    assert CLIENTS[protocol](named[1], address, NAME)
    assert net.tls_names == [NAME]
    world.gate.decision(addr=address, port=PORTS[protocol], verdict="allow", name=NAME)
    world.gate.decision(addr=address, port=PORTS[protocol], verdict="allow", name=NAME, closed=True)


@pytest.mark.parametrize("protocol", CLIENTS)
@pytest.mark.parametrize("address", [SERVER, SERVER6])
@pytest.mark.parametrize("name,reason", [(DENIED, "sni_not_allowed"), (SECOND, "sni_mismatch")])
def test_another_name(net, named, far, world, protocol, address, name, reason):
    """SECOND is allowed, at another address. The client reads an alert; the server has not seen a byte of the hello."""
    with pytest.raises(ssl.SSLError) as e:
        CLIENTS[protocol](named[1], address, name)
    assert "ALERT" in e.value.reason or "UNRECOGNIZED_NAME" in e.value.reason
    world.gate.decision(addr=address, port=PORTS[protocol], verdict="deny", reason=reason)
    assert net.tls_names == []
    assert far.after == [b""]


@pytest.mark.parametrize("protocol", sorted(set(CLIENTS) - {"imap"}))  # imaplib always names a server
@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_no_name_asks_for_no_more_than_plain_text(net, named, world, protocol, address):
    """Many clients of databases and mail name no server behind STARTTLS. At the start of a flow that is refused."""
    assert CLIENTS[protocol](named[1], address, None)
    assert net.tls_names == ["-"]
    world.gate.decision(addr=address, port=PORTS[protocol], verdict="allow", name=NAME)
    assert not [e for e in world.gate.events if e.get("verdict") == "deny"]


def test_plain_text_passes_on_the_pin(named, far):
    with connect(named[1], SERVER, POSTGRES) as s:
        s.sendall(struct.pack(">II", 14, 3 << 16) + b"user\0\0")
        assert s.recv(9) == b"R" + struct.pack(">II", 8, 0)
    with connect(named[1], SERVER, MYSQL) as s:
        s.recv(4096)
        s.sendall(b"\x20\0\0\1" + struct.pack("<IIB", 0x200, 1 << 24, 33) + bytes(23))
        assert s.recv(11)[4] == 0
    assert len(far.plain) == 2


def test_gssapi_first(net, named, far):
    """libpq with Kerberos asks for GSSAPI before it asks for TLS."""
    for name in (NAME, DENIED):
        with connect(named[1], SERVER, POSTGRES) as s:
            s.sendall(struct.pack(">II", 8, 80877104))
            assert s.recv(1) == b"N"
            s.sendall(SSL_REQUEST)
            assert s.recv(1) == b"S"
            if name == NAME:
                context().wrap_socket(s, server_hostname=name).close()
                continue
            with pytest.raises(ssl.SSLError):
                context().wrap_socket(s, server_hostname=name)
    assert net.tls_names == [NAME] and far.after == [b""]


@pytest.mark.parametrize("name", [NAME, DENIED])
@pytest.mark.parametrize("wait", [0, 0.03])
def test_the_hello_does_not_wait_for_the_answer(net, named, far, name, wait):
    """No line ends before it and no server spoke: the word, and the hello behind it in the same packet or a later one."""
    with connect(named[1], SERVER, XMPP) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wait:
            s.sendall(b"<starttls/>")
            time.sleep(wait)
            s.sendall(hello(name))
        else:
            s.sendall(b"<starttls/>" + hello(name))
        assert s.recv(10, socket.MSG_WAITALL) == b"<proceed/>"
        assert s.recv(1) == (b"\x16" if name == NAME else b"\x15")
    if name == DENIED:
        assert far.after == [b""]


@pytest.mark.parametrize("name", [NAME, DENIED])
@pytest.mark.parametrize("step", [1, 7, 60])
def test_a_hello_in_pieces(net, named, far, name, step):
    with connect(named[1], SERVER, SMTP) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.recv(100)
        s.sendall(b"STARTTLS\r\n")
        assert s.recv(100) == b"220 go\r\n"
        data = hello(name)
        for i in range(0, len(data), step):
            s.sendall(data[i : i + step])
            time.sleep(0.001)
        assert s.recv(1) == (b"\x16" if name == NAME else b"\x15")
    if name == DENIED:
        assert far.after == [b""]
    assert net.tls_names == ([NAME] if name == NAME else [])


def test_a_hello_so_slow_that_its_first_bytes_go(net, named, far):
    """What waited too long to be a key that somebody pressed goes up, without a name, and is still known when more comes."""
    with connect(named[1], SERVER, SMTP) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.recv(100)
        s.sendall(b"STARTTLS\r\n")
        s.recv(100)
        data = hello(DENIED)
        for piece in (data[:1], data[1:40], data[40:]):
            s.sendall(piece)
            time.sleep(0.8)
        assert s.recv(1) == b"\x15"
    assert len(far.after) == 1 and data.startswith(far.after[0]) and len(far.after[0]) < 80
    assert DENIED.encode() not in far.after[0] and net.tls_names == []


def test_a_hello_over_records(net, named, far):
    for name in (NAME, DENIED):
        body = hello(name)[5:]
        for cut in (1, 5, 60, len(body) - 1):
            with connect(named[1], SERVER, SMTP) as s:
                s.recv(100)
                s.sendall(b"STARTTLS\r\n")
                s.recv(100)
                s.sendall(b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in (body[:cut], body[cut:])))
                assert s.recv(1) == (b"\x16" if name == NAME else b"\x15")
    assert far.after == [b""] * 4


def test_a_good_hello_is_no_ticket_for_a_bad_one(net, named, far):
    """The server took the first one for nonsense, as it was meant to."""
    with connect(named[1], SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(hello(NAME) + b"\r\n")
        while b"502" not in s.recv(4096):
            pass
        s.sendall(b"STARTTLS\r\n")
        while b"220 go" not in s.recv(4096):
            pass
        s.sendall(hello(DENIED))
        assert s.recv(1) == b"\x15"
    assert far.after == [b""]


def test_a_hello_inside_a_hello(net, named, far, world):
    """The outer one's name is allowed; its padding is lines for the server."""
    outer, evil = hello(NAME), b"\r\nSTARTTLS\r\n" + hello(DENIED)
    at = 5 + 4 + 2 + 32
    at += 1 + outer[at]
    at += 2 + int.from_bytes(outer[at : at + 2], "big")
    at += 1 + outer[at]
    extensions = outer[at + 2 :] + struct.pack(">HH", 21, len(evil)) + evil
    body = outer[9:at] + len(extensions).to_bytes(2, "big") + extensions
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    data = b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake
    for step in (1, len(data)):
        with connect(named[1], SERVER, SMTP) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.recv(100)
            s.sendall(b"NOOP\r\n")
            for i in range(0, len(data), step):
                s.sendall(data[i : i + step])
            assert b"220 go" not in read_all(s)
        world.gate.decision(addr=SERVER, port=SMTP, reason="tls_malformed")
    assert far.after == []


def test_a_request_body_is_no_place_to_hide(net, named, far, world):
    """A server that reads lines answers "what?" to a request, and then reads its body."""
    body = b"x\r\nSTARTTLS\r\n"
    with connect(named[1], SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(b"POST / HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: 9999\r\n\r\n" % (NAME.encode(), SMTP) + body)
        while b"220 go" not in s.recv(4096):
            pass
        s.sendall(hello(DENIED))
        assert s.recv(1) == b"\x15"
    assert far.after == [b""]
    world.gate.decision(addr=SERVER, port=SMTP, reason="tls_malformed")


def test_a_key_that_looks_like_a_hello(named, far):
    """Ctrl-V alone is 16 hex. It arrives, and what follows too."""
    with connect(named[1], SERVER, 7) as s:
        s.sendall(b"login\n")
        assert s.recv(100) == b"login\n"
        for data in (b"\x16", b"a", b"\x16", b"\x16\x03", b"\x16\x03\x01\x02"):
            started = time.monotonic()
            s.sendall(data)
            assert s.recv(100) == data
            assert time.monotonic() - started < 1


def test_a_hello_that_stops_half_way(named, far, world):
    """It waits for its end, not for ever, and the client's end is an end."""
    with connect(named[1], SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(b"STARTTLS\r\n")
        s.recv(100)
        s.sendall(hello(NAME)[:-1])
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
    world.gate.decision(addr=SERVER, port=SMTP, reason="undecided")
    assert far.after == [b""]


def test_a_hello_that_drips_has_a_deadline(named, far, world):
    """Two slow ones at the same time: the deadline is each one's own, runs from its first byte and is not moved by more of
    them. One is the start of a flow, without the end of its line; the other is behind STARTTLS."""
    with connect(named[1], SERVER, 2525 - 2518) as first, connect(named[1], SERVER, SMTP) as later:
        later.recv(100)
        later.sendall(b"STARTTLS\r\n")
        later.recv(100)
        started = time.monotonic()
        first.sendall(b"QUIT")
        later.sendall(hello(NAME)[:100])
        for s in (first, later):
            s.settimeout(20)
        time.sleep(8)
        first.sendall(b"Q")
        later.sendall(b"\0")
        assert first.recv(1) == b""
        assert 14 < time.monotonic() - started < 16.5
        assert later.recv(1) == b""
        assert 14 < time.monotonic() - started < 16.5
    world.gate.decision(addr=SERVER, port=7, reason="undecided")
    world.gate.decision(addr=SERVER, port=SMTP, reason="undecided")


def test_denied_names_under_an_open_default(net, far, sandbox, world):
    net.dns.names.update({NAME: [SERVER], DENIED: [SERVER]})
    _, ns = sandbox(deny=[DENIED], default_allow=True)
    net.tls_names.clear()
    far.after.clear()
    for protocol, client in CLIENTS.items():
        assert client(ns, SERVER, NAME)
        with pytest.raises(ssl.SSLError):
            client(ns, SERVER, DENIED)
        world.gate.decision(addr=SERVER, port=PORTS[protocol], verdict="deny", reason="sni_not_allowed")
    assert DENIED not in net.tls_names
    assert far.after == [b""] * len(CLIENTS)
    # What starts like a request that cannot be read is not looked at as HTTP; it is still looked at.
    with connect(ns, SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nSTARTTLS\r\n")
        while b"220 go" not in s.recv(4096):
            pass
        s.sendall(hello(DENIED))
        assert s.recv(1) == b"\x15"


@contextlib.contextmanager
def in_tls(ns, name):
    with connect(ns, SERVER, XMPP) as s:
        s.sendall(b"<starttls/>")
        assert s.recv(10, socket.MSG_WAITALL) == b"<proceed/>"
        with context().wrap_socket(s, server_hostname=name) as t:
            yield t


def alive(t):
    t.sendall(b"x")
    return t.recv(1) == b"x"


def test_a_new_policy_judges_the_name(net, named, far, world):
    slot, ns = named
    net.dns.names["third.allowed.test"] = [SERVER]
    world.update(slot, 2, allow=[NAME, SECOND, "third.allowed.test"])
    lookup(ns, "third.allowed.test")
    with in_tls(ns, NAME) as kept, in_tls(ns, "third.allowed.test") as cut:
        assert alive(kept) and alive(cut)
        world.update(slot, 3, allow=[NAME])
        assert alive(kept)
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            alive(cut)
        world.gate.decision(addr=SERVER, verdict="deny", name="third.allowed.test")


def test_a_watched_flow_stays_watched(net, named, far, world):
    slot, ns = named
    with connect(ns, SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(b"EHLO x\r\n")
        s.recv(100)
        world.update(slot, 2, allow=[NAME])
        s.sendall(b"STARTTLS\r\n")
        assert s.recv(100) == b"220 go\r\n"
        s.sendall(hello(DENIED))
        assert s.recv(1) == b"\x15"


def test_what_nobody_watched_does_not_pass_a_list_of_names(net, named, far, world):
    """In between the address was open: TLS of any name may have begun, and what is encrypted shows nothing."""
    slot, ns = named
    with connect(ns, SERVER, SMTP) as s:
        s.recv(100)
        s.sendall(b"EHLO x\r\n")
        s.recv(100)
        world.update(slot, 2, allow=[NAME, SERVER])
        s.sendall(b"NOOP\r\n")
        assert s.recv(100) == b"502 what\r\n"
        world.update(slot, 3, allow=[NAME])
        s.settimeout(2)
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    world.gate.decision(addr=SERVER, port=SMTP, verdict="deny", reason="undecided")


def test_half_close_and_back_pressure(net, named, world):
    """Random bytes, much more than every buffer, to a server that reads late: all of it, in order, and then its end."""
    data = os.urandom(8 << 20)
    go = threading.Event()
    got = []

    def handler(c):
        c.recv(5, socket.MSG_WAITALL)
        go.wait(10)
        part = bytearray()
        while piece := c.recv(65536):
            part += piece
        got.append(bytes(part))
        c.sendall(b"done")

    listener = harness.serve(world.net_ns, 2222, handler)
    with connect(named[1], SERVER, 2222, 20) as s:
        s.sendall(b"SSH-\n")
        threading.Timer(0.5, go.set).start()
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s) == b"done"
    assert got == [data]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def upload(ns, world, size):
    """Seconds for so many random bytes."""
    block = os.urandom(1 << 20)

    def handler(c):
        left = size + 5
        while left > 0:
            left -= len(c.recv(1 << 20))
        c.sendall(b"k")

    listener = harness.serve(world.net_ns, 2223, handler)
    try:
        with connect(ns, SERVER, 2223, 30) as s:
            s.sendall(b"SSH-\n")
            started = time.monotonic()
            for _ in range(size >> 20):
                s.sendall(block)
            assert s.recv(1) == b"k"
            return time.monotonic() - started
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_an_upload_is_not_much_slower(net, named, sandbox, world):
    """The bytes of a watched client are copied instead of spliced."""
    _, spliced = sandbox(allow=[SERVER])
    size = 128 << 20
    fast = min(upload(spliced, world, size) for _ in range(3))
    watched = min(upload(named[1], world, size) for _ in range(3))
    print(f"\nspliced {size / fast / 1e6:.0f} MB/s, watched {size / watched / 1e6:.0f} MB/s")
    assert watched < fast * 4
