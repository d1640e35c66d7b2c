# SPDX-License-Identifier: Apache-2.0
"""Processes as E2B's clients start and follow them: the Connect protocol, byte by byte."""

import base64
import json
import os
import signal
import socket
import struct
import time

import pytest
from conftest import eventually
from connect_client import CallError, Envd, Stream, envelope

LOGIN = "/bin/bash"


@pytest.fixture(scope="module")
def envd(daemon):
    return Envd(daemon, daemon.create(timeout=3600, envs={"FROM_SANDBOX": "yes"}))


def b64(data):
    return base64.b64encode(data).decode()


def by_pid(pid):
    return {"pid": pid}


def send(envd, pid, data, name="stdin"):
    envd.call("process.Process/SendInput", process=by_pid(pid), input={name: b64(data)})


def kill(envd, pid, number="SIGNAL_SIGKILL"):
    envd.call("process.Process/SendSignal", process=by_pid(pid), signal=number)


def listed(envd):
    return {p["pid"]: p for p in envd.call("process.Process/List").get("processes", [])}


def test_a_command(envd):
    r = envd.run("echo out; echo err >&2; exit 3")
    assert (r.stdout, r.stderr) == (b"out\n", b"err\n") and r.pid > 1
    assert r.end == {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}
    assert envd.run("true").end == {"exitCode": 0, "exited": True, "status": "exit status 0"}


def test_where_and_as_whom(envd, daemon):
    r = envd.run("whoami; pwd; shopt -q login_shell && echo login; echo $FROM_SANDBOX $A", process={"envs": {"A": "a b"}})
    assert r.stdout == b"user\n/home/user\nlogin\nyes a b\n"
    root = Envd(daemon, {"sandbox_id": envd.id, "envd_access_token": envd.token}, user="root")
    assert root.run("whoami; pwd").stdout == b"root\n/root\n"
    assert envd.run("pwd", process={"cwd": "/tmp/../usr/./bin"}).stdout == b"/usr/bin\n"
    assert envd.run("mkdir -p ~/x/y").end["exitCode"] == 0
    assert envd.run("pwd", process={"cwd": "~/x"}).stdout == b"/home/user/x\n"
    assert envd.run("pwd", process={"cwd": "x/y"}).stdout == b"/home/user/x/y\n"


def test_arguments_arrive_as_they_are(envd):
    args = ["[%s]", "", "a  b", "it's", '"', "\n", "$HOME", "`id`", "*", "-n", "ü", "\\"]
    with envd.stream("process.Process/Start", process={"cmd": "printf", "args": args}) as s:
        assert s.result().stdout.decode() == "".join(f"[{a}]" for a in args[1:])


@pytest.mark.parametrize("process,says", [
    ({"cmd": "/no/such/program"}, "could not be started"),
    ({"cmd": "no-such-program"}, "could not be started"),
    ({"cmd": "/bin/true", "cwd": "/no/such/directory"}, "can not be entered"),
    ({"cmd": "/bin/true", "cwd": "../.."}, "home"),
    ({"cmd": ""}, "cmd"),
    ({}, "cmd"),
    ({"cmd": 7}, "cmd"),
    ({"cmd": "a\0b"}, "cmd"),
    ({"cmd": "/bin/true", "args": "x"}, "args"),
    ({"cmd": "/bin/true", "args": [1]}, "args"),
    ({"cmd": "/bin/true", "args": ["x"] * 1025}, "args"),
    ({"cmd": "/bin/true", "envs": []}, "envs"),
    ({"cmd": "/bin/true", "envs": {"A=B": "c"}}, "envs"),
    ({"cmd": "/bin/true", "envs": {"A": 1}}, "envs"),
    ("x", "process"),
])
def test_what_can_not_start(envd, process, says):
    with pytest.raises(CallError) as e:
        envd.stream("process.Process/Start", process=process).next()
    assert (e.value.status, e.value.code) == (200, "invalid_argument") and says in e.value.message
    assert listed(envd) == {}


