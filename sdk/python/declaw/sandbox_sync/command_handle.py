# SPDX-License-Identifier: Apache-2.0
"""A command that runs in the background."""

from typing import Any, Callable, Dict, Iterator, Optional, Union

from .._wire import expect, parsed, present, text_of
from ..api.client import ApiClient
from ..api.events import EventStream, event_object, open_events
from ..sandbox.models import CommandResult, Stdout
from ..sandbox.output import Output, Piece, checked, dropped_by, lines_of, piece_of

OutputHandler = Callable[[str], Any]


def call_lines(text: str, handler: Optional[OutputHandler]) -> None:
    """Hands every line of a finished text, without its newline, to `handler`."""
    if handler is not None:
        for line in lines_of(text):
            handler(line)


def consume(
    events: EventStream, on_stdout: Optional[OutputHandler], on_stderr: Optional[OutputHandler], sandbox_id: str
) -> CommandResult:
    """Reads a command's stream to its end, with the handlers called as lines come. Closes the stream."""
    output = Output()

    def hand_on(piece: Piece) -> None:
        handler = on_stdout if isinstance(piece, Stdout) else on_stderr
        if handler is not None:
            handler(piece.line)

    with events:
        for event in events:
            for piece in output.take(event_object(event)):
                hand_on(piece)
            if output.exit_code is not None:
                break
    for piece in output.finish():
        hand_on(piece)
    return output.result(sandbox_id)


class CommandHandle:
    """A background command, made by `Commands.run` or `Commands.connect`. Any thread may use it.

    The command goes on without it: only its own end, `kill`, its timeout or the sandbox's end stop it.
    """

    def __init__(
        self,
        client: ApiClient,
        sandbox_id: str,
        path: str,
        pid: int,
        on_stdout: Optional[OutputHandler] = None,
        on_stderr: Optional[OutputHandler] = None,
    ) -> None:
        """For `Commands`: `path` is that of the sandbox's commands."""
        self._client = client
        self.sandbox_id = sandbox_id
        self._pid = pid
        self._path = f"{path}/{pid}"
        self._on_stdout = on_stdout
        self._on_stderr = on_stderr
        self._events: Optional[EventStream] = None
        self._dropped = 0

    @property
    def pid(self) -> int:
        """Its number in the sandbox."""
        return self._pid

    @property
    def dropped(self) -> int:
        """Bytes of output that `stream` has missed: more was written than the server keeps, and read too slowly."""
        return self._dropped

    def wait(
        self,
        on_stdout: Optional[OutputHandler] = None,
        on_stderr: Optional[OutputHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> CommandResult:
        """Waits for its end.

        Args:
            on_stdout, on_stderr: called while it runs, with every line it has written since its start, without
                newline. Default: those given to `Commands.run`.
            request_timeout: seconds of silence of the server. It does not end the command.

        Returns:
            all of its output since its start, and its exit code, which is 0.

        Raises:
            CommandExitError: another exit code; it has the output too. So it ends for a pid that the server does not
                know (any more): "process not found". 124 is the code of a command that ran out of its timeout.
            TimeoutError, SandboxError: the server cannot be reached, or the connection broke: `wait` may be called again.
        """
        on_stdout, on_stderr = on_stdout or self._on_stdout, on_stderr or self._on_stderr
        if on_stdout is None and on_stderr is None:
            answer = self._client.get(f"{self._path}/wait", request_timeout=request_timeout, sandbox_id=self.sandbox_id)
            result = parsed(CommandResult.from_dict, expect(answer, "exit_code", self.sandbox_id), self.sandbox_id)
        else:
            result = consume(self.open_stream(request_timeout), on_stdout, on_stderr, self.sandbox_id)
        return checked(result, self.sandbox_id)

    def open_stream(self, request_timeout: Optional[float] = None, start: Optional[int] = None) -> EventStream:
        """The request of `stream`."""
        self._events = open_events(
            self._client, "GET", f"{self._path}/stream", query={} if start is None else {"from": start},
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
        return self._events

    def stream(self, request_timeout: Optional[float] = None, start: Optional[int] = None) -> Iterator[Piece]:
        """Its output as it comes, to its end. Not part of the published SDK.

        Args:
            request_timeout: seconds of silence of the server after which the connection counts as lost.
            start: the ``position`` of the last piece that was seen; something may come twice, nothing is missed. None: the
                command's start.

        Yields:
            `Stdout` and `Stderr`, with newlines, cut where the server cut them. Leaving the loop leaves the command alone.

        Raises:
            NotFoundError: the server does not know it (any more).
            TimeoutError, SandboxError: the connection broke.
        """
        with self.open_stream(request_timeout, start) as events:
            for event in events:
                fields = event_object(event)
                self._dropped += dropped_by(fields)
                piece = piece_of(fields)
                if piece is not None:
                    yield piece
                elif "exit_code" in fields:
                    return

    def __iter__(self) -> Iterator[CommandResult]:
        """Yields once: what `wait` returns."""
        yield self.wait()

    def kill(self, request_timeout: Optional[float] = None) -> bool:
        """Kills it and all processes of its group. Returns whether it was running."""
        answer = self._client.delete(self._path, request_timeout=request_timeout, sandbox_id=self.sandbox_id)
        return bool(expect(answer, "killed", self.sandbox_id)["killed"])

    def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """Writes to its standard input. Raises ValueError for bytes that are not UTF-8: they could not be sent."""
        self._client.post(
            f"{self._path}/stdin", json={"data": text_of(data)}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def close_stdin(self, request_timeout: Optional[float] = None) -> None:
        """Closes its standard input: it reads the end of the file. Not part of the published SDK."""
        self._client.post(
            f"{self._path}/stdin/close", request_timeout=request_timeout, sandbox_id=self.sandbox_id
        )

    def send_signal(self, signal: Union[int, str], request_timeout: Optional[float] = None) -> None:
        """Sends a signal, by number or name (``signal.SIGINT``, ``"SIGINT"``), to its group. Not part of the published SDK."""
        wire = signal if isinstance(signal, str) else int(signal)
        self._client.post(
            f"{self._path}/signal", json={"signal": wire}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def disconnect(self) -> None:
        """Ends a `stream` or a live `wait` that another thread is in. The command goes on."""
        events = self._events
        if events is not None:
            events.close()

    def __repr__(self) -> str:
        return f"<CommandHandle {self._pid} of {self.sandbox_id}>"


def started(answer: Any, sandbox_id: str) -> int:
    """The pid out of the answer to a start."""
    pid: int = parsed(lambda a: int(a["pid"]), expect(answer, "pid", sandbox_id), sandbox_id)
    return pid


def command_body(
    cmd: str, user: str, envs: Any, cwd: Optional[str], timeout: Optional[float], **more: Any
) -> Dict[str, Any]:
    """The request of a start; None is left out."""
    return {"cmd": cmd, "user": user, **present(envs=envs, cwd=cwd, timeout=timeout, **more)}
