# SPDX-License-Identifier: Apache-2.0
"""Files: text, bytes, streams, and paths that lead elsewhere."""

import hashlib
import json
import os
import socket
from urllib.parse import quote

import pytest

from conftest import eventually


def get(daemon, sandbox, path, raw=False, **query):
    extra = "".join(f"&{k}={quote(v)}" for k, v in query.items())
    return daemon.request("GET", f"/sandboxes/{sandbox}/files{'/raw' if raw else ''}?path={quote(path, safe='')}{extra}")


def put(daemon, sandbox, path, data, **query):
    extra = "".join(f"&{k}={quote(v)}" for k, v in query.items())
    return daemon.request("PUT", f"/sandboxes/{sandbox}/files/raw?path={quote(path, safe='')}{extra}", data)


def post(daemon, sandbox, **fields):
    return daemon.request("POST", f"/sandboxes/{sandbox}/files", fields)


def test_text_there_and_back(daemon, sandbox):
    text = "héllo\n\0 \U0001f600"
    answer = post(daemon, sandbox, path="/home/user/new/folder/a.txt", data=text, username="user")
    assert (answer.status, answer.json) == (200, {"path": "/home/user/new/folder/a.txt", "size": len(text.encode())})
    got = get(daemon, sandbox, "/home/user/new/folder/a.txt", username="user")
    assert (got.status, got.body) == (200, text.encode())
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert daemon.run(sandbox, "stat -c %U /home/user/new /home/user/new/folder/a.txt")["stdout"] == "user\nuser\n"


def test_bytes_there_and_back(daemon, sandbox):
    data = bytes(range(256)) * 10
    answer = put(daemon, sandbox, "b.bin", data)
    assert (answer.status, answer.json) == (200, {"path": "b.bin", "size": 2560})
    for raw in (False, True):
        got = get(daemon, sandbox, "/home/user/b.bin", raw)
        assert got.body == data and got.headers["Content-Type"] == "application/octet-stream"


def test_empty_file(daemon, sandbox):
    assert put(daemon, sandbox, "empty", b"").json == {"path": "empty", "size": 0}
    got = get(daemon, sandbox, "empty")
    assert (got.status, got.body) == (200, b"")
    assert post(daemon, sandbox, path="empty2", data="").json["size"] == 0


def test_a_shorter_file_replaces_a_longer_one(daemon, sandbox):
    post(daemon, sandbox, path="f", data="long text")
    post(daemon, sandbox, path="f", data="s")
    assert get(daemon, sandbox, "f").body == b"s"


@pytest.mark.parametrize("name", ["a b", "a+b", "a#b", "a&b=c", "a%20b", "é", "-", "...", "a..b", "new\nline"])
def test_odd_names(daemon, sandbox, name):
    path = f"/tmp/{name}"
    assert put(daemon, sandbox, path, b"x").json == {"path": path, "size": 1}
    assert get(daemon, sandbox, path).body == b"x"
    assert daemon.run(sandbox, 'cat -- "$P"', envs={"P": path})["stdout"] == "x"


def test_fifty_megabytes_both_ways(daemon, sandbox):
    data = os.urandom(1 << 20) * 50
    answer = put(daemon, sandbox, "/tmp/big", data)
    assert answer.json == {"path": "/tmp/big", "size": len(data)}
    assert daemon.run(sandbox, "sha256sum < /tmp/big")["stdout"].split()[0] == hashlib.sha256(data).hexdigest()
    assert get(daemon, sandbox, "/tmp/big").body == data