def test_an_unknown_user(envd, daemon):
    with pytest.raises(CallError) as e:
        Envd(daemon, {"sandbox_id": envd.id, "envd_access_token": envd.token}, user="nobody-here").run("true")
    assert e.value.code == "invalid_argument"


def test_ends_by_a_signal(envd):
    assert envd.run("kill -KILL $$").end == {"exitCode": -1, "exited": False, "status": "signal: killed", "error": "signal: killed"}
    assert envd.run("kill -TERM $$").end["status"] == "signal: terminated"
    assert envd.run("exit 137").end == {"exitCode": 137, "exited": True, "status": "exit status 137", "error": "exit status 137"}


def test_input_and_its_end(envd):
    with envd.start("cat; echo end", stdin=True) as s:
        pid = s.pid()
        send(envd, pid, b"one\0\xff\n")
        assert s.until(b"\n") == b"one\0\xff\n"
        # The other alphabet of base64, without padding.
        envd.call("process.Process/SendInput", process={"pid": str(pid)}, input={"stdin": "-_8"})
        assert s.until(b"\xff") == b"\xfb\xff"
        envd.call("process.Process/CloseStdin", process=by_pid(pid))
        assert s.result(pid).stdout == b"end\n"
    with pytest.raises(CallError) as e:
        send(envd, pid, b"x")
    assert (e.value.status, e.value.code) == (404, "not_found")


def test_without_input(envd):
    with envd.start("cat; sleep 60") as s:
        pid = s.pid()
        with pytest.raises(CallError) as e:
            send(envd, pid, b"x")
        assert e.value.code == "failed_precondition"
        with pytest.raises(CallError) as e:
            send(envd, pid, b"x", "pty")
        assert e.value.code == "failed_precondition"
        kill(envd, pid)


def test_who_does_not_say_has_input(envd):
    with envd.stream("process.Process/Start", process={"cmd": "cat"}) as s:
        pid = s.pid()
        send(envd, pid, b"x\n")
        assert s.until(b"x\n")
        kill(envd, pid)


def test_signals(envd):
    with envd.start("trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done") as s:
        pid = s.pid()
        s.until(b"ready")
        kill(envd, pid, 15)
        assert s.result(pid).end["exitCode"] == 5
    with envd.start("trap '' TERM; echo ready; sleep 60") as s:
        pid = s.pid()
        s.until(b"ready")
        kill(envd, pid)
        assert s.result(pid).end["status"] == "signal: killed"
    for gone in (pid, 99999, 0):
        with pytest.raises(CallError) as e:
            kill(envd, gone)
        assert (e.value.status, e.value.code) == (404, "not_found")
    for number in (0, 1, "SIGNAL_SIGHUP", None, {}):
        with envd.start("sleep 60") as s:
            pid = s.pid()
            with pytest.raises(CallError) as e:
                kill(envd, pid, number)
            assert (e.value.status, e.value.code) == (400, "invalid_argument")
            kill(envd, pid)


def test_the_list_and_tags(envd):
    with envd.start("sleep 60", tag="one", process={"cwd": "/tmp", "envs": {"A": "b"}}) as s:
        pid = s.pid()
        assert listed(envd) == {pid: {"pid": pid, "tag": "one", "config": {
            "cmd": LOGIN, "args": ["-l", "-c", "sleep 60"], "cwd": "/tmp", "envs": {"A": "b"}}}}
        with envd.stream("process.Process/Connect", process={"tag": "one"}) as other:
            assert other.pid() == pid
            envd.call("process.Process/SendSignal", process={"tag": "one"}, signal=9)
            assert other.result(pid).end == s.result(pid).end
    assert listed(envd) == {}


