# SPDX-License-Identifier: Apache-2.0
"""Commands in a sandbox."""

from typing import Any, Callable, Dict, Optional

from ..api.client import ApiClient
from ..exceptions import SandboxError
from ..sandbox.models import CommandResult

OutputHandler = Callable[[str], Any]


def _replay(text: str, handler: Optional[OutputHandler]) -> None:
    if handler is not None:
        for line in text.split("\n")[: None if text and not text.endswith("\n") else -1]:
            handler(line)


class Commands:
    """``sandbox.commands``."""

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        self._client = client
        self._sandbox_id = sandbox_id
        self._path = f"{base}/commands"

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
    ) -> CommandResult:
        """Runs a shell command line and waits for its end.

        Args:
            cmd: for the shell: pipes, ``&&`` and ``$VAR`` work.
            background: this server does not have it yet and answers with an InvalidArgumentError.
            envs: on top of the sandbox's own, and winning over them.
            user: the user inside the sandbox.
            cwd: absolute folder; default: the user's home.
            on_stdout, on_stderr: called after the end, once for each line (without its newline).
            stdin: keeps a standard input open for the command.
            timeout: seconds the command may run; None or 0: no limit but the sandbox's own.
            request_timeout: seconds to wait for the server; None waits without end. It does not end the command.

        Returns:
            stdout, stderr and exit code, whatever the code is.

        Raises:
            TimeoutError: `timeout` or `request_timeout` has passed.
            NotFoundError: no such sandbox.
            InvalidArgumentError: the server refuses an argument.
            SandboxError: the sandbox was killed; or the connection broke, and the command may or may not have run.
        """
        body: Dict[str, Any] = {"cmd": cmd, "background": background, "user": user}
        optional = {"envs": envs, "cwd": cwd, "stdin": stdin, "timeout": timeout}
        body.update((k, v) for k, v in optional.items() if v is not None)
        answer = self._client.post(
            self._path, json=body, request_timeout=request_timeout, repeatable=False, sandbox_id=self._sandbox_id
        )
        if not isinstance(answer, dict) or "exit_code" not in answer:
            raise SandboxError(f"the server's answer is no command result: {answer!r}", sandbox_id=self._sandbox_id)
        result = CommandResult.from_dict(answer)
        _replay(result.stdout, on_stdout)
        _replay(result.stderr, on_stderr)
        return result
