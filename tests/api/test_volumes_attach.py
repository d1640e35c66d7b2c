# SPDX-License-Identifier: Apache-2.0
"""Volumes in sandboxes: copied or read in place, held while they are in use, and committed."""

import os
from typing import Any, Dict, Iterator, List

import pytest
from conftest import Daemon, eventually
from test_volumes import ids, make, on_disk, tar_gz
from test_volumes_take import content, root

MIB = 1 << 20


@pytest.fixture
def volume(daemon: Daemon) -> Iterator[str]:
    made = make(daemon, "data", tar_gz({"a.txt": b"hello", "d/e/f": b"deep", "run.sh": b"#!/bin/sh\necho ran\n"}))["volume_id"]
    yield made
    assert eventually(lambda: daemon.request("DELETE", f"/volumes/{made}").status in (200, 404))


@pytest.fixture
def start(daemon: Daemon) -> Iterator[Any]:
    made: List[str] = []

    def make_one(*volumes: Dict[str, Any]) -> str:
        made.append(daemon.create(volumes=list(volumes))["sandbox_id"])
        return made[-1]

    yield make_one
    for sandbox in made:
        daemon.request("DELETE", f"/sandboxes/{sandbox}")


def at(volume: str, path: str, **more: Any) -> Dict[str, Any]:
    return {"volume_id": volume, "mount_path": path, **more}


def out(daemon: Daemon, sandbox: str, cmd: str) -> str:
    done = daemon.run(sandbox, cmd)
    assert done["exit_code"] == 0, done
    return done["stdout"]


def test_copy(daemon: Daemon, volume: str, start: Any) -> None:
    one, two = start(at(volume, "/data")), start(at(volume, "/home/user/deep/er", mode="copy"))
    assert out(daemon, one, "cat /data/a.txt /data/d/e/f; sh /data/run.sh; stat -c %U:%G /data /data/d /data/a.txt") == (
        "hellodeepran\n" + "user:user\n" * 3)
    out(daemon, one, "echo changed > /data/a.txt; rm -r /data/d; echo new > /data/new")
    seen = out(daemon, two, "cat /home/user/deep/er/a.txt; ls /home/user/deep/er")
    assert seen == "helloa.txt\nd\nrun.sh\n", "others' copies are others'"
    # Nothing of it is in the volume.
    assert out(daemon, start(at(volume, "/data")), "cat /data/a.txt /data/d/e/f") == "hellodeep"
    shown = daemon.request("GET", f"/sandboxes/{one}").json["volumes"]
    assert shown == [{"volume_id": volume, "mount_path": "/data", "mode": "copy"}]


def test_read_only(daemon: Daemon, volume: str, start: Any) -> None:
    sandbox = start(at(volume, "/data", mode="mount-ro"), at(volume, "/part", mode="mount-ro", subpath="d/e"))
    assert out(daemon, sandbox, "cat /data/a.txt /part/f; ls /part") == "hellodeepf\n"
    for user in ("user", "root"):
        for cmd in ("touch /data/x", "echo x > /data/a.txt", "rm /data/a.txt", "mkdir /part/y", "chmod 777 /data/a.txt",
                    "chown root /data/a.txt", "mount -o remount,rw /data", "mount -o remount,bind,rw /data"):
            assert daemon.run(sandbox, cmd, user=user)["exit_code"] != 0, cmd
    daemon.run(sandbox, "umount /data", user="root")
    assert out(daemon, sandbox, "cat /data/a.txt") == "hello"
    shown = daemon.request("GET", f"/sandboxes/{sandbox}").json["volumes"]
    assert shown == [at(volume, "/data", mode="mount-ro"), at(volume, "/part", mode="mount-ro", subpath="d/e")]
    # It survives a pause, and a kill is final for it too.
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    assert daemon.request("POST", f"/sandboxes/{sandbox}/resume").status == 200
    assert out(daemon, sandbox, "cat /data/a.txt") == "hello"


def test_no_set_user_id(daemon: Daemon, start: Any) -> None:
    import io, tarfile

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as t:
        info = tarfile.TarInfo("su")
        info.mode, info.size = 0o6755, 3
        t.addfile(info, io.BytesIO(b"abc"))
    volume = make(daemon, "suid", data.getvalue())["volume_id"]
    sandbox = start(at(volume, "/c"), at(volume, "/m", mode="mount-ro"))
    assert out(daemon, sandbox, "stat -c %a /c/su /m/su") == "755\n755\n"
    assert "nosuid" in out(daemon, sandbox, "grep ' /m ' /proc/self/mountinfo") and "nodev" in out(daemon, sandbox, "grep ' /m ' /proc/self/mountinfo")


def test_in_use(daemon: Daemon, volume: str, start: Any) -> None:
    sandbox = start(at(volume, "/data", mode="mount-ro"))
    answer = daemon.request("DELETE", f"/volumes/{volume}")
    assert (answer.status, answer.code) == (409, "volume_in_use") and sandbox in answer.message
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    assert daemon.request("DELETE", f"/volumes/{volume}").status == 409, "it is still there when it goes on"
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    assert daemon.request("DELETE", f"/volumes/{volume}").status == 200


def test_a_copy_needs_the_volume_no_more(daemon: Daemon, volume: str, start: Any) -> None:
    sandbox = start(at(volume, "/data"))
    assert daemon.request("DELETE", f"/volumes/{volume}").status == 200
    assert out(daemon, sandbox, "cat /data/a.txt") == "hello"
    made = daemon.request("POST", f"/sandboxes/{sandbox}/volumes/{volume}/commit")
    assert made.status == 201 and made.json["name"] == f"{volume}-commit", "what it was called is gone"
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["volumes"][0]["volume_id"] == volume


