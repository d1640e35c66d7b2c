# SPDX-License-Identifier: Apache-2.0
"""Lists that come in pages."""

from typing import Any, Generic, Iterator, List, Optional, TypeVar

from .._wire import expect, expect_list, parsed, present
from ..api.client import ApiClient
from ..sandbox.base import list_params
from ..sandbox.models import SandboxInfo, SandboxQuery, SnapshotInfo

T = TypeVar("T")


class Pages(Generic[T]):
    """Where a list is. Pure; used by every flavour of client."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.token: Optional[str] = None
        self.has_next = True

    def rows(self, answer: Any) -> List[Any]:
        """The rows of a page; notes whether there is another."""
        rows: List[Any] = expect_list(expect(answer, self._key)[self._key])
        self.token = answer.get("next_token") or None
        self.has_next = self.token is not None
        return rows


class SandboxPaginator:
    """Sandboxes, a page at a time. Iterating gives every one.

    Args:
        client: the server.
        query: which; default: all that were not killed.
        limit: how many a page has at most.
    """

    def __init__(self, client: ApiClient, query: Optional[SandboxQuery] = None, limit: Optional[int] = None) -> None:
        self._client = client
        self._query = query
        self._limit = limit
        self._pages: Pages[SandboxInfo] = Pages("sandboxes")

    @property
    def has_next(self) -> bool:
        """Whether `next_items` has something to ask for."""
        return self._pages.has_next

    def next_items(self, request_timeout: Optional[float] = None) -> List[SandboxInfo]:
        """The next page; [] after the last."""
        if not self.has_next:
            return []
        params = list_params(self._query, self._limit, self._pages.token)
        answer = self._client.get("/sandboxes", query=params, request_timeout=request_timeout)
        return [parsed(SandboxInfo.from_dict, row) for row in self._pages.rows(answer)]

    def __iter__(self) -> Iterator[SandboxInfo]:
        while self.has_next:
            yield from self.next_items()


class SnapshotPaginator:
    """Snapshots, a page at a time. Iterating gives every one.

    Args:
        client: the server.
        sandbox_id: only those of this sandbox.
        limit: how many a page has at most.
    """

    def __init__(self, client: ApiClient, sandbox_id: Optional[str] = None, limit: Optional[int] = None) -> None:
        self._client = client
        self._sandbox_id = sandbox_id
        self._limit = limit
        self._pages: Pages[SnapshotInfo] = Pages("snapshots")

    @property
    def has_next(self) -> bool:
        """Whether `next_items` has something to ask for."""
        return self._pages.has_next

    def next_items(self, request_timeout: Optional[float] = None) -> List[SnapshotInfo]:
        """The next page; [] after the last."""
        if not self.has_next:
            return []
        params = present(sandbox_id=self._sandbox_id, limit=self._limit, next_token=self._pages.token)
        answer = self._client.get("/snapshots", query=params, request_timeout=request_timeout)
        return [parsed(SnapshotInfo.from_dict, row) for row in self._pages.rows(answer)]

    def __iter__(self) -> Iterator[SnapshotInfo]:
        while self.has_next:
            yield from self.next_items()
