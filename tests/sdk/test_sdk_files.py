# SPDX-License-Identifier: Apache-2.0
"""Files: the exact requests of each call, and the watch."""

import io
import threading
from datetime import datetime, timezone
from typing import Any, List
from urllib.parse import parse_qsl, urlsplit

import pytest
from sdk_stub import Feed, Stub, event, reply, sse

import declaw.sandbox_sync.watch as watch_module
from declaw import EntryInfo, FilesystemEvent, FilesystemEventType, FileType, NotFoundException, Sandbox, SandboxException
from declaw import WriteEntry, WriteInfo

BASE = "/sandboxes/sbx-abc12345/files"
ENTRY = {"name": "b", "path": "/a/b", "type": "file", "size": 3, "modified": "x"}
AT = "2026-01-15T10:30:00.123456+00:00"
NASTY = "/a/b#c&username=root?x=%41+ é\n"


def test_an_empty_file(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, b""))
    assert sbx.files.read("/e") == ""
    assert sbx.files.read("/e", "bytes") == b""
    assert [*sbx.files.read("/e", "stream")] == []


def test_json_is_left_alone(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, b'{"a":   1}'))
    assert sbx.files.read("/e") == '{"a":   1}'


@pytest.mark.parametrize("path", ["/a b", NASTY, "/%2e%2e/x"])
def test_remove_names_exactly_the_path(stub: Stub, sbx: Sandbox, path: str) -> None:
    sbx.files.remove(path, user="root")
    (request,) = stub.requests
    parts = urlsplit(request.target)
    assert (request.method, parts.path, parts.fragment) == ("DELETE", BASE, "")
    assert parse_qsl(parts.query) == [("path", path), ("username", "root")]
    assert request.body == b""


def test_reading_calls(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(
        reply(200, [ENTRY, {**ENTRY, "type": "dir"}]), reply(200, b"null"), reply(200, {"exists": True}), reply(200, ENTRY)
    )
    file = EntryInfo("b", "/a/b", FileType.FILE, 3)
    assert sbx.files.list("/a") == [file, EntryInfo("b", "/a/b", FileType.DIR, 3)]
    assert sbx.files.list("/a", depth=2, user="root") == []
    assert sbx.files.exists("/a#b") is True
    assert sbx.files.get_info("/a") == file
    assert [(r.method, r.target) for r in stub.requests] == [
        ("GET", BASE + "/list?path=%2Fa&username=user&depth=1"),
        ("GET", BASE + "/list?path=%2Fa&username=root&depth=2"),
        ("GET", BASE + "/exists?path=%2Fa%23b&username=user"),
        ("GET", BASE + "/info?path=%2Fa&username=user"),
    ]


def test_changing_calls(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, ENTRY), reply(200, {"created": False}))
    assert sbx.files.rename("/a#", "/b#").path == "/a/b"
    assert sbx.files.make_dir("/n", user="root") is False
    assert [(r.method, r.target, r.json) for r in stub.requests] == [
        ("PATCH", BASE, {"old_path": "/a#", "new_path": "/b#", "username": "user"}),
        ("POST", BASE + "/mkdir", {"path": "/n", "username": "root"}),
    ]


@pytest.mark.parametrize("call", ["list", "exists", "get_info", "make_dir", "watch_dir", "read", "remove"])
def test_missing(stub: Stub, sbx: Sandbox, call: str) -> None:
    stub.answer(reply(404, {"message": "no such file", "code": "not_found"}))
    with pytest.raises(NotFoundException, match="no such file"):
        getattr(sbx.files, call)("/x")


@pytest.mark.parametrize("bad", [[{}], [{"name": "a", "path": "/a", "type": "symlink"}], {"entries": []}, [5]])
def test_nonsense_from_the_server(stub: Stub, sbx: Sandbox, bad: Any) -> None:
    stub.answer(reply(200, bad))
    with pytest.raises(SandboxException):
        sbx.files.list("/x")


