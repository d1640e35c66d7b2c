# SPDX-License-Identifier: Apache-2.0
"""Lists that come in pages, for coroutines."""

from typing import AsyncIterator, List, Optional, Union

from ..api.async_client import AsyncApiClient
from ..api.client import ApiClient
from ..api.lanes import call
from ..sandbox.models import SandboxInfo, SandboxQuery, SnapshotInfo
from ..sandbox_sync.paginator import SandboxPaginator, SnapshotPaginator


def _sync(client: Union[AsyncApiClient, ApiClient]) -> ApiClient:
    return client.sync if isinstance(client, AsyncApiClient) else client


class AsyncSandboxPaginator:
    """As `SandboxPaginator`, with coroutines."""

    def __init__(
        self, client: Union[AsyncApiClient, ApiClient], query: Optional[SandboxQuery] = None, limit: Optional[int] = None
    ) -> None:
        self._pages = SandboxPaginator(_sync(client), query, limit)

    @property
    def has_next(self) -> bool:
        """Whether `next_items` has something to ask for."""
        return self._pages.has_next

    async def next_items(self, request_timeout: Optional[float] = None) -> List[SandboxInfo]:
        """The next page; [] after the last."""
        return await call(self._pages.next_items, request_timeout)

    async def __aiter__(self) -> AsyncIterator[SandboxInfo]:
        while self.has_next:
            for item in await self.next_items():
                yield item


class AsyncSnapshotPaginator:
    """As `SnapshotPaginator`, with coroutines."""

    def __init__(
        self, client: Union[AsyncApiClient, ApiClient], sandbox_id: Optional[str] = None, limit: Optional[int] = None
    ) -> None:
        self._pages = SnapshotPaginator(_sync(client), sandbox_id, limit)

    @property
    def has_next(self) -> bool:
        """Whether `next_items` has something to ask for."""
        return self._pages.has_next

    async def next_items(self, request_timeout: Optional[float] = None) -> List[SnapshotInfo]:
        """The next page; [] after the last."""
        return await call(self._pages.next_items, request_timeout)

    async def __aiter__(self) -> AsyncIterator[SnapshotInfo]:
        while self.has_next:
            for item in await self.next_items():
                yield item
