# SPDX-License-Identifier: Apache-2.0
"""The lab as tests hold it."""

import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import addresses, netns
from .capture import Capture
from .control import LabError, Remote
from .daemon import Daemon
from .dnsmsg import Record

_TESTS = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 5.0
_numbers = itertools.count(1)


class DnsQuery(NamedTuple):
    """A query that reached the DNS. qname and qtype are None for what is no query; raw is the message."""

    time: float
    transport: str
    source: str
    port: int
    resolver: str
    qname: Optional[str]
    qtype: Optional[str]
    raw: bytes


class Dns:
    """What the lab's DNS says, and what it was asked. Changes hold from the next query on."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def set(self, name: str, type: str, *values: str, ttl: int = 60) -> None:
        """Replaces the records of a name (``*.x`` for everything below x) and type. See `Record` for values."""
        self._remote.call("set", name=name, type=type, values=values, ttl=ttl)

    def remove(self, name: str, type: Optional[str] = None) -> None:
        """Takes a name, or one type of it, away."""
        self._remote.call("remove", name=name, type=type)

    def script(
        self,
        name: str,
        type: Optional[str] = None,
        *,
        rcode: Optional[str] = None,
        answer: Optional[Sequence[Record]] = None,
        turns: Optional[Sequence[Sequence[Record]]] = None,
        authority: Sequence[Record] = (),
        additional: Sequence[Record] = (),
        delay: float = 0,
        drop: Optional[str] = None,
        truncate: bool = False,
        raw: Optional[bytes] = None,
    ) -> None:
        """What happens to queries for exactly this name (and type; None: any), instead of the usual.

        Args:
            rcode: "SERVFAIL", "REFUSED", "NXDOMAIN", ...
            answer: the answer section, whatever it says (foreign owners, several addresses, chains).
            turns: answer sections, one after the other, over and over.
            authority, additional: these sections.
            delay: seconds before the answer.
            drop: "udp", "tcp" or "all" are not answered.
            truncate: set TC over UDP.
            raw: the whole answer but its first two bytes, the id.
        """
        what = {
            "rcode": rcode, "answer": answer, "turns": turns, "authority": authority, "additional": additional,
            "delay": delay, "drop": drop, "truncate": truncate, "raw": raw.hex() if raw is not None else None,
        }  # fmt: skip
        self._remote.call("script", name=name, type=type, what=what)

    def unscript(self, name: str, type: Optional[str] = None) -> None:
        """Back to the usual."""
        self._remote.call("script", name=name, type=type, what=None)

    def reset(self) -> None:
        """The records as at the start, and no scripts. The log stays."""
        self._remote.call("reset")

    def queries(self, name: Optional[str] = None) -> List[DnsQuery]:
        """What was asked since the last `clear`, or of it what ends in the labels of `name`; oldest first."""
        result = self._remote.call("queries")
        if result["lost"]:
            raise LabError(f"{result['lost']} queries are not in the log")
        asked = [DnsQuery(**{**q, "raw": bytes.fromhex(q["raw"])}) for q in result["queries"]]
        if name is None:
            return asked
        suffix = "." + name.lower()
        return [q for q in asked if q.qname is not None and ("." + q.qname.lower()).endswith(suffix)]

    def clear(self) -> None:
        """Empties the log."""
        self._remote.call("clear")


class Web:
    """What the lab's TCP and UDP servers saw. See README.md for the keys of each dict."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def _log(self, op: str) -> List[Dict[str, Any]]:
        result = self._remote.call(op)
        if result["lost"]:
            raise LabError(f"{result['lost']} entries are not in the log")
        entries: List[Dict[str, Any]] = result["entries"]
        return entries

    def connections(self) -> List[Dict[str, Any]]:
        """Accepted TCP connections; "first" holds their first 16 KiB."""
        return [{**c, "first": bytes.fromhex(c["first"])} for c in self._log("connections")]

    def requests(self) -> List[Dict[str, Any]]:
        """HTTP requests, each with its raw head."""
        return self._log("requests")

    def datagrams(self) -> List[Dict[str, Any]]:
        """Datagrams to UDP 7 and 443."""
        return [{**d, "data": bytes.fromhex(d["data"])} for d in self._log("datagrams")]

    def clear(self) -> None:
        """Empties the logs; connections that are open stay listed."""
        self._remote.call("clear")


