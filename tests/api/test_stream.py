# SPDX-License-Identifier: Apache-2.0
"""POST commands/stream: output as it comes."""

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from conftest import eventually
from streams import Stream, end, texts


@pytest.fixture
def stream(daemon, sandbox):
    def one(cmd, headers=None, **fields):
        with Stream(daemon, "POST", f"/sandboxes/{sandbox}/commands/stream", {"cmd": cmd, "stream": True, "user": "user", **fields}, headers) as s:
            assert s.response.status == 200, s.response.read()
            assert s.response.headers["Content-Type"] == "text/event-stream"
            return s.all()

    return one


def test_lines_streams_and_the_end(stream):
    events = stream("echo a; echo b; sleep 0.3; echo c >&2; exit 3")
    assert [(e.name, e.data) for e in events] == [
        ("stdout", {"type": "stdout", "stream": "stdout", "data": "a\n"}),
        ("stdout", {"type": "stdout", "stream": "stdout", "data": "b\n"}),
        ("stderr", {"type": "stderr", "stream": "stderr", "data": "c\n"}),
        ("exit", {"exit_code": 3}),
    ]


def test_the_connection_ends_with_it(daemon, sandbox):
    body = json.dumps({"cmd": "echo x"})
    with socket.create_connection((daemon.host, daemon.port)) as s:
        s.sendall(f"POST /sandboxes/{sandbox}/commands/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        s.settimeout(30)
        got = b""
        while piece := s.recv(65536):
            got += piece
    assert b'{"exit_code":0}\n\n' in got


def test_part_of_a_line_is_not_kept_back(daemon, sandbox):
    with Stream(daemon, "POST", f"/sandboxes/{sandbox}/commands/stream", {"cmd": "printf 'name? '; sleep 5; echo x"}) as s:
        events = s.events()
        begun = time.monotonic()
        assert next(events).data["data"] == "name? "
        assert time.monotonic() - begun < 4
        assert next(events).data["data"] == "x\n"


def test_characters_are_whole(stream):
    events = stream(r"printf 'a\342\202'; sleep 1; printf '\254b\360\237'; sleep 1; printf '\230\200\n\303'; exit 0")
    assert "".join(texts(events)) == "a\u20acb\U0001f600\n\ufffd"
    assert "\ufffd" not in "".join(texts(events)[:-1])


def test_characters_that_some_clients_take_for_line_ends(stream):
    text = "a\u0085b\u2028c\u2029d\x0ce\x1cf\r"
    assert "".join(texts(stream(f"printf '%s\\n' '{text}'"))) == text + "\n"


def test_long_lines_and_many(stream):
    events = stream("head -c 300000 /dev/zero | tr '\\0' x; echo; seq 1 20000")
    assert "".join(texts(events)) == "x" * 300000 + "\n" + "".join(f"{i}\n" for i in range(1, 20001))
    assert end(events) == ("exit", 0)
    assert len(texts(events)) >= 20001


def test_timeout(stream):
    events = stream("echo before; sleep 321", timeout=1)
    assert [e.name for e in events] == ["stdout", "error", "exit"]
    assert events[1].data == {"error": "command timed out after 1s"} and end(events) == ("exit", 124)


def test_one_client_gets_lines_without_their_ends(daemon, stream):
    """It joins what it gets by newlines; it is known by its name and the header that it alone sends so."""
    httpx = {"X-API-Key": daemon.key, "User-Agent": "python-httpx/0.27.0"}
    assert texts(stream("echo a; echo; echo b", httpx)) == ["a", "", "b"]
    for headers in ({"Authorization": f"Bearer {daemon.key}", "User-Agent": "python-httpx/0.27.0"}, {"X-API-Key": daemon.key, "User-Agent": "node"}):
        assert texts(stream("echo a; echo; echo b", headers)) == ["a\n", "\n", "b\n"]


def test_what_can_not_start_is_an_error(daemon, sandbox, stream):
    path = f"/sandboxes/{sandbox}/commands/stream"
    for body, code in (({}, "invalid_field"), ({"cmd": "x", "cwd": "/no/such"}, "invalid_command"), ({"cmd": "x", "background": True}, "unsupported_option"), ({"cmd": "x", "stdin": True}, "unsupported_option")):
        answer = daemon.request("POST", path, body)
        assert (answer.status, answer.code) == (400, code)
    # That client does not look at the status, and would see success.
    events = stream("x", {"X-API-Key": daemon.key, "User-Agent": "python-httpx/0.27.0"}, cwd="/no/such")
    assert [e.name for e in events] == ["error", "exit"] and end(events) == ("exit", 1)
    assert "/no/such" in events[0].data["error"]


def test_signs_of_life(make_daemon):
    d = make_daemon(env={"DECLAW_TEST_PING_MS": "100"})
    with Stream(d, "POST", f"/sandboxes/{d.create()['sandbox_id']}/commands/stream", {"cmd": "sleep 4; echo x"}) as s:
        events = s.all()
        assert texts(events) == ["x\n"]
        assert s.comments >= 3 and s.lines.count(b": ping\n") == s.comments


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_takes_its_command_along(daemon, sandbox, how):
    s = Stream(daemon, "POST", f"/sandboxes/{sandbox}/commands/stream", {"cmd": "echo x; sleep 654"})
    assert next(s.events()).data["data"] == "x\n"
    runs = lambda: "654" in daemon.run(sandbox, "ps ax -o args | grep '[s]leep 654'")["stdout"]
    assert runs()
    if how == "reset":
        s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
    s.socket.close()
    assert eventually(lambda: not runs())


def resident(daemon):
    """MiB that the daemon itself takes now."""
    return int(Path(f"/proc/{daemon.process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) >> 10


def test_a_client_that_reads_nothing(make_daemon):
    """One command writes 100 MiB to nobody's eyes: as a stream it is slowed down, in the background it is not, and memory stays bounded."""
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    path = f"/sandboxes/{sandbox}"
    before = resident(d)
    flood = "head -c 104857600 /dev/zero | tr '\\0' '\\n'; touch /tmp/done"
    pid = d.request("POST", path + "/commands", {"cmd": flood, "background": True}).json["pid"]
    deaf = [Stream(d, "GET", f"{path}/commands/{pid}/stream") for _ in range(3)]
    stalled = Stream(d, "POST", path + "/commands/stream", {"cmd": "head -c 104857600 /dev/zero | tr '\\0' x; touch /tmp/late"})
    begun = time.monotonic()
    assert eventually(lambda: d.run(sandbox, "ls /tmp/done")["exit_code"] == 0, 60)
    assert d.request("GET", f"{path}/commands/{pid}/wait").json["truncated"] is True
    assert d.run(sandbox, "ls /tmp/late")["exit_code"] != 0
    # A sanitizer keeps up to 256 MiB of what was freed, to see it used.
    assert resident(d) - before < (320 if "asan" in os.environ.get("DECLAW_BUILD", "") else 64)
    # Who reads at last gets what is kept, is told what is not, and comes to the end.
    names = {}
    total = 0
    for event in deaf[0].events():
        names[event.name] = names.get(event.name, 0) + 1
        total += len(event.data.get("data", "")) + event.data.get("bytes", 0)
        if names.get("stdout", 0) > 20000:
            break
    assert names["stdout"] > 20000
    for s in (*deaf, stalled):
        s.close()
        s.socket.close()
    print("seconds", time.monotonic() - begun, "grown by MiB", resident(d) - before)


def test_what_stood_in_the_sockets_is_not_lost(daemon, sandbox):
    """A command that ended well while its client did not read, for longer than the command's own time."""
    path = f"/sandboxes/{sandbox}/commands/stream"
    script = "for i in $(seq %d); do head -c 16383 /dev/zero | tr '\\0' x; echo; echo $i > /tmp/written; done"
    written = lambda: int(daemon.run(sandbox, "cat /tmp/written 2>/dev/null || echo 0")["stdout"] or 0)
    with Stream(daemon, "POST", path, {"cmd": script % 100000}) as s:
        room = -1
        while room < (room := written()) or not room:
            time.sleep(1)
        s.response.close()
        s.socket.close()
    # Less than all that has room on the way, so that it ends, and more than the network takes.
    blocks = room - 8
    with Stream(daemon, "POST", path, {"cmd": script % blocks, "timeout": 3}) as s:
        assert eventually(lambda: written() == blocks, 3)
        time.sleep(14)
        events = s.all()
    assert end(events) == ("exit", 0) and [e.name for e in events].count("error") == 0
    assert sum(map(len, texts(events))) == blocks * 16384


def test_a_reader_that_fell_behind_is_told(daemon, sandbox):
    pid = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "head -c 12582912 /dev/zero | tr '\\0' x", "background": True}).json["pid"]
    assert daemon.request("GET", f"/sandboxes/{sandbox}/commands/{pid}/wait").status == 200
    with Stream(daemon, "GET", f"/sandboxes/{sandbox}/commands/{pid}/stream") as s:
        events = s.all()
    dropped = [e.data for e in events if e.name == "dropped"]
    kept = sum(map(len, texts(events)))
    assert len(dropped) == 1 and dropped[0]["type"] == "dropped"
    assert kept + dropped[0]["bytes"] == 12582912 and kept >= 8 << 20
    assert end(events) == ("exit", 0)


def test_a_killed_sandbox_ends_it(daemon):
    sandbox = daemon.create()["sandbox_id"]
    with Stream(daemon, "POST", f"/sandboxes/{sandbox}/commands/stream", {"cmd": "echo x; sleep 99"}) as s:
        events = s.events()
        next(events)
        daemon.request("DELETE", f"/sandboxes/{sandbox}")
        rest = list(events)
    assert [e.name for e in rest] == ["error", "exit"] and "killed" in rest[0].data["error"] and end(rest) == ("exit", 137)
