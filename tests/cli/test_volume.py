# SPDX-License-Identifier: Apache-2.0
"""declaw volume: exact requests, what is packed, and that nothing of a hostile server reaches the terminal or another file."""

import io
import json
import os
import tarfile

import pytest

from test_sandbox import NASTY, no_controls

VOLUME = {"volume_id": "vol-1", "owner_id": "local", "name": f"n{NASTY}", "size_bytes": 2048, "content_bytes": 3 << 20, "file_count": 7,
          "quota_bytes": 4 << 30, "backend": "tarball", "created_at": "2020-01-15T10:30:00.123456+00:00"}  # fmt: skip


def packed(body):
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as t:
        return {m.name: (t.extractfile(m).read() if m.isfile() else None, m.uid, m.type) for m in t.getmembers()}


def test_create_empty(ask, stub):
    stub.on("POST", "/volumes/empty", (201, VOLUME))
    done = ask("volume", "create", "a b/ü&")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"vol-1\n", b"")
    assert stub.lines == ["POST /volumes/empty?name=a%20b%2F%C3%BC%26"] and stub.asked[0].body == b""


def test_create_of_a_folder(ask, stub, tmp_path):
    stub.on("POST", "/volumes", (201, VOLUME))
    folder = tmp_path / "data"
    (folder / "d/empty").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"hello")
    (folder / "d/ü").write_bytes(os.urandom(100_000))
    (folder / ".hidden").write_bytes(b"")
    with open(folder / "holes", "wb") as f:
        f.truncate(1 << 20)
        f.seek(1 << 19)
        f.write(b"middle")
    os.link(folder / "a.txt", folder / "z-same")
    os.symlink("/etc/passwd", folder / "link")
    os.mkfifo(folder / "fifo")
    for word in (str(folder), str(folder) + "/", "."):
        done = ask("volume", "create", "n", word, cwd=folder)
        assert (done.returncode, done.stdout) == (0, b"vol-1\n"), done.stderr
        assert b"2 that are neither files nor folders were left out" in done.stderr
        found = packed(stub.asked[-1].body)
        assert sorted(found) == [".hidden", "a.txt", "d", "d/empty", "d/ü", "holes", "z-same"], word
        assert found["a.txt"][0] == found["z-same"][0] == b"hello" and found["d/ü"][0] == (folder / "d/ü").read_bytes()
        assert found["holes"][0] == (folder / "holes").read_bytes()
        assert {uid for _, uid, _ in found.values()} == {1000} and {kind for _, _, kind in found.values()} == {b"0", b"5"}
        assert stub.asked[-1].headers["content-length"] == str(len(stub.asked[-1].body))


def test_create_of_an_archive(ask, stub, tmp_path):
    stub.on("POST", "/volumes", (201, VOLUME))
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8bwhatever\x00\xff")
    assert ask("volume", "create", "n", str(tmp_path / "a.tar.gz")).returncode == 0
    assert ask("volume", "create", "n", "-", stdin=b"from a pipe").returncode == 0
    assert [a.body for a in stub.asked] == [b"\x1f\x8bwhatever\x00\xff", b"from a pipe"]


