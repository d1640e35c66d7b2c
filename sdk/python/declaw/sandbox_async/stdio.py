# SPDX-License-Identifier: Apache-2.0
"""Programs in a sandbox that are spoken with in bytes, for coroutines."""

import asyncio
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Optional, Union

from ..api.lanes import Pump, call
from ..sandbox_sync.stdio import Collected, Entry, Stdio, StdioProcess, StdioResult
from .commands import hand

#: May be a coroutine function.
AsyncBytesHandler = Callable[[bytes], Union[Any, Awaitable[Any]]]


class AsyncStdioProcess:
    """As `StdioProcess`, with coroutines. One reader at a time; the handlers are called in a task of the object."""

    def __init__(
        self,
        process: StdioProcess,
        on_stdout: Optional[AsyncBytesHandler] = None,
        on_stderr: Optional[AsyncBytesHandler] = None,
    ) -> None:
        """For `AsyncStdio`: `process` has no handlers."""
        self._process = process
        self._task: Optional["asyncio.Task[StdioResult]"] = None
        if on_stdout is not None or on_stderr is not None:
            self._start(on_stdout, on_stderr)

    @property
    def cmd_id(self) -> str:
        """The server's name for it."""
        return self._process.cmd_id

    @property
    def exit_code(self) -> Optional[int]:
        """As `StdioProcess.exit_code`."""
        return self._process.exit_code

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """As iteration of `StdioProcess`."""
        # A small lead: what the thread has read and the loop has not is lost to a later reader.
        pump = Pump(iter(self._process), self._process.disconnect, ahead=1)
        try:
            async for entry in pump:
                yield entry
        finally:
            pump.close()

    async def stream(
        self, on_stdout: Optional[AsyncBytesHandler] = None, on_stderr: Optional[AsyncBytesHandler] = None
    ) -> StdioResult:
        """As `StdioProcess.stream`. The handlers may be coroutine functions."""
        collected = Collected()
        keep = on_stdout is None and on_stderr is None
        async for kind, data in self:
            if keep:
                collected.add((kind, data))
            else:
                await hand(on_stdout if kind == "stdout" else on_stderr, data)
        return collected.result(self.exit_code)

    def _start(
        self, on_stdout: Optional[AsyncBytesHandler], on_stderr: Optional[AsyncBytesHandler]
    ) -> "asyncio.Task[StdioResult]":
        self._task = asyncio.ensure_future(self.stream(on_stdout, on_stderr))
        self._task.add_done_callback(lambda t: None if t.cancelled() else t.exception())  # `wait` raises it
        return self._task

    async def wait(self, timeout: Optional[float] = None) -> StdioResult:
        """As `StdioProcess.wait`."""
        task = self._task
        if task is None or (task.done() and self.exit_code is None and (task.cancelled() or not task.exception())):
            task = self._start(None, None)
        done, _ = await asyncio.wait({task}, timeout=timeout)
        return task.result() if done and not task.cancelled() else StdioResult(-1)

    async def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `StdioProcess.send_stdin`; awaited calls arrive in their order."""
        await call(self._process.send_stdin, data, request_timeout)

    async def close_stdin(self, request_timeout: Optional[float] = None) -> None:
        """As `StdioProcess.close_stdin`."""
        await call(self._process.close_stdin, request_timeout)

    async def kill(self, request_timeout: Optional[float] = None) -> bool:
        """As `StdioProcess.kill`."""
        return await call(self._process.kill, request_timeout)

    async def disconnect(self) -> None:
        """As `StdioProcess.disconnect`."""
        await call(self._process.disconnect)

    def __repr__(self) -> str:
        return f"<Async{repr(self._process)[1:]}"


class AsyncStdio:
    """As `Stdio`, with coroutines. Callbacks may be coroutine functions."""

    def __init__(self, stdio: Stdio) -> None:
        """For `AsyncSandbox`."""
        self._sync = stdio

    async def start(
        self,
        cmd: str,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        on_stdout: Optional[AsyncBytesHandler] = None,
        on_stderr: Optional[AsyncBytesHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> AsyncStdioProcess:
        """As `Stdio.start`."""
        process = await call(
            self._sync.start, cmd, envs=envs, user=user, cwd=cwd, request_timeout=request_timeout
        )
        return AsyncStdioProcess(process, on_stdout, on_stderr)
