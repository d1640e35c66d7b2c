# SPDX-License-Identifier: Apache-2.0
"""Commands in the background: what outlives its request."""

import json
import threading
import time

import pytest

from conftest import eventually
from streams import Stream, end, texts


@pytest.fixture
def call(daemon, sandbox):
    def one(method, path, body=None, **kwargs):
        return daemon.request(method, f"/sandboxes/{sandbox}{path}", body, **kwargs)

    return one


@pytest.fixture
def start(call):
    def one(cmd, **fields):
        answer = call("POST", "/commands", {"cmd": cmd, "background": True, **fields})
        assert answer.status == 200, answer.body
        assert list(answer.json) == ["pid"] and isinstance(answer.json["pid"], int)
        return answer.json["pid"]

    return one


def wait(call, pid):
    answer = call("GET", f"/commands/{pid}/wait")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json", answer.body
    return answer.json


def test_wait_gives_all_output_and_the_exit_code(call, start):
    pid = start("echo out; echo err >&2; exit 7")
    done = wait(call, pid)
    assert (done["stdout"], done["stderr"], done["exit_code"], done["pid"]) == ("out\n", "err\n", 7, pid)
    assert "truncated" not in done


def test_where_as_whom_and_with_what(call, start):
    assert wait(call, start("id -un; pwd; echo $A", envs={"A": "b"}, cwd="/tmp"))["stdout"] == "user\n/tmp\nb\n"
    assert wait(call, start("id -u", user="root"))["stdout"] == "0\n"


def test_the_answer_does_not_wait_for_the_end(start):
    begun = time.monotonic()
    start("sleep 100")
    assert time.monotonic() - begun < 20


def test_wait_answers_at_once_with_spaces(daemon, sandbox, start):
    pid = start("read line; echo $line")
    connection = daemon.connect()
    connection.request("GET", f"/sandboxes/{sandbox}/commands/{pid}/wait", headers={"X-API-Key": daemon.key})
    response = connection.getresponse()
    assert response.status == 200
    assert response.read(1) == b" "
    assert daemon.request("POST", f"/sandboxes/{sandbox}/commands/{pid}/stdin", {"data": "go\n"}).json == {}
    assert json.loads(response.read())["stdout"] == "go\n"
    connection.close()


def test_the_list(call, start):
    assert call("GET", "/commands").json == []
    first, second = start("sleep 100", envs={"A": "b"}), start("exit 3")
    listed = call("GET", "/commands").json
    assert [{"pid": first, "cmd": "sleep 100", "is_pty": False, "envs": {"A": "b"}}, {"pid": second, "cmd": "exit 3", "is_pty": False, "envs": {}}] == listed
    assert wait(call, second)["exit_code"] == 3
    assert [p["pid"] for p in call("GET", "/commands").json] == [first]
    assert call("DELETE", f"/commands/{first}").json == {"killed": True}
    assert call("GET", "/commands").json == []


