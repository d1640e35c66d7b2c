# SPDX-License-Identifier: Apache-2.0
"""Programs in a sandbox that are spoken with in bytes, both ways: MCP and language servers, say."""

import base64
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from .._wire import decoded, expect, present, segment
from ..api.client import ApiClient
from ..api.events import LONG_SILENCE, EventStream, event_object, open_events
from ..api.sse import ServerEvent
from ..exceptions import SandboxError
from ..sandbox.output import dropped_by

BytesHandler = Callable[[bytes], Any]
#: "stdout" or "stderr", and the bytes.
Entry = Tuple[str, bytes]

#: How often a broken stream is opened again before it counts as broken; entries that come set the count back.
MAX_BREAKS = 3


@dataclass
class StdioResult:
    """The end of a program: its exit code (-1 where it is not known), and the output that no handler took."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


class OutputLost(SandboxError):
    """A program wrote more than the server keeps before it was read. What speaks a protocol cannot go on as if nothing were."""


class StdioLog:
    """What a program's stream says. Knows where it has to go on after a break. Pure; used by every flavour of client."""

    def __init__(self, sandbox_id: str) -> None:
        self._sandbox_id = sandbox_id
        self.last_entry_id: Optional[int] = None
        self.exit_code: Optional[int] = None
        self.breaks = 0

    def take(self, event: ServerEvent) -> Optional[Entry]:
        """The output in an event; None where there is none, or where it was seen before.

        Raises:
            OutputLost: the server no longer has the next bytes. The next reader goes on behind them.
        """
        fields = event_object(event)
        self.breaks = 0
        lost = dropped_by(fields)
        if lost:
            # An entry's number is the position behind its bytes.
            self.last_entry_id = (self.last_entry_id or 0) + lost
            raise OutputLost(f"{lost} bytes of output are lost: read too slowly", sandbox_id=self._sandbox_id)
        if event.event == "exit":
            code = fields.get("exit_code")
            self.exit_code = code if isinstance(code, int) else -1
            return None
        if event.event not in ("stdout", "stderr"):
            return None
        entry = fields.get("entry_id")
        if isinstance(entry, int):
            if self.last_entry_id is not None and entry <= self.last_entry_id:
                return None
            self.last_entry_id = entry
        return event.event, decoded(fields.get("data"), self._sandbox_id)


class Collected:
    """The output that no handler takes."""

    def __init__(self) -> None:
        self._parts: Dict[str, List[bytes]] = {"stdout": [], "stderr": []}

    def add(self, entry: Entry) -> None:
        """One more piece."""
        self._parts[entry[0]].append(entry[1])

    def result(self, exit_code: Optional[int]) -> StdioResult:
        """All of them."""
        code = -1 if exit_code is None else exit_code
        return StdioResult(code, b"".join(self._parts["stdout"]), b"".join(self._parts["stderr"]))


