# SPDX-License-Identifier: Apache-2.0
"""declaw sandbox connect on a real terminal (a pseudo one), against a stub: keys, sizes, and the terminal as it was on every way out."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time

import pytest

ID = "sbx-1"
BASE = f"/sandboxes/{ID}/pty"


class Session:
    def __init__(self, program, environment, stub, *words, answer=None, stdout=None):
        self.stub = stub
        self.typed = b""
        self.handler = None
        stub.on("POST", BASE, answer if answer is not None else {"pid": 7})
        stub.on("GET", f"{BASE}/7/stream", self.stream)
        stub.on("POST", f"{BASE}/7/stdin", self.stdin)
        stub.on("PATCH", f"{BASE}/7", {})
        stub.on("DELETE", f"{BASE}/7", {"killed": True})
        self.ours, self.theirs = pty.openpty()
        self.resize(101, 31)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen([str(program), "sandbox", "connect", ID, *words], stdin=self.theirs, stdout=self.theirs if stdout is None else stdout,
                                        stderr=subprocess.PIPE, env=environment, start_new_session=True)  # fmt: skip

    def stream(self, handler, asked):
        handler.events()
        handler.wfile.write(b": ping\n\n")
        self.handler = handler
        handler.gone(60)

    def stdin(self, handler, asked):
        self.typed += asked.json["data"].encode()
        handler.whole(200, b"{}")

    def resize(self, cols, rows):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def ready(self):
        assert self.stub.wait_for(lambda: self.handler and not termios.tcgetattr(self.theirs)[3] & termios.ECHO)
        return self

    def type(self, data):
        os.write(self.ours, data)

    def read(self, want):
        got = b""
        deadline = time.monotonic() + 10
        while want not in got and time.monotonic() < deadline:
            got += os.read(self.ours, 4096)
        return got

    def end(self, seconds=20):
        code = self.process.wait(seconds)
        assert termios.tcgetattr(self.theirs) == self.before, "the terminal is not as it was"
        return code

    def asked(self, what):
        return self.stub.wait_for(lambda: [a for a in self.stub.asked if f"{a.method} {a.path}" == what])


@pytest.fixture
def session(program, environment, stub):
    made = []

    def make(*words, **more):
        made.append(Session(program, environment, stub, *words, **more))
        return made[-1]

    yield make
    for s in made:
        s.process.kill()
        s.process.wait()
        s.process.stderr.close()
        os.close(s.ours)
        os.close(s.theirs)


def test_a_session(session):
    s = session("--user", "root", "--cwd", "/tmp", "--env", "A=b").ready()
    assert s.stub.asked[0].json == {"size": {"cols": 101, "rows": 31}, "user": "root", "cwd": "/tmp", "envs": {"A": "b"}, "timeout": 0}
    s.handler.shown(b"\x1b[1mbash$ \xff\x00")
    assert b"\x1b[1mbash$ \xff\x00" in s.read(b"\x00")
    for data in (b"l", b"s\r", b"\x03", b"\xc3", b"\xbc", "€\U0001f600".encode(), b"x~.y", b"\x00"):
        s.type(data)
    want = b"ls\r\x03" + "ü€\U0001f600".encode() + b"x~.y\0"
    assert s.stub.wait_for(lambda: s.typed == want), s.typed
    s.handler.event("exit", {"exit_code": 42})
    assert s.end() == 42 and s.process.stderr.read() == b""
    assert not [a for a in s.stub.asked if a.method == "DELETE"]


def test_what_no_utf8_has_is_replaced(session):
    s = session().ready()
    s.type(b"a\xffb\xe2\x82c")
    assert s.stub.wait_for(lambda: s.typed == "a\ufffdb\ufffdc".encode()), s.typed


def test_a_new_size_is_told(session):
    s = session().ready()
    s.resize(50, 20)
    os.kill(s.process.pid, signal.SIGWINCH)
    assert s.asked(f"PATCH {BASE}/7")[-1].json == {"size": {"cols": 50, "rows": 20}}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signals_restore_the_terminal_and_end_the_shell(session, number):
    s = session().ready()
    s.process.send_signal(number)
    assert s.end() == -number
    assert s.asked(f"DELETE {BASE}/7")


def test_output_that_nobody_reads_any_more(session):
    read, write = os.pipe()
    s = session(stdout=write)
    os.close(write)
    s.ready().handler.shown(b"first\n")
    assert os.read(read, 100) == b"first\n"
    os.close(read)
    s.handler.shown(b"second\n")
    assert s.end() == -signal.SIGPIPE and s.process.stderr.read() == b""
    assert s.asked(f"DELETE {BASE}/7")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_while_the_terminal_is_made_leaves_none(session, number):
    box = []

    def create(handler, asked):
        handler.server.wait_for(lambda: box)
        box[0].process.send_signal(number)
        time.sleep(0.3)
        handler.whole(200, b'{"pid": 7}')

    box.append(session(answer=create))
    assert box[0].end() == -number and box[0].process.stderr.read() == b""
    assert box[0].asked(f"DELETE {BASE}/7")


@pytest.mark.parametrize("times, most", [(1, 10), (2, 2)])
def test_a_server_that_never_makes_the_terminal_can_be_left(session, times, most):
    s = session(answer=lambda handler, asked: handler.gone(60))
    assert s.asked(f"POST {BASE}")
    began = time.monotonic()
    for _ in range(times):
        s.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert s.end() == -signal.SIGINT and time.monotonic() - began < most
    assert not [a for a in s.stub.asked if a.method == "DELETE"]


def test_a_new_size_while_the_terminal_is_made(session):
    box = []

    def create(handler, asked):
        handler.server.wait_for(lambda: box)
        box[0].resize(50, 20)
        box[0].process.send_signal(signal.SIGWINCH)
        time.sleep(0.3)
        raw.append(not termios.tcgetattr(box[0].theirs)[3] & termios.ECHO)
        handler.whole(200, b'{"pid": 7}')

    raw = []
    box.append(session(answer=create))
    box[0].ready()
    assert box[0].asked(f"PATCH {BASE}/7")[-1].json == {"size": {"cols": 50, "rows": 20}}
    assert raw == [False], "keys are for the terminal that is made, so it is not raw before"


def test_stopping_and_going_on(session):
    s = session().ready()
    s.process.send_signal(signal.SIGTSTP)
    assert s.stub.wait_for(lambda: termios.tcgetattr(s.theirs) == s.before)
    s.process.send_signal(signal.SIGCONT)
    s.ready()
    s.type(b"x")
    assert s.stub.wait_for(lambda: s.typed == b"x")


def test_leaving_by_hand(session):
    s = session().ready()
    s.type(b"a\r~~b\r")
    assert s.stub.wait_for(lambda: s.typed == b"a\r~b\r"), s.typed
    s.type(b"~.")
    assert s.end() == 0
    assert s.asked(f"DELETE {BASE}/7")


def test_a_server_that_hangs_can_be_left(session):
    s = session()
    s.stub.on("DELETE", f"{BASE}/7", lambda handler, asked: handler.gone(60))
    s.stub.on("POST", f"{BASE}/7/stdin", lambda handler, asked: handler.gone(60))
    s.ready().process.send_signal(signal.SIGTERM)
    assert s.end() == -signal.SIGTERM


@pytest.mark.parametrize("event, says", [
    (("exit", {"exit_code": "0"}), b"makes no sense"),
    (("exit", []), b"makes no sense"),
    (("data", {"data": "!!!!"}), b"makes no sense"),
    (("data", {"data": "AAA"}), b"makes no sense"),
    (("data", {"data": "A==="}), b"makes no sense"),
    (None, b"broke before the terminal's end"),
])  # fmt: skip
def test_nonsense_ends_it_with_the_terminal_restored(session, event, says):
    s = session().ready()
    if event:
        s.handler.event(*event)
    else:
        s.handler.connection.shutdown(2)
    assert s.end() == 1 and says in s.process.stderr.read()


def test_input_that_is_refused(session):
    s = session()
    s.stub.on("POST", f"{BASE}/7/stdin", (410, {"message": "the sandbox was killed", "code": "sandbox_killed"}))
    s.ready().type(b"x")
    assert s.end() == 1 and s.process.stderr.read() == b"declaw: the sandbox was killed\n"


@pytest.mark.parametrize("answer, code", [((404, {"message": "no such sandbox"}), 1), ((401, {"message": "no"}), 4), ({"pid": "7"}, 1), ({}, 1)])
def test_no_terminal_is_made(session, answer, code):
    s = session(answer=answer)
    assert s.end() == code and s.process.stderr.read().startswith(b"declaw: ")


def test_without_a_terminal_here(ask, stub):
    typed = []

    def stdin(handler, asked):
        typed.append(asked.json["data"])
        handler.whole(200, b"{}")

    def stream(handler, asked):
        handler.events()
        stub.wait_for(lambda: "".join(typed).endswith("\x04"))
        handler.shown(b"bye")
        handler.event("exit", {"exit_code": 3})

    stub.on("POST", BASE, {"pid": 7})
    stub.on("GET", f"{BASE}/7/stream", stream)
    stub.on("POST", f"{BASE}/7/stdin", stdin)
    done = ask("sandbox", "connect", ID, stdin=b"~.exit\n")
    assert (done.returncode, done.stdout) == (3, b"bye") and "".join(typed) == "~.exit\n\x04"
    assert stub.asked[0].json["size"] == {"cols": 80, "rows": 24}
