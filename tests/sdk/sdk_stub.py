# SPDX-License-Identifier: Apache-2.0
"""A stub server that records requests byte for byte and answers what the test scripted."""

import json
import queue
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

REPO = Path(__file__).resolve().parents[2]


@dataclass
class Request:
    method: str
    target: str
    headers: Dict[str, str]
    body: bytes
    connection: int
    #: how many recv() calls the request took
    pieces: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: Bytes as they go out; None closes the connection without an answer; a function gets the connection, which is closed after it.
Answer = Union[bytes, None, Callable[[socket.socket], None]]


def reply(status: int = 200, body: Any = None, headers: Optional[Dict[str, str]] = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    head = f"HTTP/1.1 {status} Word\r\nContent-Length: {len(data)}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    return head.encode() + b"\r\n" + data


SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def event(kind: str, data: Any) -> str:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def chunk(data: Union[str, bytes]) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return b"%x\r\n%b\r\n" % (len(raw), raw)


def sse(*events: str, end: bool = True) -> bytes:
    """A whole stream; without its end it breaks off."""
    return SSE_HEAD + b"".join(map(chunk, events)) + (chunk("") if end else b"")


class Feed:
    """A stream that the test writes while it is read. `closed` is set when the client hangs up."""

    def __init__(self, *events: str) -> None:
        self._events: "queue.Queue[Optional[str]]" = queue.Queue()
        self.closed = threading.Event()
        for one in events:
            self.send(one)

    def send(self, *events: Optional[str]) -> None:
        """None ends the stream."""
        for one in events:
            self._events.put(one)

    def __call__(self, sock: socket.socket) -> None:
        sock.sendall(SSE_HEAD)
        while not self.closed.is_set():
            try:
                one = self._events.get(timeout=0.02)
            except queue.Empty:
                if select.select([sock], [], [], 0)[0] and not sock.recv(1):
                    self.closed.set()
                continue
            sock.sendall(chunk(one or ""))
            if one is None:
                return


@dataclass
class Stub:
    handler: Callable[[Request], Answer]
    requests: List[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _live: List[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        for sock in [*self._live]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self._live.clear()

    @property
    def domain(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, expected: int) -> int:
        """How many requests have come; waits a while for as many as are expected, since the stub has threads of its own."""
        deadline = time.monotonic() + 10
        while len(self.requests) < expected and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(self.requests)

    def answer(self, *answers: Answer) -> None:
        """These in turn, the last one again and again."""
        left = list(answers)
        self.handler = lambda _request: left.pop(0) if len(left) > 1 else left[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._live.append(sock)
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            while True:
                request = _read_request(sock, number)
                if request is None:
                    return
                self.requests.append(request)
                answer = self.handler(request)
                if answer is None:
                    return
                if not isinstance(answer, bytes):
                    answer(sock)
                    return
                sock.sendall(answer)
        except OSError:
            pass
        finally:
            sock.close()


def _read_request(sock: socket.socket, number: int) -> Optional[Request]:
    data, pieces = b"", 0

    def more() -> bool:
        nonlocal data, pieces
        got = sock.recv(1 << 20)
        data += got
        pieces += 1
        return bool(got)

    while b"\r\n\r\n" not in data:
        if not more():
            return None
    head, _, data = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, _version = first.split(" ")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            while b"\r\n" not in data:
                more()
            size_text, _, data = data.partition(b"\r\n")
            size = int(size_text, 16)
            while len(data) < size + 2:
                more()
            body, data = body + data[:size], data[size + 2 :]
            if size == 0:
                return Request(method, target, headers, body, number, pieces)
    length = int(headers.get("content-length", "0"))
    while len(data) < length:
        if not more():
            return None
    return Request(method, target, headers, data, number, pieces)


CREATED = {"sandbox_id": "sbx-abc12345", "template_id": "base", "state": "running"}
