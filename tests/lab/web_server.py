# SPDX-License-Identifier: Apache-2.0
"""The far side: HTTP and TLS, echo, servers that speak first, and the sink; everything that arrives is kept."""

import asyncio
import json
import socket
import time
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple, Union, cast
from urllib.parse import parse_qs, urlsplit

from . import addresses
from .certs import Certs
from .streams import Ended, Plain, Tls

Stream = Union[Plain, Tls]

_IDLE = 600.0
_HEAD_MAX = 128 * 1024
_BODY_MAX = 64 << 20
_LOG_MAX = 200_000
_OPEN_MAX = 4096
_BLOCK = bytes(range(256)) * 256


class WebServer:
    def __init__(self, certs: Certs) -> None:
        self._certs = certs
        self._connections: List[Dict[str, Any]] = []
        self._requests: List[Dict[str, Any]] = []
        self._datagrams: List[Dict[str, Any]] = []
        self._lost = 0
        self._count = 0
        self._open = 0

    def operations(self) -> Dict[str, Callable[..., Any]]:
        return {
            "connections": lambda: {"entries": self._connections, "lost": self._lost},
            "requests": lambda: {"entries": self._requests, "lost": self._lost},
            "datagrams": lambda: {"entries": self._datagrams, "lost": self._lost},
            "clear": self._clear,
        }

    def _clear(self) -> None:
        # What is still open stays listed, so that what it does later is seen.
        self._connections = [c for c in self._connections if c["closed"] is None]
        self._requests, self._datagrams, self._lost = [], [], 0

    def _note(self, log: List[Dict[str, Any]], entry: Dict[str, Any]) -> None:
        if len(log) < _LOG_MAX:
            log.append(entry)
        else:
            self._lost += 1

    async def start(self) -> None:
        for port in addresses.HTTP_PORTS:
            await self._listen(port, self._http_or_tls)
        await self._listen(addresses.ECHO, self._echo)
        await self._listen(addresses.SSH, self._ssh)
        await self._listen(addresses.SMTP, self._smtp)
        await self._listen(addresses.SINK, self._sink)
        loop = asyncio.get_running_loop()
        for address in addresses.SERVERS:  # one socket each, so that an answer comes from where the question went
            for port in (addresses.ECHO, 443):
                await loop.create_datagram_endpoint(lambda: _UdpEcho(self), local_addr=(address, port))

    async def _listen(self, port: int, handler: Callable[[Plain], Awaitable[None]]) -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._count += 1
            stream = Plain(reader, writer, self._count, _IDLE)
            self._note(self._connections, stream.record)
            self._open += 1
            try:
                if self._open <= _OPEN_MAX:
                    await handler(stream)
            except Ended as e:
                stream.record["error"] = str(e)
            finally:
                self._open -= 1
                stream.close()

        await asyncio.start_server(accepted, None, port, backlog=1024, limit=1 << 20)

    # -- HTTP

    async def _http_or_tls(self, plain: Plain) -> None:
        first = await plain.read()
        plain.push_back(first)
        stream: Stream = plain
        if first[0] == 0x16:
            stream = Tls(plain, self._certs)
            await stream.handshake()
        await self._http(stream, plain.record)

    async def _http(self, stream: Stream, connection: Dict[str, Any]) -> None:
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                if len(pending) > _HEAD_MAX:
                    return
                try:
                    pending += await stream.read()
                except Ended:
                    if pending:
                        self._note_request(connection, pending, None)
                    raise
            head, _, pending = pending.partition(b"\r\n\r\n")
            request = _parse_head(head)
            self._note_request(connection, head + b"\r\n\r\n", request)
            if request is None:
                await stream.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            body, pending = await _body(stream, request, pending)
            await self._answer(stream, connection, request, body)
            if request["close"]:
                return

    def _note_request(self, connection: Dict[str, Any], head: bytes, request: Optional[Dict[str, Any]]) -> None:
        entry = {k: connection[k] for k in ("local", "port", "peer", "tls", "sni")}
        request = request or {}
        entry.update(
            time=time.time(),
            connection=connection["id"],
            head=head.decode("latin-1"),
            method=request.get("method"),
            target=request.get("target"),
            host=request.get("host"),
        )
        self._note(self._requests, entry)

    async def _answer(self, stream: Stream, connection: Dict[str, Any], request: Dict[str, Any], body: bytes) -> None:
        url = urlsplit(request["target"])
        options = {k: v[-1] for k, v in parse_qs(url.query).items()}
        close = "close" if request["close"] else "keep-alive"
        head = f"X-Lab-Vhost: {request['host']}\r\nConnection: {close}\r\n"
        if url.path == "/big":
            left = int(options.get("n", "0"))
            await stream.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n{head}\r\n".encode("latin-1"))
            while left > 0:
                await stream.write(_BLOCK[:left])
                left -= len(_BLOCK)
            return
        if url.path == "/drip":
            await self._drip(stream, head, int(options.get("n", "10")), int(options.get("ms", "100")))
            return
        if url.path == "/echo":
            data = body
        else:
            data = json.dumps(
                {
                    "vhost": request["host"],
                    "sni": connection["sni"],
                    "tls": connection["tls"],
                    "address": connection["local"],
                    "port": connection["port"],
                    "method": request["method"],
                    "path": request["target"],
                    "connection": connection["id"],
                    "body": len(body),
                }
            ).encode()
        status = f"{options.get('status', '200')} Answer"
        wire = f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{head}\r\n".encode("latin-1")
        await stream.write(wire if request["method"] == "HEAD" else wire + data)

    @staticmethod
    async def _drip(stream: Stream, head: str, count: int, ms: int) -> None:
        await stream.write(f"HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n{head}\r\n".encode("latin-1"))
        for _ in range(count):
            await stream.write(b".")
            await asyncio.sleep(ms / 1000)

    # -- the others

    @staticmethod
    async def _echo(plain: Plain) -> None:
        while True:
            await plain.write(await plain.read())

    async def _ssh(self, plain: Plain) -> None:
        await plain.write(b"SSH-2.0-lab\r\n")
        await self._echo(plain)

    async def _smtp(self, plain: Plain) -> None:
        await plain.write(b"220 lab ESMTP\r\n")
        pending = b""
        while True:
            while b"\n" not in pending:
                pending += await plain.read(4096)
            line, _, pending = pending.partition(b"\n")
            if line.strip().upper() == b"STARTTLS":
                await plain.write(b"220 go ahead\r\n")
                stream = Tls(plain, self._certs)
                await stream.handshake()
                while True:
                    await stream.write(b"250 " + await stream.read())
            await plain.write(b"250 " + line.strip() + b"\r\n")

    @staticmethod
    async def _sink(plain: Plain) -> None:
        while True:
            await plain.read()

    def datagram(self, data: bytes, local: Tuple[str, int], peer: Tuple[str, int]) -> None:
        entry = {"time": time.time(), "local": local[0], "port": local[1], "peer": peer[0], "peer_port": peer[1]}
        self._note(self._datagrams, {**entry, "data": data.hex()})


