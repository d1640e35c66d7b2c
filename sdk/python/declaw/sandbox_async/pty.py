# SPDX-License-Identifier: Apache-2.0
"""Terminals in a sandbox, for coroutines."""

import asyncio
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Optional, Union

from ..api.events import EventStream
from ..api.lanes import Pump, call, wait_for
from ..api.sse import ServerEvent
from ..sandbox.models import PtySize
from ..sandbox_sync.pty import Pty, PtyResult, PtyScreen, TypedText
from .commands import hand

#: May be a coroutine function.
AsyncDataHandler = Callable[[bytes], Union[Any, Awaitable[Any]]]


class AsyncPtyHandle:
    """As `PtyHandle`, with coroutines. One reader: ``on_data`` (in a task of the handle), or iteration, or `wait`."""

    def __init__(
        self, pty: Pty, pid: int, on_data: Optional[AsyncDataHandler] = None, events: Optional[EventStream] = None
    ) -> None:
        """For `AsyncPty`."""
        self._pty = pty
        self._pid = pid
        self._typed = TypedText()
        self._screen = PtyScreen(pty.sandbox_id)
        self._pump: Optional[Pump[ServerEvent]] = Pump(events, events.close) if events is not None else None
        self._task: Optional["asyncio.Task[None]"] = None
        if on_data is not None:
            self._start(on_data)

    @property
    def pid(self) -> int:
        """Its number in the sandbox."""
        return self._pid

    @property
    def exit_code(self) -> Optional[int]:
        """Of its shell; None before the end has been read."""
        return self._screen.exit_code

    @property
    def dropped(self) -> int:
        """As `PtyHandle.dropped`."""
        return self._screen.dropped

    async def _read(self) -> AsyncIterator[bytes]:
        if self._pump is None:
            events = await wait_for(self._pty.open_stream, self._pid)
            self._pump = Pump(events, events.close)
        try:
            async for event in self._pump:
                data = self._screen.take(event)
                if data:
                    yield data
                if self._screen.exit_code is not None:
                    return
        finally:
            self._pump.close()

    def _start(self, on_data: Optional[AsyncDataHandler]) -> "asyncio.Task[None]":
        async def read() -> None:
            async for data in self._read():
                await hand(on_data, data)

        self._task = asyncio.ensure_future(read())
        self._task.add_done_callback(lambda t: None if t.cancelled() else t.exception())  # `wait` raises it
        return self._task

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Its output as it comes, until its end or `disconnect`. Raises as `PtyHandle` does."""
        if self._task is not None:
            raise RuntimeError("the output of this terminal has a reader already")
        return self._read()

    async def wait(self, timeout: Optional[float] = None) -> PtyResult:
        """As `PtyHandle.wait`."""
        if self.exit_code is None or self._task is not None:
            task = self._task or self._start(None)
            done, _ = await asyncio.wait({task}, timeout=timeout)
            if done and not task.cancelled():
                task.result()
        return PtyResult(-1 if self.exit_code is None else self.exit_code)

    async def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `PtyHandle.send_stdin`."""
        text = self._typed.take(data)
        if text:
            await call(self._pty.send_stdin, self._pid, text, request_timeout)

    async def resize(self, size: PtySize, request_timeout: Optional[float] = None) -> None:
        """As `Pty.resize`."""
        await call(self._pty.resize, self._pid, size, request_timeout)

    async def kill(self, request_timeout: Optional[float] = None) -> bool:
        """As `Pty.kill`."""
        return await call(self._pty.kill, self._pid, request_timeout)

    async def disconnect(self) -> None:
        """Stops reading; the terminal goes on, and can be connected to again."""
        if self._pump is not None:
            self._pump.close()
        elif self._task is not None:
            self._task.cancel()  # while the stream is being opened

    def __repr__(self) -> str:
        return f"<AsyncPtyHandle {self._pid} of {self._pty.sandbox_id}>"


class AsyncPty:
    """As `Pty`, with coroutines. Callbacks may be coroutine functions."""

    def __init__(self, pty: Pty) -> None:
        """For `AsyncSandbox`."""
        self._sync = pty

    async def create(
        self,
        size: Optional[PtySize] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        envs: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = 3600,
        on_data: Optional[AsyncDataHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> AsyncPtyHandle:
        """As `Pty.create`."""
        pid = await call(self._sync.start, size, user, cwd, envs, timeout, request_timeout)
        return AsyncPtyHandle(self._sync, pid, on_data)

    async def connect(self, pid: int, on_data: Optional[AsyncDataHandler] = None) -> AsyncPtyHandle:
        """As `Pty.connect`."""
        events = await wait_for(self._sync.open_stream, int(pid))
        return AsyncPtyHandle(self._sync, int(pid), on_data, events)

    async def kill(self, pid: int, request_timeout: Optional[float] = None) -> bool:
        """As `Pty.kill`."""
        return await call(self._sync.kill, pid, request_timeout)

    async def send_stdin(self, pid: int, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `Pty.send_stdin`."""
        await call(self._sync.send_stdin, pid, data, request_timeout)

    async def resize(self, pid: int, size: PtySize, request_timeout: Optional[float] = None) -> None:
        """As `Pty.resize`."""
        await call(self._sync.resize, pid, size, request_timeout)
