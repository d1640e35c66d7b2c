# SPDX-License-Identifier: Apache-2.0
"""A declawd whose uplink is the lab, or the machine's own network."""

import ctypes
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

_LISTENING = re.compile(rb"declawd: listening on http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 15.0
_STOP_SECONDS = 15.0
_LOG_TAIL = 20_000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Daemon:
    """Started on construction; `stop` it, or use it as a context manager.

    Attributes:
        port, domain: where its API listens, as a number and as ``127.0.0.1:port``.
        key: its API key.
        pid: its process.
        data: its data folder, removed by `stop`.
        env: what a user's program needs in its environment to reach it.
    """

    def __init__(
        self, build_dir: Union[str, Path], uplink: Optional[str], resolver: Optional[str], extra_args: Sequence[str] = ()
    ) -> None:
        binary = Path(build_dir).resolve() / "src" / "declawd" / "declawd"
        self._folder = Path(tempfile.mkdtemp(prefix="lab-declawd-"))
        self.data = self._folder / "data"
        self.data.mkdir(mode=0o700)
        self._log = self._folder / "log"
        argv = [str(binary), "--listen", "127.0.0.1:0", "--data", str(self.data)]
        if uplink is not None:
            argv += ["--uplink-netns", uplink]
        if resolver is not None:
            argv += ["--resolver", resolver]
        argv += extra_args
        # The kernel's "parent died" means the thread that forked, so only the main thread can ask for it.
        on_main = threading.current_thread() is threading.main_thread()
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent if on_main else None,
                )
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.pid = self._process.pid
        try:
            self.port = self._wait_until_listening()
            self.key = (self.data / "api-key").read_text(encoding="ascii").strip()
        except BaseException:
            self.stop()
            raise
        self.domain = f"127.0.0.1:{self.port}"

    def _wait_until_listening(self) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            ended = self._process.poll()  # before the log is read: a last line must not be missed
            match = _LISTENING.search(self._log.read_bytes())
            if match:
                return int(match.group(1))
            if ended is not None:
                raise RuntimeError(f"declawd ended with {ended} before it listened:\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"declawd does not listen after {_START_SECONDS:.0f} s:\n{self.log()}")
            time.sleep(0.002)

    def log(self) -> str:
        """The end of what it wrote to stdout and stderr; "" after `stop`, which prints nothing itself."""
        try:
            return self._log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    @property
    def env(self) -> Dict[str, str]:
        return {"DECLAW_DOMAIN": self.domain, "DECLAW_API_KEY": self.key}

    def stop(self) -> Optional[int]:
        """Ends it (SIGTERM, after 15 s SIGKILL) and removes its data. Returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._process.returncode

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, kind: Optional[type], *rest: object) -> None:
        if kind is not None:
            print(f"--- declawd {self.pid} wrote:\n{self.log()}---", flush=True)
        self.stop()
