# SPDX-License-Identifier: Apache-2.0
"""Small things that every kind of call needs: paths, the wire form of arguments, checks of answers."""

import base64
import binascii
from datetime import datetime
from typing import Any, Callable, Dict, List, Mapping, Optional, TypeVar, Union
from urllib.parse import quote

from .exceptions import SandboxError

_T = TypeVar("_T")
Time = Union[datetime, str]


def segment(name: str, what: str = "id") -> str:
    """`name` as one segment of a path. Raises ValueError for one that would name something else: empty, ``.``, ``..``."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not a usable {what}")
    return quote(name, safe="")


def sandbox_path(sandbox_id: str) -> str:
    """Where the calls about a sandbox stand. Raises ValueError for an empty id, which would name the whole collection."""
    return f"/sandboxes/{segment(sandbox_id, 'sandbox id')}"


def plain(value: Any) -> Any:
    """The wire form of a model or of what already has it."""
    return value.to_dict() if hasattr(value, "to_dict") else value


def present(**fields: Any) -> Dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def time_text(value: Optional[Time]) -> Optional[str]:
    """RFC 3339; a datetime without a zone is taken for local time, as datetime does."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat(timespec="microseconds")
    return value


def expect(answer: Any, key: str, sandbox_id: Optional[str] = None) -> Dict[str, Any]:
    """`answer`, an object with `key`. Raises SandboxError where it is none."""
    if not isinstance(answer, dict) or key not in answer:
        raise SandboxError(f"the server's answer has no {key!r}: {answer!r}", sandbox_id=sandbox_id)
    return answer


def expect_list(answer: Any, sandbox_id: Optional[str] = None) -> List[Any]:
    """`answer`, a list; null means an empty one. Raises SandboxError where it is none."""
    if answer is None:
        return []
    if not isinstance(answer, list):
        raise SandboxError(f"the server's answer is no list: {answer!r}", sandbox_id=sandbox_id)
    return answer


def parsed(make: Callable[[Mapping[str, Any]], _T], answer: Any, sandbox_id: Optional[str] = None) -> _T:
    """``make(answer)``, with a SandboxError where the answer has not the shape that `make` needs."""
    try:
        return make(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise SandboxError(f"the server's answer is not understood ({e!r}): {answer!r}", sandbox_id=sandbox_id) from e


def text_of(data: Union[str, bytes]) -> str:
    """Input as the wire wants it, where it carries text. Raises ValueError for bytes that are not UTF-8."""
    return data if isinstance(data, str) else bytes(data).decode("utf-8")


def decoded(data: Any, sandbox_id: Optional[str] = None) -> bytes:
    """The bytes of a base64 field. Raises SandboxError for what is none."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, TypeError, ValueError) as e:
        raise SandboxError(f"the server's data is not base64: {e}", sandbox_id=sandbox_id) from e
