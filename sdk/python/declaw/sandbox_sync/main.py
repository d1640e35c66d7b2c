# SPDX-License-Identifier: Apache-2.0
"""The blocking `Sandbox`."""

import json
import uuid
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type, TypeVar, Union
from urllib.parse import quote

from ..api.client import ApiClient, get_shared_client
from ..connection_config import ConnectionConfig
from ..exceptions import SandboxError
from ..sandbox.models import SandboxInfo, SandboxLifecycle, SandboxQuery
from ..sandbox.network import ALL_TRAFFIC, SandboxNetworkOpts
from .commands import Commands
from .filesystem import Filesystem
from .network import Network as NetworkApi

Network = Union[SandboxNetworkOpts, Mapping[str, Any]]
_S = TypeVar("_S", bound="Sandbox")


def _path(sandbox_id: str) -> str:
    if not sandbox_id:
        raise ValueError("an empty sandbox id")  # would name the whole collection
    return f"/sandboxes/{quote(sandbox_id, safe='')}"


def _plain(value: Any) -> Any:
    """The wire form of a model or of what already has it."""
    return value.to_dict() if hasattr(value, "to_dict") else value


def _security(security: Any) -> Dict[str, Any]:
    wire = _plain(security)
    if not isinstance(wire, Mapping):
        raise ValueError("security is a mapping or an object with to_dict()")
    return dict(wire)


def _expect(answer: Any, key: str, sandbox_id: Optional[str] = None) -> Dict[str, Any]:
    if not isinstance(answer, dict) or key not in answer:
        raise SandboxError(f"the server's answer has no {key!r}: {answer!r}", sandbox_id=sandbox_id)
    return answer


def _query_params(query: Optional[SandboxQuery], limit: Optional[int], next_token: Optional[str]) -> Dict[str, Any]:
    params: Dict[str, Any] = {}
    if limit is not None:
        params["limit"] = limit
    if next_token is not None:
        params["next_token"] = next_token
    if query is not None and query.state:
        params["state"] = [str(state) for state in query.state]
    if query is not None and query.metadata:
        params["metadata"] = json.dumps(query.metadata)
    return params


