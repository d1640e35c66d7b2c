# SPDX-License-Identifier: Apache-2.0
"""Changes of files, as they happen."""

import threading
from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional

from ..api.events import EventStream, event_object
from ..exceptions import SandboxError
from ..sandbox.models import FilesystemEvent

EventHandler = Callable[[FilesystemEvent], Any]

#: Events that wait to be fetched; of more, the oldest are lost (and counted): memory must not grow with what a sandbox does.
MAX_WAITING = 10_000


class WatchHandle(Iterator[FilesystemEvent]):
    """Watches a folder until `stop`; made by `Filesystem.watch_dir`. A thread of its own collects the events.

    Iterating waits for the next event, and ends with the watch: after `stop`, or when the folder or the sandbox is gone.
    Leaving a ``with`` block stops it.
    """

    def __init__(self, events: EventStream, sandbox_id: str, on_event: Optional[EventHandler] = None) -> None:
        """For `Filesystem.watch_dir`."""
        self._events = events
        self._sandbox_id = sandbox_id
        self._on_event = on_event
        self._waiting: Deque[FilesystemEvent] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: Optional[Exception] = None
        self._overflows = 0
        for event in events:  # the watch is in force when this one has come
            if event.event == "start":
                break
        else:
            raise SandboxError("the server ended the watch before it began", sandbox_id=sandbox_id)
        self._thread = threading.Thread(target=self._collect, name="declaw-watch", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        error: Optional[Exception] = None
        try:
            for event in self._events:
                if event.event == "end":
                    break
                if event.event == "overflow":
                    with self._changed:
                        self._overflows += 1
                elif event.event == "change":
                    self._take(event_object(event))
        except Exception as e:  # of the connection, or of the caller's handler: for whoever asks next
            error = e
        self._events.close()
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _take(self, fields: Any) -> None:
        try:
            change = FilesystemEvent.from_dict(fields)
        except (KeyError, TypeError, ValueError, AttributeError):
            return  # a kind of change that this version does not know
        if self._on_event is not None:
            self._on_event(change)
            return
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._overflows += 1
            self._waiting.append(change)
            self._changed.notify_all()

    @property
    def overflows(self) -> int:
        """How often events were lost, in the sandbox or here, because there were too many. Then look at the folder itself."""
        return self._overflows

    def get_new_events(self) -> List[FilesystemEvent]:
        """The events since the last call; does not wait. None are left where ``on_event`` takes them.

        Raises:
            SandboxError: all events were fetched, and the connection has broken.
            What ``on_event`` raised, which ended the watch.
        """
        with self._changed:
            new = [*self._waiting]
            self._waiting.clear()
            if not new and self._error is not None:
                raise self._error
            return new

    def __next__(self) -> FilesystemEvent:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                return self._waiting.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def stop(self) -> None:
        """Ends the watch. Events that came before can still be fetched. Idempotent."""
        self._events.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "WatchHandle":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
