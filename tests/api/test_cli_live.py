# SPDX-License-Identifier: Apache-2.0
"""The command line against a real server: what it prints is what a sandbox did."""

import json
import os
import pty
import re
import signal
import subprocess
import time

import pytest
from conftest import build_dir, eventually


@pytest.fixture
def declaw(daemon, tmp_path):
    (tmp_path / "key").write_text(daemon.key)
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("DECLAW_")}, "DECLAW_DOMAIN": f"{daemon.host}:{daemon.port}",
           "DECLAW_API_KEY_FILE": str(tmp_path / "key")}  # fmt: skip
    program = str(build_dir() / "src/cli/declaw")

    def run(*words, code=0, **more):
        done = subprocess.run([program, *words], capture_output=True, timeout=60, env={**env, **more.pop("env", {})}, **more)
        assert done.returncode == code, done
        return done

    run.program, run.env = program, env
    return run


@pytest.fixture
def sandbox(declaw):
    name = declaw("sandbox", "create", "--allow", "1.2.3.4:80", "--env", "WHO=me", "--metadata", "a=b").stdout.decode().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    yield name
    declaw("sandbox", "kill", "--wait", name)


def test_its_life(declaw):
    name = declaw("sandbox", "create", "--timeout", "60", "--metadata", "test=life").stdout.decode().strip()
    assert declaw("sandbox", "list", "-q", "--metadata", "test=life").stdout.decode().split() == [name]
    assert json.loads(declaw("sandbox", "info", "--json", name).stdout)["state"] == "running"
    declaw("sandbox", "pause", name)
    assert b"paused" in declaw("sandbox", "info", name).stdout
    assert b"paused" in declaw("sandbox", "exec", name, "true", code=1).stderr
    declaw("sandbox", "resume", name)
    declaw("sandbox", "exec", name, "true")
    declaw("sandbox", "kill", "--wait", name)
    assert json.loads(declaw("sandbox", "info", "--json", name).stdout)["state"] == "killed"
    assert b"killed" in declaw("sandbox", "exec", name, "true", code=1).stderr


def test_exec_with_input(declaw, sandbox):
    data = bytes(range(256)) * 20_000
    done = declaw("sandbox", "exec", "-i", sandbox, "--env", "A=b", "--", "sh", "-c", 'cat; echo "$A $WHO" >&2; exit 9', code=9, input=data)
    assert (done.stdout, done.stderr) == (data, b"b me\n")
    # One that ends without having read it all.
    assert declaw("sandbox", "exec", "-i", sandbox, "--", "head", "-c", "3", input=data).stdout == data[:3]
    assert b"true" not in declaw("sandbox", "exec", "-i", sandbox, "--", "cat", input=b"").stdout


def test_exec_with_input_that_is_left(declaw, sandbox):
    words = [declaw.program, "sandbox", "exec", "-i", sandbox, "--", "sh", "-c", "echo here; exec sleep 4242"]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=declaw.env, preexec_fn=heed) as p:
        assert p.stdout.readline() == b"here\n"
        p.send_signal(signal.SIGINT)
        assert p.wait(15) == -signal.SIGINT
    declaw("sandbox", "exec", sandbox, "--", "pgrep", "-f", "sleep 4242", code=1)


def test_refusals(declaw, sandbox):
    assert b"unauthorized" in declaw("sandbox", "list", code=4, env={"DECLAW_API_KEY": "wrong"}).stderr
    declaw("sandbox", "info", "sbx-missing", code=1)
    declaw("sandbox", "create", "--template", "no-such-template", code=1)
    declaw("network", "allow", sandbox, "no entry", code=1)
    assert declaw("files", "cat", f"{sandbox}:/nonexistent", code=1).stderr


def test_commands(declaw, sandbox):
    done = declaw("sandbox", "exec", sandbox, "--cwd", "/tmp", "--", "sh", "-c", 'echo "$WHO $PWD"; echo err >&2; printf "%s|" "$@"; exit 7', "sh",
                  "a b", "it's", "", "$HOME", code=7)  # fmt: skip
    assert (done.stdout, done.stderr) == (b"me /tmp\na b|it's||$HOME|", b"err\n")
    big = declaw("sandbox", "exec", sandbox, "--", "sh", "-c", "seq 200000").stdout
    assert big == b"".join(b"%d\n" % i for i in range(1, 200001))


