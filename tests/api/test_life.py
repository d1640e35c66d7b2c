# SPDX-License-Identifier: Apache-2.0
"""The daemon's own life: start, stop, the gate that dies, creates that fail half-way, and what is left behind."""

import os
import re
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import Daemon, build_dir, descendants, eventually

DECLAWD = [str(build_dir() / "src/declawd/declawd")]


def test_commands_end_with_their_sandbox(daemon):
    """The last of them to end lets go of what is left of it, and of the account of its output before that."""
    for _ in range(8):
        sandbox = daemon.create()["sandbox_id"]
        body = {"cmd": "head -c 100000 /dev/zero; sleep 20", "timeout": 30}
        path = f"/sandboxes/{sandbox}/commands"
        threads = [threading.Thread(target=daemon.request, args=("POST", path, body), daemon=True) for _ in range(60)]
        for t in threads:
            t.start()
        time.sleep(0.3)
        daemon.request("DELETE", f"/sandboxes/{sandbox}")
        for t in threads:
            t.join(10)
            assert not t.is_alive()
    assert daemon.request("GET", "/health").status == 200


def test_a_graceful_stop_leaves_nothing(make_daemon):
    d = make_daemon()
    for _ in range(3):
        sandbox = d.create()["sandbox_id"]
    d.run(sandbox, "setsid sleep 1000 >/dev/null 2>&1 & sleep 0.1")
    footprint = d.footprint()
    assert len(footprint.pids) > 6 and len(footprint.namespaces) > 10 and footprint.cgroups()
    assert d.stop(remove=False) == 0
    assert not footprint.left()


def test_a_stop_closes_each_descriptor_once(make_daemon, tmp_path):
    """A number that is closed twice may be somebody else's by then: libmicrohttpd ends the process over a lost socket."""
    # Nobody else can trace it then, and that is how leaks are looked for.
    d = make_daemon(env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"})
    d.create()
    calls = tmp_path / "calls"
    strace = subprocess.Popen(["strace", "-f", "-q", "-e", "trace=close", "-o", str(calls), "-p", str(d.process.pid)])
    assert eventually(lambda: re.search(r"^TracerPid:\t[1-9]", (Path("/proc") / str(d.process.pid) / "status").read_text(), re.M))
    assert d.stop() == 0
    assert strace.wait(20) == 0
    lines = [line for line in calls.read_text().splitlines() if "close(" in line]
    assert len(lines) > 5
    assert not [line for line in lines if "EBADF" in line]


def test_a_killed_daemon_leaves_nothing_but_records(make_daemon):
    d = make_daemon()
    sandbox = d.create(metadata={"a": "b"})["sandbox_id"]
    footprint = d.footprint()
    d.process.kill()
    d.process.wait()
    assert eventually(lambda: not footprint.left()), footprint.left()
    again = make_daemon(data=d.data)
    got = again.request("GET", f"/sandboxes/{sandbox}").json
    assert (got["state"], got["kill_reason"], got["metadata"]) == ("killed", "server restarted", {"a": "b"})
    assert again.ids() == [] and again.ids("?state=killed") == [sandbox]
    assert again.key == d.key
    assert again.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"}).status == 410


def test_a_stop_ends_requests_and_says_why_sandboxes_ended(make_daemon, in_background):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    answers = []
    in_background(lambda: answers.append(d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "echo x > /tmp/on; sleep 99"})))
    in_background(lambda: answers.append(d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "sleep 1; echo done"})))
    assert eventually(lambda: d.run(sandbox, "ls /tmp/on")["exit_code"] == 0)
    begun = time.monotonic()
    assert d.stop(remove=False) == 0
    assert time.monotonic() - begun < 6
    assert eventually(lambda: len(answers) == 2)
    by_status = {a.status: a for a in answers}
    assert by_status[200].json["stdout"] == "done\n"
    assert by_status[409].code == "cancelled"
    again = make_daemon(data=d.data)
    assert again.request("GET", f"/sandboxes/{sandbox}").json["kill_reason"] == "server stopped"


def test_files_are_private(make_daemon):
    d = make_daemon()
    assert stat.S_IMODE(os.stat(d.data).st_mode) == 0o700
    for name in ("api-key", "state.db", "log.db"):
        assert stat.S_IMODE(os.stat(d.data / name).st_mode) == 0o600


