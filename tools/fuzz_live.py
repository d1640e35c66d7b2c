# SPDX-License-Identifier: Apache-2.0
"""Malformed everything from inside a sandbox, live, through the whole server with sanitizers: tests/bad/test_storm.py at length.

    tools/fuzz_live.py [--time SECONDS] [--seed N] [--build DIR]

The seed is random and printed; the same seed does the same again. A failed check or a sanitizer's word is a failure.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from run_tests import PYTHON, SANITIZED, sanitizer_environment, sanitizer_failures  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzes a live server from inside a sandbox; needs root.")
    parser.add_argument("--time", type=int, default=600, help="seconds (600)")
    parser.add_argument("--seed", type=int, default=None, help="repeats an earlier run")
    parser.add_argument("--build", default=SANITIZED, help=f"folder of the build ({SANITIZED})")
    options = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    print(f"seed {seed}: make fuzz-live TIME={options.time} SEED={seed} does the same again", flush=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="declaw-fuzz-"))
    work.chmod(0o755)
    reports = work / "reports"
    reports.mkdir()
    env = dict(os.environ, DECLAW_BUILD=options.build, STORM_SECONDS=str(options.time), STORM_SEED=str(seed),
               PYTHONDONTWRITEBYTECODE="1", **sanitizer_environment(reports))
    done = subprocess.run([PYTHON, "-m", "pytest", "-q", "-s", "--tb=short", "-p", "no:cacheprovider",
                           str(ROOT / "tests" / "bad" / "test_storm.py")],
                          cwd=ROOT, env=env, timeout=options.time + 600, check=False, stdin=subprocess.DEVNULL)
    found = sanitizer_failures(reports)
    shutil.rmtree(work, ignore_errors=True)
    return 1 if done.returncode or found else 0


if __name__ == "__main__":
    sys.exit(main())
