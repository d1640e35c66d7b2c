# SPDX-License-Identifier: Apache-2.0
"""
Malformed anything, from a seed: runs as root in the network namespace of a sandbox and sends what no honest program sends.

    python3 storm.py <JSON object>

The object: seed, seconds, rate (actions a second at most), corpus (folder of the wire fuzzers' corpora), seal (the program
tests/gate/quic-seal), addrs ([own IPv4, own IPv6]), good (addresses that rules name), bad (addresses that none names), names
(names that may be asked for). Prints one JSON object: how often each kind of action was done. Standard library only.

The same seed makes the same actions in the same order; what the other side's timing makes of them is its own.
"""
import collections
import errno
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import time
from typing import Callable, Dict, List, Tuple

from packets import ACK, FIN, RST, SYN, frame, icmp, ip, mutate, packed, tcp, udp

GATEWAYS = ("100.112.0.1", "fd64:6377::1")
PORTS = (1, 7, 9, 22, 25, 53, 80, 81, 443, 853, 2525, 5353, 8080, 8443, 9999, 65535)
OPEN_MAX = 96


def client_hello(name: str) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def dns_query(name: str, qtype: int, ident: int, edns: bool) -> bytes:
    wire = b"".join(bytes([len(x)]) + x.encode("latin-1") for x in name.split(".") if x) + b"\0"
    head = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, int(edns))
    tail = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""
    return head + wire + struct.pack(">HH", qtype, 1) + tail


def varint(v: int) -> bytes:
    return struct.pack(">I", v | 0x80000000)


