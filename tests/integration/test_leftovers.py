# SPDX-License-Identifier: Apache-2.0
"""Whatever ends, by whatever means: nothing of it is left. Things follow behind, so every look is a bounded poll."""
import json
import os
import signal
import socket
import threading
import time
from typing import Any, Callable, List

import pytest
from ground import SLOW, Api, nothing, until
from traces import Counts, below, processes

POOL = 4
# Deaf to every polite signal, in a session of its own, with a child: what a kill must still end.
STUBBORN = "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM; sleep 1000\" & sleep 1000"


def stubborn(sbx: Any) -> None:
    """Leaves such a family running inside; returns when it does."""
    wait = "until [ $(cat /proc/[0-9]*/comm 2>/dev/null | grep -cx sleep) -ge 2 ]; do sleep 0.01; done"
    done = sbx.commands.run(f"({STUBBORN}) > /dev/null 2>&1 & {wait}", timeout=20)
    assert done.exit_code == 0, done


def same(before: Counts, after: Counts) -> None:
    assert after[:4] == before[:4]
    # The daemon may open a file or two for good (the store's journal); a leak of one a sandbox would show.
    assert after.files <= before.files + 8, (before, after)


def test_cycles(watched: Callable[..., Any]) -> None:
    server, traces, api = watched()
    before = traces.settle(POOL)
    api.sandbox().kill(wait=True)
    before = traces.settle(POOL)
    alive = api.sandbox()
    stubborn(alive)
    assert traces.counts().processes > before.processes + 2  # the count sees what a sandbox is made of
    alive.kill(wait=True)
    start = time.monotonic()
    for i in range(30):
        sbx = api.sandbox(network={"allow_out": [f"n{i}.test"]})
        stubborn(sbx)
        sbx.kill(wait=i % 2 == 0)
    spent = time.monotonic() - start
    until(api.running, 5, lambda ids: ids == [])
    after = traces.settle(POOL)
    print(f"30 cycles in {spent:.2f} s; before {before}, after {after}, settled {time.monotonic() - start - spent:.2f} s later")
    same(before, after)
    os.kill(server.pid, signal.SIGTERM)
    nothing(traces.left)


def test_kill_waits_for_the_processes(watched: Callable[..., Any]) -> None:
    """With wait, no process of the sandbox runs when the answer comes: a look at once, without a poll."""
    _server, traces, api = watched()
    traces.settle(POOL)
    sbx = api.sandbox()
    known = {p.pid for p in below(traces.keeper)}
    stubborn(sbx)
    inside = [p for p in below(traces.keeper) if p.name == "sleep" and p.pid not in known]
    assert len(inside) == 2
    sbx.kill(wait=True)
    now = processes()
    assert [p for p in inside if p.pid in now and now[p.pid].start == p.start and now[p.pid].state not in "ZX"] == []


def test_expiry(watched: Callable[..., Any]) -> None:
    _server, traces, api = watched()
    before = traces.settle(POOL)
    sbx = api.sandbox(timeout=1)
    stubborn(sbx)
    until(api.running, 5, lambda ids: ids == [])
    same(before, traces.settle(POOL))
    assert api.call("GET", f"/sandboxes/{sbx.sandbox_id}").json["state"] == "killed"


def test_end_of_pid_1(watched: Callable[..., Any]) -> None:
    """A sandbox whose own init ends, here by the host's hand, is noticed and taken apart."""
    _server, traces, api = watched()
    before = traces.settle(POOL)
    sbx = api.sandbox()
    stubborn(sbx)
    inits = [p.pid for p in below(traces.keeper) if p.parent == traces.keeper and p.pid in speaking(traces, "declaw-agent")]
    assert len(inits) == 1
    os.kill(inits[0], signal.SIGKILL)
    until(api.running, 5, lambda ids: ids == [])
    same(before, traces.settle(POOL))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=["term", "int", "kill"])