def test_our_own_commands_are_there_too(envd, daemon):
    pid = daemon.request("POST", f"/sandboxes/{envd.id}/commands", {"cmd": "sleep 60", "background": True}).json["pid"]
    assert listed(envd)[pid]["config"] == {"cmd": "/bin/bash", "args": ["-c", "sleep 60"], "envs": {}}
    kill(envd, pid)
    with envd.start("sleep 61") as s:
        pid = s.pid()
        ours = daemon.request("GET", f"/sandboxes/{envd.id}/commands").json
        assert "/bin/bash -l -c 'sleep 61'" in json.dumps(ours)
        kill(envd, pid)
    # Its output went to who followed it: who asks for it as a result is told that it is not there.
    pid = envd.run("echo x; exit 3").pid
    result = daemon.request("GET", f"/sandboxes/{envd.id}/commands/{pid}/wait").json
    assert (result["stdout"], result["exit_code"]) == ("", 3) and "followed" in result["stderr"]


def test_a_terminal(envd):
    with envd.stream("process.Process/Start", process={"cmd": LOGIN, "args": ["-i", "-l"], "envs": {"TERM": "dumb"}}, pty={"size": {"cols": 90, "rows": 20}}) as s:
        pid = s.pid()
        send(envd, pid, b"stty size; echo $TERM\n", "pty")
        assert b"20 90" in s.until(b"dumb\r\n", "pty")
        with envd.stream("process.Process/Connect", process=by_pid(pid)) as other:
            assert other.pid() == pid
            envd.call("process.Process/Update", process=by_pid(pid), pty={"size": {"cols": "91", "rows": 21.0}})
            send(envd, pid, b"stty size\n", "pty")
            s.until(b"21 91", "pty")
            other.until(b"21 91", "pty")
        with pytest.raises(CallError) as e:
            send(envd, pid, b"x")
        assert e.value.code == "failed_precondition"
        with pytest.raises(CallError) as e:
            envd.call("process.Process/CloseStdin", process=by_pid(pid))
        assert e.value.code == "failed_precondition"
        send(envd, pid, b"exit 6\n", "pty")
        assert s.result(pid).end["exitCode"] == 6


@pytest.mark.parametrize("size", [{}, {"cols": 0, "rows": 1}, {"cols": 80, "rows": 5000}, {"cols": -1, "rows": 1}, {"cols": "x", "rows": 1}])
def test_no_such_terminal(envd, size):
    with pytest.raises(CallError) as e:
        envd.stream("process.Process/Start", process={"cmd": LOGIN}, pty={"size": size}).next()
    assert e.value.code == "invalid_argument"


def test_it_outlives_its_stream(envd):
    with envd.start("echo begin; cat; echo over", stdin=True) as s:
        pid = s.pid()
        s.until(b"begin")
    with envd.stream("process.Process/Connect", process=by_pid(pid)) as s:
        assert s.pid() == pid
        send(envd, pid, b"later\n")
        # Live: what was there before is not told again.
        assert s.until(b"\n") == b"later\n"
    # Nobody listens: it is not held up.
    send(envd, pid, b"x" * 300000)
    envd.call("process.Process/CloseStdin", process=by_pid(pid))
    assert eventually(lambda: pid not in listed(envd))
    with envd.stream("process.Process/Connect", process=by_pid(pid)) as s:
        r = s.result()
        assert (r.pid, r.stdout, r.end["exitCode"]) == (pid, b"", 0)


def test_a_deadline_ends_the_process(envd):
    begun = time.monotonic()
    with pytest.raises(CallError) as e:
        envd.run("sleep 60", _headers={"Connect-Timeout-Ms": "300"})
    assert (e.value.status, e.value.code) == (200, "deadline_exceeded") and time.monotonic() - begun < 20
    # Also when nobody listens any more.
    with envd.start("sleep 60", _headers={"Connect-Timeout-Ms": "500"}) as s:
        pid = s.pid()
    assert eventually(lambda: pid not in listed(envd), 20)