class _UdpEcho(asyncio.DatagramProtocol):
    def __init__(self, server: WebServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own datagram transport is no subclass of the interface it implements
        self._transport = cast(asyncio.DatagramTransport, transport)
        sock: socket.socket = transport.get_extra_info("socket")
        self._local = sock.getsockname()[:2]

    def datagram_received(self, data: bytes, addr: Tuple[Any, ...]) -> None:
        self._server.datagram(data, self._local, addr[:2])
        self._transport.sendto(data, addr)


def _parse_head(head: bytes) -> Optional[Dict[str, Any]]:
    """Forgiving: what a strict gate must have refused should be seen here as what it was."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    connection = headers.get("connection", "").lower()
    return {
        "method": words[0],
        "target": words[1],
        "host": headers.get("host", ""),
        "close": connection == "close" or (words[2] == "HTTP/1.0" and connection != "keep-alive"),
        "length": headers.get("content-length", "0"),
        "chunked": "chunked" in headers.get("transfer-encoding", "").lower(),
        "expect": headers.get("expect", "").lower() == "100-continue",
    }


async def _body(stream: Stream, request: Dict[str, Any], pending: bytes) -> Tuple[bytes, bytes]:
    """(body, what follows it). Raises Ended."""
    if request["expect"]:
        await stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def take(n: int) -> bytes:
        nonlocal pending
        if n > _BODY_MAX:
            raise Ended("body too large")
        parts, have = [pending], len(pending)
        while have < n:
            parts.append(await stream.read())
            have += len(parts[-1])
        whole = b"".join(parts)
        pending = whole[n:]
        return whole[:n]

    if not request["chunked"]:
        if not request["length"].isdigit():
            raise Ended("Content-Length is no number")
        return await take(int(request["length"])), pending
    body = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += await take(1)
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise Ended("bad chunk size") from None
        body += (await take(size + 2))[:size]
        if size == 0 or len(body) > _BODY_MAX:
            return body, pending
