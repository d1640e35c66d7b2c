# SPDX-License-Identifier: Apache-2.0
"""declaw sandbox exec -i: standard input goes to the command, byte for byte and in order, and whoever leaves ends the command."""

import base64
import json
import signal
import subprocess
import threading

import pytest

ID = "sbx-1"
BASE = f"/sandboxes/{ID}/stdio"
HEED = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731


class Command:
    """A command of the stub: it writes back what it is given, and ends with its input."""

    def __init__(self, stub, code=0, stdin=None):
        self.got, self.code, self.stub = b"", code, stub
        self.open, self.closed, self.killed = threading.Event(), threading.Event(), threading.Event()
        stub.on("POST", BASE, {"cmd_id": "cmd-1"})
        stub.on("GET", f"{BASE}/cmd-1/stream", self.stream)
        stub.on("POST", f"{BASE}/cmd-1/stdin", stdin or self.stdin)
        stub.on("POST", f"{BASE}/cmd-1/stdin/close", self.close)
        stub.on("DELETE", f"{BASE}/cmd-1", self.kill)

    def stream(self, handler, asked):
        handler.events()
        handler.wfile.write(b": ping\n\n")
        self.open.set()
        self.closed.wait(30)
        for name, data in (("stdout", self.got), ("stderr", b"\xff\x00")):
            handler.event(name, {"data": base64.b64encode(data).decode(), "entry_id": 1})
        handler.event("exit", {"exit_code": self.code})

    def stdin(self, handler, asked):
        self.got += base64.b64decode(asked.json["data"], validate=True)
        handler.whole(200, b"{}")

    def close(self, handler, asked):
        handler.whole(200, b"{}")
        self.closed.set()

    def kill(self, handler, asked):
        handler.whole(200, b'{"killed": true}')
        self.killed.set()
        self.closed.set()


def test_bytes_in_and_out(ask, stub):
    command = Command(stub, code=7)
    data = bytes(range(256)) * 1000
    done = ask("sandbox", "exec", "-i", ID, "--user", "root", "--cwd", "/tmp", "--env", "A=b", "--", "cat", "a b", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (7, data, b"\xff\x00")
    assert stub.asked[0].json == {"cmd": "cat 'a b'", "user": "root", "cwd": "/tmp", "envs": {"A": "b"}}
    assert command.got == data and not command.killed.is_set()


def test_no_input_at_all(ask, stub):
    Command(stub)
    assert ask("sandbox", "exec", "-i", ID, "true").returncode == 0
    assert [line for line in stub.lines if "/stdin" in line] == [f"POST {BASE}/cmd-1/stdin/close"]


def test_a_closed_standard_input_is_its_end(program, environment, stub):
    Command(stub)
    done = subprocess.run(["sh", "-c", f"exec {program} sandbox exec -i {ID} true <&-"], env=environment, capture_output=True, timeout=30)
    assert done.returncode == 0, done


def test_as_json(ask, stub):
    Command(stub)
    done = ask("sandbox", "exec", "-i", "--json", ID, "cat", stdin=b"x")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["type"] for row in rows] == ["stdout", "stderr", "exit"] and rows[0]["data"] == "eA==" and rows[2]["exit_code"] == 0


def test_a_command_that_does_not_read_on(ask, stub):
    """What it is sent then is refused, which is not what went wrong: the command's own end tells."""
    command = Command(stub, code=3)

    def refuse(handler, asked):
        handler.whole(409, b'{"message": "it does not read any more", "code": "conflict"}')
        command.closed.set()

    stub.on("POST", f"{BASE}/cmd-1/stdin", refuse)
    assert ask("sandbox", "exec", "-i", ID, "false", stdin=b"x" * 100_000).returncode == 3


def test_timeout_is_not_there(ask, stub):
    done = ask("sandbox", "exec", "-i", ID, "--timeout", "5", "true")
    assert done.returncode == 2 and b"--timeout does not go with -i" in done.stderr and stub.asked == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command(program, environment, stub, number):
    command = Command(stub)
    with subprocess.Popen([str(program), "sandbox", "exec", "-i", ID, "cat"], stdin=subprocess.PIPE, env=environment, preexec_fn=HEED) as p:
        assert command.open.wait(10)
        p.send_signal(number)
        assert command.killed.wait(10)
        assert p.wait(10) == -number


def test_output_that_nobody_reads_ends_the_command(program, environment, stub):
    command = Command(stub)

    def pour(handler, asked):
        handler.events()
        while not command.killed.is_set():
            handler.event("stdout", {"data": base64.b64encode(b"line\n" * 1000).decode()})

    stub.on("GET", f"{BASE}/cmd-1/stream", pour)
    with subprocess.Popen([str(program), "sandbox", "exec", "-i", ID, "yes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment) as p:  # fmt: skip
        assert p.stdout.readline() == b"line\n"
        p.stdout.close()
        assert p.wait(20) == -signal.SIGPIPE and p.stderr.read() == b""
    assert command.killed.wait(10)


@pytest.mark.parametrize("event, says", [
    (("stdout", {"data": "!"}), "makes no sense"),
    (("stdout", {}), "makes no sense"),
    (("stderr", []), "makes no sense"),
    (("exit", {"exit_code": 256}), "makes no sense"),
    (("exit", {"exit_code": "0"}), "makes no sense"),
    (("odd", {}), "before the command's end"),
])  # fmt: skip
def test_a_server_that_talks_nonsense(ask, stub, event, says):
    command = Command(stub)

    def nonsense(handler, asked):
        handler.events()
        handler.event(*event)

    stub.on("GET", f"{BASE}/cmd-1/stream", nonsense)
    done = ask("sandbox", "exec", "-i", ID, "true")
    assert done.returncode == 1 and says in done.stderr.decode()
    assert command.killed.wait(10)


@pytest.mark.parametrize("answer", [{}, {"cmd_id": 5}, {"cmd_id": "../x"}, {"cmd_id": ""}, []])
def test_an_id_that_is_none(ask, stub, answer):
    stub.on("POST", BASE, answer)
    done = ask("sandbox", "exec", "-i", ID, "true")
    assert done.returncode == 1 and len(stub.asked) == 1
