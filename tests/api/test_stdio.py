# SPDX-License-Identifier: Apache-2.0
"""Programs that are talked to over their standard streams."""

import base64
import threading

import pytest

from streams import Stream, end, joined


@pytest.fixture
def call(daemon, sandbox):
    def one(method, path, body=None):
        return daemon.request(method, f"/sandboxes/{sandbox}/stdio{path}", body)

    return one


@pytest.fixture
def start(call):
    def one(cmd, **fields):
        answer = call("POST", "", {"cmd": cmd, "user": "user", **fields})
        assert answer.status == 200 and list(answer.json) == ["cmd_id"] and isinstance(answer.json["cmd_id"], str)
        return answer.json["cmd_id"]

    return one


@pytest.fixture
def follow(daemon, sandbox):
    def one(cmd_id, query=""):
        return Stream(daemon, "GET", f"/sandboxes/{sandbox}/stdio/{cmd_id}/stream{query}")

    return one


def send(call, cmd_id, data):
    answer = call("POST", f"/{cmd_id}/stdin", {"data": base64.b64encode(data).decode()})
    assert (answer.status, answer.json) == (200, {}), answer.body


def test_a_conversation(call, start, follow):
    c = start("while read line; do echo got $line; echo log >&2; done; exit 6")
    with follow(c) as s:
        events = s.events()
        for word in (b"one", b"two"):
            send(call, c, word + b"\n")
            seen = b""
            while seen != b"got " + word + b"\n":
                e = next(events)
                seen += e.bytes if e.name == "stdout" else b""
        assert call("POST", f"/{c}/stdin/close").json == {}
        assert end(list(events)) == ("exit", 6)


def test_bytes_of_every_kind_in_order(call, start, follow):
    data = bytes(range(256)) * 2000
    c = start("cat")
    for at in range(0, len(data), 99991):
        send(call, c, data[at : at + 99991])
    call("POST", f"/{c}/stdin/close")
    with follow(c) as s:
        events = s.all()
    assert joined(events, "stdout") == data and end(events) == ("exit", 0)


def test_entries_rise_over_both_streams_and_are_replayed(call, start, follow):
    c = start("echo a; echo b >&2; sleep 0.2; echo c; exit 1")
    with follow(c) as s:
        events = s.all()
    ids = [e.data["entry_id"] for e in events[:-1]]
    assert ids[0] >= 1 and ids == sorted(set(ids))
    for i, last in enumerate(ids):
        with follow(c, f"?last_entry_id={last}") as s:
            again = s.all()
        for name in ("stdout", "stderr"):
            assert joined(again[:-1], name) == joined(events[i + 1 : -1], name)
        assert end(again) == ("exit", 1)
    with follow(c, "?last_entry_id=0") as s:
        assert joined(s.all()[:-1], "stdout") == b"a\nc\n"
    for bad in ("x", "-1", "1.5", ""):
        assert call("GET", f"/{c}/stream?last_entry_id={bad}").status == 400


def test_several_readers_and_one_that_leaves(call, start, follow):
    c = start("cat")
    first, second = follow(c), follow(c)
    send(call, c, b"x")
    assert first.until(b"x") == second.until(b"x") == b"x"
    first.close()
    send(call, c, b"y")
    assert second.until(b"y") == b"y"
    second.close()
    assert call("DELETE", f"/{c}").json == {"killed": True}


def test_kill(call, start, follow):
    c = start("sleep 99")
    got = []
    thread = threading.Thread(target=lambda: got.append(follow(c).all()))
    thread.start()
    assert call("DELETE", f"/{c}").json == {"killed": True}
    thread.join(20)
    assert end(got[0]) == ("exit", 137)
    assert call("DELETE", f"/{c}").json == {"killed": False}
    assert call("DELETE", "/cmd-unknown").json == {"killed": False}
    assert call("GET", "/cmd-unknown/stream").code == "process_not_found"
    assert call("POST", f"/{c}/stdin", {"data": ""}).code == "process_ended"


@pytest.mark.parametrize("data", [None, 1, "x", "Zg=", "Zg==\n", "Z-_="])
def test_bad_stdin(call, start, data):
    answer = call("POST", f"/{start('cat')}/stdin", {"data": data})
    assert (answer.status, answer.code) == (400, "invalid_field")


@pytest.mark.parametrize("body, code", [({}, "invalid_field"), ({"cmd": ""}, "invalid_field"), ({"cmd": "x", "cwd": "/no/such"}, "invalid_command")])
def test_bad_starts(call, body, code):
    answer = call("POST", "", body)
    assert (answer.status, answer.code) == (400, code)


def test_a_killed_sandbox_ends_it(daemon):
    sandbox = daemon.create()["sandbox_id"]
    c = daemon.request("POST", f"/sandboxes/{sandbox}/stdio", {"cmd": "echo x; cat"}).json["cmd_id"]
    with Stream(daemon, "GET", f"/sandboxes/{sandbox}/stdio/{c}/stream") as s:
        events = s.events()
        assert next(events).bytes == b"x\n"
        daemon.request("DELETE", f"/sandboxes/{sandbox}")
        assert end(list(events)) == ("exit", 137)
    for method, rest, body in (("GET", "/stream", None), ("DELETE", "", None), ("POST", "/stdin", {"data": ""}), ("POST", "/stdin/close", None)):
        assert daemon.request(method, f"/sandboxes/{sandbox}/stdio/{c}{rest}", body).status == 410
