# SPDX-License-Identifier: Apache-2.0
"""
The smallest DNS server that serves the tests: A and AAAA from a table that can be changed, with a chosen TTL; and, for names
that have a script, whatever the script says, over UDP and TCP.
"""

import contextlib
import socket
import struct
import threading
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

from harness import inside

A, CNAME, AAAA, TXT = 1, 5, 28, 16


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(x)]) + x.encode("latin-1") for x in name.split(".") if x) + b"\0"


def rr(owner: str, rtype: int, data: Union[str, bytes], ttl: int = 60) -> bytes:
    """A resource record; data is an address, a CNAME's target, or bytes."""
    if isinstance(data, str) and rtype == CNAME:
        data = encode_name(data)
    elif isinstance(data, str):
        data = socket.inet_pton(socket.AF_INET if rtype == A else socket.AF_INET6, data)
    return encode_name(owner) + struct.pack(">HHIH", rtype, 1, ttl, len(data)) + data


class Question:
    def __init__(self, data: bytes, tcp: bool) -> None:
        labels, i = [], 12
        while data[i]:
            labels.append(data[i + 1 : i + 1 + data[i]].decode("latin-1"))
            i += 1 + data[i]
        self.id = data[:2]
        self.qtype: int = struct.unpack_from(">H", data, i + 1)[0]
        self.name = ".".join(labels).lower()
        self.raw = data[12 : i + 5]
        self.tcp = tcp

    def reply(self, answers: Sequence[bytes] = (), rcode: int = 0, flags: int = 0x8580, more: Sequence[bytes] = (),
              ident: Optional[bytes] = None, raw: Optional[bytes] = None) -> bytes:
        """A message; more: additional records."""
        head = struct.pack(">HHHHH", flags | rcode, 1, len(answers), 0, len(more))
        return (ident or self.id) + head + (self.raw if raw is None else raw) + b"".join(answers) + b"".join(more)


# What a script may say instead of a message: nothing at all; on TCP also a reset.
SILENCE, RESET = None, "reset"
Said = Union[None, str, bytes, Tuple[float, bytes]]  # a pair: so many seconds later


class Dns:
    def __init__(self, ns: str, address: str) -> None:
        self.names: Dict[str, List[str]] = {}
        self.ttl = 60
        self.queries: List[str] = []
        self.silent: Set[str] = set()  # no answer for these, and for what is below them
        self.script: Dict[str, Callable[[Question], Said]] = {}
        self._socket = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((address, 53))
        self._listener = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, 53))
        self._listener.listen(64)
        threading.Thread(target=self._loop, daemon=True).start()
        threading.Thread(target=self._accept, daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                data, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            said = self._answer(Question(data, tcp=False))
            if isinstance(said, tuple):
                threading.Timer(said[0], self._send, (said[1], peer)).start()
            elif isinstance(said, bytes):
                self._send(said, peer)

    def _send(self, data: bytes, peer: Tuple[str, int]) -> None:
        try:
            self._socket.sendto(data, peer)
        except OSError:
            pass  # closed meanwhile

    def _accept(self) -> None:
        while True:
            try:
                c, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c: socket.socket) -> None:
        with c:
            try:
                while len(head := c.recv(2, socket.MSG_WAITALL)) == 2:
                    data = c.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                    said = self._answer(Question(data, tcp=True))
                    if said == RESET:
                        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if isinstance(said, tuple):
                        time.sleep(said[0])
                        said = said[1]
                    if isinstance(said, bytes):
                        c.sendall(struct.pack(">H", len(said)) + said)
            except OSError:
                pass

    def _is_silent(self, name: str) -> bool:
        return any(name == s or name.endswith("." + s) for s in self.silent)

    def _answer(self, q: Question) -> Said:
        self.queries.append(q.name)
        if q.name in self.script:
            return self.script[q.name](q)
        if self._is_silent(q.name):
            return SILENCE
        family = {A: ".", AAAA: ":"}.get(q.qtype, "none")
        records = [rr(q.name, q.qtype, x, self.ttl) for x in self.names.get(q.name, []) if family in x]
        return q.reply(records, 0 if q.name in self.names else 3)

    def close(self) -> None:
        self._socket.close()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Answer(NamedTuple):
    rcode: int
    addresses: List[str]
    ttl: Optional[int]  # of the first record
    truncated: bool
    ede: Optional[int]  # Extended DNS Error
    text: str


def _skip_name(data: bytes, i: int) -> int:
    while data[i]:
        if data[i] & 0xC0:
            return i + 2
        i += 1 + data[i]
    return i + 1


def _read(data: bytes) -> Answer:
    flags, _, answers, authority, more = struct.unpack_from(">HHHHH", data, 2)
    i = _skip_name(data, 12) + 4
    addresses, ttl, ede, text = [], None, None, ""
    for n in range(answers + authority + more):
        i = _skip_name(data, i)
        rtype, _, rr_ttl, size = struct.unpack_from(">HHIH", data, i)
        value = data[i + 10 : i + 10 + size]
        i += 10 + size
        if n < answers and rtype in (A, AAAA):
            addresses.append(socket.inet_ntop(socket.AF_INET if rtype == A else socket.AF_INET6, value))
            ttl = rr_ttl if ttl is None else ttl
        while rtype == 41 and value:
            code, length = struct.unpack_from(">HH", value)
            if code == 15:
                ede, text = struct.unpack_from(">H", value, 4)[0], value[6 : 4 + length].decode()
            value = value[4 + length :]
    return Answer(flags & 15, addresses, ttl, bool(flags & 0x200), ede, text)


def query_bytes(name: str, qtype: int = A, ident: int = 0x1234) -> bytes:
    """A query with EDNS."""
    head = struct.pack(">HHHHHH", ident, 0x0100, 1, 0, 0, 1)
    return head + encode_name(name) + struct.pack(">HH", qtype, 1) + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)


def ask(ns: str, name: str, qtype: int = A, tcp: bool = False, timeout: float = 12.0, server: str = "100.112.0.1") -> Answer:
    """What a client in the namespace is told, with all that can be told."""
    message = query_bytes(name, qtype)

    def work() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            s.connect((server, 53))
            if not tcp:
                s.send(message)
                return s.recv(65535)
            s.sendall(struct.pack(">H", len(message)) + message)
            # Not MSG_WAITALL: a socket with a time-out does not wait inside the kernel, so it takes what there is.
            with s.makefile("rb") as f:
                head = f.read(2)
                if len(head) < 2:
                    raise ConnectionError("the server closed the connection")
                return f.read(struct.unpack(">H", head)[0])

    return _read(inside(ns, work))


def lookup(ns: str, name: str, server: str = "100.112.0.1", qtype: int = 1) -> List[str]:
    """The addresses that a client in the namespace is told, or an OSError with the rcode. No EDNS."""
    question = encode_name(name) + struct.pack(">HH", qtype, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET

    def work() -> bytes:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(2)
            s.connect((server, 53))
            for _ in range(3):  # a datagram may get lost, and a resolver asks again
                s.send(struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + question)
                with contextlib.suppress(TimeoutError):
                    return s.recv(4096)
            raise TimeoutError(f"no answer for {name}")

    answer = _read(inside(ns, work))
    if answer.rcode:
        raise OSError(answer.rcode, f"rcode {answer.rcode} for {name}")
    return answer.addresses
