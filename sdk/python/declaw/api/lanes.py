# SPDX-License-Identifier: Apache-2.0
"""Blocking calls for coroutines.

The standard library has no asynchronous HTTP client, so a coroutine's call runs in a thread, and its end wakes the loop.

- **Cancelling** the coroutine closes the connection of its call at once (`CallScope`), as killing a process would: a
  foreground command ends with it.
- **Two lanes** keep what waits long from starving what ends it. `CALLS`, at most 64 threads, is for calls that the server
  answers soon: kill, stdin, list. `WAITS`, at most 1024, is for those that last as long as something inside the sandbox
  does: run, wait, open streams, transfers. What exceeds a bound waits for its turn; so 1024 waiting commands can still
  be killed, while the 1025th starts when one of them has ended. ``asyncio.to_thread`` has one lane of a few threads, where
  a dozen waiting commands would block their own kill.
- Threads are daemons that end after 10 idle seconds, so nothing holds up the end of the program.
"""

import asyncio
import os
import threading
import weakref
from collections import deque
from typing import AsyncIterator, Callable, Deque, Generic, Iterator, Optional, ParamSpec, TypeVar

from .scope import CallScope, in_scope

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_SECONDS = 10.0


class Lane:
    """At most `limit` daemon threads, made when needed, for tasks in the order they came."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self._reset()
        _lanes.add(self)

    def _reset(self) -> None:
        self._tasks: Deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0

    def submit(self, task: Callable[[], None]) -> None:
        """`task` raises nothing. It is run once, or refused by an exception.

        Raises:
            RuntimeError, MemoryError: there is no thread, and the system gives none.
        """
        with self._changed:
            self._tasks.append(task)
            if len(self._tasks) <= self._idle:
                self._changed.notify()
            elif self._threads < self.limit:
                self._threads += 1
                try:
                    threading.Thread(target=self._work, name=self.name, daemon=True).start()
                except Exception:
                    self._threads -= 1
                    if not self._threads:
                        self._tasks.pop()  # ours: the lock has been held since it was put there
                        raise
                    # else a thread that lives takes it in its turn

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(lambda: self._tasks, _IDLE_SECONDS)
                self._idle -= 1
                if not self._tasks:
                    self._threads -= 1
                    return
                task = self._tasks.popleft()
            task()
            del task  # what it holds must not live for as long as the thread is idle


_lanes: "weakref.WeakSet[Lane]" = weakref.WeakSet()


def _forget_threads() -> None:
    for lane in _lanes:
        lane._reset()


os.register_at_fork(after_in_child=_forget_threads)  # a child has none of the parent's threads

CALLS = Lane("declaw-call", 64)
WAITS = Lane("declaw-wait", 1024)


async def in_lane(lane: Lane, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(*args, **kwargs)`` in a thread of `lane`; cancelling closes the connections of its calls."""
    loop = asyncio.get_running_loop()
    future: "asyncio.Future[T]" = loop.create_future()
    scope = CallScope()

    def settle(result: Optional[T], error: Optional[BaseException]) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: Optional[T] = None
        error: Optional[BaseException] = None
        try:
            if not scope.cancelled:
                with in_scope(scope):
                    result = function(*args, **kwargs)
        except BaseException as e:
            error = e
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    lane.submit(work)
    try:
        return await future
    except asyncio.CancelledError:
        scope.cancel()
        raise


async def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """For what the server answers soon."""
    return await in_lane(CALLS, function, *args, **kwargs)


async def wait_for(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """For what lasts as long as something inside the sandbox does."""
    return await in_lane(WAITS, function, *args, **kwargs)


class Pump(Generic[T], AsyncIterator[T]):
    """A blocking iterator as an asynchronous one. A thread of `WAITS` runs ahead of the reader by `ahead` items at most.

    Cancelling a wait for the next item loses neither the item nor the connection; `close` ends both.

    Args:
        source: iterated in the thread, from the first wait on; it may open connections.
        close: called by `close`, to close what `source` was given opened.
    """

    def __init__(self, source: Iterator[T], close: Optional[Callable[[], None]] = None, ahead: int = 64) -> None:
        self._source = source
        self._close = close
        self._ahead = ahead
        self._items: Deque[T] = deque()
        self._room = threading.Condition()
        self._scope = CallScope()
        self._started = False
        self._ended = False
        self._error: Optional[BaseException] = None
        self._wake = asyncio.Event()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        error: Optional[BaseException] = None
        try:
            with in_scope(self._scope):
                for item in self._source:
                    with self._room:
                        self._room.wait_for(lambda: len(self._items) < self._ahead or self._scope.cancelled)
                        if self._scope.cancelled:
                            break
                        self._items.append(item)
                    loop.call_soon_threadsafe(self._wake.set)
                source_close = getattr(self._source, "close", None)
                if source_close is not None:
                    source_close()  # a generator: its connection must not wait for the garbage collector
        except BaseException as e:
            error = e
        with self._room:
            self._ended = True
            self._error = None if self._scope.cancelled else error
        try:
            loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    async def __anext__(self) -> T:
        if not self._started:
            loop = asyncio.get_running_loop()
            WAITS.submit(lambda: self._run(loop))
            self._started = True  # not where it was refused: the next wait would have nobody to wake it
        while True:
            with self._room:
                if self._items and not self._scope.cancelled:
                    item = self._items.popleft()
                    self._room.notify()
                    return item
                if self._ended or self._scope.cancelled:
                    if self._error is not None:
                        raise self._error
                    raise StopAsyncIteration
                self._wake.clear()
            await self._wake.wait()

    def close(self) -> None:
        """Ends it: the next wait, and one that is under way, end as at the end of the source. Idempotent."""
        self._scope.cancel()
        with self._room:
            self._room.notify_all()
        if self._close is not None:
            self._close()
        self._wake.set()
