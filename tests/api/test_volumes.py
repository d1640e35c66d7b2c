# SPDX-License-Identifier: Apache-2.0
"""Volumes: made of archives, listed, given back, deleted; what is half made or another owner's does not exist."""

import gzip
import io
import os
import re
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from conftest import Daemon, eventually
from test_owners import new_key

MIB = 1 << 20


def tar_gz(files: Dict[str, bytes], links: Tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            t.addfile(info)
    return out.getvalue()


def make(daemon: Daemon, name: str = "v", body: bytes = b"", **kwargs: Any) -> Dict[str, Any]:
    answer = daemon.request("POST", f"/volumes?name={name}", body, {"Content-Type": "application/gzip"}, **kwargs)
    assert answer.status == 201, answer.body
    return answer.json


def on_disk(daemon: Daemon) -> List[str]:
    return sorted(os.listdir(daemon.data / "volumes"))


def ids(daemon: Daemon, query: str = "") -> List[str]:
    return [v["volume_id"] for v in daemon.request("GET", "/volumes" + query).json["volumes"]]


@pytest.fixture(autouse=True)
def no_volumes(request: pytest.FixtureRequest) -> None:
    """Each test starts with none."""
    if "daemon" in request.fixturenames:
        daemon = request.getfixturevalue("daemon")
        for volume in ids(daemon):
            assert daemon.request("DELETE", f"/volumes/{volume}").status == 200
        assert eventually(lambda: on_disk(daemon) == [], 20), on_disk(daemon)


def test_life(daemon: Daemon) -> None:
    body = tar_gz({"a.txt": b"hello", "d/b.bin": os.urandom(1000)})
    made = make(daemon, "first%20one", body)
    assert re.fullmatch("vol-[a-z0-9]{8}", made["volume_id"])
    assert made["name"] == "first one" and made["owner_id"] == "local" and made["size_bytes"] == len(body)
    assert made["content_bytes"] == 1005 and made["file_count"] == 2 and made["backend"] == "tarball"
    assert made["metadata"] == {} and made["content_type"] == "application/gzip" and "dropped" not in made
    got = daemon.request("GET", f"/volumes/{made['volume_id']}")
    assert got.status == 200 and got.json == made
    download = daemon.request("GET", f"/volumes/{made['volume_id']}/download")
    assert download.status == 200 and download.body == body and download.headers["Content-Type"] == "application/gzip"
    deleted = daemon.request("DELETE", f"/volumes/{made['volume_id']}")
    assert (deleted.status, deleted.json) == (200, {})
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/download"), ("GET", "/files/list"), ("GET", "/locks")):
        answer = daemon.request(method, f"/volumes/{made['volume_id']}{path}")
        assert (answer.status, answer.code) == (404, "volume_not_found")
    assert eventually(lambda: on_disk(daemon) == [])


def test_on_the_disk(daemon: Daemon) -> None:
    volume = make(daemon, "v", tar_gz({"d/f": b"x"}, ("l",)))
    assert volume["dropped"] == {"links": 1, "special": 0, "paths": 0, "conflicts": 0}
    top = daemon.data / "volumes" / volume["volume_id"]
    assert sorted(os.listdir(top)) == ["archive.tar.gz", "files"] and os.listdir(top / "files") == ["d"]
    for path in (top / "files", top / "files/d", top / "files/d/f"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1000)
    assert (daemon.data / "volumes").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path, headers", [("/volumes?name=e", {"Content-Type": "application/json", "Content-Length": "0"}),
                                           ("/volumes?name=e", {}), ("/volumes/empty?name=e", {"Content-Type": "application/json"})])
def test_empty(daemon: Daemon, path: str, headers: Dict[str, str]) -> None:
    answer = daemon.request("POST", path, b"", headers)
    assert answer.status == 201 and answer.json["content_bytes"] == 0 and answer.json["file_count"] == 0
    download = daemon.request("GET", f"/volumes/{answer.json['volume_id']}/download").body
    assert len(download) == answer.json["size_bytes"]
    with tarfile.open(fileobj=io.BytesIO(download)) as t:
        assert t.getnames() == []
    # What was given out can be given back.
    assert make(daemon, "again", download)["file_count"] == 0


