# SPDX-License-Identifier: Apache-2.0
"""Labs come and go without a trace, with daemons and as a command."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import pytest

from . import addresses as a
from . import netns
from .conftest import eventually
from .lab import Lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TESTS = Path(__file__).resolve().parents[1]


def of(lab_name: str) -> List[str]:
    """What is there of this lab: namespaces, processes, mounts, folders. Other labs may come and go meanwhile."""
    found = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    found += Path("/proc/self/mounts").read_text().splitlines()
    found += [p.name for p in Path(tempfile.gettempdir()).iterdir()]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        found += [words] if "lab.serve" in words else []
    return [x for x in found if lab_name in x]


def test_up_is_quick_and_down_is_complete() -> None:
    threads = set(os.listdir("/proc/self/task"))
    descriptors = len(os.listdir("/proc/self/fd"))
    handler = signal.getsignal(signal.SIGTERM)
    start = time.monotonic()
    with Lab() as lab:
        took = time.monotonic() - start
        assert of(lab.name)
    assert took < 3, "about a sixth of a second on an idle machine"
    assert of(lab.name) == []
    assert set(os.listdir("/proc/self/task")) <= threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert signal.getsignal(signal.SIGTERM) == handler
    lab.down()


def test_failed_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "_nft_rules", lambda: "nonsense")
    lab = Lab()
    with pytest.raises(RuntimeError, match="nft"):
        lab.up()
    assert of(lab.name) == []


SCRIPT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from lab import Lab
lab = Lab().up()
print(lab.name, flush=True)
END
"""


@pytest.mark.parametrize(
    "end, status",
    [
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143),
        ("os.kill(os.getpid(), signal.SIGINT); signal.pause()", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os._exit(4)", 4),
    ],
)
def test_every_end_cleans_up(end: str, status: int) -> None:
    code = SCRIPT.replace("END", end)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == status, done.stderr
    name = done.stdout.strip()
    assert name and eventually(lambda: of(name) == []), of(name)


# -- declawd


FAKE = """#!/usr/bin/python3
import os, signal, sys, time
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "--fail" in arguments:
    sys.exit("declawd: no " + arguments["--fail"])
with open(arguments["--data"] + "/api-key", "w") as f:
    f.write("dcl_fake\\n")
sys.stderr.write(" ".join(sys.argv[1:]) + "\\n")
time.sleep(0.05)
sys.stderr.write("declawd: listening on http://127.0.0.1:4711\\n")
sys.stderr.flush()
signal.pause()
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    binary = tmp_path / "src" / "declawd" / "declawd"
    binary.parent.mkdir(parents=True)
    binary.write_text(FAKE)
    binary.chmod(0o755)
    return tmp_path


def test_declawd(lab: Lab, build: Path) -> None:
    with lab.declawd(build, extra_args=["--default-egress", "deny"]) as daemon:
        assert (daemon.port, daemon.domain, daemon.key) == (4711, "127.0.0.1:4711", "dcl_fake")
        assert daemon.env == {"DECLAW_DOMAIN": "127.0.0.1:4711", "DECLAW_API_KEY": "dcl_fake"}
        assert f"--uplink-netns {lab.uplink} --resolver 9.9.9.9 --default-egress deny" in daemon.log()
        os.kill(daemon.pid, 0)
    assert not daemon.data.exists() and not os.path.exists(f"/proc/{daemon.pid}")


def test_declawd_that_fails(lab: Lab, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(RuntimeError, match="ended with 1 .*\n.*no luck"):
        lab.declawd(build, extra_args=["--fail", "luck"])
    with pytest.raises(FileNotFoundError):
        lab.declawd(build / "nowhere")
    assert not any(temporary.iterdir())


def test_declawd_log_on_failure(lab: Lab, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), lab.declawd(build):
        1 / 0  # noqa: B018
    assert "declawd: listening" in capsys.readouterr().out


# -- the command


def command(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    environment: Dict[str, str] = {**os.environ, "PYTHONPATH": str(TESTS), **env}
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_run(build: Path) -> None:
    shell = 'ip netns exec $LAB_UPLINK_NETNS curl -s --cacert $LAB_CA_FILE --resolve one.allowed.test:443:%s ' % a.A1
    shell += "https://one.allowed.test/; echo; echo $DECLAW_DOMAIN $LAB_NAME; exit 7"
    done = command("run", "--build", str(build), "--", "sh", "-c", shell)
    assert done.returncode == 7, done.stderr
    answer, rest = done.stdout.splitlines()
    domain, name = rest.split()
    assert '"sni": "one.allowed.test"' in answer and domain == "127.0.0.1:4711"
    assert of(name) == []


def test_up_and_down() -> None:
    up = command("up")
    env = dict(line.removeprefix("export ").split("=", 1) for line in up.stdout.splitlines())
    name = env["LAB_NAME"]
    try:
        assert of(name)
    finally:
        assert command("down", name).returncode == 0
    assert eventually(lambda: of(name) == [])
    assert not os.path.exists(f"/run/declaw-lab/{name}.json")