def test_output_is_live_and_an_interrupted_command_ends(declaw, sandbox):
    # A test run in the background may have been started with interrupts ignored, which programs inherit.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    command = [declaw.program, "sandbox", "exec", sandbox, "--", "sh", "-c", "echo begun; exec sleep 4321"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=declaw.env, preexec_fn=heed) as p:
        assert p.stdout.readline() == b"begun\n"
        p.send_signal(2)
        assert p.wait(10) == -2
    every = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2> /dev/null"
    assert eventually(lambda: b"sleep 4321" not in declaw("sandbox", "exec", sandbox, "--", "sh", "-c", every).stdout, 10)


def test_files(declaw, sandbox, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "empty").write_bytes(b"")
    (tree / "sub dir/ü&#?%").write_bytes(os.urandom(3_000_000))
    (tree / "plain").write_bytes(b"text\n")
    declaw("files", "cp", str(tree), f"{sandbox}:/tmp/copy")
    assert declaw("files", "ls", f"{sandbox}:/tmp/copy").stdout.decode().splitlines() == ["empty", "plain", "sub dir/"]
    assert declaw("files", "cat", f"{sandbox}:/tmp/copy/plain").stdout == b"text\n"
    declaw("sandbox", "exec", sandbox, "--user", "root", "--", "chmod", "755", "/tmp/copy/plain")
    declaw("files", "cp", f"{sandbox}:/tmp/copy", str(tmp_path / "back"))
    assert subprocess.run(["diff", "-r", str(tree), str(tmp_path / "back")], check=False).returncode == 0
    assert os.access(tmp_path / "back/plain", os.X_OK) and not os.stat(tmp_path / "back/empty").st_mode & 0o111
    assert b"folder" in declaw("files", "rm", f"{sandbox}:/tmp/copy", code=1).stderr
    declaw("files", "rm", "-r", f"{sandbox}:/tmp/copy")
    declaw("files", "ls", f"{sandbox}:/tmp/copy", code=1)


def test_hostile_files(declaw, sandbox, tmp_path):
    make = "mkdir /tmp/h && cd /tmp/h && ln -s . loop && ln -s /etc/hostname link && mkfifo pipe && printf x > \"$(printf 'e\\033[31m')\""
    declaw("sandbox", "exec", sandbox, "--", "sh", "-c", make)
    assert b"\x1b" not in declaw("files", "ls", "-l", f"{sandbox}:/tmp/h").stdout
    done = declaw("files", "cp", f"{sandbox}:/tmp/h", str(tmp_path / "h"), code=1)
    assert b"loop: left out" in done.stderr and b"\x1b" not in done.stderr
    assert (tmp_path / "h/e\x1b[31m").read_bytes() == b"x" and not (tmp_path / "h/link").is_symlink()


def test_network(declaw, sandbox, tmp_path):
    assert b"1.2.3.4:80" in declaw("network", "get", sandbox).stdout
    declaw("network", "allow", sandbox, "pypi.org:443")
    declaw("network", "deny", sandbox, "10.0.0.0/8")
    declaw("network", "allow", "--remove", sandbox, "1.2.3.4:80")
    now = json.loads(declaw("network", "get", "--json", sandbox).stdout)
    assert now["network"] == {"allow_out": ["pypi.org:443"], "deny_out": ["10.0.0.0/8"]} and now["generation"] == 4
    assert b"generation" in declaw("network", "set", sandbox, "-", "--generation", "1", input=b"{}", code=1).stderr
    declaw("network", "set", sandbox, "-", input=b'{"allow_out": [], "mode": "observe", "blocked": "reject"}')
    with subprocess.Popen([declaw.program, "network", "log", "--follow", "--json", sandbox], stdout=subprocess.PIPE, env=declaw.env) as p:
        time.sleep(0.5)
        declaw("sandbox", "exec", sandbox, "--", "sh", "-c", "timeout 2 bash -c ': > /dev/tcp/169.254.169.254/80' || true")
        row = json.loads(p.stdout.readline())
        p.terminate()
    assert (row["event"], row["verdict"], row["addr"]) == ("decision", "deny", "169.254.169.254")
    assert b"169.254.169.254:80" in declaw("network", "log", sandbox, "--verdict", "deny").stdout
    assert b"not covered: 169.254.169.254 port 80" in declaw("network", "suggest", sandbox).stdout
    assert "allow_out" in json.loads(declaw("network", "suggest", "--policy", sandbox).stdout)


