# SPDX-License-Identifier: Apache-2.0
"""``python3 -m lab run [--build DIR] -- CMD``, ``python3 -m lab up [--build DIR]``, ``python3 -m lab down [NAME]``."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Optional

from .lab import Lab

_STATE = Path("/run/declaw-lab")


def _environment(lab: Lab, build: Optional[str]) -> Dict[str, str]:
    env = {
        "LAB_NAME": lab.name,
        "LAB_UPLINK_NETNS": lab.uplink,
        "LAB_INTERNET_NETNS": lab.internet,
        "LAB_RESOLVER": lab.resolver,
        "LAB_CA_FILE": str(lab.ca_file),
    }
    if build is not None:
        env.update(lab.declawd(build).env)
    return env


def _run(build: Optional[str], command: List[str]) -> int:
    with Lab() as lab:
        return subprocess.run(command, env={**os.environ, **_environment(lab, build)}).returncode


def _hold(build: Optional[str]) -> int:
    """What `up` leaves running: the lab, until SIGTERM."""
    _STATE.mkdir(mode=0o700, exist_ok=True)
    with Lab() as lab:
        state = _STATE / f"{lab.name}.json"
        try:
            env = _environment(lab, build)
            state.write_text(json.dumps({"pid": os.getpid(), "env": env}), encoding="ascii")
            print(json.dumps(env), flush=True)
            os.close(1)
            while True:
                signal.pause()
        finally:
            state.unlink(missing_ok=True)
            if not any(_STATE.iterdir()):
                _STATE.rmdir()


def _up(build: Optional[str]) -> int:
    argv = [sys.executable, "-m", "lab", "hold", *(["--build", build] if build else [])]
    # Its errors go to a file: a pipe of ours that it kept open would make `eval "$(lab up)"` wait for its end.
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            status = process.wait() or 1
            errors.seek(0)
            sys.stderr.write(errors.read().decode("utf-8", "replace"))
            return status
    for name, value in json.loads(line).items():
        print(f"export {name}={value}")
    return 0


def _is_ours(pid: int) -> bool:
    """A number in a file may by now belong to another process."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"lab" in words and b"hold" in words


def _down(name: Optional[str]) -> int:
    for state in sorted(_STATE.glob(f"{name or '*'}.json")):
        pid = json.loads(state.read_text(encoding="ascii"))["pid"]
        if not _is_ours(pid):
            state.unlink()
            continue
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while _is_ours(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description="A hermetic internet in network namespaces; needs root.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("run", "run a command (in the host's namespace) beside a lab"),
        ("up", "leave a lab running and print its variables"),
        ("hold", argparse.SUPPRESS),
    ):
        sub = verbs.add_parser(verb, help=text)
        sub.add_argument("--build", help="also start this build's declawd, and tell the command where it is")
        if verb == "run":
            sub.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("down", help="end one lab that `up` left, or all").add_argument("name", nargs="?")
    arguments = parser.parse_args()
    if arguments.verb == "run":
        command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
        if not command:
            parser.error("run needs a command")
        return _run(arguments.build, command)
    if arguments.verb == "down":
        return _down(arguments.name)
    return (_up if arguments.verb == "up" else _hold)(arguments.build)


if __name__ == "__main__":
    sys.exit(main())
