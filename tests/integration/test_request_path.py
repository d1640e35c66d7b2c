# SPDX-License-Identifier: Apache-2.0
"""Nothing that waits for the kernel happens between a request and its answer.

Moving a process between control groups, mounting cgroup2, deleting a link, deleting from nftables: each costs 10 to 20 ms on an
idle host, and none is to be seen in a benchmark without pauses. So this looks at the system calls themselves.
"""
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest
from ground import SLOW, until
from traces import below

ROUNDS = 6
GAP_SECONDS = 0.15  # longer than the kernel remembers that somebody has waited lately
POOL = 4
CALLS = ("write,writev,pwrite64,mount,umount2,fsopen,fsmount,move_mount,sendto,sendmsg,execve,execveat,openat,clone,clone3,"
         "unshare,pivot_root,seccomp,ioctl")


class Call(NamedTuple):
    pid: int
    at: float  # CLOCK_REALTIME, as strace has it
    text: str


def parse(path: Path) -> List[Call]:
    """The calls of a log; one that another process's line interrupted counts where it began."""
    calls = []
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"(\d+)\s+(\d+\.\d+) (.*)", line)
        if match and not match.group(3).startswith(("<... ", "+++", "---")):
            calls.append(Call(int(match.group(1)), float(match.group(2)), match.group(3)))
    return calls


def netlink_types(text: str) -> List[int]:
    """Message types of a netlink send. strace does not know the namespace of the socket, so it may print bare numbers."""
    names = {"RTM_NEWLINK": 16, "RTM_DELLINK": 17}
    found = [int(x, 0) for x in re.findall(r"nlmsg_type=(0x[0-9a-f]+|\d+)", text)]
    found += [number for name, number in names.items() if f"nlmsg_type={name}" in text]
    for family, message in re.findall(r"nlmsg_type=NFNL_SUBSYS_(\w+)<<8\|(\w+)", text):
        found.append(0xa00 | (2 if "DEL" in message else 0) if family == "NFTABLES" else 0)
    return found


# nf_tables messages that delete: table, chain, rule, set, element, object, flowtable, and their DESTROY kin.
NFT_DELETES = {0xa00 | n for n in (2, 5, 8, 11, 14, 20, 24, 26, 27, 28, 29, 30, 31, 32)}


def slow(call: Call) -> Optional[str]:
    """Which of the waits this call is; None for any other."""
    name = call.text.split("(", 1)[0]
    if name.startswith(("write", "pwrite")) and re.match(r"\w+\(\d+<[^>]*/cgroup\.procs>", call.text):
        return "write to cgroup.procs"
    if name in ("mount", "fsopen") and '"cgroup' in call.text:
        return "mount of a cgroup file system"
    if name.startswith("send"):
        types = set(netlink_types(call.text))
        if 17 in types:
            return "RTM_DELLINK"
        if types & NFT_DELETES:
            return "nftables delete"
    if name == "execve" and re.search(r'"[^"]*/(ip|nft|tc|iptables|bridge)"', call.text):
        return "start of a network tool"
    return None


class Strace:
    """Follows processes, and what they start, while the block runs."""

    def __init__(self, pids: List[int], *options: str) -> None:
        self.argv = ["strace", "-f", "-y", *options, *(x for pid in pids for x in ("-p", str(pid)))]
        self.wanted = len(pids)
        self.said = ""

    def __enter__(self) -> "Strace":
        self.process = subprocess.Popen(self.argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self.process.stderr
        deadline = time.monotonic() + 10 * SLOW
        while len(re.findall(r" attached", self.said)) < self.wanted:
            ready = select.select([self.process.stderr], [], [], max(0, deadline - time.monotonic()))[0]
            data = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert data, f"strace did not attach: {self.said}"
            self.said += data.decode()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)  # detaches; the server runs on
        _out, err = self.process.communicate(timeout=20 * SLOW)
        self.said += err.decode()


def everybody(traces: Any, server: Any) -> Dict[str, Set[int]]:
    """Who does what now. Parked processes become sandboxes when asked: they are on the path."""
    family = below(traces.keeper)
    return {
        "path": {server.pid, traces.keeper, traces.gate()} | {p.pid for p in family if p.parent == traces.keeper} - {traces.builder},
        "builder": {traces.builder},
    }


Window = Tuple[str, float, float]


def requests(traces: Any, server: Any, api: Any, rounds: int) -> Iterator[Tuple[Window, Set[int]]]:
    """Creates, commands and kills with gaps; what was asked when, and which processes were there before."""
    for _ in range(rounds):
        traces.settle(POOL)
        time.sleep(GAP_SECONDS)
        there = everybody(traces, server)["path"]
        begun = time.time()
        sbx = api.sandbox(template="python", network={"allow_out": ["one.allowed.test"]})
        yield ("create", begun, time.time()), there
        time.sleep(GAP_SECONDS)
        there = everybody(traces, server)["path"]
        begun = time.time()
        assert sbx.commands.run("true").exit_code == 0
        yield ("command", begun, time.time()), there
        time.sleep(GAP_SECONDS)
        there = everybody(traces, server)["path"]
        begun = time.time()
        sbx.kill(wait=True)
        yield ("kill", begun, time.time()), there


