# SPDX-License-Identifier: Apache-2.0
"""What calls take and give."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import IO, Any, Dict, List, Mapping, Optional, Union

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?\Z")


def parse_time(text: Optional[str]) -> Optional[datetime]:
    """RFC 3339 with any number of fraction digits (Python 3.9 reads 3 or 6 only); no zone means UTC; None stays None."""
    if not text:
        return None
    match = _TIME.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    seconds, fraction, zone = match.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    parsed = datetime.fromisoformat(f"{seconds}.{micros}{'' if zone in (None, 'Z') else zone}")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


class _Word(str, Enum):
    """A string enum that prints as its bare value on every Python version."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)


class SandboxState(_Word):
    """``live`` and ``running`` mean the same."""

    LIVE = "live"
    RUNNING = "running"
    PAUSED = "paused"
    CREATING = "creating"
    KILLED = "killed"


class FileType(_Word):
    """What an entry of a folder is; links are reported as what they lead to."""

    FILE = "file"
    DIR = "dir"


@dataclass
class SandboxInfo:
    """A sandbox as the server sees it. Times have a zone; None where the server says none."""

    sandbox_id: str
    template_id: str
    name: Optional[str] = None
    metadata: Dict[str, str] = field(default_factory=dict)
    started_at: Optional[datetime] = None
    end_at: Optional[datetime] = None
    state: SandboxState = SandboxState.RUNNING

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SandboxInfo":
        """From the JSON object of the wire. Raises KeyError or ValueError for what is not one."""
        return cls(
            sandbox_id=data["sandbox_id"],
            template_id=data["template_id"],
            name=data.get("name"),
            metadata=dict(data.get("metadata") or {}),
            started_at=parse_time(data.get("started_at")),
            end_at=parse_time(data.get("end_at")),
            state=SandboxState(data.get("state", "running")),
        )

    def to_dict(self) -> Dict[str, Any]:
        """As JSON types; times in ISO 8601."""
        return {
            "sandbox_id": self.sandbox_id,
            "template_id": self.template_id,
            "name": self.name,
            "metadata": dict(self.metadata),
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "end_at": self.end_at.isoformat() if self.end_at else None,
            "state": self.state.value,
        }


@dataclass
class SandboxQuery:
    """Which sandboxes `Sandbox.list` gives: those with all of `metadata` and one of the states in `state`."""

    metadata: Optional[Dict[str, str]] = None
    state: Optional[List[SandboxState]] = None


@dataclass
class SandboxLifecycle:
    """What happens at the deadline: ``on_timeout`` is "kill" or "pause"; ``auto_resume`` wakes a paused one on use."""

    on_timeout: str = "kill"
    auto_resume: bool = False

    def to_dict(self) -> Dict[str, Any]:
        return {"on_timeout": self.on_timeout, "auto_resume": self.auto_resume}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SandboxLifecycle":
        return cls(data.get("on_timeout", "kill"), data.get("auto_resume", False))


@dataclass
class CommandResult:
    """A finished command. Bytes that are not UTF-8 arrive as U+FFFD. A code other than 0 is a result, not an exception."""

    stdout: str
    stderr: str
    exit_code: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CommandResult":
        return cls(data.get("stdout", ""), data.get("stderr", ""), data.get("exit_code", 0))


@dataclass
class WriteInfo:
    """A written file: its absolute path, and its size in bytes."""

    path: str
    size: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WriteInfo":
        return cls(data["path"], data.get("size", 0))


@dataclass
class WriteEntry:
    """A file to be written: absolute path, and text, bytes or an open file."""

    path: str
    data: Union[str, bytes, IO[Any]]


@dataclass
class EntryInfo:
    """An entry of a folder: name, absolute path, kind, size in bytes."""

    name: str
    path: str
    type: FileType
    size: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EntryInfo":
        return cls(data["name"], data["path"], FileType(data["type"]), data.get("size", 0))
