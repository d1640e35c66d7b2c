# SPDX-License-Identifier: Apache-2.0
"""Pause, snapshots, metrics, URLs and lists in pages: the exact requests."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sdk_stub import CREATED, Stub, reply

from declaw import (
    ApiClient,
    ConflictException,
    ConnectionConfig,
    Sandbox,
    SandboxException,
    SandboxMetrics,
    SandboxPaginator,
    SandboxQuery,
    SandboxState,
    Snapshot,
    SnapshotInfo,
    SnapshotPaginator,
)

BASE = "/sandboxes/sbx-abc12345"
AT = "2026-01-15T10:30:00.000000+00:00"
WHEN = datetime(2026, 1, 15, 10, 30, tzinfo=timezone.utc)
SNAP = {"snapshot_id": "snap-1", "sandbox_id": "sbx-abc12345", "source": "manual", "created_at": AT, "mem_size_bytes": None}


def test_pause_and_resume(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(204, b""), reply(200, {"resumed": True}), reply(409, {"message": "not paused"}))
    assert sbx.pause() is None
    assert sbx.resume() is None
    with pytest.raises(ConflictException):
        sbx.resume()
    assert [(r.method, r.target, r.body) for r in stub.requests[:2]] == [
        ("POST", BASE + "/pause", b""), ("POST", BASE + "/resume", b"")
    ]  # fmt: skip


def test_snapshots(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, SNAP), reply(200, SNAP), reply(200, {"snapshots": [SNAP]}), reply(200, {}), reply(200, {}))
    assert sbx.create_snapshot() == SnapshotInfo("snap-1", "sbx-abc12345", WHEN)
    full = Snapshot("snap-1", "sbx-abc12345", "manual", created_at=AT)
    assert sbx.snapshot() == full and full.to_dict()["source"] == "manual"
    assert sbx.list_snapshots() == [full]
    assert sbx.delete_snapshot("a/b") is True
    assert [(r.method, r.target) for r in stub.requests] == [
        ("POST", BASE + "/snapshot"), ("POST", BASE + "/snapshot"), ("GET", BASE + "/snapshots"),
        ("DELETE", BASE + "/snapshots/a%2Fb"),
    ]  # fmt: skip
    with pytest.raises(ValueError):
        sbx.delete_snapshot("..")
    with pytest.raises(SandboxException, match="not understood"):
        sbx.snapshot()


def test_restore(stub: Stub) -> None:
    stub.handler = lambda r: reply(200, {"sandbox_id": "sbx-abc12345"} if r.method == "POST" else CREATED)
    assert Sandbox.restore("sbx-abc12345").sandbox_id == "sbx-abc12345"
    Sandbox.restore("sbx-abc12345", snapshot_id="snap-1")
    assert [(r.method, r.target) for r in stub.requests] == [
        ("POST", BASE + "/restore"), ("GET", BASE), ("POST", BASE + "/restore?snapshot_id=snap-1"), ("GET", BASE)
    ]  # fmt: skip


def test_metrics(stub: Stub, sbx: Sandbox) -> None:
    sample = {"timestamp": AT, "cpu_usage_percent": 12.5, "memory_usage_mb": 3, "disk_usage_mb": None}
    stub.answer(reply(200, [sample]), reply(200, b"null"))
    (metric,) = sbx.get_metrics()
    assert metric == SandboxMetrics(WHEN, 12.5, 3.0, 0.0) and metric.to_dict()["timestamp"] == WHEN.isoformat()
    east = WHEN.astimezone(timezone(timedelta(hours=1)))
    assert sbx.get_metrics(start=east, end="2026-01-16T00:00:00Z") == []
    assert [r.target for r in stub.requests] == [
        BASE + "/metrics",
        BASE + "/metrics?start=2026-01-15T11%3A30%3A00.000000%2B01%3A00&end=2026-01-16T00%3A00%3A00Z",
    ]


def test_urls(stub: Stub) -> None:
    stub.answer(reply(201, {**CREATED, "traffic_access_token": "t"}))
    sbx = Sandbox.create()
    top = f"http://{stub.domain}{BASE}"
    assert sbx.get_host(3000) == top + "/ports/3000"
    assert sbx.get_mcp_url() == top + "/ports/50005/mcp"
    assert sbx.download_url("/a b#c") == top + "/files/raw?path=%2Fa+b%23c"
    assert sbx.upload_url("/a", user="root") == top + "/files/raw?path=%2Fa&username=root"
    assert (sbx.envd_api_url, sbx.traffic_access_token, repr(sbx)) == (top, "t", "<Sandbox sbx-abc12345>")
    assert len(stub.requests) == 1
    for port in (0, 65536):
        with pytest.raises(ValueError):
            sbx.get_host(port)


def pages(stub: Stub, key: str, rows: Any) -> None:
    stub.answer(reply(200, {key: rows, "next_token": "t&1"}), reply(200, {key: [], "next_token": None}))


def test_sandbox_paginator(stub: Stub) -> None:
    pages(stub, "sandboxes", [CREATED])
    client = ApiClient(ConnectionConfig())
    paginator = SandboxPaginator(client, SandboxQuery(state=[SandboxState.PAUSED]), limit=1)
    assert paginator.has_next and [s.sandbox_id for s in paginator] == ["sbx-abc12345"]
    assert not paginator.has_next and paginator.next_items() == []
    assert [r.target for r in stub.requests] == [
        "/sandboxes?limit=1&state=paused", "/sandboxes?limit=1&next_token=t%261&state=paused"
    ]  # fmt: skip


def test_snapshot_paginator(stub: Stub) -> None:
    pages(stub, "snapshots", [SNAP])
    paginator = SnapshotPaginator(ApiClient(ConnectionConfig()), "sbx-1", 2)
    assert [s.snapshot_id for s in paginator] == ["snap-1"]
    assert [r.target for r in stub.requests] == [
        "/snapshots?sandbox_id=sbx-1&limit=2", "/snapshots?sandbox_id=sbx-1&limit=2&next_token=t%261"
    ]  # fmt: skip


@pytest.mark.parametrize("info", [{"sandbox_id": "x"}, {**CREATED, "state": "odd"}, {**CREATED, "started_at": "soon"}, []])
def test_nonsense_from_the_server(stub: Stub, sbx: Sandbox, info: Any) -> None:
    stub.answer(reply(200, info))
    with pytest.raises(SandboxException, match="not understood"):
        sbx.get_info()
