# SPDX-License-Identifier: Apache-2.0
"""Files of a sandbox, for coroutines."""

from typing import Any, AsyncIterator, List, Literal, Mapping, Optional, Sequence, Union, overload

from ..api.lanes import Pump, call, wait_for
from ..sandbox.models import EntryInfo, FilesystemEvent, WriteEntry, WriteInfo
from ..sandbox_sync.byte_stream import ByteStream
from ..sandbox_sync.filesystem import Data, Filesystem
from ..sandbox_sync.watch import EventHandler, WatchHandle


class AsyncByteStream(AsyncIterator[bytes]):
    """As `ByteStream`: ends its request when exhausted, closed, or left as an asynchronous context manager."""

    def __init__(self, stream: ByteStream) -> None:
        """For `AsyncFilesystem.read`."""
        self._pump = Pump(stream, stream.close)

    async def __anext__(self) -> bytes:
        return await self._pump.__anext__()

    async def aclose(self) -> None:
        """Gives up the rest."""
        self._pump.close()

    async def __aenter__(self) -> "AsyncByteStream":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class AsyncWatchHandle(AsyncIterator[FilesystemEvent]):
    """As `WatchHandle`, with coroutines."""

    def __init__(self, handle: WatchHandle) -> None:
        """For `AsyncFilesystem.watch_dir`."""
        self._handle = handle
        self._pump = Pump(handle)

    @property
    def overflows(self) -> int:
        """As `WatchHandle.overflows`."""
        return self._handle.overflows

    async def get_new_events(self) -> List[FilesystemEvent]:
        """As `WatchHandle.get_new_events`. Not for use beside iteration, which takes events too."""
        return self._handle.get_new_events()

    async def __anext__(self) -> FilesystemEvent:
        return await self._pump.__anext__()

    async def stop(self) -> None:
        """As `WatchHandle.stop`."""
        await call(self._handle.stop)

    async def __aenter__(self) -> "AsyncWatchHandle":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


class AsyncFilesystem:
    """As `Filesystem`, with coroutines."""

    def __init__(self, files: Filesystem) -> None:
        """For `AsyncSandbox`."""
        self._sync = files

    @overload
    async def read(
        self, path: str, format: Literal["text"] = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> str: ...

    @overload
    async def read(
        self, path: str, format: Literal["bytes"], user: str = "user", request_timeout: Optional[float] = None
    ) -> bytearray: ...

    @overload
    async def read(
        self, path: str, format: Literal["stream"], user: str = "user", request_timeout: Optional[float] = None
    ) -> AsyncByteStream: ...

    @overload
    async def read(
        self, path: str, format: str = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> Union[str, bytearray, AsyncByteStream]: ...

    async def read(
        self, path: str, format: str = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> Union[str, bytearray, AsyncByteStream]:
        """As `Filesystem.read`; "stream" gives an asynchronous iterator."""
        answer = await wait_for(lambda: self._sync.read(path, format, user, request_timeout))
        return AsyncByteStream(answer) if isinstance(answer, ByteStream) else answer

    async def write(
        self, path: str, data: Data, user: str = "user", request_timeout: Optional[float] = None
    ) -> WriteInfo:
        """As `Filesystem.write`. An open file is read in another thread."""
        return await wait_for(self._sync.write, path, data, user, request_timeout)

    async def write_files(
        self,
        files: Sequence[Union[WriteEntry, Mapping[str, Any]]],
        user: str = "user",
        request_timeout: Optional[float] = None,
    ) -> List[WriteInfo]:
        """As `Filesystem.write_files`."""
        return await wait_for(self._sync.write_files, files, user, request_timeout)

    async def list(
        self, path: str, depth: int = 1, user: str = "user", request_timeout: Optional[float] = None
    ) -> List[EntryInfo]:
        """As `Filesystem.list`."""
        return await call(self._sync.list, path, depth, user, request_timeout)

    async def exists(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """As `Filesystem.exists`."""
        return await call(self._sync.exists, path, user, request_timeout)

    async def get_info(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> EntryInfo:
        """As `Filesystem.get_info`."""
        return await call(self._sync.get_info, path, user, request_timeout)

    async def remove(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> None:
        """As `Filesystem.remove`."""
        await call(self._sync.remove, path, user, request_timeout)

    async def rename(
        self, old_path: str, new_path: str, user: str = "user", request_timeout: Optional[float] = None
    ) -> EntryInfo:
        """As `Filesystem.rename`."""
        return await call(self._sync.rename, old_path, new_path, user, request_timeout)

    async def make_dir(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """As `Filesystem.make_dir`."""
        return await call(self._sync.make_dir, path, user, request_timeout)

    async def watch_dir(
        self,
        path: str,
        user: str = "user",
        request_timeout: Optional[float] = None,
        recursive: bool = False,
        on_event: Optional[EventHandler] = None,
    ) -> AsyncWatchHandle:
        """As `Filesystem.watch_dir`. `on_event` is called in a thread of the watch, and is no coroutine function."""
        return AsyncWatchHandle(await wait_for(self._sync.watch_dir, path, user, request_timeout, recursive, on_event))
