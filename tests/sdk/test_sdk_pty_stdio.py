# SPDX-License-Identifier: Apache-2.0
"""Terminals, and programs spoken with in bytes: the exact requests, streams, breaks and ends."""

import base64
import threading
from typing import Any, List

import pytest
from sdk_stub import Feed, Request, Stub, event, reply, sse

import declaw.sandbox_sync.stdio as stdio_module
from declaw import NotFoundException, PtySize, Sandbox, SandboxException, StdioResult

PTY, STDIO = "/sandboxes/sbx-abc12345/pty", "/sandboxes/sbx-abc12345/stdio"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def screen(data: bytes) -> str:
    return event("data", {"data": b64(data)})


def entry(kind: str, number: int, data: bytes) -> str:
    return event(kind, {"data": b64(data), "entry_id": number})


def exited(code: int) -> str:
    return event("exit", {"exit_code": code})


def sent(stub: Stub) -> List[Any]:
    return [(r.method, r.target, r.json if r.body else None) for r in stub.requests]


def starts(stub: Stub, answer: Any) -> None:
    """The POST that starts something is answered, every GET gets `answer`."""

    def handler(request: Request) -> Any:
        return answer if request.method == "GET" else reply(200, {"pid": 5, "cmd_id": "c-1", "killed": True})

    stub.handler = handler


def test_pty_requests(stub: Stub, sbx: Sandbox) -> None:
    starts(stub, None)
    handle = sbx.pty.create()
    sbx.pty.create(PtySize(100, 40), "root", "/", {"A": "1"}, None)
    handle.send_stdin("é\n")
    handle.send_stdin("é".encode()[:1])
    handle.send_stdin("é".encode()[1:])
    handle.resize(PtySize(1, 2))
    assert handle.kill() is True
    sbx.pty.send_stdin(5, b"x")
    sbx.pty.resize(5, PtySize(3, 4))
    assert sbx.pty.kill(5) is True
    assert sent(stub) == [
        ("POST", PTY, {"size": {"cols": 80, "rows": 24}, "user": "user", "timeout": 3600}),
        ("POST", PTY, {"size": {"cols": 100, "rows": 40}, "user": "root", "cwd": "/", "envs": {"A": "1"}}),
        ("POST", PTY + "/5/stdin", {"data": "é\n"}),
        ("POST", PTY + "/5/stdin", {"data": "é"}),
        ("PATCH", PTY + "/5", {"size": {"cols": 1, "rows": 2}}),
        ("DELETE", PTY + "/5", None),
        ("POST", PTY + "/5/stdin", {"data": "x"}),
        ("PATCH", PTY + "/5", {"size": {"cols": 3, "rows": 4}}),
        ("DELETE", PTY + "/5", None),
    ]
    with pytest.raises(ValueError):
        handle.send_stdin(b"\xff")
    handle.send_stdin("after that")


def test_pty_iteration(stub: Stub, sbx: Sandbox) -> None:
    starts(stub, sse(": ping\n\n", screen(b"\xff\x00"), screen(b""), screen(b"$ "), exited(3)))
    handle = sbx.pty.create()
    assert handle.exit_code is None and len(stub.requests) == 1
    assert [*handle] == [b"\xff\x00", b"$ "]
    assert handle.exit_code == 3 and handle.wait() == 3 and handle.wait().exit_code == 3
    assert sent(stub)[1] == ("GET", PTY + "/5/stream", None)


