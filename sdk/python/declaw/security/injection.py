# SPDX-License-Identifier: Apache-2.0
"""Settings against instructions hidden in what a model reads."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Union

from .._wire import present
from ..sandbox.models import Word
from ._words import names, unit, word

MODES = ("strict", "balanced", "permissive", "agentic-tool", "data-egress-sensitive")


class InjectionAction(Word):
    """What happens when an injection is found."""

    LOG_ONLY = "log_only"
    BLOCK = "block"


class InjectionSensitivity(Word):
    """How readily something counts as an injection."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass
class InjectionJudgeConfig:
    """A second opinion by a language model: whether, whether always, and what the agent is allowed to do, in words."""

    enabled: bool = False
    always: bool = False
    policy: Optional[str] = None

    def to_dict(self) -> Dict[str, Any]:
        """The ``judge`` object of the wire."""
        return {"enabled": self.enabled, **({"always": True} if self.always else {}), **present(policy=self.policy)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "InjectionJudgeConfig":
        """The opposite of `to_dict`; unknown keys are ignored."""
        return cls(bool(data.get("enabled", False)), bool(data.get("always", False)), data.get("policy"))


@dataclass
class InjectionDefenseConfig:
    """Injections in traffic.

    Args:
        enabled: whether they are looked for.
        action: "log_only" (also under its older name "audit") or "block".
        sensitivity: "low", "medium" or "high".
        threshold: 0 to 1; what scores higher is an injection.
        domains: only towards these; an empty list scans nothing.
        judge: a second opinion.
        injection_mode: one of `MODES`.

    Raises:
        ValueError: an unknown word, or a threshold outside of 0 to 1.
    """

    enabled: bool = False
    action: Union[InjectionAction, str] = InjectionAction.LOG_ONLY
    sensitivity: Union[InjectionSensitivity, str] = InjectionSensitivity.MEDIUM
    threshold: float = 0.95
    domains: Optional[List[str]] = None
    judge: Optional[InjectionJudgeConfig] = None
    injection_mode: Optional[str] = None

    def __post_init__(self) -> None:
        self.action = word(InjectionAction, "log_only" if self.action == "audit" else self.action, "action")
        self.sensitivity = word(InjectionSensitivity, self.sensitivity, "sensitivity")
        unit(self.threshold, "threshold")
        self.domains = names(self.domains, "domains")
        if isinstance(self.judge, Mapping):
            self.judge = InjectionJudgeConfig.from_dict(self.judge)
        if self.injection_mode not in (None, *MODES):
            raise ValueError(f"injection_mode is one of {', '.join(MODES)}, not {self.injection_mode!r}")

    def to_dict(self) -> Dict[str, Any]:
        """The ``injection_defense`` object of the wire."""
        return {
            "enabled": self.enabled,
            "action": str(self.action),
            "sensitivity": str(self.sensitivity),
            "threshold": self.threshold,
            **present(
                domains=self.domains, judge=self.judge.to_dict() if self.judge else None, injection_mode=self.injection_mode
            ),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "InjectionDefenseConfig":
        """The opposite of `to_dict`; unknown keys are ignored."""
        keys = ("enabled", "action", "sensitivity", "threshold", "domains", "judge", "injection_mode")
        return cls(**{k: data[k] for k in keys if k in data})
