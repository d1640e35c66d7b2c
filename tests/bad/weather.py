# SPDX-License-Identifier: Apache-2.0
"""What the bad days share: bounded waiting, what a process holds and burns, a neighbour that must not notice."""
import json
import os
import socket
import threading
from typing import Any, Callable, Dict, List, Sequence

import harness
from dnsd import ask
from ground import SLOW, until

__all__ = ["SLOW", "Neighbour", "cpu", "datagram", "echo_once", "fds", "knock", "percentile", "resolve", "udp_echo", "until"]


def cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fds(pid: int) -> Dict[str, int]:
    """How many descriptors of each kind: socket, pipe, ..."""
    found: Dict[str, int] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            kind = os.readlink(f"/proc/{pid}/fd/{name}").split(":")[0]
        except OSError:
            continue  # closed meanwhile
        found[kind] = found.get(kind, 0) + 1
    return found


def percentile(values: List[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


# Runs inside a sandbox: lookups, connections and datagrams without an end, each with the time it took.
_LIFE = """
import json, os, socket, struct, sys, time
seconds, name, address = float(sys.argv[1]), sys.argv[2], sys.argv[3]
end = time.monotonic() + seconds
rows = {"lookup": [], "connect": [], "udp": []}
def lookup():
    socket.getaddrinfo(name, 7, socket.AF_INET)
def connect():
    with socket.create_connection((address, 7), 5) as s:
        s.sendall(b"hello")
        if s.recv(5, socket.MSG_WAITALL) != b"hello":
            raise OSError("cut off")
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.settimeout(5)
datagrams.connect((address, 7))
def udp():
    datagrams.send(b"x")
    datagrams.recv(10)
while time.monotonic() < end and not os.path.exists("/tmp/stop"):
    for f in (lookup, connect, udp):
        start, error = time.monotonic(), None
        try:
            f()
        except OSError as e:
            error = repr(e)
        rows[f.__name__].append([start, time.monotonic() - start, error])
    time.sleep(0.02)
print(json.dumps(rows))
"""


class Neighbour:
    """Another sandbox of the server that works all the time. box: a kit.Box whose policy allows name and address."""

    def __init__(self, box: Any, name: str, address: str, seconds: float) -> None:
        self._box = box
        box.sbx.files.write("/tmp/life.py", _LIFE)
        self.rows: Dict[str, List[List[Any]]] = {}
        self._thread = threading.Thread(target=self._run, args=(name, address, seconds), daemon=True)
        self._thread.start()

    def _run(self, name: str, address: str, seconds: float) -> None:
        done = self._box.sbx.commands.run(f"python3 /tmp/life.py {seconds} {name} {address}", timeout=seconds + 60)
        self.rows = json.loads(done.stdout) if done.exit_code == 0 else {"failed": [[0, 0, done.stderr]]}

    def join(self) -> None:
        """When its time is over."""
        self._thread.join(60)
        assert self.rows, "the neighbour has not come back"

    def stop(self) -> None:
        """Now, for good: its sandbox has no other life."""
        self._box.sbx.files.write("/tmp/stop", "")
        self.join()

    def check(self, at_least: int, median: float, most: float, accept: Callable[[float], bool] = lambda start: False) -> str:
        """Everything worked within bounds. accept(start): failures at that time are part of the case. Says how it went."""
        text = []
        for what, rows in self.rows.items():
            bad = [r for r in rows if r[2] and not accept(r[0])]
            times = [r[1] for r in rows if not r[2]]
            assert not bad, (what, bad[:5], len(bad), len(rows))
            assert len(times) >= at_least, (what, len(times))
            middle, top = percentile(times, 0.5), max(times)
            text.append(f"{what} {len(times)}: median {1e3 * middle:.1f} ms, 99% {1e3 * percentile(times, 0.99):.1f} ms, "
                        f"longest {1e3 * top:.0f} ms")
            assert middle < median * SLOW and top < most * SLOW, text[-1]
        return "; ".join(text)




def resolve(ns: str, name: str, qtype: int = 1) -> List[str]:
    """As a client does, which asks again: the first packet on a new link may be lost, since the kernel brings it up later."""
    for last in (False, False, True):
        try:
            answer = ask(ns, name, qtype, timeout=10 if last else 2)
            break
        except TimeoutError:
            if last:
                raise
    assert answer.rcode == 0, answer
    return answer.addresses


def udp_echo(ns: str, *addresses: str, port: int = 7) -> List[socket.socket]:
    """Echoes datagrams to these addresses of the namespace until the sockets are closed."""

    def loop(s: socket.socket) -> None:
        while True:
            try:
                data, peer = s.recvfrom(65536)
                s.sendto(data, peer)
            except OSError:
                return

    made = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = harness.inside(ns, lambda family=family: socket.socket(family, socket.SOCK_DGRAM))  # type: ignore[misc]
        s.bind((address, port))
        threading.Thread(target=loop, args=(s,), daemon=True).start()
        made.append(s)
    return made


def datagram(ns: str, address: str, port: int = 7, timeout: float = 2.0) -> bytes:
    """What comes back for one datagram; raises as recv() does."""

    def work() -> bytes:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(timeout)
            s.connect((address, port))
            s.send(b"datagram")
            return s.recv(100)

    return harness.inside(ns, work)


def echo_once(ns: str, address: str, timeout: float = 3.0) -> None:
    with harness.connect(ns, address, 7, timeout) as s:
        s.sendall(b"hello")
        assert s.recv(5, socket.MSG_WAITALL) == b"hello"


def knock(ns: str, addresses: Sequence[str], ports: Sequence[int] = (7, 53, 80, 443, 9999)) -> None:
    """Tries every way out towards these once, waiting for nothing: SYNs and datagrams."""

    def work() -> None:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            for port in ports:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(family, kind) as s:
                        s.setblocking(False)
                        s.connect_ex((address, port))
                        if kind == socket.SOCK_DGRAM:
                            try:
                                s.send(b"knock")
                            except OSError:
                                pass  # an answer to an earlier one

    harness.inside(ns, work)
