# SPDX-License-Identifier: Apache-2.0
"""declaw sandbox, against a server that says what it is told: exact requests, outputs, exit codes; and what is common to all commands."""

import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from stub import KEY

ID = "sbx-abc123"
SANDBOX = {
    "sandbox_id": ID, "template_id": "base", "state": "running", "timeout": 300, "metadata": {"job": "7"}, "envs": {},
    "network": {"allow_out": ["pypi.org:443"]}, "lifecycle": {"on_timeout": "kill", "auto_resume": False}, "guest_ip": "10.0.0.2",
    "started_at": "2020-01-15T10:30:00.123456+00:00", "end_at": "2999-01-15T10:30:00.123456+00:00",
}  # fmt: skip
NASTY = "\x1b]0;evil\x07\x9b31m\u202e\r\n\x00\x7f"


def no_controls(*outputs):
    for out in outputs:
        text = out.decode("utf-8")
        assert not [c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e"], text


# --- create

def test_create_sends_what_is_asked_and_prints_the_id(ask, stub, tmp_path):
    stub.on("POST", "/sandboxes", (201, SANDBOX))
    done = ask("sandbox", "create")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"sbx-abc123\n", b"")
    assert stub.asked[0].json == {}
    (tmp_path / "n.json").write_text('{"deny_out": ["1.2.3.4"], "mode": "observe"}')
    done = ask("sandbox", "create", "--template", "python", "--timeout", "60", "--allow", "a.test", "--allow=b.test:443", "--deny",
               "10.0.0.0/8", "--env", "A=1=2", "--env", "B=", "--metadata", "job=ü", "--network", str(tmp_path / "n.json"),
               "--on-timeout", "pause", "--auto-resume")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert stub.asked[1].json == {
        "template": "python", "timeout": 60, "envs": {"A": "1=2", "B": ""}, "metadata": {"job": "ü"},
        "network": {"allow_out": ["a.test", "b.test:443"], "deny_out": ["1.2.3.4", "10.0.0.0/8"], "mode": "observe"},
        "lifecycle": {"on_timeout": "pause", "auto_resume": True},
    }  # fmt: skip
    assert stub.asked[1].headers["authorization"] == f"Bearer {KEY}"
    assert stub.asked[1].headers["content-type"] == "application/json"


def test_create_as_json_and_its_warnings(ask, stub):
    stub.on("POST", "/sandboxes", (201, {**SANDBOX, "warnings": [f"pii is stored alone {NASTY}"]}))
    done = ask("sandbox", "create", "--json")
    assert json.loads(done.stdout)["sandbox_id"] == ID
    assert b"warning: pii is stored alone" in done.stderr
    no_controls(done.stdout, done.stderr)


@pytest.mark.parametrize("words, about", [
    (["create", "more"], "one word too many"),
    (["create", "--timeout", "0"], "--timeout"),
    (["create", "--timeout", "1h"], "whole number"),
    (["create", "--env", "A"], "NAME=VALUE"),
    (["create", "--env", "=1"], "NAME=VALUE"),
    (["create", "--on-timeout", "stop"], "kill or pause"),
    (["create", "--network", "/nonexistent"], "/nonexistent"),
    (["create", "--network", "-"], "no JSON"),
    (["create", "--template", "a", "--template", "b"], "twice"),
    (["create", "--nonsense"], "unknown option"),
    (["create", "--url"], "needs a value"),
    (["info"], "missing"),
    (["info", "a/b"], "no id"),
    (["info", "../x"], "no id"),
    (["kill", ""], "no id"),
    (["exec", ID], "missing"),
    (["restore", ID, "--snapshot", "../x"], "no id of a snapshot"),
    (["create", "--snapshot", "../x"], "no id"),
    (["create", "--snapshot", "snap-1", "--snapshot", "snap-2"], "twice"),
    (["snapshots"], "missing"),
    (["snapshots", "a&b"], "no id"),
    (["list", "--state", "odd"], "running, paused or killed"),
    (["list", "--url", "http://x", "--domain", "y"], "exclude"),
    (["list", "--url", "ftp://x"], "URL"),
    (["list", "--url", "http://user:pw@127.0.0.1"], "URL"),
    (["list", "--domain", "a/b"], "host:port"),
    (["list", "--domain", "a:99999"], "65535"),
])  # fmt: skip
def test_wrong_words_ask_nothing(ask, stub, words, about):
    done = ask("sandbox", *words)
    assert (done.returncode, done.stdout) == (2, b""), done
    assert about in done.stderr.decode() and len(done.stderr.splitlines()) == 1
    assert not stub.asked


