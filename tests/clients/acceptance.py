# SPDX-License-Identifier: Apache-2.0
"""What users of the hosted service have checked of it, in their order, with our Python package.

npm/declaw_acceptance.ts is the same with the published one for JavaScript.
"""

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Sequence

from declaw import CommandExitException, NotFoundException, PtySize, Sandbox, WriteEntry


@dataclass(frozen=True)
class Case:
    name: str
    calls: Sequence[str]
    title: str
    body: Callable[[Dict[str, Any]], None]


CASES: List[Case] = []


def case(calls: str, title: str):
    """body gets what every call needs to find the server."""

    def add(body: Callable[[Dict[str, Any]], None]) -> Callable[[Dict[str, Any]], None]:
        names = calls.split()
        CASES.append(Case(f"{names[0]}: {title}", names, title, body))
        return body

    return add


def in_sandbox(body: Callable[[Sandbox], None], **options: Any) -> Callable[[Dict[str, Any]], None]:
    def run(server: Dict[str, Any]) -> None:
        sbx = Sandbox.create(timeout=300, **options, **server)
        try:
            body(sbx)
        finally:
            sbx.kill(wait=True)

    return run


def raw(sbx: Sandbox) -> Dict[str, Any]:
    """What the classes do not show of it."""
    return sbx._client.get(f"/sandboxes/{sbx.sandbox_id}")


@case("Sandbox.list", "an array with what is there")
def _(server):
    def body(sbx):
        assert sbx.sandbox_id in [s["sandbox_id"] for s in Sandbox.list(**server)["sandboxes"]]

    in_sandbox(body)(server)


@case("Sandbox.create Sandbox.get_info Sandbox.is_running Sandbox.set_timeout Sandbox.get_metrics", "id, domain, running, the same when asked for, and a new timeout")
@in_sandbox
def _(sbx):
    info = sbx.get_info()
    assert sbx.sandbox_id and sbx.sandbox_domain and sbx.traffic_access_token
    assert (info.sandbox_id, info.state.value, sbx.is_running()) == (sbx.sandbox_id, "running", True)
    before = info.end_at
    sbx.set_timeout(600)
    assert (sbx.get_info().end_at - before).total_seconds() > 290
    assert isinstance(sbx.get_metrics(), list)


@case("Commands.run", "echo, env, cwd, exit 42, three lines, stderr")
@in_sandbox
def _(sbx):
    assert sbx.commands.run("echo hello").stdout == "hello\n"
    assert sbx.commands.run("echo $FOO", envs={"FOO": "bar"}).stdout == "bar\n"
    assert sbx.commands.run("pwd", cwd="/tmp").stdout == "/tmp\n"
    assert sbx.commands.run("exit 42").exit_code == 42
    assert sbx.commands.run("echo a; echo b; echo c").stdout.splitlines() == ["a", "b", "c"]
    assert sbx.commands.run("echo oops >&2").stderr == "oops\n"


@case("Commands.run CommandHandle.wait Commands.list Commands.kill Commands.send_stdin", "background and wait, list, kill, stdin of a cat, exit 7")
@in_sandbox
def _(sbx):
    assert sbx.commands.run("echo bg", background=True).wait().stdout == "bg\n"
    assert isinstance(sbx.commands.list(), list)
    assert sbx.commands.kill(sbx.commands.run("sleep 100", background=True).pid) is True
    cat = sbx.commands.run("cat", background=True)
    sbx.commands.send_stdin(cat.pid, "hello\n")
    assert cat.kill() is True
    try:
        sbx.commands.run("exit 7", background=True).wait()
    except CommandExitException as e:
        assert e.exit_code == 7
    else:
        raise AssertionError("wait did not raise")


@case("Filesystem.write Filesystem.read Filesystem.write_files Filesystem.list Filesystem.exists Filesystem.get_info Filesystem.rename "
      "Filesystem.remove Filesystem.make_dir", "write, read, batch, list, exists, info, rename, remove, mkdir, nested")
