# SPDX-License-Identifier: Apache-2.0
"""What calls take and give."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import IO, Any, Dict, List, Mapping, Optional, Union

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?\Z")


def parse_time(text: Optional[str]) -> Optional[datetime]:
    """RFC 3339 with any number of fraction digits (Python 3.10 reads 3 or 6 only); no zone means UTC; None stays None."""
    if not text:
        return None
    match = _TIME.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    seconds, fraction, zone = match.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    parsed = datetime.fromisoformat(f"{seconds}.{micros}{'' if zone in (None, 'Z') else zone}")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


class Word(str, Enum):
    """A string enum that prints as its bare value on every Python version."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)


class SandboxState(Word):
    """``live`` and ``running`` mean the same."""

    LIVE = "live"
    RUNNING = "running"
    PAUSED = "paused"
    CREATING = "creating"
    KILLED = "killed"


class FilesystemEventType(Word):
    """What happened to a file or folder."""

    CREATE = "create"
    WRITE = "write"
    REMOVE = "remove"
    RENAME = "rename"
    CHMOD = "chmod"

    @classmethod
    def of(cls, word: str) -> "FilesystemEventType":
        """From the wire, where other servers also say modify or delete. Raises ValueError for an unknown word."""
        return cls(_EVENT_WORDS.get(word, word))


_EVENT_WORDS = {"created": "create", "modify": "write", "modified": "write", "delete": "remove", "deleted": "remove"}


class FileType(Word):
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
class SandboxMetrics:
    """One sample: CPU in percent of one core, memory and disk in MiB."""

    timestamp: datetime
    cpu_usage_percent: float = 0.0
    memory_usage_mb: float = 0.0
    disk_usage_mb: float = 0.0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SandboxMetrics":
        """From the JSON object of the wire. Raises KeyError or ValueError for what is not one."""
        timestamp = parse_time(data["timestamp"])
        if timestamp is None:
            raise ValueError("a sample without its time")
        numbers = (float(data.get(k) or 0) for k in ("cpu_usage_percent", "memory_usage_mb", "disk_usage_mb"))
        return cls(timestamp, *numbers)

    def to_dict(self) -> Dict[str, Any]:
        """As JSON types; the time in ISO 8601."""
        return {**vars(self), "timestamp": self.timestamp.isoformat()}


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
        """The ``lifecycle`` object of the wire."""
        return {"on_timeout": self.on_timeout, "auto_resume": self.auto_resume}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SandboxLifecycle":
        """From the JSON object of the wire."""
        return cls(data.get("on_timeout", "kill"), data.get("auto_resume", False))


@dataclass
class SnapshotInfo:
    """A snapshot: its id, the sandbox it was made of, and when."""

    snapshot_id: str
    sandbox_id: str
    created_at: Optional[datetime] = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SnapshotInfo":
        """From the JSON object of the wire. Raises KeyError or ValueError for what is not one."""
        return cls(data["snapshot_id"], data.get("sandbox_id") or "", parse_time(data.get("created_at")))

    def to_dict(self) -> Dict[str, Any]:
        """As JSON types; the time in ISO 8601."""
        return {**vars(self), "created_at": self.created_at.isoformat() if self.created_at else None}


@dataclass
class Snapshot:
    """All that the server tells of a snapshot. ``source`` is "manual", "pause" or "periodic"; ``created_at`` is as it came.

    ``mem_size_bytes`` is None, and the two keys are empty, where memory is not part of snapshots.
    """

    snapshot_id: str
    sandbox_id: str
    source: str
    mem_blob_key: str = ""
    vmstate_blob_key: str = ""
    mem_size_bytes: Optional[int] = None
    pause_duration_ms: Optional[int] = None
    created_at: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Snapshot":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        return cls(
            data["snapshot_id"], data["sandbox_id"], data["source"], data.get("mem_blob_key") or "",
            data.get("vmstate_blob_key") or "", data.get("mem_size_bytes"), data.get("pause_duration_ms"),
            data.get("created_at") or "",
        )  # fmt: skip

    def to_dict(self) -> Dict[str, Any]:
        """As JSON types."""
        return dict(vars(self))


@dataclass
class CommandResult:
    """A finished command. Bytes that are not UTF-8 arrive as U+FFFD. A code other than 0 is a result, not an exception."""

    stdout: str
    stderr: str
    exit_code: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "CommandResult":
        """From the JSON object of the wire."""
        return cls(data.get("stdout", ""), data.get("stderr", ""), data.get("exit_code", 0))


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass
class Stdout:
    """A piece of standard output, and when it arrived here. Bytes that are not UTF-8 are U+FFFD.

    ``position`` is where `CommandHandle.stream` can go on after it; None where the server does not say.
    """

    line: str
    timestamp: datetime = field(default_factory=_now, compare=False)
    position: Optional[int] = field(default=None, compare=False)


@dataclass
class Stderr:
    """A piece of standard error; as `Stdout`."""

    line: str
    timestamp: datetime = field(default_factory=_now, compare=False)
    position: Optional[int] = field(default=None, compare=False)


@dataclass
class ProcessInfo:
    """A command that runs in the background."""

    pid: int
    cmd: str = ""
    is_pty: bool = False
    envs: Dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ProcessInfo":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        return cls(data["pid"], data.get("cmd") or "", bool(data.get("is_pty")), dict(data.get("envs") or {}))


@dataclass
class PtySize:
    """Of a terminal, in characters."""

    cols: int = 80
    rows: int = 24

    def to_dict(self) -> Dict[str, int]:
        """The ``size`` object of the wire."""
        return {"cols": self.cols, "rows": self.rows}


@dataclass
class PtyOutput:
    """A piece of a terminal's output."""

    data: bytes


@dataclass
class WriteInfo:
    """A written file: its absolute path, and its size in bytes."""

    path: str
    size: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WriteInfo":
        """From the JSON object of the wire."""
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
        """From the JSON object of the wire. Raises KeyError or ValueError for what is not one."""
        return cls(data["name"], data["path"], FileType(data["type"]), data.get("size", 0))


@dataclass
class FilesystemEvent:
    """A change below a watched folder.

    Attributes:
        type: what happened.
        path: absolute; of a rename, the old one.
        timestamp: when, or None.
        name: the last part of `path`.
        is_dir: whether it is a folder.
        new_path: of a rename inside the watched folder, else None.
    """

    type: FilesystemEventType
    path: str
    timestamp: Optional[datetime] = None
    name: str = ""
    is_dir: bool = False
    new_path: Optional[str] = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FilesystemEvent":
        """From the JSON object of the wire. Raises KeyError or ValueError for what is not one."""
        path = data["path"]
        when = data.get("timestamp")
        if isinstance(when, (int, float)):
            when = datetime.fromtimestamp(when, timezone.utc)
        else:
            when = parse_time(when)
        name = data.get("name") or path.rstrip("/").rpartition("/")[2]
        return cls(FilesystemEventType.of(data["type"]), path, when, name, bool(data.get("is_dir")), data.get("new_path"))
