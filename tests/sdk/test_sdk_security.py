# SPDX-License-Identifier: Apache-2.0
"""Security policies: what goes on the wire, what comes back, what is refused."""

import json
import time
from typing import Any, List

import pytest
from sdk_stub import Stub, reply

from declaw import (
    AuditConfig,
    AuditEntry,
    CodeSecurityConfig,
    ContentGateConfig,
    CustomPolicyConfig,
    EnvSecurityConfig,
    GuardrailsClient,
    InjectionAction,
    InjectionDefenseConfig,
    InjectionJudgeConfig,
    InjectionSensitivity,
    InvisibleTextConfig,
    NetworkPolicy,
    PIIConfig,
    PIIHandler,
    PIIType,
    RedactionAction,
    Sandbox,
    SandboxException,
    SecureEnvVar,
    SecurityPolicy,
    ToxicityConfig,
    TransformationRule,
    TransformDirection,
)

TYPES = ["ssn", "credit_card", "email", "phone", "person_name", "api_key", "address", "ip_address"]
MASKS = ["*_KEY", "*_SECRET", "*_TOKEN", "*_PASSWORD", "*_CREDENTIALS", "API_KEY", "SECRET_KEY"]
DEFAULT = {
    "pii": {"enabled": False, "types": TYPES, "action": "redact", "rehydrate_response": True},
    "injection_defense": {"enabled": False, "action": "log_only", "sensitivity": "medium", "threshold": 0.95},
    "transformations": [],
    "audit": {"enabled": True},
    "env_security": {"mask_patterns": MASKS, "auto_mask_in_audit": True},
}
FULL = SecurityPolicy(
    pii=PIIConfig(True, [PIIType.SSN, "email"], RedactionAction.BLOCK, False, ["a.test"]),
    injection_defense=InjectionDefenseConfig(
        True, "block", "high", 0.5, [], InjectionJudgeConfig(True, True, "be nice"), "strict"
    ),
    transformations=[TransformationRule("a", "b"), TransformationRule("c", "d", "both")],
    network=NetworkPolicy(["a.test"], allow_public_traffic=False),
    audit=AuditConfig(False),
    env_security=EnvSecurityConfig(["X*"], False),
    toxicity=ToxicityConfig(True, 0.1, "log_only", ["a.test"]),
    code_security=CodeSecurityConfig(True, 0.2, ["python"], "block"),
    invisible_text=InvisibleTextConfig(True, "block"),
    content_gate=ContentGateConfig(True, ["*.test"]),
    custom_policy=CustomPolicyConfig(True, "package x", {"m": "r"}, "name@v1", True),
)


def test_defaults() -> None:
    policy = SecurityPolicy()
    assert policy.to_dict() == DEFAULT
    assert json.loads(policy.to_json()) == DEFAULT and policy.to_json().startswith('{\n  "pii"')
    assert SecurityPolicy.from_dict({}).to_dict() == DEFAULT
    assert not policy.requires_tls_interception and not policy.injection_config.enabled and policy.audit_config.enabled


def test_everything_there_and_back() -> None:
    wire = FULL.to_dict()
    assert wire["network"] == {"allow_out": ["a.test"], "allow_public_traffic": False}
    assert wire["injection_defense"] == {
        "enabled": True, "action": "block", "sensitivity": "high", "threshold": 0.5, "domains": [],
        "judge": {"enabled": True, "always": True, "policy": "be nice"}, "injection_mode": "strict",
    }  # fmt: skip
    assert wire["transformations"][1] == {"match": "c", "replace": "d", "direction": "both"}
    assert wire["code_security"] == {"enabled": True, "threshold": 0.2, "excluded_languages": ["python"], "action": "block"}
    assert wire["custom_policy"] == {
        "enabled": True, "inline_rego": "package x", "inline_modules": {"m": "r"}, "policy_ref": "name@v1", "default_deny": True
    }  # fmt: skip
    back = SecurityPolicy.from_dict({**json.loads(FULL.to_json()), "unknown": 1, "toxicity": {**wire["toxicity"], "new": 1}})
    assert back == FULL and back.to_dict() == wire


