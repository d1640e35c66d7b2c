# SPDX-License-Identifier: Apache-2.0
"""The security policy of a sandbox. A server may know only a part of it; it says so when the sandbox is made."""

import json
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from .._wire import plain
from ..sandbox.network import NetworkPolicy, SandboxNetworkOpts
from .audit import AuditConfig, EnvSecurityConfig
from .content import CodeSecurityConfig, ContentGateConfig, CustomPolicyConfig, InvisibleTextConfig, ToxicityConfig
from .injection import InjectionDefenseConfig, InjectionJudgeConfig
from .pii import PIIConfig
from .transform import TransformationRule

#: The policy that `full_injection_defense` names.
INJECTION_POLICY_REF = "prompt-injection@v3"

_PARTS: Dict[str, Callable[[Any], Any]] = {
    "pii": PIIConfig.from_dict,
    "injection_defense": lambda d: d if isinstance(d, bool) else InjectionDefenseConfig.from_dict(d),
    "transformations": lambda d: [TransformationRule.from_dict(rule) for rule in d],
    "network": NetworkPolicy.from_dict,
    "audit": lambda d: d if isinstance(d, bool) else AuditConfig.from_dict(d),
    "env_security": EnvSecurityConfig.from_dict,
    "toxicity": ToxicityConfig.from_dict,
    "code_security": CodeSecurityConfig.from_dict,
    "invisible_text": InvisibleTextConfig.from_dict,
    "content_gate": ContentGateConfig.from_dict,
    "custom_policy": CustomPolicyConfig.from_dict,
}


@dataclass
class SecurityPolicy:
    """What may pass, by content. For ``Sandbox.create(security=...)``.

    `injection_defense` and `audit` may be bare bools. `network` counts where ``create`` is given no network of its own.
    """

    pii: PIIConfig = field(default_factory=PIIConfig)
    injection_defense: Union[bool, InjectionDefenseConfig] = False
    transformations: List[TransformationRule] = field(default_factory=list)
    network: Optional[Union[SandboxNetworkOpts, Mapping[str, Any]]] = None
    audit: Union[bool, AuditConfig] = True
    env_security: EnvSecurityConfig = field(default_factory=EnvSecurityConfig)
    toxicity: Optional[ToxicityConfig] = None
    code_security: Optional[CodeSecurityConfig] = None
    invisible_text: Optional[InvisibleTextConfig] = None
    content_gate: Optional[ContentGateConfig] = None
    custom_policy: Optional[CustomPolicyConfig] = None

    @property
    def injection_config(self) -> InjectionDefenseConfig:
        """`injection_defense` as an object."""
        given = self.injection_defense
        return InjectionDefenseConfig(enabled=given) if isinstance(given, bool) else given

    @property
    def audit_config(self) -> AuditConfig:
        """`audit` as an object."""
        return AuditConfig(self.audit) if isinstance(self.audit, bool) else self.audit

    @property
    def requires_tls_interception(self) -> bool:
        """Whether a part of it looks into traffic, which for TLS means ending it on the way."""
        scanners = (self.toxicity, self.code_security, self.invisible_text)
        return bool(
            self.pii.enabled or self.injection_config.enabled or self.transformations or any(s and s.enabled for s in scanners)
        )

    @classmethod
    def full_injection_defense(
        cls,
        *,
        mode: str = "balanced",
        agent_policy: Optional[str] = None,
        action: str = "block",
        always_judge: bool = False,
        domains: Optional[List[str]] = None,
        threshold: float = 0.95,
    ) -> "SecurityPolicy":
        """Everything there is against injections: scanner, judge and the policy `INJECTION_POLICY_REF`.

        Args:
            mode: one of `declaw.security.injection.MODES`.
            agent_policy: for the judge: what the agent is allowed to do, in words.
            action: "block" or "log_only".
            always_judge: the judge sees everything, not only what is in doubt.
            domains: only towards these.
            threshold: 0 to 1.

        Raises:
            ValueError: an unknown word, or a threshold outside of 0 to 1.
        """
        judge = InjectionJudgeConfig(True, always_judge, agent_policy)
        return cls(
            injection_defense=InjectionDefenseConfig(True, action, "medium", threshold, domains, judge, mode),
            custom_policy=CustomPolicyConfig(True, policy_ref=INJECTION_POLICY_REF),
        )

    def to_dict(self) -> Dict[str, Any]:
        """The ``security`` object of the wire; of `network` only what was given."""
        out: Dict[str, Any] = {
            "pii": self.pii.to_dict(),
            "injection_defense": self.injection_config.to_dict(),
            "transformations": [rule.to_dict() for rule in self.transformations],
            "audit": self.audit_config.to_dict(),
            "env_security": self.env_security.to_dict(),
        }
        for name in ("network", "toxicity", "code_security", "invisible_text", "content_gate", "custom_policy"):
            value = getattr(self, name)
            if value is not None:
                out[name] = plain(value)
        return out

    def to_json(self) -> str:
        """`to_dict` as text, indented by 2."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SecurityPolicy":
        """The opposite of `to_dict`; unknown keys are ignored, None means the default.

        Raises:
            ValueError: a value that the server could not have meant.
        """
        return cls(**{name: make(data[name]) for name, make in _PARTS.items() if data.get(name) is not None})
