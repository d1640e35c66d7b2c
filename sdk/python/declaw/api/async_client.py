# SPDX-License-Identifier: Apache-2.0
"""`ApiClient` for coroutines."""

from typing import Any, AsyncIterator, Optional

from ..connection_config import ConnectionConfig
from .client import ApiClient
from .events import open_events
from .lanes import Pump, call, wait_for
from .sse import ServerEvent


class AsyncApiClient:
    """As `ApiClient`, with coroutines; see `declaw.api.lanes` for how, and how many at a time.

    Cancelling a call closes its connection; whether the server has done it by then is not known.
    """

    def __init__(
        self, config: Optional[ConnectionConfig] = None, *, max_retries: int = 3, retry_delay: float = 0.5
    ) -> None:
        self._client = ApiClient(config, max_retries=max_retries, retry_delay=retry_delay)

    @property
    def sync(self) -> ApiClient:
        """The blocking client underneath."""
        return self._client

    @property
    def config(self) -> ConnectionConfig:
        """Which server."""
        return self._client.config

    async def get(self, path: str, **options: Any) -> Any:
        """As `ApiClient.get`."""
        return await call(self._client.get, path, **options)

    async def get_bytes(self, path: str, **options: Any) -> bytes:
        """As `ApiClient.get_bytes`."""
        return await wait_for(self._client.get_bytes, path, **options)

    async def post(self, path: str, **options: Any) -> Any:
        """As `ApiClient.post`. It may last, so it counts among what waits long."""
        return await wait_for(self._client.post, path, **options)

    async def put(self, path: str, **options: Any) -> Any:
        """As `ApiClient.put`."""
        return await wait_for(self._client.put, path, **options)

    async def patch(self, path: str, **options: Any) -> Any:
        """As `ApiClient.patch`."""
        return await call(self._client.patch, path, **options)

    async def delete(self, path: str, **options: Any) -> Any:
        """As `ApiClient.delete`."""
        return await call(self._client.delete, path, **options)

    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[ServerEvent]:
        """As `ApiClient.stream`. Leaving the loop closes the connection."""
        events = await wait_for(open_events, self._client, method, path, **options)
        pump = Pump(events, events.close)
        try:
            async for event in pump:
                yield event
        finally:
            pump.close()

    async def close(self) -> None:
        """Closes idle connections. The client stays usable."""
        self._client.close()
