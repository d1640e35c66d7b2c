# SPDX-License-Identifier: Apache-2.0
"""Terminals in a sandbox."""

import codecs
import threading
from typing import Any, Callable, Dict, Iterator, Optional, Union

from .._wire import decoded, expect, parsed, present
from ..api.client import ApiClient
from ..api.events import LONG_SILENCE, EventStream, event_object, open_events
from ..api.sse import ServerEvent
from ..sandbox.models import PtySize
from ..sandbox.output import dropped_by

DataHandler = Callable[[bytes], Any]


class PtyResult(int):
    """The exit code of a terminal's shell, as an int; -1 where it is not known."""

    @property
    def exit_code(self) -> int:
        """The same as a plain int."""
        return int(self)


class PtyScreen:
    """What a terminal's stream says: its bytes, and at last the exit code. Pure; used by every flavour of client."""

    def __init__(self, sandbox_id: str) -> None:
        self._sandbox_id = sandbox_id
        self.exit_code: Optional[int] = None
        self.dropped = 0

    def take(self, event: ServerEvent) -> bytes:
        """The output in an event, b"" where there is none. Raises SandboxError for data that cannot be read."""
        fields = event_object(event)
        self.dropped += dropped_by(fields)
        if event.event == "exit":
            code = fields.get("exit_code")
            self.exit_code = code if isinstance(code, int) else -1
            return b""
        return decoded(fields["data"], self._sandbox_id) if fields.get("data") else b""


