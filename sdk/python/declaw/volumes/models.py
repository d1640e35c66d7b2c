# SPDX-License-Identifier: Apache-2.0
"""Volumes, what is in them, and how a sandbox gets one."""

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional

_MODES = ("copy", "mount", "mount-ro")


@dataclass
class VolumeAttachment:
    """A volume's place in a sandbox, for ``Sandbox.create(volumes=[...])``.

    Args:
        volume_id: which volume.
        mount_path: absolute; not a folder that the system needs.
        mode: "copy" (each sandbox has its own), "mount-ro" (the volume itself, only to be read) or "mount" (shared, to be written;
            servers of this project refuse it).
        subpath: a part of the volume; not with "copy".

    Raises:
        ValueError: an unknown mode, a path that is not absolute, or a subpath with "copy".
    """

    volume_id: str
    mount_path: str
    mode: str = "copy"
    subpath: Optional[str] = None

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ValueError(f"mode is one of {', '.join(_MODES)}, not {self.mode!r}")
        if not self.mount_path.startswith("/"):
            raise ValueError(f"mount_path {self.mount_path!r} is not absolute")
        if self.subpath is not None and self.mode == "copy":
            raise ValueError("subpath goes with the modes mount and mount-ro")

    def to_dict(self) -> Dict[str, Any]:
        """The object of the wire; the mode "copy" is not sent."""
        out: Dict[str, Any] = {"volume_id": self.volume_id, "mount_path": self.mount_path}
        if self.mode != "copy":
            out["mode"] = self.mode
        if self.subpath is not None:
            out["subpath"] = self.subpath
        return out


@dataclass
class Volume:
    """A volume as the server tells of it. Sizes are in bytes, times as they came.

    `size_bytes` is that of the archive, `content_bytes` that of the files in it. `dropped` is in the answer that made the volume alone: how many
    links, special files and paths of the archive were left out.
    """

    volume_id: str
    name: str = ""
    owner_id: str = ""
    blob_key: str = ""
    size_bytes: int = 0
    content_type: str = ""
    metadata: Dict[str, Any] = field(default_factory=dict)
    created_at: Optional[str] = None
    updated_at: Optional[str] = None
    backend: str = ""
    quota_bytes: Optional[int] = None
    content_bytes: Optional[int] = None
    file_count: Optional[int] = None
    dropped: Dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Volume":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        known = {k: data[k] for k in cls.__dataclass_fields__ if data.get(k) is not None}
        return cls(**{"volume_id": data["volume_id"], **known})

    def attach(self, mount_path: str, *, mode: str = "copy", subpath: Optional[str] = None) -> VolumeAttachment:
        """Its place in a sandbox; arguments and errors as `VolumeAttachment`."""
        return VolumeAttachment(self.volume_id, mount_path, mode, subpath)


@dataclass
class FileEntry:
    """A file or folder of a volume. `size` is in bytes; `mod_time` and `mode` are as they came."""

    name: str
    path: str
    is_dir: bool = False
    size: int = 0
    mod_time: Any = None
    mode: Any = None
    version: Any = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FileEntry":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        more = {k: data.get(k) for k in ("mod_time", "mode", "version")}
        return cls(data["name"], data["path"], bool(data.get("is_dir")), data.get("size") or 0, **more)