def test_request_path(watched: Callable[..., Any], tmp_path: Path) -> None:
    server, traces, api = watched()
    api.sandbox().kill(wait=True)
    traces.settle(POOL)
    log = tmp_path / "strace"
    roles = everybody(traces, server)
    pids = sorted(roles["path"] | roles["builder"])
    with Strace(pids, "-ttt", "-s", "256", "-e", f"trace={CALLS}", "-o", str(log)):
        seen = list(requests(traces, server, api, ROUNDS))
        traces.settle(POOL)
    calls = parse(log)
    tasks = {server.pid: server.pid}
    tasks.update({int(t): server.pid for t in os.listdir(f"/proc/{server.pid}/task")})
    bad, counts = [], {"create": [], "command": [], "kill": []}  # type: List[str], Dict[str, List[int]]
    for (kind, begun, ended), there in seen:
        inside = [c for c in calls if begun <= c.at <= ended]
        # Who becomes the sandbox within the request is waited for, also where it was made for this request.
        there |= {c.pid for c in inside if c.text.startswith("execveat(") and "declaw-agent" in c.text}
        on_path = [c for c in inside if tasks.get(c.pid, c.pid) in there]
        assert on_path, "the log holds nothing of the request"
        counts[kind].append(len(on_path))
        bad += [f"{kind}: {slow(c)}: {c.pid} {c.text}" for c in on_path if slow(c)]
    assert bad == []
    # Off the path only making ahead may wait; deleting is what namespaces do as they die, so nobody deletes anything.
    behind = [slow(c) for c in calls if slow(c)]
    print("calls looked at per request:", {k: sorted(v) for k, v in counts.items()})
    print("slow calls behind the requests:", {what: behind.count(what) for what in set(behind)})
    assert set(behind) <= {"write to cgroup.procs"}
    assert any('execveat(' in c.text and "declaw-agent" in c.text for c in calls), "no sandbox was seen as it started"
    assert any(16 in netlink_types(c.text) for c in calls), "no link was seen as it was made"
    started = {c.text.split(",")[0] for c in calls if c.text.startswith("execve(")}
    assert started <= {'execve("/bin/bash"', 'execve("/usr/bin/bash"', 'execve("/usr/bin/true"', 'execve("/bin/sh"'}, started


def test_summary(watched: Callable[..., Any]) -> None:
    """Counts of system calls, for the eye and for comparison: strace -c over creates, commands and kills."""
    server, traces, api = watched()
    traces.settle(POOL)
    with Strace([server.pid, traces.keeper], "-c", "-S", "calls") as strace:
        for _ in requests(traces, server, api, 3):
            pass
    table = [line for line in strace.said.splitlines() if "attached" not in line and "detached" not in line]
    print("3 creates, commands and kills, daemon and keeper:\n" + "\n".join(table[:40]))
    assert any(line.split()[-1:] == ["total"] for line in table)


CONTROL = """
import os, socket, struct, subprocess, sys
def send(protocol, kind, payload):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    s.sendto(struct.pack("=IHHII", 16 + len(payload), kind, 5, 1, 0) + payload, (0, 0))
    s.recv(4096)
sys.stdin.readline()
# Its own group again: a write that changes nothing.
path = [l.split(":")[2].strip() for l in open("/proc/self/cgroup") if l.startswith("0::")][0]
base = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
with open(base + path + "/cgroup.procs", "w") as f:
    f.write("0")
send(0, 17, struct.pack("=BxHiII", 0, 0, 0x7ffffff, 0, 0))
send(12, 0xa02, struct.pack("=BBH", 2, 0, 0))
subprocess.run(["/usr/sbin/ip" if os.path.exists("/usr/sbin/ip") else "/sbin/ip", "-V"], stdout=subprocess.DEVNULL)
"""


def test_the_look_sees_what_it_looks_for(tmp_path: Path) -> None:
    """The control arm: a process that does each of these things (to nothing that exists) is found out."""
    victim = subprocess.Popen(["unshare", "--net", sys.executable, "-c", CONTROL], stdin=subprocess.PIPE)
    assert victim.stdin
    until(lambda: b"readline" in Path(f"/proc/{victim.pid}/cmdline").read_bytes() and
          os.readlink(f"/proc/{victim.pid}/exe").endswith(os.path.basename(os.path.realpath(sys.executable))), 5)
    log = tmp_path / "strace"
    with Strace([victim.pid], "-ttt", "-s", "256", "-e", f"trace={CALLS}", "-o", str(log)):
        victim.stdin.write(b"\n")
        victim.stdin.close()
        assert victim.wait(20) == 0
    found = {slow(c) for c in parse(log)} - {None}
    assert found == {"write to cgroup.procs", "RTM_DELLINK", "nftables delete", "start of a network tool"}


if not os.path.exists("/usr/bin/strace"):
    pytestmark = pytest.mark.skip(reason="needs strace")
