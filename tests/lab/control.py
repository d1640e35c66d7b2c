# SPDX-License-Identifier: Apache-2.0
"""The line between a test and the lab's servers: JSON objects, one a line, over a Unix socket pair.

Its end is how a server notices that its test is gone, however it went.
"""

import asyncio
import json
import socket
import threading
from typing import Any, Callable, Dict

#: A whole log goes over in one line.
_LINE_MAX = 1 << 30
_ANSWER_SECONDS = 30.0


class LabError(Exception):
    """A server of the lab refused, or has died."""


class Remote:
    """The test's end. Threads may share it."""

    def __init__(self, sock: socket.socket, what: str) -> None:
        sock.settimeout(_ANSWER_SECONDS)
        self._sock = sock
        self._file = sock.makefile("rb")
        self._what = what
        self._lock = threading.Lock()

    def call(self, op: str, **arguments: Any) -> Any:
        """Does op there and returns its result."""
        with self._lock:
            self._sock.sendall(json.dumps({"op": op, "args": arguments}).encode() + b"\n")
            return self.read()

    def read(self) -> Any:
        line = self._file.readline()
        if not line:
            raise LabError(f"the lab's {self._what} server has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"{self._what}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        self._file.close()
        self._sock.close()


async def serve(sock: socket.socket, operations: Dict[str, Callable[..., Any]]) -> bool:
    """The server's end: answers until told to stop (True) or until the test is gone (False)."""
    reader, writer = await asyncio.open_connection(sock=sock, limit=_LINE_MAX)
    writer.write(b'{"result": "ready"}\n')
    while True:
        try:
            line = await reader.readline()
        except ConnectionError:
            return False
        if not line:
            return False
        request = json.loads(line)
        if request["op"] == "stop":
            writer.write(b'{"result": null}\n')
            await writer.drain()
            return True
        try:
            answer = {"result": operations[request["op"]](**request["args"])}
        except Exception as e:  # told to the test, which raises it
            answer = {"error": repr(e)}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