def test_a_deadline_of_who_only_listens(envd):
    with envd.start("sleep 60") as first:
        pid = first.pid()
        with pytest.raises(CallError) as e:
            with envd.stream("process.Process/Connect", _headers={"Connect-Timeout-Ms": "200"}, process=by_pid(pid)) as s:
                s.result()
        assert e.value.code == "deadline_exceeded"
        assert pid in listed(envd)
        kill(envd, pid)


def test_signs_of_life(envd):
    r = envd.run("sleep 2.5", _headers={"Keepalive-Ping-Interval": "1"})
    assert r.keepalives == 2 and r.end["exitCode"] == 0


def test_much_output_arrives_whole(envd):
    # Both streams in small pieces, and in one flood: nothing is lost whoever is faster.
    r = envd.run("for i in $(seq 3000); do echo $i; echo $i >&2; done")
    want = b"".join(b"%d\n" % i for i in range(1, 3001))
    assert r.stdout == want and r.stderr == want
    with envd.start("head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2") as s:
        pid = s.pid()
        time.sleep(0.5)  # a reader that is slow to begin
        r = s.result(pid)
    assert r.stdout == b"x" * 20000000 and r.stderr == b"end\n" and r.end["exitCode"] == 0


def test_a_reader_alone_is_waited_for_and_holds_up_no_other(envd, daemon):
    # Alone, it slows the command down: most of it is not written while nobody reads.
    with envd.start("head -c 20000000 /dev/zero; touch /tmp/written") as s:
        pid = s.pid()
        s.next()
        assert daemon.run(envd.id, "sleep 0.5; test -e /tmp/written")["exit_code"] == 1
        # Another one is not kept waiting by it, and loses nothing; who is late is told so.
        with envd.stream("process.Process/Connect", process=by_pid(pid)) as other:
            other.pid()
            assert other.result(pid).end["exitCode"] == 0
        with pytest.raises(CallError) as e:
            s.result(pid)
        assert e.value.code == "data_loss" and "lost" in e.value.message


def test_a_reader_that_stands_still_is_left_behind(make_daemon):
    d = make_daemon(env={"DECLAW_TEST_STALL_MS": "1500"})
    e = Envd(d, d.create())
    with e.start("head -c 20000000 /dev/zero; touch /tmp/written") as s:
        s.pid()
        assert eventually(lambda: d.run(e.id, "test -e /tmp/written")["exit_code"] == 0, 30)


def test_a_client_that_goes_lets_it_run_on(envd, daemon):
    with envd.start("head -c 20000000 /dev/zero; touch /tmp/after") as s:
        s.pid()
        s.next()
        # It is held, and its reader goes without a word.
        s.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: daemon.run(envd.id, "test -e /tmp/after")["exit_code"] == 0, 30)


def test_a_held_one_can_be_killed(envd):
    with envd.start("head -c 20000000 /dev/zero; sleep 60") as s:
        pid = s.pid()
        s.next()
        kill(envd, pid)
        assert eventually(lambda: pid not in listed(envd))


def test_one_byte_at_a_time(envd, daemon):
    body = envelope({"process": {"cmd": "echo", "args": ["hi"]}})
    head = "POST /e2b/process.Process/Start HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in envd.headers.items())
    head += "Content-Type: application/connect+json; charset=utf-8\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with socket.create_connection((daemon.host, daemon.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(head.encode())
        for byte in body:
            s.sendall(b"1\r\n%c\r\n" % byte)
        s.sendall(b"0\r\n\r\n")
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ") and b64(b"hi\n").encode() in answer and b'"exitCode":0' in answer


GOOD = {"process": {"cmd": "true"}}


