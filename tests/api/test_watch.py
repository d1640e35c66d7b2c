# SPDX-License-Identifier: Apache-2.0
"""Events of a directory, as they happen."""

import http.client
import json
import re
import time

import pytest

from conftest import eventually


class Watch:
    """An open stream of events."""

    def __init__(self, daemon, sandbox, path, query="", headers=None, **fields):
        self.connection = daemon.connect(20)
        all_headers = {"X-API-Key": daemon.key, "Accept": "text/event-stream", **(headers or {})}
        self.connection.request("POST", f"/sandboxes/{sandbox}/files/watch{query}", json.dumps({"path": path, **fields}), all_headers)
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"
        name, self.start = self.next()
        assert name == "start"

    def next(self, pings=False):
        """(name, data) of the next event; None at the stream's end."""
        name = None
        while True:
            line = self.response.readline()
            if not line:
                return None
            assert line.endswith(b"\n") and line.isascii()
            if line.startswith(b"event: "):
                name = line[7:-1].decode()
            elif line.startswith(b"data: "):
                data = json.loads(line[6:])
                assert self.response.readline() == b"\n"
                return name, data
            elif pings and line == b": ping\n":
                return "ping", None

    def changes(self, last):
        """(type, name) of each change until the one of that name; repeats left out."""
        found = []
        while True:
            name, data = self.next()
            assert name == "change", (name, data)
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", data["timestamp"])
            assert data["path"] == f"{self.start['path'].rstrip('/')}/{data['name']}"
            event = (data["type"], data["name"])
            if event not in found:
                found.append(event)
            if data["name"] == last:
                return found

    def close(self):
        self.response.close()
        self.connection.close()


@pytest.fixture
def watch(daemon, sandbox):
    opened = []

    def start(path, **fields):
        opened.append(Watch(daemon, sandbox, path, **fields))
        return opened[-1]

    yield start
    for w in opened:
        w.close()


def post(daemon, sandbox, headers=None, query="", **fields):
    return daemon.request("POST", f"/sandboxes/{sandbox}/files/watch{query}", fields, headers=headers)


