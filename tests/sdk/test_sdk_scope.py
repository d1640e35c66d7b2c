# SPDX-License-Identifier: Apache-2.0
"""Giving up calls from another thread: waits end, connections close, and what others use stays whole."""

import socket
import threading
import time
from typing import Any, Callable, List

import pytest
from sdk_stub import Feed, Stub, event, reply

from declaw import ApiClient, ConnectionConfig, Sandbox, SandboxException
from declaw.api.events import open_events
from declaw.api.scope import CallCancelled, CallScope, in_scope
from declaw.api.transport import Pool

OK = reply(200, {"is_running": True})


def in_thread(work: Callable[[], Any]) -> "tuple[threading.Thread, List[BaseException]]":
    errors: List[BaseException] = []

    def run() -> None:
        try:
            work()
        except Exception as e:
            errors.append(e)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def test_cancel_ends_a_wait_for_the_head(stub: Stub, sbx: Sandbox) -> None:
    gone = threading.Event()
    stub.answer(lambda sock: gone.set() if not sock.recv(1) else None)
    scope = CallScope()

    def work() -> None:
        with in_scope(scope):
            sbx.commands.run("sleep 1000")

    thread, errors = in_thread(work)
    assert stub.count(1) == 1
    scope.cancel()
    thread.join(10)
    assert not thread.is_alive() and gone.wait(10)
    assert isinstance(errors[0], (SandboxException, CallCancelled)) and len(stub.requests) == 1
    with pytest.raises(CallCancelled), in_scope(scope):
        sbx.is_running()
    assert len(stub.requests) == 1, "nothing new begins in a cancelled scope"


def test_cancel_ends_a_connect() -> None:
    """To a listener whose queue is full: the handshake does not end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        time.sleep(0.1)
        scope = CallScope()

        def work() -> None:
            with in_scope(scope):
                Pool("http://127.0.0.1:%d" % listener.getsockname()[1]).send("GET", "/", {}, None, None)

        thread, errors = in_thread(work)
        time.sleep(0.2)
        assert thread.is_alive(), "it waits for the connection"
        scope.cancel()
        thread.join(10)
        assert not thread.is_alive() and len(errors) == 1
        for sock in fill:
            sock.close()


def test_cancel_after_the_end_harms_nobody(stub: Stub, sbx: Sandbox) -> None:
    """The connection is back in the pool, and another call may be using it."""
    stub.answer(OK)
    scope = CallScope()
    with in_scope(scope):
        assert sbx.is_running()
    scope.cancel()
    assert sbx.is_running()
    assert {r.connection for r in stub.requests} == {1}


def test_scopes_nest(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(OK)
    inner, outer = CallScope(), CallScope()
    inner.cancel()
    with in_scope(outer):
        with pytest.raises(CallCancelled), in_scope(inner):
            sbx.is_running()
        assert sbx.is_running()


def test_a_stream_closed_by_another_thread(stub: Stub) -> None:
    feed = Feed(event("a", 1))
    stub.answer(feed)
    events = open_events(ApiClient(ConnectionConfig()), "GET", "/x")
    assert next(events).event == "a"
    threading.Timer(0.05, events.close).start()
    assert [*events] == [] and feed.closed.wait(10)
    events.close()
    assert [*events] == []


def test_closing_and_reading_at_once(stub: Stub) -> None:
    """Again and again, at every moment of the reader: no hang, no foreign error, no descriptor left."""
    client = ApiClient(ConnectionConfig())
    for n in range(40):
        feed = Feed(*(event("a", i) for i in range(20)), None)
        stub.answer(feed)
        events = open_events(client, "GET", "/x")
        thread, errors = in_thread(lambda: [*events])
        time.sleep(0.0005 * (n % 10))
        events.close()
        thread.join(10)
        assert not thread.is_alive() and errors == []
        assert events._response._connection is None


def test_a_silent_stream_times_out(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(Feed())
    with pytest.raises(SandboxException, match="no more of the answer came in time"):
        sbx.commands.run_stream("x", request_timeout=0.2)
