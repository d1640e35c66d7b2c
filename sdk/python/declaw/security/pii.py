# SPDX-License-Identifier: Apache-2.0
"""Settings for personal data in traffic."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Union

from ..sandbox.models import Word
from ._words import names, word


class PIIType(Word):
    """A kind of personal data."""

    SSN = "ssn"
    CREDIT_CARD = "credit_card"
    EMAIL = "email"
    PHONE = "phone"
    PERSON_NAME = "person_name"
    API_KEY = "api_key"
    ADDRESS = "address"
    IP_ADDRESS = "ip_address"


class RedactionAction(Word):
    """What happens to personal data that is found."""

    REDACT = "redact"
    BLOCK = "block"
    LOG_ONLY = "log_only"


@dataclass
class PIIConfig:
    """Personal data in traffic.

    Args:
        enabled: whether it is looked for.
        types: which; default: all.
        action: what happens to it.
        rehydrate_response: whether answers get back what requests were stripped of.
        domains: only towards these: exact names, ``*.suffix``, ``~regex``; None: all.

    Raises:
        ValueError: an unknown action or type.
    """

    enabled: bool = False
    types: List[Union[PIIType, str]] = field(default_factory=lambda: [*PIIType])
    action: Union[RedactionAction, str] = RedactionAction.REDACT
    rehydrate_response: bool = True
    domains: Optional[List[str]] = None

    def __post_init__(self) -> None:
        self.types = [word(PIIType, t, "types") for t in self.types]
        self.action = word(RedactionAction, self.action, "action")
        self.domains = names(self.domains, "domains")

    def to_dict(self) -> Dict[str, Any]:
        """The ``pii`` object of the wire."""
        out: Dict[str, Any] = {
            "enabled": self.enabled,
            "types": [str(t) for t in self.types],
            "action": str(self.action),
            "rehydrate_response": self.rehydrate_response,
        }
        if self.domains is not None:
            out["domains"] = list(self.domains)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PIIConfig":
        """The opposite of `to_dict`; unknown keys are ignored."""
        return cls(**{k: data[k] for k in ("enabled", "types", "action", "rehydrate_response", "domains") if k in data})