def test_the_list_shows_long_ones_in_part(call, start):
    start("sleep 100 # " + "\u20ac" * 30000, envs={"A": "b" * 30000})
    start("sleep 100 # " + "x" * 8000)
    long, short = call("GET", "/commands").json
    assert long["cmd"] == "sleep 100 # " + "\u20ac" * ((8192 - 12) // 3) and long["envs"] == {} and long["truncated"] is True
    assert len(short["cmd"]) == 8012 and "truncated" not in short


def test_wait_again_and_by_two(call, start):
    pid = start("read line; echo $line; exit 5")
    got = []
    threads = [threading.Thread(target=lambda: got.append(wait(call, pid))) for _ in range(2)]
    for t in threads:
        t.start()
    call("POST", f"/commands/{pid}/stdin", {"data": "x\n"})
    for t in threads:
        t.join()
    got.append(wait(call, pid))
    assert [(g["stdout"], g["exit_code"]) for g in got] == [("x\n", 5)] * 3


def test_results_are_forgotten_after_a_while(make_daemon):
    d = make_daemon(env={"DECLAW_TEST_KEEP_MS": "500"})
    path = f"/sandboxes/{d.create()['sandbox_id']}/commands"
    pid = d.request("POST", path, {"cmd": "exit 4", "background": True}).json["pid"]
    assert d.request("GET", f"{path}/{pid}/wait").json["exit_code"] == 4
    gone = eventually(lambda: d.request("GET", f"{path}/{pid}/wait").json["exit_code"] == 1, 10)
    assert gone
    assert d.request("GET", f"{path}/{pid}/wait").json == {"stdout": "", "stderr": "process not found", "exit_code": 1}


def test_pids_that_are_none(call, start):
    start("sleep 100")
    for pid in ("99999", "0", "-1", "000"):
        assert wait(call, pid) == {"stdout": "", "stderr": "process not found", "exit_code": 1}
        assert call("DELETE", f"/commands/{pid}").json == {"killed": False}
        assert call("POST", f"/commands/{pid}/stdin", {"data": "x"}).code == "process_not_found"
        assert call("GET", f"/commands/{pid}/stream").status == 404
    for pid in ("x", "1.5", "1x", "-", "%20", "1e3", "9" * 100):
        for method, path, body in (("GET", "wait", None), ("GET", "stream", None), ("POST", "stdin", {"data": ""})):
            answer = call(method, f"/commands/{pid}/{path}", body)
            assert (answer.status, answer.code) == (400, "invalid_pid"), pid
        assert call("DELETE", f"/commands/{pid}").code == "invalid_pid"


def test_kill_takes_the_whole_group(daemon, sandbox, call, start):
    pid = start("sleep 765 & sleep 765 & wait")
    running = lambda: daemon.run(sandbox, "ps ax -o args | grep -c '^[s]leep 765'")["stdout"].strip()
    assert eventually(lambda: running() == "2")
    assert call("DELETE", f"/commands/{pid}").json == {"killed": True}
    assert eventually(lambda: running() == "0")
    assert call("DELETE", f"/commands/{pid}").json == {"killed": False}
    assert wait(call, pid)["exit_code"] == 137


def test_stdin_without_the_flag(call, start):
    """`cat` takes what comes later, whether or not it was announced."""
    for fields in ({}, {"stdin": True}, {"stdin": False}):
        pid = start("cat", **fields)
        for text in ("a\n", "\u00e9\u0000\U0001f600\n"):
            assert call("POST", f"/commands/{pid}/stdin", {"data": text}).json == {}
        assert call("POST", f"/commands/{pid}/stdin/close").json == {}
        assert call("POST", f"/commands/{pid}/stdin/close").json == {}
        assert wait(call, pid)["stdout"] == "a\n\u00e9\0\U0001f600\n"
        for path in ("stdin", "stdin/close"):
            answer = call("POST", f"/commands/{pid}/{path}", {"data": "x"})
            assert (answer.status, answer.json.get("code")) in ((409, "process_ended"), (200, None))


def test_stdin_after_close(call, start):
    pid = start("cat; sleep 100")
    call("POST", f"/commands/{pid}/stdin/close")
    answer = call("POST", f"/commands/{pid}/stdin", {"data": "x"})
    assert (answer.status, answer.code) == (409, "stdin_closed")


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": 1}, {"data": ["x"]}])
def test_bad_stdin(call, start, body):
    answer = call("POST", f"/commands/{start('cat')}/stdin", body)
    assert (answer.status, answer.code) == (400, "invalid_field")


def test_stdin_that_nobody_reads(call, start):
    """The request waits a while and says how much was taken; others go on meanwhile; a kill gets through."""
    pid = start("sleep 100")
    other = start("cat")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call("POST", f"/commands/{pid}/stdin", {"data": "x" * (4 << 20)})))
    thread.start()
    call("POST", f"/commands/{other}/stdin", {"data": "y"})
    call("POST", f"/commands/{other}/stdin/close")
    assert wait(call, other)["stdout"] == "y" and not answers
    thread.join()
    assert (answers[0].status, answers[0].code) == (409, "stdin_full")
    taken, of = [int(w) for w in answers[0].message.split() if w.isdigit()]
    assert 0 < taken < of == 4 << 20
    assert call("DELETE", f"/commands/{pid}").json == {"killed": True}


