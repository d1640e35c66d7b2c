# SPDX-License-Identifier: Apache-2.0
"""`AsyncSandbox`: the same requests as the blocking client's, and what is its own: cancelling, many at a time, streams."""

import asyncio
import base64
import inspect
import threading
from typing import Any, Callable, Dict, List, Tuple

import pytest
from sdk_stub import CREATED, Feed, Request, Stub, event, reply, sse

import declaw.api.lanes as lanes
from declaw import (
    AsyncApiClient,
    AsyncSandbox,
    AsyncSandboxPaginator,
    AsyncSnapshotPaginator,
    CommandExitException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
    WriteEntry,
)

ENTRY = {"name": "b", "path": "/a/b", "type": "file", "size": 3}
SNAP = {"snapshot_id": "snap-1", "sandbox_id": "sbx-abc12345", "source": "manual"}
#: An answer that has every field that some call needs.
ANY = {
    **CREATED, **ENTRY, **SNAP, "pid": 5, "cmd_id": "c", "stdout": "o", "stderr": "", "exit_code": 0, "killed": True, "created": True,
    "exists": True, "is_running": True, "results": {}, "sandboxes": [], "snapshots": [], "network": {}, "generation": 1, "decisions": [],
}  # fmt: skip
LISTS = ("/commands", "/files/list", "/metrics", "/files/batch")


def universal(request: Request) -> bytes:
    path = request.target.partition("?")[0]
    if path.endswith("/files/batch"):
        return reply(200, [{"path": f["path"], "size": 1} for f in request.json["files"]])
    return reply(200, [] if path.endswith(LISTS) and request.method == "GET" else ANY)


CALLS: Dict[str, Tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    name: (call, call)
    for name, call in {
        "run": lambda s: s.commands.run("x", envs={"A": "1"}, timeout=5),
        "run in the background": lambda s: s.commands.run("x", background=True, stdin=True),
        "list": lambda s: s.commands.list(), "kill command": lambda s: s.commands.kill(5),
        "stdin": lambda s: s.commands.send_stdin(5, "x"), "close stdin": lambda s: s.commands.close_stdin(5),
        "signal": lambda s: s.commands.send_signal(5, 2), "wait": lambda s: s.commands.connect(5).wait(),
        "handle kill": lambda s: s.commands.connect(5).kill(), "handle stdin": lambda s: s.commands.connect(5).send_stdin(b"x"),
        "handle close": lambda s: s.commands.connect(5).close_stdin(), "handle signal": lambda s: s.commands.connect(5).send_signal("SIGINT"),
        "read": lambda s: s.files.read("/a#", "bytes", user="root"), "write": lambda s: s.files.write("/a", "x"),
        "write bytes": lambda s: s.files.write("/a", b"x"), "write_files": lambda s: s.files.write_files([WriteEntry("/a", "x"), WriteEntry("/b", b"y")]),
        "files": lambda s: s.files.list("/a", 2), "exists": lambda s: s.files.exists("/a"), "info": lambda s: s.files.get_info("/a"),
        "remove": lambda s: s.files.remove("/a#"), "rename": lambda s: s.files.rename("/a", "/b"), "mkdir": lambda s: s.files.make_dir("/a"),
        "pty": lambda s: s.pty.create(PtySize(1, 2), "root", "/", {"A": "1"}, 9), "pty kill": lambda s: s.pty.kill(5),
        "pty stdin": lambda s: s.pty.send_stdin(5, "x"), "pty resize": lambda s: s.pty.resize(5, PtySize(1, 2)),
        "stdio": lambda s: s.stdio.start("x", {"A": "1"}, "root", "/"),
        "network get": lambda s: s.network.get(), "network set": lambda s: s.network.set({"allow_out": []}, 3),
        "network update": lambda s: s.network.update(mode="observe"), "allow": lambda s: s.network.allow("a.test"),
        "deny": lambda s: s.network.deny("1.2.3.4"), "unlist": lambda s: s.network.remove("a.test"),
        "log": lambda s: s.network.log(5, verdict="deny"), "suggest": lambda s: s.network.suggest(),
        "set_network": lambda s: s.set_network({"allow_out": []}), "network_log": lambda s: s.network_log(5),
        "kill": lambda s: s.kill(), "kill and wait": lambda s: s.kill(wait=True), "running": lambda s: s.is_running(),
        "timeout": lambda s: s.set_timeout(5), "get_info": lambda s: s.get_info(), "metrics": lambda s: s.get_metrics(end="x"),
        "pause": lambda s: s.pause(), "resume": lambda s: s.resume(), "create_snapshot": lambda s: s.create_snapshot(),
        "snapshot": lambda s: s.snapshot(), "snapshots": lambda s: s.list_snapshots(), "forget": lambda s: s.delete_snapshot("a"),
    }.items()
}  # fmt: skip
# The flat names, and the blocking client's calls that they stand for.
CALLS.update({
    "run_command": (lambda s: s.run_command("x", cwd="/"), lambda s: s.commands.run("x", cwd="/")),
    "list_commands": (lambda s: s.list_commands(), lambda s: s.commands.list()),
    "kill_command": (lambda s: s.kill_command(5), lambda s: s.commands.kill(5)),
    "connect_command": (lambda s: s.connect_command(5).wait(), lambda s: s.commands.connect(5).wait()),
    "send_command_stdin": (lambda s: s.send_command_stdin(5, "x"), lambda s: s.commands.send_stdin(5, "x")),
    "read_file": (lambda s: s.read_file("/a"), lambda s: s.files.read("/a")),
    "write_file": (lambda s: s.write_file("/a", b"x"), lambda s: s.files.write("/a", b"x")),
    "flat write_files": (lambda s: s.write_files([WriteEntry("/a", "x")]), lambda s: s.files.write_files([WriteEntry("/a", "x")])),
    "list_files": (lambda s: s.list_files("/a", 3), lambda s: s.files.list("/a", 3)),
    "file_exists": (lambda s: s.file_exists("/a"), lambda s: s.files.exists("/a")),
    "get_file_info": (lambda s: s.get_file_info("/a"), lambda s: s.files.get_info("/a")),
    "remove_file": (lambda s: s.remove_file("/a#"), lambda s: s.files.remove("/a#")),
    "rename_file": (lambda s: s.rename_file("/a", "/b"), lambda s: s.files.rename("/a", "/b")),
    "make_dir": (lambda s: s.make_dir("/a"), lambda s: s.files.make_dir("/a")),
})  # fmt: skip


