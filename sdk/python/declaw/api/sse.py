# SPDX-License-Identifier: Apache-2.0
"""Server-Sent Events, as the HTML standard (section 9.2.6) says to read them.

Two differences, both because a server is not trusted with this process's memory or with guesses: what is too long is an
error, and an event without ``data`` is given out too when it has a name.
"""

from dataclasses import dataclass
from typing import List, Optional

#: Bytes of one line, and of the data of one event. Servers keep lines below 1 MiB (the published Go client's limit).
MAX_LINE = 4 << 20


class SSEError(ValueError):
    """A line or an event is longer than the limit."""


@dataclass(frozen=True)
class ServerEvent:
    """One event: its name ("message" where it has none), its data (lines joined by a newline), and its own id or None."""

    event: str
    data: str
    id: Optional[str] = None


class SSEParser:
    """Incremental and pure: `feed` takes bytes cut anywhere and gives the events that they complete.

    Args:
        max_line: bytes of the longest line, and of the longest event's data, that is taken.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._line = bytearray()
        self._after_cr = False
        self._first = True
        #: The id of the newest event that had one.
        self.last_event_id: Optional[str] = None
        #: Milliseconds that the server wants between two attempts to connect, or None.
        self.retry: Optional[int] = None
        self._clear()

    def _clear(self) -> None:
        self._event: Optional[str] = None
        self._id: Optional[str] = None
        self._data: List[str] = []
        self._data_bytes = 0

    def feed(self, data: bytes) -> List[ServerEvent]:
        """The events completed by `data`. An event that its stream's end cuts off is never given.

        Raises:
            SSEError: too long; the parser is of no use any more.
        """
        events: List[ServerEvent] = []
        start = 0
        has_cr = b"\r" in data  # rarely: then a search for it in every line would be wasted
        while start < len(data):
            if self._after_cr:
                self._after_cr = False
                if data[start] == 0x0A:  # the second half of a CRLF, perhaps of the piece before
                    start += 1
                    continue
            lf, cr = data.find(b"\n", start), data.find(b"\r", start) if has_cr else -1
            end = min(lf, cr) if lf >= 0 and cr >= 0 else max(lf, cr)
            piece = data[start:] if end < 0 else data[start:end]
            if len(self._line) + len(piece) > self._max:
                raise SSEError(f"a line of more than {self._max} bytes")
            self._line += piece
            if end < 0:
                break
            self._after_cr = end == cr
            start = end + 1
            event = self._take_line()
            if event is not None:
                events.append(event)
        return events

    def _take_line(self) -> Optional[ServerEvent]:
        line = self._line.decode("utf-8", "replace")
        size = len(self._line)
        self._line.clear()
        if self._first:
            self._first = False
            line = line[1:] if line.startswith("\ufeff") else line
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            self._data_bytes += size
            if self._data_bytes > self._max:
                raise SSEError(f"an event of more than {self._max} bytes")
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = self.last_event_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value[:9])
        return None  # an empty name is a comment, an unknown one is ignored

    def _dispatch(self) -> Optional[ServerEvent]:
        event = None
        if self._data or self._event:
            event = ServerEvent(self._event or "message", "\n".join(self._data), self._id)
        self._clear()
        return event
