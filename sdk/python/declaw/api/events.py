# SPDX-License-Identifier: Apache-2.0
"""An answer that is a stream of events."""

import json
from collections import deque
from typing import Any, Deque, Dict, Iterator, Mapping, Optional

from ..exceptions import SandboxError, TimeoutError
from .client import ApiClient
from .sse import ServerEvent, SSEError, SSEParser
from .transport import AnswerTimeout, ConnectionLost, Response

#: Seconds. A server says something, if only a comment, every 15 s; one that says nothing for so long is gone.
SILENCE = 45.0
#: Seconds. The same for streams on which other servers are silent for up to 300 s.
LONG_SILENCE = 330.0


class EventStream(Iterator[ServerEvent]):
    """Iterates the events of an answer; ends where the server ends it, or when `close` is called, from any thread.

    Raises (while iterating):
        TimeoutError: nothing came for the time that the request was given.
        SandboxError: the connection broke, or what came is no event stream.
    """

    def __init__(self, response: Response, sandbox_id: Optional[str] = None) -> None:
        self._response = response
        self._sandbox_id = sandbox_id
        self._parser = SSEParser()
        self._ready: Deque[ServerEvent] = deque()
        self._closed = False

    def __next__(self) -> ServerEvent:
        while not self._ready:
            data = self._read()
            if not data:
                self.close()
                raise StopIteration
            try:
                self._ready.extend(self._parser.feed(data))
            except SSEError as e:
                self.close()
                raise SandboxError(f"the server's event stream: {e}", sandbox_id=self._sandbox_id) from e
        return self._ready.popleft()

    def _read(self) -> bytes:
        if self._closed:
            return b""
        try:
            return self._response.read_some()
        except (AnswerTimeout, ConnectionLost) as e:
            if self._closed:
                return b""  # by another thread, while this one waited
            kind = TimeoutError if isinstance(e, AnswerTimeout) else SandboxError
            raise kind(f"event stream: {e}", sandbox_id=self._sandbox_id) from e

    def close(self) -> None:
        """Gives up the rest; the connection is closed. Idempotent."""
        self._closed = True
        self._response.close()

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_events(client: ApiClient, method: str, path: str, *, headers: Optional[Mapping[str, str]] = None,
                request_timeout: Optional[float] = None, **options: Any) -> EventStream:
    """Makes the request, options as `ApiClient.open`, and returns its event stream. `request_timeout`: default `SILENCE`.

    Raises:
        SandboxError: the answer is no event stream; and what `ApiClient.open` raises.
    """
    response = client.open(
        method, path, headers={"Accept": "text/event-stream", "Cache-Control": "no-cache", **(headers or {})},
        request_timeout=SILENCE if request_timeout is None else request_timeout, **options,
    )  # fmt: skip
    if not (response.headers.get("Content-Type") or "").lower().startswith("text/event-stream"):
        response.close()
        raise SandboxError(f"{method} {path}: the server answers without events", sandbox_id=options.get("sandbox_id"))
    return EventStream(response, options.get("sandbox_id"))


def event_object(event: ServerEvent) -> Dict[str, Any]:
    """The JSON object that an event carries; {} where it carries none, so that one odd event does not end a stream."""
    try:
        value = json.loads(event.data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