def test_a_second_daemon_on_the_same_data_is_refused(make_daemon):
    d = make_daemon()
    r = subprocess.run([*DECLAWD, "--data", str(d.data), "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and "in use" in r.stderr
    assert d.request("GET", "/health", key=None).status == 200


def test_ipv6(make_daemon):
    d = make_daemon("--listen", "[::1]:0")
    assert d.host == "[::1]"
    assert d.request("GET", "/health", key=None).status == 200


def test_options_from_the_environment(make_daemon, tmp_path):
    key = tmp_path / "key"
    key.write_text("my-own-key\n")
    key.chmod(0o600)
    d = Daemon.__new__(Daemon)
    d.folder = tmp_path
    d.data, d.log_path = tmp_path / "data", tmp_path / "log"
    env = {"DECLAW_LISTEN": "127.0.0.1:0", "DECLAW_DATA": str(d.data), "DECLAW_API_KEY_FILE": str(key), "DECLAW_RESOLVER": "127.0.0.1:9,[::1]:9", "DECLAW_DEFAULT_EGRESS": "deny"}
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data/api-key").write_text("not used")
    with open(d.log_path, "wb") as log:
        d.process = subprocess.Popen(DECLAWD, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], **env})
    try:
        d.wait_ready()
        assert d.request("GET", "/sandboxes", key="my-own-key").status == 200
        assert d.request("GET", "/sandboxes", key="not used").status == 401
        d.key = "my-own-key"
        sandbox = d.create()["sandbox_id"]
        d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "timeout 1 bash -c 'echo > /dev/tcp/93.184.216.34/80'", "timeout": 5})
        decisions = d.request("GET", f"/sandboxes/{sandbox}/network/log?verdict=deny").json["decisions"]
        assert [x["reason"] for x in decisions if x.get("addr") == "93.184.216.34"] == ["deny_default"]
    finally:
        d.stop(remove=False)


@pytest.mark.parametrize(
    "args, word",
    [(["--listen", "localhost:1"], "--listen"), (["--frob"], "--frob"), (["--default-egress", "some"], "--default-egress"), (["--resolver", "dns.test"], "--resolver"), (["--allow-private", "10/8"], "--allow-private"), (["--data"], "--data")],
)
def test_wrong_options(args, word):
    r = subprocess.run([*DECLAWD, *args], capture_output=True, text=True, timeout=10)
    assert r.returncode == 2 and word in r.stderr and len(r.stderr.splitlines()) == 1


def test_help_and_version():
    r = subprocess.run([*DECLAWD, "--help"], capture_output=True, text=True, timeout=10)
    assert r.returncode == 0
    for option in ("--listen", "--data", "--api-key-file", "--uplink-netns", "--resolver", "--default-egress", "--allow-private", "--no-ipv6", "--strict-security", "--limit-flows", "--limit-bytes", "--help", "--version"):
        assert option in r.stdout
    assert subprocess.run([*DECLAWD, "--version"], capture_output=True, text=True, timeout=10).stdout.startswith("declawd ")


@pytest.mark.parametrize("args, word", [(["--uplink-netns", "no-such-namespace"], "no-such-namespace"), (["--listen", "192.0.2.1:1"], "192.0.2.1")])
def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path, args, word):
    before = set(descendants(os.getpid()))
    if "--listen" not in args:
        args = ["--listen", "127.0.0.1:0", *args]
    r = subprocess.run([*DECLAWD, "--data", str(tmp_path / "data"), "--resolver", "127.0.0.1:9", *args], capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and word in r.stderr
    assert not set(descendants(os.getpid())) - before


def nspid(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[-1]) for line in f if line.startswith("NSpid:"))


def denied(d, sandbox, target):
    """Tries to reach target from inside, and returns the refusals that were logged for it."""
    d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": f"timeout 0.5 bash -c 'echo > /dev/tcp/{target}/80'", "timeout": 5})
    rows = d.request("GET", f"/sandboxes/{sandbox}/network/log").json["decisions"]
    return [r for r in rows if r.get("addr") == target]


