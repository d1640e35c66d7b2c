# SPDX-License-Identifier: Apache-2.0
"""Policy entries, and where the server and the key are found."""

from pathlib import Path
from typing import Any

import pytest

import declaw.connection_config as connection_config
from declaw import (
    ALL_TRAFFIC,
    AuthenticationException,
    ConnectionConfig,
    NetworkPolicy,
    SandboxNetworkOpts,
    domain_matches,
    validate_network_entry,
)


@pytest.mark.parametrize(
    "entry",
    [
        "api.github.com", "API.GitHub.com.", "*.github.com", "_dmarc.a-b.test", "xn--bcher-kva.example", "api.github.com:443",
        "a.test:8000-8999", "~^api[0-9]+\\.x\\.com$", "~a:443", "1.2.3.4", "1.2.3.4:80", "10.1.2.3/8", "10.0.0.0/8:80-90",
        "2001:db8::1", "::/0", "[2001:db8::1]:443", "[2001:db8::/32]:443", "[::1]", "*", ALL_TRAFFIC,
    ],
)  # fmt: skip
def test_entries(entry: str) -> None:
    assert validate_network_entry(entry) == entry


@pytest.mark.parametrize(
    "entry",
    [
        "", " ", "a b", "a.test ", "a\x00.test", "a\n.test", "bücher.example", "https://a.test", "a.test/x", "a..test", ".a.test",
        "-a.test", "a-.test", "a." + "x" * 64, "x." * 127 + "y", "2130706433", "0x7f.1", "127.1", "1.2.3.256", "1.2.3.4/33",
        "10.0.0.0/255.0.0.0", "10.0.0.0/08", "fe80::1%eth0", "*.*", "*a.test", "a.*.test", "*.", "**", "a.test:", "a.test:0",
        "a.test:65536", "a.test:9-8", "a.test:080", "a.test:80:81", "[1.2.3.4]:80", "[::1", "[::1]x", "~", "~" + "a" * 1001, None,
        5, "$(id)",
    ],
)  # fmt: skip
def test_refused_entries(entry: Any) -> None:
    with pytest.raises(ValueError, match="invalid network entry"):
        validate_network_entry(entry)


@pytest.mark.parametrize("entry", ["a.test", "*.a.test", "~a", "a.test:443"])
def test_names_are_refused_where_only_addresses_stand(entry: str) -> None:
    with pytest.raises(ValueError, match="only IP addresses"):
        validate_network_entry(entry, allow_domains=False)
    with pytest.raises(ValueError):
        SandboxNetworkOpts(deny_out=[entry])


def test_options() -> None:
    opts = SandboxNetworkOpts(["a.test", "1.2.3.4"], ["10.0.0.0/8"], mask_request_host="h")
    wire = {"allow_out": ["a.test", "1.2.3.4"], "deny_out": ["10.0.0.0/8"], "mask_request_host": "h"}
    assert opts.to_dict() == wire
    assert SandboxNetworkOpts.from_dict({**wire, "new": 1}) == opts
    assert opts.has_domain_rules and opts.effective_allow_out == ["a.test", "1.2.3.4", "8.8.8.8"]
    addresses = SandboxNetworkOpts(["1.2.3.4:80"])
    assert not addresses.has_domain_rules and addresses.effective_allow_out == ["1.2.3.4:80"]
    policy = NetworkPolicy(["a.test"])
    assert type(policy.to_network_opts()) is SandboxNetworkOpts
    with pytest.raises(ValueError, match="not one string"):
        SandboxNetworkOpts("a.test")  # type: ignore[arg-type]


def test_a_written_empty_list_survives() -> None:
    assert SandboxNetworkOpts().to_dict() == {}
    assert SandboxNetworkOpts(allow_out=[]).to_dict() == {"allow_out": []}
    assert SandboxNetworkOpts.from_dict({"allow_out": []}).to_dict() == {"allow_out": []}
    assert SandboxNetworkOpts.from_dict({"allow_out": None}).to_dict() == {"allow_out": []}
    assert NetworkPolicy(allow_out=[]).to_network_opts().to_dict() == {"allow_out": []}
    assert NetworkPolicy().to_network_opts().to_dict() == {}


