# SPDX-License-Identifier: Apache-2.0
"""The blocking `Sandbox`."""

import uuid
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type, TypeVar, Union

from .._wire import Time, expect, expect_list, parsed, plain, present, sandbox_path, time_text
from ..api.client import ApiClient, get_shared_client
from ..connection_config import ConnectionConfig
from ..sandbox.base import NetworkOpts, SandboxBase, create_body, killed, list_params
from ..sandbox.models import SandboxInfo, SandboxLifecycle, SandboxMetrics, SandboxQuery
from .commands import Commands
from .filesystem import Filesystem
from .network import Network as NetworkApi
from .pty import Pty
from .snapshots import SnapshotCalls
from .stdio import Stdio

_S = TypeVar("_S", bound="Sandbox")


class Sandbox(SnapshotCalls, SandboxBase):
    """A running sandbox. Made by `create` or `connect`; leaving a ``with`` block does not kill it.

    Every call takes ``request_timeout``: seconds to wait for the connection and for each part of the answer, None (the
    default) without end. Class and static methods take ``api_key`` and ``domain``, see `ConnectionConfig`.

    Every call may raise AuthenticationError (the key), TimeoutError (the server cannot be reached, or is too slow),
    RateLimitError, and SandboxError, the base of all of them.
    """

    def __init__(self, client: ApiClient, data: Mapping[str, Any]) -> None:
        """For `create` and `connect`: `data` is the server's object of the sandbox."""
        super().__init__(client.config, data)
        self._client = client
        self._commands = Commands(client, self._sandbox_id, self._base)
        self._files = Filesystem(client, self._sandbox_id, self._base)
        self._pty = Pty(client, self._sandbox_id, self._base)
        self._stdio = Stdio(client, self._sandbox_id, self._base)
        self._network = NetworkApi(client, self._sandbox_id, self._base)

    @classmethod
    def create(
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
        """Starts a sandbox and returns when it is usable.

        Args:
            template: id or alias; default "base".
            timeout: seconds until its deadline, see `lifecycle`; default 300; 0: none.
            metadata: strings to find it by, see `list`.
            envs: environment of every command.
            vault_refs: environment name to ``vault://team/env/name``; `expand_vault_refs` makes these of bare names.
            secure: False leaves the content-inspecting proxy out.
            allow_internet_access: False closes all of the network, whatever `network` says (as in the published SDK; its
                documentation has it the other way round, and of two readings this is the closed one).
            network: a `SandboxNetworkOpts`, a `NetworkPolicy`, or a dict such as ``{"allow_out": ["api.github.com"]}``,
                which is sent as it is.
            security: the security policy, a dict or an object with ``to_dict()``. Its ``network`` counts where
                `network` is not given.
            lifecycle: a `SandboxLifecycle` or a dict: what happens at the deadline; default: it is killed.
            volumes: `VolumeAttachment` objects (see `Volume.attach`) or dicts ``{"volume_id", "mount_path", ...}``.
            snapshot_id: its disk starts with the files of this snapshot, whose template it has; `template` is not needed
                then, and refused when it is another one.

        Returns:
            the running sandbox.

        Raises:
            InvalidArgumentError: the server refuses an argument, for example a network entry; the message names it.
            NotFoundError: no such template or snapshot.
            ConflictError: the template is still being made.
            ValueError: an argument cannot be sent.
        """
        body = create_body(
            template or cls.default_template, cls.default_sandbox_timeout if timeout is None else timeout, metadata, envs,
            vault_refs, secure, allow_internet_access, network, security, lifecycle, volumes,
        )  # fmt: skip
        if snapshot_id is not None:
            body["snapshot_id"] = snapshot_id
            if template is None:
                del body["template"]
        client = _client(api_key, domain)
        # The same key on every attempt, so that a repeated request cannot start a second sandbox.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = client.post("/sandboxes", json=body, headers=headers, request_timeout=request_timeout)
        return cls(client, expect(answer, "sandbox_id"))

    @classmethod
    def connect(
        cls: Type[_S],
        sandbox_id: str,
        timeout: Optional[int] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> _S:
        """The object for a sandbox that exists.

        Args:
            timeout: seconds from now until it is killed; None leaves its deadline alone.

        Raises:
            NotFoundError: no such sandbox.
        """
        client = _client(api_key, domain)
        query = None if timeout is None else {"timeout": timeout}
        answer = client.get(sandbox_path(sandbox_id), query=query, request_timeout=request_timeout, sandbox_id=sandbox_id)
        return cls(client, expect(answer, "sandbox_id", sandbox_id))

    @staticmethod
    def list(
        query: Optional[SandboxQuery] = None,
        limit: Optional[int] = None,
        next_token: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """A page of the sandboxes, killed ones only where `query` asks for them.

        Args:
            limit: how many at most.
            next_token: of the page before.

        Returns:
            the server's answer, ``{"sandboxes": [...], "next_token": str or None, "total": int}``.
        """
        params = list_params(query, limit, next_token)
        answer: Dict[str, Any] = _client(api_key, domain).get("/sandboxes", query=params, request_timeout=request_timeout)
        return answer

    @classmethod
    def kill_by_id(
        cls,
        sandbox_id: str,
        *,
        wait: bool = False,
        connection_config: Optional[ConnectionConfig] = None,
        request_timeout: Optional[float] = None,
    ) -> bool:
        """As `kill`, for a sandbox of which only the id is known."""
        return _kill(get_shared_client(connection_config), sandbox_id, wait, request_timeout)

    @classmethod
    def kill_many(
        cls,
        sandbox_ids: Sequence[str],
        *,
        wait: bool = False,
        connection_config: Optional[ConnectionConfig] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Kills several. No ids, no request.

        Returns:
            per id ``{"queued": True}``, ``{"killed": True}`` or ``{"error": text}``.
        """
        if not sandbox_ids:
            return {}
        answer = get_shared_client(connection_config).post(
            "/sandboxes/kill-many",
            query=None if wait else {"async": "true"},
            json={"sandbox_ids": [*sandbox_ids]},
            request_timeout=request_timeout,
        )
        results: Dict[str, Any] = expect(answer, "results")["results"]
        return results

    @classmethod
    def restore(
        cls: Type[_S],
        sandbox_id: str,
        *,
        snapshot_id: Optional[str] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> _S:
        """Takes a sandbox, killed or not, back to a snapshot, under its id.

        Args:
            snapshot_id: default: the newest that pausing made, else the newest of others.

        Returns:
            the running sandbox.

        Raises:
            NotFoundError: no such sandbox or snapshot.
        """
        client = _client(api_key, domain)
        options: Dict[str, Any] = {"request_timeout": request_timeout, "sandbox_id": sandbox_id}
        client.post(
            f"{sandbox_path(sandbox_id)}/restore", query=present(snapshot_id=snapshot_id), repeatable=False, **options
        )
        return cls(client, expect(client.get(sandbox_path(sandbox_id), **options), "sandbox_id", sandbox_id))

    @property
    def commands(self) -> Commands:
        """Commands."""
        return self._commands

    @property
    def files(self) -> Filesystem:
        """Files."""
        return self._files

    @property
    def pty(self) -> Pty:
        """Terminals."""
        return self._pty

    @property
    def stdio(self) -> Stdio:
        """Programs that are spoken with in bytes."""
        return self._stdio

    @property
    def network(self) -> NetworkApi:
        """The network policy and its log. Not part of the published SDK."""
        return self._network

    def kill(self, request_timeout: Optional[float] = None, *, wait: bool = False) -> bool:
        """Ends it and everything in it.

        Args:
            wait: return only after nothing of it is left. Otherwise the server does that on its own.

        Returns:
            True when it is being killed, or was.

        Raises:
            NotFoundError: no such sandbox.
        """
        return _kill(self._client, self._sandbox_id, wait, request_timeout)

    def is_running(self, request_timeout: Optional[float] = None) -> bool:
        """Whether it runs now. Raises NotFoundError where the server does not know it."""
        answer = self._client.get(
            f"{self._base}/status", request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )
        return bool(expect(answer, "is_running", self._sandbox_id)["is_running"])

    def set_timeout(self, timeout: int, request_timeout: Optional[float] = None) -> None:
        """Sets its deadline to `timeout` seconds from now. Raises NotFoundError, InvalidArgumentError."""
        self._client.patch(
            f"{self._base}/timeout", json={"timeout": timeout}, request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )

    def set_network(self, network: NetworkOpts, request_timeout: Optional[float] = None) -> None:
        """Replaces its whole network policy. Not part of the published SDK.

        When it returns, the new policy is in force and connections that it denies have been reset.

        Args:
            network: as for `create`: a dict with ``allow_out`` and ``deny_out``, or `SandboxNetworkOpts`.

        Raises:
            InvalidArgumentError: an entry cannot be honoured; the old policy stays.
            NotFoundError, SandboxError (410): there is no such sandbox, or it was killed.
        """
        self._network.set(plain(network), request_timeout=request_timeout)

    def get_info(self, request_timeout: Optional[float] = None) -> SandboxInfo:
        """What the server knows of it; a killed one is still known. Raises NotFoundError."""
        answer = self._client.get(self._base, request_timeout=request_timeout, sandbox_id=self._sandbox_id)
        return parsed(SandboxInfo.from_dict, answer, self._sandbox_id)

    def get_metrics(
        self, start: Optional[Time] = None, end: Optional[Time] = None, request_timeout: Optional[float] = None
    ) -> List[SandboxMetrics]:
        """What it used, oldest first.

        Args:
            start, end: only samples between these; datetimes, or RFC 3339 text.
        """
        answer = self._client.get(
            f"{self._base}/metrics", query=present(start=time_text(start), end=time_text(end)),
            request_timeout=request_timeout, sandbox_id=self._sandbox_id,
        )  # fmt: skip
        rows = expect_list(answer, self._sandbox_id)
        return [parsed(SandboxMetrics.from_dict, row, self._sandbox_id) for row in rows]

    def network_log(
        self, limit: int = 100, verdict: Optional[str] = None, request_timeout: Optional[float] = None
    ) -> List[Dict[str, Any]]:
        """The latest decisions about its traffic, oldest first; `network.log` has more filters and pages.

        Not part of the published SDK.

        Args:
            limit: how many at most.
            verdict: only those with this verdict, "allow" or "deny".

        Returns:
            one dict per decision, as the server gives it: ``verdict``, ``reason``, ``rule``, ``message``, ...

        Raises:
            NotFoundError: no such sandbox.
        """
        decisions: List[Dict[str, Any]] = self._network.log(limit, verdict=verdict, request_timeout=request_timeout)[
            "decisions"
        ]
        return decisions[::-1]

    def close(self) -> None:
        """Does nothing: connections belong to the process, and the sandbox lives on."""

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _client(api_key: Optional[str], domain: Optional[str]) -> ApiClient:
    return get_shared_client(ConnectionConfig(api_key=api_key, domain=domain))


def _kill(client: ApiClient, sandbox_id: str, wait: bool, request_timeout: Optional[float]) -> bool:
    query = None if wait else {"async": "true"}
    answer = client.delete(sandbox_path(sandbox_id), query=query, request_timeout=request_timeout, sandbox_id=sandbox_id)
    return killed(answer, wait)