class TypedText:
    """What is typed, as the wire's text. Bytes may be cut inside a character: its first part waits for the second."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def take(self, data: Union[str, bytes]) -> str:
        """The text that is complete. Raises ValueError for bytes that are not UTF-8."""
        if isinstance(data, str):
            return data
        try:
            return self._decoder.decode(bytes(data))
        except UnicodeDecodeError:
            self._decoder.reset()
            raise


class PtyHandle:
    """A terminal, made by `Pty.create` or `Pty.connect`. It goes on without its handle.

    One reader: either ``on_data`` gets the output, in a thread of the handle, or the handle is iterated, or `wait` throws
    it away. The stream of a new terminal is opened with the first of these; the server keeps what is written before.
    """

    def __init__(self, pty: "Pty", pid: int, on_data: Optional[DataHandler] = None) -> None:
        """For `Pty`."""
        self._pty = pty
        self._pid = pid
        self._on_data = on_data
        self._typed = TypedText()
        self._screen = PtyScreen(pty.sandbox_id)
        self._events: Optional[EventStream] = None
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[Exception] = None
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
        """Bytes of output that this reader has missed by reading too slowly: what is on the screen may be wrong."""
        return self._screen.dropped

    def _open(self) -> EventStream:
        if self._events is None:
            self._events = self._pty.open_stream(self._pid)
        return self._events

    def _start(self, on_data: Optional[DataHandler]) -> threading.Thread:
        events = self._open()

        def read() -> None:
            try:
                for data in self._read(events):
                    if on_data is not None:
                        on_data(data)
            except Exception as e:  # of the connection, or of the caller's handler: `wait` raises it
                self._error = e
                events.close()

        self._thread = threading.Thread(target=read, name=f"declaw-pty-{self._pid}", daemon=True)
        self._thread.start()
        return self._thread

    def _read(self, events: EventStream) -> Iterator[bytes]:
        for event in events:
            data = self._screen.take(event)
            if data:
                yield data
            if self._screen.exit_code is not None:
                break
        events.close()

    def __iter__(self) -> Iterator[bytes]:
        """Its output as it comes, until its end or `disconnect`.

        Raises:
            RuntimeError: ``on_data`` or `wait` reads it.
            NotFoundError: it is gone. TimeoutError, SandboxError: the connection broke.
        """
        if self._thread is not None:
            raise RuntimeError("the output of this terminal has a reader already")
        yield from self._read(self._open())

    def wait(self, timeout: Optional[float] = None) -> PtyResult:
        """Waits for its end. Output that nobody reads is thrown away.

        Args:
            timeout: seconds; None waits without end.

        Returns:
            the exit code; -1 when `timeout` has passed, or after `disconnect`.

        Raises:
            NotFoundError: it is gone. TimeoutError, SandboxError: the connection broke. What ``on_data`` raised.
        """
        if self.exit_code is None:
            (self._thread or self._start(None)).join(timeout)
        if self._error is not None:
            raise self._error
        return PtyResult(-1 if self.exit_code is None else self.exit_code)

    def send_stdin(self, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """Types. Raises ValueError for bytes that are not UTF-8; a character may be cut between two calls."""
        text = self._typed.take(data)
        if text:
            self._pty.send_stdin(self._pid, text, request_timeout)

    def resize(self, size: PtySize, request_timeout: Optional[float] = None) -> None:
        """As `Pty.resize`."""
        self._pty.resize(self._pid, size, request_timeout)

    def kill(self, request_timeout: Optional[float] = None) -> bool:
        """As `Pty.kill`."""
        return self._pty.kill(self._pid, request_timeout)

    def disconnect(self) -> None:
        """Stops reading; the terminal goes on, and can be connected to again."""
        if self._events is not None:
            self._events.close()

    def __repr__(self) -> str:
        return f"<PtyHandle {self._pid} of {self._pty.sandbox_id}>"


class Pty:
    """``sandbox.pty``.

    Every call may raise NotFoundError (no such sandbox or terminal), ConflictError (it is paused) and SandboxError (410: killed).
    """

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        """For `Sandbox`: `base` is the path of the sandbox."""
        self._client = client
        self.sandbox_id = sandbox_id
        self._path = f"{base}/pty"

    def start(
        self, size: Optional[PtySize], user: str, cwd: Optional[str], envs: Optional[Dict[str, str]],
        timeout: Optional[float], request_timeout: Optional[float],
    ) -> int:  # fmt: skip
        """The request of `create`. Returns the pid."""
        body = {"size": (size or PtySize()).to_dict(), "user": user, **present(cwd=cwd, envs=envs, timeout=timeout)}
        answer = self._client.post(
            self._path, json=body, repeatable=False, request_timeout=request_timeout, sandbox_id=self.sandbox_id
        )
        pid: int = parsed(lambda a: int(a["pid"]), expect(answer, "pid", self.sandbox_id), self.sandbox_id)
        return pid

    def open_stream(self, pid: int) -> EventStream:
        """The request of `connect`."""
        return open_events(
            self._client, "GET", f"{self._path}/{int(pid)}/stream",
            request_timeout=LONG_SILENCE, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def create(
        self,
        size: Optional[PtySize] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        envs: Optional[Dict[str, str]] = None,
        timeout: Optional[float] = 3600,
        on_data: Optional[DataHandler] = None,
        request_timeout: Optional[float] = None,
    ) -> PtyHandle:
        """Starts a login shell in a terminal.

        Args:
            size: default 80 columns, 24 rows.
            user: who runs it.
            cwd: absolute folder; default: the user's home.
            envs: on top of the sandbox's own.
            timeout: seconds until it is killed; None or 0: no limit but the sandbox's own.
            on_data: called with every piece of output, in a thread of the handle.
        """
        return PtyHandle(self, self.start(size, user, cwd, envs, timeout, request_timeout), on_data)

    def connect(self, pid: int, on_data: Optional[DataHandler] = None) -> PtyHandle:
        """A further reader of a terminal; it sees what is written from now on.

        Raises:
            NotFoundError: there is no such terminal.
        """
        handle = PtyHandle(self, int(pid), on_data)
        handle._open()
        return handle

    def kill(self, pid: int, request_timeout: Optional[float] = None) -> bool:
        """Kills it and what runs in it. Returns whether it was running."""
        answer = self._client.delete(
            f"{self._path}/{int(pid)}", request_timeout=request_timeout, sandbox_id=self.sandbox_id
        )
        return bool(expect(answer, "killed", self.sandbox_id)["killed"])

    def send_stdin(self, pid: int, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """Types. Raises ValueError for bytes that are not UTF-8: they could not be sent."""
        text = data if isinstance(data, str) else bytes(data).decode("utf-8")
        self._client.post(
            f"{self._path}/{int(pid)}/stdin", json={"data": text}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def resize(self, pid: int, size: PtySize, request_timeout: Optional[float] = None) -> None:
        """Gives it another size; what runs in it is told by SIGWINCH."""
        self._client.patch(
            f"{self._path}/{int(pid)}", json={"size": size.to_dict()},
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
