# SPDX-License-Identifier: Apache-2.0
"""Ready-made sets of controls. A server may have none and answer NotFoundError."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional

from ._wire import expect, expect_list, parsed, segment
from .api.client import ApiClient, get_shared_client
from .api.lanes import call
from .connection_config import ConnectionConfig


def _texts(data: Mapping[str, Any], *names: str) -> Dict[str, str]:
    return {name: str(data.get(name) or "") for name in names}


@dataclass
class GovernanceControl:
    """A control that is enforced: by which gate and rule, and what to do when it strikes."""

    control: str
    gate: str = ""
    rule: str = ""
    playbook: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GovernanceControl":
        """From the JSON object of the wire."""
        return cls(**_texts(data, "control", "gate", "rule", "playbook"))


@dataclass
class GovernanceAdvisory:
    """A control that is not enforced, and why."""

    control: str
    reason: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GovernanceAdvisory":
        """From the JSON object of the wire."""
        return cls(**_texts(data, "control", "reason"))


@dataclass
class GovernancePack:
    """A set of controls. ``policy_ref`` goes into a `CustomPolicyConfig`."""

    name: str
    version: str = ""
    framework: str = ""
    description: str = ""
    policy_ref: str = ""
    gates: List[str] = field(default_factory=list)
    enforces: List[GovernanceControl] = field(default_factory=list)
    advisory: List[GovernanceAdvisory] = field(default_factory=list)
    seeded: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "GovernancePack":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        return cls(
            name=data["name"],
            **_texts(data, "version", "framework", "description", "policy_ref"),
            gates=list(data.get("gates") or []),
            enforces=[GovernanceControl.from_dict(c) for c in data.get("enforces") or []],
            advisory=[GovernanceAdvisory.from_dict(a) for a in data.get("advisory") or []],
            seeded=bool(data.get("seeded")),
        )


def _client(api_key: Optional[str], domain: Optional[str]) -> ApiClient:
    return get_shared_client(ConnectionConfig(api_key=api_key, domain=domain))


class GovernancePacks:
    """The packs of a server. The methods need no object."""

    @staticmethod
    def get(
        name: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> GovernancePack:
        """One, by name. Raises NotFoundError."""
        answer = _client(api_key, domain).get(f"/governance/packs/{segment(name)}", request_timeout=request_timeout)
        return parsed(GovernancePack.from_dict, answer)

    @staticmethod
    def list(
        api_key: Optional[str] = None, domain: Optional[str] = None, request_timeout: Optional[float] = None
    ) -> List[GovernancePack]:
        """All."""
        answer = _client(api_key, domain).get("/governance/packs", request_timeout=request_timeout)
        return [parsed(GovernancePack.from_dict, row) for row in expect_list(expect(answer, "packs")["packs"])]


class AsyncGovernancePacks:
    """As `GovernancePacks`, with coroutines. Keywords as there."""

    @staticmethod
    async def get(name: str, **options: Any) -> GovernancePack:
        """As `GovernancePacks.get`."""
        return await call(GovernancePacks.get, name, **options)

    @staticmethod
    async def list(**options: Any) -> List[GovernancePack]:
        """As `GovernancePacks.list`."""
        return await call(GovernancePacks.list, **options)