def wire(stub: Stub) -> List[Any]:
    skip = ("host", "idempotency-key")
    taken = [(r.method, r.target, {k: v for k, v in r.headers.items() if k not in skip}, r.body) for r in stub.requests]
    stub.requests.clear()
    return taken


@pytest.mark.parametrize("name", CALLS)
def test_same_requests_and_answers(stub: Stub, sbx: Sandbox, asbx: AsyncSandbox, name: str) -> None:
    stub.handler = universal
    of_async, of_sync = CALLS[name]

    async def run() -> Any:
        result = of_async(asbx)
        assert inspect.isawaitable(result), "a coroutine"
        return await result

    async_answer = asyncio.run(run())
    async_requests = wire(stub)
    sync_answer = of_sync(sbx)
    assert async_requests == wire(stub) != []
    if type(async_answer).__name__ != f"Async{type(sync_answer).__name__}":
        assert async_answer == sync_answer


def test_class_calls(stub: Stub) -> None:
    stub.handler = universal
    arguments: Any = {"template": "t", "timeout": 9, "metadata": {"a": "b"}, "network": {"allow_out": []}, "lifecycle": {"on_timeout": "pause"}}

    async def run() -> None:
        async with await AsyncSandbox.create(**arguments) as made:
            assert made.sandbox_id == "sbx-abc12345" and made.get_host(80).endswith("/ports/80")
        await AsyncSandbox.connect("sbx-abc12345", timeout=5)
        await AsyncSandbox.list(limit=3)
        await AsyncSandbox.kill_by_id("sbx-abc12345", wait=True)
        await AsyncSandbox.kill_many(["a"])
        await AsyncSandbox.restore("sbx-abc12345", snapshot_id="s")

    asyncio.run(run())
    async_requests = wire(stub)
    Sandbox.create(**arguments)
    Sandbox.connect("sbx-abc12345", timeout=5)
    Sandbox.list(limit=3)
    Sandbox.kill_by_id("sbx-abc12345", wait=True)
    Sandbox.kill_many(["a"])
    Sandbox.restore("sbx-abc12345", snapshot_id="s")
    assert async_requests == wire(stub)