def test_bare_bools() -> None:
    policy = SecurityPolicy.from_dict({"audit": False, "injection_defense": True, "pii": None})
    assert policy.to_dict()["audit"] == {"enabled": False}
    assert policy.to_dict()["injection_defense"]["enabled"] is True
    assert policy.requires_tls_interception


@pytest.mark.parametrize(
    "part, intercepts",
    [
        ({"pii": PIIConfig(True)}, True), ({"injection_defense": True}, True), ({"toxicity": ToxicityConfig(True)}, True),
        ({"transformations": [TransformationRule("a", "b")]}, True), ({"code_security": CodeSecurityConfig(True)}, True),
        ({"invisible_text": InvisibleTextConfig(True)}, True), ({"toxicity": ToxicityConfig()}, False),
        ({"network": NetworkPolicy(["a.test"])}, False), ({"audit": True}, False), ({"content_gate": ContentGateConfig(True)}, False),
    ],
)  # fmt: skip
def test_requires_tls_interception(part: Any, intercepts: bool) -> None:
    assert SecurityPolicy(**part).requires_tls_interception is intercepts


def test_full_injection_defense() -> None:
    policy = SecurityPolicy.full_injection_defense(mode="strict", agent_policy="p", always_judge=True, domains=["a.test"])
    wire = policy.to_dict()
    assert wire["custom_policy"]["policy_ref"] == "prompt-injection@v3"
    assert wire["injection_defense"] == {
        "enabled": True, "action": "block", "sensitivity": "medium", "threshold": 0.95, "domains": ["a.test"],
        "judge": {"enabled": True, "always": True, "policy": "p"}, "injection_mode": "strict",
    }  # fmt: skip
    with pytest.raises(ValueError):
        SecurityPolicy.full_injection_defense(mode="odd")


def test_audit_is_an_old_name() -> None:
    assert InjectionDefenseConfig(action="audit").action is InjectionAction.LOG_ONLY
    assert InjectionDefenseConfig(sensitivity="low").sensitivity is InjectionSensitivity.LOW


@pytest.mark.parametrize(
    "make",
    [
        lambda: PIIConfig(types=["dna"]), lambda: PIIConfig(action="eat"), lambda: PIIConfig(domains="a.test"),  # type: ignore[arg-type]
        lambda: InjectionDefenseConfig(action="eat"), lambda: InjectionDefenseConfig(sensitivity="odd"),
        lambda: InjectionDefenseConfig(threshold=1.1), lambda: InjectionDefenseConfig(threshold=float("nan")),
        lambda: InjectionDefenseConfig(threshold=True), lambda: InjectionDefenseConfig(injection_mode="odd"),
        lambda: ToxicityConfig(action="strip"), lambda: ToxicityConfig(threshold=-0.1), lambda: CodeSecurityConfig(threshold=2),
        lambda: CodeSecurityConfig(excluded_languages="c"), lambda: InvisibleTextConfig(action="redact"),  # type: ignore[arg-type]
        lambda: TransformationRule("a", "b", "up"), lambda: TransformationRule("(", "b"), lambda: TransformationRule("a" * 1001, "b"),
    ],
)  # fmt: skip
def test_refused(make: Any) -> None:
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("pattern", ["(a+)+", "(a*)*b", "(?:a{2,})*", "((a+)b)+", "(a+){2,3}", "(a|b+)*", r"([)]+)+"])
def test_patterns_that_take_for_ever(pattern: str) -> None:
    with pytest.raises(ValueError, match="repeats"):
        TransformationRule(pattern, "")


@pytest.mark.parametrize("pattern", ["(a)+", "a+b*", r"(a\+)+", "([+*])+", "([]+])*", "([^]+])*", "(ab){3}c+", "(a+)b", "(a+)?", "(a{2})+"])
def test_patterns_that_do_not(pattern: str) -> None:
    rule = TransformationRule(pattern, "x")
    start = time.monotonic()
    rule.apply("a" * 5000 + "!")
    assert time.monotonic() - start < 20