class StdioProcess:
    """A running program, made by `Stdio.start`. It lives until its end, `kill`, or the sandbox's end.

    One reader at a time: the handlers of `Stdio.start`, in a thread of the object; or `stream`; or iteration; or `wait`. The
    server keeps all output, so nothing is lost between readers, and a connection that breaks is made again where it broke.
    """

    def __init__(
        self, stdio: "Stdio", cmd_id: str, on_stdout: Optional[BytesHandler] = None, on_stderr: Optional[BytesHandler] = None
    ) -> None:
        """For `Stdio`."""
        self._stdio = stdio
        self._cmd_id = cmd_id
        self._log = StdioLog(stdio.sandbox_id)
        self._events: Optional[EventStream] = None
        self._left = False
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[Exception] = None
        self._result: Optional[StdioResult] = None
        if on_stdout is not None or on_stderr is not None:
            self._start(on_stdout, on_stderr)

    @property
    def cmd_id(self) -> str:
        """The server's name for it."""
        return self._cmd_id

    @property
    def exit_code(self) -> Optional[int]:
        """None before the end has been read; -1 where the stream ended without it."""
        return self._log.exit_code

    def __iter__(self) -> Iterator[Entry]:
        """``("stdout", bytes)`` and ``("stderr", bytes)`` as they come, until its end or `disconnect`.

        Raises:
            NotFoundError: it is gone. TimeoutError, SandboxError: the connection broke, and could not be made again.
            OutputLost: it wrote more than the server keeps; iterating again goes on behind the gap.
        """
        self._left = False
        return self._entries()

    def _entries(self) -> Iterator[Entry]:
        while self.exit_code is None and not self._left:
            self._events = events = self._stdio.open_stream(self._cmd_id, self._log.last_entry_id)
            if self._left:  # while it was being opened
                events.close()
            problem: Optional[Exception] = None
            with events:
                try:
                    for event in events:
                        entry = self._log.take(event)
                        if entry is not None:
                            yield entry
                        if self.exit_code is not None:
                            return
                except OutputLost:
                    raise
                except SandboxError as e:
                    problem = e
            self._log.breaks += 1
            if self._left:
                return
            if self._log.breaks >= MAX_BREAKS:
                if problem is not None:
                    raise problem
                self._log.exit_code = -1
                return
            time.sleep(0.2 * self._log.breaks)

    def stream(
        self, on_stdout: Optional[BytesHandler] = None, on_stderr: Optional[BytesHandler] = None
    ) -> StdioResult:
        """Reads its output to its end, or to `disconnect`.

        Args:
            on_stdout, on_stderr: called with each piece. Without either, the output is collected in the result.

        Raises:
            As iteration.
        """
        return self._take_all(iter(self), on_stdout, on_stderr)

    def _take_all(
        self, entries: Iterator[Entry], on_stdout: Optional[BytesHandler], on_stderr: Optional[BytesHandler]
    ) -> StdioResult:
        collected = Collected()
        keep = on_stdout is None and on_stderr is None
        for kind, data in entries:
            handler = on_stdout if kind == "stdout" else on_stderr
            if keep:
                collected.add((kind, data))
            elif handler is not None:
                handler(data)
        return collected.result(self.exit_code)

    def _start(self, on_stdout: Optional[BytesHandler], on_stderr: Optional[BytesHandler]) -> threading.Thread:
        entries = iter(self)

        def read() -> None:
            try:
                self._result = self._take_all(entries, on_stdout, on_stderr)
            except Exception as e:  # of the connection, or of the caller's handler: `wait` raises it
                self._error = e

        self._thread = threading.Thread(target=read, name=f"declaw-stdio-{self._cmd_id}", daemon=True)
        self._thread.start()
        return self._thread

    def wait(self, timeout: Optional[float] = None) -> StdioResult:
        """Waits for its end. Output that no handler takes is collected.

        Args:
            timeout: seconds; None waits without end.

        Returns:
            exit code and collected output; the code is -1 when `timeout` has passed, or after `disconnect`.

        Raises:
            As iteration; and what a handler raised.
        """
        thread = self._thread
        if thread is None or (not thread.is_alive() and self.exit_code is None and self._error is None):
            thread = self._start(None, None)
        thread.join(timeout)
        if thread.is_alive():
            return StdioResult(-1)
        if self._error is not None:
            raise self._error
        return self._result or StdioResult(-1)

    def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """Writes to its standard input; text goes as UTF-8. Calls of one thread arrive in their order."""
        self._stdio.send_stdin(self._cmd_id, data, request_timeout)

    def close_stdin(self, request_timeout: Optional[float] = None) -> None:
        """Closes its standard input: it reads the end of the file."""
        self._stdio.close_stdin(self._cmd_id, request_timeout)

    def kill(self, request_timeout: Optional[float] = None) -> bool:
        """Kills it and all processes of its group. Returns whether it was running."""
        return self._stdio.kill(self._cmd_id, request_timeout)

    def disconnect(self) -> None:
        """Stops reading; the program goes on. A later reader goes on where this one stopped."""
        self._left = True
        if self._events is not None:
            self._events.close()

    def __repr__(self) -> str:
        return f"<StdioProcess {self._cmd_id} of {self._stdio.sandbox_id}>"


class Stdio:
    """``sandbox.stdio``.

    Every call may raise NotFoundError (no such sandbox or program), ConflictError (it is paused) and SandboxError (410: killed).
    """

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        """For `Sandbox`: `base` is the path of the sandbox."""
        self._client = client
        self.sandbox_id = sandbox_id
        self._path = f"{base}/stdio"

    def begin(
        self, cmd: str, envs: Optional[Dict[str, str]], user: str, cwd: Optional[str], request_timeout: Optional[float]
    ) -> str:
        """The request of `start`. Returns the server's name for the program."""
        answer = self._client.post(
            self._path, json={"cmd": cmd, "user": user, **present(envs=envs, cwd=cwd)}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
        return str(expect(answer, "cmd_id", self.sandbox_id)["cmd_id"])

    def open_stream(self, cmd_id: str, last_entry_id: Optional[int] = None) -> EventStream:
        """The output after this entry; all of it for None."""
        return open_events(
            self._client, "GET", f"{self._path}/{segment(cmd_id)}/stream", query=present(last_entry_id=last_entry_id),
            request_timeout=LONG_SILENCE, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def start(
        self,
        cmd: str,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        on_stdout: Optional[BytesHandler] = None,
        on_stderr: Optional[BytesHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> StdioProcess:
        """Starts a program.

        Args:
            cmd: a shell command line.
            envs: on top of the sandbox's own.
            user: who runs it.
            cwd: absolute folder; default: the user's home.
            on_stdout, on_stderr: called with every piece of output, in a thread of the returned object.
        """
        return StdioProcess(self, self.begin(cmd, envs, user, cwd, request_timeout), on_stdout, on_stderr)

    def send_stdin(self, cmd_id: str, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `StdioProcess.send_stdin`."""
        raw = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        self._client.post(
            f"{self._path}/{segment(cmd_id)}/stdin", json={"data": base64.b64encode(raw).decode("ascii")},
            repeatable=False, request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def close_stdin(self, cmd_id: str, request_timeout: Optional[float] = None) -> None:
        """As `StdioProcess.close_stdin`."""
        self._client.post(
            f"{self._path}/{segment(cmd_id)}/stdin/close", request_timeout=request_timeout, sandbox_id=self.sandbox_id
        )

    def kill(self, cmd_id: str, request_timeout: Optional[float] = None) -> bool:
        """As `StdioProcess.kill`."""
        answer = self._client.delete(
            f"{self._path}/{segment(cmd_id)}", request_timeout=request_timeout, sandbox_id=self.sandbox_id
        )
        return bool(expect(answer, "killed", self.sandbox_id)["killed"])