@pytest.mark.parametrize("part", [None, "commands", "files", "pty", "stdio", "network"])
def test_every_call_is_there(sbx: Sandbox, asbx: AsyncSandbox, part: Any) -> None:
    """Whatever the blocking objects can do, the asynchronous ones can do."""
    sync, twin = (sbx, asbx) if part is None else (getattr(sbx, part), getattr(asbx, part))
    # What the blocking objects have for the asynchronous ones; and a program's own calls, which its object has.
    inner = {"open_stream", "open_watch", "begin"} | ({"start"} if part == "pty" else set())
    inner |= {"send_stdin", "close_stdin", "kill"} if part == "stdio" else set()
    missing = {n for n in dir(type(sync)) if not n.startswith("_")} - set(dir(twin)) - inner
    assert missing == set()


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_cancelled_run_closes_its_connection(stub: Stub, asbx: AsyncSandbox) -> None:
    """As a closed connection does, it ends the command; it is not sent again, and the next call is unharmed."""
    gone = threading.Event()

    def hold(sock: Any) -> None:
        if not sock.recv(1):
            gone.set()

    stub.answer(hold)

    async def run() -> None:
        task = asyncio.ensure_future(asbx.commands.run("sleep 1000"))
        await until(lambda: stub.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(gone.is_set)
        stub.answer(reply(200, {"is_running": True}))
        assert await asbx.is_running()

    asyncio.run(run())
    assert [r.target.rpartition("/")[2] for r in stub.requests] == ["commands", "status"]


def test_cancelled_retry_is_not_made(stub: Stub, asbx: AsyncSandbox) -> None:
    stub.answer(reply(503, {"message": "busy"}))
    asbx._sync._client._retry_delay = 1000

    async def run() -> None:
        task = asyncio.ensure_future(asbx.get_info())
        await until(lambda: stub.requests)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: lanes.CALLS._idle == lanes.CALLS._threads)

    asyncio.run(run())
    assert len(stub.requests) == 1


def test_200_runs_at_once(stub: Stub, asbx: AsyncSandbox) -> None:
    """All are under way together, and calls that end them are not stuck behind them."""
    everybody = threading.Barrier(200, timeout=60)

    def handler(request: Request) -> bytes:
        if request.target.endswith("/status"):
            return reply(200, {"is_running": True})
        everybody.wait()
        return reply(200, {"stdout": request.json["cmd"], "stderr": "", "exit_code": 0})

    stub.handler = handler

    async def run() -> List[str]:
        tasks = [asyncio.ensure_future(asbx.run_command(str(n))) for n in range(199)]
        await until(lambda: len(stub.requests) == 199)
        assert await asbx.is_running()
        return [r.stdout for r in await asyncio.gather(*tasks, asbx.run_command("199"))]

    assert asyncio.run(run()) == [str(n) for n in range(200)]


