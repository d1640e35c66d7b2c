# SPDX-License-Identifier: Apache-2.0
"""Foreground commands."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from conftest import eventually


def test_output_and_exit_code(daemon, sandbox):
    r = daemon.run(sandbox, "echo out; echo err >&2; exit 42")
    assert (r["stdout"], r["stderr"], r["exit_code"]) == ("out\n", "err\n", 42)
    assert isinstance(r["pid"], int)
    assert "truncated" not in r


def test_where_and_as_whom(daemon, sandbox):
    assert daemon.run(sandbox, "id -un; pwd; echo $HOME")["stdout"] == "user\n/home/user\n/home/user\n"
    assert daemon.run(sandbox, "id -u; pwd", user="root", cwd="/tmp")["stdout"] == "0\n/tmp\n"
    assert daemon.run(sandbox, "id -un", user="")["stdout"] == "user\n"


def test_environment(daemon):
    sandbox = daemon.create(envs={"A": "sandbox", "B": "sandbox"})["sandbox_id"]
    assert daemon.run(sandbox, "echo $A $B $C", envs={"B": "command", "C": "é"})["stdout"] == "sandbox command é\n"
    assert daemon.run(sandbox, "echo $A $B $C")["stdout"] == "sandbox sandbox\n"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_signal_is_an_exit_code(daemon, sandbox):
    assert daemon.run(sandbox, "kill -9 $$")["exit_code"] == 137


def test_text_that_is_none(daemon, sandbox):
    r = daemon.run(sandbox, r"printf 'a\377b\342\202' ; printf 'x\000y\360\237\230\200' >&2")
    assert r["stdout"] == "a\ufffdb\ufffd"
    assert r["stderr"] == "x\0y\U0001f600"


def test_output_is_bounded(daemon, sandbox):
    r = daemon.run(sandbox, "head -c 20000000 /dev/zero | tr '\\0' x; echo done >&2; exit 5")
    assert r["exit_code"] == 5 and r["truncated"] is True
    assert r["stdout"] == "x" * (8 << 20)
    assert r["stderr"].startswith("done\n") and "8 MiB" in r["stderr"].splitlines()[-1]


def test_timeout(daemon, sandbox):
    begun = time.monotonic()
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "sleep 987", "timeout": 0.5})
    assert (answer.status, answer.code) == (408, "command_timeout")
    assert answer.message == "command timed out after 0.5s"
    assert 0.4 < time.monotonic() - begun < 3
    assert "987" not in daemon.run(sandbox, "ps ax -o args | grep '[s]leep 987'")["stdout"]


def test_no_timeout(daemon, sandbox):
    for timeout in (0, None):
        assert daemon.run(sandbox, "sleep 0.2; echo ok", timeout=timeout)["stdout"] == "ok\n"


def bad(**fields):
    return {"cmd": "touch /tmp/ran", **fields}


BAD_COMMANDS = [
    ({}, "invalid_field", "cmd"),
    ({"cmd": ""}, "invalid_field", "cmd"),
    ({"cmd": None}, "invalid_field", "cmd"),
    ({"cmd": 1}, "invalid_field", "cmd"),
    ({"cmd": "x\0"}, "invalid_field", "cmd"),
    ({"cmd": "x" * (128 << 10)}, "invalid_field", "cmd"),
    (bad(timeout=-1), "invalid_timeout", "timeout"),
    (bad(timeout=1000000), "invalid_timeout", "timeout"),
    (bad(timeout="5"), "invalid_field", "timeout"),
    (bad(stdin=True), "unsupported_option", "stdin"),
    (bad(background="yes"), "invalid_field", "background"),
    (bad(user="nobody-here"), "invalid_command", "nobody-here"),
    (bad(user="x" * 65), "invalid_field", "user"),
    (bad(user=["root"]), "invalid_field", "user"),
    (bad(cwd="/no/such/folder"), "invalid_command", "/no/such/folder"),
    (bad(cwd="relative"), "invalid_path", "cwd"),
    (bad(cwd="/root"), "invalid_command", "/root"),
    (bad(cwd="/" + "x" * 5000), "invalid_path", "cwd"),
    (bad(envs={"A=B": "x"}), "invalid_field", "envs"),
    (bad(envs={"A": 1}), "invalid_field", "envs"),
    (bad(envs={str(i): "x" for i in range(300)}), "invalid_field", "envs"),
]


@pytest.mark.parametrize("body, code, field", BAD_COMMANDS, ids=[f"{i}-{row[2]}" for i, row in enumerate(BAD_COMMANDS)])
def test_bad_command_runs_nothing(daemon, sandbox, body, code, field):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/commands", body)
    assert (answer.status, answer.code) == (400, code), answer.body
    assert field in answer.message
    assert daemon.run(sandbox, "ls /tmp/ran")["exit_code"] != 0


def test_the_longest_command(daemon, sandbox):
    cmd = "echo ok #" + "x" * ((128 << 10) - 10)
    assert daemon.run(sandbox, cmd)["stdout"] == "ok\n"


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
def test_a_client_that_goes_away_takes_its_command_along(daemon, sandbox, how):
    body = json.dumps({"cmd": "sleep 876"})
    s = socket.create_connection((daemon.host, daemon.port))
    s.sendall(f"POST /sandboxes/{sandbox}/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    runs = lambda: daemon.run(sandbox, "ps ax -o args | grep -c '[s]leep 876'")["stdout"] != "0\n"
    assert eventually(runs)
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if how == "half-close":
        s.shutdown(socket.SHUT_WR)
    else:
        s.close()
    assert eventually(lambda: not runs(), 3)
    s.close()


def test_the_next_request_on_a_busy_connection_does_not_cancel(daemon, sandbox):
    """Bytes of a client that sends ahead are no hang-up."""
    body = json.dumps({"cmd": "sleep 0.5; echo ok"})
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        request = f"POST /sandboxes/{sandbox}/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        s.sendall((request + "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").encode())
        got = b""
        while got.count(b"HTTP/1.1 200") < 2:
            part = s.recv(65536)
            assert part
            got += part
        assert b'"stdout":"ok\\n"' in got


def test_a_kill_ends_the_command_under_way(daemon, in_background):
    sandbox = daemon.create()["sandbox_id"]
    answers = []
    t = in_background(lambda: answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "touch /tmp/on; sleep 99"})))
    assert eventually(lambda: daemon.run(sandbox, "ls /tmp/on")["exit_code"] == 0)
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    t.join(5)
    assert (answers[0].status, answers[0].code) == (410, "sandbox_killed")


def test_commands_side_by_side(daemon, sandbox):
    out = []
    threads = [threading.Thread(target=lambda i=i: out.append(daemon.run(sandbox, f"sleep 0.3; echo {i}")["stdout"])) for i in range(20)]
    begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(out, key=int) == [f"{i}\n" for i in range(20)]
    assert time.monotonic() - begun < 4


def test_operations_have_a_limit_and_end(daemon, sandbox):
    waiting = []
    body = json.dumps({"cmd": "sleep 60"})

    def hold():
        s = socket.create_connection((daemon.host, daemon.port))
        s.sendall(f"POST /sandboxes/{sandbox}/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        waiting.append(s)

    def one_more():
        return daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"})

    def refused():
        # Not all at once before: the question itself holds a place, and one of the others may go without.
        hold()
        answer = one_more()
        return answer.status == 429 and answer

    for _ in range(60):
        hold()
    answer = eventually(refused)
    assert answer.code == "too_many_operations" and answer.headers["Retry-After"]
    for s in waiting:
        s.close()
    assert eventually(lambda: one_more().status == 200)


def test_a_long_command_keeps_its_client_waiting(make_daemon):
    """After a while the head of the answer goes out, then spaces, then the JSON: here the while is 300 ms."""
    d = make_daemon(env={"DECLAW_TEST_SILENT_MS": "300"})
    sandbox = d.create()["sandbox_id"]
    connection = d.connect()
    connection.request("POST", f"/sandboxes/{sandbox}/commands", json.dumps({"cmd": "sleep 1.5; echo ok; exit 3"}), {"X-API-Key": d.key})
    begun = time.monotonic()
    response = connection.getresponse()
    if time.monotonic() - begun > 1.4:
        pytest.skip("not a build with test hooks")
    assert response.status == 200 and response.headers["Content-Type"] == "application/json"
    body = response.read()
    assert body.startswith(b"  ")
    assert json.loads(body)["stdout"] == "ok\n" and json.loads(body)["exit_code"] == 3
    late = d.run(sandbox, "echo before; sleep 99", timeout=1)
    assert late["exit_code"] == 124 and late["stdout"] == "before\n" and "timed out after 1s" in late["stderr"]


def peak(daemon):
    """The most memory that the daemon itself has had, in MiB."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def test_floods_of_one_sandbox_cost_neither_the_server_nor_its_neighbours(make_daemon):
    """Sixteen commands at a time that write what is longest as JSON: memory stays in proportion, others keep their output."""
    daemon = make_daemon()
    greedy, neighbour = daemon.create()["sandbox_id"], daemon.create()["sandbox_id"]
    flood = "head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2; touch /tmp/$$.done; sleep 4"
    answers = []

    def run():
        answers.append(daemon.request("POST", f"/sandboxes/{greedy}/commands", {"cmd": flood}))

    threads = [threading.Thread(target=run) for _ in range(16)]
    for t in threads:
        t.start()
    until = time.monotonic() + 4
    seen = []
    while time.monotonic() < until:
        seen.append(daemon.run(neighbour, "seq 1 100000"))
    for t in threads:
        t.join()
    assert {a.status for a in answers} == {200} and all(a.json["truncated"] for a in answers)
    whole = "".join(f"{i}\n" for i in range(1, 100001))
    assert seen and all(done["stdout"] == whole and not done.get("truncated") for done in seen)
    assert peak(daemon) < 512
    # All of it was given back.
    done = daemon.run(greedy, "head -c 8388608 /dev/zero")
    assert done["stdout"] == "\0" * (8 << 20) and "truncated" not in done


