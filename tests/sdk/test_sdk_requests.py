# SPDX-License-Identifier: Apache-2.0
"""The exact requests of each call, and what becomes of the answers."""

import io
import json
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest
from sdk_stub import CREATED, Stub, reply

from declaw import (
    ALL_TRAFFIC,
    ConnectionConfig,
    NetworkPolicy,
    Sandbox,
    SandboxException,
    SandboxLifecycle,
    SandboxNetworkOpts,
    SandboxQuery,
    SandboxState,
)


@pytest.fixture
def sbx(stub: Stub) -> Sandbox:
    sandbox = Sandbox.create()
    stub.requests.clear()
    return sandbox


def test_create_request(stub: Stub) -> None:
    stub.answer(reply(201, {**CREATED, "sandbox_domain": "box.test"}))
    sbx = Sandbox.create(
        template="python",
        timeout=60,
        metadata={"a": "b"},
        envs={"X": "1"},
        network={"allow_out": ["api.github.com"]},
        lifecycle=SandboxLifecycle(on_timeout="kill"),
    )
    (request,) = stub.requests
    assert (request.method, request.target) == ("POST", "/sandboxes")
    assert request.headers["authorization"] == "Bearer dcl_test"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == stub.domain
    assert uuid.UUID(request.headers["idempotency-key"]).version == 4
    assert request.json == {
        "template": "python",
        "timeout": 60,
        "secure": True,
        "metadata": {"a": "b"},
        "envs": {"X": "1"},
        "network": {"allow_out": ["api.github.com"]},
        "lifecycle": {"on_timeout": "kill", "auto_resume": False},
    }
    assert request.pieces == 1
    assert (sbx.sandbox_id, sbx.sandbox_domain) == ("sbx-abc12345", "box.test")


def test_create_defaults(stub: Stub) -> None:
    sbx = Sandbox.create()
    Sandbox.create()
    assert stub.requests[0].json == {"template": "base", "timeout": 300, "secure": True}
    assert sbx.sandbox_domain == "127.0.0.1"
    assert stub.requests[0].headers["idempotency-key"] != stub.requests[1].headers["idempotency-key"]


@pytest.mark.parametrize(
    "arguments, sent",
    [
        ({"network": {"allow_out": []}}, {"allow_out": []}),
        ({"network": {}}, {}),
        ({"network": SandboxNetworkOpts()}, {}),
        ({"network": SandboxNetworkOpts(allow_out=[])}, {"allow_out": []}),
        ({"network": SandboxNetworkOpts(deny_out=[ALL_TRAFFIC])}, {"deny_out": ["0.0.0.0/0"]}),
        (
            {"network": NetworkPolicy(["a.test"], allow_public_traffic=False)},
            {"allow_out": ["a.test"], "allow_public_traffic": False},
        ),
        ({"network": {"allow_out": ["a.test"]}, "allow_internet_access": False}, {"deny_out": ["0.0.0.0/0"]}),
        ({"allow_internet_access": False}, {"deny_out": ["0.0.0.0/0"]}),
        ({"security": {"network": {"allow_out": ["b.test"]}}}, {"allow_out": ["b.test"]}),
        (
            {"security": {"network": {"allow_out": ["b.test"]}}, "network": {"allow_out": ["a.test"]}},
            {"allow_out": ["a.test"]},
        ),
    ],
)
def test_create_network(stub: Stub, arguments: Any, sent: Any) -> None:
    Sandbox.create(**arguments)
    assert stub.requests[0].json["network"] == sent


def test_create_security_is_json_text(stub: Stub) -> None:
    Sandbox.create(security={"pii": {"enabled": True}})
    body = stub.requests[0].json
    assert json.loads(body["security"]["policy_json"]) == {"pii": {"enabled": True}}
    assert "network" not in body


def test_create_refuses_short_vault_refs(stub: Stub) -> None:
    with pytest.raises(ValueError, match="vault://"):
        Sandbox.create(vault_refs={"KEY": "name"})
    assert not stub.requests


def test_create_without_id_is_an_error(stub: Stub) -> None:
    stub.answer(reply(201, {"state": "running"}))
    with pytest.raises(SandboxException, match="sandbox_id"):
        Sandbox.create()


