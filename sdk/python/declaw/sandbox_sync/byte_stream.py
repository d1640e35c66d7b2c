# SPDX-License-Identifier: Apache-2.0
"""Contents of files on their way."""

from typing import IO, Any, Iterator

from ..api.transport import CHUNK, AnswerTimeout, Body, ConnectionLost, Response
from ..exceptions import SandboxError, TimeoutError

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


def chunks_of(data: IO[Any]) -> Iterator[bytes]:
    """What is left of an open file, text as UTF-8."""
    while True:
        piece = data.read(CHUNK)
        if not piece:
            return
        yield piece.encode("utf-8") if isinstance(piece, str) else piece


def file_body(data: IO[Any]) -> Body:
    """A file of one chunk goes as bytes, whose request can be repeated; a longer one is streamed, once."""
    chunks = chunks_of(data)
    first = next(chunks, b"")
    second = next(chunks, b"")
    if not second:
        return first

    def streamed() -> Iterator[bytes]:
        yield first
        yield second
        yield from chunks

    return streamed()