@pytest.mark.parametrize("body,code", [
    (b"", "invalid_argument"),
    (b"\0", "invalid_argument"),
    (b"\0\0\0\0", "invalid_argument"),
    (b"\0\xff\xff\xff\xff", "resource_exhausted"),
    (b"\0\0\0\0\x05{}", "invalid_argument"),
    (envelope(GOOD) + b"x", "invalid_argument"),
    (envelope(GOOD) * 2, "invalid_argument"),
    (envelope(GOOD, 1), "invalid_argument"),
    (envelope(GOOD, 2), "invalid_argument"),
    (envelope(GOOD, 4), "invalid_argument"),
    (envelope(b"{"), "invalid_argument"),
    (envelope(b"[]"), "invalid_argument"),
    (envelope(b"\xff\xfe"), "invalid_argument"),
    (envelope(b'{"process":1,"process":2}'), "invalid_argument"),
    (json.dumps(GOOD).encode(), "invalid_argument"),
    (envelope(b""), "invalid_argument"),
])
def test_envelopes_that_are_none(envd, body, code):
    with pytest.raises(CallError) as e:
        Stream(envd, "process.Process/Start", body, 60, {}).next()
    assert (e.value.status, e.value.code) == (200, code)


def test_what_a_head_can_be_wrong_by(envd):
    body, stream = envelope(GOOD), "application/connect+json"
    assert envd.raw("/process.Process/Start", body, "application/connect+proto").status == 415
    assert envd.raw("/process.Process/Start", body, "application/json").status == 415
    assert envd.raw("/process.Process/List", b"{}", "application/proto").status == 415
    assert envd.raw("/process.Process/List", b"{}", "application/json;charset=utf-8").status == 200
    assert b"unimplemented" in envd.raw("/process.Process/Start", body, stream, Connect_Content_Encoding="gzip").body
    assert envd.raw("/process.Process/List", b"{}", Content_Encoding="gzip").json["code"] == "unimplemented"
    assert envd.raw("/process.Process/List", b"{}", Connect_Protocol_Version="2").json["code"] == "invalid_argument"
    for timeout in ("0", "-1", "x", "12345678901", "1.5"):
        assert envd.raw("/process.Process/List", b"{}", Connect_Timeout_Ms=timeout).json["code"] == "invalid_argument"
    assert envd.raw("/process.Process/List", b"{}", Connect_Timeout_Ms="9999999999").status == 200
    for user in ("Basic !", "Basic " + b64(b"a" * 200), "Basic " + b64(b"a\0b:")):
        assert envd.raw("/process.Process/List", b"{}", Authorization=user).json["code"] == "invalid_argument"
    assert envd.raw("/process.Process/List", b"{}", Authorization="Basic " + b64(b":")).status == 200
    assert envd.raw("/process.Process/List", b"").json["code"] == "invalid_argument"
    # Fields that nobody knows are nobody's business, and the names may be spelt as in the schema.
    assert envd.raw("/process.Process/List", b'{"x": {"y": [1]}}').json == {"processes": []}
    assert envd.daemon.request("GET", "/e2b/process.Process/List", headers=envd.headers).status == 405


def test_streams_of_the_client_are_refused(envd):
    answer = envd.raw("/process.Process/StreamInput", envelope({}) * 3, "application/connect+json")
    assert answer.status == 200 and answer.body[0] == 2 and json.loads(answer.body[5:])["error"]["code"] == "unimplemented"


@pytest.mark.parametrize("process", [None, {}, {"pid": 1, "tag": "x"}, {"pid": -1}, {"pid": 1.5}, {"pid": 4294967296}, {"pid": True}, {"tag": 1}, [], "1"])
def test_selectors_that_are_none(envd, process):
    for method in ("Connect", "SendInput", "CloseStdin", "SendSignal", "Update"):
        with pytest.raises(CallError) as e:
            if method == "Connect":
                envd.stream("process.Process/Connect", process=process).next()
            else:
                envd.call("process.Process/" + method, process=process)
        assert e.value.code == "invalid_argument"


