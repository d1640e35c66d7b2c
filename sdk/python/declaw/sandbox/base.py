# SPDX-License-Identifier: Apache-2.0
"""What every flavour of sandbox object has without asking the server, and the bodies of requests."""

import json
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, Sequence, Union
from urllib.parse import urlencode

from .._wire import plain, present, sandbox_path
from ..connection_config import ConnectionConfig
from .models import SandboxLifecycle, SandboxQuery
from .network import ALL_TRAFFIC, SandboxNetworkOpts

NetworkOpts = Union[SandboxNetworkOpts, Mapping[str, Any]]


def _security(security: Any) -> Dict[str, Any]:
    wire = plain(security)
    if not isinstance(wire, Mapping):
        raise ValueError("security is a mapping or an object with to_dict()")
    return dict(wire)


def create_body(
    template: str,
    timeout: int,
    metadata: Optional[Dict[str, str]],
    envs: Optional[Dict[str, str]],
    vault_refs: Optional[Dict[str, str]],
    secure: bool,
    allow_internet_access: bool,
    network: Optional[NetworkOpts],
    security: Optional[Any],
    lifecycle: Optional[Union[SandboxLifecycle, Mapping[str, Any]]],
    volumes: Optional[Sequence[Any]],
) -> Dict[str, Any]:
    """The request of ``create``. Raises ValueError for what cannot be sent."""
    if vault_refs and not all(ref.startswith("vault://") for ref in vault_refs.values()):
        raise ValueError("vault_refs are written in full, as vault://team/env/name: see expand_vault_refs")
    body: Dict[str, Any] = {"template": template, "timeout": timeout, "secure": secure}
    optional = {"metadata": metadata, "envs": envs, "vault_refs": vault_refs}
    body.update((k, v) for k, v in optional.items() if v)
    if security is not None:
        policy = _security(security)
        body["security"] = {"policy_json": json.dumps(policy)}
        network = policy.get("network") if network is None else network
    if not allow_internet_access:
        network = {"deny_out": [ALL_TRAFFIC]}
    if network is not None:
        body["network"] = plain(network)
    if lifecycle is not None:
        body["lifecycle"] = plain(lifecycle)
    if volumes:
        body["volumes"] = [plain(v) for v in volumes]
    return body


def list_params(query: Optional[SandboxQuery], limit: Optional[int], next_token: Optional[str]) -> Dict[str, Any]:
    """The parameters of ``list``."""
    params = present(limit=limit, next_token=next_token)
    if query is not None and query.state:
        params["state"] = [str(state) for state in query.state]
    if query is not None and query.metadata:
        params["metadata"] = json.dumps(query.metadata)
    return params


def killed(answer: Any, wait: bool) -> bool:
    """What the answer to a kill says."""
    fields = answer if isinstance(answer, dict) else {}
    # Without the key: in the asynchronous form the 2xx itself says "queued"; in the waiting form nothing was said.
    return bool(fields.get("killed", False) if wait else fields.get("queued", True))


class SandboxBase:
    """Parent of `Sandbox` and `AsyncSandbox`."""

    #: Where the template ``mcp-server`` listens.
    mcp_port = 50005
    #: Seconds.
    default_sandbox_timeout = 300
    default_template = "base"

    def __init__(self, config: ConnectionConfig, data: Mapping[str, Any]) -> None:
        """For subclasses: `data` is the server's object of the sandbox."""
        self._config = config
        self._sandbox_id: str = data["sandbox_id"]
        self._sandbox_domain: str = data.get("sandbox_domain") or config.domain or ""
        self._traffic_access_token: Optional[str] = data.get("traffic_access_token")
        self._base = sandbox_path(self._sandbox_id)

    @property
    def connection_config(self) -> ConnectionConfig:
        """A copy of the configuration in use."""
        return replace(self._config)

    @property
    def sandbox_id(self) -> str:
        """The server's name for it."""
        return self._sandbox_id

    @property
    def sandbox_domain(self) -> str:
        """The domain the server gives; the one it was reached by where it gives none."""
        return self._sandbox_domain

    @property
    def traffic_access_token(self) -> Optional[str]:
        """As the server gave it when the sandbox was made, else None. This package sends it nowhere."""
        return self._traffic_access_token

    @property
    def envd_api_url(self) -> str:
        """The URL below which the calls about this sandbox stand."""
        return f"{self._url}{self._base}"

    @property
    def _url(self) -> str:
        return (self._config.api_url or "").rstrip("/")

    def get_host(self, port: int) -> str:
        """The URL, without a slash at its end, that leads to a port inside; requests need the API key. Makes no request.

        Raises:
            ValueError: not 1 to 65535.
        """
        if not 0 < port < 65536:
            raise ValueError(f"port {port} is not in 1 to 65535")
        return f"{self.envd_api_url}/ports/{port}"

    def get_mcp_url(self) -> str:
        """The URL of its MCP server, where it has one (template ``mcp-server``). Makes no request."""
        return f"{self.get_host(self.mcp_port)}/mcp"

    def download_url(self, path: str, user: Optional[str] = None) -> str:
        """The URL from which the file can be fetched with GET and the API key. Makes no request.

        Args:
            path: absolute inside the sandbox.
            user: whose permissions count; default: the server's.
        """
        return f"{self.envd_api_url}/files/raw?{urlencode(present(path=path, username=user))}"

    def upload_url(self, path: str, user: Optional[str] = None) -> str:
        """The URL to which the file can be sent with PUT and the API key. Arguments as `download_url`."""
        return self.download_url(path, user)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._sandbox_id}>"
