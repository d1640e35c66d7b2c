# SPDX-License-Identifier: Apache-2.0
"""Commands in a sandbox."""

from typing import Any, Dict, List, Literal, Optional, Union, overload

from .._wire import expect, expect_list, parsed
from ..api.client import ApiClient
from ..api.events import EventStream, open_events
from ..sandbox.models import CommandResult, ProcessInfo
from .command_handle import CommandHandle, OutputHandler, call_lines, command_body, consume, started


class Commands:
    """``sandbox.commands``.

    Every call may raise NotFoundError (no such sandbox), ConflictError (it is paused) and SandboxError (410: it was killed).
    """

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        """For `Sandbox`: `base` is the path of the sandbox."""
        self._client = client
        self.sandbox_id = sandbox_id
        self._path = f"{base}/commands"

    @overload
    def run(
        self, cmd: str, background: Literal[False] = False, envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[OutputHandler] = None, on_stderr: Optional[OutputHandler] = None,
        stdin: Optional[bool] = None, timeout: Optional[float] = 60, request_timeout: Optional[float] = None,
    ) -> CommandResult: ...  # fmt: skip

    @overload
    def run(
        self, cmd: str, background: Literal[True], envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[OutputHandler] = None, on_stderr: Optional[OutputHandler] = None,
        stdin: Optional[bool] = None, timeout: Optional[float] = 60, request_timeout: Optional[float] = None,
    ) -> CommandHandle: ...  # fmt: skip

    @overload
    def run(
        self, cmd: str, background: bool = False, envs: Optional[Dict[str, str]] = None, user: str = "user",
        cwd: Optional[str] = None, on_stdout: Optional[OutputHandler] = None, on_stderr: Optional[OutputHandler] = None,
        stdin: Optional[bool] = None, timeout: Optional[float] = 60, request_timeout: Optional[float] = None,
    ) -> Union[CommandResult, CommandHandle]: ...  # fmt: skip

    def run(
        self,
        cmd: str,
        background: bool = False,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        on_stdout: Optional[OutputHandler] = None,
        on_stderr: Optional[OutputHandler] = None,
        stdin: Optional[bool] = None,
        timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> Union[CommandResult, CommandHandle]:
        """Runs a shell command line; waits for its end, or with ``background=True`` only for its start.

        Args:
            cmd: for the shell: pipes, ``&&`` and ``$VAR`` work.
            background: return a `CommandHandle` as soon as it runs.
            envs: on top of the sandbox's own, and winning over them.
            user: the user inside the sandbox.
            cwd: absolute folder; default: the user's home.
            on_stdout, on_stderr: called with each line, without its newline: of a foreground command after its end, of
                a background one while `CommandHandle.wait` waits. `run_stream` calls them while a foreground one runs.
            stdin: keeps a standard input open for the command, for `send_stdin`.
            timeout: seconds the command may run, in the background too; None or 0: no limit but the sandbox's own.
            request_timeout: seconds to wait for the server; None waits without end.

        Returns:
            stdout, stderr and exit code, whatever the code is; or the handle.

        Raises:
            TimeoutError: `timeout` or `request_timeout` has passed.
            NotFoundError: no such sandbox.
            InvalidArgumentError: the server refuses an argument.
            SandboxError: the sandbox was killed; or the connection broke, and the command may or may not have run.
        """
        body = command_body(cmd, user, envs, cwd, timeout, background=background, stdin=stdin)
        answer = self._client.post(
            self._path, json=body, request_timeout=request_timeout, repeatable=False, sandbox_id=self.sandbox_id
        )
        if background:
            return self._handle(started(answer, self.sandbox_id), on_stdout, on_stderr)
        result = parsed(CommandResult.from_dict, expect(answer, "exit_code", self.sandbox_id), self.sandbox_id)
        call_lines(result.stdout, on_stdout)
        call_lines(result.stderr, on_stderr)
        return result

    def run_stream(
        self,
        cmd: str,
        on_stdout: Optional[OutputHandler] = None,
        on_stderr: Optional[OutputHandler] = None,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
    ) -> CommandResult:
        """Runs a shell command line with the callbacks called as it writes; a break of the connection ends it.

        Args:
            on_stdout, on_stderr: called with each line, without its newline, as soon as it has ended.
            timeout: as for `run`; a command that ran out of it has an exit code other than 0 and the reason in stderr.
            request_timeout: seconds of silence of the server after which the connection counts as lost; it is never
                silent for more than 15.

        Returns:
            stdout, stderr and exit code, whatever the code is.

        Raises:
            As `run`.
        """
        events = self.open_stream(cmd, envs, user, cwd, timeout, request_timeout)
        return consume(events, on_stdout, on_stderr, self.sandbox_id)

    def open_stream(
        self, cmd: str, envs: Optional[Dict[str, str]] = None, user: str = "user", cwd: Optional[str] = None,
        timeout: Optional[float] = 60, request_timeout: Optional[float] = None,
    ) -> EventStream:  # fmt: skip
        """The request of `run_stream`."""
        return open_events(
            self._client, "POST", f"{self._path}/stream", json=command_body(cmd, user, envs, cwd, timeout, stream=True),
            repeatable=False, request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def list(self, request_timeout: Optional[float] = None) -> List[ProcessInfo]:
        """The background commands whose result has not been fetched, and terminals."""
        answer = self._client.get(self._path, request_timeout=request_timeout, sandbox_id=self.sandbox_id)
        rows: List[Any] = expect_list(answer, self.sandbox_id)
        return [parsed(ProcessInfo.from_dict, row, self.sandbox_id) for row in rows]

    def connect(
        self, pid: int, timeout: Optional[float] = 60, request_timeout: Optional[float] = None
    ) -> CommandHandle:
        """A handle for a background command of which only the number is known. Makes no request.

        Args:
            timeout: of no effect, for compatibility: the command's own timeout stays what it was.
        """
        return self._handle(int(pid))

    def kill(self, pid: int, request_timeout: Optional[float] = None) -> bool:
        """As `CommandHandle.kill`; False too for a number that the server does not know."""
        return self._handle(int(pid)).kill(request_timeout)

    def send_stdin(self, pid: int, data: Union[str, bytes], request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.send_stdin`."""
        self._handle(int(pid)).send_stdin(data, request_timeout)

    def close_stdin(self, pid: int, request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.close_stdin`. Not part of the published SDK."""
        self._handle(int(pid)).close_stdin(request_timeout)

    def send_signal(self, pid: int, signal: Union[int, str], request_timeout: Optional[float] = None) -> None:
        """As `CommandHandle.send_signal`. Not part of the published SDK."""
        self._handle(int(pid)).send_signal(signal, request_timeout)

    def _handle(
        self, pid: int, on_stdout: Optional[OutputHandler] = None, on_stderr: Optional[OutputHandler] = None
    ) -> CommandHandle:
        return CommandHandle(self._client, self.sandbox_id, self._path, pid, on_stdout, on_stderr)