def test_the_token_alone_opens(envd, daemon):
    other = daemon.create()
    for token in ("", "x", envd.token[:-1], envd.token + "0", other["envd_access_token"], daemon.key):
        e = Envd(daemon, {"sandbox_id": envd.id, "envd_access_token": token})
        assert e.raw("/process.Process/List", b"{}").status == 401
        assert e.raw("/process.Process/List", b"{}").json["code"] == "unauthenticated"
        with pytest.raises(CallError) as wrong:
            e.start("touch /tmp/never")
        assert (wrong.value.status, wrong.value.code) == (401, "unauthenticated")
    # Neither does a key of the API.
    answer = daemon.request("POST", "/e2b/process.Process/List", b"{}", {"E2b-Sandbox-Id": envd.id, "Content-Type": "application/json"})
    assert answer.status == 401
    # Nor does a stranger learn which sandboxes there are.
    never = Envd(daemon, {"sandbox_id": "sbx-never000", "envd_access_token": "x"}).raw("/process.Process/List", b"{}")
    assert (never.status, never.body) == (401, Envd(daemon, {"sandbox_id": envd.id, "envd_access_token": "x"}).raw("/process.Process/List", b"{}").body)


@pytest.mark.parametrize("name", [None, "", "a/b", "x" * 100, "ü"])
def test_no_sandbox_is_named(envd, name):
    headers = {k: v for k, v in envd.headers.items() if k != "E2b-Sandbox-Id"}
    headers.update({"E2b-Sandbox-Id": name.encode("latin-1")} if name is not None else {})
    answer = envd.daemon.request("POST", "/e2b/process.Process/List", b"{}", {**headers, "Content-Type": "application/json"}, key=None)
    assert answer.status == 400 and answer.json["code"] == "invalid_argument"


def test_a_sandbox_that_does_not_run(daemon):
    e = Envd(daemon, daemon.create())
    assert daemon.request("POST", f"/sandboxes/{e.id}/pause").status == 200
    for state in ("paused", "killed"):
        if state == "killed":
            assert daemon.request("DELETE", f"/sandboxes/{e.id}").status == 200
        with pytest.raises(CallError) as wrong:
            e.start("true")
        assert (wrong.value.status, wrong.value.code) == (502, "unavailable")
        with pytest.raises(CallError) as wrong:
            e.call("process.Process/List")
        assert (wrong.value.status, wrong.value.code) == (502, "unavailable")
        assert daemon.request("GET", "/e2b/health", headers={"E2b-Sandbox-Id": e.id}, key=None).status == 502
    assert daemon.request("GET", "/e2b/health", headers={"E2b-Sandbox-Id": "sbx-never000"}, key=None).status == 502


def test_a_sandbox_that_is_killed_meanwhile(daemon):
    e = Envd(daemon, daemon.create())
    assert daemon.request("GET", "/e2b/health", headers={"E2b-Sandbox-Id": e.id}, key=None).status == 204
    with e.start("sleep 60") as s:
        s.pid()
        assert daemon.request("DELETE", f"/sandboxes/{e.id}").status == 200
        with pytest.raises(CallError) as wrong:
            s.next()
        assert (wrong.value.status, wrong.value.code) == (200, "unavailable")


def test_the_server_stops_meanwhile(make_daemon):
    d = make_daemon()
    e = Envd(d, d.create())
    with e.start("sleep 60") as s:
        s.pid()
        d.process.send_signal(signal.SIGTERM)
        with pytest.raises(CallError) as wrong:
            s.next()
        assert wrong.value.code == "unavailable"


def test_too_many(daemon):
    e = Envd(daemon, daemon.create())
    streams = []
    try:
        with pytest.raises(CallError) as wrong:
            for _ in range(200):
                streams.append(e.stream("process.Process/Start", process={"cmd": "sleep", "args": ["60"]}))
                streams[-1].pid()
        assert wrong.value.code == "resource_exhausted"
        # One that nobody could follow does not run.
        assert len(listed(e)) == len(streams) - 1
    finally:
        for s in streams:
            s.close()
        daemon.request("DELETE", f"/sandboxes/{e.id}")


def test_nothing_grows(daemon):
    e = Envd(daemon, daemon.create())

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    for _ in range(5):
        e.run("true")
    before = descriptors()
    for _ in range(30):
        e.run("echo x")
    assert eventually(lambda: descriptors() <= before + 2)
