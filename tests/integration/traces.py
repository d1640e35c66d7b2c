# SPDX-License-Identifier: Apache-2.0
"""What one server has on this host: processes, network namespaces, control groups, mounts, links.

Other servers may run on the same machine at the same time, so everything is told apart by what belongs to this one: descent from its
process, its keeper's number in names of control groups, its data folder.
"""
import os
import pathlib
from typing import Any, Dict, Iterator, List, NamedTuple, Set

from ground import until

PROC = pathlib.Path("/proc")


class Process(NamedTuple):
    pid: int
    start: int  # with the pid: which process, for good
    parent: int
    state: str
    name: str


def processes() -> Dict[int, Process]:
    """Everything that runs, or waits to be reaped."""
    found = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # ended meanwhile
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        found[int(entry.name)] = Process(int(entry.name), int(rest[19]), int(rest[1]), rest[0], name)
    return found


def below(root: int) -> List[Process]:
    """All descendants, oldest first; without root itself."""
    everything = processes()
    inside = {root}
    # Parents may have larger numbers than their children.
    while True:
        more = {p.pid for p in everything.values() if p.parent in inside} - inside
        if not more:
            break
        inside |= more
    return sorted((everything[pid] for pid in inside if pid != root and pid in everything), key=lambda p: p.start)


def child(root: int, name: str) -> int:
    """The oldest descendant with this process name."""
    return next(p.pid for p in below(root) if p.name == name)


def _link_inodes(folder: pathlib.Path) -> Iterator[int]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("net:["):
            yield int(target[5:-1])


def networks(pids: Set[int]) -> Set[int]:
    """Inodes of the network namespaces that these processes are in, or hold by a descriptor."""
    found: Set[int] = set()
    for pid in pids:
        try:
            found.add(int(os.readlink(f"/proc/{pid}/ns/net")[5:-1]))
        except OSError:
            continue
        found.update(_link_inodes(PROC / str(pid) / "fd"))
    return found


def cgroups(keeper: int) -> List[str]:
    """Folders of this server's control groups, in every hierarchy."""
    found = []
    for folder, names, _files in os.walk("/sys/fs/cgroup"):
        for name in names:
            if name.startswith(f"declaw-{keeper}-"):
                top = os.path.join(folder, name)
                found += [top, *(os.path.join(top, below) for below in _folders(top))]
        names[:] = [name for name in names if not name.startswith("declaw-")]
    return found


def _folders(path: str) -> List[str]:
    try:
        return [entry.name for entry in os.scandir(path) if entry.is_dir()]
    except OSError:
        return []


def host_links() -> Set[str]:
    return set(os.listdir("/sys/class/net"))


def _descriptors(pid: int) -> int:
    """How many; without connections of TCP, which clients keep as long as they like."""
    connections = {f"socket:[{line.split()[9]}]" for name in ("tcp", "tcp6")
                   for line in (PROC / str(pid) / "net" / name).read_text().splitlines()[1:]}
    n = 0
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            n += os.readlink(entry) not in connections
        except OSError:
            pass  # closed meanwhile
    return n


class Counts(NamedTuple):
    """How much there is of everything that a sandbox adds to."""

    processes: int
    cgroups: int
    gate_links: int
    networks: int
    files: int  # descriptors of daemon, keeper, builder and gate


class Traces:
    """Made while the server lives; `note` before it ends."""

    def __init__(self, server: Any, uplink: str) -> None:
        self.pid = server.pid
        self.data = str(server.data)
        self.keeper = child(self.pid, "declaw-keeper")
        self.builder = child(self.keeper, "declaw-builder")
        self._foreign = {os.stat("/proc/self/ns/net").st_ino, os.stat(f"/run/netns/{uplink}").st_ino}
        self._links = host_links()
        self._processes: Set[Process] = set()
        self._networks: Set[int] = set()
        self._noted = 0
        self.note()

    def gate(self) -> int:
        return child(self.pid, "declaw-gate")

    def note(self) -> None:
        """Remembers what there is now, so that `left` knows it again when nothing leads to it any more."""
        everything = processes()
        mine = [everything[self.pid]] if self.pid in everything else []
        mine += below(self.pid) + below(self.keeper)
        self._processes.update(mine)
        self._networks |= networks({p.pid for p in mine}) - self._foreign
        self._noted = max(p.start for p in everything.values())

    def gate_links(self) -> List[str]:
        """Sandboxes' links in the gate's namespace."""
        try:
            lines = (PROC / str(self.builder) / "net" / "dev").read_text().splitlines()[2:]
        except OSError:
            return []
        names = [line.split(":")[0].strip() for line in lines]
        return [name for name in names if name[:1] == "g" and name[1:].isdigit()]

    def counts(self) -> Counts:
        self.note()
        mine = below(self.pid)
        files = sum(_descriptors(pid) for pid in (self.pid, self.keeper, self.builder, self.gate()))
        here = networks({p.pid for p in mine} | {self.pid}) - self._foreign
        return Counts(len(mine), len(cgroups(self.keeper)), len(self.gate_links()), len(here), files)

    def settle(self, slots: int, seconds: float = 30) -> Counts:
        """Waits until there are exactly so many slots, parked or alive, with nothing on its way; returns the counts."""

        def state() -> Any:
            everything = below(self.pid)
            children = [p for p in everything if p.parent == self.keeper and p.pid != self.builder]
            groups = cgroups(self.keeper)
            trees = len([path for path in groups if os.path.basename(path).startswith("declaw-")])
            return (len(children), len(self.gate_links()), (len(groups) - trees) / trees), len(everything)

        def look() -> Any:
            found = state()
            counted = self.counts() if found[0] == (slots, slots, slots) else None
            # A slot that can not be made is tried again and again: what was counted is good only between two tries.
            between = counted and state() == found and (counted.gate_links, counted.processes) == (slots, found[1])
            return counted if between else None

        return until(look, seconds, lambda counted: counted is not None)

    def left(self) -> List[str]:
        """What is left of all that was noted. For after the server's end."""
        now = processes()
        left = []
        for p in self._processes:
            same = now.get(p.pid)
            # Who waits for an ended process is not the server's business once the server has ended.
            if same and same.start == p.start and same.state not in "ZX":
                left.append(f"process {same}")
        for pid, p in now.items():
            try:
                if self.data.encode() in (PROC / str(pid) / "cmdline").read_bytes() and p.state not in "ZX":
                    left.append(f"process {p}")
            except OSError:
                continue
        # The kernel gives a number again at once, so a younger process in "the same" namespace is in another one.
        old = {p.pid for p in now.values() if p.start <= self._noted}
        left += [f"network namespace {i} in use" for i in sorted(self._networks & networks(old))]
        left += [f"control group {path}" for path in cgroups(self.keeper)]
        left += [f"mount {line}" for line in (PROC / "self" / "mountinfo").read_text().splitlines() if self.data in line]
        return left + [f"link {name}" for name in sorted(host_links() - self._links)]
