# SPDX-License-Identifier: Apache-2.0
"""Reading server-sent events as they come."""

import base64
import http.client
import json
import socket
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple


class Event(NamedTuple):
    name: str
    data: Dict[str, Any]

    @property
    def bytes(self) -> bytes:
        return base64.b64decode(self.data["data"])


class Stream:
    """One answer that is a stream. Comments are counted, and the raw lines kept."""

    def __init__(self, daemon, method: str, path: str, body: Any = None, headers: Optional[Dict[str, str]] = None, timeout: float = 60) -> None:
        self.connection: http.client.HTTPConnection = daemon.connect(timeout)
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, headers if headers is not None else {"X-API-Key": daemon.key})
        # A copy: the connection lets go of its socket when the answer says that it closes.
        self.socket: socket.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.comments = 0
        self.lines: List[bytes] = []

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.response.close()
        self.connection.close()

    def events(self) -> Iterator[Event]:
        name, data = "", None
        while line := self.response.readline():
            self.lines.append(line)
            assert line.endswith(b"\n") and b"\r" not in line and len(line) < 1 << 20 and line.isascii(), line[:200]
            if line.startswith(b":"):
                self.comments += 1
            elif line.startswith(b"event: "):
                name = line[7:-1].decode()
            elif line.startswith(b"data: "):
                data = json.loads(line[6:])
            elif line == b"\n" and data is not None:
                yield Event(name, data)
                name, data = "", None

    def all(self) -> List[Event]:
        return list(self.events())

    def until(self, text: bytes) -> bytes:
        """Bytes of base64 events up to one that completes text."""
        got = b""
        for event in self.events():
            if "data" in event.data:
                got += event.bytes
            if text in got:
                return got
        raise AssertionError(f"ended without {text!r}: {got!r}")


def texts(events: List[Event], name: str = "stdout") -> List[str]:
    return [e.data["data"] for e in events if e.name == name]


def joined(events: List[Event], name: str) -> bytes:
    return b"".join(e.bytes for e in events if e.name == name)


def end(events: List[Event]) -> Tuple[str, int]:
    return events[-1].name, events[-1].data["exit_code"]
