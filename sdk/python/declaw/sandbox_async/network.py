# SPDX-License-Identifier: Apache-2.0
"""The network of a sandbox, for coroutines. Not part of the published SDK."""

from typing import Any, AsyncIterator, Dict, Mapping, Optional, Union

from ..api.lanes import Pump, call
from ..sandbox.network import SandboxNetworkOpts
from ..sandbox_sync.network import Network


class AsyncNetwork:
    """As `Network`, with coroutines."""

    def __init__(self, network: Network) -> None:
        """For `AsyncSandbox`."""
        self._sync = network

    async def get(self, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `Network.get`."""
        return await call(self._sync.get, request_timeout)

    async def set(
        self,
        network: Union[SandboxNetworkOpts, Mapping[str, Any]],
        generation: Optional[int] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """As `Network.set`."""
        return await call(self._sync.set, network, generation, request_timeout)

    async def update(self, **changes: Any) -> Dict[str, Any]:
        """As `Network.update`, whose keywords it takes."""
        return await call(self._sync.update, **changes)

    async def allow(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `Network.allow`."""
        return await call(self._sync.allow, *entries, request_timeout=request_timeout)

    async def deny(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `Network.deny`."""
        return await call(self._sync.deny, *entries, request_timeout=request_timeout)

    async def remove(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `Network.remove`."""
        return await call(self._sync.remove, *entries, request_timeout=request_timeout)

    async def log(self, limit: int = 100, **filters: Any) -> Dict[str, Any]:
        """As `Network.log`, whose keywords it takes."""
        return await call(self._sync.log, limit, **filters)

    async def follow(
        self, limit: int = 0, *, after: Optional[int] = None, request_timeout: Optional[float] = None, **filters: Any
    ) -> AsyncIterator[Dict[str, Any]]:
        """As `Network.follow`."""
        pump = Pump(self._sync.follow(limit, after=after, request_timeout=request_timeout, **filters))
        try:
            async for record in pump:
                yield record
        finally:
            pump.close()

    async def suggest(self, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """As `Network.suggest`."""
        return await call(self._sync.suggest, request_timeout)
