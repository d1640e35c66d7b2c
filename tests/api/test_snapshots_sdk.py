# SPDX-License-Identifier: Apache-2.0
"""Snapshots by our own Python client, both kinds, against the real server."""

import asyncio
import sys

import pytest

from conftest import REPOSITORY

sys.path[:0] = [str(REPOSITORY / "sdk" / "python")]

from declaw import ApiClient, AsyncApiClient, AsyncSandbox, AsyncSnapshotPaginator, ConnectionConfig, NotFoundException, Sandbox, SnapshotPaginator  # noqa: E402


@pytest.fixture
def here(daemon, monkeypatch):
    monkeypatch.setenv("DECLAW_API_KEY", daemon.key)
    monkeypatch.setenv("DECLAW_DOMAIN", f"{daemon.host}:{daemon.port}")
    return daemon


def test_sync(here):
    with Sandbox.create(timeout=300) as sandbox:
        sandbox.files.write("/home/user/f", "kept")
        first = sandbox.snapshot()
        assert first.sandbox_id == sandbox.sandbox_id and first.source == "manual" and first.mem_size_bytes is None
        second = sandbox.create_snapshot()
        assert [s.snapshot_id for s in sandbox.list_snapshots()] == [second.snapshot_id, first.snapshot_id]
        pages = SnapshotPaginator(ApiClient(ConnectionConfig()), sandbox_id=sandbox.sandbox_id, limit=1)
        assert [s.snapshot_id for s in pages] == [second.snapshot_id, first.snapshot_id] and not pages.has_next
        sandbox.files.remove("/home/user/f")
        again = Sandbox.restore(sandbox.sandbox_id, snapshot_id=first.snapshot_id)
        assert again.sandbox_id == sandbox.sandbox_id and again.files.read("/home/user/f") == "kept"
        fresh = Sandbox.create(snapshot_id=second.snapshot_id)
        assert fresh.sandbox_id != sandbox.sandbox_id and fresh.files.read("/home/user/f") == "kept"
        assert sandbox.delete_snapshot(first.snapshot_id) is True
        with pytest.raises(NotFoundException):
            Sandbox.create(snapshot_id=first.snapshot_id)
        for box in (sandbox, fresh):
            box.kill(wait=True)
        assert Sandbox.restore(sandbox.sandbox_id).is_running()
        sandbox.kill(wait=True)


def test_async(here):
    async def work():
        sandbox = await AsyncSandbox.create(timeout=300)
        await sandbox.write_file("/home/user/f", "kept")
        made = await sandbox.snapshot()
        assert [s.snapshot_id for s in await sandbox.list_snapshots()] == [made.snapshot_id]
        newer = await sandbox.create_snapshot()
        client = AsyncApiClient(ConnectionConfig())
        for given in (client, client.sync):
            pages = AsyncSnapshotPaginator(given, sandbox_id=sandbox.sandbox_id, limit=1)
            assert [s.snapshot_id async for s in pages] == [newer.snapshot_id, made.snapshot_id]
            assert not pages.has_next and await pages.next_items() == []
        whole = AsyncSnapshotPaginator(client, limit=1000)
        assert {newer.snapshot_id, made.snapshot_id} <= {s.snapshot_id for s in await whole.next_items()}
        fresh = await AsyncSandbox.create(snapshot_id=made.snapshot_id)
        again = await AsyncSandbox.restore(sandbox.sandbox_id)
        for box in (fresh, again):
            assert await box.read_file("/home/user/f") == "kept"
            await box.kill(wait=True)
        assert await sandbox.delete_snapshot(made.snapshot_id) is True
        pages = AsyncSnapshotPaginator(client, sandbox_id=sandbox.sandbox_id)
        assert [s.snapshot_id async for s in pages] == [newer.snapshot_id]
        with pytest.raises(NotFoundException):
            await AsyncSandbox.create(snapshot_id=made.snapshot_id)

    asyncio.run(work())
