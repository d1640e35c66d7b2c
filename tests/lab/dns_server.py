# SPDX-License-Identifier: Apache-2.0
"""The lab's DNS: looks like a recursive resolver, knows everything itself, does what a test told it, forgets nothing."""

import asyncio
import socket
import time
from typing import Any, Callable, Dict, List, Optional, Tuple, cast

from . import addresses
from .dnsmsg import Query, Record, Reply, parse_query

_LOG_MAX = 500_000
_TCP_IDLE = 30.0
_CHAIN_MAX = 16
_SOA = "ns.lab. hostmaster.lab. 1 3600 600 86400 30"

#: name -> type -> (ttl, values)
_Names = Dict[str, Dict[str, Tuple[int, List[str]]]]


def _canon(name: str) -> str:
    return name.lower().rstrip(".")


class Zones:
    """What is known, and what a test wants to happen instead."""

    def __init__(self) -> None:
        self._names: _Names = {}
        self._scripts: Dict[Tuple[str, Optional[str]], Dict[str, Any]] = {}
        self._turns: Dict[Tuple[str, Optional[str]], int] = {}
        self.reset()

    def reset(self) -> None:
        self._names = {n: {t: (60, list(v)) for t, v in types.items()} for n, types in addresses.ZONES.items()}
        self._scripts = {}
        self._turns = {}

    def set(self, name: str, type: str, values: List[str], ttl: int) -> None:
        for value in values:
            Reply(answer=[Record(name, type, ttl, value)]).encode(_PROBE, 65535)  # a slip is the caller's to see
        self._names.setdefault(_canon(name), {})[type] = (ttl, list(values))

    def remove(self, name: str, type: Optional[str]) -> None:
        types = self._names.get(_canon(name), {})
        types.clear() if type is None else types.pop(type, None)
        if not types:
            self._names.pop(_canon(name), None)

    def script(self, name: str, type: Optional[str], what: Optional[Dict[str, Any]]) -> None:
        key = (_canon(name), type)
        self._turns.pop(key, None)
        if what is None:
            self._scripts.pop(key, None)
        else:
            self._scripts[key] = what

    def _types(self, name: str) -> Optional[Dict[str, Tuple[int, List[str]]]]:
        if name in self._names:
            return self._names[name]
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if f"*.{rest}" in self._names:
                return self._names[f"*.{rest}"]
            if rest in self._names:
                return None  # a name in between hides the wildcard above it
        return None

    def find(self, qname: str, qtype: str) -> Reply:
        """From the records, with the chain of CNAMEs followed to its end."""
        answer: List[Record] = []
        owner, zone = qname, qname
        for _ in range(_CHAIN_MAX):
            types = self._types(_canon(owner))
            if types is None:
                return Reply("NXDOMAIN", answer, [Record(zone, "SOA", 30, _SOA)])
            if qtype in types:
                ttl, values = types[qtype]
                return Reply("NOERROR", answer + [Record(owner, qtype, ttl, v) for v in values])
            if "CNAME" not in types:
                return Reply("NOERROR", answer, [Record(zone, "SOA", 30, _SOA)])
            ttl, values = types["CNAME"]
            answer.append(Record(owner, "CNAME", ttl, values[0]))
            owner = zone = values[0]
        return Reply("SERVFAIL")

    def scripted(self, qname: str, qtype: str) -> Dict[str, Any]:
        """The script for the query, its alternating answers resolved to this turn's; {} where there is none."""
        name = _canon(qname)
        key = next((k for k in ((name, qtype), (name, None)) if k in self._scripts), None)
        if key is None:
            return {}
        what = dict(self._scripts[key])
        turn = self._turns.get(key, 0)
        self._turns[key] = turn + 1
        if what.get("turns"):
            what["answer"] = what["turns"][turn % len(what["turns"])]
        return what


_PROBE = Query(0, 0, "probe", "A", b"", None)


class DnsServer:
    def __init__(self) -> None:
        self.zones = Zones()
        self._log: List[Dict[str, Any]] = []
        self._lost = 0

    def operations(self) -> Dict[str, Callable[..., Any]]:
        return {
            "set": self.zones.set,
            "remove": self.zones.remove,
            "script": self.zones.script,
            "reset": self.zones.reset,
            "queries": lambda: {"queries": self._log, "lost": self._lost},
            "clear": self._clear,
        }

    def _clear(self) -> None:
        self._log = []
        self._lost = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for address in addresses.RESOLVERS:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: a burst must not look like an outage
            sock.bind((address, 53))
            sock.setblocking(False)
            await loop.create_datagram_endpoint(lambda resolver=address: _Udp(self, resolver), sock=sock)
            await asyncio.start_server(self._tcp, address, 53, backlog=1024)

    def handle(
        self, message: bytes, transport: str, source: Tuple[str, int], resolver: str, send: Callable[[bytes], None]
    ) -> None:
        """Logs, and sends the answer, now or later or never."""
        try:
            query: Optional[Query] = parse_query(message)
        except ValueError:
            query = None
        self._note(message, query, transport, source, resolver)
        if query is None:
            if len(message) >= 12:
                send(message[:2] + b"\x80\x81" + bytes(8))  # FORMERR
            return
        what = self.zones.scripted(query.qname, query.qtype)
        if what.get("drop") in ("all", transport):
            return
        wire = self._wire(query, what, transport)
        if what.get("delay"):
            asyncio.get_running_loop().call_later(what["delay"], send, wire)
        else:
            send(wire)

    def _wire(self, query: Query, what: Dict[str, Any], transport: str) -> bytes:
        if what.get("raw") is not None:
            return query.id.to_bytes(2, "big") + bytes.fromhex(what["raw"])
        reply = self.zones.find(query.qname, query.qtype)
        if what.get("rcode") or what.get("answer") is not None:
            reply = Reply(what.get("rcode") or "NOERROR", [Record(*r) for r in what.get("answer") or []])
        reply.authority = reply.authority + [Record(*r) for r in what.get("authority") or []]
        reply.additional = [Record(*r) for r in what.get("additional") or []]
        reply.truncated = bool(what.get("truncate")) and transport == "udp"
        limit = 65535 if transport == "tcp" else max(512, query.edns_size or 0)
        return reply.encode(query, limit)

    def _note(
        self, message: bytes, query: Optional[Query], transport: str, source: Tuple[str, int], resolver: str
    ) -> None:
        if len(self._log) >= _LOG_MAX:
            self._lost += 1
            return
        self._log.append(
            {
                "time": time.time(),
                "transport": transport,
                "source": source[0],
                "port": source[1],
                "resolver": resolver,
                "qname": query.qname if query else None,
                "qtype": query.qtype if query else None,
                "raw": message.hex(),
            }
        )

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source, resolver = writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[0]

        def send(wire: bytes) -> None:
            if not writer.is_closing():
                writer.write(len(wire).to_bytes(2, "big") + wire)

        try:
            while True:
                head = await asyncio.wait_for(reader.readexactly(2), _TCP_IDLE)
                message = await asyncio.wait_for(reader.readexactly(int.from_bytes(head, "big")), _TCP_IDLE)
                self.handle(message, "tcp", source, resolver, send)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer, resolver: str) -> None:
        self._server = server
        self._resolver = resolver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is no subclass of the interface it implements
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Tuple[Any, ...]) -> None:
        self._server.handle(data, "udp", addr[:2], self._resolver, lambda wire: self._transport.sendto(wire, addr))
