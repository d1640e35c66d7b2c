# SPDX-License-Identifier: Apache-2.0
"""Files of a sandbox."""

from typing import IO, Any, Dict, List, Literal, Mapping, Optional, Sequence, Union, overload

from .._wire import expect, expect_list, parsed
from ..api.client import ApiClient
from ..api.events import EventStream, open_events
from ..api.transport import Body
from ..exceptions import SandboxError
from ..sandbox.models import EntryInfo, WriteEntry, WriteInfo
from .byte_stream import ByteStream, file_body
from .watch import EventHandler, WatchHandle

Data = Union[str, bytes, bytearray, memoryview, IO[Any]]


class Filesystem:
    """``sandbox.files``. Paths are absolute inside the sandbox; a relative one starts at the user's home.

    ``user`` is the user whose permissions count, and who owns what is created. ``request_timeout`` is in seconds for each
    wait for the server; None waits without end.

    Every call may raise NotFoundError (no such sandbox, or file), AuthenticationError (the user may not), ConflictError (the
    sandbox is paused) and SandboxError (410: it was killed).
    """

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        """For `Sandbox`: `base` is the path of the sandbox."""
        self._client = client
        self.sandbox_id = sandbox_id
        self._path = f"{base}/files"

    @overload
    def read(
        self, path: str, format: Literal["text"] = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> str: ...

    @overload
    def read(
        self, path: str, format: Literal["bytes"], user: str = "user", request_timeout: Optional[float] = None
    ) -> bytearray: ...

    @overload
    def read(
        self, path: str, format: Literal["stream"], user: str = "user", request_timeout: Optional[float] = None
    ) -> ByteStream: ...

    @overload
    def read(
        self, path: str, format: str = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> Union[str, bytearray, ByteStream]: ...

    def read(
        self, path: str, format: str = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> Union[str, bytearray, ByteStream]:
        """Reads a file.

        Args:
            format: "text" gives a str (bytes that are not UTF-8 become U+FFFD), "bytes" a bytearray, "stream" an
                iterator of bytes that holds a connection until it is exhausted or closed.
            user: whose permissions count.
            request_timeout: seconds for each wait for the server; None waits without end.

        Raises:
            ValueError: an unknown format.
            NotFoundError: no such file or sandbox.
            InvalidArgumentError: it is a folder.
            TimeoutError, SandboxError
        """
        if format not in ("text", "bytes", "stream"):
            raise ValueError(f"format {format!r} is not text, bytes or stream")
        options: Any = {
            "query": {"path": path, "username": user},
            "request_timeout": request_timeout,
            "sandbox_id": self.sandbox_id,
        }
        if format == "stream":
            return ByteStream(self._client.open("GET", self._path, **options), self.sandbox_id)
        data = self._client.request_bytes("GET", self._path, **options)
        return data.decode("utf-8", "replace") if format == "text" else bytearray(data)

    def write(
        self,
        path: str,
        data: Data,
        user: str = "user",
        request_timeout: Optional[float] = None,
    ) -> WriteInfo:
        """Writes a file, replacing one that is there; folders on the way are made.

        Args:
            data: text (at most 10 MiB as JSON), bytes, or an open file, which is read to its end (at most 500 MiB).
            user: the owner of what is created.
            request_timeout: seconds for each wait for the server; None waits without end.

        Returns:
            the path, and the size in bytes.

        Raises:
            TypeError: `data` is none of these.
            NotEnoughSpaceError: too large, or the disk is full.
            NotFoundError: no such sandbox.
            InvalidArgumentError, AuthenticationError, TimeoutError, SandboxError
        """
        options: Any = {"request_timeout": request_timeout, "sandbox_id": self.sandbox_id}
        if isinstance(data, str):
            answer = self._client.post(self._path, json={"path": path, "data": data, "username": user}, **options)
            return parsed(WriteInfo.from_dict, answer, self.sandbox_id)
        body: Body
        if isinstance(data, (bytes, bytearray, memoryview)):
            body = bytes(data)
        elif hasattr(data, "read"):
            body = file_body(data)
        else:
            raise TypeError(f"data is str, bytes or an open file, not {type(data).__name__}")
        query = {"path": path, "username": user}
        answer = self._client.put(f"{self._path}/raw", query=query, content=body, **options)
        return parsed(WriteInfo.from_dict, answer, self.sandbox_id)

    def write_files(
        self,
        files: Sequence[Union[WriteEntry, Mapping[str, Any]]],
        user: str = "user",
        request_timeout: Optional[float] = None,
    ) -> List[WriteInfo]:
        """Writes several files: those given as text in one request (at most 10 MiB in all), every other one in its own.

        Args:
            files: `WriteEntry` objects, or dicts ``{"path": ..., "data": ...}``.

        Returns:
            what `write` returns for each, in the order of `files`.

        Raises:
            As `write`. Files before the one at fault may have been written.
        """
        entries = [f if isinstance(f, WriteEntry) else WriteEntry(f["path"], f["data"]) for f in files]
        texts = [{"path": e.path, "data": e.data} for e in entries if isinstance(e.data, str)]
        written: List[Any] = []
        if texts:
            answer = self._client.post(
                f"{self._path}/batch", json={"files": texts, "username": user},
                request_timeout=request_timeout, sandbox_id=self.sandbox_id,
            )  # fmt: skip
            written = expect_list(answer, self.sandbox_id)
            if len(written) != len(texts):
                raise SandboxError(f"{len(texts)} files, {len(written)} answers", sandbox_id=self.sandbox_id)
        of_texts = iter([parsed(WriteInfo.from_dict, row, self.sandbox_id) for row in written])
        return [
            next(of_texts) if isinstance(e.data, str) else self.write(e.path, e.data, user, request_timeout) for e in entries
        ]

    def list(
        self, path: str, depth: int = 1, user: str = "user", request_timeout: Optional[float] = None
    ) -> List[EntryInfo]:
        """The entries of a folder.

        Args:
            depth: 1 gives the folder's own entries, 2 those of its folders too, and so on.
        """
        rows: List[Any] = expect_list(self._get("list", path, user, request_timeout, depth=depth), self.sandbox_id)
        return [parsed(EntryInfo.from_dict, row, self.sandbox_id) for row in rows]

    def exists(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """Whether there is a file or folder of this path."""
        answer = self._get("exists", path, user, request_timeout)
        return bool(expect(answer, "exists", self.sandbox_id)["exists"])

    def get_info(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> EntryInfo:
        """Name, kind and size. Raises NotFoundError."""
        return parsed(EntryInfo.from_dict, self._get("info", path, user, request_timeout), self.sandbox_id)

    def _get(self, call: str, path: str, user: str, request_timeout: Optional[float], **more: Any) -> Any:
        return self._client.get(
            f"{self._path}/{call}", query={"path": path, "username": user, **more},
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def remove(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> None:
        """Removes a file, or a folder with all that is in it. Raises NotFoundError."""
        self._client.delete(
            self._path, query={"path": path, "username": user}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip

    def rename(
        self, old_path: str, new_path: str, user: str = "user", request_timeout: Optional[float] = None
    ) -> EntryInfo:
        """Gives a file or folder another path. Returns the entry of the new one."""
        answer = self._client.patch(
            self._path, json={"old_path": old_path, "new_path": new_path, "username": user}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
        return parsed(EntryInfo.from_dict, answer, self.sandbox_id)

    def make_dir(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """Makes a folder, and those on the way to it. Returns False where it existed."""
        answer = self._client.post(
            f"{self._path}/mkdir", json={"path": path, "username": user}, repeatable=False,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
        return bool(expect(answer, "created", self.sandbox_id)["created"])

    def watch_dir(
        self,
        path: str,
        user: str = "user",
        request_timeout: Optional[float] = None,
        recursive: bool = False,
        on_event: Optional[EventHandler] = None,
    ) -> WatchHandle:
        """Watches a folder. Returns when the watch is in force: what changes after that is seen.

        Args:
            request_timeout: seconds of silence of the server after which the connection counts as lost; it is never
                silent for more than 15.
            recursive: what is in its folders too.
            on_event: called with each event, in a thread of the watch. Not part of the published SDK.

        Raises:
            NotFoundError: no such folder.
            SandboxError: the server does not report changes.
        """
        return WatchHandle(self.open_watch(path, user, request_timeout, recursive), self.sandbox_id, on_event)

    def open_watch(
        self, path: str, user: str = "user", request_timeout: Optional[float] = None, recursive: bool = False
    ) -> EventStream:
        """The request of `watch_dir`."""
        body: Dict[str, Any] = {"path": path, "username": user, "recursive": recursive}
        return open_events(
            self._client, "POST", f"{self._path}/watch", json=body,
            request_timeout=request_timeout, sandbox_id=self.sandbox_id,
        )  # fmt: skip