class Storm:
    def __init__(self, o: dict) -> None:
        self.o = o
        self.rng = random.Random(o["seed"])
        self.end = time.monotonic() + o["seconds"]
        self.corpus = {kind: [open(os.path.join(o["corpus"], kind, f), "rb").read() for f in
                              sorted(os.listdir(os.path.join(o["corpus"], kind)))] for kind in
                       ("dns_query", "dns_answer", "http_head", "http_chunked", "ip", "quic", "tls_hello")}
        self.link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.link.bind(("eth0", 0))
        self.link.setblocking(False)
        self.open: "collections.deque[socket.socket]" = collections.deque()
        self.done: Dict[str, int] = collections.Counter()
        self.sealed: List[bytes] = []
        # Hellos made once: their random bytes are not the seed's, so they are replaced.
        self.hellos = [self._fixed(client_hello(n)) for n in (*o["names"], "co.evil.test")]

    def _fixed(self, hello: bytes) -> bytes:
        return hello[:11] + self.rng.randbytes(32) + hello[43:]

    # -- what to send where

    def pick(self) -> Tuple[bytes, bytes]:
        """(own address, a destination), both of one family."""
        r = self.rng
        where = r.random()
        text = r.choice(self.o["good"] if where < 0.5 else self.o["bad"] if where < 0.85 else GATEWAYS)
        dst = packed(text)
        if r.random() < 0.03:
            dst = r.randbytes(len(dst))
        return packed(self.o["addrs"][len(dst) == 16]), dst

    def port(self) -> int:
        return self.rng.choice(PORTS) if self.rng.random() < 0.9 else self.rng.randrange(65536)

    def name(self) -> str:
        r = self.rng
        if r.random() < 0.5:
            return r.choice(self.o["names"])
        label = "".join(r.choice("abz019-_") for _ in range(r.choice((1, 5, 63))))
        return label + r.choice((".wild.test", ".evil.test", ".one.allowed.test", "", ".test.", ".xn--a.test", ".8"))

    def dns(self) -> bytes:
        r = self.rng
        if r.random() < 0.3:
            return mutate(r, r.choice(self.corpus["dns_query"] + self.corpus["dns_answer"]))
        whole = dns_query(self.name(), r.choice((1, 28, 65, 16, 255, 252, 5, 0)), r.randrange(65536), r.random() < 0.5)
        return whole if r.random() < 0.4 else mutate(r, whole)

    def http(self) -> bytes:
        r = self.rng
        host = r.choice((*self.o["names"], "co.evil.test", "", self.o["names"][0] + ":80")).encode()
        path = r.choice((b"/", b"/echo", b"/big?n=100000", b"/drip?n=3&ms=50", b"http://co.evil.test/"))
        kind = r.randrange(5)
        if kind == 0:
            return mutate(r, r.choice(self.corpus["http_head"]))
        head = b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (r.choice((b"GET", b"POST", b"HEAD", b"PUT")), path, host)
        if kind == 1:
            whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + r.choice(self.corpus["http_chunked"])
        elif kind == 2:
            body = r.randbytes(r.choice((0, 1, 5, 3000)))
            whole = head + b"Content-Length: %d\r\n\r\n%s" % (len(body) + r.choice((0, 0, 0, 1, -1)), body)
        else:
            whole = head + b"\r\n"
        if r.random() < 0.4:
            whole += b"GET /next HTTP/1.1\r\nHost: co.evil.test\r\n\r\n"
        return whole if r.random() < 0.4 else mutate(r, whole)

    def tls(self) -> bytes:
        r = self.rng
        hello = r.choice(self.hellos if r.random() < 0.6 else self.corpus["tls_hello"])
        if r.random() < 0.4:  # in records of its own
            body, parts = hello[5:], []
            while body:
                n = r.choice((1, 3, 40, 300, len(body)))
                parts.append(b"\x16\x03\x01" + struct.pack(">H", len(body[:n])) + body[:n])
                body = body[n:]
                if len(parts) > 60:
                    break
            hello = b"".join(parts)
        return hello if r.random() < 0.3 else mutate(r, hello)

    def seal(self) -> None:
        """Initials with right keys and wrong contents, a few hundred at a time, since a program is started for it."""
        r, lines = self.rng, []
        for _ in range(200):
            message = r.choice(self.hellos)[5:]
            if r.random() < 0.7:
                message = mutate(r, message)
            cut = r.randrange(len(message) + 1)
            parts = [(0, message[:cut]), (cut, message[cut:])]
            r.shuffle(parts)
            frames = b"".join(b"\x06" + varint(at) + varint(len(p)) + p for at, p in parts[:r.choice((1, 2, 2))])
            if r.random() < 0.6:
                frames = mutate(r, frames)
            dcid, scid, token = (r.randbytes(r.choice(n)) for n in ((8, 8, 20, 4), (0, 8), (0, 0, 60)))
            fields = [str(r.choice((1, 0x6B3343CF))), *((x.hex() or "-") for x in (dcid, scid, token)), "-",
                      str(r.randrange(3)), "1200", frames.hex() or "00"]
            lines.append(" ".join(fields))
        done = subprocess.run([self.o["seal"]], input="\n".join(lines) + "\n", capture_output=True, text=True,
                              timeout=20, check=False)
        self.sealed = [bytes.fromhex(x) for x in done.stdout.split()] or self.corpus["quic"]

    def quic(self) -> bytes:
        r = self.rng
        if not self.sealed:
            self.seal()
        if r.random() < 0.8:
            whole = self.sealed.pop()
        else:
            whole = r.choice(self.corpus["quic"])
        if r.random() < 0.1 and self.sealed:
            whole += self.sealed[-1]
        return whole if r.random() < 0.6 else mutate(r, whole)

    def anything(self) -> bytes:
        r = self.rng
        return r.choice((self.dns, self.http, self.tls, self.quic, lambda: r.randbytes(r.choice((0, 1, 16, 1400)))))()

    # -- frames

    def send_frame(self, packet: bytes, ethertype: int = 0) -> None:
        try:
            self.link.send(frame(packet, ethertype)[:1514])
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EINVAL, errno.EMSGSIZE):
                raise

    def raw_ip(self) -> None:
        """Any protocol, broken somewhere: heads, lengths, options, fragments, foreign sources."""
        r = self.rng
        src, dst = self.pick()
        proto = r.choice((1, 2, 4, 6, 17, 41, 44, 47, 50, 58, 60, 132, r.randrange(256)))
        body = r.choice((tcp(src, dst, self.port(), self.port(), r.randrange(256), r.getrandbits(32)),
                         udp(src, dst, self.port(), self.port(), self.dns()), r.randbytes(40)))
        if r.random() < 0.2:
            src = r.choice((dst, r.randbytes(len(src)), bytes(len(src)), b"\xff" * len(src)))
        packet = ip(src, dst, proto, body, fragment=r.choice((0, 0, 0, 0x2000, 1, 0x4000, 0x3FFF)), ident=r.randrange(9))
        if r.random() < 0.7:
            packet = mutate(r, packet)
        if r.random() < 0.1:
            packet = mutate(r, r.choice(self.corpus["ip"]))
        self.send_frame(packet, r.choice((0, 0, 0, 0x0806, 0x8100, 0x0800, 0x86DD)))

    def raw_tcp(self) -> None:
        """Segments out of any state; half of them on ports that a connection of ours has."""
        r = self.rng
        src, dst = self.pick()
        sport, dport, seq = r.choice((self.port(), r.randrange(30000, 60000))), self.port(), r.getrandbits(32)
        if self.open and r.random() < 0.5:
            try:
                s = r.choice(self.open)
                dst, dport = packed(s.getpeername()[0]), s.getpeername()[1]
                sport, src = s.getsockname()[1], packed(self.o["addrs"][len(dst) == 16])
            except OSError:
                pass
        flags = r.choice((SYN, SYN, SYN, SYN | ACK, ACK, RST, RST | ACK, FIN, FIN | ACK, SYN | FIN, SYN | RST, 0, 255,
                          SYN | 0xC0, r.randrange(256)))
        options = r.choice((b"", b"\x02\x04\x05\xb4", b"\x02\x04\x00\x00", b"\x03\x03\xff", r.randbytes(40), b"\x08\x0a",
                            b"\x22\x02", b"\x02\xff"))
        data = r.choice((b"", b"", self.http, self.tls, lambda: r.randbytes(1000)))
        body = tcp(src, dst, sport, dport, flags, seq, r.getrandbits(32), (data() if callable(data) else data)[:1300],
                   options, r.choice((0, 1, 64000)))
        packet = ip(src, dst, 6, body)
        self.send_frame(mutate(r, packet) if r.random() < 0.3 else packet)

    def raw_udp(self) -> None:
        r = self.rng
        src, dst = self.pick()
        body = udp(src, dst, r.randrange(30000, 30200), self.port(), self.anything()[:1400])
        packet = ip(src, dst, 17, body)
        self.send_frame(mutate(r, packet) if r.random() < 0.3 else packet)

    def raw_icmp(self) -> None:
        """Echoes, and errors that quote packets that were and were not sent."""
        r = self.rng
        src, dst = self.pick()
        quoted = ip(dst, src, r.choice((6, 17)), udp(dst, src, self.port(), self.port(), b"")[:8])
        six = len(src) == 16
        kind = r.choice((8, 0, 3, 4, 5, 11, 12, 13) if not six else (128, 129, 1, 2, 3, 133, 134, 135, 136, 137, 143))
        body = struct.pack(">I", r.choice((0, 68, 1280, r.getrandbits(32)))) + r.choice((quoted, r.randbytes(20), b""))
        packet = ip(src, dst, 58 if six else 1, icmp(src, dst, kind, r.randrange(16), body))
        self.send_frame(mutate(r, packet) if r.random() < 0.3 else packet)

    # -- sockets

    def datagram(self) -> None:
        r = self.rng
        _, dst = self.pick()
        family = socket.AF_INET6 if len(dst) == 16 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            port = self.port()
            makers: List[Callable[[], bytes]] = [self.anything]
            makers += [self.dns] * 4 if port == 53 else [self.quic] * 4 if port == 443 else []
            try:
                for _ in range(r.choice((1, 1, 3))):
                    s.sendto(r.choice(makers)(), (socket.inet_ntop(family, dst), port or 1))
            except OSError:
                pass

    def dns_datagram(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            try:
                s.sendto(self.dns(), (GATEWAYS[0], 53))
            except OSError:
                pass

    def connect(self) -> None:
        """A connection that says something broken as soon as it can, and stays for a while."""
        r = self.rng
        _, dst = self.pick()
        family = socket.AF_INET6 if len(dst) == 16 else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setblocking(False)
        try:
            s.connect((socket.inet_ntop(family, dst), self.port() or 1))
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            return
        self.open.append(s)
        while len(self.open) > OPEN_MAX:
            self.open.popleft().close()

    def poke(self) -> None:
        """One of the connections: bytes for its port, bytes of another protocol, half an end, a reset, an end."""
        r = self.rng
        if not self.open:
            return
        at = r.randrange(len(self.open))
        s = self.open[at]
        try:
            port = s.getpeername()[1]
            what = r.randrange(12)
            if what < 8:
                maker = {53: self.dns_stream, 80: self.http, 8080: self.http, 443: self.tls, 8443: self.tls}.get(port)
                data = (maker if maker and r.random() < 0.8 else self.anything)()
                cut = r.randrange(len(data) + 1) if r.random() < 0.3 else len(data)
                s.send(data[:cut], socket.MSG_OOB if data and r.random() < 0.02 else 0)
                return
            if what == 8:
                s.shutdown(r.choice((socket.SHUT_RD, socket.SHUT_WR)))
                return
            if what == 9:
                s.recv(r.choice((1, 65536)))
                return
            if what == 10:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno == errno.ENOTCONN and r.random() < 0.7:
                return  # still connecting
        del self.open[at]
        s.close()

    def dns_stream(self) -> bytes:
        r = self.rng
        out = b""
        for _ in range(r.choice((1, 1, 5, 40))):
            message = self.dns()
            out += struct.pack(">H", (len(message) + r.choice((0, 0, 0, 0, 1, -1, 60000))) & 0xFFFF) + message
        return out

    def run(self) -> Dict[str, int]:
        kinds = [self.raw_ip, self.raw_tcp, self.raw_tcp, self.raw_udp, self.raw_icmp, self.datagram, self.datagram,
                 self.dns_datagram, self.connect, self.connect, self.poke, self.poke, self.poke, self.poke]
        pause = 10 / self.o["rate"]
        due = time.monotonic()
        while time.monotonic() < self.end:
            for _ in range(10):
                kind = self.rng.choice(kinds)
                kind()
                self.done[kind.__name__] += 1
            due = max(due + pause, time.monotonic() - 0.2)
            time.sleep(max(0.0, due - time.monotonic()))
        for s in self.open:
            s.close()
        return self.done


if __name__ == "__main__":
    print(json.dumps(Storm(json.loads(sys.argv[1])).run()))
