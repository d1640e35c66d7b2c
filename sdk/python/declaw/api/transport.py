# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over kept-open connections.

``http.client`` sends head and body apart, which lets Nagle's algorithm and delayed ACKs add 40 ms to a small request.
So requests are put together here and leave in one ``sendall``; ``http.client`` reads the answers.
"""

import os
import select
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Iterator, List, Mapping, Optional, Union
from urllib.parse import urlsplit

from .scope import CallCancelled, CallScope, current_scope, shut

#: Bytes of a large body that are handed over at a time.
CHUNK = 1 << 20
# Servers keep idle connections for a minute or more; one that rests longer than this is not worth the doubt.
_IDLE_LIMIT = 45.0

Body = Union[bytes, Iterator[bytes], None]


class ConnectFailed(Exception):
    """No connection: no byte of the request left this machine."""


class AnswerTimeout(Exception):
    """The answer, or a part of it, did not come within request_timeout."""


class ConnectionLost(Exception):
    """The connection broke. stale: it was a kept-open one and no byte of an answer had come."""

    def __init__(self, message: str, stale: bool) -> None:
        super().__init__(message)
        self.stale = stale


def _max_idle() -> int:
    try:
        return max(0, int(os.environ.get("DECLAW_SDK_CONNECTIONS", "64")))
    except ValueError:
        return 64


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.scope: Optional[CallScope] = None
        self.reused = False
        self.idle_since = 0.0

    def usable(self) -> bool:
        """False once the server has closed it: an idle connection has nothing to read but its end."""
        if time.monotonic() - self.idle_since > _IDLE_LIMIT:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def enter(self, scope: Optional[CallScope]) -> None:
        """From now on the call of `scope` waits on it."""
        if scope is not None:
            scope.attach(self.sock)
            self.scope = scope

    def leave(self) -> None:
        """No call waits on it any more. Before it is closed or goes to somebody else."""
        scope, self.scope = self.scope, None
        if scope is not None:
            scope.detach(self.sock)

    def close(self) -> None:
        self.leave()
        self.sock.close()


class Response:
    """An answer whose head has come. Its connection returns to the pool when the body has been read to its end.

    One thread reads it; `close` may be called by any, and ends a read that waits.
    """

    def __init__(self, pool: "Pool", connection: _Connection, raw: HTTPResponse) -> None:
        self._pool = pool
        self._connection: Optional[_Connection] = connection
        self._raw = raw
        # Held while reading. `close` first wakes the reader, then waits for it: closing under its hands would free a
        # descriptor number that the kernel may give to somebody else.
        self._lock = threading.RLock()
        self._handover = threading.Lock()  # between `close` and the return of the connection to the pool
        self.status = raw.status
        self.headers = raw.headers
        if raw.isclosed():  # no body at all
            self._finish()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except socket.timeout as e:
            self.close()
            raise AnswerTimeout("no more of the answer came in time") from e
        except (OSError, HTTPException) as e:
            self.close()
            raise ConnectionLost(f"the connection broke in the middle of the answer: {e!r}", stale=False) from e

    def read(self, n: Optional[int] = None) -> bytes:
        """The whole body, or up to n bytes of it; b"" at its end."""
        with self._lock:
            with self._reading():
                data = self._raw.read(n)
            if self._raw.isclosed() and self._raw.length:  # read(n) takes an early end for the end
                self.close()
                raise ConnectionLost("the connection broke in the middle of the answer", stale=False)
            if n is None or not data or self._raw.isclosed():
                self._finish()
            return data

    def read_some(self) -> bytes:
        """What has come, as soon as anything has; b"" at the end of the body. For answers without an end in sight."""
        with self._lock:
            with self._reading():
                data = self._raw.read1(1 << 16)
            if not data:
                self._finish()
            return data

    def _release(self) -> Optional[_Connection]:
        with self._handover:
            connection, self._connection = self._connection, None
        return connection

    def _finish(self) -> None:
        connection = self._release()
        if connection is None:
            return
        if self._raw.will_close:
            connection.close()
        else:
            connection.leave()
            self._pool.put(connection)

    def close(self) -> None:
        """Gives up what has not been read; the connection is closed with it. From any thread; idempotent."""
        if not self._lock.acquire(blocking=False):
            with self._handover:
                if self._connection is not None:
                    shut(self._connection.sock)  # its reader wakes and finds the end
            self._lock.acquire()
        try:
            connection = self._release()
            if connection is not None:
                self._raw.close()
                connection.close()
        finally:
            self._lock.release()


class Pool:
    """Connections to one server; any thread may use it, and so may a forked child."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not an http or https URL of a server")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._host_header = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._max_idle = _max_idle()
        self._reset()

    def _reset(self) -> None:
        self._idle: List[_Connection] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def _connect(self, timeout: Optional[float]) -> _Connection:
        scope = current_scope()
        connection: Optional[_Connection] = None
        try:
            connection = self._dial(timeout, scope)
            sock = connection.sock
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Ordinary calls wait without end, so a server machine that vanished must be noticed by the kernel.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                connection.leave()
                connection.sock = tls = self._tls.wrap_socket(
                    sock, server_hostname=self._host, do_handshake_on_connect=False
                )
                connection.enter(scope)
                tls.do_handshake()
            return connection
        except BaseException as e:
            if connection is not None:
                connection.close()
            if isinstance(e, OSError):
                raise ConnectFailed(f"cannot connect to {self._host_header}: {e.strerror or e}") from e
            raise

    def _dial(self, timeout: Optional[float], scope: Optional[CallScope]) -> _Connection:
        """As socket.create_connection, but a scope can give the attempt up."""
        problem: OSError = OSError("the name has no address")
        for family, kind, proto, _name, address in socket.getaddrinfo(self._host, self._port, 0, socket.SOCK_STREAM):
            try:
                connection = _Connection(socket.socket(family, kind, proto))
            except OSError as e:
                problem = e  # a machine without IPv6, say
                continue
            try:
                connection.enter(scope)
                connection.sock.settimeout(timeout)
                connection.sock.connect(address)
                return connection
            except BaseException as e:
                connection.close()
                if not isinstance(e, OSError):
                    raise
                problem = e
        raise problem

    def _take(self, timeout: Optional[float]) -> _Connection:
        if self._pid != os.getpid():
            self._reset()  # after a fork: these connections belong to the parent, whose answers would mix with ours
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect(timeout)
            if connection.usable():
                connection.reused = True
                try:
                    connection.enter(current_scope())
                except CallCancelled:
                    connection.close()
                    raise
                return connection
            connection.close()

    def put(self, connection: _Connection) -> None:
        """Takes back a connection that nobody waits on."""
        connection.idle_since = time.monotonic()
        with self._lock:
            if len(self._idle) < self._max_idle:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes the idle connections; calls that are under way end as usual."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def send(self, method: str, target: str, headers: Mapping[str, str], body: Body, timeout: Optional[float]) -> Response:
        """One attempt. timeout is in seconds for the connection and for every wait for bytes; None waits without end.

        Raises:
            ConnectFailed, AnswerTimeout, ConnectionLost
        """
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\nHost: {self._host_header}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if isinstance(body, bytes):
            head += f"Content-Length: {len(body)}\r\n"
        elif body is not None:
            head += "Transfer-Encoding: chunked\r\n"
        elif method in ("POST", "PUT", "PATCH"):
            head += "Content-Length: 0\r\n"
        connection = self._take(timeout)
        sock = connection.sock
        try:
            sock.settimeout(timeout)
            self._send_all(sock, head.encode("ascii") + b"\r\n", body)
            raw = HTTPResponse(sock, method=method)
            raw.begin()
        except socket.timeout as e:
            connection.close()
            raise AnswerTimeout(f"no answer within {timeout} s") from e
        except (OSError, HTTPException) as e:
            connection.close()
            # RemoteDisconnected (a ConnectionResetError) is an end before the first byte; other HTTPExceptions
            # mean that bytes came which are no HTTP.
            stale = connection.reused and isinstance(e, (ConnectionError, ssl.SSLEOFError))
            raise ConnectionLost(f"the connection broke before the answer: {e!r}", stale) from e
        except BaseException:  # KeyboardInterrupt, or an error of the caller's iterator: half a request is on the wire
            connection.close()
            raise
        return Response(self, connection, raw)

    @staticmethod
    def _send_all(sock: socket.socket, head: bytes, body: Body) -> None:
        try:
            if body is None or isinstance(body, bytes):
                sock.sendall(head + body if body else head)
                return
            sock.sendall(head)
            for chunk in body:
                if chunk:
                    sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The server may have refused the request before its end (413, say) and closed: its answer tells more
            # than the broken pipe does. Where there is none, reading it raises the same error.
            pass
