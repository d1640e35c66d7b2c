# SPDX-License-Identifier: Apache-2.0
"""Volumes: folders that outlive sandboxes."""

from .files import AsyncVolumeFiles, AsyncVolumeLocks, VolumeFiles, VolumeLocks
from .main import AsyncVolumes, Volumes
from .models import FileEntry, Volume, VolumeAttachment

__all__ = [
    "AsyncVolumeFiles", "AsyncVolumeLocks", "AsyncVolumes", "FileEntry", "Volume", "VolumeAttachment", "VolumeFiles",
    "VolumeLocks", "Volumes",
]  # fmt: skip
