# SPDX-License-Identifier: Apache-2.0
"""Replacing text in traffic."""

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Union

from ..sandbox.models import Word
from ._words import word

_PATTERN_MAX = 1000
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}|\{\d+\}")
_OPEN_REPEAT = re.compile(r"[*+]|\{\d*,\}")
# The short forms are those of the Go client.
_DIRECTION_WORDS = {"out": "outbound", "in": "inbound"}


class TransformDirection(Word):
    """Requests of the sandbox go outbound, their answers inbound."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOTH = "both"


def _repeats_a_repeat(pattern: str) -> bool:
    """Whether a repeated group holds a repeat without end, as ``(a+)*``: such a pattern can take exponential time."""
    inside: List[bool] = [False]
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            i += 2
            continue
        if c == "[":
            i += 2 if pattern[i + 1 : i + 2] != "^" else 3  # a ] that comes first stands for itself
            while i < len(pattern) and pattern[i] != "]":
                i += 2 if pattern[i] == "\\" else 1
        elif c == "(":
            inside.append(False)
        elif c == ")" and len(inside) > 1:
            repeats = inside.pop()
            if repeats and _REPEAT.match(pattern, i + 1):
                return True
            inside[-1] = inside[-1] or repeats
        elif _OPEN_REPEAT.match(pattern, i):
            inside[-1] = True
        i += 1
    return False


@dataclass
class TransformationRule:
    """Replaces what a regular expression matches.

    Args:
        match: the expression, at most 1000 characters.
        replace: as for ``re.sub``.
        direction: "outbound", "inbound" or "both".

    Raises:
        ValueError: an unknown direction; or a pattern that is too long, does not compile, or repeats a repeat (``(a+)*``).
    """

    match: str
    replace: str
    direction: Union[TransformDirection, str] = TransformDirection.OUTBOUND

    def __post_init__(self) -> None:
        self.direction = word(TransformDirection, _DIRECTION_WORDS.get(self.direction, self.direction), "direction")
        if len(self.match) > _PATTERN_MAX:
            raise ValueError(f"match has more than {_PATTERN_MAX} characters")
        try:
            self._compiled = re.compile(self.match)
        except re.error as e:
            raise ValueError(f"match is no regular expression: {e}") from None
        if _repeats_a_repeat(self.match):
            raise ValueError("match repeats what repeats already, which can take time without end")

    def applies_to(self, direction: Union[TransformDirection, str]) -> bool:
        """Whether it is for text that goes in this direction."""
        return self.direction == TransformDirection.BOTH or str(self.direction) == str(direction)

    def apply(self, text: str) -> str:
        """`text` with every match replaced."""
        return self._compiled.sub(self.replace, text)

    def to_dict(self) -> Dict[str, Any]:
        """The object of the wire."""
        return {"match": self.match, "replace": self.replace, "direction": str(self.direction)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TransformationRule":
        """The opposite of `to_dict`. Raises KeyError for what is none."""
        return cls(data["match"], data["replace"], data.get("direction", "outbound"))
