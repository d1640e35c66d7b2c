# SPDX-License-Identifier: Apache-2.0
"""The files of a volume, and locks on them."""

from typing import IO, Any, Dict, List, Optional, Union

from .._wire import expect, expect_list, parsed, present, segment
from ..api.client import ApiClient
from ..api.lanes import call, wait_for
from ..sandbox_sync.byte_stream import file_body
from .models import FileEntry


class VolumeFiles:
    """The files of a volume of the file-granular kind; of another kind every call raises ConflictError. See `Volumes.files`."""

    def __init__(self, client: ApiClient, volume_id: str) -> None:
        """For `Volumes`."""
        self._client = client
        self._path = f"/volumes/{segment(volume_id, 'volume id')}/files"

    def write(
        self,
        path: str,
        data: Union[str, bytes, IO[Any]],
        *,
        if_version: Any = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Writes a file; text goes as UTF-8.

        Args:
            if_version: only if this is its present version, see `info`.

        Returns:
            ``{"path": str}``, and what else the server says.

        Raises:
            ConflictError: another version is the present one.
        """
        body = data.encode("utf-8") if isinstance(data, str) else data if isinstance(data, bytes) else file_body(data)
        answer = self._client.put(
            f"{self._path}/raw", query=present(path=path, if_version=if_version), content=body,
            repeatable=if_version is None, request_timeout=request_timeout,
        )  # fmt: skip
        return expect(answer, "path")

    def read(self, path: str, request_timeout: Optional[float] = None) -> bytes:
        """Its content. Raises NotFoundError."""
        return self._client.get_bytes(f"{self._path}/raw", query={"path": path}, request_timeout=request_timeout)

    def list(self, path: str = "/", request_timeout: Optional[float] = None) -> List[FileEntry]:
        """The entries of a folder."""
        answer = self._client.get(f"{self._path}/list", query={"path": path}, request_timeout=request_timeout)
        rows: List[Any] = expect_list(expect(answer, "entries")["entries"])
        return [parsed(FileEntry.from_dict, row) for row in rows]

    def info(self, path: str, request_timeout: Optional[float] = None) -> FileEntry:
        """One entry, with its ``version``. Raises NotFoundError."""
        answer = self._client.get(f"{self._path}/info", query={"path": path}, request_timeout=request_timeout)
        return parsed(FileEntry.from_dict, answer)

    def exists(self, path: str, request_timeout: Optional[float] = None) -> bool:
        """Whether there is a file or folder of this path."""
        answer = self._client.get(f"{self._path}/exists", query={"path": path}, request_timeout=request_timeout)
        return bool(expect(answer, "exists")["exists"])

    def remove(self, path: str, recursive: bool = False, request_timeout: Optional[float] = None) -> None:
        """Removes a file, or an empty folder; with `recursive` a full one too."""
        query = {"path": path, "recursive": "true" if recursive else "false"}
        self._client.delete(self._path, query=query, repeatable=False, request_timeout=request_timeout)

    def rename(self, old_path: str, new_path: str, request_timeout: Optional[float] = None) -> None:
        """Gives a file or folder another path."""
        body = {"old_path": old_path, "new_path": new_path}
        self._client.patch(self._path, json=body, repeatable=False, request_timeout=request_timeout)

    def mkdir(self, path: str, request_timeout: Optional[float] = None) -> None:
        """Makes a folder."""
        self._client.post(f"{self._path}/mkdir", json={"path": path}, request_timeout=request_timeout)


class VolumeLocks:
    """Locks by path that sandboxes and programs agree on. Servers of this project have none: InvalidArgumentError. See `Volumes.locks`."""

    def __init__(self, client: ApiClient, volume_id: str) -> None:
        """For `Volumes`."""
        self._client = client
        self._path = f"/volumes/{segment(volume_id, 'volume id')}/locks"

    def acquire(
        self, path: str, *, ttl_seconds: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> Dict[str, Any]:
        """Takes a lock, for so many seconds.

        Returns:
            ``{"token": str, "ttl_seconds": int, "expires_at": str}``.

        Raises:
            ConflictError: somebody else holds it.
        """
        body = {"path": path, **present(ttl_seconds=ttl_seconds)}
        return expect(
            self._client.post(self._path, json=body, repeatable=False, request_timeout=request_timeout), "token"
        )

    def renew(
        self, path: str, token: str, *, ttl_seconds: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> Dict[str, Any]:
        """Keeps a lock for so many seconds more.

        Returns:
            ``{"renewed": bool, "ttl_seconds": int, "expires_at": str}``.

        Raises:
            ConflictError: it is not held with this token.
        """
        body = {"path": path, "token": token, **present(ttl_seconds=ttl_seconds)}
        return expect(self._client.post(f"{self._path}/renew", json=body, request_timeout=request_timeout), "renewed")

    def release(self, path: str, token: str, request_timeout: Optional[float] = None) -> bool:
        """Gives a lock back. Returns whether it was held with this token."""
        body = {"path": path, "token": token}
        answer = self._client.delete(self._path, json=body, request_timeout=request_timeout)
        return bool(expect(answer, "released")["released"])

    def status(self, path: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """``{"held": bool, "expires_in_ms": int}``."""
        return expect(
            self._client.get(self._path, query={"path": path}, request_timeout=request_timeout), "held"
        )


class AsyncVolumeFiles:
    """As `VolumeFiles`, with coroutines."""

    def __init__(self, files: VolumeFiles) -> None:
        """For `AsyncVolumes`."""
        self._sync = files

    async def write(
        self,
        path: str,
        data: Union[str, bytes, IO[Any]],
        *,
        if_version: Any = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """As `VolumeFiles.write`."""
        return await wait_for(self._sync.write, path, data, if_version=if_version, request_timeout=request_timeout)

    async def read(self, path: str, request_timeout: Optional[float] = None) -> bytes:
        """As `VolumeFiles.read`."""
        return await wait_for(self._sync.read, path, request_timeout)

    async def list(self, path: str = "/", request_timeout: Optional[float] = None) -> List[FileEntry]:
        """As `VolumeFiles.list`."""
        return await call(self._sync.list, path, request_timeout)

    async def info(self, path: str, request_timeout: Optional[float] = None) -> FileEntry:
        """As `VolumeFiles.info`."""
        return await call(self._sync.info, path, request_timeout)

    async def exists(self, path: str, request_timeout: Optional[float] = None) -> bool:
        """As `VolumeFiles.exists`."""
        return await call(self._sync.exists, path, request_timeout)

    async def remove(self, path: str, recursive: bool = False, request_timeout: Optional[float] = None) -> None:
        """As `VolumeFiles.remove`."""
        await call(self._sync.remove, path, recursive, request_timeout)

    async def rename(self, old_path: str, new_path: str, request_timeout: Optional[float] = None) -> None:
        """As `VolumeFiles.rename`."""
        await call(self._sync.rename, old_path, new_path, request_timeout)

    async def mkdir(self, path: str, request_timeout: Optional[float] = None) -> None:
        """As `VolumeFiles.mkdir`."""
        await call(self._sync.mkdir, path, request_timeout)


class AsyncVolumeLocks:
    """As `VolumeLocks`, with coroutines."""

    def __init__(self, locks: VolumeLocks) -> None:
        """For `AsyncVolumes`."""
        self._sync = locks

    async def acquire(
        self, path: str, *, ttl_seconds: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> Dict[str, Any]:
        """As `VolumeLocks.acquire`."""
        return await call(self._sync.acquire, path, ttl_seconds=ttl_seconds, request_timeout=request_timeout)

    async def renew(
        self, path: str, token: str, *, ttl_seconds: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> Dict[str, Any]:
        """As `VolumeLocks.renew`."""
        return await call(self._sync.renew, path, token, ttl_seconds=ttl_seconds, request_timeout=request_timeout)

    async def release(self, path: str, token: str, request_timeout: Optional[float] = None) -> bool:
        """As `VolumeLocks.release`."""
        return await call(self._sync.release, path, token, request_timeout)

    async def status(self, path: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `VolumeLocks.status`."""
        return await call(self._sync.status, path, request_timeout)
