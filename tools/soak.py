"""`make soak TIME=3600`: every real client at once, in several sandboxes, again and again, while policies change.

What must hold: no client that its policy allows fails; none that it does not allow gets through, and the far side never sees
one; when the last sandbox is gone, declawd, its keeper and the gate have no more descriptors of any kind open than at the start;
and their memory does not grow once warm (a straight line through the samples rises less than GROWTH_KIB). Everything happens in
the hermetic internet of tests/lab and the servers of tests/clients.

Prints progress and a summary; writes the curves to docs/soak.svg and the numbers to BUILD/soak.json.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import sys
import threading
import time
from typing import Any, Dict, List, Optional

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "sdk" / "python"), str(ROOT / "tests"), str(ROOT / "tests" / "clients"), str(ROOT / "tools")]

from soak import chart, watch  # noqa: E402

SAMPLE_SECONDS = 10.0
#: What the fitted line of a process may rise over the measured time: an allocator's slack. In an hour a leak of 300 bytes in
#: each run of a client is more.
GROWTH_KIB = 4096.0
#: A process's memory settles while its tables and caches fill for the first time.
WARM_UP_MOST, WARM_UP_PART = 600.0, 0.15
#: Pipes that the gate keeps for its next flows (POOL_MAX of src/gate/relay.c); they are no leak.
GATE_SPARE_PIPES = 64
_QUIET_SECONDS = 20.0


class Score:
    """What happened so far. Threads share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: Dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.faults: List[Dict[str, Any]] = []

    def count(self, key: str, what: str) -> None:
        with self.lock:
            self.runs[key][what] += 1

    def fault(self, key: str, what: str, detail: str) -> None:
        with self.lock:
            self.runs[key][what] += 1
            self.faults.append({"case": key, "what": what, "time": time.strftime("%H:%M:%S"), "detail": detail[-3000:]})
        print(f"FAULT {key}: {what}\n{detail[-3000:]}", flush=True)

    def total(self, what: str) -> int:
        with self.lock:
            return sum(c[what] for c in self.runs.values())


class Pen:
    """One sandbox after the other: runners use its clients while a herder changes its policy around them.

    A case that runs is not revoked: `busy` has one lock for each. Everything else may change under the running ones.
    """

    def __init__(self, number: int, ground: Any, cases: List[Any], score: Score, end: float, runners: int, life: float) -> None:
        self.number, self.ground, self.cases, self.score, self.end, self.life = number, ground, cases, score, end, life
        locks: Dict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        self.busy = {case.key: locks[case.client if case.user == "root" else case.key] for case in cases}  # apt: one state for all
        self.browser = threading.Lock()  # two browsers do not fit one sandbox's memory
        self.threads: List[threading.Thread] = []
        self.runners = runners

    def over(self) -> bool:
        return time.monotonic() > self.end

    def live(self) -> None:
        while not self.over():
            try:
                self._one_life()
            except Exception as e:  # counted as what it is; the next life may do better
                self.score.fault("sandbox", "error", f"{type(e).__name__}: {e}")
                time.sleep(1)

    def _one_life(self) -> None:
        rules = self._rules()
        self.box = self._box(rules)
        until = min(self.end, time.monotonic() + self.life)
        try:
            threads = [threading.Thread(target=self._guarded, args=[self._runner, until]) for _ in range(self.runners)]
            threads.append(threading.Thread(target=self._guarded, args=[self._herder, until]))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self.box.kill()
        self.score.count("sandbox", "lives")

    def _box(self, rules: Dict[str, Any]) -> Any:
        from runner import Box
        box = Box(self.ground, self.cases, rules)
        box.hosts(self._hosts())
        return box

    def _hosts(self) -> str:
        """Wrong names on the allowed addresses; in every other sandbox also the addresses of names that no policy has."""
        from cases import PLACES
        from places import FAR, RIVAL
        lines = [f"{PLACES[c.key].own4} {host}\n" for c in self.cases if c.neighbour for host in c.hosts(RIVAL)]
        if self.number % 2:
            lines += [f"{PLACES[c.key].far4} {host}\n" for c in self.cases for host in c.hosts(FAR)]
        return "".join(lines)

    def _rules(self, without: Optional[Any] = None) -> Dict[str, Any]:
        """All cases' entries but one's, among others that come and go, in any order."""
        entries = [e for c in self.cases if c is not without for e in c.allow()]
        entries += [f"n{random.randrange(10**6)}.other.test" for _ in range(random.randrange(40))]
        random.shuffle(entries)
        return {"allow_out": entries, "blocked": "reject"}

    def _guarded(self, work: Any, until: float) -> None:
        try:
            work(until)
        except Exception as e:
            self.score.fault("sandbox", "error", f"{work.__name__}: {type(e).__name__}: {e}")

    # -- runners

    def _runner(self, until: float) -> None:
        todo: List[Any] = []
        while time.monotonic() < until:
            if not todo:
                todo = random.sample(self.cases, len(self.cases))
            case = todo.pop()
            if not self.busy[case.key].acquire(blocking=False):
                continue
            try:
                self._turn(case)
            finally:
                self.busy[case.key].release()

    def _turn(self, case: Any) -> None:
        from places import FAR, FARM, RIVAL
        self._must_work(case, FARM)
        self._must_fail(case, RIVAL if case.neighbour and random.random() < 0.5 else FAR, "leaked")

    def _run(self, case: Any, domain: str, give_up: Optional[float] = None) -> Any:
        if not case.key.startswith("chromium"):
            return self.box.run(case, domain, give_up)
        with self.browser:
            return self.box.run(case, domain, give_up)

    def _must_work(self, case: Any, domain: str) -> None:
        from cases import PLACES
        ran = self._run(case, domain)
        try:
            assert ran.code == 0, f"exit {ran.code} after {ran.seconds:.1f} s\n{ran.out[-1000:]}\n{ran.err[-1000:]}"
            case.check(ran.out, self.ground.farm, PLACES[case.key])
            self.score.count(case.key, "allowed")
        except AssertionError as e:
            denied = [d for d in self.box.sbx.network_log(limit=300, verdict="deny") if d.get("name") in case.hosts(domain)]
            self.score.fault(case.key, "failed", f"{e}\n{json.dumps(denied[-3:])}")

    def _must_fail(self, case: Any, domain: str, what: str) -> None:
        ran = self._run(case, domain, give_up=15)
        if ran.code == 0:
            self.score.fault(case.key, what, ran.out)
        else:
            self.score.count(case.key, "refused")

    # -- the herder

    def _herder(self, until: float) -> None:
        """Keeps all rules in a new policy; then takes one case's away, sees that it is, and gives it back."""
        from places import FARM
        while time.monotonic() < until:
            self.box.sbx.set_network(self._rules())
            self.score.count("policy", "kept")
            time.sleep(random.uniform(0.2, 2))
            case = random.choice(self.cases)
            with self.busy[case.key]:
                self.box.sbx.set_network(self._rules(without=case))
                self._must_fail(case, FARM, "revoked, but works")
                self.box.sbx.set_network(self._rules())
                self._must_work(case, FARM)
                self.score.count("policy", "revoked")


