# SPDX-License-Identifier: Apache-2.0
"""Giving up a blocking call from another thread.

A thread that makes calls can be given a `CallScope`; the transport then tells it which connection the thread waits on,
and `CallScope.cancel` ends that wait by shutting the connection down. The asynchronous client is built on this: a
cancelled coroutine closes its connection, which is how the server learns that nobody waits for a command any more.
"""

import socket
import threading
from contextlib import contextmanager
from typing import Iterator, Optional, Set


class CallCancelled(Exception):
    """The call was given up by whoever waited for it."""


def shut(sock: socket.socket) -> None:
    """Ends both directions, which wakes a thread that waits on it (closing does not)."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not the one of SSLSocket, which is not for another thread
    except OSError:
        pass  # gone already


class CallScope:
    """The connections that one call holds, in turn or at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Set[socket.socket] = set()
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def attach(self, sock: socket.socket) -> None:
        """Before the first byte. Raises CallCancelled when it is too late for any."""
        with self._lock:
            if self._cancelled.is_set():
                raise CallCancelled("the call was cancelled")
            self._held.add(sock)

    def detach(self, sock: socket.socket) -> None:
        """Before the connection goes back to others: after this `cancel` leaves it alone."""
        with self._lock:
            self._held.discard(sock)

    def cancel(self) -> None:
        """From any thread; the call ends with some error, and begins nothing new. Idempotent."""
        with self._lock:
            self._cancelled.set()
            for sock in self._held:
                shut(sock)

    def sleep(self, seconds: float) -> None:
        """Raises CallCancelled when cancelled before or while sleeping."""
        if self._cancelled.wait(seconds):
            raise CallCancelled("the call was cancelled")


_local = threading.local()


def current_scope() -> Optional[CallScope]:
    """That of the calling thread, or None."""
    scope: Optional[CallScope] = getattr(_local, "scope", None)
    return scope


@contextmanager
def in_scope(scope: CallScope) -> Iterator[CallScope]:
    """Calls of this thread inside the block belong to `scope`."""
    before = current_scope()
    _local.scope = scope
    try:
        yield scope
    finally:
        _local.scope = before
