# SPDX-License-Identifier: Apache-2.0
"""Secrets that a sandbox uses without seeing them. A server may have no vault and answer NotFoundError."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ._wire import expect, expect_list, parsed, plain, present, segment
from .api.client import ApiClient, get_shared_client
from .api.lanes import call
from .connection_config import ConnectionConfig

_TEAM, _ENVIRONMENT = "default", "prod"


@dataclass
class VaultScope:
    """Where a secret is put into requests: to names that `domain_regex` matches, as `injection_type` says."""

    domain_regex: str
    injection_type: str = "header"
    header_name: Optional[str] = None
    value_prefix: Optional[str] = None
    basic_username: Optional[str] = None
    extra_headers: Optional[Dict[str, str]] = None
    query_params: Optional[Dict[str, str]] = None

    def to_dict(self) -> Dict[str, Any]:
        """The object of the wire; what is None is left out."""
        return present(**vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "VaultScope":
        """From the JSON object of the wire; unknown keys are ignored. Raises KeyError for what is not one."""
        return cls(**{"domain_regex": data["domain_regex"], **{k: data[k] for k in cls.__dataclass_fields__ if k in data}})


@dataclass
class VaultSecret:
    """What may be known of a secret: never its value. Times are as they came."""

    secret_id: str
    name: str = ""
    scopes: List[VaultScope] = field(default_factory=list)
    created_at: Optional[str] = None
    updated_at: Optional[str] = None
    rotated_at: Optional[str] = None
    rotation_interval_days: Optional[int] = None
    rotation_due: Any = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "VaultSecret":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        more = {k: data.get(k) for k in ("created_at", "updated_at", "rotated_at", "rotation_interval_days", "rotation_due")}
        scopes = [VaultScope.from_dict(scope) for scope in data.get("scopes") or []]
        return cls(data["secret_id"], data.get("name") or "", scopes, **more)


@dataclass
class VaultPreset:
    """A known provider's way of taking a key."""

    key: str
    name: str = ""
    category: str = ""
    key_hint: str = ""
    docs_url: str = ""
    scopes: List[VaultScope] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "VaultPreset":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        texts = {k: data.get(k) or "" for k in ("name", "category", "key_hint", "docs_url")}
        return cls(data["key"], **texts, scopes=[VaultScope.from_dict(scope) for scope in data.get("scopes") or []])


def _scopes(scopes: Optional[Sequence[Union[VaultScope, Mapping[str, Any]]]]) -> Optional[List[Any]]:
    return None if scopes is None else [plain(scope) for scope in scopes]


class VaultClient:
    """The secrets of the team ``default`` (the oldest of that name), which is made where there is none.

    Args:
        config: which server and key; default: those of the environment.
    """

    def __init__(
        self, config: Optional[ConnectionConfig] = None, *, api_key: Optional[str] = None, domain: Optional[str] = None
    ) -> None:
        self._client: ApiClient = get_shared_client(config or ConnectionConfig(api_key=api_key, domain=domain))
        self._team: Optional[str] = None

    def team_id(self, request_timeout: Optional[float] = None) -> str:
        """The team, made if need be, with its environment ``prod``. Asked once."""
        if self._team is None:
            options: Dict[str, Any] = {"request_timeout": request_timeout}
            teams = expect_list(expect(self._client.get("/teams", **options), "teams")["teams"])
            ours = sorted((t for t in teams if t.get("name") == _TEAM), key=lambda t: str(t.get("created_at") or ""))
            team = ours[0] if ours else self._client.post("/teams", json={"name": _TEAM}, repeatable=False, **options)
            team_id = str(expect(team, "team_id")["team_id"])
            path = f"/teams/{segment(team_id)}/environments"
            environments = expect_list(expect(self._client.get(path, **options), "environments")["environments"])
            if not any(e.get("name") == _ENVIRONMENT for e in environments):
                self._client.post(path, json={"name": _ENVIRONMENT}, repeatable=False, **options)
            self._team = team_id
        return self._team

    def _secrets(self, request_timeout: Optional[float], secret_id: Optional[str] = None) -> str:
        tail = "" if secret_id is None else f"/{segment(secret_id)}"
        return f"/teams/{segment(self.team_id(request_timeout))}/vault/secrets{tail}"

    def create_secret(
        self,
        value: str,
        *,
        name: Optional[str] = None,
        provider: Optional[str] = None,
        scopes: Optional[Sequence[Union[VaultScope, Mapping[str, Any]]]] = None,
        rotation_interval_days: Optional[int] = None,
        environment: str = _ENVIRONMENT,
        request_timeout: Optional[float] = None,
    ) -> VaultSecret:
        """Keeps a secret.

        Args:
            name: for ``vault://team/environment/name``.
            provider: the key of a preset, see `list_presets`, which brings its scopes.
            scopes: where it may go.
            rotation_interval_days: days after which it is due for another value.
        """
        body = {
            "environment": environment, "value": value,
            **present(name=name, provider=provider, scopes=_scopes(scopes), rotation_interval_days=rotation_interval_days),
        }  # fmt: skip
        answer = self._client.post(
            self._secrets(request_timeout), json=body, repeatable=False, request_timeout=request_timeout
        )
        return parsed(VaultSecret.from_dict, answer)

    def list_secrets(self, request_timeout: Optional[float] = None) -> List[VaultSecret]:
        """All, without their values."""
        answer = self._client.get(self._secrets(request_timeout), request_timeout=request_timeout)
        return [parsed(VaultSecret.from_dict, row) for row in expect_list(expect(answer, "secrets")["secrets"])]

    def rotate_secret(self, secret_id: str, value: str, request_timeout: Optional[float] = None) -> None:
        """Gives a secret another value. Raises NotFoundError."""
        path = f"{self._secrets(request_timeout, secret_id)}/rotate"
        self._client.post(path, json={"value": value}, request_timeout=request_timeout)

    def update_scopes(
        self,
        secret_id: str,
        scopes: Sequence[Union[VaultScope, Mapping[str, Any]]],
        request_timeout: Optional[float] = None,
    ) -> None:
        """Says anew where a secret may go. Raises NotFoundError."""
        path = f"{self._secrets(request_timeout, secret_id)}/scopes"
        self._client.post(path, json={"scopes": _scopes(scopes)}, request_timeout=request_timeout)

    def delete_secret(self, secret_id: str, request_timeout: Optional[float] = None) -> None:
        """Forgets a secret. Raises NotFoundError."""
        self._client.delete(self._secrets(request_timeout, secret_id), request_timeout=request_timeout)

    def list_presets(self, request_timeout: Optional[float] = None) -> List[VaultPreset]:
        """The providers that the server knows."""
        answer = self._client.get("/vault/presets", request_timeout=request_timeout)
        return [parsed(VaultPreset.from_dict, row) for row in expect_list(expect(answer, "presets")["presets"])]


