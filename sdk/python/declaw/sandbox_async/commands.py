# SPDX-License-Identifier: Apache-2.0
"""Commands in a sandbox, for coroutines."""

import inspect
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Literal, Optional, Union, overload

from ..api.events import EventStream, event_object
from ..api.lanes import Pump, call, wait_for
from ..sandbox.models import CommandResult, ProcessInfo, Stdout
from ..sandbox.output import Output, Piece, checked, lines_of
from ..sandbox_sync.command_handle import CommandHandle
from ..sandbox_sync.commands import Commands

#: May be a coroutine function.
AsyncOutputHandler = Callable[[str], Union[Any, Awaitable[Any]]]


async def hand(handler: Optional[Callable[[Any], Any]], value: Any) -> None:
    """Calls `handler`, if there is one, and awaits it if it is to be awaited."""
    if handler is not None:
        result = handler(value)
        if inspect.isawaitable(result):
            await result


async def consume(
    events: EventStream,
    on_stdout: Optional[AsyncOutputHandler],
    on_stderr: Optional[AsyncOutputHandler],
    sandbox_id: str,
) -> CommandResult:
    """Reads a command's stream to its end, with the handlers called as lines come. Closes the stream."""
    output = Output()
    pump = Pump(events, events.close)

    async def hand_on(piece: Piece) -> None:
        await hand(on_stdout if isinstance(piece, Stdout) else on_stderr, piece.line)

    try:
        async for event in pump:
            for piece in output.take(event_object(event)):
                await hand_on(piece)
            if output.exit_code is not None:
                break
    finally:
        pump.close()
    for piece in output.finish():
        await hand_on(piece)
    return output.result(sandbox_id)


class AsyncCommandHandle:
    """As `CommandHandle`, with coroutines. Callbacks may be coroutine functions."""

    def __init__(
        self,
        handle: CommandHandle,
        on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None,
    ) -> None:
        """For `AsyncCommands`."""
        self._handle = handle
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr

    @property
    def pid(self) -> int:
        """Its number in the sandbox."""
        return self._handle.pid

    async def wait(
        self,
        on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> CommandResult:
        """As `CommandHandle.wait`. Cancelling it leaves the command alone."""
        on_stdout, on_stderr = on_stdout or self._on_stdout, on_stderr or self._on_stderr
        if on_stdout is None and on_stderr is None:
            return await wait_for(self._handle.wait, request_timeout=request_timeout)
        events = await wait_for(self._handle.open_stream, request_timeout)
        result = await consume(events, on_stdout, on_stderr, self._handle.sandbox_id)
        return checked(result, self._handle.sandbox_id)

    @property
    def dropped(self) -> int:
        """As `CommandHandle.dropped`."""
        return self._handle.dropped

    async def stream(
        self, request_timeout: Optional[float] = None, start: Optional[int] = None
    ) -> AsyncIterator[Piece]:
        """As `CommandHandle.stream`."""
        pump = Pump(self._handle.stream(request_timeout, start))
        try:
            async for piece in pump:
                yield piece
        finally:
            pump.close()

    async def __aiter__(self) -> AsyncIterator[CommandResult]:
        """Yields once: what `wait` returns."""
        yield await self.wait()

    async def kill(self, request_timeout: Optional[float] = None) -> bool:
        """As `CommandHandle.kill`."""
        return await call(self._handle.kill, request_timeout)

    async def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.send_stdin`."""
        await call(self._handle.send_stdin, data, request_timeout)

    async def close_stdin(self, request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.close_stdin`."""
        await call(self._handle.close_stdin, request_timeout)

    async def send_signal(self, signal: Union[int, str], request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.send_signal`."""
        await call(self._handle.send_signal, signal, request_timeout)

    async def disconnect(self) -> None:
        """As `CommandHandle.disconnect`."""
        await call(self._handle.disconnect)

    def __repr__(self) -> str:
        return f"<Async{repr(self._handle)[1:]}"


class AsyncCommands:
    """As `Commands`, with coroutines. Callbacks may be coroutine functions."""

    def __init__(self, commands: Commands) -> None:
        """For `AsyncSandbox`."""
        self._sync = commands

    @overload
    async def run(
        self, cmd: str, background: Literal[False] = False, envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None, stdin: Optional[bool] = None, timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> CommandResult: ...  # fmt: skip

    @overload
    async def run(
        self, cmd: str, background: Literal[True], envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None, stdin: Optional[bool] = None, timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> AsyncCommandHandle: ...  # fmt: skip

    @overload
    async def run(
        self, cmd: str, background: bool = False, envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None, stdin: Optional[bool] = None, timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> Union[CommandResult, AsyncCommandHandle]: ...  # fmt: skip

    async def run(
        self,
        cmd: str,
        background: bool = False,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None,
        stdin: Optional[bool] = None,
        timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> Union[CommandResult, AsyncCommandHandle]:
        """As `Commands.run`. Cancelling it closes its connection, with which a foreground command ends.

        1024 commands at a time can be waited for; further ones start as others end.
        """
        answer = await wait_for(
            lambda: self._sync.run(cmd, background, envs, user, cwd, None, None, stdin, timeout, request_timeout)
        )
        if isinstance(answer, CommandHandle):
            return AsyncCommandHandle(answer, on_stdout, on_stderr)
        for text, handler in ((answer.stdout, on_stdout), (answer.stderr, on_stderr)):
            for line in lines_of(text) if handler is not None else ():
                await hand(handler, line)
        return answer

    async def run_stream(
        self,
        cmd: str,
        on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> CommandResult:
        """As `Commands.run_stream`. Cancelling it closes its connection, with which the command ends."""
        events = await wait_for(self._sync.open_stream, cmd, envs, user, cwd, timeout, request_timeout)
        return await consume(events, on_stdout, on_stderr, self._sync.sandbox_id)

    async def list(self, request_timeout: Optional[float] = None) -> List[ProcessInfo]:
        """As `Commands.list`."""
        return await call(self._sync.list, request_timeout)

    def connect(
        self, pid: int, timeout: Optional[float] = 60, request_timeout: Optional[float] = None
    ) -> AsyncCommandHandle:
        """As `Commands.connect`; no coroutine, since it makes no request."""
        return AsyncCommandHandle(self._sync.connect(pid, timeout, request_timeout))

    async def kill(self, pid: int, request_timeout: Optional[float] = None) -> bool:
        """As `Commands.kill`."""
        return await call(self._sync.kill, pid, request_timeout)

    async def send_stdin(self, pid: int, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `Commands.send_stdin`."""
        await call(self._sync.send_stdin, pid, data, request_timeout)

    async def close_stdin(self, pid: int, request_timeout: Optional[float] = None) -> None:
        """As `Commands.close_stdin`."""
        await call(self._sync.close_stdin, pid, request_timeout)

    async def send_signal(self, pid: int, signal: Union[int, str], request_timeout: Optional[float] = None) -> None:
        """As `Commands.send_signal`."""
        await call(self._sync.send_signal, pid, signal, request_timeout)