def test_much_stdin_arrives_whole(call, start):
    text = "".join(f"{i}\n" for i in range(400000))
    pid = start("sleep 1; md5sum; sleep 0.1")
    assert call("POST", f"/commands/{pid}/stdin", {"data": text}).json == {}
    call("POST", f"/commands/{pid}/stdin/close")
    import hashlib

    assert wait(call, pid)["stdout"].split()[0] == hashlib.md5(text.encode()).hexdigest()


def test_timeout(daemon, sandbox, call, start):
    done = wait(call, start("echo before; sleep 543", timeout=1))
    assert done["exit_code"] == 124 and done["stdout"] == "before\n" and "timed out after 1s" in done["stderr"]
    assert "543" not in daemon.run(sandbox, "ps ax -o args | grep '[s]leep 543'")["stdout"]


@pytest.mark.parametrize("signal, code", [("SIGINT", 130), ("TERM", 143), (2, 130), (9, 137)])
def test_signals(call, start, signal, code):
    # A shell that waits for a child ends by the signal too; the list of jobs is off in scripts.
    pid = start("exec sleep 100")
    assert eventually(lambda: call("POST", f"/commands/{pid}/signal", {"signal": signal}).status == 200)
    assert wait(call, pid)["exit_code"] == code
    assert call("POST", f"/commands/{pid}/signal", {"signal": signal}).code == "process_ended"


@pytest.mark.parametrize("signal", [None, 0, 65, -1, 1.5, "SIGNONE", "", "int", True])
def test_bad_signals(call, start, signal):
    answer = call("POST", f"/commands/{start('sleep 9')}/signal", {"signal": signal})
    assert (answer.status, answer.code) == (400, "invalid_field")


@pytest.mark.parametrize("body, code", [({"cmd": ""}, "invalid_field"), ({"cmd": "x", "cwd": "/no/such"}, "invalid_command"), ({"cmd": "x", "user": "nobody-here"}, "invalid_command"), ({"cmd": "x", "timeout": -1}, "invalid_timeout"), ({"cmd": "x", "stdin": 1}, "invalid_field")])
def test_bad_commands_leave_nothing(call, body, code):
    answer = call("POST", "/commands", {**body, "background": True})
    assert (answer.status, answer.code) == (400, code)
    assert call("GET", "/commands").json == []


def test_output_is_bounded(call, start):
    done = wait(call, start("head -c 20000000 /dev/zero | tr '\\0' x; echo done >&2"))
    assert done["truncated"] is True and done["stdout"] == "x" * (8 << 20)
    assert done["stderr"].startswith("done\n") and "8 MiB" in done["stderr"].splitlines()[-1]


def test_characters_at_the_borders_of_pieces(call, start):
    """Whatever pieces it is kept in, text comes out as it was written."""
    text = "\u20ac\U0001f600\u00e9" * 30000
    pid = start("cat; exit 0")
    for at in range(0, len(text), 7001):
        call("POST", f"/commands/{pid}/stdin", {"data": text[at : at + 7001]})
    call("POST", f"/commands/{pid}/stdin/close")
    assert wait(call, pid)["stdout"] == text


def test_connect_gives_what_was_and_what_comes(daemon, sandbox, call, start):
    pid = start("echo one; read x; echo $x; echo err >&2; exit 3")
    with Stream(daemon, "GET", f"/sandboxes/{sandbox}/commands/{pid}/stream") as s:
        events = s.events()
        first = next(events)
        assert (first.name, first.data["data"]) == ("stdout", "one\n")
        call("POST", f"/commands/{pid}/stdin", {"data": "two\n"})
        rest = list(events)
    assert texts(rest) == ["two\n"] and texts(rest, "stderr") == ["err\n"] and end(rest) == ("exit", 3)
    with Stream(daemon, "GET", f"/sandboxes/{sandbox}/commands/{pid}/stream?from={first.data['position']}") as s:
        assert texts(s.all()) == ["two\n"]
    # Following is not waiting.
    assert [p["pid"] for p in call("GET", "/commands").json] == [pid]
    assert call("GET", f"/commands/{pid}/stream?from=x").status == 400