def test_a_full_lane_waits(stub: Stub, asbx: AsyncSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAITS", lanes.Lane("test", 2))
    release = threading.Event()

    def handler(request: Request) -> bytes:
        if request.method == "DELETE":
            release.set()
            return reply(200, {"killed": True})
        assert release.wait(30)
        return reply(200, {"stdout": "", "stderr": "", "exit_code": 0})

    stub.handler = handler

    async def run() -> None:
        tasks = [asyncio.ensure_future(asbx.commands.connect(n).wait()) for n in range(6)]
        await until(lambda: len(stub.requests) == 2)
        tasks[5].cancel()
        assert await asbx.commands.kill(1), "goes by another lane"
        await asyncio.gather(*tasks[:5])
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert stub.count(6) == 6, "the cancelled one was never sent"


def test_a_command_is_sent_once(stub: Stub, asbx: AsyncSandbox) -> None:
    stub.answer(reply(502, {"message": "why"}))
    with pytest.raises(SandboxException, match="HTTP 502"):
        asyncio.run(asbx.run_command("x"))
    assert len(stub.requests) == 1


def out(text: str, kind: str = "stdout") -> str:
    return event(kind, {"type": kind, "data": text})


def exited(code: int) -> str:
    return event("exit", {"exit_code": code})


def test_live_output(stub: Stub, asbx: AsyncSandbox) -> None:
    stub.answer(sse(out("a\nb"), out("e\n", "stderr"), exited(3)))
    seen: List[str] = []

    async def on_stdout(line: str) -> None:
        await asyncio.sleep(0)
        seen.append(line)

    async def run() -> None:
        result = await asbx.commands.run_stream("x", on_stdout, seen.append)
        assert (result.stdout, result.stderr, result.exit_code) == ("a\nb", "e\n", 3)
        with pytest.raises(CommandExitException):
            await asbx.commands.connect(5).wait(on_stdout=on_stdout)
        assert [p.line async for p in asbx.commands.connect(5).stream()] == ["a\nb", "e\n"]
        stub.answer(reply(200, {"stdout": "x\ny", "stderr": "", "exit_code": 0}))
        await asbx.commands.run("x", on_stdout=on_stdout)

    asyncio.run(run())
    assert seen == ["a", "e", "b", "a", "b", "x", "y"]


def test_cancelled_stream_closes_its_connection(stub: Stub, asbx: AsyncSandbox) -> None:
    feed = Feed(out("a\n"))
    stub.answer(feed)
    seen: List[str] = []

    async def run() -> None:
        task = asyncio.ensure_future(asbx.commands.run_stream("x", seen.append))
        await until(lambda: seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(feed.closed.is_set)

    asyncio.run(run())


def test_a_timed_out_wait_for_an_item_loses_nothing(stub: Stub, asbx: AsyncSandbox) -> None:
    feed = Feed(out("a"))
    stub.answer(feed)

    async def run() -> None:
        stream = lanes.Pump(asbx.commands.connect(5)._handle.stream())
        assert (await stream.__anext__()).line == "a"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.__anext__(), 0.05)
        feed.send(out("b"), exited(0), None)
        assert [p.line async for p in stream] == ["b"]

    asyncio.run(run())


def test_a_pump_does_not_run_ahead() -> None:
    made: List[int] = []

    def source() -> Any:
        for n in range(100):
            made.append(n)
            yield n

    async def run() -> None:
        pump = lanes.Pump(source(), ahead=3)
        assert await pump.__anext__() == 0
        await until(lambda: len(made) == 5)
        await asyncio.sleep(0.05)
        assert len(made) == 5, "three wait, and one is in the hand"
        assert [n async for n in pump] == list(range(1, 100))

        def broken() -> Any:
            yield 1
            raise KeyError("mine")

        pump = lanes.Pump(broken())
        assert await pump.__anext__() == 1
        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                await pump.__anext__()
        pump = lanes.Pump(iter([1]))
        pump.close()
        assert [n async for n in pump] == []

    asyncio.run(run())


def test_files(stub: Stub, asbx: AsyncSandbox) -> None:
    data = bytes(range(256)) * 4000

    async def run() -> None:
        stub.answer(reply(200, data))
        stream = await asbx.files.read("/a", "stream")
        pieces = [piece async for piece in stream]
        assert len(pieces) > 1 and b"".join(pieces) == data
        async with await asbx.files.read("/a", "stream") as stream:
            assert await stream.__anext__()
        stub.answer(reply(404, {"message": "no"}))
        with pytest.raises(NotFoundException):
            await asbx.files.read("/a", "stream")

    asyncio.run(run())


def test_watch(stub: Stub, asbx: AsyncSandbox) -> None:
    feed = Feed(event("start", {}), event("change", {"type": "write", "path": "/a"}))
    stub.answer(feed)

    async def run() -> None:
        async with await asbx.files.watch_dir("/w") as watch:
            assert (await watch.__anext__()).path == "/a"
            assert await watch.get_new_events() == [] and watch.overflows == 0
            threading.Timer(0.05, feed.send, [event("change", {"type": "write", "path": "/b"})]).start()
            assert (await watch.__anext__()).path == "/b"
        assert [e async for e in watch] == []
        await until(feed.closed.is_set)

    asyncio.run(run())


def screen(data: bytes) -> str:
    return event("data", {"data": base64.b64encode(data).decode()})


def entry(kind: str, number: int, data: bytes) -> str:
    return event(kind, {"data": base64.b64encode(data).decode(), "entry_id": number})


def starts(stub: Stub, answer: Any) -> None:
    stub.handler = lambda r: answer if r.method == "GET" else reply(200, {"pid": 5, "cmd_id": "c-1", "killed": True})


def test_pty(stub: Stub, asbx: AsyncSandbox) -> None:
    starts(stub, sse(screen(b"\xff"), screen(b"$ "), exited(3)))
    seen: List[bytes] = []

    async def on_data(data: bytes) -> None:
        seen.append(data)

    async def run() -> None:
        handle = await asbx.pty.create()
        assert [d async for d in handle] == [b"\xff", b"$ "] and handle.exit_code == 3
        handle = await asbx.pty.create(on_data=on_data)
        with pytest.raises(RuntimeError):
            handle.__aiter__()
        assert await handle.wait(10) == 3 and seen == [b"\xff", b"$ "]
        feed = Feed(screen(b"x"))
        starts(stub, feed)
        handle = await asbx.pty.connect(5)
        assert await handle.wait(0.05) == -1
        await handle.send_stdin("é".encode()[:1])
        await handle.send_stdin("é".encode()[1:])
        assert stub.requests[-1].json == {"data": "é"}
        await handle.resize(PtySize(1, 2))
        assert await handle.kill() is True
        await handle.disconnect()
        assert await handle.wait(10) == -1
        await until(feed.closed.is_set)
        starts(stub, reply(404, {"message": "no"}))
        with pytest.raises(NotFoundException):
            await asbx.pty.connect(5)
        with pytest.raises(NotFoundException):
            await (await asbx.pty.create()).wait()

    asyncio.run(run())


def test_stdio(stub: Stub, asbx: AsyncSandbox) -> None:
    starts(stub, sse(entry("stdout", 1, b"o"), entry("stderr", 2, b"e"), exited(0)))
    seen: List[bytes] = []

    async def on_stdout(data: bytes) -> None:
        seen.append(data)

    async def run() -> None:
        process = await asbx.stdio.start("x")
        assert [e async for e in process] == [("stdout", b"o"), ("stderr", b"e")] and process.exit_code == 0
        process = await asbx.stdio.start("x", on_stdout=on_stdout, on_stderr=seen.append)
        assert (await process.wait(10)).exit_code == 0 and seen == [b"o", b"e"]
        process = await asbx.stdio.start("x")
        result = await process.stream()
        assert (result.stdout, result.stderr) == (b"o", b"e")
        feed = Feed(entry("stdout", 1, b"a"))
        starts(stub, feed)
        process = await asbx.stdio.start("x")
        assert (await process.wait(0.05)).exit_code == -1
        await process.send_stdin(b"\xff")
        await process.close_stdin()
        assert await process.kill() is True
        await process.disconnect()
        await until(feed.closed.is_set)
        assert (await process._task).exit_code == -1

    asyncio.run(run())


def test_follow(stub: Stub, asbx: AsyncSandbox) -> None:
    feed = Feed("id: 1\n" + event("decision", {"id": 1}))
    stub.answer(feed)

    async def run() -> None:
        async for record in asbx.network.follow():
            assert record == {"id": 1, "event": "decision"}
            break
        await until(feed.closed.is_set)

    asyncio.run(run())


def test_client_and_paginators(stub: Stub) -> None:
    async def run() -> None:
        client = AsyncApiClient()
        stub.answer(reply(200, {"a": 1}))
        for call in (client.get, client.post, client.put, client.patch, client.delete):
            assert await call("/x", query={"q": "1"}) == {"a": 1}
        assert await client.get_bytes("/x") == b'{"a": 1}'
        stub.answer(sse(event("e", 1), event("e", 2)))
        assert [e.data async for e in client.stream("GET", "/x")] == ["1", "2"]
        stub.answer(reply(200, {"sandboxes": [CREATED], "next_token": "t"}), reply(200, {"sandboxes": []}))
        assert [s.sandbox_id async for s in AsyncSandboxPaginator(client)] == ["sbx-abc12345"]
        stub.answer(reply(200, {"snapshots": [SNAP]}))
        pages = AsyncSnapshotPaginator(client, "s")
        assert [s.snapshot_id for s in await pages.next_items()] == ["snap-1"] and not pages.has_next
        stub.answer(reply(404, {"message": "no"}))
        with pytest.raises(SandboxException):
            await client.get("/x")
        await client.close()

    asyncio.run(run())
    assert [r.method for r in stub.requests[:5]] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