def test_connect(stub: Stub) -> None:
    assert Sandbox.connect("sbx-abc12345").sandbox_id == "sbx-abc12345"
    Sandbox.connect("sbx-abc12345", timeout=9)
    Sandbox.connect("a/b?c")
    targets = [(r.method, r.target) for r in stub.requests]
    assert targets == [
        ("GET", "/sandboxes/sbx-abc12345"),
        ("GET", "/sandboxes/sbx-abc12345?timeout=9"),
        ("GET", "/sandboxes/a%2Fb%3Fc"),
    ]
    with pytest.raises(ValueError):
        Sandbox.connect("")


def test_list(stub: Stub) -> None:
    page = {"sandboxes": [CREATED], "next_token": None, "total": 1}
    stub.answer(reply(200, page))
    query = SandboxQuery(metadata={"a": "b c"}, state=[SandboxState.RUNNING, SandboxState.PAUSED])
    assert Sandbox.list() == page
    Sandbox.list(query, limit=5, next_token="t")
    assert stub.requests[0].target == "/sandboxes"
    assert stub.requests[1].target == (
        "/sandboxes?limit=5&next_token=t&state=running&state=paused&metadata=%7B%22a%22%3A+%22b+c%22%7D"
    )


def test_kill(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(202, {"queued": True}), reply(200, {"killed": True}), reply(202, {}), reply(200, {}))
    assert sbx.kill() is True
    assert sbx.kill(wait=True) is True
    assert Sandbox.kill_by_id("sbx-abc12345") is True
    config = ConnectionConfig(api_key="other", domain=stub.domain)
    assert Sandbox.kill_by_id("sbx-abc12345", wait=True, connection_config=config) is False
    assert [(r.method, r.target) for r in stub.requests] == [
        ("DELETE", "/sandboxes/sbx-abc12345?async=true"),
        ("DELETE", "/sandboxes/sbx-abc12345"),
        ("DELETE", "/sandboxes/sbx-abc12345?async=true"),
        ("DELETE", "/sandboxes/sbx-abc12345"),
    ]
    assert stub.requests[3].headers["authorization"] == "Bearer other"
    assert "content-length" not in stub.requests[0].headers


def test_kill_many(stub: Stub) -> None:
    stub.answer(reply(202, {"results": {"a": {"queued": True}}}))
    assert Sandbox.kill_many([]) == {}
    assert not stub.requests
    assert Sandbox.kill_many(["a"]) == {"a": {"queued": True}}
    Sandbox.kill_many(["a"], wait=True)
    assert [r.target for r in stub.requests] == ["/sandboxes/kill-many?async=true", "/sandboxes/kill-many"]
    assert stub.requests[0].json == {"sandbox_ids": ["a"]}


def test_state_calls(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"is_running": True}), reply(200, {"ok": True}))
    assert sbx.is_running() is True
    sbx.set_timeout(30)
    status, timeout = stub.requests
    assert (status.method, status.target) == ("GET", "/sandboxes/sbx-abc12345/status")
    assert (timeout.method, timeout.target) == ("PATCH", "/sandboxes/sbx-abc12345/timeout")
    assert timeout.json == {"timeout": 30}


@pytest.mark.parametrize(
    "text", ["2026-01-15T10:30:00.123456+00:00", "2026-01-15T10:30:00.123456Z", "2026-01-15T11:30:00.123456789+01:00"]
)
def test_get_info(stub: Stub, sbx: Sandbox, text: str) -> None:
    stub.answer(reply(200, {**CREATED, "state": "killed", "started_at": text, "end_at": None, "new_field": 1}))
    info = sbx.get_info()
    assert info.started_at == datetime(2026, 1, 15, 10, 30, 0, 123456, tzinfo=timezone.utc)
    assert info.end_at is None
    assert info.state is SandboxState.KILLED
    assert f"{info.state}|{info.state:>8}|{info.state!s}" == "killed|  killed|killed"


def test_network_log(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"decisions": [{"verdict": "deny"}]}))
    assert sbx.network_log() == [{"verdict": "deny"}]
    sbx.network_log(limit=5, verdict="deny")
    assert [r.target for r in stub.requests] == [
        "/sandboxes/sbx-abc12345/network/log?limit=100",
        "/sandboxes/sbx-abc12345/network/log?limit=5&verdict=deny",
    ]