def test_connect_after_a_timeout(daemon, sandbox, start):
    pid = start("sleep 99", timeout=0.5)
    with Stream(daemon, "GET", f"/sandboxes/{sandbox}/commands/{pid}/stream") as s:
        events = s.all()
    assert [e.name for e in events] == ["error", "exit"]
    assert "timed out" in events[0].data["error"] and end(events) == ("exit", 124)


def test_many_finished_commands_are_bounded(daemon, call, start):
    pids = [start("echo x") for _ in range(300)]
    assert eventually(lambda: len(call("GET", "/commands").json) <= 256, 10)
    assert wait(call, pids[-1])["stdout"] == "x\n"
    assert wait(call, pids[0])["stderr"] == "process not found"


def test_others_kinds_are_not_commands(call):
    pty = call("POST", "/pty", {}).json["pid"]
    assert call("GET", "/commands").json == []
    assert call("DELETE", f"/commands/{pty}").json == {"killed": False}
    assert call("DELETE", f"/pty/{pty}").json == {"killed": True}


def test_a_killed_sandbox_ends_those_who_wait(daemon):
    sandbox = daemon.create()["sandbox_id"]
    pid = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "echo x; sleep 99", "background": True}).json["pid"]
    path = f"/sandboxes/{sandbox}/commands/{pid}"
    got = []

    def follow():
        with Stream(daemon, "GET", path + "/stream") as s:
            got.append(s.all())

    def wait_for():
        got.append(daemon.request("GET", path + "/wait").json)

    def write():
        got.append(daemon.request("POST", path + "/stdin", {"data": "x" * (4 << 20)}))

    threads = [threading.Thread(target=f) for f in (follow, wait_for, write)]
    for t in threads:
        t.start()
    time.sleep(1)
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    for t in threads:
        t.join(20)
    assert len(got) == 3
    for g in got:
        if isinstance(g, list):
            assert [e.name for e in g] == ["stdout", "error", "exit"] and "killed" in g[1].data["error"] and end(g) == ("exit", 137)
        elif isinstance(g, dict):
            assert g["stdout"] == "x\n" and g["exit_code"] == 137 and "killed" in g["stderr"]
        else:
            assert g.status in (409, 410)
    for method, rest, body in (("GET", "/wait", None), ("GET", "/stream", None), ("DELETE", "", None), ("POST", "/stdin", {"data": ""})):
        answer = daemon.request(method, path + rest, body)
        assert (answer.status, answer.code) == (410, "sandbox_killed")
    assert daemon.request("GET", "/sandboxes/sbx-none0000/commands").status == 404


def test_a_daemon_that_stops_ends_everything(make_daemon):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    path = f"/sandboxes/{sandbox}"
    pid = d.request("POST", path + "/commands", {"cmd": "sleep 99", "background": True}).json["pid"]
    pty = d.request("POST", path + "/pty", {}).json["pid"]
    stdio = d.request("POST", path + "/stdio", {"cmd": "cat"}).json["cmd_id"]
    ended = []

    def try_one(method, rest, body=None):
        try:
            ended.append(d.request(method, path + rest, body).status)
        except OSError:
            ended.append(0)
        except Exception:  # the answer broke off
            ended.append(-1)

    work = [("GET", f"/commands/{pid}/wait"), ("GET", f"/commands/{pid}/stream"), ("GET", f"/pty/{pty}/stream"), ("GET", f"/stdio/{stdio}/stream"), ("POST", f"/commands/{pid}/stdin", {"data": "x" * (4 << 20)}), ("POST", "/commands/stream", {"cmd": "sleep 98"})]
    threads = [threading.Thread(target=try_one, args=w) for w in work]
    for t in threads:
        t.start()
    time.sleep(1)
    footprint = d.footprint()
    assert d.stop() == 0
    for t in threads:
        t.join(20)
    assert len(ended) == len(work)
    assert eventually(lambda: not footprint.left(), 10), footprint.left()