def test_create_that_can_not_be(ask, stub, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for words in (["n", str(tmp_path / "missing")], ["n", str(tmp_path / "empty")], [""], ["n", "a", "b"], []):
        done = ask("volume", "create", *words)
        assert (done.returncode, done.stdout) == (2, b""), words
    assert not stub.asked
    stub.on("POST", "/volumes", (400, {"message": f"no archive{NASTY}", "code": "bad_archive"}))
    done = ask("volume", "create", "n", "-", stdin=b"x")
    assert (done.returncode, done.stdout) == (1, b"") and b"no archive" in done.stderr
    no_controls(done.stderr)


def test_what_was_left_out_is_said(ask, stub):
    stub.on("POST", "/volumes", (201, {**VOLUME, "dropped": {"links": 3, "paths": 0, "x" + NASTY.replace("\0", ""): 1}}))
    done = ask("volume", "create", "--json", "n", "-", stdin=b"x")
    assert done.returncode == 0 and json.loads(done.stdout)["volume_id"] == "vol-1"
    assert b"left out (links): 3" in done.stderr and b"paths" not in done.stderr
    no_controls(done.stdout, done.stderr)


def test_ls(ask, stub):
    pages = {"/volumes?limit=1000": ([VOLUME], "o1"), "/volumes?limit=1000&next_token=o1": ([{**VOLUME, "volume_id": "vol-2"}], None)}

    def page(handler, asked):
        rows, token = pages[asked.path]
        handler.whole(200, json.dumps({"volumes": rows, "next_token": token}).encode())

    stub.on("GET", "/volumes", page)
    done = ask("volume", "ls")
    rows = done.stdout.decode().splitlines()
    assert done.returncode == 0 and rows[0].split() == ["ID", "NAME", "SIZE", "FILES", "AGE"] and len(rows) == 3
    assert "3.0M" in rows[1] and " 7 " in rows[1]
    no_controls(done.stdout)
    assert ask("volume", "ls", "-q").stdout == b"vol-1\nvol-2\n"
    assert json.loads(ask("volume", "ls", "--json").stdout)["total"] == 2


def test_info_and_rm(ask, stub):
    stub.on("GET", "/volumes/vol-1", (200, VOLUME))
    stub.on("DELETE", "/volumes/vol-1", (200, {}))
    done = ask("volume", "info", "vol-1")
    assert done.returncode == 0 and b"3.0M" in done.stdout
    no_controls(done.stdout)
    assert json.loads(ask("volume", "info", "--json", "vol-1").stdout)["file_count"] == 7
    done = ask("volume", "rm", "vol-2", "vol-1")
    assert done.returncode == 1 and b"vol-2" in done.stderr and stub.lines[-1] == "DELETE /volumes/vol-1"
    assert json.loads(ask("volume", "rm", "--json", "vol-1").stdout) == {"volume_id": "vol-1"}


def test_download(ask, stub, tmp_path):
    stub.on("GET", "/volumes/vol-1/download", lambda handler, asked: handler.whole(200, b"\x1f\x8b\x00\x1b[1m"))
    done = ask("volume", "download", "vol-1")
    assert (done.returncode, done.stdout) == (0, b"\x1f\x8b\x00\x1b[1m")
    to = tmp_path / "v.tar.gz"
    to.write_bytes(b"before")
    assert ask("volume", "download", "vol-1", str(to)).returncode == 0
    assert to.read_bytes() == b"\x1f\x8b\x00\x1b[1m" and os.listdir(tmp_path) == ["v.tar.gz"]


def test_a_download_that_breaks_leaves_what_was_there(ask, stub, tmp_path):
    def cut(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"begin")
        handler.close_connection = True

    stub.on("GET", "/volumes/vol-1/download", cut)
    to = tmp_path / "v.tar.gz"
    to.write_bytes(b"before")
    assert ask("volume", "download", "vol-1", str(to)).returncode == 1
    assert to.read_bytes() == b"before" and os.listdir(tmp_path) == ["v.tar.gz"]


def test_out_of_a_sandbox(ask, stub):
    stub.on("POST", "/sandboxes/sbx-1/volumes/snapshot", (201, VOLUME))
    stub.on("POST", "/sandboxes/sbx-1/volumes/vol-9/commit", (201, VOLUME))
    assert ask("volume", "snapshot", "sbx-1:/home/a b", "--name", "x&y").stdout == b"vol-1\n"
    assert ask("volume", "snapshot", "sbx-1:/d").returncode == 0
    assert ask("volume", "commit", "sbx-1", "vol-9").stdout == b"vol-1\n"
    assert ask("volume", "commit", "--name=n", "sbx-1", "vol-9").returncode == 0
    assert stub.lines == ["POST /sandboxes/sbx-1/volumes/snapshot?path=%2Fhome%2Fa%20b&name=x%26y", "POST /sandboxes/sbx-1/volumes/snapshot?path=%2Fd",
                          "POST /sandboxes/sbx-1/volumes/vol-9/commit", "POST /sandboxes/sbx-1/volumes/vol-9/commit?name=n"]


@pytest.mark.parametrize("words", [["info", "../x"], ["rm"], ["info"], ["download", "a/b"], ["download"], ["snapshot", "/here"], ["snapshot", "sbx-1"],
                                   ["commit", "sbx-1"], ["commit", "sbx-1", "../x"], ["download", "vol-1", ""]])
def test_wrong_words(ask, stub, words):
    done = ask("volume", *words)
    assert (done.returncode, done.stdout) == (2, b"") and not stub.asked


def test_a_bad_answer(ask, stub):
    for body in ({}, {"volume_id": "a/b"}, {"volume_id": 7}, []):
        stub.on("POST", "/volumes/empty", (201, body))
        done = ask("volume", "create", "n")
        assert (done.returncode, done.stdout) == (1, b""), body


def test_sandbox_create(ask, stub):
    stub.on("POST", "/sandboxes", (201, {"sandbox_id": "sbx-1"}))
    assert ask("sandbox", "create", "--volume", "vol-1:/data", "--volume=vol-2:/a b:ro", "--volume", "vol-3:/c:rox").returncode == 0
    assert stub.asked[0].json == {"volumes": [{"volume_id": "vol-1", "mount_path": "/data"}, {"volume_id": "vol-2", "mount_path": "/a b", "mode": "mount-ro"},
                                              {"volume_id": "vol-3", "mount_path": "/c:rox"}]}
    for bad in ("vol-1", "vol-1:", "vol-1:data", "/data", "a/b:/data", ":ro"):
        assert ask("sandbox", "create", "--volume", bad).returncode == 2, bad
