# SPDX-License-Identifier: Apache-2.0
"""Runs the egress suite's two programs against this build: far in the internet, probes in sandboxes, verdicts from both.

docs/egress-suite.md says what the lines of the two programs mean.
"""
import contextlib
import itertools
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from declaw import Sandbox
from lab import addresses, netns
from lab.capture import Capture
from lab.daemon import Daemon

BUILD = Path(__file__).resolve().parents[2] / os.environ.get("DECLAW_BUILD", "build-test")
PROBE, FAR = BUILD / "egress-suite" / "egress-probe", BUILD / "egress-suite" / "egress-far"

#: Addresses of the suite that the lab has no servers on: A4, and the first of the many.
A4, A4_6 = "23.20.0.44", "2600:1f00::44"
MANY, MANY_6 = "23.21.0.1", "2600:1f01::100"
PLACES = {
    "a1": addresses.A1, "a1_6": addresses.A1_6, "a2": addresses.A2, "a2_6": addresses.A2_6,
    "a3": addresses.PYPI, "a3_6": addresses.PYPI_6, "a4": A4, "a4_6": A4_6, "many": MANY, "many_6": MANY_6,
    "private": addresses.PRIVATE, "private_6": addresses.PRIVATE_6,
    "metadata": addresses.METADATA, "metadata_6": addresses.METADATA_6,
}  # fmt: skip
#: Nothing may ever be sent there.
NEVER = {PLACES[k] for k in ("a2", "a2_6", "private", "private_6", "metadata", "metadata_6")}
#: The policy under test.
ALLOW = ["one.allowed.test", "*.wild.test", PLACES["a3"], PLACES["a3_6"], "narrow.allowed.test:443"]
PROTOCOLS = {6: "tcp", 17: "udp"}
#: Where the denied arm may go too, as long as what it says there is not heard.
OPEN = {PLACES[k] for k in ("a1", "a1_6", "a3", "a3_6", "many", "many_6")}
#: Not to be seen from outside, whatever is allowed; tests/egress/test_suite.py shows in another way that they can fail.
INSIDE = ("EC-063", "EC-098", "EC-100")
_numbers = itertools.count(1)
_START_SECONDS = 10.0
_RUN_SECONDS = 240.0


class Case(NamedTuple):
    number: str
    section: str
    technique: str
    families: Tuple[int, ...]
    expect: str
    defences: Tuple[str, ...]