def test_words_that_are_not_utf8_are_refused(ask, stub):
    done = ask("sandbox", "exec", ID, "--", b"\xff")
    assert done.returncode == 2 and b"UTF-8" in done.stderr and not stub.asked


# --- list and info

def test_list_follows_the_pages(ask, stub):
    def page(handler, asked):
        first = "next_token" not in asked.path
        rows = [SANDBOX] if first else [{**SANDBOX, "sandbox_id": "sbx-2", "state": "paused", "end_at": None, "metadata": {}}]
        handler.whole(200, json.dumps({"sandboxes": rows, "next_token": "t&=" if first else None}).encode())

    stub.on("GET", "/sandboxes", page)
    done = ask("sandbox", "list")
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["ID", "STATE", "TEMPLATE", "AGE", "LEFT", "METADATA"]
    assert lines[1].split()[:3] == [ID, "running", "base"] and lines[1].endswith("job=7")
    assert lines[1].split()[3].endswith("d") and lines[1].split()[4].endswith("d")
    assert lines[2].split()[:3] == ["sbx-2", "paused", "base"] and lines[2].split()[4:] == ["-", "-"]
    assert stub.lines == ["GET /sandboxes?limit=1000", "GET /sandboxes?limit=1000&next_token=t%26%3D"]
    assert ask("sandbox", "list", "-q").stdout == b"sbx-abc123\nsbx-2\n"
    assert [s["sandbox_id"] for s in json.loads(ask("sandbox", "list", "--json").stdout)["sandboxes"]] == [ID, "sbx-2"]


def test_list_filters(ask, stub):
    stub.on("GET", "/sandboxes", {"sandboxes": [], "next_token": None})
    ask("sandbox", "list", "--state", "killed", "--state", "paused", "--metadata", "a=b c")
    assert stub.lines == ["GET /sandboxes?limit=1000&metadata=%7B%22a%22%3A%22b%20c%22%7D&state=killed&state=paused"]


def test_info(ask, stub):
    stub.on("GET", f"/sandboxes/{ID}", SANDBOX)
    done = ask("sandbox", "info", ID)
    fields = dict(line.split(None, 1) for line in done.stdout.decode().splitlines())
    assert fields["id"] == ID and fields["network"] == '{"allow_out":["pypi.org:443"]}' and "(in " in fields["ends"]
    assert json.loads(ask("sandbox", "info", ID, "--json").stdout) == SANDBOX


def test_what_a_server_calls_things_does_not_reach_the_terminal(ask, stub):
    row = {**SANDBOX, "metadata": {NASTY.replace("\0", ""): NASTY}, "state": NASTY, "template_id": NASTY.replace("\0", ""), "kill_reason": NASTY}
    stub.on("GET", f"/sandboxes/{ID}", row)
    stub.on("GET", "/sandboxes", {"sandboxes": [row], "next_token": None})
    for words in (["info", ID], ["info", ID, "--json"], ["list"], ["list", "--json"]):
        done = ask("sandbox", *words)
        assert done.returncode == 0, done.stderr
        no_controls(done.stdout, done.stderr)
    assert b"\\x1b]0;evil\\x07" in ask("sandbox", "info", ID).stdout
    stub.on("GET", "/sandboxes", {"sandboxes": [{**SANDBOX, "sandbox_id": NASTY}], "next_token": None})
    done = ask("sandbox", "list", "-q")
    assert (done.returncode, done.stdout) == (1, b"") and b"makes no sense" in done.stderr
    stub.on("POST", "/sandboxes", {**SANDBOX, "sandbox_id": NASTY})
    done = ask("sandbox", "create")
    assert (done.returncode, done.stdout) == (1, b"") and b"makes no sense" in done.stderr


# --- kill, pause, resume, snapshot, restore

def test_kill(ask, stub):
    stub.on("DELETE", f"/sandboxes/{ID}", (202, {"queued": True}))
    done = ask("sandbox", "kill", ID)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    ask("sandbox", "kill", "--wait", ID)
    assert stub.lines == [f"DELETE /sandboxes/{ID}?async=true", f"DELETE /sandboxes/{ID}"]


