# SPDX-License-Identifier: Apache-2.0
"""Security policies: what may pass, by content."""

from .audit import DEFAULT_MASK_PATTERNS, AuditConfig, AuditEntry, EnvSecurityConfig, SecureEnvVar
from .content import CodeSecurityConfig, ContentGateConfig, CustomPolicyConfig, InvisibleTextConfig, ToxicityConfig
from .guardrails import GuardrailsClient, PIIHandler
from .injection import InjectionAction, InjectionDefenseConfig, InjectionJudgeConfig, InjectionSensitivity
from .pii import PIIConfig, PIIType, RedactionAction
from .policy import SecurityPolicy
from .transform import TransformationRule, TransformDirection

__all__ = [
    "AuditConfig", "AuditEntry", "CodeSecurityConfig", "ContentGateConfig", "CustomPolicyConfig", "DEFAULT_MASK_PATTERNS",
    "EnvSecurityConfig", "GuardrailsClient", "InjectionAction", "InjectionDefenseConfig", "InjectionJudgeConfig",
    "InjectionSensitivity", "InvisibleTextConfig", "PIIConfig", "PIIHandler", "PIIType", "RedactionAction", "SecureEnvVar",
    "SecurityPolicy", "ToxicityConfig", "TransformDirection", "TransformationRule",
]  # fmt: skip
