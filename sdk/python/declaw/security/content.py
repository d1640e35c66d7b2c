# SPDX-License-Identifier: Apache-2.0
"""Settings about what may be said and written."""

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Mapping, Optional, Tuple, Type, TypeVar

from ._words import names, unit

_C = TypeVar("_C", bound="_Checked")


class _Checked:
    """Actions, thresholds and lists checked alike; fields that are None stay off the wire."""

    _actions: ClassVar[Tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        fields = vars(self)
        if self._actions and fields["action"] not in self._actions:
            raise ValueError(f"action is one of {', '.join(self._actions)}, not {fields['action']!r}")
        if "threshold" in fields:
            unit(fields["threshold"], "threshold")
        for name in ("domains", "excluded_languages"):
            if name in fields:
                setattr(self, name, names(fields[name], name))

    def to_dict(self) -> Dict[str, Any]:
        """The object of the wire."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_dict(cls: Type[_C], data: Mapping[str, Any]) -> _C:
        """The opposite of `to_dict`; unknown keys are ignored."""
        known = getattr(cls, "__dataclass_fields__")
        return cls(**{name: data[name] for name in known if name in data})


@dataclass
class ToxicityConfig(_Checked):
    """Toxic text: what scores above `threshold` (0 to 1) is blocked, or only noted ("log_only")."""

    enabled: bool = False
    threshold: float = 0.9
    action: str = "block"
    domains: Optional[List[str]] = None
    _actions: ClassVar[Tuple[str, ...]] = ("block", "log_only")


@dataclass
class CodeSecurityConfig(_Checked):
    """Dangerous code: what scores above `threshold` (0 to 1) is noted ("log_only") or blocked."""

    enabled: bool = False
    threshold: float = 0.6
    excluded_languages: Optional[List[str]] = None
    action: str = "log_only"
    domains: Optional[List[str]] = None
    _actions: ClassVar[Tuple[str, ...]] = ("log_only", "block")


@dataclass
class InvisibleTextConfig(_Checked):
    """Characters that nobody sees: stripped, blocked, or only noted."""

    enabled: bool = False
    action: str = "strip"
    domains: Optional[List[str]] = None
    _actions: ClassVar[Tuple[str, ...]] = ("strip", "block", "log_only")


@dataclass
class ContentGateConfig(_Checked):
    """Whether content is judged at all, and towards which names."""

    enabled: bool = False
    domains: Optional[List[str]] = None


@dataclass
class CustomPolicyConfig(_Checked):
    """A policy in Rego: written here (`inline_rego`, or `inline_modules` by name), or named (`policy_ref`: ``name@version``,
    ``sha256:...``, ``blob:...``). `default_deny`: what it does not speak of is refused."""

    enabled: bool = False
    inline_rego: Optional[str] = None
    inline_modules: Optional[Dict[str, str]] = None
    policy_ref: Optional[str] = None
    default_deny: bool = False
