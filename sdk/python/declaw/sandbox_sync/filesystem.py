# SPDX-License-Identifier: Apache-2.0
"""Files of a sandbox."""

from typing import IO, Any, Iterator, Literal, Optional, Union, overload

from ..api.client import ApiClient
from ..api.transport import CHUNK, AnswerTimeout, Body, ConnectionLost, Response
from ..exceptions import SandboxError, TimeoutError
from ..sandbox.models import WriteInfo

_READ_CHUNK = 64 * 1024


class ByteStream(Iterator[bytes]):
    """A file that is being read. Ends its request when exhausted, closed, or left as a context manager."""

    def __init__(self, response: Response, sandbox_id: str) -> None:
        self._response = response
        self._sandbox_id = sandbox_id

    def __next__(self) -> bytes:
        try:
            data = self._response.read(_READ_CHUNK)
        except AnswerTimeout as e:
            raise TimeoutError(str(e), sandbox_id=self._sandbox_id) from e
        except ConnectionLost as e:
            raise SandboxError(str(e), sandbox_id=self._sandbox_id) from e
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        """Gives up the rest."""
        self._response.close()

    def __enter__(self) -> "ByteStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _chunks(data: IO[Any]) -> Iterator[bytes]:
    while True:
        piece = data.read(CHUNK)
        if not piece:
            return
        yield piece.encode("utf-8") if isinstance(piece, str) else piece


def _file_body(data: IO[Any]) -> Body:
    """A file of one chunk goes as bytes, whose request can be repeated; a longer one is streamed, once."""
    chunks = _chunks(data)
    first = next(chunks, b"")
    second = next(chunks, b"")
    if not second:
        return first

    def streamed() -> Iterator[bytes]:
        yield first
        yield second
        yield from chunks

    return streamed()


class Filesystem:
    """``sandbox.files``. Paths are absolute inside the sandbox; a relative one starts at the user's home."""

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        self._client = client
        self._sandbox_id = sandbox_id
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
            "sandbox_id": self._sandbox_id,
        }
        if format == "stream":
            return ByteStream(self._client.open("GET", self._path, **options), self._sandbox_id)
        data = self._client.request_bytes("GET", self._path, **options)
        return data.decode("utf-8", "replace") if format == "text" else bytearray(data)

    def write(
        self,
        path: str,
        data: Union[str, bytes, IO[Any]],
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
        options: Any = {"request_timeout": request_timeout, "sandbox_id": self._sandbox_id}
        if isinstance(data, str):
            answer = self._client.post(self._path, json={"path": path, "data": data, "username": user}, **options)
            return WriteInfo.from_dict(answer)
        body: Body
        if isinstance(data, (bytes, bytearray, memoryview)):
            body = bytes(data)
        elif hasattr(data, "read"):
            body = _file_body(data)
        else:
            raise TypeError(f"data is str, bytes or an open file, not {type(data).__name__}")
        query = {"path": path, "username": user}
        return WriteInfo.from_dict(self._client.put(f"{self._path}/raw", query=query, content=body, **options))