def test_what_happens_is_told(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir -p w/sub; echo > w/old; echo > out")
    w = watch("w", username="user")
    assert w.start["path"] == "/home/user/w" and w.start["recursive"] is False
    daemon.run(sandbox, "cd w; mkdir d; echo > f; echo > old; chmod 600 old; mv f ../f; mv ../out in; rm in; rmdir d; echo > sub/unseen; : > last")
    assert w.changes("last") == [
        ("create", "d"), ("create", "f"), ("write", "f"), ("write", "old"), ("chmod", "old"), ("remove", "f"), ("create", "in"), ("remove", "in"), ("remove", "d"), ("create", "last"),
    ]


def test_a_renaming_inside_is_one_event(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir w; echo > w/a")
    w = watch("/home/user/w")
    daemon.run(sandbox, "mv w/a w/b")
    name, data = w.next()
    assert name == "change" and data.pop("timestamp")
    assert data == {"type": "rename", "path": "/home/user/w/a", "name": "a", "is_dir": False, "new_path": "/home/user/w/b", "new_name": "b"}


def test_recursive(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir -p r/a/b")
    w = watch("r", recursive=True)
    daemon.run(sandbox, ": > r/a/b/f; mkdir -p r/new/deep; : > r/new/deep/g; mv r/a r/moved; : > r/moved/b/h; : > r/last")
    found = w.changes("last")
    assert found[0] == ("create", "a/b/f") and ("rename", "a") in found and ("create", "moved/b/h") in found
    assert [e for e in found if e[1].startswith("new")] == [("create", "new"), ("create", "new/deep"), ("create", "new/deep/g")]


def test_files_written_by_the_api_are_told(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir api")
    w = watch("api")
    for i in range(3):
        daemon.request("POST", f"/sandboxes/{sandbox}/files", {"path": f"/home/user/api/{i}", "data": "x"})
    daemon.request("DELETE", f"/sandboxes/{sandbox}/files?path=/home/user/api/2")
    found = w.changes("2")
    while ("remove", "2") not in found:
        found += w.changes("2")
    assert [e for e in found if e[0] in ("create", "remove")] == [("create", "0"), ("create", "1"), ("create", "2"), ("remove", "2")]


@pytest.mark.parametrize("name", ["a b", 'q"', "new\nline", "a#b", "é", "\U0001f600", "\u2028", "n" * 255])
def test_odd_names(daemon, sandbox, watch, name):
    daemon.run(sandbox, "mkdir odd")
    w = watch("odd")
    daemon.run(sandbox, ': > "odd/$N"', envs={"N": name})
    assert w.changes(name)[-1] == ("create", name)


def test_a_name_that_is_not_text(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir odd")
    w = watch("odd")
    daemon.run(sandbox, r""": > "odd/$(printf 'a\377')" """)
    assert w.changes("a\ufffd") == [("create", "a\ufffd")]


def test_without_a_stream_it_is_a_check(daemon, sandbox):
    daemon.run(sandbox, "mkdir c; ln -s c l; touch f; mkdir closed; chmod 0 closed")
    for path in ("/home/user/c", "c", "l", "/"):
        answer = post(daemon, sandbox, path=path, username="user", recursive=False)
        assert (answer.status, answer.json) == (200, {})
    for headers, query in (({}, ""), ({"Accept": "text/event-stream"}, ""), ({}, "?stream=true")):
        for path, status, code in [("none", 404, "not_found"), ("f", 400, "invalid_path"), ("closed", 403, "permission_denied"), ("..", 400, "invalid_path"), ("", 400, "invalid_path")]:
            answer = post(daemon, sandbox, headers, query, path=path)
            assert (answer.status, answer.code) == (status, code), (path, answer.body)
    assert post(daemon, sandbox, {"Accept": "text/event-stream"}, "?stream=false", path="c").json == {}
    assert post(daemon, sandbox, query="?stream=yes", path="c").code == "invalid_field"
    for fields in ({}, {"path": 1}, {"path": "c", "recursive": "yes"}, {"path": "c", "username": "u" * 65}):
        answer = post(daemon, sandbox, **fields)
        assert answer.status == 400 and answer.code in ("invalid_path", "invalid_field")
    assert post(daemon, "none", path="/").status == 404


def test_the_query_asks_for_a_stream_too(daemon, sandbox):
    w = Watch(daemon, sandbox, "/tmp", query="?stream=true", headers={"Accept": "*/*"})
    assert w.start["path"] == "/tmp"
    w.close()


def test_more_directories_than_can_be_watched(daemon, sandbox):
    daemon.run(sandbox, "mkdir many; cd many; seq 1 8500 | xargs mkdir")
    answer = post(daemon, sandbox, path="many", recursive=True)
    assert (answer.status, answer.code) == (413, "too_many_entries") and "directories" in answer.message
    assert post(daemon, sandbox, path="many").json == {}


def test_the_end_of_the_directory_is_the_end(daemon, sandbox, watch):
    daemon.run(sandbox, "mkdir -p gone moved/in")
    w, v = watch("gone"), watch("moved/in", recursive=True)
    daemon.run(sandbox, "rmdir gone; mv moved elsewhere")
    for stream in (w, v):
        name, data = stream.next()
        assert (name, data["reason"]) == ("end", "directory_removed")
        assert stream.next() is None


def test_the_end_of_the_sandbox_is_the_end(daemon):
    sandbox = daemon.create()["sandbox_id"]
    w = Watch(daemon, sandbox, "/tmp", recursive=True)
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    name, data = w.next()
    assert (name, data["reason"]) == ("end", "sandbox_killed")
    assert w.next() is None
    w.close()
    assert post(daemon, sandbox, path="/tmp").status == 410


def test_a_client_that_goes_frees_its_watch(daemon, sandbox):
    for _ in range(70):
        Watch(daemon, sandbox, "/tmp").close()
    assert eventually(lambda: post(daemon, sandbox, path="/tmp").status == 200, 20)
    children = lambda: daemon.run(sandbox, "ls -d /proc/[0-9]* | wc -l")["stdout"].strip()
    assert eventually(lambda: int(children()) <= 5, 20)


def test_a_client_that_goes_is_no_news(make_daemon):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    for _ in range(5):
        Watch(d, sandbox, "/tmp").close()
    children = lambda: d.run(sandbox, "ls -d /proc/[0-9]* | wc -l")["stdout"].strip()
    assert eventually(lambda: int(children()) <= 5, 20)
    d.process.terminate()
    d.process.wait(20)
    assert "files/watch status=200" in d.log() and "event=http" not in d.log()


def test_a_client_that_does_not_read_is_told_what_it_lost(daemon, sandbox):
    daemon.run(sandbox, "mkdir flood")
    w = Watch(daemon, sandbox, "flood")
    # Far more than the sockets and the kernel's queue hold between them.
    daemon.run(sandbox, "cd flood; for i in $(seq 1 6); do seq -f \"$i-%05g-with-a-longer-name-than-most\" 1 12000 | xargs touch; find . -type f -delete; done", timeout=120)
    found = None
    while found is None or found[0] == "change":
        found = w.next()
    assert (found[0], found[1]["reason"]) == ("overflow", "too_many_events")
    daemon.run(sandbox, ": > flood/after")
    while found[0] != "change" or found[1]["name"] != "after":
        found = w.next()
    w.close()


def test_nothing_happens_and_the_stream_stays(daemon, sandbox, watch):
    w = watch("/tmp")
    begun = time.monotonic()
    assert w.next(pings=True) == ("ping", None)
    assert 10 < time.monotonic() - begun < 19
    daemon.run(sandbox, ": > /tmp/x")
    assert w.changes("x")[0] == ("create", "x")


def test_a_server_that_stops_says_so(make_daemon):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    w = Watch(d, sandbox, "/tmp")
    d.process.terminate()
    name, data = w.next()
    assert name == "end" and data["reason"] in ("server_stopping", "sandbox_killed", "sandbox_gone")
    assert w.next() is None
    w.close()