class Soak:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.score = Score()
        self.strays: List[str] = []
        self.left: List[str] = []
        self.seen = 0

    def run(self) -> int:
        from cases import CASES
        from runner import Ground
        cases = [c for c in CASES if not self.args.only or c.key in self.args.only.split(",")]
        with Ground() as ground:
            self.ground = ground
            watcher = watch.Watch(ground.daemon.pid)
            self._first_life(cases)
            start = watcher.settled(_QUIET_SECONDS)
            open_at_start = {name: watch.kinds(pid) for name, pid in watcher.pids.items()}
            began = time.monotonic()
            end = began + self.args.time
            pens = [Pen(i, ground, cases, self.score, end, self.args.runners, self.args.life) for i in range(self.args.sandboxes)]
            threads = [threading.Thread(target=pen.live) for pen in pens]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(min(SAMPLE_SECONDS, max(0.1, end - time.monotonic())) if time.monotonic() < end else 0.5)
                if time.monotonic() < end:
                    watcher.sample()
                    self._look()
                    self._progress(watcher, time.monotonic() - began)
            for thread in threads:
                thread.join()
            self._look()
            last = watcher.settled(_QUIET_SECONDS, like=start)
            self._left_open(watcher, open_at_start)
            return self._judge(watcher, start, last, [case.key for case in cases])

    def _left_open(self, watcher: "watch.Watch", start: Dict[str, Dict[str, int]]) -> None:
        for name, pid in watcher.pids.items():
            for kind, n in watch.kinds(pid).items():
                before = start[name].get(kind, 0)
                spare = GATE_SPARE_PIPES * 2 if (name, kind) == ("gate", "pipe") else 0
                if n > before + spare:
                    self.left.append(f"{name}: {n} descriptors of {kind}, {before} at the start")

    def _first_life(self, cases: List[Any]) -> None:
        """What a process opens once and keeps (a database's second file) is no leak."""
        from runner import Box
        box = Box(self.ground, cases[:1], {"allow_out": cases[0].allow()})
        box.run(cases[0], "farm.test")
        box.sbx.network_log()
        box.kill()

    def _look(self) -> None:
        """What the far side saw of what no policy ever had; then its logs are emptied."""
        from cases import CASES, PLACES
        from places import FAR, RIVAL
        lab = self.ground.lab
        far = [a for p in PLACES.values() for a in p.far]
        self.strays += [f"packet to {p.dst}:{p.dport}/{p.proto}" for p in lab.capture.packets(dst=far, outgoing=True)]
        for domain in (FAR, RIVAL):
            self.strays += [f"query {q.qname}" for q in lab.dns.queries(domain)]
            self.strays += [f"request to {h}" for c in CASES for h in c.hosts(domain) if self.ground.farm.access(h)]
        lab.capture.clear()
        lab.dns.clear()
        lab.web.clear()

    def _progress(self, watcher: "watch.Watch", seconds: float) -> None:
        done = {w: self.score.total(w) for w in ("allowed", "refused", "failed", "leaked", "kept", "revoked", "lives")}
        now = " ".join(f"{name} {s.rss_kib} KiB {s.fds} fds {s.threads} thr" for name, s in watcher.rows[-1].by_process.items())
        print(f"{seconds:5.0f} s  " + " ".join(f"{k} {v}" for k, v in done.items()) + f" strays {len(self.strays)}  |  {now}", flush=True)

    def _judge(self, watcher: "watch.Watch", start: Any, last: Any, cases: List[str]) -> int:
        warm = min(WARM_UP_MOST, WARM_UP_PART * self.args.time)
        growth = {name: watcher.growth(name, "rss_kib", warm) for name in watcher.names}
        wrong = [f"{f['case']}: {f['what']}" for f in self.score.faults]
        wrong += [f"the far side saw: {s}" for s in self.strays[:20]]
        wrong += [f"{n}: fitted memory grew {g:.0f} KiB (bound {GROWTH_KIB:.0f})" for n, g in growth.items() if g > GROWTH_KIB]
        wrong += self.left
        wrong += [f"never seen: {c}" for c in watcher.missing(self.score.runs, cases)]
        chart.write(pathlib.Path(self.args.svg), watcher, warm)
        summary = {"seconds": self.args.time, "sandboxes": self.args.sandboxes, "runners": self.args.runners, "warm_up_s": warm,
                   "runs": {k: dict(v) for k, v in sorted(self.score.runs.items())}, "faults": self.score.faults,
                   "strays": self.strays[:100], "growth_kib": growth, "growth_bound_kib": GROWTH_KIB,
                   "fds": {n: [start.by_process[n].fds, last.by_process[n].fds] for n in watcher.names},
                   "rss_kib": {n: [start.by_process[n].rss_kib, last.by_process[n].rss_kib] for n in watcher.names}, "wrong": wrong}
        pathlib.Path(self.args.json).write_text(json.dumps(summary, indent=1) + "\n")
        self._summary(summary, watcher)
        return 1 if wrong else 0

    def _summary(self, s: Dict[str, Any], watcher: "watch.Watch") -> None:
        print(f"\n{'case':14s} allowed refused failed leaked")
        for key, runs in s["runs"].items():
            if key not in ("policy", "sandbox"):
                print(f"{key:14s} {runs.get('allowed', 0):7d} {runs.get('refused', 0):7d} {runs.get('failed', 0):6d} {runs.get('leaked', 0):6d}")
        print(f"policies: {s['runs'].get('policy', {})}; sandboxes: {s['runs'].get('sandbox', {})}")
        for name in watcher.names:
            print(f"{name:12s} memory after {s['warm_up_s']:.0f} s grew {s['growth_kib'][name]:+.0f} KiB by the fitted line; "
                  f"descriptors {s['fds'][name][0]} at the start, {s['fds'][name][1]} at the end")
        print("\n".join(["soak: " + ("clean" if not s["wrong"] else "NOT clean"), *s["wrong"]]), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build-test", help="the build folder, below the repository")
    parser.add_argument("--time", type=float, default=3600, help="seconds")
    parser.add_argument("--sandboxes", type=int, default=3)
    parser.add_argument("--runners", type=int, default=2, help="clients at one time in each sandbox, besides the one whose rules change")
    parser.add_argument("--life", type=float, default=120, help="seconds after which a sandbox is replaced")
    parser.add_argument("--only", help="keys of cases, separated by commas")
    parser.add_argument("--svg", default=str(ROOT / "docs" / "soak.svg"))
    parser.add_argument("--json", help="where the numbers go; default BUILD/soak.json")
    args = parser.parse_args()
    args.json = args.json or str(ROOT / args.build / "soak.json")
    os.environ["DECLAW_BUILD"] = args.build
    os.environ["DECLAW_SDK_CONNECTIONS"] = "0"  # connections that the SDK keeps would look like declawd's
    if os.geteuid() != 0:
        print("the soak makes namespaces: run it as root", file=sys.stderr)
        return 2
    return Soak(args).run()


if __name__ == "__main__":
    sys.exit(main())