def test_set_network(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"network": {}, "generation": 2}))
    sbx.set_network({"allow_out": []})
    sbx.set_network(SandboxNetworkOpts(allow_out=["a.test"]))
    assert [(r.method, r.target, r.json) for r in stub.requests] == [
        ("PUT", "/sandboxes/sbx-abc12345/network", {"allow_out": []}),
        ("PUT", "/sandboxes/sbx-abc12345/network", {"allow_out": ["a.test"]}),
    ]


def test_run(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"stdout": "a\n\nb", "stderr": "e\n", "exit_code": 3, "truncated": False}))
    out, err = [], []
    result = sbx.commands.run("exit 3", on_stdout=out.append, on_stderr=err.append)
    assert (result.stdout, result.stderr, result.exit_code) == ("a\n\nb", "e\n", 3)
    assert (out, err) == (["a", "", "b"], ["e"])
    (request,) = stub.requests
    assert (request.method, request.target) == ("POST", "/sandboxes/sbx-abc12345/commands")
    assert request.json == {"cmd": "exit 3", "background": False, "user": "user", "timeout": 60}
    assert request.pieces == 1


def test_run_options(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"pid": 7}))
    out = []
    handle = sbx.commands.run(
        "x", background=True, envs={"A": "é"}, user="root", cwd="/", stdin=True, timeout=None, on_stdout=out.append
    )
    assert out == [] and handle.pid == 7
    assert stub.requests[0].json == {
        "cmd": "x", "background": True, "user": "root", "envs": {"A": "é"}, "cwd": "/", "stdin": True,
    }  # fmt: skip


def test_read(stub: Stub, sbx: Sandbox) -> None:
    data = b"\xff{ not json\r\n" + bytes(200_000)
    stub.answer(reply(200, data))
    assert sbx.files.read("/a b#c") == data.decode("utf-8", "replace")
    as_bytes = sbx.files.read("/a", format="bytes", user="root")
    assert isinstance(as_bytes, bytearray) and as_bytes == data
    pieces = list(sbx.files.read("/a", "stream"))
    assert len(pieces) > 1 and b"".join(pieces) == data
    assert [r.target for r in stub.requests] == [
        "/sandboxes/sbx-abc12345/files?path=%2Fa+b%23c&username=user",
        "/sandboxes/sbx-abc12345/files?path=%2Fa&username=root",
        "/sandboxes/sbx-abc12345/files?path=%2Fa&username=user",
    ]
    assert {r.connection for r in stub.requests} == {1}
    with pytest.raises(ValueError):
        sbx.files.read("/a", format="json")  # type: ignore[call-overload]


def test_write(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"path": "/a", "size": 2}))
    info = sbx.files.write("/a", "é")
    assert (info.path, info.size) == ("/a", 2)
    sbx.files.write("/a b", b"\x00\xff", user="root")
    sbx.files.write("/a", io.BytesIO(b"small"))
    sbx.files.write("/a", io.StringIO("é"))
    sbx.files.write("/a", b"")
    big = bytes(range(256)) * 12_000
    sbx.files.write("/a", io.BytesIO(big))
    text, raw, small, from_text, empty, streamed = stub.requests
    assert (text.method, text.target) == ("POST", "/sandboxes/sbx-abc12345/files")
    assert text.json == {"path": "/a", "data": "é", "username": "user"}
    assert (raw.method, raw.target) == ("PUT", "/sandboxes/sbx-abc12345/files/raw?path=%2Fa+b&username=root")
    assert raw.headers["content-type"] == "application/octet-stream"
    assert (raw.body, small.body, from_text.body, empty.body) == (b"\x00\xff", b"small", "é".encode(), b"")
    assert empty.headers["content-length"] == "0"
    assert streamed.headers["transfer-encoding"] == "chunked" and streamed.body == big
    with pytest.raises(TypeError):
        sbx.files.write("/a", 5)  # type: ignore[arg-type]


def test_with_does_not_kill(stub: Stub) -> None:
    with Sandbox.create() as sbx:
        assert sbx.sandbox_id
    assert [r.method for r in stub.requests] == ["POST"]