def test_list_is_newest_first_and_has_pages(daemon: Daemon) -> None:
    made = [make(daemon, f"v{i}")["volume_id"] for i in range(5)][::-1]
    assert ids(daemon) == made
    first = daemon.request("GET", "/volumes?limit=2").json
    assert [v["volume_id"] for v in first["volumes"]] == made[:2] and first["total"] == 5
    second = daemon.request("GET", f"/volumes?limit=2&next_token={first['next_token']}").json
    assert [v["volume_id"] for v in second["volumes"]] == made[2:4]
    last = daemon.request("GET", f"/volumes?limit=2&next_token={second['next_token']}").json
    assert [v["volume_id"] for v in last["volumes"]] == made[4:] and last["next_token"] is None
    assert daemon.request("GET", "/volumes?offset=99").json == {"volumes": [], "next_token": None, "total": 5}
    for bad in ("limit=0", "limit=x", "next_token=x", "offset=-1"):
        assert daemon.request("GET", f"/volumes?{bad}").status == 400, bad


@pytest.mark.parametrize("query", ["", "?name=", "?name=" + "x" * 129, "?name=a%0ab", "?name=%ff", "?name=a%00b", "?name=%C2%85"])
@pytest.mark.parametrize("path", ["/volumes", "/volumes/empty"])
def test_names_that_are_refused(daemon: Daemon, path: str, query: str) -> None:
    answer = daemon.request("POST", path + query, tar_gz({"f": b"x"}))
    assert (answer.status, answer.code) == (400, "invalid_field") and "name" in answer.message
    assert on_disk(daemon) == []


def test_names_that_are_not(daemon: Daemon) -> None:
    for name in ("x" * 128, "../../etc", "ü \N{GRINNING FACE}/\\'\"%"):
        from urllib.parse import quote
        assert make(daemon, quote(name, safe=""))["name"] == name
    assert make(daemon, "twice")["volume_id"] != make(daemon, "twice")["volume_id"], "a name is no key"


@pytest.mark.parametrize("body", [b"hello", gzip.compress(b"no tar" * 999), tar_gz({"f": b"x" * 99})[:-20], gzip.decompress(tar_gz({"f": b"x"}))],
                         ids=["text", "gzip", "cut", "plain"])
def test_bad_archives_leave_nothing(daemon: Daemon, body: bytes) -> None:
    answer = daemon.request("POST", "/volumes?name=v", body)
    assert (answer.status, answer.code) == (400, "bad_archive")
    assert ids(daemon) == [] and eventually(lambda: on_disk(daemon) == [])


def test_slips_stay_inside(daemon: Daemon) -> None:
    mark = daemon.data / "volumes" / "evil"
    volume = make(daemon, "v", tar_gz({"../evil": b"x", str(mark): b"x", "../../../../../../tmp/declaw-evil": b"x", "good": b"x"}))
    assert volume["dropped"]["paths"] == 3 and volume["file_count"] == 1
    assert on_disk(daemon) == [volume["volume_id"]] and not Path("/tmp/declaw-evil").exists()


