# SPDX-License-Identifier: Apache-2.0
"""The calls about volumes."""

import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, Iterable, Iterator, List, Optional, Union, cast

from .._wire import expect, expect_list, parsed, present, sandbox_path, segment
from ..api.client import ApiClient, get_shared_client
from ..api.lanes import call, wait_for
from ..api.transport import Body
from ..connection_config import ConnectionConfig
from ..sandbox_sync.byte_stream import chunks_of, file_body
from .files import AsyncVolumeFiles, AsyncVolumeLocks, VolumeFiles, VolumeLocks
from .models import Volume

#: A gzipped tar as bytes, open file or iterable of bytes; or the path of one, or of a folder or file to be packed.
Archive = Union[bytes, IO[Any], Iterable[bytes], str, "os.PathLike[str]"]

_GZIP = b"\x1f\x8b"


def _client(api_key: Optional[str], domain: Optional[str]) -> ApiClient:
    return get_shared_client(ConnectionConfig(api_key=api_key, domain=domain))


def _packed(path: Path) -> Iterator[bytes]:
    """A folder's content, or one file, as a gzipped tar; an archive as it is. Up to 8 MiB in memory, more on the disk."""
    if path.is_file():
        with path.open("rb") as f:
            if f.read(2) == _GZIP:
                f.seek(0)
                yield from chunks_of(f)
                return
    with tempfile.SpooledTemporaryFile(max_size=8 << 20) as spool:
        with tarfile.open(fileobj=spool, mode="w:gz") as tar:
            tar.add(path, "." if path.is_dir() else path.name)
        spool.seek(0)
        yield from chunks_of(spool)


def _body(data: Optional[Archive]) -> Body:
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        path.stat()  # FileNotFoundError now, not in the middle of a request
        return _packed(path)
    read = getattr(data, "read", None)
    return iter(data) if read is None else file_body(cast(IO[Any], data))


def _volume(answer: Any) -> Volume:
    return parsed(Volume.from_dict, answer)


