# SPDX-License-Identifier: Apache-2.0
"""Directories and entries: list, exists, info, remove, rename, mkdir, and batches of files."""

import json
import re
from urllib.parse import quote, urlencode

import pytest

HTTPX = {"User-Agent": "python-httpx/0.27.0"}
ODD_NAMES = ["a b", 'q"uo\'te', "new\nline", "a#b", "a&b=c", "a+b", "a%20b", "100%", "é", "\U0001f600", "-", "...", "n" * 255, "\u2028", "back\\slash"]
BAD_PATHS = ["", "..", "../x", "/../etc", "/tmp/../etc", "/tmp/..", "/" + "x/" * 3000, "a\0b"]


def get(daemon, sandbox, what, path, **query):
    return daemon.request("GET", f"/sandboxes/{sandbox}/files/{what}?{urlencode({'path': path, **query})}")


def listed(daemon, sandbox, path, **query):
    answer = get(daemon, sandbox, "list", path, **query)
    assert answer.status == 200, answer.body
    return answer.json


def remove(daemon, sandbox, path, **query):
    return daemon.request("DELETE", f"/sandboxes/{sandbox}/files?{urlencode({'path': path, **query})}")


def rename(daemon, sandbox, old, new, **fields):
    return daemon.request("PATCH", f"/sandboxes/{sandbox}/files", {"old_path": old, "new_path": new, **fields})


def mkdir(daemon, sandbox, path, **fields):
    return daemon.request("POST", f"/sandboxes/{sandbox}/files/mkdir", {"path": path, **fields})


def batch(daemon, sandbox, files, **fields):
    return daemon.request("POST", f"/sandboxes/{sandbox}/files/batch", {"files": files, **fields})


def run(daemon, sandbox, cmd, user="user"):
    result = daemon.run(sandbox, cmd, user=user)
    assert result["exit_code"] == 0, result
    return result["stdout"]


