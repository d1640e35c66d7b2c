# SPDX-License-Identifier: Apache-2.0
"""Commands: the exact requests of each call, live output, and ends of every kind."""

import signal
import threading
from typing import Any, List

import pytest
from sdk_stub import Feed, Request, Stub, event, reply, sse

from declaw import CommandExitException, NotFoundException, ProcessInfo, Sandbox, SandboxException, Stderr, Stdout

BASE = "/sandboxes/sbx-abc12345/commands"


def out(text: str, kind: str = "stdout") -> str:
    return event(kind, {"type": kind, "stream": kind, "data": text})


def exited(code: int) -> str:
    return event("exit", {"exit_code": code})


def sent(stub: Stub) -> List[Any]:
    return [(r.method, r.target, r.json if r.body else None) for r in stub.requests]


def test_background(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"pid": 7}), reply(200, {"stdout": "o", "stderr": "e", "exit_code": 0}))
    handle = sbx.commands.run("make", background=True)
    result = handle.wait()
    assert (handle.pid, result.stdout, result.stderr, result.exit_code) == (7, "o", "e", 0)
    assert [r.stdout for r in handle] == ["o"]
    assert sent(stub) == [
        ("POST", BASE, {"cmd": "make", "background": True, "user": "user", "timeout": 60}),
        ("GET", BASE + "/7/wait", None),
        ("GET", BASE + "/7/wait", None),
    ]


@pytest.mark.parametrize("answer", [{}, {"pid": None}, {"pid": "x"}, [], None])
def test_a_start_without_pid(stub: Stub, sbx: Sandbox, answer: Any) -> None:
    stub.answer(reply(200, answer))
    with pytest.raises(SandboxException, match="the server's answer"):
        sbx.commands.run("x", background=True)


def test_wait_raises_for_a_code(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"stdout": "o", "stderr": "process not found", "exit_code": 1}))
    with pytest.raises(CommandExitException) as caught:
        sbx.commands.connect(9).wait()
    e = caught.value
    assert (e.exit_code, e.stdout, e.stderr, e.sandbox_id) == (1, "o", "process not found", "sbx-abc12345")


def test_connect_makes_no_request(stub: Stub, sbx: Sandbox) -> None:
    assert sbx.commands.connect(7).pid == 7
    assert stub.requests == []


def test_calls_by_pid(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"killed": True}), reply(200, {"killed": False}), reply(204, b""))
    assert sbx.commands.kill(7) is True
    assert sbx.commands.connect(7).kill() is False
    sbx.commands.send_stdin(7, "é\n")
    sbx.commands.send_stdin(7, "é".encode())
    sbx.commands.close_stdin(7)
    sbx.commands.send_signal(7, signal.SIGINT)
    sbx.commands.send_signal(7, "SIGHUP")
    assert sent(stub) == [
        ("DELETE", BASE + "/7", None),
        ("DELETE", BASE + "/7", None),
        ("POST", BASE + "/7/stdin", {"data": "é\n"}),
        ("POST", BASE + "/7/stdin", {"data": "é"}),
        ("POST", BASE + "/7/stdin/close", None),
        ("POST", BASE + "/7/signal", {"signal": 2}),
        ("POST", BASE + "/7/signal", {"signal": "SIGHUP"}),
    ]
    with pytest.raises(ValueError):
        sbx.commands.send_stdin(7, b"\xff")
    with pytest.raises(ValueError):
        sbx.commands.kill("7/../8")  # type: ignore[arg-type]
    assert len(stub.requests) == 7


def test_kill_without_body_is_an_error(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(204, b""))
    with pytest.raises(SandboxException, match="killed"):
        sbx.commands.kill(7)


def test_list(stub: Stub, sbx: Sandbox) -> None:
    rows = [{"pid": 7, "cmd": "x", "is_pty": True, "envs": {"A": "1"}, "new": 1}, {"pid": 8, "envs": None}]
    stub.answer(reply(200, rows), reply(200, b"null"), reply(200, {"commands": []}), reply(200, [{}]))
    assert sbx.commands.list() == [ProcessInfo(7, "x", True, {"A": "1"}), ProcessInfo(8)]
    assert sbx.commands.list() == []
    assert sent(stub)[0] == ("GET", BASE, None)
    for _ in range(2):
        with pytest.raises(SandboxException):
            sbx.commands.list()


def test_run_stream(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(
        ": ping\n\n", event("start", {"type": "start", "pid": 7}), out("a\n\nb"), out("E\n", "stderr"), "data: no JSON\n\n",
        out("c\n"), out("end"), event("other", [1]), exited(3),
    ))  # fmt: skip
    lines: List[Any] = []
    result = sbx.commands.run_stream(
        "x", lambda line: lines.append(("o", line)), lambda line: lines.append(("e", line)), {"A": "1"}, "root", "/", 5
    )
    assert (result.stdout, result.stderr, result.exit_code) == ("a\n\nbc\nend", "E\n", 3)
    assert lines == [("o", "a"), ("o", ""), ("e", "E"), ("o", "bc"), ("o", "end")]
    assert sent(stub) == [(
        "POST", BASE + "/stream",
        {"cmd": "x", "stream": True, "user": "root", "envs": {"A": "1"}, "cwd": "/", "timeout": 5},
    )]  # fmt: skip
    assert stub.requests[0].headers["accept"] == "text/event-stream"
    assert stub.requests[0].headers["authorization"] == "Bearer dcl_test"