class Sandbox:
    """A running sandbox. Made by `create` or `connect`; leaving a ``with`` block does not kill it.

    Every call takes ``request_timeout``: seconds to wait for the connection and for each part of the answer, None (the
    default) without end. Class and static methods take ``api_key`` and ``domain``, see `ConnectionConfig`.

    Every call may raise AuthenticationError (the key), TimeoutError (the server cannot be reached, or is too slow),
    RateLimitError, and SandboxError, the base of all of them.
    """

    default_sandbox_timeout = 300
    default_template = "base"

    def __init__(self, client: ApiClient, data: Mapping[str, Any]) -> None:
        """For `create` and `connect`: `data` is the server's object of the sandbox."""
        self._client = client
        self._sandbox_id: str = data["sandbox_id"]
        self._sandbox_domain: str = data.get("sandbox_domain") or client.config.domain or ""
        self._base = _path(self._sandbox_id)
        self._commands = Commands(client, self._sandbox_id, self._base)
        self._files = Filesystem(client, self._sandbox_id, self._base)
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
        network: Optional[Network] = None,
        security: Optional[Any] = None,
        lifecycle: Optional[Union[SandboxLifecycle, Mapping[str, Any]]] = None,
        volumes: Optional[Sequence[Any]] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> _S:
        """Starts a sandbox and returns when it is usable.

        Args:
            template: id or alias; default "base".
            timeout: seconds until it is killed; default 300.
            metadata: strings to find it by, see `list`.
            envs: environment of every command.
            vault_refs: environment name to ``vault://team/env/name``.
            secure: False leaves the content-inspecting proxy out.
            allow_internet_access: False closes all of the network, whatever `network` says.
            network: a `SandboxNetworkOpts`, a `NetworkPolicy`, or a dict such as ``{"allow_out": ["api.github.com"]}``,
                which is sent as it is.
            security: the security policy, a dict or an object with ``to_dict()``. Its ``network`` counts where
                `network` is not given.
            lifecycle: a `SandboxLifecycle` or a dict.
            volumes: attachments, dicts ``{"volume_id", "mount_path", ...}``.

        Returns:
            the running sandbox.

        Raises:
            InvalidArgumentError: the server refuses an argument, for example a network entry; the message names it.
            NotFoundError: no such template.
            ConflictError: the template is still being made.
            ValueError: an argument cannot be sent.
        """
        body: Dict[str, Any] = {
            "template": template or cls.default_template,
            "timeout": cls.default_sandbox_timeout if timeout is None else timeout,
            "secure": secure,
        }
        if vault_refs and not all(ref.startswith("vault://") for ref in vault_refs.values()):
            raise ValueError("vault_refs are written in full, as vault://team/env/name")
        optional = {"metadata": metadata, "envs": envs, "vault_refs": vault_refs}
        body.update((k, v) for k, v in optional.items() if v)
        if security is not None:
            policy = _security(security)
            body["security"] = {"policy_json": json.dumps(policy)}
            network = policy.get("network") if network is None else network
        if not allow_internet_access:
            network = {"deny_out": [ALL_TRAFFIC]}
        if network is not None:
            body["network"] = _plain(network)
        if lifecycle is not None:
            body["lifecycle"] = _plain(lifecycle)
        if volumes:
            body["volumes"] = [_plain(v) for v in volumes]
        client = _client(api_key, domain)
        # The same key on every attempt, so that a repeated request cannot start a second sandbox.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = client.post("/sandboxes", json=body, headers=headers, request_timeout=request_timeout)
        return cls(client, _expect(answer, "sandbox_id"))

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
        answer = client.get(_path(sandbox_id), query=query, request_timeout=request_timeout, sandbox_id=sandbox_id)
        return cls(client, _expect(answer, "sandbox_id", sandbox_id))

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
        params = _query_params(query, limit, next_token)
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
        results: Dict[str, Any] = _expect(answer, "results")["results"]
        return results

    @property
    def sandbox_id(self) -> str:
        """The server's name for it."""
        return self._sandbox_id

    @property
    def sandbox_domain(self) -> str:
        """The domain the server gives; the one it was reached by where it gives none."""
        return self._sandbox_domain

    @property
    def connection_config(self) -> ConnectionConfig:
        """A copy of the configuration in use."""
        return replace(self._client.config)

    @property
    def commands(self) -> Commands:
        """Commands."""
        return self._commands

    @property
    def files(self) -> Filesystem:
        """Files."""
        return self._files

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
        return bool(_expect(answer, "is_running", self._sandbox_id)["is_running"])

    def set_timeout(self, timeout: int, request_timeout: Optional[float] = None) -> None:
        """Sets its deadline to `timeout` seconds from now. Raises NotFoundError, InvalidArgumentError."""
        self._client.patch(
            f"{self._base}/timeout", json={"timeout": timeout}, request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )

    def set_network(self, network: Network, request_timeout: Optional[float] = None) -> None:
        """Replaces its whole network policy. Not part of the published SDK.

        When it returns, the new policy is in force and connections that it denies have been reset.

        Args:
            network: as for `create`: a dict with ``allow_out`` and ``deny_out``, or `SandboxNetworkOpts`.

        Raises:
            InvalidArgumentError: an entry cannot be honoured; the old policy stays.
            NotFoundError, SandboxError (410): there is no such sandbox, or it was killed.
        """
        self._network.set(_plain(network), request_timeout=request_timeout)

    def get_info(self, request_timeout: Optional[float] = None) -> SandboxInfo:
        """What the server knows of it; a killed one is still known. Raises NotFoundError."""
        answer = self._client.get(self._base, request_timeout=request_timeout, sandbox_id=self._sandbox_id)
        return SandboxInfo.from_dict(_expect(answer, "template_id", self._sandbox_id))

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

    def __repr__(self) -> str:
        return f"<Sandbox {self._sandbox_id}>"


def _client(api_key: Optional[str], domain: Optional[str]) -> ApiClient:
    return get_shared_client(ConnectionConfig(api_key=api_key, domain=domain))


def _kill(client: ApiClient, sandbox_id: str, wait: bool, request_timeout: Optional[float]) -> bool:
    query = None if wait else {"async": "true"}
    answer = client.delete(_path(sandbox_id), query=query, request_timeout=request_timeout, sandbox_id=sandbox_id)
    fields = answer if isinstance(answer, dict) else {}
    # Without the key: in the asynchronous form the 2xx itself says "queued"; in the waiting form nothing was said.
    return bool(fields.get("killed", False) if wait else fields.get("queued", True))
