# SPDX-License-Identifier: Apache-2.0
"""Connections as the lab's servers hold them: every byte counted, the first ones kept, TLS on top where it starts."""

import asyncio
import socket
import ssl
import struct
import time
from typing import Any, Dict, Optional

from .certs import Certs

_FIRST_BYTES = 16 * 1024
_CHUNK = 64 * 1024
_SO_ORIGINAL_DST = 80


class Ended(Exception):
    """The peer has closed, or was silent for too long."""


def _original_port(sock: socket.socket) -> Optional[int]:
    """The port dialled, where a rule of the lab led the connection here; None where none did."""
    level = socket.IPPROTO_IPV6 if sock.family == socket.AF_INET6 else socket.SOL_IP
    try:
        return int(struct.unpack_from("!H", sock.getsockopt(level, _SO_ORIGINAL_DST, 28), 2)[0])
    except OSError:
        return None


class Plain:
    """One accepted TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, idle: float) -> None:
        self._reader = reader
        self._writer = writer
        self._idle = idle
        self._pushed_back = b""
        sock = writer.get_extra_info("socket")
        local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        self.record: Dict[str, Any] = {
            "id": number,
            "time": time.time(),
            "local": local[0],
            "port": _original_port(sock) or local[1],
            "peer": peer[0],
            "peer_port": peer[1],
            "tls": False,
            "sni": None,
            "alpn": None,
            "bytes_in": 0,
            "bytes_out": 0,
            "first": "",
            "error": None,
            "closed": None,
        }
        self._first = bytearray()

    async def read(self, n: int = _CHUNK) -> bytes:
        """Up to n bytes. Raises Ended."""
        if self._pushed_back:
            data, self._pushed_back = self._pushed_back[:n], self._pushed_back[n:]
            return data
        try:
            data = await asyncio.wait_for(self._reader.read(n), self._idle)
        except asyncio.TimeoutError:
            raise Ended("idle") from None
        except OSError as e:
            raise Ended(repr(e)) from None
        if not data:
            raise Ended("end of stream")
        self.record["bytes_in"] += len(data)
        if len(self._first) < _FIRST_BYTES:
            self._first += data[: _FIRST_BYTES - len(self._first)]
            self.record["first"] = self._first.hex()
        return data

    def push_back(self, data: bytes) -> None:
        self._pushed_back = data + self._pushed_back

    async def write(self, data: bytes) -> None:
        """Raises Ended."""
        try:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), self._idle)
        except (asyncio.TimeoutError, OSError) as e:
            raise Ended(repr(e)) from None
        self.record["bytes_out"] += len(data)

    def close(self) -> None:
        self.record["closed"] = time.time()
        self._writer.close()


class Tls:
    """TLS over a Plain, which still sees (and keeps) the bytes of the handshake."""

    def __init__(self, plain: Plain, certs: Certs) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        # A context of its own, because the callback belongs to the context and must know this connection.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def named(obj: ssl.SSLObject, name: Optional[str], _context: ssl.SSLContext) -> None:
            plain.record["sni"] = name
            obj.context = certs.context(name)

        context.sni_callback = named  # type: ignore[assignment]
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        plain.record["tls"] = True

    async def _flush(self) -> None:
        if self._out.pending:
            await self._plain.write(self._out.read())

    async def _pump(self, step: Any, *arguments: Any) -> Any:
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                await self._flush()
                self._in.write(await self._plain.read())
                continue
            except ssl.SSLZeroReturnError:
                raise Ended("close_notify") from None
            except ssl.SSLError as e:
                await self._flush()  # the alert
                raise Ended(repr(e)) from None
            await self._flush()
            return result

    async def handshake(self) -> None:
        """Raises Ended."""
        await self._pump(self._object.do_handshake)
        self._plain.record["alpn"] = self._object.selected_alpn_protocol()

    async def read(self, n: int = _CHUNK) -> bytes:
        """Up to n bytes. Raises Ended."""
        data: bytes = await self._pump(self._object.read, n)
        if not data:
            raise Ended("end of stream")
        return data

    async def write(self, data: bytes) -> None:
        """Raises Ended."""
        await self._pump(self._object.write, data)