def test_the_log_of_decisions(daemon, sandbox):
    (row,) = denied(daemon, sandbox, "169.254.169.254")
    assert row["verdict"] == "deny" and row["reason"] == "floor_metadata" and row["protocol"] == "tcp" and row["port"] == 80
    assert "metadata" in row["message"] and row["count"] >= 1
    assert denied(daemon, sandbox, "127.1.2.3") == [], "loopback never leaves the sandbox"
    rows = daemon.request("GET", f"/sandboxes/{sandbox}/network/log?limit=1").json["decisions"]
    assert len(rows) == 1
    for bad in ("limit=0", "limit=x", "verdict=maybe"):
        assert daemon.request("GET", f"/sandboxes/{sandbox}/network/log?{bad}").status == 400
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert daemon.request("GET", f"/sandboxes/{sandbox}/network/log?limit=5000").json["decisions"]


def test_a_gate_that_dies_is_back_within_a_second(make_daemon):
    d = make_daemon()
    sandboxes = [d.create(network={"allow_out": ["192.0.2.55"]})["sandbox_id"] for _ in range(5)]
    for _ in range(3):
        old = d.gate_pid()
        assert old
        os.kill(old, signal.SIGKILL)
        begun = time.monotonic()
        assert eventually(lambda: d.gate_pid() not in (None, old) and d.request("GET", "/health", key=None).json["gate"] == "up")
        # The policies are in force again: the refusal is by the policy, not for want of one.
        for sandbox in sandboxes:
            assert eventually(lambda: any(r["reason"] == "not_in_allow_out" for r in denied(d, sandbox, "93.184.216.34")), 3)
            break
        assert time.monotonic() - begun < 2
    assert "policies attached again" in d.log()
    d.create()


def test_a_create_while_the_gate_is_away(make_daemon):
    d = make_daemon()
    os.kill(d.gate_pid(), signal.SIGKILL)
    answer = d.request("POST", "/sandboxes", {})
    assert answer.status == 201 or (answer.status, answer.code) == (503, "gate_unavailable")
    assert d.create()


def test_without_its_keeper_the_daemon_ends(make_daemon):
    d = make_daemon()
    d.create()
    footprint = d.footprint()
    os.kill(d.keeper_pid(), signal.SIGKILL)
    assert d.process.wait(15) == 1
    assert "keeper" in d.log()
    # Its cgroups stay, empty, until the next keeper tidies up: nobody is left to remove them.
    assert eventually(lambda: not set(footprint.left()) - {"cgroups"}), footprint.left()


def settled(d):
    """What the daemon consists of once it has filled its pool and cleaned up."""
    seen = []

    def steady():
        seen.append(d.footprint().counts())
        time.sleep(0.05)
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    assert eventually(steady, 10), seen
    return seen[-1]


@pytest.mark.parametrize("step", ["daemon.attach", "daemon.store", "daemon.publish"])
def test_a_create_that_fails_half_way_leaves_nothing(make_daemon, step):
    d = make_daemon(env={"DECLAW_TEST_FAIL": step})
    answer = d.request("POST", "/sandboxes", {})
    if answer.status == 201:
        pytest.skip("not a build with test hooks")
    assert (answer.status, answer.code) == (500, "internal") and step in answer.message
    idle = settled(d)
    files = len(os.listdir(f"/proc/{d.process.pid}/fd"))
    for _ in range(10):
        assert d.request("POST", "/sandboxes", {}).status == 500
    assert settled(d) == idle
    assert eventually(lambda: len(os.listdir(f"/proc/{d.process.pid}/fd")) <= files)
    assert d.ids("?state=all") == []
    assert d.request("GET", "/health", key=None).json["sandboxes"] == 0


def test_a_sandbox_whose_first_process_dies(make_daemon):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    d.run(sandbox, "setsid sleep 7654 >/dev/null 2>&1 &")

    def sleepers():
        return [p for p in d.tree() if Path(f"/proc/{p}/cmdline").read_bytes() == b"sleep\0" b"7654\0"]

    (sleeper,) = eventually(sleepers)
    tree = d.tree()
    inside = os.readlink(f"/proc/{sleeper}/ns/pid")
    first = [p for p in tree if os.readlink(f"/proc/{p}/ns/pid") == inside and nspid(p) == 1]
    os.kill(first[0], signal.SIGKILL)
    assert eventually(lambda: d.request("GET", f"/sandboxes/{sandbox}").json["state"] == "killed")
    assert d.request("GET", f"/sandboxes/{sandbox}").json["kill_reason"] == "exited"
    assert d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"}).code == "sandbox_killed"
    assert eventually(lambda: sleeper not in d.tree())
