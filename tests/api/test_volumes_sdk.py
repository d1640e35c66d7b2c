# SPDX-License-Identifier: Apache-2.0
"""Volumes by the Python SDK, of a real server."""

import asyncio
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Daemon

sys.path[:0] = [str(REPOSITORY / "sdk/python")]

from declaw import (  # noqa: E402
    AsyncSandbox,
    AsyncVolumes,
    ConflictException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    VolumeAttachment,
    Volumes,
)


@pytest.fixture(autouse=True)
def client(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLAW_API_KEY", daemon.key)
    monkeypatch.setenv("DECLAW_DOMAIN", f"{daemon.host}:{daemon.port}")


def test_life(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("hello")
    (tmp_path / "link").symlink_to("d")
    volume = Volumes.create("data", tmp_path)
    assert volume.name == "data" and volume.file_count == 1 and volume.content_bytes == 5 and volume.dropped["links"] == 1
    assert Volumes.get(volume.volume_id).dropped == {} and Volumes.list()[0].volume_id == volume.volume_id
    with Sandbox.create(volumes=[volume.attach("/data"), volume.attach("/ro", mode="mount-ro", subpath="d")]) as sandbox:
        assert sandbox.commands.run("cat /data/d/f /ro/f").stdout == "hellohello"
        sandbox.files.write("/data/new", "new")
        with pytest.raises(ConflictException, match="mounted"):
            Volumes.delete(volume.volume_id)
        after = Volumes.commit(sandbox.sandbox_id, volume.volume_id)
        part = Volumes.snapshot(sandbox.sandbox_id, "/data/d", "part")
        sandbox.kill()
    assert after.name == "data-commit" and part.name == "part"
    with tarfile.open(fileobj=io.BytesIO(Volumes.download(after.volume_id))) as tar:
        assert sorted(tar.getnames()) == ["d", "d/f", "new"]
    for one in (volume, after, part):
        Volumes.delete(one.volume_id)
    with pytest.raises(NotFoundException):
        Volumes.get(volume.volume_id)


def test_empty_ones_and_what_there_is_not() -> None:
    for volume in (Volumes.create("e"), Volumes.empty("e")):
        with pytest.raises(ConflictException, match="tarball"):
            Volumes.files(volume.volume_id).list()
        with pytest.raises(ConflictException, match="tarball"):
            Volumes.files(volume.volume_id).write("/f", b"x")
        with pytest.raises(InvalidArgumentException, match="locks"):
            Volumes.locks(volume.volume_id).acquire("/f")
        with pytest.raises(InvalidArgumentException, match="mount-ro"):
            Sandbox.create(volumes=[VolumeAttachment(volume.volume_id, "/data", "mount")])
        Volumes.delete(volume.volume_id)
    with pytest.raises(InvalidArgumentException):
        Volumes.ingest("i", b"x")
    with pytest.raises(InvalidArgumentException):
        Volumes.create("i", b"no archive")


def test_with_coroutines(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")

    async def work() -> Any:
        volume = await AsyncVolumes.create("async", tmp_path)
        sandbox = await AsyncSandbox.create(volumes=[volume.attach("/data")])
        out = await sandbox.commands.run("cat /data/f")
        after = await AsyncVolumes.commit(sandbox.sandbox_id, volume.volume_id, "after")
        await sandbox.kill()
        names = [v.name for v in await AsyncVolumes.list()]
        for one in (volume, after):
            await AsyncVolumes.delete(one.volume_id)
        return out.stdout, names

    assert asyncio.run(work()) == ("hello", ["after", "async"])