def test_transformations() -> None:
    rule = TransformationRule(r"(\d+)", r"<\1>", "out")
    assert rule.apply("a1b22") == "a<1>b<22>"
    assert rule.applies_to("outbound") and not rule.applies_to(TransformDirection.INBOUND)
    assert TransformationRule("a", "b", TransformDirection.BOTH).applies_to("inbound")


def test_environment() -> None:
    config = EnvSecurityConfig()
    names = ["MY_KEY", "api_key", "X_TOKEN", "PATH", "KEYS", "SECRET"]
    assert [config.is_sensitive(n) for n in names] == [True, True, True, False, False, False]
    secret, plain = SecureEnvVar("K", "v", secret=True), SecureEnvVar("K", "v")
    assert secret.to_safe_dict() == {"key": "K", "value": "***", "secret": True}
    assert plain.to_safe_dict()["value"] == "v" and "'v'" not in repr(secret) and "'v'" in repr(plain)


def test_audit_entry() -> None:
    entry = AuditEntry.from_dict({"timestamp": "2026-01-15T10:30:00Z", "event": "egress_blocked", "host": "a.test"})
    assert entry.event == "egress_blocked" and entry.details == {"host": "a.test"}
    assert entry.to_dict()["timestamp"] == "2026-01-15T10:30:00+00:00"


def test_create_sends_it(stub: Stub) -> None:
    Sandbox.create(security=FULL)
    body = stub.requests[0].json
    assert json.loads(body["security"]["policy_json"]) == FULL.to_dict()
    assert body["network"] == {"allow_out": ["a.test"], "allow_public_traffic": False}


def found(text: str, *values: str) -> Any:
    return {"entities": [{"type": "email", "start": text.index(v), "end": text.index(v) + len(v)} for v in values]}


def test_guardrails(stub: Stub) -> None:
    texts = ["ask a@x.test or b@x.test", "a@x.test again"]
    stub.answer(reply(200, found(texts[0], "b@x.test", "a@x.test")), reply(200, found(texts[1], "a@x.test")))
    handler = PIIHandler(f"http://{stub.domain}", 0.5, ["email"])
    clean, mapping = handler.anonymize(texts)
    assert clean == ["ask <EMAIL_1> or <EMAIL_2>", "<EMAIL_1> again"]
    assert mapping == {"<EMAIL_1>": "a@x.test", "<EMAIL_2>": "b@x.test"}
    assert [handler.deanonymize(t, mapping) for t in clean] == texts
    request = stub.requests[0]
    assert (request.method, request.target) == ("POST", "/api/v1/scan")
    assert request.json == {"text": texts[0], "scanners": ["pii"], "confidence_threshold": 0.5, "entities": ["email"]}
    assert "authorization" not in request.headers, "the sandbox server's key is no business of another service"
    stub.answer(reply(200, {"status": "ok"}), reply(200, []))
    client = GuardrailsClient(f"http://{stub.domain}")
    assert client.health() == {"status": "ok"} and stub.requests[-1].target == "/health"
    with pytest.raises(SandboxException):
        client.scan_pii("x")


def test_deanonymize_stream() -> None:
    mapping = {"<EMAIL_1>": "a@x.test", "<EMAIL_11>": "b"}
    text = "x <EMAIL_1><EMAIL_11> < y <EMAIL_2> <<EMAIL_1>> <"
    whole = "x a@x.testb < y <EMAIL_2> <a@x.test> <"
    for size in range(1, len(text) + 1):
        pieces: List[str] = [text[i : i + size] for i in range(0, len(text), size)]
        assert "".join(PIIHandler.deanonymize_stream(pieces, mapping)) == whole, size
    assert PIIHandler.deanonymize("a < b", {}) == "a < b"
