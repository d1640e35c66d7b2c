# SPDX-License-Identifier: Apache-2.0
"""A server that says what a test tells it to say, byte for byte where that matters, and writes down what it was asked."""

import base64
import http.server
import json
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

KEY = "dcl_the_key_of_the_tests"


class Asked(NamedTuple):
    method: str
    path: str  # with its query, as it was sent
    headers: Dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# A value (200), (status, value), bytes, or what is called with the handler and the request.
Reply = Union[Any, Tuple[int, Any], bytes, Callable[["Handler", Asked], None]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Stub"

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = b""
        while size := int(self.rfile.readline(), 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def _any(self) -> None:
        body = self._read_body()
        asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        with self.server.lock:
            self.server.asked.append(asked)
        reply = self.server.reply(asked)
        if callable(reply):
            reply(self, asked)
            return
        status, value = reply if isinstance(reply, tuple) else (200, reply)
        self.whole(status, value if isinstance(value, bytes) else json.dumps(value).encode())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def whole(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self) -> None:
        """The head of a stream; its end is the connection's."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, name: str, value: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())

    def shown(self, data: bytes) -> None:
        """What a terminal shows."""
        self.event("data", {"data": base64.b64encode(data).decode()})

    def gone(self, seconds: float = 10) -> bool:
        """Whether the client closes its connection."""
        self.connection.settimeout(seconds)
        try:
            return self.connection.recv(1) == b""
        except OSError:
            return False

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Stub(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: List[Asked] = []
        self.routes: Dict[str, Reply] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is what some tests are about

    def on(self, method: str, path: str, reply: Reply) -> None:
        """path without its query."""
        self.routes[f"{method} {path}"] = reply

    def reply(self, asked: Asked) -> Reply:
        path = asked.path.partition("?")[0]
        return self.routes.get(f"{asked.method} {path}", (404, {"message": "there is no such route", "code": "route_not_found"}))

    @property
    def lines(self) -> List[str]:
        """What was asked, as "METHOD /path?query"."""
        return [f"{a.method} {a.path}" for a in self.asked]

    def wait_for(self, look: Callable[[], Any], seconds: float = 10) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found
