# SPDX-License-Identifier: Apache-2.0
"""Settings and entries of the audit log, and environment variables that are not for it."""

from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Mapping, Optional, Union

from ..sandbox.models import parse_time

DEFAULT_MASK_PATTERNS = ("*_KEY", "*_SECRET", "*_TOKEN", "*_PASSWORD", "*_CREDENTIALS", "API_KEY", "SECRET_KEY")


@dataclass
class AuditConfig:
    """Whether network, commands and files are noted. The life of the sandbox always is."""

    enabled: bool = True

    def to_dict(self) -> Dict[str, Any]:
        """The ``audit`` object of the wire."""
        return {"enabled": self.enabled}

    @classmethod
    def from_dict(cls, data: Union[bool, Mapping[str, Any]]) -> "AuditConfig":
        """The opposite of `to_dict`; a bare bool is taken too."""
        return cls(data) if isinstance(data, bool) else cls(bool(data.get("enabled", True)))


@dataclass
class AuditEntry:
    """Something that was noted: when, of which sandbox, what (``egress_blocked``, say), and all that was said of it."""

    timestamp: Optional[datetime] = None
    event: str = ""
    category: str = ""
    sandbox_id: str = ""
    details: Dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AuditEntry":
        """From a JSON object. Fields without a place of their own go to `details`."""
        own = ("timestamp", "event", "category", "sandbox_id", "details")
        details = {**{k: v for k, v in data.items() if k not in own}, **(data.get("details") or {})}
        event, category, sandbox_id = (str(data.get(k) or "") for k in ("event", "category", "sandbox_id"))
        return cls(parse_time(data.get("timestamp")), event, category, sandbox_id, details)

    def to_dict(self) -> Dict[str, Any]:
        """As JSON types; the time in ISO 8601."""
        return {**vars(self), "timestamp": self.timestamp.isoformat() if self.timestamp else None}


@dataclass
class EnvSecurityConfig:
    """Which environment variables are secret, by patterns with ``*`` and ``?``; upper and lower case count alike."""

    mask_patterns: List[str] = field(default_factory=lambda: [*DEFAULT_MASK_PATTERNS])
    auto_mask_in_audit: bool = True

    def is_sensitive(self, key: str) -> bool:
        """Whether the variable of this name is secret."""
        return any(fnmatchcase(key.upper(), pattern.upper()) for pattern in self.mask_patterns)

    def to_dict(self) -> Dict[str, Any]:
        """The ``env_security`` object of the wire."""
        return {"mask_patterns": list(self.mask_patterns), "auto_mask_in_audit": self.auto_mask_in_audit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EnvSecurityConfig":
        """The opposite of `to_dict`; unknown keys are ignored."""
        return cls(**{k: data[k] for k in ("mask_patterns", "auto_mask_in_audit") if k in data})


@dataclass
class SecureEnvVar:
    """An environment variable that may be secret; its value is not in its repr then."""

    key: str
    value: str
    secret: bool = False

    def to_safe_dict(self) -> Dict[str, Any]:
        """For logs: a secret value is ``***``."""
        return {"key": self.key, "value": "***" if self.secret else self.value, "secret": self.secret}

    def __repr__(self) -> str:
        return "SecureEnvVar({key!r}, {value!r}, secret={secret})".format(**self.to_safe_dict())