class Volumes:
    """Makes and finds volumes. The methods need no object.

    ``api_key`` and ``domain``: see `ConnectionConfig`. Every call may raise SandboxError and its kinds.
    """

    @staticmethod
    def create(
        name: str,
        data: Optional[Archive] = None,
        *,
        content_type: str = "application/gzip",
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """Makes a volume of an archive; of nothing, an empty one.

        Args:
            data: see `Archive`.
            content_type: of the archive.

        Raises:
            OSError: the path cannot be read. NotEnoughSpaceError: it is too large.
        """
        return _upload("/volumes", name, data, content_type, _client(api_key, domain), request_timeout)

    @staticmethod
    def empty(
        name: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """Makes an empty volume."""
        return _upload("/volumes/empty", name, None, "", _client(api_key, domain), request_timeout)

    @staticmethod
    def ingest(
        name: str,
        data: Archive,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """Makes a volume of the file-granular kind of an archive. Servers of this project have no such kind: InvalidArgumentError."""
        return _upload("/volumes/ingest", name, data, "application/gzip", _client(api_key, domain), request_timeout)

    @staticmethod
    def snapshot(
        sandbox_id: str,
        path: str,
        name: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """Makes a volume of the files of a folder of a sandbox (an absolute path)."""
        return _volume(_client(api_key, domain).post(
            f"{sandbox_path(sandbox_id)}/volumes/snapshot", query=present(path=path, name=name), repeatable=False,
            request_timeout=request_timeout, sandbox_id=sandbox_id,
        ))  # fmt: skip

    @staticmethod
    def commit(
        sandbox_id: str,
        volume_id: str,
        name: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """Makes a volume of what a sandbox has made of an attached one."""
        return _volume(_client(api_key, domain).post(
            f"{sandbox_path(sandbox_id)}/volumes/{segment(volume_id)}/commit", query=present(name=name), repeatable=False,
            request_timeout=request_timeout, sandbox_id=sandbox_id,
        ))  # fmt: skip

    @staticmethod
    def get(
        volume_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Volume:
        """One, by its id. Raises NotFoundError."""
        return _volume(_client(api_key, domain).get(f"/volumes/{segment(volume_id)}", request_timeout=request_timeout))

    @staticmethod
    def list(
        api_key: Optional[str] = None, domain: Optional[str] = None, request_timeout: Optional[float] = None
    ) -> List[Volume]:
        """All, newest first."""
        answer = _client(api_key, domain).get("/volumes", request_timeout=request_timeout)
        rows: List[Any] = expect_list(expect(answer, "volumes")["volumes"])
        return [_volume(row) for row in rows]

    @staticmethod
    def download(
        volume_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> bytes:
        """Its content as a gzipped tar. Raises NotFoundError."""
        client = _client(api_key, domain)
        return client.get_bytes(f"/volumes/{segment(volume_id)}/download", request_timeout=request_timeout)

    @staticmethod
    def delete(
        volume_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> None:
        """Deletes one. Raises NotFoundError, and ConflictError while a sandbox has it mounted."""
        _client(api_key, domain).delete(f"/volumes/{segment(volume_id)}", request_timeout=request_timeout)

    @staticmethod
    def files(volume_id: str, api_key: Optional[str] = None, domain: Optional[str] = None) -> VolumeFiles:
        """Its files. Makes no request."""
        return VolumeFiles(_client(api_key, domain), volume_id)

    @staticmethod
    def locks(volume_id: str, api_key: Optional[str] = None, domain: Optional[str] = None) -> VolumeLocks:
        """Its locks. Makes no request."""
        return VolumeLocks(_client(api_key, domain), volume_id)


def _upload(path: str, name: str, data: Optional[Archive], content_type: str, client: ApiClient,
            request_timeout: Optional[float]) -> Volume:  # fmt: skip
    headers = {} if data is None else {"Content-Type": content_type}
    return _volume(client.post(
        path, query={"name": name}, content=_body(data), headers=headers, repeatable=False, request_timeout=request_timeout
    ))  # fmt: skip


class AsyncVolumes:
    """As `Volumes`, with coroutines. Keywords as there."""

    @staticmethod
    async def create(name: str, data: Optional[Archive] = None, **options: Any) -> Volume:
        """As `Volumes.create`."""
        return await wait_for(Volumes.create, name, data, **options)

    @staticmethod
    async def empty(name: str, **options: Any) -> Volume:
        """As `Volumes.empty`."""
        return await call(Volumes.empty, name, **options)

    @staticmethod
    async def ingest(name: str, data: Archive, **options: Any) -> Volume:
        """As `Volumes.ingest`."""
        return await wait_for(Volumes.ingest, name, data, **options)

    @staticmethod
    async def snapshot(sandbox_id: str, path: str, name: Optional[str] = None, **options: Any) -> Volume:
        """As `Volumes.snapshot`."""
        return await wait_for(Volumes.snapshot, sandbox_id, path, name, **options)

    @staticmethod
    async def commit(sandbox_id: str, volume_id: str, name: Optional[str] = None, **options: Any) -> Volume:
        """As `Volumes.commit`."""
        return await wait_for(Volumes.commit, sandbox_id, volume_id, name, **options)

    @staticmethod
    async def get(volume_id: str, **options: Any) -> Volume:
        """As `Volumes.get`."""
        return await call(Volumes.get, volume_id, **options)

    @staticmethod
    async def list(**options: Any) -> List[Volume]:
        """As `Volumes.list`."""
        return await call(Volumes.list, **options)

    @staticmethod
    async def download(volume_id: str, **options: Any) -> bytes:
        """As `Volumes.download`."""
        return await wait_for(Volumes.download, volume_id, **options)

    @staticmethod
    async def delete(volume_id: str, **options: Any) -> None:
        """As `Volumes.delete`."""
        await call(Volumes.delete, volume_id, **options)

    @staticmethod
    def files(volume_id: str, **options: Any) -> AsyncVolumeFiles:
        """As `Volumes.files`; no coroutine."""
        return AsyncVolumeFiles(Volumes.files(volume_id, **options))

    @staticmethod
    def locks(volume_id: str, **options: Any) -> AsyncVolumeLocks:
        """As `Volumes.locks`; no coroutine."""
        return AsyncVolumeLocks(Volumes.locks(volume_id, **options))