class Lab:
    """Up on `up` (or ``with Lab() as lab``), gone on `down`, at exit, on SIGTERM, and when the process is killed.

    Attributes:
        uplink, internet: names of the two namespaces.
        resolver: the resolver's address.
        ca_file: the authority of all certificates, PEM.
        dns, web, capture: what the far side saw.
    """

    resolver = addresses.RESOLVER

    def __init__(self, prefix: str = "dlab") -> None:
        self.name = f"{prefix}{os.getpid()}-{next(_numbers)}"
        self.uplink, self.internet = f"{self.name}-up", f"{self.name}-net"
        self._processes: List[subprocess.Popen[bytes]] = []
        self._remotes: List[Remote] = []
        self._daemons: List[Daemon] = []
        self._folder: Optional[Path] = None
        self._capture: Optional[Capture] = None
        self._old_sigterm: Any = None
        self._owner = 0

    def up(self) -> "Lab":
        """Needs root."""
        self._owner = os.getpid()
        atexit.register(self.down)
        self._catch_sigterm()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
            self.ca_file = self._folder / "ca.pem"
            netns.build(self.uplink, self.internet)
            dns, web = self._start("dns"), self._start("web")
            self._capture = self.capture = Capture(self.uplink, netns.UPLINK_DEV)
            self.capture.start()
            for remote in (dns, web):
                remote.read()  # "ready"
            self.dns, self.web = Dns(dns), Web(web)
        except BaseException:
            self.down()
            raise
        return self

    def _start(self, role: str) -> Remote:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-m", "lab.serve", role, "--fd", str(theirs.fileno()), "--internet", self.internet]
        argv += ["--uplink", self.uplink, "--folder", str(self._folder)]
        environment = {**os.environ, "PYTHONPATH": str(_TESTS), "PYTHONDONTWRITEBYTECODE": "1"}
        with theirs:
            process = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
        self._processes.append(process)
        remote = Remote(ours, role)
        self._remotes.append(remote)
        return remote

    def down(self) -> None:
        """Removes everything. Harmless when called again, and in a forked child."""
        if self._owner != os.getpid():
            return
        self._owner = 0
        for daemon in self._daemons:
            daemon.stop()
        for remote in self._remotes:
            try:
                remote.call("stop")
            except (LabError, OSError):
                pass  # it has ended already, or ends with its line
            remote.close()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._capture is not None:
            self._capture.stop()
        netns.destroy(self.uplink, self.internet)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.down)
        if self._old_sigterm is not None:
            signal.signal(signal.SIGTERM, self._old_sigterm)

    def _catch_sigterm(self) -> None:
        """Only where nobody else does: SIGTERM's default would end the process past atexit."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
            return
        self._old_sigterm = signal.SIG_DFL
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))

    def __enter__(self) -> "Lab":
        return self.up()

    def __exit__(self, *exc: object) -> None:
        self.down()

    def declawd(
        self, build_dir: Union[str, Path], extra_args: Sequence[str] = (), resolver: Optional[str] = None
    ) -> Daemon:
        """Starts ``<build_dir>/src/declawd/declawd`` in the host's namespace, its uplink here. Stopped by `down` at last."""
        daemon = Daemon(build_dir, self.uplink, resolver or self.resolver, extra_args)
        self._daemons.append(daemon)
        return daemon

    def make_socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket that lives in the uplink namespace."""
        return netns.inside(self.uplink, lambda: socket.socket(family, type))

    def connect(self, address: Tuple[str, int], timeout: float = 5.0) -> socket.socket:
        """A TCP connection from the uplink namespace."""
        sock = self.make_socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def ask(self, message: bytes, resolver: Optional[str] = None, tcp: bool = False, timeout: float = 5.0) -> bytes:
        """Sends a DNS message from the uplink namespace, as the gate would, and returns what comes back."""
        address = (resolver or self.resolver, 53)
        if tcp:
            with self.connect(address, timeout) as sock, sock.makefile("rb") as stream:
                sock.sendall(len(message).to_bytes(2, "big") + message)
                return stream.read(int.from_bytes(stream.read(2), "big"))
        with self.make_socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            sock.connect(address)
            sock.send(message)
            return sock.recv(65535)