def expand_vault_refs(refs: Mapping[str, str], client: Optional[VaultClient] = None) -> Dict[str, str]:
    """References written in full, for ``Sandbox.create(vault_refs=...)``.

    Args:
        refs: environment name to ``vault://team/environment/name`` or to a bare name, which means the team of `client` and
            its environment ``prod``. Without bare names no request is made.
    """
    if all(ref.startswith("vault://") for ref in refs.values()):
        return dict(refs)
    team = (client or VaultClient()).team_id()
    return {k: ref if ref.startswith("vault://") else f"vault://{team}/{_ENVIRONMENT}/{ref}" for k, ref in refs.items()}


class AsyncVaultClient:
    """As `VaultClient`, with coroutines."""

    def __init__(
        self, config: Optional[ConnectionConfig] = None, *, api_key: Optional[str] = None, domain: Optional[str] = None
    ) -> None:
        self._sync = VaultClient(config, api_key=api_key, domain=domain)

    @property
    def sync(self) -> VaultClient:
        """The blocking client underneath."""
        return self._sync

    async def team_id(self, request_timeout: Optional[float] = None) -> str:
        """As `VaultClient.team_id`."""
        return await call(self._sync.team_id, request_timeout)

    async def create_secret(self, value: str, **options: Any) -> VaultSecret:
        """As `VaultClient.create_secret`, whose keywords it takes."""
        return await call(self._sync.create_secret, value, **options)

    async def list_secrets(self, request_timeout: Optional[float] = None) -> List[VaultSecret]:
        """As `VaultClient.list_secrets`."""
        return await call(self._sync.list_secrets, request_timeout)

    async def rotate_secret(self, secret_id: str, value: str, request_timeout: Optional[float] = None) -> None:
        """As `VaultClient.rotate_secret`."""
        await call(self._sync.rotate_secret, secret_id, value, request_timeout)

    async def update_scopes(
        self,
        secret_id: str,
        scopes: Sequence[Union[VaultScope, Mapping[str, Any]]],
        request_timeout: Optional[float] = None,
    ) -> None:
        """As `VaultClient.update_scopes`."""
        await call(self._sync.update_scopes, secret_id, scopes, request_timeout)

    async def delete_secret(self, secret_id: str, request_timeout: Optional[float] = None) -> None:
        """As `VaultClient.delete_secret`."""
        await call(self._sync.delete_secret, secret_id, request_timeout)

    async def list_presets(self, request_timeout: Optional[float] = None) -> List[VaultPreset]:
        """As `VaultClient.list_presets`."""
        return await call(self._sync.list_presets, request_timeout)


async def expand_vault_refs_async(refs: Mapping[str, str], client: Optional[AsyncVaultClient] = None) -> Dict[str, str]:
    """As `expand_vault_refs`."""
    return await call(expand_vault_refs, refs, client.sync if client is not None else None)