def cases() -> List[Case]:
    """What the probe can do, as it says itself."""
    done = subprocess.run([PROBE, "--list"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [Case(r["case"], r["section"], r["technique"], tuple(r["families"]), r["expect"], tuple(r["defences"].split()))
            for r in rows]


class FarSide:
    """egress-far, and every line it printed."""

    def __init__(self, namespace: str) -> None:
        argv = ["ip", "netns", "exec", namespace, str(FAR), "--device", netns.INTERNET_DEV]
        for key, value in {**PLACES, "resolver": addresses.RESOLVER}.items():
            argv += [f"--{key}", value]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace")
        self._lines: List[Dict[str, Any]] = []
        self._lock = threading.Lock()
        ready: "queue.Queue[bool]" = queue.Queue()
        threading.Thread(target=self._read, args=(ready,), daemon=True).start()
        if not ready.get(timeout=_START_SECONDS):
            raise RuntimeError("egress-far did not start")

    def _read(self, ready: "queue.Queue[bool]") -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = json.loads(text)
            if line["what"] == "ready":
                ready.put(True)
            with self._lock:
                self._lines.append(line)
        ready.put(False)

    def lines(self, since: int = 0) -> List[Dict[str, Any]]:
        with self._lock:
            return self._lines[since:]

    def mark(self) -> int:
        with self._lock:
            return len(self._lines)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Field:
    """Two namespaces like the lab's, with egress-far in the place of the lab's servers, and a capture between them."""

    def __init__(self) -> None:
        name = f"field{os.getpid()}-{next(_numbers)}"
        self.uplink, self.internet = f"{name}-up", f"{name}-net"

    def __enter__(self) -> "Field":
        with contextlib.ExitStack() as undo:
            undo.callback(netns.destroy, self.uplink, self.internet)
            netns.build(self.uplink, self.internet)
            extra = [f"addr add {A4}/32 dev lo", f"addr add {A4_6}/128 dev lo nodad",
                     f"route add local {MANY}/32 dev lo", "route add local 23.21.0.0/16 dev lo",
                     "route add local 2600:1f01::/64 dev lo"]
            subprocess.run(["ip", "-n", self.internet, "-batch", "-"], input="\n".join(extra), text=True, check=True)
            self.capture = Capture(self.uplink, netns.UPLINK_DEV)
            self.capture.start()
            undo.callback(self.capture.stop)
            self.far = FarSide(self.internet)
            undo.callback(self.far.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    @contextlib.contextmanager
    def declawd(self, extra_args: Sequence[str] = ()) -> Iterator[Daemon]:
        with Daemon(BUILD, self.uplink, addresses.RESOLVER, extra_args) as daemon:
            yield daemon


def _own_addresses(sbx: Sandbox) -> Dict[str, str]:
    script = ("import socket\n"
              "for f, a in ((2, '1.1.1.1'), (10, '2606:4700::1')):\n"
              " s = socket.socket(f, 2); s.connect((a, 9)); print(s.getsockname()[0])")
    out = sbx.commands.run(f'python3 -c "{script}"', timeout=30).stdout.split()
    return {"peer": out[0], "peer_6": out[1]}


def _host_addresses() -> List[str]:
    real = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    mine = [a["local"] for link in real for a in link["addr_info"] if a.get("scope") == "global"]
    return ["100.112.0.1", "fd64:6377::1", netns.a.UPLINK4, netns.a.UPLINK6, *mine][:32]


class Run(NamedTuple):
    """One probe's lines, joined with what others saw meanwhile."""

    lines: List[Dict[str, Any]]
    far: List[Dict[str, Any]]
    records: List[Dict[str, Any]]


class Subject:
    """A sandbox with the probe inside, and beside it another one that it may not reach."""

    def __init__(self, field: Field, daemon: Daemon, allow: Sequence[str] = ALLOW, peer_allow: Sequence[str] = ()) -> None:
        self.field, self.allow = field, list(allow)
        common: Dict[str, Any] = dict(template="python", timeout=900, domain=daemon.domain, api_key=daemon.key)
        self.peer = Sandbox.create(network={"allow_out": list(peer_allow)}, **common)
        self.peer.commands.run("python3 -m http.server 8000 --bind :: > /dev/null 2>&1 &", timeout=30)
        self.sbx = Sandbox.create(network={"allow_out": self.allow}, **common)
        self.sbx.files.write("/tmp/egress-probe", PROBE.read_bytes())
        places = {**PLACES, **_own_addresses(self.peer), "peer_port": "8000"}
        lines = [f"{key} {value}" for key, value in places.items()] + [f"host {a}" for a in _host_addresses()]
        self.config = "\n".join(lines) + "\n"
        self.sbx.files.write("/tmp/egress.conf", self.config)
        self.sbx.commands.run("chmod 755 /tmp/egress-probe", user="root", timeout=30)

    def close(self) -> None:
        self.sbx.kill(wait=True)
        self.peer.kill(wait=True)

    def halt(self, seconds: float = 1) -> None:
        """Stands still for so long, with connections, a pinned name and its policy at hand, and goes on."""
        self.sbx.commands.run("python3 -c 'import socket; socket.create_connection((\"one.allowed.test\", 80), 10)'", timeout=30)
        self.sbx.pause()
        time.sleep(seconds)
        self.sbx.resume()

    def _pid(self) -> int:
        """A process of the sandbox as the host sees it."""
        token = f"{time.time_ns()}"
        self.sbx.commands.run(f"sleep 600.{token} > /dev/null 2>&1 & echo", timeout=30)
        wanted, deadline = f"sleep\x00600.{token}".encode(), time.monotonic() + 10
        while time.monotonic() < deadline:
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if entry.read_bytes().startswith(wanted):
                        return int(entry.parent.name)
        raise AssertionError("the sandbox's process is not to be seen")

    def _execute(self, user: str, arguments: str, seconds: float) -> "Tuple[str, str]":
        if user != "link":
            done = self.sbx.commands.run(f"/tmp/egress-probe --config /tmp/egress.conf {arguments}", user=user, timeout=seconds)
            return done.stdout, done.stderr
        # The host's own root with all capabilities on the sandbox's link: more than anybody inside can become.
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
            config.write(self.config + "resolver 100.112.0.1\nresolver_6 fd64:6377::1\n")
            config.flush()
            out = subprocess.run(["nsenter", f"--net=/proc/{self._pid()}/ns/net", str(PROBE), "--config", config.name,
                                  *arguments.split()], capture_output=True, text=True, timeout=seconds, check=False)
        return out.stdout, out.stderr

    def run(self, user: str, updates: bool = False, arguments: str = "", seconds: float = _RUN_SECONDS) -> Run:
        """The probe as this user ("link": see `_execute`); with updates, equivalent policies are put all the while."""
        run_id = os.urandom(4).hex()
        records: Dict[str, Dict[str, Any]] = {}
        stop = threading.Event()
        helpers = [threading.Thread(target=self._collect, args=(records, stop))]
        if updates:
            helpers.append(threading.Thread(target=self._update, args=(stop,)))
        mark = self.field.far.mark()
        for helper in helpers:
            helper.start()
        try:
            out, errors = self._execute(user, f"--run-id {run_id} {arguments}", seconds)
        finally:
            time.sleep(1.3)  # the far side's last lines, and the records of a window that is still open
            stop.set()
            for helper in helpers:
                helper.join()
        lines = [json.loads(line) for line in out.splitlines()]
        assert lines and "summary" in lines[-1], f"the probe did not come to its end: {errors}"
        return Run(lines[:-1], self.field.far.lines(mark), list(records.values()))

    def _collect(self, records: Dict[str, Dict[str, Any]], stop: threading.Event) -> None:
        while True:
            last = stop.is_set()
            for row in self.sbx.network_log(limit=1000, verdict="deny"):
                records[json.dumps(row, sort_keys=True)] = row
            if last:
                return
            stop.wait(0.5)

    def _update(self, stop: threading.Event) -> None:
        turn = 0
        while not stop.wait(0.03):
            turn += 1
            extra = [f"unrelated-{turn % 7}.test"] if turn % 2 else []
            self.sbx.set_network({"allow_out": extra + self.allow[:: -1 if turn % 3 else 1]})


def _canonical(name: str) -> str:
    return name.lower().rstrip(".")


_MAY_BE_ASKED = {"one.allowed.test", "narrow.allowed.test"}


def _is_own(aim: Dict[str, Any], line: Dict[str, Any]) -> bool:
    """Nothing but this case goes there, so a record of it is this case's."""
    return line["nonce"][0] in aim["name"].lower() if "name" in aim else aim["port"] == 20000 + int(line["case"][3:])


def _tells(row: Dict[str, Any], aim: Dict[str, Any]) -> bool:
    if "name" in aim:
        return _canonical(row.get("name") or "") == _canonical(aim["name"])
    same_place = row.get("addr") == aim["addr"] and row.get("port") == aim["port"]
    return same_place and row.get("protocol") == PROTOCOLS.get(aim["proto"])


def _recorded(line: Dict[str, Any], records: List[Dict[str, Any]]) -> bool:
    aims = [aim for aim in line["aims"] if _is_own(aim, line)] or line["aims"]
    return any(_tells(row, aim) for aim in aims for row in records)


def touched(line: Dict[str, Any], far: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """What the far side saw of the denied arm."""
    nonce = line["nonce"][0]
    names = {_canonical(a["name"]) for a in line["aims"] if "name" in a} - _MAY_BE_ASKED
    names = {n for n in names if not n.endswith(".wild.test")}
    aims = {(a["proto"], a["addr"], a["port"]) for a in line["aims"] if "addr" in a and a["addr"] not in OPEN}
    seen = []
    for f in far:
        if f.get("nonce") == nonce or (f["what"] == "query" and f["name"] in names):
            seen.append(f)
        elif f["what"] in ("packet", "icmp") and (f["proto"], f["addr"], f["port"]) in aims:
            seen.append(f)
    return seen


def got_through(line: Dict[str, Any]) -> bool:
    """So says the client, which knows answers when it sees them."""
    return (line["denied"] or {}).get("client") in ("answered", "connected")


def problems(line: Dict[str, Any], run: Run) -> List[str]:
    """Why this case is not passed; [] when it is."""
    found: List[str] = []
    if "broken" in line:
        return [f"the probe's case process: {line['broken']}"]
    control, denied = line["control"], line["denied"]
    if control is None or not control["ok"]:
        found.append(f"the control arm did not succeed: {control}")
    if line["expect"] == "works":
        return found
    if denied is None:
        return found + ["the denied arm did nothing"]
    if got_through(line):
        found.append(f"the denied arm got through, says the client: {denied}")
    seen = touched(line, run.far)
    if seen:
        found.append(f"the far side saw {len(seen)} of it, first {seen[0]}")
    if line["expect"] == "silent and a record" and not _recorded(line, run.records):
        found.append(f"no decision record for any of {line['aims'][:4]}")
    return found


def run_without_a_gate(field: Field) -> Run:
    """The probe where no policy is: in the uplink's namespace itself. Everything that can be seen should be."""
    mark = field.far.mark()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("".join(f"{k} {v}\n" for k, v in {**PLACES, "resolver": addresses.RESOLVER}.items()))
        config.flush()
        done = subprocess.run(["ip", "netns", "exec", field.uplink, str(PROBE), "--config", config.name],
                              capture_output=True, text=True, timeout=_RUN_SECONDS, check=False)
    time.sleep(0.5)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and "summary" in lines[-1], f"the probe did not come to its end: {done.stderr}"
    return Run(lines[:-1], field.far.lines(mark), [])


def write_results(runs: Dict[str, Run], path: Optional[Path] = None) -> Path:
    """What tools/egress_table.py makes the table from."""
    verdicts: Dict[str, Dict[str, str]] = {}
    for arm, run in runs.items():
        for line in run.lines:
            key = f"{arm}, IPv{line['family']}"
            verdicts.setdefault(line["case"], {})[key] = "fail" if problems(line, run) else "pass"
    path = path or BUILD / "egress-results.json"
    path.write_text(json.dumps(verdicts, indent=1, sort_keys=True), encoding="ascii")
    return path
