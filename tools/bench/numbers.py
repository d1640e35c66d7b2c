"""Samples, their spread, and how they are shown. All times are in milliseconds."""
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence

GAP_SECONDS = 0.1
BACK_TO_BACK, GAPPED = "back to back", "100 ms gaps"


@dataclass
class Plan:
    """How many samples of each."""

    lives: int
    lives_gapped: int
    commands: int
    commands_gapped: int
    connects: int
    connects_gapped: int
    attaches: int
    attaches_gapped: int
    policies: int
    policies_gapped: int
    queries: int
    datagrams: int
    changes: int


@dataclass
class Row:
    """One number's samples; or, without samples, one value made of others."""

    name: str
    mode: str
    samples: Sequence[float] = ()
    value: Optional[float] = None
    unit: str = "ms"
    target: Optional[float] = None

    def percentile(self, share: float) -> float:
        """The smallest sample that so many are not above: no interpolation, so that p99 of few is their largest."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]

    def headline(self) -> float:
        return self.value if self.value is not None else statistics.median(self.samples)

    def met(self) -> Optional[bool]:
        return None if self.target is None else self.headline() <= self.target

    def as_dict(self) -> Dict[str, Any]:
        row: Dict[str, Any] = {"name": self.name, "mode": self.mode, "unit": self.unit, "value": round(self.headline(), 4)}
        if self.samples:
            row.update(n=len(self.samples), p50=round(statistics.median(self.samples), 4), p90=round(self.percentile(0.9), 4),
                       p99=round(self.percentile(0.99), 4), max=round(max(self.samples), 4))
        if self.target is not None:
            row.update(target=self.target, met=self.met())
        return row


def say(text: str) -> None:
    """Progress, so that a user sees it working."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def pause(gap: bool) -> None:
    if gap:
        time.sleep(GAP_SECONDS)


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds that work takes."""
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)


def modes(back_to_back: int, gapped: int) -> List[Any]:
    """(name, with gaps, how many)."""
    return [(BACK_TO_BACK, False, back_to_back), (GAPPED, True, gapped)]


def show(result: Dict[str, Any]) -> None:
    machine = result["machine"]
    print(f"Linux {machine['kernel']}, {machine['cpus']} CPUs, load {machine['load_before'][0]:.2f} before and "
          f"{machine['load_after'][0]:.2f} after; {result['build']}; creates find a slot made ahead")
    print(f"{'':46} {'':13} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8} {'n':>5}")
    for row in result["rows"]:
        line = f"{row['name']:46} {row['mode']:13} "
        if "n" in row:
            line += " ".join(f"{row[k]:8.3f}" for k in ("p50", "p90", "p99", "max")) + f" {row['n']:5}"
        else:
            line += f"{row['value']:8.3f} {row['unit']:35}"
        if "target" in row:
            line += f"  target {row['target']:g} {row['unit']}: {'ok' if row['met'] else 'missed'}"
        print(line.rstrip())