@in_sandbox
def _(sbx):
    sbx.files.write("/tmp/x/a.txt", "hello")
    assert sbx.files.read("/tmp/x/a.txt") == "hello"
    assert len(sbx.files.write_files([WriteEntry(f"/tmp/x/{n}", n) for n in "bcd"])) == 3
    assert sorted(e.name for e in sbx.files.list("/tmp/x")) == ["a.txt", "b", "c", "d"]
    assert (sbx.files.exists("/tmp/x/b"), sbx.files.exists("/tmp/x/z")) == (True, False)
    info = sbx.files.get_info("/tmp/x/a.txt")
    assert info.name == "a.txt" and info.type.value == "file" and info.size > 0
    assert sbx.files.rename("/tmp/x/b", "/tmp/x/e").name == "e"
    sbx.files.remove("/tmp/x/e")
    assert not sbx.files.exists("/tmp/x/e")
    assert sbx.files.make_dir("/tmp/x/new") is True
    sbx.files.write("/tmp/x/new/deep/f", "nested")
    assert sbx.files.read("/tmp/x/new/deep/f") == "nested"


@case("Filesystem.write", "unicode and emoji survive")
@in_sandbox
def _(sbx):
    everything = "Grüße, 世界, Привет 🎉👩‍💻\u0085\u2028 end"
    sbx.files.write("/tmp/u", everything)
    assert sbx.files.read("/tmp/u") == sbx.commands.run("cat /tmp/u").stdout == everything


@case("Filesystem.remove", "names that a URL would cut")
@in_sandbox
def _(sbx):
    names = ["a", "a#b", "a&b=c", "a+b %41", "größe 😀"]
    sbx.files.write_files([WriteEntry(f"/tmp/r/{n}", "") for n in names])
    for name in names[1:]:
        sbx.files.remove(f"/tmp/r/{name}")
    assert [e.name for e in sbx.files.list("/tmp/r")] == ["a"]


@case("Commands.run_stream", "both lines")
@in_sandbox
def _(sbx):
    lines: List[str] = []
    assert sbx.commands.run_stream("echo line1; echo line2", on_stdout=lines.append).exit_code == 0
    assert [line.strip() for line in lines] == ["line1", "line2"]


@case("Pty.create PtyHandle.send_stdin PtyHandle.resize PtyHandle.kill", "a number, stdin, resize, kill")
@in_sandbox
def _(sbx):
    seen: List[bytes] = []
    pty = sbx.pty.create(on_data=seen.append)
    assert isinstance(pty.pid, int)
    pty.send_stdin("echo $((40 + 2))\n")
    pty.resize(PtySize(cols=120, rows=40))
    deadline = time.monotonic() + 20
    while b"42" not in b"".join(seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
    assert pty.kill() is True


@case("Sandbox.create", "metadata, envs and network")
def _(server):
    def body(sbx):
        seen = raw(sbx)
        assert (seen["metadata"], seen["network"]["deny_out"]) == ({"owner": "me"}, ["0.0.0.0/0"])
        assert sbx.commands.run("echo $MINE").stdout == "yes\n"

    in_sandbox(body, metadata={"owner": "me"}, envs={"MINE": "yes"}, allow_internet_access=False)(server)


@case("Sandbox.create", "security as an object")
def _(server):
    def body(sbx):
        assert raw(sbx)["security"] is not None

    in_sandbox(body, security={"pii": {"enabled": True}, "injection_defense": {"enabled": True}})(server)


@case("Sandbox.pause Sandbox.kill", "a paused one is killed, and said to be")
def _(server):
    sbx = Sandbox.create(**server)
    sbx.pause()
    assert sbx.kill(wait=True) is True
    assert sbx.get_info().state.value == "killed"


@case("Sandbox.connect", "an unknown id")
def _(server):
    try:
        Sandbox.connect("sbx-none0000", **server)
    except NotFoundException as e:
        assert "HTTP 404" in str(e)
    else:
        raise AssertionError("connect did not raise")
