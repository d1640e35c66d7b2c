# SPDX-License-Identifier: Apache-2.0
"""Accounts, as hosted servers have them. Amounts are in millionths of a dollar (micros). A self-hosted server may know none
of this and answer NotFoundError."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Type, TypeVar

from ._wire import Time, expect, expect_list, parsed, present, segment, time_text
from .api.client import ApiClient, get_shared_client
from .api.lanes import call
from .connection_config import ConnectionConfig

_M = TypeVar("_M", bound="_Model")


class _Model:
    """Known fields by name; everything the server said is in ``raw``."""

    @classmethod
    def from_dict(cls: Type[_M], data: Mapping[str, Any]) -> _M:
        """From the JSON object of the wire."""
        known = getattr(cls, "__dataclass_fields__")
        values = {k: data[k] for k in known if k != "raw" and data.get(k) is not None}
        return cls(**{**values, "raw": dict(data)})


@dataclass
class AccountInfo(_Model):
    """Who an account belongs to."""

    owner_id: str = ""
    email: str = ""
    tier: str = ""
    created_at: Optional[str] = None
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class WalletInfo(_Model):
    """What is left, in micros."""

    balance_micros: int = 0
    sandbox_free_micros: int = 0
    guardrails_free_micros: int = 0
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class UsageSummary(_Model):
    """What was used; the cost in micros."""

    compute: Dict[str, Any] = field(default_factory=dict)
    guardrails: Dict[str, Any] = field(default_factory=dict)
    total_cost_micros: int = 0
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class DailyUsage(_Model):
    """The costs of one day (``date`` is YYYY-MM-DD), in micros."""

    date: str = ""
    compute_cost_micros: int = 0
    guardrails_cost_micros: int = 0
    total_cost_micros: int = 0
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class DepositInfo(_Model):
    """A payment, in micros."""

    deposit_id: str = ""
    amount_micros: int = 0
    status: str = ""
    created_at: Optional[str] = None
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class AccountOverview(_Model):
    """All of it at a glance."""

    owner_id: str = ""
    tier: str = ""
    active_sandboxes: int = 0
    tier_limits: Dict[str, Any] = field(default_factory=dict)
    wallets: Dict[str, Any] = field(default_factory=dict)
    today: Dict[str, Any] = field(default_factory=dict)
    raw: Dict[str, Any] = field(default_factory=dict, repr=False)


def _inner(answer: Any, key: str) -> Any:
    """Servers wrap these objects, or do not."""
    return answer[key] if isinstance(answer, dict) and isinstance(answer.get(key), dict) else answer


class AccountClient:
    """The account that a key belongs to.

    Args:
        config: which server and key; default: those of the environment.
        owner_id: whose account; default: asked of the server (``/auth/me``) when first needed.
    """

    def __init__(
        self,
        config: Optional[ConnectionConfig] = None,
        owner_id: Optional[str] = None,
        *,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
    ) -> None:
        self._client: ApiClient = get_shared_client(config or ConnectionConfig(api_key=api_key, domain=domain))
        self._owner_id = owner_id

    def set_owner_id(self, owner_id: str) -> None:
        """Whose account the calls are about from now on."""
        self._owner_id = owner_id

    def _get(self, call: str, request_timeout: Optional[float], **query: Any) -> Any:
        if self._owner_id is None:
            me = self._client.get("/auth/me", request_timeout=request_timeout)
            self._owner_id = str(expect(me, "owner_id")["owner_id"])
        path = f"/accounts/{segment(self._owner_id, 'owner id')}{call}"
        return self._client.get(path, query=present(**query), request_timeout=request_timeout)

    def get_account(self, request_timeout: Optional[float] = None) -> AccountInfo:
        """Who it is. Raises NotFoundError, AuthenticationError (somebody else's)."""
        return parsed(AccountInfo.from_dict, _inner(self._get("", request_timeout), "account"))

    def get_wallet(self, request_timeout: Optional[float] = None) -> WalletInfo:
        """What is left."""
        return parsed(WalletInfo.from_dict, _inner(self._get("/wallet", request_timeout), "wallet"))

    def get_usage(
        self, start: Optional[Time] = None, end: Optional[Time] = None, request_timeout: Optional[float] = None
    ) -> UsageSummary:
        """What was used between two times (datetimes, or RFC 3339 text)."""
        answer = self._get("/usage", request_timeout, start=time_text(start), end=time_text(end))
        return parsed(UsageSummary.from_dict, answer)

    def get_daily_usage(self, request_timeout: Optional[float] = None) -> List[DailyUsage]:
        """Costs by day."""
        answer = self._get("/usage/daily", request_timeout)
        rows = expect_list(answer.get("days") if isinstance(answer, dict) else answer)
        return [parsed(DailyUsage.from_dict, row) for row in rows]

    def list_deposits(
        self, limit: Optional[int] = None, offset: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> List[DepositInfo]:
        """Payments, `limit` of them at most, after the first `offset`."""
        answer = self._get("/deposits", request_timeout, limit=limit, offset=offset)
        return [parsed(DepositInfo.from_dict, row) for row in expect_list(expect(answer, "deposits")["deposits"])]

    def get_overview(self, request_timeout: Optional[float] = None) -> AccountOverview:
        """All of it at a glance."""
        return parsed(AccountOverview.from_dict, self._get("/overview", request_timeout))


class AsyncAccountClient:
    """As `AccountClient`, with coroutines."""

    def __init__(
        self,
        config: Optional[ConnectionConfig] = None,
        owner_id: Optional[str] = None,
        *,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
    ) -> None:
        self._sync = AccountClient(config, owner_id, api_key=api_key, domain=domain)

    def set_owner_id(self, owner_id: str) -> None:
        """As `AccountClient.set_owner_id`; no coroutine."""
        self._sync.set_owner_id(owner_id)

    async def get_account(self, request_timeout: Optional[float] = None) -> AccountInfo:
        """As `AccountClient.get_account`."""
        return await call(self._sync.get_account, request_timeout)

    async def get_wallet(self, request_timeout: Optional[float] = None) -> WalletInfo:
        """As `AccountClient.get_wallet`."""
        return await call(self._sync.get_wallet, request_timeout)

    async def get_usage(
        self, start: Optional[Time] = None, end: Optional[Time] = None, request_timeout: Optional[float] = None
    ) -> UsageSummary:
        """As `AccountClient.get_usage`."""
        return await call(self._sync.get_usage, start, end, request_timeout)

    async def get_daily_usage(self, request_timeout: Optional[float] = None) -> List[DailyUsage]:
        """As `AccountClient.get_daily_usage`."""
        return await call(self._sync.get_daily_usage, request_timeout)

    async def list_deposits(
        self, limit: Optional[int] = None, offset: Optional[int] = None, request_timeout: Optional[float] = None
    ) -> List[DepositInfo]:
        """As `AccountClient.list_deposits`."""
        return await call(self._sync.list_deposits, limit, offset, request_timeout)

    async def get_overview(self, request_timeout: Optional[float] = None) -> AccountOverview:
        """As `AccountClient.get_overview`."""
        return await call(self._sync.get_overview, request_timeout)