def test_commit(daemon: Daemon, volume: str, start: Any) -> None:
    sandbox = start(at(volume, "/data"), at(volume, "/ro", mode="mount-ro"))
    out(daemon, sandbox, "echo new > /data/new; rm /data/a.txt; ln -s /etc/passwd /data/link")
    made = daemon.request("POST", f"/sandboxes/{sandbox}/volumes/{volume}/commit?name=after")
    assert made.status == 201 and made.json["name"] == "after" and made.json["dropped"]["links"] == 1
    assert content(daemon, made.json) == {"d": None, "d/e": None, "d/e/f": b"deep", "new": b"new\n", "run.sh": b"#!/bin/sh\necho ran\n"}
    again = start(at(made.json["volume_id"], "/data"))
    assert out(daemon, again, "ls /data; cat /data/new") == "d\nnew\nrun.sh\nnew\n"
    assert daemon.request("POST", f"/sandboxes/{sandbox}/volumes/{volume}/commit").json["name"] == "data-commit"
    assert daemon.request("POST", f"/sandboxes/{sandbox}/volumes/{made.json['volume_id']}/commit").code == "volume_not_attached"


@pytest.mark.parametrize("more, status, code", [
    ({"mode": "mount"}, 422, "unsupported_option"),
    ({"mode": "mount-ro", "subpath": "none"}, 400, "invalid_field"),
    ({"mode": "mount-ro", "subpath": "a.txt"}, 400, "invalid_field"),
    ({"mode": "mount-ro", "subpath": "../d"}, 400, "invalid_field"),
    ({"subpath": "d"}, 400, "invalid_field"),
    ({"mount_path": "/etc"}, 400, "invalid_field"),
    ({"mount_path": "/proc/x"}, 400, "invalid_field"),
    ({"volume_id": "vol-none0000"}, 404, "volume_not_found"),
    ({"volume_id": "../../etc"}, 404, "volume_not_found"),
])
def test_refused(daemon: Daemon, volume: str, more: Dict[str, Any], status: int, code: str) -> None:
    before = daemon.ids()
    answer = daemon.request("POST", "/sandboxes", {"volumes": [{**at(volume, "/data"), **more}]})
    assert (answer.status, answer.code) == (status, code) and "volumes[0]" in answer.message
    assert daemon.ids() == before
    # It holds nothing.
    assert daemon.request("DELETE", f"/volumes/{volume}").status == 200


def test_copies_fit_the_disk(daemon: Daemon, start: Any) -> None:
    import gzip, tarfile

    info = tarfile.TarInfo("zeros")
    info.size = 600 * MIB
    packed = gzip.compress(info.tobuf() + bytes(info.size) + bytes(1024), 1)
    volume = make(daemon, "large", packed)["volume_id"]
    try:
        answer = daemon.request("POST", "/sandboxes", {"volumes": [at(volume, "/a"), at(volume, "/b")]})
        assert (answer.status, answer.code) == (413, "not_enough_space")
        sandbox = start(at(volume, "/a", mode="mount-ro"), at(volume, "/b", mode="mount-ro"))
        assert out(daemon, sandbox, "stat -c %s /a/zeros /b/zeros").split() == [str(info.size)] * 2
    finally:
        for sandbox in daemon.ids():
            daemon.request("DELETE", f"/sandboxes/{sandbox}")
        assert daemon.request("DELETE", f"/volumes/{volume}").status == 200


def test_where_it_can_be(daemon: Daemon, volume: str, start: Any) -> None:
    paths = ["/data", "/home/user/v", "/etc/app", "/usr/local/share/v", "/opt/a/b/c/d", "/tmp/v", "/var/lib/v", "/srv/ü v"]
    for mode in ("copy", "mount-ro"):
        sandbox = start(*[at(volume, p, mode=mode) for p in paths])
        assert root(daemon, sandbox, "".join(f"cat '{p}/a.txt';" for p in paths)) == "hello" * len(paths), mode


def test_an_idempotent_create(daemon: Daemon, volume: str) -> None:
    header = {"Idempotency-Key": os.urandom(8).hex()}
    body = {"volumes": [at(volume, "/data")]}
    one, two = (daemon.request("POST", "/sandboxes", body, header) for _ in range(2))
    assert one.json == two.json and one.json["volumes"] == [at(volume, "/data", mode="copy")]
    other = daemon.request("POST", "/sandboxes", {"volumes": [at(volume, "/else")]}, header)
    assert other.code == "idempotency_key_reused"
    daemon.request("DELETE", f"/sandboxes/{one.json['sandbox_id']}")


def test_they_outlive_the_server(make_daemon: Any) -> None:
    first = make_daemon()
    volume = make(first, "v", tar_gz({"f": b"x"}))["volume_id"]
    sandbox = first.create(volumes=[at(volume, "/data", mode="mount-ro")])["sandbox_id"]
    first.stop(remove=False)
    second = make_daemon(data=first.data)
    assert second.request("GET", f"/sandboxes/{sandbox}").json["volumes"] == [at(volume, "/data", mode="mount-ro")]
    again = second.create(volumes=[at(volume, "/data")])["sandbox_id"]
    assert second.run(again, "cat /data/f")["stdout"] == "x"
    # Nothing that has it mounted is alive.
    assert second.request("DELETE", f"/volumes/{volume}").status == 200
    assert eventually(lambda: on_disk(second) == []) and ids(second) == []