def test_write_files_keeps_the_order(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(
        reply(200, [{"path": "/1", "size": 1}, {"path": "/3", "size": 3}]), reply(200, {"path": "/2", "size": 2}),
        reply(200, {"path": "/4", "size": 4}),
    )  # fmt: skip
    files = [WriteEntry("/1", "é"), WriteEntry("/2", b"\xff"), {"path": "/3", "data": "c"}, WriteEntry("/4", io.BytesIO(b"d"))]
    assert sbx.files.write_files(files, user="root") == [WriteInfo(f"/{n}", n) for n in (1, 2, 3, 4)]
    batch, second, fourth = stub.requests
    assert (batch.method, batch.target) == ("POST", BASE + "/batch")
    assert batch.json == {"files": [{"path": "/1", "data": "é"}, {"path": "/3", "data": "c"}], "username": "root"}
    assert (second.method, second.target, second.body) == ("PUT", BASE + "/raw?path=%2F2&username=root", b"\xff")
    assert (fourth.target, fourth.body) == (BASE + "/raw?path=%2F4&username=root", b"d")
    stub.answer(reply(200, []))
    with pytest.raises(SandboxException, match="1 files, 0 answers"):
        sbx.files.write_files([WriteEntry("/1", "a")])
    assert sbx.files.write_files([]) == []


def change(kind: str, path: str, **more: Any) -> str:
    return event("change", {"type": kind, "path": path, "name": path[1:], "is_dir": False, "timestamp": AT, **more})


START, END = event("start", {}), event("end", {})


def test_watch(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(
        ": ping\n\n", START, change("create", "/a"), change("rename", "/a", new_path="/b"), change("unheard-of", "/c"),
        event("overflow", {}), change("delete", "/b", is_dir=True), END,
    ))  # fmt: skip
    watch = sbx.files.watch_dir("/w", recursive=True)
    when = datetime(2026, 1, 15, 10, 30, 0, 123456, tzinfo=timezone.utc)
    kinds = FilesystemEventType
    assert [*watch] == [
        FilesystemEvent(kinds.CREATE, "/a", when, "a"), FilesystemEvent(kinds.RENAME, "/a", when, "a", new_path="/b"),
        FilesystemEvent(kinds.REMOVE, "/b", when, "b", is_dir=True),
    ]  # fmt: skip
    assert watch.overflows == 1 and watch.get_new_events() == []
    watch.stop()
    (request,) = stub.requests
    assert (request.method, request.target) == ("POST", BASE + "/watch")
    assert request.json == {"path": "/w", "username": "user", "recursive": True}
    assert request.headers["accept"] == "text/event-stream"


def test_watch_and_stop(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(START, change("write", "/a"))
    stub.answer(feed)
    with sbx.files.watch_dir("/w") as watch:
        assert next(watch).path == "/a"
        assert watch.get_new_events() == []
        feed.send(change("write", "/b"))
        new: List[FilesystemEvent] = []
        while not new:
            new = watch.get_new_events()
        assert [e.path for e in new] == ["/b"]
        waiting = threading.Thread(target=lambda: new.extend(watch))
        waiting.start()
    waiting.join(10)
    assert not waiting.is_alive() and feed.closed.wait(10)
    assert watch.get_new_events() == [] and [*watch] == []
    watch.stop()


def test_watch_with_a_handler(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(START, change("chmod", "/a"), END))
    seen: List[str] = []
    watch = sbx.files.watch_dir("/w", on_event=lambda e: seen.append(f"{e.type} {e.path}"))
    assert [*watch] == [] and seen == ["chmod /a"]


def test_watch_tells_of_an_error(stub: Stub, sbx: Sandbox) -> None:
    answers = [sse(START, change("write", "/a"), end=False), sse(START, change("write", "/a"), END)]

    def close_after(sock: Any) -> None:
        sock.sendall(answers.pop(0))

    stub.handler = lambda _request: close_after
    watch = sbx.files.watch_dir("/w")
    assert next(watch).path == "/a"
    for _ in range(2):
        with pytest.raises(SandboxException, match="broke"):
            next(watch)
    with pytest.raises(SandboxException, match="broke"):
        watch.get_new_events()

    def broken(_event: FilesystemEvent) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        next(sbx.files.watch_dir("/w", on_event=broken))


def test_watch_is_bounded(stub: Stub, sbx: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "MAX_WAITING", 3)
    stub.answer(sse(START, *(change("write", f"/{n}") for n in range(5)), END))
    watch = sbx.files.watch_dir("/w")
    watch._thread.join(10)
    assert [e.path for e in watch.get_new_events()] == ["/2", "/3", "/4"] and watch.overflows == 2


@pytest.mark.parametrize("answer", [reply(200, {}), sse(), sse(END), sse(change("write", "/a"))])
def test_a_server_that_does_not_watch(stub: Stub, sbx: Sandbox, answer: bytes) -> None:
    stub.answer(answer)
    with pytest.raises(SandboxException, match="without events|before it began"):
        sbx.files.watch_dir("/w")
