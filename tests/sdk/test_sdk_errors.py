# SPDX-License-Identifier: Apache-2.0
"""Errors, retries, and the life of connections."""

import io
import os
import socket
import threading
import time
from typing import Any, Callable, Dict, List

import pytest
from sdk_stub import CREATED, Answer, Request, Stub, reply

import declaw
from declaw import PtySize, Sandbox, exceptions
from declaw.api.client import ApiClient
from declaw.api.transport import AnswerTimeout, ConnectionLost, Pool

RUN_OK = reply(200, {"stdout": "", "stderr": "", "exit_code": 0})


@pytest.fixture
def sbx(stub: Stub) -> Sandbox:
    sandbox = Sandbox.create()
    stub.requests.clear()
    return sandbox


def test_every_exception_has_two_names() -> None:
    names = [n for n in vars(exceptions) if n.endswith("Exception")]
    assert len(names) == 16
    for name in names:
        assert getattr(exceptions, name) is getattr(exceptions, name.replace("Exception", "Error"))
        assert getattr(declaw, name) is getattr(exceptions, name)
    assert issubclass(exceptions.BuildError, exceptions.TemplateError)
    assert not issubclass(exceptions.TimeoutError, TimeoutError)
    assert all(hasattr(declaw, name) for name in declaw.__all__)


@pytest.mark.parametrize(
    "status, kind, attempts",
    [
        (400, declaw.InvalidArgumentException, 1),
        (401, declaw.AuthenticationException, 1),
        (402, declaw.InsufficientBalanceException, 1),
        (403, declaw.AuthenticationException, 1),
        (404, declaw.NotFoundException, 1),
        (408, declaw.TimeoutException, 1),
        (409, declaw.ConflictException, 1),
        (410, declaw.SandboxException, 1),
        (413, declaw.NotEnoughSpaceException, 1),
        (422, declaw.InvalidArgumentException, 1),
        (429, declaw.RateLimitException, 1),
        (500, declaw.SandboxException, 3),
        (503, declaw.SandboxException, 3),
        (507, declaw.SandboxException, 3),
    ],
)
def test_status_mapping(stub: Stub, sbx: Sandbox, sleeps: List[float], status: int, kind: type, attempts: int) -> None:
    stub.answer(reply(status, {"message": "why", "code": "word", "wallet_type": "w"}, {"Retry-After": "1.5"}))
    with pytest.raises(declaw.SandboxException) as caught:
        sbx.get_info()
    assert type(caught.value) is kind
    assert str(caught.value) == f"HTTP {status}: why"
    assert (caught.value.code, caught.value.sandbox_id) == ("word", "sbx-abc12345")
    assert len(stub.requests) == attempts
    assert getattr(caught.value, "retry_after", 1.5) == 1.5
    assert getattr(caught.value, "wallet_type", "w") == "w"


#: Calls whose second run would do harm, or say something untrue of the first.
ONCE: Dict[str, Callable[[Sandbox], Any]] = {
    "run": lambda s: s.commands.run("x"), "background": lambda s: s.commands.run("x", background=True),
    "run_stream": lambda s: s.commands.run_stream("x"), "stdin": lambda s: s.commands.send_stdin(5, "x"),
    "signal": lambda s: s.commands.send_signal(5, 2), "pty": lambda s: s.pty.create(PtySize(1, 2)),
    "pty stdin": lambda s: s.pty.send_stdin(5, "x"), "stdio": lambda s: s.stdio.start("x"),
    "remove": lambda s: s.files.remove("/a"), "rename": lambda s: s.files.rename("/a", "/b"), "mkdir": lambda s: s.files.make_dir("/a"),
    "snapshot": lambda s: s.snapshot(), "restore": lambda s: s.restore("snap-1"),
}  # fmt: skip
AGAIN: Dict[str, Callable[[Sandbox], Any]] = {
    "create": lambda s: Sandbox.create(), "kill": lambda s: s.kill(), "kill command": lambda s: s.commands.kill(5),
    "pty kill": lambda s: s.pty.kill(5), "read": lambda s: s.files.read("/a"), "write": lambda s: s.files.write("/a", "x"),
    "list": lambda s: s.files.list("/"), "wait": lambda s: s.commands.connect(5).wait(), "pause": lambda s: s.pause(),
}  # fmt: skip


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("name", [*ONCE, *AGAIN])
def test_what_is_repeated_after_5xx(stub: Stub, sbx: Sandbox, sleeps: List[float], name: str, status: int) -> None:
    """A 502 or 504 may be a proxy's, whose server has begun the command."""
    stub.answer(reply(status, {"message": "why"}))
    with pytest.raises(declaw.SandboxException, match=f"HTTP {status}: why"):
        {**ONCE, **AGAIN}[name](sbx)
    attempts = 1 if name in ONCE else 3
    assert (len(stub.requests), len(sleeps)) == (attempts, attempts - 1)