def test_an_entry_is_whole(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p d/sub; printf hello > d/f; chmod 640 d/f; ln -s f d/link; ln -s sub d/dirlink; ln -s none d/dangling; touch -d '2026-01-02 03:04:05.678901 UTC' d/f")
    entries = listed(daemon, sandbox, "/home/user/d")
    assert [(e["name"], e["type"], e["size"]) for e in entries] == [("dangling", "file", 4), ("dirlink", "dir", 0), ("f", "file", 5), ("link", "file", 5), ("sub", "dir", 0)]
    assert entries[2] == {
        "name": "f", "path": "/home/user/d/f", "type": "file", "size": 5, "mode": "0640", "modified": "2026-01-02T03:04:05.678901+00:00", "owner": "user", "group": "user",
    }
    assert [e.get("symlink_target") for e in entries] == ["none", "sub", None, "f", None]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", e["modified"]) for e in entries)
    assert entries == [get(daemon, sandbox, "info", e["path"]).json for e in entries]
    assert listed(daemon, sandbox, "d", username="user") == entries
    assert listed(daemon, sandbox, "//home/.//user/d/") == entries


def test_depth(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p t/a/b/c t/z; touch t/a/1 t/a/b/2; ln -s .. t/a/loop")
    names = lambda **q: [e["path"][len("/home/user/t/"):] for e in listed(daemon, sandbox, "t", **q)]
    assert names() == names(depth=1) == ["a", "z"]
    assert names(depth=2) == ["a", "a/1", "a/b", "a/loop", "z"]
    assert names(depth=3) == ["a", "a/1", "a/b", "a/b/2", "a/b/c", "a/loop", "z"]
    assert names(depth=4) == names(depth=1000000) == names(depth=3)
    for depth in ("0", "-1", "x", "1.5", ""):
        answer = get(daemon, sandbox, "list", "t", depth=depth)
        assert (answer.status, answer.code) == (400, "invalid_field") and "depth" in answer.message


@pytest.mark.parametrize("path, status, code", [
    ("/etc/passwd", 400, "invalid_path"), ("/root", 403, "permission_denied"), ("/etc/passwd/x", 400, "invalid_path"), ("/" + "n" * 256, 400, "invalid_path"), ("/proc/1/fd", 403, "permission_denied"),
])
def test_what_can_not_be_listed(daemon, sandbox, path, status, code):
    answer = get(daemon, sandbox, "list", path)
    assert (answer.status, answer.code) == (status, code), answer.body


def test_a_missing_directory_lists_as_empty(daemon, sandbox):
    assert listed(daemon, sandbox, "/no/such/directory") == []
    run(daemon, sandbox, "mkdir empty; ln -s nowhere gone")
    assert listed(daemon, sandbox, "empty") == [] == listed(daemon, sandbox, "gone")


def test_whole_machine_views(daemon, sandbox):
    """Directories that change while they are read, and links of the kernel's own."""
    names = [e["name"] for e in listed(daemon, sandbox, "/")]
    assert {"etc", "home", "proc", "tmp"} <= set(names) and names == sorted(names, key=str.encode)
    assert {e["name"]: e["type"] for e in listed(daemon, sandbox, "/proc")}["1"] == "dir"
    assert all(e["path"].startswith("/proc/self/") for e in listed(daemon, sandbox, "/proc/self", depth=2, username="root"))
    assert get(daemon, sandbox, "info", "/").json["name"] == "/"


def test_twenty_thousand_entries(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p /tmp/many && cd /tmp/many && seq -f 'file with a name %06g' 1 20000 | tr '\\n' '\\0' | xargs -0 touch")
    entries = listed(daemon, sandbox, "/tmp/many")
    assert [e["name"] for e in entries] == [f"file with a name {i:06d}" for i in range(1, 20001)]


def test_too_many_entries(daemon, sandbox):
    """Links with long targets reach the bound on bytes long before the disk has 100,000 names."""
    long_target = "x" * 4000
    run(daemon, sandbox, f"mkdir -p /tmp/more/0 && cd /tmp/more && for i in $(seq 100); do ln -s {long_target} 0/$i; done && for i in $(seq 99); do cp -a 0 $i; done")
    answer = get(daemon, sandbox, "list", "/tmp/more", depth=2)
    assert (answer.status, answer.code) == (413, "too_many_entries")
    assert "100000" in answer.message and "depth" in answer.message
    assert len(listed(daemon, sandbox, "/tmp/more")) == 100
    assert len(listed(daemon, sandbox, "/tmp/more/99")) == 100
    assert remove(daemon, sandbox, "/tmp/more").json == {}


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_odd_names(daemon, sandbox, name):
    folder, path = "/tmp/odd", f"/tmp/odd/{name}"
    assert batch(daemon, sandbox, [{"path": path, "data": "x"}]).json == [{"path": path, "size": 1}]
    entry = listed(daemon, sandbox, folder)
    assert [(e["name"], e["path"]) for e in entry] == [(name, path)]
    assert get(daemon, sandbox, "exists", path).json == {"exists": True}
    assert get(daemon, sandbox, "info", path).json == entry[0]
    moved = f"/tmp/odd/m{name[1:]}"
    assert rename(daemon, sandbox, path, moved).json["path"] == moved
    assert remove(daemon, sandbox, moved).json == {}
    assert mkdir(daemon, sandbox, path).json == {"created": True}
    assert remove(daemon, sandbox, path).json == {}
    assert listed(daemon, sandbox, folder) == []


def test_names_that_are_not_text(daemon, sandbox):
    run(daemon, sandbox, r"""mkdir bytes; touch "bytes/$(printf 'a\377b')"; ln -s "$(printf '\376')" bytes/link; mkdir "bytes/$(printf 'd\303')"; touch "bytes/$(printf 'd\303')/f" """)
    entries = listed(daemon, sandbox, "bytes", depth=2)
    assert [e["name"] for e in entries] == ["a\ufffdb", "d\ufffd", "f", "link"]
    assert entries[2]["path"] == "/home/user/bytes/d\ufffd/f" and entries[3]["symlink_target"] == "\ufffd"
    raw = f"/sandboxes/{sandbox}/files/info?path=bytes/a%FFb"
    assert daemon.request("GET", raw).json["name"] == "a\ufffdb"
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path=bytes/a%FFb").json == {}


@pytest.mark.parametrize("path", BAD_PATHS, ids=range(len(BAD_PATHS)))
def test_paths_that_are_refused(daemon, sandbox, path):
    answers = [get(daemon, sandbox, what, path) for what in ("list", "exists", "info")]
    answers += [remove(daemon, sandbox, path), mkdir(daemon, sandbox, path), rename(daemon, sandbox, path, "/tmp/x"), rename(daemon, sandbox, "/tmp/x", path)]
    answers += [batch(daemon, sandbox, [{"path": path, "data": ""}])]
    for answer in answers:
        assert answer.status == 400 and answer.code in ("invalid_path", "invalid_field"), answer.body
        assert "path" in answer.message


@pytest.mark.parametrize("what", ["list", "exists", "info", "remove"])
def test_queries_that_are_refused(daemon, sandbox, what):
    method, route = ("DELETE", "files") if what == "remove" else ("GET", f"files/{what}")
    assert daemon.request(method, f"/sandboxes/{sandbox}/{route}").code == "invalid_path"
    assert daemon.request(method, f"/sandboxes/{sandbox}/{route}?path=/tmp&username={'u' * 65}").code == "invalid_field"
    answer = daemon.request(method, f"/sandboxes/{sandbox}/{route}?path=/tmp/x&username=nobody-here")
    assert (answer.status, answer.code) == (400, "file_error")
    assert daemon.request(method, f"/sandboxes/none/{route}?path=/tmp").status == 404


def test_exists(daemon, sandbox):
    run(daemon, sandbox, "touch f; ln -s nowhere dangling; ln -s l2 l1; ln -s l1 l2")
    exists = lambda path, **q: get(daemon, sandbox, "exists", path, **q).json
    for path in ("f", "/home/user/f", "/", "dangling", "l1"):
        assert exists(path) == {"exists": True}
    for path in ("g", "/no/such", "f/x", "dangling/x"):
        assert exists(path) == {"exists": False}
    assert get(daemon, sandbox, "exists", "/root/x").code == "permission_denied"
    assert exists("/root/x", username="root") == {"exists": False}
    assert get(daemon, sandbox, "exists", "l1/x").code == "invalid_path"


def test_info_of_nothing(daemon, sandbox):
    answer = get(daemon, sandbox, "info", "/tmp/none")
    assert (answer.status, answer.code) == (404, "not_found")
    assert get(daemon, sandbox, "info", "/root/x").status == 403


def test_remove(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p d/e/f kept; touch d/1 d/e/2 kept/x; ln -s ~/kept d/e/out; ln -s kept link")
    for path in ("link", "d/1", "d"):
        assert remove(daemon, sandbox, path).json == {}
        answer = remove(daemon, sandbox, path)
        assert (answer.status, answer.code) == (404, "not_found")
    assert run(daemon, sandbox, "ls; ls kept") == "kept\nx\n"
    assert remove(daemon, sandbox, "/").status == 400


def test_remove_is_the_users(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p /srv/r/in; touch /srv/r/in/f /tmp/roots; mkdir /home/user/in; touch /home/user/in/f; chmod 755 /home/user/in", user="root")
    for path in ("/etc/passwd", "/srv/r", "/srv/r/in/f", "/tmp/roots", "/home/user/in"):
        answer = remove(daemon, sandbox, path, username="user")
        assert (answer.status, answer.code) == (403, "permission_denied"), path
    run(daemon, sandbox, "test -e /srv/r/in/f && test -e /tmp/roots && test -e /home/user/in/f")
    for path in ("/srv/r", "/tmp/roots", "/home/user/in"):
        assert remove(daemon, sandbox, path, username="root").json == {}


def test_removing_a_mount_point_touches_nothing_in_it(daemon, sandbox):
    before = run(daemon, sandbox, "ls /dev")
    answer = remove(daemon, sandbox, "/dev", username="root")
    assert answer.status in (403, 409) and answer.code in ("busy", "permission_denied")
    assert run(daemon, sandbox, "ls /dev") == before


@pytest.mark.parametrize("name", ["plain", "a b", "a&b", "a=b", "a+b", "a&username=b", "é", "x&path=y"])
def test_remove_as_a_client_does_that_does_not_encode(daemon, sandbox, name):
    """python-httpx encodes spaces and what is not ASCII, and leaves '&', '=' and '+' as they are."""
    run(daemon, sandbox, "touch a x keep")
    batch(daemon, sandbox, [{"path": f"/home/user/d/{name}", "data": ""}, {"path": "/home/user/d/other", "data": ""}])
    sent = quote(f"/home/user/d/{name}", safe="/&=+")
    answer = daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path={sent}&username=user", headers=HTTPX)
    assert (answer.status, answer.json) == (200, {}), answer.body
    assert [e["name"] for e in listed(daemon, sandbox, "d")] == ["other"]
    assert run(daemon, sandbox, "ls") == "a\nd\nkeep\nx\n"


def test_remove_of_a_path_that_was_cut(daemon, sandbox):
    batch(daemon, sandbox, [{"path": "/home/user/a/b/kept", "data": ""}, {"path": "/home/user/a/b#c", "data": ""}])
    answer = daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path=/home/user/a/b", headers=HTTPX)
    assert (answer.status, answer.code) == (400, "invalid_path") and "#" in answer.message
    assert run(daemon, sandbox, "ls a/b") == "kept\n"
    # What it means is still refused where it must be, and others are read as everybody reads a query.
    for query in ("path=/tmp/../etc&username=user", "username=user", "", "path=%00&username=user", "path=&username=user"):
        answer = daemon.request("DELETE", f"/sandboxes/{sandbox}/files?{query}", headers=HTTPX)
        assert (answer.status, answer.code) == (400, "invalid_path"), query
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path=/home/user/a/b%23c&username=user", headers=HTTPX).json == {}
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path=/home/user/a/b").json == {}


def test_rename(daemon, sandbox):
    run(daemon, sandbox, "mkdir -p d/in full/x empty; printf 12 > f; ln -s f l")
    answer = rename(daemon, sandbox, "f", "/home/user/g", username="user")
    assert (answer.status, answer.json["path"], answer.json["name"], answer.json["size"]) == (200, "/home/user/g", "g", 2)
    assert rename(daemon, sandbox, "l", "l2").json["symlink_target"] == "f"
    assert rename(daemon, sandbox, "d", "empty").json["type"] == "dir"
    for old, new, status, code in [
        ("none", "x", 404, "not_found"), ("g", "no/x", 404, "not_found"), ("g", "full", 400, "is_directory"), ("full", "g", 400, "invalid_path"),
        ("empty", "full", 409, "not_empty"), ("full", "full/x/y", 400, "file_error"), ("g", "/etc/x", 403, "permission_denied"), ("g", "/proc/x", 409, "cross_device"),
    ]:
        answer = rename(daemon, sandbox, old, new)
        assert (answer.status, answer.code) == (status, code), (old, new, answer.body)
    assert run(daemon, sandbox, "cat g; ls") == "12empty\nfull\ng\nl2\n"


def test_mkdir(daemon, sandbox):
    assert mkdir(daemon, sandbox, "/home/user/a/b/c", username="user").json == {"created": True}
    assert mkdir(daemon, sandbox, "/home/user/a/b/c").json == {"created": False}
    assert run(daemon, sandbox, "stat -c %U:%a a a/b/c; touch a/b/c/f") == "user:755\nuser:755\n"
    for path, status, code in [("a/b/c/f", 409, "already_exists"), ("a/b/c/f/g", 400, "invalid_path"), ("/etc/x", 403, "permission_denied"), ("/root/x/y", 403, "permission_denied")]:
        answer = mkdir(daemon, sandbox, path)
        assert (answer.status, answer.code) == (status, code), (path, answer.body)
    assert mkdir(daemon, sandbox, "/root/x/y", username="root").json == {"created": True}


@pytest.mark.parametrize("method, route, body", [
    ("PATCH", "files", {}), ("PATCH", "files", {"old_path": "x"}), ("PATCH", "files", {"old_path": 1, "new_path": "x"}), ("PATCH", "files", {"old_path": "x", "new_path": "y", "username": 1}),
    ("POST", "files/mkdir", {}), ("POST", "files/mkdir", {"path": ["x"]}), ("POST", "files/mkdir", {"path": "x", "username": {}}),
    ("POST", "files/batch", {}), ("POST", "files/batch", {"files": {}}), ("POST", "files/batch", {"files": [1]}), ("POST", "files/batch", {"files": [{"path": "x"}]}),
    ("POST", "files/batch", {"files": [{"path": "x", "data": 1}]}), ("POST", "files/batch", {"files": [{"data": "x"}]}), ("POST", "files/batch", {"files": [{"path": "x", "data": "", "username": 1}]}),
    ("POST", "files/batch", {"files": [{"path": "x", "data": ""}] * 5001}),
])
def test_bodies_that_are_refused(daemon, sandbox, method, route, body):
    answer = daemon.request(method, f"/sandboxes/{sandbox}/{route}", body)
    assert answer.status == 400 and answer.code in ("invalid_path", "invalid_field"), answer.body
    assert any(word in answer.message for word in ("path", "username", "files", "data"))
    assert listed(daemon, sandbox, "x") == [] and get(daemon, sandbox, "exists", "x").json == {"exists": False}


def test_batch(daemon, sandbox):
    files = [{"path": "b/1", "data": "one"}, {"path": "/home/user/b/c/2", "data": "zwei \U0001f600\0"}, {"path": "/root/3", "data": "", "username": "root"}]
    answer = batch(daemon, sandbox, files, username="user")
    assert (answer.status, answer.json) == (200, [{"path": "b/1", "size": 3}, {"path": "/home/user/b/c/2", "size": 10}, {"path": "/root/3", "size": 0}])
    assert run(daemon, sandbox, "cat b/1; stat -c %U b/1 b/c/2") == "oneuser\nuser\n"
    assert batch(daemon, sandbox, []).json == []
    assert daemon.request("POST", "/sandboxes/none/files/batch", {"files": []}).status == 404


def test_a_batch_that_fails_half_way_says_how_far_it_came(daemon, sandbox):
    answer = batch(daemon, sandbox, [{"path": "h1", "data": "1"}, {"path": "/root/h2", "data": "2"}, {"path": "h3", "data": "3"}])
    assert (answer.status, answer.code) == (403, "permission_denied")
    assert answer.message.startswith("files[1] was not written, the 1 before it were:") and "/root/h2" in answer.message
    assert run(daemon, sandbox, "ls") == "h1\n"
    # A mistake in the request itself is found before anything is written.
    answer = batch(daemon, sandbox, [{"path": "g1", "data": "1"}, {"path": "../g2", "data": "2"}])
    assert (answer.status, answer.code) == (400, "invalid_path") and "files[1], and nothing was written" in answer.message
    assert get(daemon, sandbox, "exists", "g1").json == {"exists": False}


def test_a_batch_that_is_too_large(daemon, sandbox):
    answer = batch(daemon, sandbox, [{"path": "x", "data": "x" * (11 << 20)}])
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_killed_sandboxes_answer_410(daemon):
    sandbox = daemon.create()["sandbox_id"]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answers = [get(daemon, sandbox, what, "/tmp") for what in ("list", "exists", "info")] + [remove(daemon, sandbox, "/tmp/x"), rename(daemon, sandbox, "a", "b"), mkdir(daemon, sandbox, "a"), batch(daemon, sandbox, []), batch(daemon, sandbox, [{"path": "a", "data": ""}])]
    assert {(a.status, a.code) for a in answers} == {(410, "sandbox_killed")}


def test_a_request_whose_head_breaks_off_costs_nothing(daemon):
    import socket

    for head in (b"DELETE /sandboxes/x/files?path=/a", b"DELETE /sandboxes/x/files?path=/a HTTP/1.1\r\nHost", b"BAD\r\n\r\n"):
        for _ in range(20):
            with socket.create_connection((daemon.host, daemon.port), 10) as s:
                s.sendall(head)
    assert json.loads(daemon.request("GET", "/health").body)
