# SPDX-License-Identifier: Apache-2.0
"""A real declawd for each module of tests, and raw HTTP to it."""

import ctypes
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def build_dir() -> Path:
    """The build under test: DECLAW_BUILD, below the repository or absolute."""
    return REPOSITORY / os.environ.get("DECLAW_BUILD", "build-test")


def eventually(look: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first true value of look, or its last one."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> Optional[str]:
        return self.json.get("code")

    @property
    def message(self) -> str:
        return self.json["message"]


class Daemon:
    def __init__(self, *args: str, env: Optional[Dict[str, str]] = None, data: Optional[Path] = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="declaw-api-"))
        self.data = data or self.folder / "data"
        self.log_path = self.folder / "log"
        argv = [self.program(), "--data", str(self.data)]
        if "--listen" not in args:
            argv += ["--listen", "127.0.0.1:0"]
        if "--resolver" not in args:
            argv += ["--resolver", "127.0.0.1:9"]
        argv += args
        clean = {k: v for k, v in os.environ.items() if not k.startswith("DECLAW_")}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env={**clean, **(env or {})})
        try:
            self.wait_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.log())
            raise

    def program(self) -> str:
        return str(build_dir() / "src/declawd/declawd")

    def wait_ready(self) -> None:
        def line() -> Optional[str]:
            assert self.process.poll() is None, "declawd ended as it started"
            return next((x for x in self.log().splitlines() if "listening on http://" in x), None)

        found = eventually(line, 15)
        assert found, "declawd does not listen"
        self.host, port = found.rsplit("http://", 1)[1].rsplit(":", 1)
        self.port = int(port)
        self.key = (self.data / "api-key").read_text().strip()

    def log(self) -> str:
        return self.log_path.read_bytes().decode("utf-8", "replace")

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: Union[None, bytes, str, Dict[str, Any], List[Any]] = None,
        headers: Optional[Dict[str, str]] = None,
        key: Optional[str] = "",
        timeout: float = 60,
    ) -> Answer:
        """One request on a connection of its own. key "" is the right one, None is none."""
        all_headers = dict(headers or {})
        if key is not None:
            all_headers.setdefault("X-API-Key", key or self.key)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=all_headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def create(self, **fields: Any) -> Dict[str, Any]:
        answer = self.request("POST", "/sandboxes", fields)
        assert answer.status == 201, answer.body
        return answer.json

    def run(self, sandbox: str, cmd: str, **fields: Any) -> Dict[str, Any]:
        answer = self.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": cmd, **fields})
        assert answer.status == 200, answer.body
        return answer.json

    def ids(self, query: str = "") -> List[str]:
        answer = self.request("GET", "/sandboxes" + query)
        assert answer.status == 200, answer.body
        return [s["sandbox_id"] for s in answer.json["sandboxes"]]

    def tree(self) -> Dict[int, str]:
        """Every process below the daemon, by id, with its name."""
        return descendants(self.process.pid)

    def _named(self, name: str) -> Optional[int]:
        # The gate's main thread keeps the program's name; libraries name theirs.
        return next((pid for pid, comm in self.tree().items() if comm == name), None)

    def gate_pid(self) -> Optional[int]:
        return self._named("declaw-gate")

    def keeper_pid(self) -> Optional[int]:
        return self._named("declaw-keeper")

    def footprint(self) -> "Footprint":
        """What it is made of, as the machine sees it."""
        pids = {self.process.pid, *self.tree()}
        own: Set[str] = set()
        for pid in pids:
            own |= namespaces(pid)
        own -= namespaces(os.getpid())
        keeper = self.keeper_pid()
        return Footprint(pids, own, f"declaw-{keeper}-", str(self.data))

    def stop(self, remove: bool = True) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.process.returncode


class Footprint(NamedTuple):
    pids: Set[int]
    namespaces: Set[str]
    cgroup_prefix: str
    data: str

    def cgroups(self) -> List[str]:
        return [f for f, _, _ in os.walk("/sys/fs/cgroup") if self.cgroup_prefix in f]

    def left(self) -> Dict[str, Any]:
        """What is still there of it; {} when nothing is."""
        orphans = {p: c for p, c in descendants(os.getpid()).items() if p in self.pids or parent(p) == os.getpid()}
        # Only our own processes are asked: the kernel gives the numbers of namespaces that have ended to new ones.
        used = set().union(*map(namespaces, orphans))
        found = {
            # Orphans of the daemon are ours, because this process is their subreaper; other daemons' are below them.
            "processes": {p: c for p, c in orphans.items() if p in self.pids or c.startswith("declaw-")},
            "namespaces": self.namespaces & used,
            "cgroups": self.cgroups(),
            "mounts": [m for m in Path("/proc/self/mountinfo").read_text().splitlines() if self.data in m],
        }
        return {k: v for k, v in found.items() if v}

    def counts(self) -> Tuple[int, ...]:
        """For comparing a daemon with itself, once it is idle."""
        return len(self.pids), len(self.namespaces), len(self.cgroups())


def namespaces(pid: int) -> Set[str]:
    found: Set[str] = set()
    try:
        # What nobody has waited for yet is gone all the same; orphans that end are ours to wait for.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return found
    except OSError:
        return found
    for kind in ("net", "mnt", "pid", "user", "ipc", "uts", "cgroup"):
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            pass
    return found


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(top: int) -> Dict[int, str]:
    below: Dict[int, List[Tuple[int, str]]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if fields[0] not in "ZX":
            below.setdefault(int(fields[1]), []).append((int(pid), head.partition("(")[2]))
    found: Dict[int, str] = {}
    todo = [top]
    while todo:
        for pid, comm in below.get(todo.pop(), []):
            found[pid] = comm
            todo.append(pid)
    return found


@pytest.fixture(scope="session", autouse=True)
def subreaper() -> None:
    """Whatever a daemon leaves behind becomes our child, and so is found."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    d = Daemon()
    yield d
    print(d.log())
    assert d.stop() == 0


@pytest.fixture
def make_daemon() -> Iterator[Callable[..., Daemon]]:
    """Daemons of a test's own, stopped at its end."""
    made: List[Daemon] = []

    def make(*args: str, **kwargs: Any) -> Daemon:
        made.append(Daemon(*args, **kwargs))
        return made[-1]

    yield make
    for d in made:
        print(d.log() if d.log_path.exists() else "")
        d.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[str]:
    sandbox_id = daemon.create()["sandbox_id"]
    yield sandbox_id
    daemon.request("DELETE", f"/sandboxes/{sandbox_id}")


@pytest.fixture
def in_background() -> Iterator[Callable[[Callable[[], Any]], "threading.Thread"]]:
    threads: List[threading.Thread] = []

    def start(work: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    for thread in threads:
        thread.join(30)