def test_streaming_holds_no_file_in_the_daemon(daemon, sandbox):
    def resident():
        with open(f"/proc/{daemon.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))

    before = resident()
    for i in range(2):
        put(daemon, sandbox, "/tmp/big", b"x" * (100 << 20))
        assert len(get(daemon, sandbox, "/tmp/big").body) == 100 << 20
    assert resident() - before < 20_000


def test_chunked_upload(daemon, sandbox):
    connection = daemon.connect()
    parts = [b"abc", b"d" * 100000, b"e"]
    connection.request("PUT", f"/sandboxes/{sandbox}/files/raw?path=c", iter(parts), {"X-API-Key": daemon.key}, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["size"] == 100004
    assert get(daemon, sandbox, "c").body == b"".join(parts)


@pytest.mark.parametrize(
    "path, user, status, code",
    [
        ("/no/such", "user", 404, "not_found"),
        ("/tmp", "user", 400, "is_directory"),
        ("/root/x", "user", 403, "permission_denied"),
        ("/etc/passwd/x", "user", 400, "invalid_path"),
        ("/dev/null", "user", 400, "file_error"),
        ("/etc/passwd", "nobody-here", 400, "file_error"),
        ("/" + "x" * 300, "user", 400, "invalid_path"),
    ],
)
def test_files_that_can_not_be_read(daemon, sandbox, path, user, status, code):
    answer = get(daemon, sandbox, path, username=user)
    assert (answer.status, answer.code) == (status, code), answer.body


@pytest.mark.parametrize("path, status, code", [("/tmp", 400, "is_directory"), ("/proc/x", 404, "not_found"), ("/root/x", 403, "permission_denied"), ("/etc/passwd/x", 400, "invalid_path"), ("/tmp/x/", 400, "is_directory")])
def test_files_that_can_not_be_written(daemon, sandbox, path, status, code):
    for answer in (post(daemon, sandbox, path=path, data="x"), put(daemon, sandbox, path, b"x" * 300000)):
        assert answer.status in (status, 403) and answer.code in (code, "permission_denied"), answer.body


BAD_PATHS = ["", "..", "../x", "/../etc/passwd", "/tmp/../etc/shadow", "/tmp/..", "a/../../b", "/" + "x/" * 3000, "a\0b"]


@pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
def test_paths_that_are_refused(daemon, sandbox, path):
    answers = [get(daemon, sandbox, path), get(daemon, sandbox, path, True), put(daemon, sandbox, path, b"x"), post(daemon, sandbox, path=path, data="x")]
    for answer in answers:
        assert answer.status == 400 and answer.code in ("invalid_path", "invalid_field"), answer.body
        assert "path" in answer.message


@pytest.mark.parametrize("fields", [{"data": "x"}, {"path": "x"}, {"path": "x", "data": 1}, {"path": ["x"], "data": ""}, {"path": "x", "data": "", "username": 1}, {"path": "x", "data": "", "username": "u" * 65}])
def test_bad_write(daemon, sandbox, fields):
    answer = post(daemon, sandbox, **fields)
    assert answer.status == 400 and answer.code in ("invalid_path", "invalid_field")
    assert any(name in answer.message for name in ("path", "data", "username"))


def test_no_path_at_all(daemon, sandbox):
    answer = daemon.request("GET", f"/sandboxes/{sandbox}/files")
    assert (answer.status, answer.code) == (400, "invalid_path")
    answer = daemon.request("PUT", f"/sandboxes/{sandbox}/files/raw", b"x" * 100000)
    assert (answer.status, answer.code) == (400, "invalid_path")


def test_a_symlink_never_leaves_the_sandbox(daemon, sandbox, tmp_path):
    """The link's target exists on the host and not in the sandbox: it is the sandbox's view that counts."""
    secret = tmp_path / "secret"
    secret.write_text("host")
    daemon.run(sandbox, f"ln -s {secret} /tmp/out; ln -s /../../../../../{secret} /tmp/up; ln -s /tmp/in /tmp/inside; echo box > /tmp/in")
    for link in ("/tmp/out", "/tmp/up"):
        assert get(daemon, sandbox, link).status in (403, 404)
        put(daemon, sandbox, link, b"changed")
        assert secret.read_text() == "host"
    assert get(daemon, sandbox, "/tmp/inside").body == b"box\n"
    assert get(daemon, sandbox, "/proc/1/root/etc/shadow").status in (400, 403, 404)


def test_no_space(daemon, sandbox):
    answer = put(daemon, sandbox, "/home/user/fill", b"x" * (400 << 20))
    for i in range(4):
        if answer.status != 200:
            break
        answer = put(daemon, sandbox, f"/home/user/fill{i}", b"x" * (400 << 20))
    assert (answer.status, answer.code) == (413, "not_enough_space")


def test_upload_over_the_limit_touches_nothing(daemon, sandbox):
    post(daemon, sandbox, path="kept", data="kept")
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.sendall(f"PUT /sandboxes/{sandbox}/files/raw?path=kept HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: {(500 << 20) + 1}\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 413")
    assert get(daemon, sandbox, "kept").body == b"kept"


def test_an_upload_that_breaks_off_frees_its_operation(daemon, sandbox):
    for _ in range(70):
        with socket.create_connection((daemon.host, daemon.port), 10) as s:
            s.sendall(f"PUT /sandboxes/{sandbox}/files/raw?path=part HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: 1000\r\n\r\nabc".encode())
    assert eventually(lambda: put(daemon, sandbox, "whole", b"x").status == 200)


def test_a_download_that_breaks_off_frees_its_operation(daemon, sandbox):
    put(daemon, sandbox, "/tmp/big", b"x" * (20 << 20))
    for _ in range(70):
        with socket.create_connection((daemon.host, daemon.port), 10) as s:
            s.sendall(f"GET /sandboxes/{sandbox}/files?path=/tmp/big HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
            assert s.recv(1000).startswith(b"HTTP/1.1 200")
    assert eventually(lambda: get(daemon, sandbox, "/etc/hostname").status != 429, 10)


def test_a_kill_breaks_a_download_visibly(daemon):
    sandbox = daemon.create()["sandbox_id"]
    put(daemon, sandbox, "/tmp/big", b"x" * (50 << 20))
    connection = daemon.connect()
    connection.request("GET", f"/sandboxes/{sandbox}/files?path=/tmp/big", headers={"X-API-Key": daemon.key})
    response = connection.getresponse()
    assert response.read(1000)
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    with pytest.raises(Exception):
        assert len(response.read()) == (50 << 20) - 1000
        raise AssertionError("the whole file came")