def test_one_of_several_fails(ask, stub):
    for name in ("sbx-1", "sbx-3"):
        stub.on("DELETE", f"/sandboxes/{name}", {"killed": True})
    stub.on("DELETE", "/sandboxes/sbx-2", (404, {"message": "no such sandbox", "code": "sandbox_not_found"}))
    done = ask("sandbox", "kill", "--json", "sbx-1", "sbx-2", "sbx-3")
    assert done.returncode == 1 and done.stderr == b"declaw: sbx-2: no such sandbox\n"
    assert [json.loads(line)["sandbox_id"] for line in done.stdout.splitlines()] == ["sbx-1", "sbx-3"]


def test_pause_resume_snapshot_restore(ask, stub):
    stub.on("POST", f"/sandboxes/{ID}/pause", {})
    stub.on("POST", f"/sandboxes/{ID}/resume", {"resumed": True})
    stub.on("POST", f"/sandboxes/{ID}/snapshot", {"snapshot_id": "snap-1", "sandbox_id": ID})
    stub.on("POST", f"/sandboxes/{ID}/restore", {"snapshot_id": "snap-1", "sandbox_id": ID})
    assert [ask("sandbox", *w).stdout for w in (["pause", ID], ["resume", ID], ["snapshot", ID], ["restore", ID],
                                               ["restore", ID, "--snapshot", "snap-1"])] == [b"", b"", b"snap-1\n", b"snap-1\n", b"snap-1\n"]  # fmt: skip
    assert stub.lines == [f"POST /sandboxes/{ID}/{x}" for x in ("pause", "resume", "snapshot", "restore", "restore?snapshot_id=snap-1")]
    assert all(a.headers["content-length"] == "0" and "content-type" not in a.headers for a in stub.asked)


# --- errors

@pytest.mark.parametrize("words", [
    ["--url", "http://me:hush@127.0.0.1:1"], ["--url", "http://:hush@127.0.0.1:1"], ["--url", "http://hush@127.0.0.1:1"], ["--url", "ftp://me:hush@h"],
    ["--url", "http://me:hush@h:port"], ["--url", "http://me:hush@"], ["--url", "me:hush@h"], ["--domain", "me:hush@127.0.0.1:1"], ["--domain", "hush@h"],
])  # fmt: skip
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_password_in_the_servers_name_is_not_repeated(ask, stub, words, by):
    option, value = words
    if by == "option":
        done = ask("sandbox", "list", *words)
    else:
        done = ask("sandbox", "list", env={"DECLAW_API_URL": "", "DECLAW_API_URL" if option == "--url" else "DECLAW_DOMAIN": value})
    assert (done.returncode, done.stdout) == (2, b"") and not stub.asked
    assert b"must not hold a user or a password" in done.stderr and b"hush" not in done.stderr and b"me:" not in done.stderr


@pytest.mark.parametrize("status, body, code, says", [
    (401, {"message": "unauthorized: the API key is missing", "code": "unauthorized"}, 4, "unauthorized: the API key is missing"),
    (403, {"message": "not yours"}, 4, "not yours"),
    (404, {"message": "no sandbox x", "code": "sandbox_not_found"}, 1, "no sandbox x"),
    (409, {"message": "it is paused", "code": "sandbox_paused"}, 1, "it is paused"),
    (400, {"message": "bad field"}, 1, "bad field"),
    (500, b"<html>oops</html>", 1, "HTTP status 500"),
    (502, b"", 1, "HTTP status 502"),
    (302, b"", 1, "HTTP status 302"),
    (404, [], 1, "HTTP status 404"),
    (404, {"message": 7, "code": 8}, 1, "HTTP status 404"),
    (404, {"message": NASTY, "code": NASTY}, 1, "\\x1b]0;evil"),
    (404, {"message": "x" * 5000}, 1, "xxx"),
    (500, b"y" * 3_000_000, 1, "HTTP status 500"),
    (200, b"not JSON", 1, "no JSON"),
    (200, b"", 1, "no JSON"),
    (200, b'{"a":', 1, "no JSON"),
    (200, b"7", 1, "no JSON"),
    (200, b"[]", 1, "makes no sense"),
    (200, b"[" * 100000, 1, "no JSON"),
])  # fmt: skip
def test_refusals_and_nonsense_are_one_sentence(ask, stub, status, body, code, says):
    stub.on("GET", f"/sandboxes/{ID}", (status, body))
    done = ask("sandbox", "info", ID)
    assert (done.returncode, done.stdout) == (code, b""), done
    assert says in done.stderr.decode() and done.stderr.startswith(b"declaw: ") and done.stderr.count(b"\n") == 1
    no_controls(done.stderr)