def test_pty_on_data(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(screen(b"one"))
    starts(stub, feed)
    seen: List[bytes] = []
    came = threading.Event()

    def on_data(data: bytes) -> None:
        seen.append(data)
        came.set()

    handle = sbx.pty.create(on_data=on_data)
    assert came.wait(10) and seen == [b"one"]
    with pytest.raises(RuntimeError, match="reader"):
        next(iter(handle))
    assert handle.wait(timeout=0.01) == -1
    feed.send(screen(b"two"), exited(0), None)
    assert handle.wait(10) == 0 and seen == [b"one", b"two"]


def test_pty_disconnect(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(screen(b"one"))
    starts(stub, feed)
    handle = sbx.pty.connect(5)
    stream = iter(handle)
    assert next(stream) == b"one"
    threading.Timer(0.05, handle.disconnect).start()
    assert [*stream] == [] and handle.wait() == -1
    assert feed.closed.wait(10)


def test_pty_errors(stub: Stub, sbx: Sandbox) -> None:
    starts(stub, reply(404, {"message": "no such terminal"}))
    with pytest.raises(NotFoundException):
        sbx.pty.connect(5)
    with pytest.raises(NotFoundException):
        sbx.pty.create(on_data=print)
    starts(stub, sse(event("data", {"data": "no base64!"})))
    with pytest.raises(SandboxException, match="base64"):
        sbx.pty.create().wait()

    def broken(_data: bytes) -> None:
        raise KeyError("mine")

    starts(stub, sse(screen(b"x")))
    with pytest.raises(KeyError, match="mine"):
        sbx.pty.create(on_data=broken).wait()


def test_stdio_requests(stub: Stub, sbx: Sandbox) -> None:
    starts(stub, sse(entry("stdout", 1, b"\xff"), entry("stderr", 2, b"e"), exited(0)))
    process = sbx.stdio.start("mcp", {"A": "1"}, "root", "/")
    process.send_stdin(b"\xff\x00")
    process.send_stdin("é")
    process.close_stdin()
    assert process.stream() == StdioResult(0, b"\xff", b"e") and process.exit_code == 0
    assert process.kill() is True
    assert sent(stub) == [
        ("POST", STDIO, {"cmd": "mcp", "user": "root", "envs": {"A": "1"}, "cwd": "/"}),
        ("POST", STDIO + "/c-1/stdin", {"data": "/wA="}),
        ("POST", STDIO + "/c-1/stdin", {"data": "w6k="}),
        ("POST", STDIO + "/c-1/stdin/close", None),
        ("GET", STDIO + "/c-1/stream", None),
        ("DELETE", STDIO + "/c-1", None),
    ]
    assert [*process] == [] and len(stub.requests) == 6, "after its end there is nothing to ask for"


def test_stdio_goes_on_after_a_break(stub: Stub, sbx: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio_module.time, "sleep", lambda _seconds: None)
    answers = [
        reply(200, {"cmd_id": "c-1"}), sse(entry("stdout", 1, b"a"), entry("stdout", 2, b"b"), end=False),
        sse(entry("stdout", 2, b"b"), entry("stdout", 5, b"c"), exited(4)),
    ]  # fmt: skip

    def handler(_request: Request) -> Any:
        answer = answers.pop(0)
        return answer if len(answers) != 1 else lambda sock: sock.sendall(answer)

    stub.handler = handler
    process = sbx.stdio.start("x")
    assert [*process] == [("stdout", b"a"), ("stdout", b"b"), ("stdout", b"c")]
    assert process.exit_code == 4
    assert [r.target for r in stub.requests[1:]] == [STDIO + "/c-1/stream", STDIO + "/c-1/stream?last_entry_id=2"]


def test_stdio_gives_up(stub: Stub, sbx: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio_module.time, "sleep", lambda _seconds: None)
    starts(stub, sse())
    process = sbx.stdio.start("x")
    assert process.stream() == StdioResult(-1) and process.exit_code == -1
    assert len(stub.requests) == 4
    starts(stub, lambda sock: sock.sendall(sse(end=False)))
    with pytest.raises(SandboxException, match="broke"):
        sbx.stdio.start("x").wait()


def test_lost_output_is_told_of(stub: Stub, sbx: Sandbox) -> None:
    lost = event("dropped", {"type": "dropped", "bytes": 9})
    starts(stub, sse(entry("stdout", 1, b"a"), lost))
    process = sbx.stdio.start("x")
    stream = iter(process)
    assert next(stream) == ("stdout", b"a")
    with pytest.raises(stdio_module.OutputLost, match="9 bytes"):
        next(stream)
    starts(stub, sse(entry("stdout", 11, b"b"), exited(0)))
    assert process.stream() == StdioResult(0, b"b")
    assert stub.requests[-1].target == STDIO + "/c-1/stream?last_entry_id=10"
    starts(stub, sse(screen(b"a"), lost, exited(0)))
    handle = sbx.pty.create()
    assert [*handle] == [b"a"] and handle.dropped == 9


def test_stdio_handlers(stub: Stub, sbx: Sandbox) -> None:
    starts(stub, sse(entry("stdout", 1, b"o"), entry("stderr", 2, b"e"), exited(0)))
    seen: List[Any] = []
    process = sbx.stdio.start("x", on_stdout=seen.append)
    assert process.wait(10) == StdioResult(0) and seen == [b"o"]
    process = sbx.stdio.start("x")
    assert process.stream(on_stderr=seen.append).exit_code == 0 and seen == [b"o", b"e"]

    def broken(_data: bytes) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sbx.stdio.start("x", on_stdout=broken).wait()


def test_stdio_disconnect_and_another_reader(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(entry("stdout", 1, b"a"))
    starts(stub, feed)
    process = sbx.stdio.start("x")
    stream = iter(process)
    assert next(stream) == ("stdout", b"a")
    assert process.disconnect() is None and [*stream] == []
    assert feed.closed.wait(10)
    starts(stub, sse(entry("stdout", 2, b"b"), exited(0)))
    assert process.wait(10) == StdioResult(0, b"b")
    assert stub.requests[-1].target == STDIO + "/c-1/stream?last_entry_id=1"


def test_stdio_wait_that_times_out(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(entry("stdout", 1, b"a"))
    starts(stub, feed)
    process = sbx.stdio.start("x")
    assert process.wait(0.05) == StdioResult(-1)
    feed.send(exited(9), None)
    assert process.wait(10) == StdioResult(9, b"a")
