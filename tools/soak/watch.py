# SPDX-License-Identifier: Apache-2.0
"""Memory, descriptors and threads of the server's processes over time."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    rss_kib: int
    fds: int
    threads: int


@dataclass(frozen=True)
class Row:
    """All processes at one moment; seconds since the watch began."""

    seconds: float
    by_process: Dict[str, Sample]


def _status(pid: int) -> Dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}


def _children(pid: int) -> List[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def _sample(pid: int) -> Sample:
    status = _status(pid)
    return Sample(int(status["VmRSS"].split()[0]), len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]))


def fit(points: List[Tuple[float, float]]) -> Tuple[float, float]:
    """The straight line of least squares: (slope, value at 0). Flat through fewer than two points."""
    n = len(points)
    if n < 2:
        return 0.0, points[0][1] if points else 0.0
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mx) ** 2 for x, _ in points)
    slope = sum((x - mx) * (y - my) for x, y in points) / spread if spread else 0.0
    return slope, my - slope * mx


def kinds(pid: int) -> Dict[str, int]:
    """How many descriptors of each kind ("socket", "pipe", "anon_inode:[eventpoll]", a path) a process has."""
    count: Dict[str, int] = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            what = os.readlink(fd)
        except FileNotFoundError:
            continue  # closed meanwhile
        what = what if what.startswith(("/", "anon_inode:")) else what.partition(":")[0]
        count[what] = count.get(what, 0) + 1
    return count


class Watch:
    """declawd, the keeper (its child that is no gate) and the gate.

    A gate that died and was started again would look like one that does not grow: a process that changes is an error.
    """

    def __init__(self, daemon: int) -> None:
        self._began = time.monotonic()
        self.pids = {"declawd": daemon}
        for pid in _children(daemon):
            self.pids["gate" if "gate" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0].rpartition("/")[2] else "keeper"] = pid
        assert set(self.pids) == {"declawd", "keeper", "gate"}, self.pids
        self.names = list(self.pids)
        self.rows: List[Row] = []

    def look(self) -> Row:
        """Now. Raises FileNotFoundError when a process has ended."""
        return Row(time.monotonic() - self._began, {name: _sample(pid) for name, pid in self.pids.items()})

    def sample(self) -> None:
        self.rows.append(self.look())

    def settled(self, seconds: float, like: Optional[Row] = None) -> Row:
        """The state when descriptors have stopped changing for 2 s, or are no more than in `like`; at most after `seconds`."""
        deadline = time.monotonic() + seconds
        last, since = self.look(), time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < 2:
            time.sleep(0.2)
            now = self.look()
            same = all(now.by_process[n].fds == last.by_process[n].fds for n in self.names)
            back = like is None or all(now.by_process[n].fds <= like.by_process[n].fds for n in self.names)
            if not same or not back:
                since = time.monotonic()
            last = now
        return last

    def curve(self, name: str, what: str) -> List[Tuple[float, float]]:
        return [(row.seconds, float(getattr(row.by_process[name], what))) for row in self.rows]

    def growth(self, name: str, what: str, warm: float) -> float:
        """What the fitted line rises from `warm` seconds after the first sample to the last sample."""
        first = self.rows[0].seconds if self.rows else 0.0
        points = [p for p in self.curve(name, what) if p[0] - first >= warm]
        return fit(points)[0] * (points[-1][0] - points[0][0]) if points else 0.0

    @staticmethod
    def missing(runs: Mapping[str, Mapping[str, int]], wanted: List[Any]) -> List[str]:
        """Cases of which no run, allowed or refused, was seen."""
        return [f"{key} ({what})" for key in wanted for what in ("allowed", "refused") if not runs.get(key, {}).get(what)]
