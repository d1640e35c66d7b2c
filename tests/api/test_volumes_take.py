# SPDX-License-Identifier: Apache-2.0
"""Volumes out of sandboxes: what is inside may be anything, and is taken as an archive from outside is."""

import io
import os
import socket
import tarfile
from typing import Any, Dict, List
from urllib.parse import quote

import pytest
from conftest import Daemon, eventually
from test_volumes import ids, make, on_disk, tar_gz

MIB = 1 << 20


def snapshot(daemon: Daemon, sandbox: str, path: str, name: str = "") -> Any:
    query = f"path={quote(path, safe='')}" + (f"&name={quote(name)}" if name else "")
    return daemon.request("POST", f"/sandboxes/{sandbox}/volumes/snapshot?{query}")


def content(daemon: Daemon, volume: Dict[str, Any]) -> Dict[str, Any]:
    download = daemon.request("GET", f"/volumes/{volume['volume_id']}/download").body
    assert len(download) == volume["size_bytes"]
    with tarfile.open(fileobj=io.BytesIO(download)) as t:
        return {m.name: t.extractfile(m).read() if m.isfile() else None for m in t.getmembers()}


def root(daemon: Daemon, sandbox: str, cmd: str) -> str:
    done = daemon.run(sandbox, cmd, user="root")
    assert done["exit_code"] == 0, done
    return done["stdout"]


def test_snapshot(daemon: Daemon, sandbox: str) -> None:
    data = os.urandom(3 * MIB)
    assert daemon.request("PUT", f"/sandboxes/{sandbox}/files/raw?path=/data/d/random&username=root", data).status == 200
    root(daemon, sandbox, "cd /data; echo hello > a.txt; chmod 640 a.txt; mkdir -p d/e/empty secret; echo s > secret/s; chmod 0 secret secret/s; "
         "echo x > 'ü name'; touch -d @1000000000 a.txt; touch zero; printf %s x > .hidden")
    answer = snapshot(daemon, sandbox, "/data", "mine")
    assert answer.status == 201 and "dropped" not in answer.json
    volume = answer.json
    assert volume["name"] == "mine" and volume["file_count"] == 6 and volume["content_bytes"] == 3 * MIB + 6 + 2 + 2 + 1
    assert content(daemon, volume) == {"a.txt": b"hello\n", "d": None, "d/random": data, "d/e": None, "d/e/empty": None, "secret": None,
                                       "secret/s": b"s\n", "ü name": b"x\n", "zero": b"", ".hidden": b"x"}
    files = daemon.data / "volumes" / volume["volume_id"] / "files"
    assert (files / "a.txt").stat().st_mode & 0o777 == 0o640 and (files / "a.txt").stat().st_mtime == 1_000_000_000
    assert snapshot(daemon, sandbox, "/data/d/").json["name"] == "snapshot"


def test_an_empty_directory(daemon: Daemon, sandbox: str) -> None:
    root(daemon, sandbox, "mkdir /none")
    volume = snapshot(daemon, sandbox, "/none").json
    assert volume["file_count"] == 0 and content(daemon, volume) == {}


@pytest.mark.parametrize("path", ["/proc", "/sys", "/dev", "/proc/1", "/dev/shm", "//proc/", "/./sys", "relative", "", "/a/../proc", "/x" * 3000])
def test_paths_that_are_refused(daemon: Daemon, sandbox: str, path: str) -> None:
    before = on_disk(daemon)
    answer = snapshot(daemon, sandbox, path)
    assert (answer.status, answer.code) == (400, "invalid_path") and on_disk(daemon) == before


def test_what_is_no_directory(daemon: Daemon, sandbox: str) -> None:
    before = ids(daemon)
    assert snapshot(daemon, sandbox, "/etc/hostname").status == 400
    assert snapshot(daemon, sandbox, "/nothing").status == 404
    assert ids(daemon) == before and eventually(lambda: sorted(on_disk(daemon)) == sorted(before))