def test_output_of_every_kind_of_bytes(daemon, sandbox):
    """What comes out is what Python makes of the same bytes, long or short."""
    short = bytes(range(256)) + b'"\\/\x7f\xe2\x82\xac\xf0\x9f\x98\x80\xed\xa0\x80\xc0\xaf\xf4\x90\x80\x80\xe2\x82'
    for times in (1, 4000):
        data = short * times
        assert daemon.request("PUT", f"/sandboxes/{sandbox}/files/raw?path=/tmp/bytes", data).status == 200
        done = daemon.run(sandbox, "cat /tmp/bytes; cat /tmp/bytes >&2")
        assert done["stdout"] == done["stderr"] == data.decode("utf-8", "replace")


def test_clients_that_go_are_no_news(make_daemon):
    d = make_daemon(env={"DECLAW_TEST_SILENT_MS": "100"})
    sandbox = d.create()["sandbox_id"]
    pid = d.run(sandbox, "sleep 600", background=True)["pid"]
    asked = [("GET", "/network/log?follow=true", None), ("GET", f"/commands/{pid}/wait", None), ("POST", "/commands", {"cmd": "sleep 600"})]
    for method, path, body in asked:
        connection = d.connect()
        connection.request(method, f"/sandboxes/{sandbox}{path}", json.dumps(body) if body else None, {"X-API-Key": d.key})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read(1) in (b":", b" ")
        answer.close()
        connection.close()
    active = lambda: "declaw_http_requests_active 1\n" in d.request("GET", "/metrics").body.decode()
    assert eventually(active, 20)
    d.stop(remove=False)
    assert "network/log status=200" in d.log() and "event=http" not in d.log()