@pytest.mark.parametrize(
    "body, text, code",
    [
        (b'{"error":"e","code":5}', "HTTP 400: e", ""),
        (b"plain \xff", "HTTP 400: plain \ufffd", ""),
        (b"[1]", "HTTP 400: [1]", ""),
        (b"", "HTTP 400: ", ""),
    ],
)
def test_error_bodies(stub: Stub, sbx: Sandbox, body: bytes, text: str, code: str) -> None:
    stub.answer(reply(400, body))
    with pytest.raises(declaw.InvalidArgumentException) as caught:
        sbx.get_info()
    assert (str(caught.value), caught.value.code) == (text, code)


def test_5xx_then_good(stub: Stub, sleeps: List[float]) -> None:
    stub.answer(reply(502), reply(500), reply(201, CREATED))
    Sandbox.create()
    assert len({r.headers["idempotency-key"] for r in stub.requests}) == 1
    assert {r.connection for r in stub.requests} == {1}
    assert 0.25 <= sleeps[0] <= 0.5 and 0.5 <= sleeps[1] <= 1.0


@pytest.mark.parametrize(
    "told, waited",
    [("0.5", 0.5), ("3600", 60.0), ("-1", None), ("soon", None), ("nan", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_idempotency_in_progress(stub: Stub, sleeps: List[float], told: str, waited: float) -> None:
    busy = reply(409, {"message": "m", "code": "idempotency_in_progress"}, {"Retry-After": told})
    stub.answer(busy, reply(201, CREATED))
    Sandbox.create()
    assert len(stub.requests) == 2
    assert sleeps == [waited] if waited is not None else 0.25 <= sleeps[0] <= 0.5


def test_streams_are_not_repeated(stub: Stub, sbx: Sandbox, sleeps: List[float]) -> None:
    stub.answer(reply(500))
    with pytest.raises(declaw.SandboxException):
        sbx.files.write("/a", io.BytesIO(bytes(3 << 20)))
    assert len(stub.requests) == 1


def test_early_refusal_of_a_long_body(stub: Stub, sbx: Sandbox) -> None:
    """The server answers 413 and closes while the client still sends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        sock, _ = listener.accept()
        sock.recv(1000)
        sock.sendall(reply(413, {"message": "too large"}, {"Connection": "close"}))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)  # not read on: the client's send must end by itself
        sock.close()

    threading.Thread(target=refuse, daemon=True).start()
    config = declaw.ConnectionConfig(api_key="k", domain=f"127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(declaw.SandboxException) as caught:
        ApiClient(config).put("/x", content=iter([bytes(1 << 20)] * 64))
    assert isinstance(caught.value, declaw.NotEnoughSpaceException) or "broke" in str(caught.value)


def test_refused_connect(monkeypatch: pytest.MonkeyPatch, sleeps: List[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        domain = f"127.0.0.1:{s.getsockname()[1]}"
    with pytest.raises(declaw.TimeoutException, match=f"cannot connect to {domain}: Connection refused"):
        Sandbox.create(api_key="k", domain=domain)
    assert len(sleeps) == 2


def test_request_timeout(stub: Stub, sbx: Sandbox, sleeps: List[float]) -> None:
    release = threading.Event()

    def hang(_request: Request) -> Answer:
        release.wait(5)
        return None

    stub.handler = hang
    with pytest.raises(declaw.TimeoutException, match="0.05 s"):
        sbx.commands.run("sleep 9", request_timeout=0.05)
    assert stub.count(1) == 1, "a command that may be running must not be started again"
    with pytest.raises(declaw.TimeoutException):
        sbx.is_running(request_timeout=0.05)
    assert stub.count(4) == 4
    release.set()


def test_config_timeout_applies(stub: Stub, sleeps: List[float]) -> None:
    release = threading.Event()
    stub.handler = lambda _request: None if release.wait(5) else None
    config = declaw.ConnectionConfig(request_timeout=0.05)
    with pytest.raises(declaw.TimeoutException):
        Sandbox.kill_by_id("x", connection_config=config)
    release.set()


def test_connection_is_kept(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(RUN_OK)
    for _ in range(5):
        sbx.commands.run("true")
    assert stub.connections == 1


def test_connection_close_is_honoured(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {"is_running": True}, {"Connection": "close"}))
    sbx.is_running()
    sbx.is_running()
    assert [r.connection for r in stub.requests] == [1, 2]


def test_connection_closed_while_idle(stub: Stub, sbx: Sandbox) -> None:
    stub.drop_connections()
    time.sleep(0.05)
    stub.answer(RUN_OK)
    sbx.commands.run("true")
    assert len(stub.requests) == 1 and stub.connections == 2




def test_stale_connection_is_repeated_once(stub: Stub, sbx: Sandbox, sleeps: List[float]) -> None:
    stub.answer(None, reply(200, {"is_running": True}))
    assert sbx.is_running()
    assert [r.connection for r in stub.requests] == [1, 2] and sleeps == []


def test_lost_command_is_not_repeated(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(None, RUN_OK)
    with pytest.raises(declaw.SandboxException, match="broke before the answer"):
        sbx.commands.run("rm x")
    assert len(stub.requests) == 1


def test_fresh_connection_lost_is_not_repeated(stub: Stub) -> None:
    stub.answer(None)
    with pytest.raises(declaw.SandboxException):
        Sandbox.connect("x")
    assert len(stub.requests) == 1


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"])
def test_broken_answer_is_not_repeated(stub: Stub, sbx: Sandbox, part: bytes) -> None:
    def half(request: Request) -> Answer:
        stub._live[-1].sendall(part)
        return None

    stub.handler = half
    with pytest.raises(declaw.SandboxException):
        sbx.is_running()
    assert len(stub.requests) == 1


def test_short_stream_is_an_error(stub: Stub, sbx: Sandbox) -> None:
    def half(request: Request) -> Answer:
        stub._live[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc")
        return None

    stub.handler = half
    stream = sbx.files.read("/x", "stream")
    with pytest.raises(declaw.SandboxException, match="middle"):
        list(stream)


@pytest.mark.parametrize("how", ["read", "read_some"])
@pytest.mark.parametrize(
    "body, kind, text",
    [
        (b"5\r\nhe", AnswerTimeout, "no more of the answer came in time"),
        (b"zz\r\n", ConnectionLost, "the connection broke in the middle of the answer: IncompleteRead(0 bytes read)"),
    ],
)
def test_an_answer_that_does_not_end(stub: Stub, how: str, body: bytes, kind: type, text: str) -> None:
    """What both ways of reading say of it; nothing is read from that connection again."""
    stub.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    pool = Pool(f"http://{stub.domain}")
    response = pool.send("GET", "/", {}, None, 0.2)
    with pytest.raises(kind) as caught:
        while getattr(response, how)():
            pass
    assert str(caught.value) == text and caught.value.__cause__ is not None
    assert not getattr(caught.value, "stale", False)
    stub.answer(RUN_OK)
    pool.send("GET", "/", {}, None, 5).read()
    assert stub.connections == 2
    pool.close()


def test_closed_stream_gives_its_connection_up(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, bytes(1_000_000)), reply(200, {"is_running": True}))
    with sbx.files.read("/x", "stream") as stream:
        next(stream)
    sbx.is_running()
    assert [r.connection for r in stub.requests] == [1, 2]


def test_not_json(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, b"<html>"))
    with pytest.raises(declaw.SandboxException, match="not JSON"):
        sbx.is_running()


def test_threads_do_not_mix_answers(stub: Stub, sbx: Sandbox) -> None:
    stub.handler = lambda r: reply(200, {"stdout": r.json["cmd"], "stderr": "", "exit_code": 0})
    wrong: List[str] = []

    def work(n: int) -> None:
        for i in range(50):
            text = f"{n}-{i}"
            if sbx.commands.run(text).stdout != text:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == [] and stub.connections <= 8 + 1


def test_idle_connections_are_bounded(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLAW_SDK_CONNECTIONS", "0")
    client = ApiClient(declaw.ConnectionConfig())
    client.get("/a")
    client.get("/b")
    assert stub.connections == 2


def test_forked_child_makes_its_own_connection(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(RUN_OK)
    sbx.commands.run("parent")
    pid = os.fork()
    if pid == 0:
        try:
            sbx.commands.run("child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    sbx.commands.run("parent")
    assert [r.connection for r in stub.requests] == [1, 2, 1]


def test_round_trip_costs_little(stub: Stub, sbx: Sandbox) -> None:
    """Loose, for a busy machine: with Nagle and a delayed ACK it would be 40 ms."""
    stub.answer(RUN_OK)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        sbx.commands.run("true")
        times.append(time.perf_counter() - start)
    assert sorted(times)[25] < 0.01
