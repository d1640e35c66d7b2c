# SPDX-License-Identifier: Apache-2.0
"""Checks that all security settings share. Each raises ValueError, naming the field."""

from enum import Enum
from typing import Any, List, Optional, Sequence, Type, TypeVar

E = TypeVar("E", bound=Enum)


def word(kind: Type[E], value: Any, name: str) -> E:
    """`value` as a member of `kind`."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{name} is one of {', '.join(str(m.value) for m in kind)}, not {value!r}") from None


def unit(value: float, name: str) -> float:
    """`value`, a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is a number from 0 to 1, not {value!r}")
    return value


def names(value: Optional[Sequence[str]], name: str) -> Optional[List[str]]:
    """`value` as a list of strings, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{name} is a list of strings, not {value!r}")
    return list(value)
