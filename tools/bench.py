"""`make bench`: what a user waits for, measured on this machine, beside the project's targets.

Every latency is taken twice: back to back, and with 100 ms between the iterations, because what waits for the kernel shows only on an
idle machine. Nothing is trimmed. Targets are printed, never asserted. Everything happens in the hermetic internet of tests/lab.
"""
import argparse
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any, Dict, List

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "sdk" / "python"), str(ROOT / "tests"), str(ROOT / "tools")]

from bench import attach, changes, connect, datagrams, life  # noqa: E402
from bench.numbers import Plan, Row, show  # noqa: E402
from lab import Lab  # noqa: E402

FULL = Plan(lives=60, lives_gapped=50, commands=300, commands_gapped=60, connects=300, connects_gapped=100, attaches=60,
            attaches_gapped=20, policies=12, policies_gapped=8, queries=12_000, datagrams=12_000, changes=15)
QUICK = Plan(lives=20, lives_gapped=10, commands=60, commands_gapped=12, connects=120, connects_gapped=10, attaches=20,
             attaches_gapped=5, policies=4, policies_gapped=3, queries=3_000, datagrams=3_000, changes=5)


def load() -> List[float]:
    return list(os.getloadavg())


def measure(build: pathlib.Path, plan: Plan) -> Dict[str, Any]:
    rows: List[Row] = []
    before = load()
    with Lab() as lab, lab.declawd(build) as server:
        rows += life.run(server, plan)
        rows += connect.run(lab, server, plan)
        policies = attach.Policies(server)
        rows += attach.whole_creates(policies, plan)
        images = attach.images(policies)
        rows += changes.run(server, plan)
        flows = attach.image_of(server, datagrams.network())
    rows += attach.at_the_gate(build, images, plan)
    rows += datagrams.run(build, flows, plan)
    return {
        "machine": {"kernel": platform.release(), "cpus": os.cpu_count(), "load_before": before, "load_after": load()},
        "build": str(build),
        "rows": [row.as_dict() for row in rows],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build", help="the build folder, below the repository or absolute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, and of the samples")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("the bench makes namespaces: run it as root", file=sys.stderr)
        return 2
    started = time.monotonic()
    result = measure(ROOT / args.build, QUICK if args.quick else FULL)
    print(f"bench: {time.monotonic() - started:.0f} s", file=sys.stderr)
    if args.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
