# SPDX-License-Identifier: Apache-2.0
"""From inside, as anybody: what a program is, what it sees of the host and of others, what it may do."""
import hashlib
import json
import os
import secrets
import socket
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from ground import BUILD, Api, sound, until

PROBE = (Path(__file__).parent / "inside.py").read_text()
TEMPLATES = ["base", "python"] + (["node"] if os.path.exists("/usr/bin/node") else [])
# chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot, setfcap.
CAPABILITIES = 0x800405FB
SECRET = f"host-secret-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def server(lab: Any) -> Iterator[Any]:
    """With something in the host's environment that must not be found inside."""
    os.environ["DECLAW_TEST_CANARY"] = SECRET
    try:
        with lab.declawd(BUILD) as daemon:
            yield daemon
            sound(daemon.log())
    finally:
        del os.environ["DECLAW_TEST_CANARY"]


@pytest.fixture(scope="module", params=TEMPLATES)
def box(server: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    sbx = Api(server).sandbox(template=request.param, envs={"GIVEN": "yes"})
    sbx.files.write("/tmp/inside.py", PROBE)
    yield sbx
    sbx.kill()


@pytest.fixture(scope="module", params=["user", "root"])
def report(box: Any, request: pytest.FixtureRequest) -> Dict[str, Any]:
    done = box.commands.run("exec python3 /tmp/inside.py", user=request.param, timeout=60)
    assert done.exit_code == 0, done
    result: Dict[str, Any] = json.loads(done.stdout)
    return {"who": request.param, "id": box.sandbox_id, **result}


def test_identity(report: Dict[str, Any]) -> None:
    assert report["uid"] == (0 if report["who"] == "root" else 1000)
    inner, outer, count = map(int, report["uid_map"])
    assert inner == 0 and outer >= 0x10000000 and outer % 65536 == 0 and count == 65536
    assert report["gid_map"] == report["uid_map"]
    status = report["status"]
    assert int(status["CapBnd"], 16) == CAPABILITIES
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == (CAPABILITIES if report["who"] == "root" else 0)
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_nothing_is_handed_in(report: Dict[str, Any]) -> None:
    assert report["descriptors"] == [0, 1, 2]
    assert report["hostname"] == report["id"] != socket.gethostname()
    environment = report["environment"]
    assert environment.pop("GIVEN") == "yes"
    assert set(environment) <= {"SHELL", "PWD", "OLDPWD", "LOGNAME", "HOME", "LANG", "USER", "SHLVL", "PATH", "_", "TERM"}
    assert SECRET not in json.dumps(report)


def test_system_calls(report: Dict[str, Any]) -> None:
    allowed = {name: outcome for name, outcome in report["calls"].items() if outcome not in ("EPERM", "ENOSYS")}
    # clone3 says "no such call" so that libraries take clone, whose flags can be judged.
    assert report["calls"]["clone3"] == "ENOSYS"
    # ESRCH and EACCES would tell that the call itself was let through.
    assert allowed == {}
    assert report["int80"] == "refused"


def test_sockets(report: Dict[str, Any]) -> None:
    refused = {"EPERM", "EAFNOSUPPORT", "EPROTONOSUPPORT"}
    assert {name: what for name, what in report["sockets"].items() if what not in refused} == {}


def test_pid_1_and_proc(report: Dict[str, Any]) -> None:
    assert set(report["pid1"].values()) <= {"EACCES", "EPERM"}, report["pid1"]
    assert set(report["pid1_links"].values()) <= {"EACCES", "EPERM"}, report["pid1_links"]
    assert set(report["pid1_fds"]) <= {"EACCES", "EPERM", "ENOENT"} and report["pid1_fds"] != ["ENOENT"]
    assert "ok" not in report["proc_writes"].values(), report["proc_writes"]
    assert set(report["masked"].values()) == {0}, report["masked"]


def test_devices(report: Dict[str, Any]) -> None:
    assert report["devices"] == sorted(["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "fd", "stdin",
                                        "stdout", "stderr"])
    # kcore is covered by an empty file; the others are not there.
    assert {path for path, there in report["absent"].items() if there} <= {"/proc/kcore"}
    assert report["sys"] == []
    assert "ok" not in report["mknod"].values(), report["mknod"]


def test_no_names_of_the_host(report: Dict[str, Any], server: Any) -> None:
    """Mount table and control groups tell nothing of where things are on the host."""
    assert str(server.data) not in report["mountinfo"] and "declaw" not in report["mountinfo"]
    # In hierarchies in which the server has no group of its own, the namespace's root is the host's.
    assert all(line.split(":", 2)[2] == "/" for line in report["cgroup"].splitlines()), report["cgroup"]


FIND = "find / \\( -path /proc -o -path /usr \\) -prune -o -name '{0}*' -print 2>/dev/null; ls -d {1} 2>/dev/null; true"


def test_no_files_of_the_host(box: Any) -> None:
    name = f"canary-{secrets.token_hex(8)}"
    folders = [Path(folder) for folder in ("/tmp", "/root", "/home", "/var", "/etc", "/srv", "/opt", "/run") if os.path.isdir(folder)]
    made: List[Path] = []
    try:
        for folder in folders:
            made.append(folder / name)
            made[-1].write_text(SECRET)
            made[-1].chmod(0o644)
        places = [f"{root}{path}" for path in made for root in ("", "/proc/self/root", "/proc/1/root", "/proc/self/cwd/../..")]
        for user in ("user", "root"):
            # The look itself finds what is there.
            box.files.write(f"/tmp/{name}-mine", "x", user=user)
            done = box.commands.run(FIND.format(name, " ".join(places)), user=user, timeout=60)
            assert done.stdout.split() == [f"/tmp/{name}-mine"], done
            box.commands.run(f"rm /tmp/{name}-mine", user="root")
    finally:
        for path in made:
            path.unlink()


def test_writes_stay_inside(box: Any) -> None:
    """/usr is the host's, and /etc is partly a copy of it: root inside may change both for itself alone."""
    name = f"declaw-write-{secrets.token_hex(8)}"
    watched = [Path("/usr/bin/env"), Path("/etc/group"), Path("/etc/os-release"), Path("/etc/passwd")]
    before = {path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in watched}
    done = box.commands.run(
        f"set -e; echo x > /usr/{name}; echo x > /usr/bin/{name}; echo x > /etc/{name}; echo x > /var/{name}; echo x > /opt/{name}; "
        "echo x >> /usr/bin/env; echo x >> /etc/group; echo x >> /etc/passwd; rm /etc/os-release; chmod 777 /usr/bin/env; "
        f"rm -rf /usr/share/doc; tail -c 2 /usr/bin/env; cat /usr/{name}", user="root", timeout=60)
    assert (done.exit_code, done.stdout) == (0, "x\nx\n"), done
    for folder in ("/usr", "/usr/bin", "/etc", "/var", "/opt"):
        assert not os.path.exists(f"{folder}/{name}")
    after = {path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in watched}
    assert after == before and os.path.isdir("/usr/share/doc")
    other = box.commands.run("echo x > /usr/denied", user="user")
    assert other.exit_code != 0 and "denied" in other.stderr.lower()


def test_others(server: Any) -> None:
    """One sandbox's processes, files, sockets and addresses are nothing to another."""
    api = Api(server)
    one, two = api.sandbox(template="python"), api.sandbox(template="python")
    token = secrets.token_hex(8)
    one.files.write(f"/tmp/{token}", "mine")
    serve = ("import socket,time; a=socket.socket(socket.AF_UNIX); a.bind('\\x00{0}'); a.listen(); "
             "t=socket.socket(); t.bind(('0.0.0.0',7777)); t.listen(); open('/tmp/up','w').close(); time.sleep(300)  # {0}")
    one.files.write("/tmp/serve.py", serve.format(token))
    one.commands.run(f"python3 /tmp/serve.py {token} > /dev/null 2>&1 & until [ -e /tmp/up ]; do sleep 0.01; done", timeout=20)
    look = "cat /proc/[0-9]*/cmdline; ls /tmp; cat /proc/net/unix; ls /dev/shm /dev/pts"
    assert one.commands.run(look).stdout.count(token) == 3  # the look would see it
    for user in ("user", "root"):
        assert token not in two.commands.run(look, user=user).stdout
    address = one.commands.run("hostname -I").stdout.split()[0]
    knock = f"import socket; socket.create_connection(('{address}', 7777), 1).close(); print('CONNECTED')"
    one.files.write("/tmp/k.py", knock)
    two.files.write("/tmp/k.py", knock)
    assert one.commands.run("python3 /tmp/k.py").stdout == "CONNECTED\n"
    assert "CONNECTED" not in two.commands.run("python3 /tmp/k.py").stdout
    one.kill()
    two.kill()


def test_signals_do_not_leave(server: Any) -> None:
    """root inside may kill everything it sees, which is its own sandbox; the agent is PID 1 and stays."""
    api = Api(server)
    one, two = api.sandbox(), api.sandbox()
    two.commands.run("sleep 300 > /dev/null 2>&1 &")
    one.commands.run("kill -9 -1; kill -9 1", user="root", timeout=20)
    assert "sleep" in two.commands.run("cat /proc/[0-9]*/comm").stdout
    assert one.commands.run("echo still").stdout == "still\n"
    until(lambda: api.call("GET", "/health").json["status"], 5, lambda word: word == "ok")
    one.kill()
    two.kill()


CORE = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
pair = (ctypes.c_ulong * 2)(0, 0)
old = (ctypes.c_ulong * 2)()
soft = lambda: print(*resource.getrlimit(resource.RLIMIT_CORE))
soft()
print(libc.setrlimit(resource.RLIMIT_CORE, pair))
soft()
for high in (0, 1 << 32):
    libc.syscall(ctypes.c_long(160), ctypes.c_long(high | 4), pair)
    soft()
    libc.syscall(ctypes.c_long(302), ctypes.c_long(0), ctypes.c_long(high | 4), pair, None)
    soft()
    libc.syscall(ctypes.c_long(302), ctypes.c_long(0), ctypes.c_long(high | 4), pair, old)
    soft()
resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
print(resource.getrlimit(resource.RLIMIT_STACK) == (1 << 20, 1 << 20))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
@pytest.mark.parametrize("user", ["user", "root"])
def test_a_crash_inside_starts_nothing_on_the_host(box: Any, user: str) -> None:
    """A limit of 1 is the one value with which the kernel does not start the host's core dump program (core(5)), so it stays."""
    box.files.write("/tmp/core.py", CORE, user="root")
    done = box.commands.run("python3 /tmp/core.py", user=user)
    assert done.stdout.splitlines() == ["1 1", "0"] + ["1 1"] * 7 + ["True"], done