@pytest.mark.parametrize(
    "pattern, host, result",
    [
        ("a.test", "a.test", True), ("a.test", "A.Test.", True), ("a.test", "b.a.test", False), ("a.test", "xa.test", False),
        ("*.a.test", "b.a.test", True), ("*.a.test", "c.b.A.test", True), ("*.a.test", "a.test", False),
        ("*.a.test", "ba.test", False), ("*.a.test", "b.a.test.evil", False), ("~api[0-9]\\.x", "api1.x", True),
        ("~api[0-9]\\.x", "api1.xy", False), ("~api", "my.api.x", False), ("a.test", "a.test\x00.evil", False),
    ],
)  # fmt: skip
def test_domain_matches(pattern: str, host: str, result: bool) -> None:
    assert domain_matches(pattern, host) is result


def test_domain_matches_bad_regex() -> None:
    with pytest.raises(ValueError):
        domain_matches("~(", "a.test")


@pytest.fixture
def no_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("DECLAW_DOMAIN", "DECLAW_API_KEY", "DECLAW_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    key = tmp_path / "api-key"
    monkeypatch.setattr(connection_config, "_LOCAL_KEY_FILE", str(key))
    return key


@pytest.mark.parametrize(
    "domain, host, port, url",
    [
        (None, "127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("box.test:443", "box.test", 443, "https://box.test:443"),
        ("box.test", "box.test", 443, "https://box.test:443"),
        ("box.test:80", "box.test", 80, "http://box.test:80"),
        ("[::1]:8080", "[::1]", 8080, "http://[::1]:8080"),
    ],
)
def test_urls(no_env: Path, domain: Any, host: str, port: int, url: str) -> None:
    config = ConnectionConfig(domain=domain)
    assert (config.domain, config.port, config.api_url) == (host, port, url)


@pytest.mark.parametrize("domain", ["::1", "http://box.test", "box.test/x", "a b", "box.test:0", "box.test:65536", ":80"])
def test_bad_domains(no_env: Path, domain: str) -> None:
    with pytest.raises(ValueError):
        ConnectionConfig(domain=domain)


def test_url_wins(no_env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLAW_DOMAIN", "env.test:81")
    assert ConnectionConfig.default_domain() == "env.test:81"
    assert ConnectionConfig(api_url="https://h/api").api_url == "https://h/api"
    assert ConnectionConfig().api_url == "http://env.test:81"


def test_keys(no_env: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ConnectionConfig().api_key == ""
    no_env.write_text("local\n")
    assert ConnectionConfig().api_key == "local"
    assert ConnectionConfig(domain="localhost:81").api_key == "local"
    assert ConnectionConfig(domain="[::1]:81").api_key == "local"
    assert ConnectionConfig(domain="box.test:81").api_key == "", "this machine's key must not go to another"
    named = tmp_path / "named"
    monkeypatch.setenv("DECLAW_API_KEY_FILE", str(named))
    with pytest.raises(AuthenticationException, match="named"):
        ConnectionConfig()
    named.write_text("named-key\n")
    assert ConnectionConfig(domain="box.test:81").api_key == "named-key"
    monkeypatch.setenv("DECLAW_API_KEY", "env")
    assert ConnectionConfig().api_key == "env"
    assert ConnectionConfig(api_key="arg").api_key == "arg"
    with pytest.raises(ValueError):
        ConnectionConfig(api_key="a\r\nb: c")


@pytest.mark.parametrize(
    "options, key",
    [
        ({"api_url": "https://other.example"}, ""), ({"api_url": "http://127.0.0.1@other.example:81/x"}, ""),
        ({"api_url": "http://127.0.0.1.other.example"}, ""), ({"api_url": "https://other.example", "domain": "localhost"}, ""),
        ({"api_url": ""}, ""), ({"api_url": "http://LOCALHOST:81/x", "domain": "box.test"}, "local"),
        ({"api_url": "http://[::1]:81", "domain": "box.test"}, "local"), ({"api_url": "http://127.0.0.9"}, "local"),
    ],
)  # fmt: skip
def test_the_local_key_goes_to_where_the_url_leads(no_env: Path, options: Any, key: str) -> None:
    """`domain`, which the URL beats, says nothing about who gets the key."""
    no_env.write_text("local\n")
    assert ConnectionConfig(**options).api_key == key


def test_the_key_is_not_shown(no_env: Path) -> None:
    no_env.write_text("local-secret\n")
    for config in (ConnectionConfig(), ConnectionConfig(api_key="given-secret")):
        assert config.api_key and config.api_key.endswith("secret")
        assert "secret" not in repr(config) and "http://127.0.0.1:8080" in repr(config)
