# SPDX-License-Identifier: Apache-2.0
"""Terminals."""

import threading

import pytest

from conftest import eventually
from streams import Stream, end, joined


@pytest.fixture
def call(daemon, sandbox):
    def one(method, path, body=None):
        return daemon.request(method, f"/sandboxes/{sandbox}/pty{path}", body)

    return one


@pytest.fixture
def start(call):
    def one(**fields):
        answer = call("POST", "", {"size": {"cols": 90, "rows": 25}, "user": "user", **fields})
        assert answer.status == 200 and list(answer.json) == ["pid"] and isinstance(answer.json["pid"], int), answer.body
        return answer.json["pid"]

    return one


@pytest.fixture
def follow(daemon, sandbox):
    return lambda pid: Stream(daemon, "GET", f"/sandboxes/{sandbox}/pty/{pid}/stream")


def send(call, pid, text):
    answer = call("POST", f"/{pid}/stdin", {"data": text})
    assert (answer.status, answer.json) == (200, {}), answer.body


def test_a_shell(call, start, follow):
    pid = start(envs={"A": "b"}, cwd="/tmp")
    with follow(pid) as s:
        # Quotes keep the echo of the input from looking like the output.
        send(call, pid, "echo 'o'ne $A $TERM $PWD; stty size; tty\n")
        got = s.until(b"/dev/pts/")
        assert b"one b xterm-256color /tmp\r\n25 90\r\n" in got
        send(call, pid, "exit 4\n")
        rest = s.all()
    assert {e.name for e in rest} <= {"data", "exit"} and end(rest) == ("exit", 4)


def test_what_came_before_the_first_reader_is_its(call, start, follow):
    pid = start()
    send(call, pid, "echo 'e'arly\n")
    probe = lambda: call("POST", f"/{pid}/stdin", {"data": ""}).status == 200
    assert probe()
    with follow(pid) as s:
        assert b"early" in s.until(b"early\r\n")
        # The second one begins where it joins.
        with follow(pid) as late:
            send(call, pid, "echo 'l'ate\n")
            assert b"early" not in late.until(b"late\r\n")
        assert s.until(b"late\r\n")
    call("DELETE", f"/{pid}")


def test_leaving_does_not_end_it(call, start, follow):
    pid = start()
    with follow(pid) as s:
        send(call, pid, "echo 'o'ne\n")
        s.until(b"one\r\n")
    with follow(pid) as s:
        send(call, pid, "echo 't'wo\n")
        s.until(b"two\r\n")
    assert call("DELETE", f"/{pid}").json == {"killed": True}


def test_resize(call, start, follow):
    pid = start()
    assert call("PATCH", f"/{pid}", {"size": {"cols": 133, "rows": 44}}).json == {}
    with follow(pid) as s:
        send(call, pid, "stty size\n")
        s.until(b"44 133\r\n")
    call("DELETE", f"/{pid}")


def test_keys(call, start, follow):
    """Ctrl-C ends what runs, and characters of every kind come through."""
    pid = start()
    with follow(pid) as s:
        send(call, pid, "echo 'r'eady; sleep 99\n")
        s.until(b"ready\r\n")
        send(call, pid, "\x03")
        send(call, pid, "echo '\u00e9\U0001f600' $?\n")
        s.until("\u00e9\U0001f600 130\r\n".encode())
    call("DELETE", f"/{pid}")


def test_kill_and_what_comes_after(call, start, follow):
    pid = start()
    got = []
    thread = threading.Thread(target=lambda: got.append(follow(pid).all()))
    thread.start()
    assert call("DELETE", f"/{pid}").json == {"killed": True}
    thread.join(20)
    assert end(got[0]) == ("exit", 137)
    assert call("DELETE", f"/{pid}").json == {"killed": False}
    assert call("POST", f"/{pid}/stdin", {"data": "x"}).code == "process_ended"
    assert call("PATCH", f"/{pid}", {"size": {"cols": 1, "rows": 1}}).code == "process_ended"


def test_timeout(call, start, follow):
    pid = start(timeout=1)
    with follow(pid) as s:
        assert end(s.all()) == ("exit", 124)


def test_pids(call):
    assert call("DELETE", "/99999").json == {"killed": False}
    assert call("GET", "/99999/stream").code == "process_not_found"
    assert call("GET", "/x/stream").code == "invalid_pid"
    assert call("DELETE", "/x").code == "invalid_pid"


BAD_SIZES = [{"cols": 0, "rows": 1}, {"cols": 1, "rows": 5000}, {"cols": "80", "rows": 24}, {"cols": -1, "rows": 24}, [80, 24], "80x24"]


@pytest.mark.parametrize("size", BAD_SIZES)
def test_bad_sizes(call, start, size):
    pid = start()
    for answer in (call("POST", "", {"size": size}), call("PATCH", f"/{pid}", {"size": size})):
        assert (answer.status, answer.code) == (400, "invalid_field")
    assert call("PATCH", f"/{pid}", {}).code == "invalid_field"


def test_sizes_have_defaults(call, follow):
    pid = call("POST", "", {}).json["pid"]
    with follow(pid) as s:
        send(call, pid, "stty size\n")
        s.until(b"24 80\r\n")


def test_a_flood_that_nobody_reads(daemon, call, start, follow):
    """The terminal goes on, what is kept is the latest, and the first reader is told how much it missed."""
    pid = start()
    send(call, pid, "seq 1 400000; echo 'd'one > /tmp/done; echo 'f'in; exit\n")
    sandbox_done = lambda: call("POST", f"/{pid}/stdin", {"data": ""}).status == 409
    assert eventually(sandbox_done, 60)
    with follow(pid) as s:
        events = s.all()
    assert events[0].name == "dropped" and events[0].data["bytes"] > 1000000
    assert b"400000\r\nfin\r\n" in joined(events[:-1], "data")
    assert end(events) == ("exit", 0)