def test_a_terminal(declaw, sandbox):
    ours, theirs = pty.openpty()
    p = subprocess.Popen([declaw.program, "sandbox", "connect", sandbox], stdin=theirs, stdout=theirs, env=declaw.env, start_new_session=True)
    os.close(theirs)
    os.write(ours, b"stty size; echo in-$((40+2)); exit 5\r")
    shown = b""
    deadline = time.monotonic() + 20
    while p.poll() is None and time.monotonic() < deadline:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    assert p.wait(10) == 5 and b"in-42" in shown, shown
    os.close(ours)


def test_snapshots(declaw, sandbox):
    at = f"{sandbox}:/home/user/f"
    declaw("sandbox", "exec", sandbox, "--", "sh", "-c", "echo kept > f")
    first = declaw("sandbox", "snapshot", sandbox).stdout.decode().strip()
    declaw("sandbox", "exec", sandbox, "--", "sh", "-c", "echo later > f")
    second = declaw("sandbox", "snapshot", sandbox).stdout.decode().strip()
    declaw("files", "rm", at)
    assert declaw("sandbox", "restore", sandbox).stdout.decode().strip() == second
    assert declaw("files", "cat", at).stdout == b"later\n"
    assert declaw("sandbox", "restore", sandbox, "--snapshot", first).stdout.decode().strip() == first
    assert declaw("files", "cat", at).stdout == b"kept\n"
    fresh = declaw("sandbox", "create", "--snapshot", second).stdout.decode().strip()
    assert fresh != sandbox and declaw("files", "cat", f"{fresh}:/home/user/f").stdout == b"later\n"
    declaw("sandbox", "kill", "--wait", fresh)
    assert b"stand on the template" in declaw("sandbox", "create", "--snapshot", second, "--template", "python", code=1).stderr
    for words in (["sandbox", "snapshots", sandbox], ["snapshot", "ls", "--sandbox", sandbox]):
        assert declaw(*words, "-q").stdout.decode().split() == [second, first]
        assert [s["size_bytes"] > 0 for s in json.loads(declaw(*words, "--json").stdout)["snapshots"]] == [True, True]
        assert declaw(*words).stdout.decode().splitlines()[2].split()[:3] == [first, sandbox, "base"]
    declaw("snapshot", "rm", first)
    assert b"no such snapshot" in declaw("snapshot", "rm", first, code=1).stderr
    assert declaw("sandbox", "snapshots", "-q", sandbox).stdout.decode().split() == [second]
    declaw("snapshot", "rm", second)
    assert b"no snapshot" in declaw("sandbox", "restore", sandbox, code=1).stderr
    assert declaw("sandbox", "exec", sandbox, "--", "cat", "f").stdout == b"kept\n", "it goes on"


def test_volumes(declaw, tmp_path):
    (tmp_path / "data/d").mkdir(parents=True)
    (tmp_path / "data/a b").write_text("hello")
    (tmp_path / "data/d/f").write_bytes(os.urandom(300_000))
    volume = declaw("volume", "create", "live one", str(tmp_path / "data")).stdout.decode().strip()
    assert volume in declaw("volume", "ls", "-q").stdout.decode().split() and b"live one" in declaw("volume", "info", volume).stdout
    name = declaw("sandbox", "create", "--volume", f"{volume}:/data", "--volume", f"{volume}:/ro:ro").stdout.decode().strip()
    assert declaw("sandbox", "exec", name, "--", "sh", "-c", "cat '/data/a b'; cmp /data/d/f /ro/d/f; echo new > /data/new; ls /ro").stdout == b"helloa b\nd\n"
    assert b"mounted" in declaw("volume", "rm", volume, code=1).stderr
    after = declaw("volume", "commit", name, volume).stdout.decode().strip()
    again = declaw("volume", "snapshot", f"{name}:/data/d", "--name", "part").stdout.decode().strip()
    declaw("volume", "download", after, str(tmp_path / "after.tar.gz"))
    assert subprocess.run(["tar", "-xzOf", str(tmp_path / "after.tar.gz"), "new"], capture_output=True, check=True).stdout == b"new\n"
    rows = {r["volume_id"]: r for r in json.loads(declaw("volume", "ls", "--json").stdout)["volumes"]}
    assert rows[after]["name"] == "live one-commit" and rows[after]["file_count"] == 3 and rows[again]["file_count"] == 1
    declaw("sandbox", "kill", "--wait", name)
    declaw("volume", "rm", volume, after, again)
