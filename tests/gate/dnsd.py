# SPDX-License-Identifier: Apache-2.0
"""The smallest DNS server that serves the tests: A and AAAA from a table that can be changed, with a chosen TTL."""

import socket
import struct
import threading
from typing import Dict, List, Set

from harness import inside


class Dns:
    def __init__(self, ns: str, address: str) -> None:
        self.names: Dict[str, List[str]] = {}
        self.ttl = 60
        self.queries: List[str] = []
        self.silent: Set[str] = set()  # no answer for these, and for what is below them
        self._socket = inside(ns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((address, 53))
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                data, peer = self._socket.recvfrom(4096)
                answer = self._answer(data)
                if not self._is_silent(self.queries[-1]):
                    self._socket.sendto(answer, peer)
            except OSError:
                return

    def _is_silent(self, name: str) -> bool:
        return any(name == s or name.endswith("." + s) for s in self.silent)

    def _answer(self, data: bytes) -> bytes:
        labels, i = [], 12
        while data[i]:
            labels.append(data[i + 1 : i + 1 + data[i]].decode("latin-1"))
            i += 1 + data[i]
        qtype = struct.unpack_from(">H", data, i + 1)[0]
        name = ".".join(labels).lower()
        self.queries.append(name)
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(qtype)
        records = b""
        count = 0
        for text in self.names.get(name, []):
            if family is None or (":" in text) != (family == socket.AF_INET6):
                continue
            raw = socket.inet_pton(family, text)
            records += struct.pack(">HHHIH", 0xC00C, qtype, 1, self.ttl, len(raw)) + raw
            count += 1
        rcode = 0 if name in self.names else 3
        return data[:2] + struct.pack(">HHHHH", 0x8580 | rcode, 1, count, 0, 0) + data[12 : i + 5] + records

    def close(self) -> None:
        self._socket.close()


def lookup(ns: str, name: str, server: str = "100.112.0.1", qtype: int = 1) -> List[str]:
    """The addresses that a client in the namespace is told, or an OSError with the rcode."""
    question = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0" + struct.pack(">HH", qtype, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET

    def work() -> bytes:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect((server, 53))
            s.send(struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + question)
            return s.recv(4096)

    data = inside(ns, work)
    rcode, count = data[3] & 15, struct.unpack_from(">H", data, 6)[0]
    if rcode:
        raise OSError(rcode, f"rcode {rcode} for {name}")
    out, i = [], 12 + len(question)
    for _ in range(count):
        i += 2 if data[i] & 0xC0 else len(question) - 4
        rtype, _, _, size = struct.unpack_from(">HHIH", data, i)
        if rtype in (1, 28):
            out.append(socket.inet_ntop(socket.AF_INET if rtype == 1 else socket.AF_INET6, data[i + 10 : i + 10 + size]))
        i += 10 + size
    return out