def test_run_stream_calls_back_at_once(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(out("first\n"))
    stub.answer(feed)
    seen = threading.Event()
    lines: List[str] = []

    def on_stdout(line: str) -> None:
        lines.append(line)
        seen.set()

    def rest() -> None:
        assert seen.wait(10)
        feed.send(out("second\n"), exited(0), None)

    threading.Thread(target=rest, daemon=True).start()
    assert sbx.commands.run_stream("x", on_stdout).exit_code == 0
    assert lines == ["first", "second"]


def test_run_stream_timeout_of_the_command(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(out("a\n"), event("error", {"error": "command timed out after 1s"}), exited(124)))
    result = sbx.commands.run_stream("x")
    assert (result.stdout, result.stderr, result.exit_code) == ("a\n", "command timed out after 1s", 124)


@pytest.mark.parametrize(
    "answer, kind, text",
    [
        (sse(out("a")), SandboxException, "without the command's exit code"),
        (sse(event("error", {"error": "why"})), SandboxException, "why"),
        (sse(out("a"), end=False), SandboxException, "broke"),
        (reply(200, {"stdout": ""}), SandboxException, "answers without events"),
        (reply(404, {"message": "gone"}), NotFoundException, "gone"),
    ],
)
def test_run_stream_does_not_invent_an_end(stub: Stub, sbx: Sandbox, answer: bytes, kind: type, text: str) -> None:
    def close_after(sock: Any) -> None:
        sock.sendall(answer)

    stub.handler = lambda _request: close_after
    with pytest.raises(kind, match=text):
        sbx.commands.run_stream("x")
    assert len(stub.requests) == 1


def test_an_error_of_the_callback_ends_the_command(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(out("a\n"))
    stub.answer(feed)

    def on_stdout(_line: str) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sbx.commands.run_stream("x", on_stdout)
    assert feed.closed.wait(10), "the connection is closed, which ends the command"


def test_live_wait(stub: Stub, sbx: Sandbox) -> None:
    def handler(request: Request) -> Any:
        return reply(200, {"pid": 7}) if request.method == "POST" else sse(out("a\nb"), out("x\n", "stderr"), exited(0))

    stub.handler = handler
    lines: List[str] = []
    handle = sbx.commands.run("x", True, on_stdout=lines.append)
    assert lines == []
    assert handle.wait().stderr == "x\n"
    assert lines == ["a", "b"]
    errors: List[str] = []
    handle.wait(on_stderr=errors.append)
    assert errors == ["x"] and lines == ["a", "b"] * 2
    assert sent(stub)[1:] == [("GET", BASE + "/7/stream", None)] * 2


def test_live_wait_raises_for_a_code(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(out("a\n"), exited(2)))
    with pytest.raises(CommandExitException) as caught:
        sbx.commands.connect(7).wait(on_stdout=str)
    assert (caught.value.exit_code, caught.value.stdout) == (2, "a\n")


def test_stream_of_a_handle(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(out("a\n"), out("no newline", "stderr"), exited(1)))
    assert [*sbx.commands.connect(7).stream()] == [Stdout("a\n"), Stderr("no newline")]
    feed = Feed(out("a\n"))
    stub.answer(feed)
    for piece in sbx.commands.connect(7).stream():
        assert piece.line == "a\n"
        break
    assert feed.closed.wait(10)


def test_lost_output_is_told_of(stub: Stub, sbx: Sandbox) -> None:
    lost = event("dropped", {"type": "dropped", "bytes": 9})
    stub.answer(sse(out("a\n"), lost, lost, out("b\n"), exited(0)))
    handle = sbx.commands.connect(7)
    assert [p.line for p in handle.stream()] == ["a\n", "b\n"] and handle.dropped == 18
    assert handle.wait(on_stdout=str).stderr == "[18 bytes of output are lost: more was written than the server keeps]\n"


def test_stream_from_a_position(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(sse(event("stdout", {"type": "stdout", "data": "a\n", "position": 17}), out("b\n"), exited(0)))
    pieces = [*sbx.commands.connect(7).stream(start=5)]
    assert [p.position for p in pieces] == [17, None]
    assert [r.target for r in stub.requests] == [BASE + "/7/stream?from=5"]


def test_disconnect_ends_a_live_wait(stub: Stub, sbx: Sandbox) -> None:
    feed = Feed(out("a\n"))
    stub.answer(feed)
    handle = sbx.commands.connect(7)
    seen = threading.Event()
    errors: List[BaseException] = []

    def wait() -> None:
        try:
            handle.wait(on_stdout=lambda _line: seen.set())
        except SandboxException as e:
            errors.append(e)

    handle.disconnect()
    thread = threading.Thread(target=wait)
    thread.start()
    assert seen.wait(10)
    handle.disconnect()
    thread.join(10)
    assert not thread.is_alive() and feed.closed.wait(10)
    assert "without the command's exit code" in str(errors[0])