def test_a_redirect_is_not_followed(ask, stub):
    def redirect(handler, asked):
        handler.send_response(307)
        handler.send_header("Location", stub.url + "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    stub.on("GET", f"/sandboxes/{ID}", redirect)
    assert ask("sandbox", "info", ID).returncode == 1
    assert len(stub.asked) == 1


def test_a_proxy_does_not_get_the_key(ask, stub):
    stub.on("GET", f"/sandboxes/{ID}", SANDBOX)
    assert ask("sandbox", "info", ID, env={"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}).returncode == 0


def test_an_answer_that_is_cut_off(ask, stub):
    def cut(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(json.dumps(SANDBOX).encode())
        handler.close_connection = True

    stub.on("GET", f"/sandboxes/{ID}", cut)
    done = ask("sandbox", "info", ID)
    assert (done.returncode, done.stdout) == (1, b"") and b"broke before the answer was complete" in done.stderr


def test_an_answer_without_end_is_given_up(ask, stub):
    def endless(handler, asked):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        for _ in range(200):
            handler.wfile.write(b" " * (1 << 20))

    stub.on("GET", f"/sandboxes/{ID}", endless)
    done = ask("sandbox", "info", ID)
    assert done.returncode == 1 and b"too long" in done.stderr


def test_no_server(ask):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
        done = ask("sandbox", "list", env={"DECLAW_API_URL": url})
    assert done.returncode == 1 and f"no server at {url}" in done.stderr.decode() and done.stderr.count(b"\n") == 1


# --- where the server is, and the key

def test_ways_to_name_the_server(ask, stub):
    stub.on("GET", "/sandboxes", {"sandboxes": [], "next_token": None})
    stub.on("GET", "/below/sandboxes", {"sandboxes": [], "next_token": None})
    port = stub.url.rpartition(":")[2]
    wrong = "http://127.0.0.1:9"
    for words, env in [
        (["--url", stub.url + "//"], {"DECLAW_API_URL": wrong}),
        (["--url", stub.url + "/below"], {}),
        (["--domain", f"127.0.0.1:{port}"], {"DECLAW_API_URL": wrong}),
        ([], {"DECLAW_API_URL": "", "DECLAW_DOMAIN": f"localhost:{port}"}),
        ([], {"DECLAW_API_URL": stub.url, "DECLAW_DOMAIN": "127.0.0.1:9"}),
    ]:
        assert ask("sandbox", "list", *words, env=env).returncode == 0, (words, env)
    assert len(stub.asked) == 5


def test_ways_to_the_key(ask, stub, tmp_path):
    stub.on("GET", "/sandboxes", {"sandboxes": [], "next_token": None})
    (tmp_path / "key").write_text("  from-the-file \n")
    (tmp_path / "bad").write_text("a\x01b")
    file = str(tmp_path / "key")
    for words, env, want in [
        (["--api-key-file", file], {}, "from-the-file"),
        ([], {"DECLAW_API_KEY_FILE": file}, KEY),
        ([], {"DECLAW_API_KEY": "", "DECLAW_API_KEY_FILE": file}, "from-the-file"),
    ]:
        assert ask("sandbox", "list", *words, env=env).returncode == 0
        assert stub.asked[-1].headers["authorization"] == f"Bearer {want}"
    done = ask("sandbox", "list", env={"DECLAW_API_KEY": "", "DECLAW_API_KEY_FILE": "/nonexistent"})
    assert done.returncode == 4 and b"/nonexistent" in done.stderr
    assert ask("sandbox", "list", "--api-key-file", str(tmp_path / "bad")).returncode == 2
    assert len(stub.asked) == 3


# --- exec

def streamed(*events):
    def reply(handler, asked):
        handler.events()
        handler.wfile.write(b": ping\n\n")
        for name, value in events:
            handler.event(name, value)

    return reply


def out(text, stream="stdout"):
    return stream, {"type": stream, "stream": stream, "data": text}


def end(code):
    return "exit", {"exit_code": code}


def test_exec(ask, stub):
    stub.on("POST", f"/sandboxes/{ID}/commands/stream", streamed(out("a\x1b[1m\x00ü\n"), out("b\n", "stderr"), ("odd", {"type": "odd"}), end(7)))
    done = ask("sandbox", "exec", ID, "--user", "root", "--cwd", "/tmp", "--env", "A=b", "--timeout", "9", "--", "ls", "-l", "a b", "it's", "")
    assert (done.returncode, done.stdout, done.stderr) == (7, "a\x1b[1m\x00ü\n".encode(), b"b\n")
    assert stub.asked[0].json == {"cmd": "ls -l 'a b' 'it'\\''s' ''", "user": "root", "cwd": "/tmp", "envs": {"A": "b"}, "timeout": 9, "stream": True}
    assert stub.asked[0].headers["accept"] == "text/event-stream"
    ask("sandbox", "exec", ID, "true")
    assert stub.asked[1].json == {"cmd": "true", "stream": True}


def test_exec_as_json(ask, stub):
    stub.on("POST", f"/sandboxes/{ID}/commands/stream", streamed(out("a\x9b\n"), end(0)))
    done = ask("sandbox", "exec", "--json", ID, "true")
    assert [json.loads(x) for x in done.stdout.splitlines()] == [{"type": "stdout", "stream": "stdout", "data": "a\x9b\n"}, {"exit_code": 0}]
    assert done.stdout.isascii()


@pytest.mark.parametrize("events, code, says", [
    ([out("x")], 1, "before the command's end"),
    ([], 1, "before the command's end"),
    ([end(256)], 1, "makes no sense"),
    ([end(-1)], 1, "makes no sense"),
    ([end("0")], 1, "makes no sense"),
    ([("exit", [])], 1, "makes no sense"),
    ([("error", {"error": f"timed out {NASTY}"}), end(124)], 124, "timed out \\x1b"),
    ([out("x" * 5_000_000), end(0)], 1, "too long"),
])  # fmt: skip
def test_exec_of_a_server_that_talks_nonsense(ask, stub, events, code, says):
    stub.on("POST", f"/sandboxes/{ID}/commands/stream", streamed(*events))
    done = ask("sandbox", "exec", ID, "true")
    assert done.returncode == code and says in done.stderr.decode()
    no_controls(done.stderr)


def test_exec_where_there_is_no_stream(ask, stub):
    stub.on("POST", f"/sandboxes/{ID}/commands", {"stdout": "o\n", "stderr": "e\n", "exit_code": 3})
    for missing in ((404, {"message": "no", "code": "route_not_found"}), (405, {"message": "this route takes DELETE"})):
        stub.on("POST", f"/sandboxes/{ID}/commands/stream", missing)
        done = ask("sandbox", "exec", ID, "true")
        assert (done.returncode, done.stdout, done.stderr) == (3, b"o\n", b"e\n")
    # A sandbox that is not there is no missing route: nothing runs twice.
    stub.on("POST", f"/sandboxes/{ID}/commands/stream", (404, {"message": "no sandbox", "code": "sandbox_not_found"}))
    assert ask("sandbox", "exec", ID, "true").returncode == 1
    assert len(stub.asked) == 5


def test_output_comes_as_it_is_made_and_interrupting_closes_the_connection(program, environment, stub):
    closed = threading.Event()

    def reply(handler, asked):
        handler.events()
        handler.event(*out("first\n"))
        if handler.gone():
            closed.set()

    stub.on("POST", f"/sandboxes/{ID}/commands/stream", reply)
    # A test run in the background may have been started with interrupts ignored, which programs inherit.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen([str(program), "sandbox", "exec", ID, "sleep"], stdout=subprocess.PIPE, env=environment, preexec_fn=heed) as p:
        assert p.stdout.readline() == b"first\n"
        p.send_signal(signal.SIGINT)
        assert p.wait(10) == -signal.SIGINT
    assert closed.wait(10)


def test_a_pipe_that_nobody_reads_ends_it_quietly(program, environment, stub):
    def reply(handler, asked):
        handler.events()
        while True:
            handler.event(*out("line\n" * 1000))

    stub.on("POST", f"/sandboxes/{ID}/commands/stream", reply)
    with subprocess.Popen([str(program), "sandbox", "exec", ID, "yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as p:
        assert p.stdout.readline() == b"line\n"
        p.stdout.close()
        assert p.wait(20) == -signal.SIGPIPE and p.stderr.read() == b""


def test_a_full_disk_is_told(program, environment, stub):
    stub.on("GET", f"/sandboxes/{ID}", SANDBOX)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([str(program), "sandbox", "info", ID], stdout=full, stderr=subprocess.PIPE, env=environment, timeout=30)
    assert done.returncode == 1 and b"No space left" in done.stderr
