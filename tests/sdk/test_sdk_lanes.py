# SPDX-License-Identifier: Apache-2.0
"""What becomes of a coroutine's call where the system gives no thread."""

import asyncio
import queue
import threading

import pytest

import declaw.api.lanes as lanes


def refuse_threads(patch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", refuse)


def test_no_thread_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is refused, and neither it nor the thread that was not made is left behind."""
    lane = lanes.Lane("test", 1)
    ran: "queue.Queue[str]" = queue.Queue()
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="new thread"):
                lane.submit(lambda: ran.put("refused"))
    assert (len(lane._tasks), lane._threads) == (0, 0)
    lane.submit(lambda: ran.put("later"))
    assert ran.get(timeout=10) == "later" and ran.empty()


def test_no_further_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that lives takes the task in its turn."""
    lane = lanes.Lane("test", 2)
    release = threading.Event()
    ran: "queue.Queue[str]" = queue.Queue()
    lane.submit(lambda: ran.put(str(release.wait(30))))
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        lane.submit(lambda: ran.put("second"))
    assert lane._threads == 1
    both = threading.Barrier(2, timeout=10)
    for _ in range(2):
        lane.submit(lambda: ran.put(f"together {both.wait() >= 0}"))
    assert lane._threads == 2, "what failed once does not narrow the lane"
    release.set()
    assert sorted(ran.get(timeout=10) for _ in range(4)) == ["True", "second", "together True", "together True"]


def test_a_refused_pump_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAITS", lanes.Lane("test", 1))

    async def run() -> None:
        pump = lanes.Pump(iter([1]))
        with monkeypatch.context() as patch:
            refuse_threads(patch)
            with pytest.raises(RuntimeError, match="new thread"):
                await asyncio.wait_for(pump.__anext__(), 10)
        assert await asyncio.wait_for(pump.__anext__(), 10) == 1
        pump.close()

    asyncio.run(run())