def test_what_is_neither_file_nor_directory(daemon: Daemon, sandbox: str) -> None:
    root(daemon, sandbox, "mkdir /odd; cd /odd; echo f > f; ln -s /etc/passwd link; ln -s /etc dirlink; ln -s . loop; ln -s none dangling; mkfifo fifo; "
         "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"")
    volume = snapshot(daemon, sandbox, "/odd").json
    assert content(daemon, volume) == {"f": b"f\n"} and volume["dropped"]["links"] == 6


def test_the_root(make_daemon: Any) -> None:
    """Without what is the kernel's: that would be without end. The template's own is more than this volume may have."""
    daemon = make_daemon("--volume-mb", "1")
    sandbox = daemon.create()["sandbox_id"]
    answer = snapshot(daemon, sandbox, "/")
    assert (answer.status, answer.code) == (413, "too_large")
    assert eventually(lambda: on_disk(daemon) == [])


def test_a_client_that_goes_away(daemon: Daemon, sandbox: str) -> None:
    """It may ask again: nothing must go on for who is not there any more."""
    before = ids(daemon)
    with socket.create_connection((daemon.host.strip("[]"), daemon.port)) as s:
        s.sendall(f"POST /sandboxes/{sandbox}/volumes/snapshot?path=/usr HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
        assert eventually(lambda: any(n.startswith(".new-") for n in on_disk(daemon)))
    assert eventually(lambda: not any(n.startswith(".new-") for n in on_disk(daemon)), 10) and ids(daemon) == before


def test_hostile_names(daemon: Daemon, sandbox: str) -> None:
    root(daemon, sandbox, """mkdir /h; cd /h; python3 - <<'E'
import os
for name in (b'-rf', b'a\\nb', b'\\xff\\xfe', b'..x', b'* ?', b'\\x1b[2J', b'x' * 255):
    open(name, 'wb').write(name)
E""")
    volume = snapshot(daemon, sandbox, "/h").json
    assert volume["file_count"] == 7 and "dropped" not in volume
    files = os.fsencode(daemon.data / "volumes" / volume["volume_id"] / "files")
    assert {n: open(os.path.join(files, n), "rb").read() for n in os.listdir(files)} == {
        n: n for n in (b"-rf", b"a\nb", b"\xff\xfe", b"..x", b"* ?", b"\x1b[2J", b"x" * 255)}


def test_a_deep_tree(daemon: Daemon, sandbox: str) -> None:
    root(daemon, sandbox, "mkdir -p /deep/$(printf 'd/%.0s' $(seq 120)) && echo x > /deep/$(printf 'd/%.0s' $(seq 120))f")
    volume = snapshot(daemon, sandbox, "/deep").json
    assert volume["file_count"] == 1
    assert daemon.request("DELETE", f"/volumes/{volume['volume_id']}").status == 200
    assert eventually(lambda: volume["volume_id"] not in on_disk(daemon) and ".gone-" + volume["volume_id"] not in on_disk(daemon))


def test_files_that_grow_and_shrink(daemon: Daemon, sandbox: str) -> None:
    """A growing file is taken as it was; one that shrinks is said to have changed, and nothing is left."""
    root(daemon, sandbox, "mkdir /busy; python3 - <<'E' > /dev/null 2>&1 &\nimport os\nf = open('/busy/log', 'ab', 0)\nwhile True:\n    f.write(b'x' * 100)\n"
         "    if f.tell() > 20000000: f.truncate(1000)\nE\nsleep 0.2")
    for _ in range(5):
        answer = snapshot(daemon, sandbox, "/busy")
        assert answer.status == 201 or (answer.status, answer.code) == (409, "file_changed"), answer.body
        if answer.status == 201:
            assert set(content(daemon, answer.json)["log"]) <= set(b"x")


def test_the_operators_bound(make_daemon: Any) -> None:
    daemon = make_daemon("--volume-mb", "1")
    sandbox = daemon.create()["sandbox_id"]
    root(daemon, sandbox, "mkdir /big; truncate -s 2M /big/holes")
    answer = snapshot(daemon, sandbox, "/big")
    assert (answer.status, answer.code) == (413, "too_large") and on_disk(daemon) == []
    root(daemon, sandbox, "rm /big/holes; head -c 700000 /dev/urandom > /big/a; head -c 700000 /dev/urandom > /big/b")
    assert snapshot(daemon, sandbox, "/big").code == "too_large" and eventually(lambda: on_disk(daemon) == [])


def test_states(daemon: Daemon, sandbox: str) -> None:
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    assert snapshot(daemon, sandbox, "/etc").code == "sandbox_paused"
    assert daemon.request("POST", f"/sandboxes/{sandbox}/resume").status == 200
    assert daemon.request("POST", f"/sandboxes/{sandbox}/volumes/vol-none0000/commit").code == "volume_not_attached"
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    assert (snapshot(daemon, sandbox, "/etc").status, snapshot(daemon, "sbx-none0000", "/etc").status) == (410, 404)


def test_a_sandbox_that_is_killed_meanwhile(daemon: Daemon, in_background: Any) -> None:
    sandbox = daemon.create()["sandbox_id"]
    before = ids(daemon)
    root(daemon, sandbox, "mkdir /many; cd /many; for i in $(seq 3000); do echo $i > $i; done")
    answers: List[Any] = []
    thread = in_background(lambda: answers.append(snapshot(daemon, sandbox, "/many")))
    assert eventually(lambda: any(n.startswith(".new-") for n in on_disk(daemon)) or answers)
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    thread.join(60)
    assert answers[0].status in (201, 404, 410), answers[0].body
    if answers[0].status != 201:
        assert ids(daemon) == before and eventually(lambda: not any(n.startswith(".new-") for n in on_disk(daemon)))


def test_made_of_what_was_made(daemon: Daemon, sandbox: str) -> None:
    """What a snapshot's download gives can be uploaded."""
    root(daemon, sandbox, "mkdir /again; echo 1 > /again/f")
    one = snapshot(daemon, sandbox, "/again").json
    body = daemon.request("GET", f"/volumes/{one['volume_id']}/download").body
    assert make(daemon, "copy", body)["file_count"] == 1 and tar_gz({}) != body
