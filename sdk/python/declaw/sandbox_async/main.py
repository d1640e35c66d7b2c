# SPDX-License-Identifier: Apache-2.0
"""The `AsyncSandbox`."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Type, TypeVar, Union

from .._wire import Time
from ..api.lanes import call, wait_for
from ..connection_config import ConnectionConfig
from ..sandbox.base import NetworkOpts, SandboxBase
from ..sandbox.models import SandboxInfo, SandboxLifecycle, SandboxMetrics, SandboxQuery, Snapshot, SnapshotInfo
from ..sandbox_sync.main import Sandbox
from .commands import AsyncCommands
from .filesystem import AsyncFilesystem
from .flat import FlatCalls
from .network import AsyncNetwork
from .pty import AsyncPty
from .stdio import AsyncStdio

_S = TypeVar("_S", bound="AsyncSandbox")


class AsyncSandbox(FlatCalls, SandboxBase):
    """As `Sandbox`, with coroutines. Made by `create` or `connect`; leaving an ``async with`` block does not kill it.

    Calls run in threads, 64 short ones and 1024 long ones at a time (`declaw.api.lanes`); what is more waits for its turn.
    Cancelling a coroutine closes the connection of its call: a foreground command ends with it; of other calls it is not known
    whether the server has done them. A sandbox whose `create` is cancelled may live until its deadline.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        """For `create` and `connect`."""
        super().__init__(
            sandbox.connection_config,
            {
                "sandbox_id": sandbox.sandbox_id,
                "sandbox_domain": sandbox.sandbox_domain,
                "traffic_access_token": sandbox.traffic_access_token,
            },
        )
        self._sync = sandbox
        self._commands = AsyncCommands(sandbox.commands)
        self._files = AsyncFilesystem(sandbox.files)
        self._pty = AsyncPty(sandbox.pty)
        self._stdio = AsyncStdio(sandbox.stdio)
        self._network = AsyncNetwork(sandbox.network)

    @classmethod
    async def create(
        cls: Type[_S],
        template: Optional[str] = None,
        timeout: Optional[int] = None,
        metadata: Optional[Dict[str, str]] = None,
        envs: Optional[Dict[str, str]] = None,
        vault_refs: Optional[Dict[str, str]] = None,
        secure: bool = True,
        allow_internet_access: bool = True,
        network: Optional[NetworkOpts] = None,
        security: Optional[Any] = None,
        lifecycle: Optional[Union[SandboxLifecycle, Mapping[str, Any]]] = None,
        volumes: Optional[Sequence[Any]] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
        *,
        snapshot_id: Optional[str] = None,
    ) -> _S:
        """As `Sandbox.create`."""
        if template is None and snapshot_id is None:
            template = cls.default_template
        sandbox = await wait_for(
            Sandbox.create, template, cls.default_sandbox_timeout if timeout is None else timeout,
            metadata, envs, vault_refs, secure, allow_internet_access, network, security, lifecycle, volumes, api_key, domain,
            request_timeout, snapshot_id=snapshot_id,
        )  # fmt: skip
        return cls(sandbox)

    @classmethod
    async def connect(
        cls: Type[_S],
        sandbox_id: str,
        timeout: Optional[int] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> _S:
        """As `Sandbox.connect`."""
        return cls(await call(Sandbox.connect, sandbox_id, timeout, api_key, domain, request_timeout))

    @staticmethod
    async def list(
        query: Optional[SandboxQuery] = None,
        limit: Optional[int] = None,
        next_token: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """As `Sandbox.list`."""
        return await call(Sandbox.list, query, limit, next_token, api_key, domain, request_timeout)

    @classmethod
    async def kill_by_id(
        cls,
        sandbox_id: str,
        *,
        wait: bool = False,
        connection_config: Optional[ConnectionConfig] = None,
        request_timeout: Optional[float] = None,
    ) -> bool:
        """As `Sandbox.kill_by_id`."""
        return await call(
            Sandbox.kill_by_id, sandbox_id, wait=wait, connection_config=connection_config, request_timeout=request_timeout
        )

    @classmethod
    async def kill_many(
        cls,
        sandbox_ids: Sequence[str],
        *,
        wait: bool = False,
        connection_config: Optional[ConnectionConfig] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """As `Sandbox.kill_many`."""
        return await call(
            Sandbox.kill_many, sandbox_ids, wait=wait, connection_config=connection_config, request_timeout=request_timeout
        )

    @classmethod
    async def restore(
        cls: Type[_S],
        sandbox_id: str,
        *,
        snapshot_id: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> _S:
        """As `Sandbox.restore`."""
        sandbox = await wait_for(
            Sandbox.restore, sandbox_id, snapshot_id=snapshot_id, api_key=api_key, domain=domain,
            request_timeout=request_timeout,
        )  # fmt: skip
        return cls(sandbox)

    @property
    def commands(self) -> AsyncCommands:
        """Commands."""
        return self._commands

    @property
    def files(self) -> AsyncFilesystem:
        """Files."""
        return self._files

    @property
    def pty(self) -> AsyncPty:
        """Terminals."""
        return self._pty

    @property
    def stdio(self) -> AsyncStdio:
        """Programs that are spoken with in bytes."""
        return self._stdio

    @property
    def network(self) -> AsyncNetwork:
        """The network policy and its log. Not part of the published SDK."""
        return self._network

    async def kill(self, request_timeout: Optional[float] = None, *, wait: bool = False) -> bool:
        """As `Sandbox.kill`."""
        return await call(self._sync.kill, request_timeout, wait=wait)

    async def is_running(self, request_timeout: Optional[float] = None) -> bool:
        """As `Sandbox.is_running`."""
        return await call(self._sync.is_running, request_timeout)

    async def set_timeout(self, timeout: int, request_timeout: Optional[float] = None) -> None:
        """As `Sandbox.set_timeout`."""
        await call(self._sync.set_timeout, timeout, request_timeout)

    async def set_network(self, network: NetworkOpts, request_timeout: Optional[float] = None) -> None:
        """As `Sandbox.set_network`. Not part of the published SDK."""
        await call(self._sync.set_network, network, request_timeout)

    async def network_log(
        self, limit: int = 100, verdict: Optional[str] = None, request_timeout: Optional[float] = None
    ) -> List[Dict[str, Any]]:
        """As `Sandbox.network_log`. Not part of the published SDK."""
        return await call(self._sync.network_log, limit, verdict, request_timeout)

    async def get_info(self, request_timeout: Optional[float] = None) -> SandboxInfo:
        """As `Sandbox.get_info`."""
        return await call(self._sync.get_info, request_timeout)

    async def get_metrics(
        self, start: Optional[Time] = None, end: Optional[Time] = None, request_timeout: Optional[float] = None
    ) -> List[SandboxMetrics]:
        """As `Sandbox.get_metrics`."""
        return await call(self._sync.get_metrics, start, end, request_timeout)

    async def pause(self, request_timeout: Optional[float] = None) -> None:
        """As `Sandbox.pause`."""
        await wait_for(self._sync.pause, request_timeout)

    async def resume(self, request_timeout: Optional[float] = None) -> None:
        """As `Sandbox.resume`."""
        await wait_for(self._sync.resume, request_timeout)

    async def create_snapshot(self, request_timeout: Optional[float] = None) -> SnapshotInfo:
        """As `Sandbox.create_snapshot`."""
        return await wait_for(self._sync.create_snapshot, request_timeout)

    async def snapshot(self, request_timeout: Optional[float] = None) -> Snapshot:
        """As `Sandbox.snapshot`."""
        return await wait_for(self._sync.snapshot, request_timeout)

    async def list_snapshots(self, request_timeout: Optional[float] = None) -> List[Snapshot]:
        """As `Sandbox.list_snapshots`."""
        return await call(self._sync.list_snapshots, request_timeout)

    async def delete_snapshot(self, snapshot_id: str, request_timeout: Optional[float] = None) -> bool:
        """As `Sandbox.delete_snapshot`."""
        return await call(self._sync.delete_snapshot, snapshot_id, request_timeout)

    async def close(self) -> None:
        """Does nothing: connections belong to the process, and the sandbox lives on."""

    async def __aenter__(self: _S) -> _S:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
