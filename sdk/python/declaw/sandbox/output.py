# SPDX-License-Identifier: Apache-2.0
"""What a command writes, put together from the events of its stream. Pure; used by every flavour of client."""

from typing import Any, Dict, List, Mapping, Optional, Type, Union

from ..exceptions import CommandExitError, SandboxError
from .models import CommandResult, Stderr, Stdout

Piece = Union[Stdout, Stderr]
_KINDS: Dict[str, Type[Piece]] = {"stdout": Stdout, "stderr": Stderr}


def piece_of(fields: Mapping[str, Any]) -> Optional[Piece]:
    """The output that an event carries; None for other events."""
    kind = _KINDS.get(str(fields.get("type")))
    data, position = fields.get("data"), fields.get("position")
    if kind is None or not isinstance(data, str):
        return None
    return kind(data, position=position if isinstance(position, int) else None)


def dropped_by(fields: Mapping[str, Any]) -> int:
    """Bytes that the server no longer had when this reader came to them; 0 for other events."""
    lost = fields.get("bytes")
    return lost if fields.get("type") == "dropped" and isinstance(lost, int) and lost > 0 else 0


def lines_of(text: str) -> List[str]:
    """The lines of a finished text, without their newlines."""
    return text.split("\n")[: None if text and not text.endswith("\n") else -1]


class Output:
    """Collects one command's output and its end.

    `take` and `finish` give the lines that are complete, for callbacks: without newline, each as soon as it has ended.
    """

    def __init__(self) -> None:
        self._text: Dict[Type[Piece], List[str]] = {Stdout: [], Stderr: []}
        self._open: Dict[Type[Piece], List[str]] = {Stdout: [], Stderr: []}
        self._error: Optional[str] = None
        self._dropped = 0
        self.exit_code: Optional[int] = None

    def take(self, fields: Mapping[str, Any]) -> List[Piece]:
        """One event's object. Returns the lines that it completes."""
        piece = piece_of(fields)
        if piece is None:
            self._dropped += dropped_by(fields)
            if isinstance(fields.get("exit_code"), int):
                self.exit_code = fields["exit_code"]
            if fields.get("error") is not None:
                self._error = str(fields["error"])
            return []
        kind = type(piece)
        self._text[kind].append(piece.line)
        *whole, rest = piece.line.split("\n")
        if not whole:
            self._open[kind].append(rest)
            return []
        whole[0] = "".join(self._open[kind]) + whole[0]
        self._open[kind] = [rest] if rest else []
        return [kind(line) for line in whole]

    def finish(self) -> List[Piece]:
        """The lines that the end of the output completes."""
        last = [kind("".join(parts)) for kind, parts in self._open.items() if parts]
        self._open = {Stdout: [], Stderr: []}
        return last

    def result(self, sandbox_id: Optional[str] = None) -> CommandResult:
        """What came in all. What the server told of an error, or of lost output, stands at the end of ``stderr``.

        Raises:
            SandboxError: the end of the command did not come.
        """
        if self.exit_code is None:
            why = self._error or "it ended without the command's exit code"
            raise SandboxError(f"the command's stream: {why}", sandbox_id=sandbox_id)
        errors = [*self._text[Stderr], *([self._error] if self._error else [])]
        if self._dropped:
            errors.append(f"[{self._dropped} bytes of output are lost: more was written than the server keeps]\n")
        return CommandResult("".join(self._text[Stdout]), "".join(errors), self.exit_code)


def checked(result: CommandResult, sandbox_id: Optional[str]) -> CommandResult:
    """`result`. Raises CommandExitError for a code other than 0."""
    if result.exit_code != 0:
        raise CommandExitError(
            f"the command ended with exit code {result.exit_code}", exit_code=result.exit_code, stdout=result.stdout,
            stderr=result.stderr, sandbox_id=sandbox_id,
        )  # fmt: skip
    return result