def test_end_of_the_daemon(watched: Callable[..., Any], number: int) -> None:
    server, traces, api = watched()
    for _ in range(3):
        stubborn(api.sandbox())
    traces.note()
    assert traces.left(), "the look itself must see a server that lives"
    start = time.monotonic()
    os.kill(server.pid, number)
    nothing(traces.left)
    print(f"{signal.Signals(number).name}: everything gone {1e3 * (time.monotonic() - start):.0f} ms later")
    status = server.stop()
    assert status == (0 if number != signal.SIGKILL else -signal.SIGKILL)


@pytest.mark.parametrize("delay_ms", [3, 11, 29])
def test_sigkill_in_the_middle_of_creates(watched: Callable[..., Any], delay_ms: int) -> None:
    """At a point of its life that nobody chose."""
    server, traces, api = watched()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                answer = api.create(network={"allow_out": ["a.test"]})
                api.call("DELETE", f"/sandboxes/{answer.json['sandbox_id']}?async=true")
            except (OSError, ValueError, KeyError):
                if not stop.is_set():
                    time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    until(lambda: traces.counts().gate_links, 5, lambda n: n > POOL)
    traces.note()
    time.sleep(delay_ms / 1000)
    os.kill(server.pid, signal.SIGKILL)
    stop.set()
    for t in threads:
        t.join()
    nothing(traces.left)


def test_end_of_the_keeper(watched: Callable[..., Any]) -> None:
    """Nobody is left to take control groups away; the next server on the machine does."""
    server, traces, api = watched()
    for _ in range(2):
        stubborn(api.sandbox())
    traces.note()
    os.kill(traces.keeper, signal.SIGKILL)
    nothing(lambda: [line for line in traces.left() if not line.startswith("control group")])
    assert server.stop() == 1
    watched()
    nothing(traces.left)


def send(api: Api, method: str, path: str, head: str, body: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", api.server.port))
    sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.server.key}\r\n{head}\r\n".encode() + body)
    return sock


def speaking(traces: Any, token: str) -> List[int]:
    """Processes of the keeper and of the sandboxes that have the token in their command line."""
    found = []
    for p in below(traces.keeper):
        try:
            with open(f"/proc/{p.pid}/cmdline", "rb") as f:
                found += [p.pid] if token.encode() in f.read() else []
        except OSError:
            pass
    return found


def test_client_vanishes_from_a_command(watched: Callable[..., Any]) -> None:
    _server, traces, api = watched()
    sbx = api.sandbox()
    before = traces.settle(POOL + 1)
    body = json.dumps({"cmd": "exec sleep 54321"}).encode()
    sock = send(api, "POST", f"/sandboxes/{sbx.sandbox_id}/commands", f"Content-Length: {len(body)}\r\n", body)
    until(lambda: speaking(traces, "54321"), 5)
    sock.close()
    until(lambda: speaking(traces, "54321"), 10, lambda found: not found)
    same(before, traces.settle(POOL + 1))
    assert sbx.commands.run("true").exit_code == 0


def test_client_vanishes_from_an_upload(watched: Callable[..., Any]) -> None:
    _server, traces, api = watched()
    sbx = api.sandbox()
    before = traces.settle(POOL + 1)
    sock = send(api, "PUT", f"/sandboxes/{sbx.sandbox_id}/files/raw?path=/tmp/big", "Content-Length: 1000000\r\n", b"x" * 5000)
    until(lambda: traces.counts().processes, 5, lambda n: n > before.processes)
    sock.close()
    until(lambda: traces.counts().processes, 10, lambda n: n == before.processes)
    same(before, traces.settle(POOL + 1))


def test_client_vanishes_from_creates(watched: Callable[..., Any]) -> None:
    """A sandbox whose client is gone may live, until its time is over; but it is in the list, and can be killed."""
    _server, traces, api = watched()
    before = traces.settle(POOL)
    body = json.dumps({"template": "base", "timeout": 2}).encode()
    for i in range(12):
        sock = send(api, "POST", "/sandboxes", f"Content-Length: {len(body)}\r\n", body)
        time.sleep(i % 4 / 1000)  # before, during and after the work
        sock.close()
    until(api.running, 10 * SLOW, lambda ids: ids == [])
    same(before, traces.settle(POOL))