def test_an_upload_that_stops_half_way(daemon: Daemon) -> None:
    body = tar_gz({"f": os.urandom(200_000)})
    for head in (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"):
        with socket.create_connection((daemon.host.strip("[]"), daemon.port)) as s:
            s.sendall(f"POST /volumes?name=v HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\n{head}\r\n\r\n".encode())
            s.sendall(body[:100_000] if "Length" in head else b"%x\r\n%s\r\n" % (100_000, body[:100_000]))
            assert eventually(lambda: on_disk(daemon)), "it is being written"
            assert all(name.startswith(".new-") for name in on_disk(daemon)) and ids(daemon) == []
        assert eventually(lambda: on_disk(daemon) == []), head
    assert ids(daemon) == []


def test_chunked(daemon: Daemon) -> None:
    body = tar_gz({"f": os.urandom(3 * MIB)})
    connection = daemon.connect()
    connection.request("POST", "/volumes?name=v", iter([body[i : i + 70_001] for i in range(0, len(body), 70_001)]),
                       {"X-API-Key": daemon.key}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 201 and b'"file_count":1' in answer.read()
    connection.close()


def rss_kib(pid: int) -> int:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def test_uploads_are_not_held_in_memory(make_daemon: Any) -> None:
    daemon = make_daemon()
    make(daemon, "small", tar_gz({"f": b"x"}))
    before = rss_kib(daemon.process.pid)
    body = tar_gz({"f": os.urandom(96 * MIB)})
    volume = make(daemon, "large", body)
    assert daemon.request("GET", f"/volumes/{volume['volume_id']}/download").body == body
    if "asan" not in os.environ.get("DECLAW_BUILD", ""):
        assert rss_kib(daemon.process.pid) - before < 24 * 1024


def test_the_operators_bound(make_daemon: Any) -> None:
    daemon = make_daemon("--volume-mb", "2")
    assert make(daemon, "fits", tar_gz({"f": os.urandom(MIB)}))["quota_bytes"] == 2 * MIB
    answer = daemon.request("POST", "/volumes?name=v", tar_gz({"f": os.urandom(3 * MIB)}))
    assert answer.status == 413
    connection = daemon.connect()
    connection.request("POST", "/volumes?name=v", iter([os.urandom(MIB)] * 3), {"X-API-Key": daemon.key}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    # Small as it is sent, large as it is.
    answer = daemon.request("POST", "/volumes?name=v", tar_gz({"f": bytes(3 * MIB)}))
    assert (answer.status, answer.code) == (413, "too_large")
    assert len(ids(daemon)) == 1 and eventually(lambda: len(on_disk(daemon)) == 1)
    for bad in ("0", "1048577", "x", ""):
        with pytest.raises(AssertionError):
            make_daemon("--volume-mb", bad)


def test_leftovers_are_removed_at_a_start(make_daemon: Any) -> None:
    first = make_daemon()
    volume = make(first, "stays", tar_gz({"f": b"x"}))
    first.stop(remove=False)
    top = first.data / "volumes"
    (top / ".new-vol-abcdefgh/files").mkdir(parents=True)
    (top / ".gone-vol-abcdefgh/files").mkdir(parents=True)
    (top / "vol-norecord/files").mkdir(parents=True)
    (top / "stray").write_text("x")
    second = make_daemon(data=first.data)
    assert on_disk(second) == [volume["volume_id"]]
    assert second.request("GET", f"/volumes/{volume['volume_id']}").json == volume
    assert second.request("GET", f"/volumes/{volume['volume_id']}/download").status == 200


def test_a_killed_unpacker(make_daemon: Any, tmp_path: Path) -> None:
    """As it can be for want of memory: an error, and nothing of it is left."""
    daemon = make_daemon()
    # More than a pipe's worth of work, so that it can be met.
    body = gzip.compress(gzip.decompress(tar_gz({f"f{i}": b"x" * 100 for i in range(20_000)})), 1)
    answers: List[Any] = []
    thread = threading.Thread(target=lambda: answers.append(daemon.request("POST", "/volumes?name=v", body)))
    thread.start()
    found = eventually(lambda: daemon._named("declaw-unpack"), 20)
    if found:
        os.kill(found, 9)
    thread.join(60)
    if found and answers[0].status != 201:  # it may have been done already
        assert (answers[0].status, answers[0].code) == (500, "internal")
        assert ids(daemon) == [] and eventually(lambda: on_disk(daemon) == [])


def test_too_many(make_daemon: Any) -> None:
    daemon = make_daemon()
    import sqlite3
    with sqlite3.connect(daemon.data / "state.db") as db:
        db.executemany("INSERT INTO volume (id, owner, name, archive_bytes, bytes, files, created_us) VALUES (?, 'local', 'x', 1, 1, 1, 1)",
                       [(f"vol-{i:08}",) for i in range(1000)])
    db.close()
    answer = daemon.request("POST", "/volumes?name=v", tar_gz({"f": b"x"}))
    assert (answer.status, answer.code) == (429, "too_many_volumes") and on_disk(daemon) == []
    assert len(ids(daemon)) == 1000, "a client that knows no pages sees all"
    assert make(daemon, key=new_key(daemon, "other")["api_key"])["owner_id"] == "other"


# What there is not


@pytest.mark.parametrize("method, path", [("PUT", "raw?path=a"), ("GET", "raw?path=a"), ("GET", "list?path=/"), ("GET", "info?path=a"),
                                          ("GET", "exists?path=a"), ("POST", "mkdir")])
def test_files_one_by_one(daemon: Daemon, method: str, path: str) -> None:
    volume = make(daemon)["volume_id"]
    answer = daemon.request(method, f"/volumes/{volume}/files/{path}", b'{"path":"x"}' if method != "GET" else None)
    assert (answer.status, answer.code) == (409, "volume_not_file_granular") and "tarball" in answer.message
    assert daemon.request(method, f"/volumes/vol-none0000/files/{path}").status == 404


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_files_of_a_volume_stay(daemon: Daemon, method: str) -> None:
    volume = make(daemon)["volume_id"]
    assert daemon.request(method, f"/volumes/{volume}/files?path=a&recursive=true", b"{}").status == 409


@pytest.mark.parametrize("method, path", [("POST", ""), ("POST", "/renew"), ("DELETE", ""), ("GET", "?path=a")])
def test_locks(daemon: Daemon, method: str, path: str) -> None:
    volume = make(daemon)["volume_id"]
    answer = daemon.request(method, f"/volumes/{volume}/locks{path}", b'{"path":"x"}')
    assert (answer.status, answer.code) == (422, "unsupported_operation") and "locks" in answer.message
    assert daemon.request(method, f"/volumes/vol-none0000/locks{path}", b"{}").status == 404


def test_ingest(daemon: Daemon) -> None:
    answer = daemon.request("POST", "/volumes/ingest?name=x", tar_gz({"f": os.urandom(MIB)}))
    assert (answer.status, answer.code) == (422, "unsupported_operation") and on_disk(daemon) == []


# Owners


def test_others_volumes_do_not_exist(daemon: Daemon) -> None:
    other = new_key(daemon, "other-volumes")["api_key"]
    volume = make(daemon, "mine", tar_gz({"f": b"x"}))["volume_id"]
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("GET", "/download", None), ("GET", "/files/list?path=/", None),
                               ("PUT", "/files/raw?path=a", b"x"), ("POST", "/locks", b"{}"), ("GET", "/locks?path=a", None)):
        theirs = daemon.request(method, f"/volumes/{volume}{path}", body, key=other)
        never = daemon.request(method, f"/volumes/vol-never000{path}", body, key=other)
        assert (theirs.status, theirs.body) == (never.status, never.body) == (404, never.body), (method, path)
    assert daemon.request("GET", "/volumes", key=other).json == {"volumes": [], "next_token": None, "total": 0}
    assert ids(daemon) == [volume]
    answer = daemon.request("POST", "/sandboxes", {"volumes": [{"volume_id": volume, "mount_path": "/data"}]}, key=other)
    assert (answer.status, answer.code) == (404, "volume_not_found")


def test_no_key(daemon: Daemon) -> None:
    assert daemon.request("POST", "/volumes?name=v", tar_gz({"f": b"x"}), key=None).status == 401
    assert daemon.request("GET", "/volumes", key=None).status == 401 and on_disk(daemon) == []


def test_several_at_one_time(daemon: Daemon) -> None:
    """More than there are unpackers: each waits for its turn."""
    body = tar_gz({f"d{i}/f": os.urandom(2000) for i in range(200)})
    done: List[Dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: done.append(make(daemon, "v", body))) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(done) == 24 and len(ids(daemon)) == 24 and all(v["file_count"] == 200 for v in done)


def test_deleted_while_it_is_downloaded(daemon: Daemon) -> None:
    body = tar_gz({"f": os.urandom(8 * MIB)})
    volume = make(daemon, "v", body)["volume_id"]
    connection = daemon.connect()
    connection.request("GET", f"/volumes/{volume}/download", headers={"X-API-Key": daemon.key})
    answer = connection.getresponse()
    start = answer.read(1000)
    assert daemon.request("DELETE", f"/volumes/{volume}").status == 200
    assert start + answer.read() == body
    connection.close()
