"""Runs every suite and ends with one line: N passed, N failed, N skipped.

Unit and fuzz-corpus tests run under gcc and, again, under clang with AddressSanitizer and UBSan; the end-to-end suites
run against both builds too. What fails beside other suites is tried once more alone, and printed. A sanitizer report of any process, also of one that a test expected to end, is a failure.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
PLAIN = "build-test"
SANITIZED = "build-asan"
# (folder below tests/, runs against which builds)
SUITES = [  # the longest at the end
    ("lab", [PLAIN]),
    ("cli", [PLAIN, SANITIZED]),
    ("sdk", [PLAIN]),
    ("integration", [PLAIN, SANITIZED]),
    ("clients", [PLAIN, SANITIZED]),
    ("bad", [PLAIN, SANITIZED]),
    ("api", [PLAIN, SANITIZED]),
    ("gate", [PLAIN, SANITIZED]),
    ("egress", [PLAIN, SANITIZED]),
]
# Most of a suite's time is waiting for time-outs that have to happen, so four at a time fit two cores.
AT_ONCE = 4
SUITE_SECONDS = 1200
# Beside three other suites a test of timing may miss its time: so few failures of a suite are tried again alone, and said.
AGAIN_MAX = 4


class Totals:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.again: list[Suite] = []

    def add(self, passed: int, failed: int, skipped: int) -> None:
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped


def sanitizer_environment(reports: pathlib.Path) -> dict[str, str]:
    # The gate runs as nobody: whoever finds something must be able to write it down.
    reports.chmod(0o777)
    return {
        "ASAN_OPTIONS": f"detect_stack_use_after_return=1:strict_string_checks=1:log_path={reports}/asan",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:log_path={reports}/ubsan",
    }


def sanitizer_failures(reports: pathlib.Path) -> int:
    found = sorted(reports.iterdir())
    for report in found:
        print(f"--- sanitizer report {report.name}\n{report.read_text(errors='replace')[:6000]}", flush=True)
    return len(found)


def run_meson(build: str, totals: Totals) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [PYTHON, "/usr/bin/meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--quiet"],
        cwd=ROOT, check=False)
    passed = failed = skipped = 0
    log = ROOT / build / "meson-logs" / "testlog.json"
    for line in log.read_text().splitlines() if log.exists() else []:
        row = json.loads(line)
        output = (row.get("stdout") or "") + (row.get("stderr") or "")  # cmocka reports on stderr
        cases = re.findall(r"\[  PASSED  \] (\d+) test\(s\)", output)
        bad = re.findall(r"^\[  FAILED  \] (\d+) test\(s\)", output, re.M)
        skips = re.findall(r"^\[  SKIPPED \] (\d+) test\(s\)", output, re.M)
        skipped += sum(map(int, skips)) or (row["result"] == "SKIP")
        passed += sum(map(int, cases)) if cases else row["result"] == "OK"
        failed += max(sum(map(int, bad)), row["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"))
    if done.returncode != 0 and failed == 0:
        failed = 1
    print(f"unit and corpus tests, {build}: {passed} passed, {failed} failed, {skipped} skipped "
          f"({time.monotonic() - started:.0f} s)", flush=True)
    totals.add(passed, failed, skipped)


class Suite:
    """One folder of tests against one build, with a work folder that lives from its first run to its last."""

    def __init__(self, name: str, build: str) -> None:
        self.name, self.build = name, build
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="declaw-test-"))
        # Below a world-searchable folder, since mkdtemp's own is for root alone.
        self.work.chmod(0o755)
        self.reports = self.work / "reports"
        self.reports.mkdir()
        self.failed = 0  # in the first run

    def run(self, title: str, *options: str) -> tuple[int, int, int, str]:
        """Passed, failed and skipped, and what pytest said."""
        env = dict(os.environ, DECLAW_BUILD=self.build, PYTHONPATH=f"{ROOT}/sdk/python:{ROOT}/tests", PYTHONDONTWRITEBYTECODE="1")
        if self.build == SANITIZED:
            env.update(sanitizer_environment(self.reports))
        junit = self.work / "junit.xml"
        junit.unlink(missing_ok=True)
        command = [PYTHON, "-m", "pytest", "-q", "-rs", "--tb=short", "-o", f"cache_dir={self.work}/cache", *options,
                   f"--junitxml={junit}", str(ROOT / "tests" / self.name)]
        print(f"{title}: started", flush=True)
        try:
            done = subprocess.run(command, cwd=ROOT, env=env, timeout=SUITE_SECONDS, check=False, capture_output=True,
                                  text=True, stdin=subprocess.DEVNULL)
            returncode, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as e:
            returncode, output = 1, f"{(e.stdout or b'').decode(errors='replace')}\ntook over {SUITE_SECONDS} s"
        passed, failed, skipped = counts(junit)
        return passed, failed or int(returncode != 0), skipped, output


def counts(junit: pathlib.Path) -> tuple[int, int, int]:
    passed = failed = skipped = 0
    for row in ElementTree.parse(junit).getroot().iter("testsuite") if junit.exists() else []:
        tests, errors = int(row.get("tests", 0)), int(row.get("errors", 0))
        bad, skips = int(row.get("failures", 0)), int(row.get("skipped", 0))
        failed += errors + bad
        skipped += skips
        passed += max(tests - errors - bad - skips, 0)
    return passed, failed, skipped


def run_pytest(name: str, build: str, totals: Totals) -> None:
    if not (ROOT / "tests" / name).is_dir():
        return
    suite, title, started = Suite(name, build), f"tests/{name}, {build}", time.monotonic()
    passed, failed, skipped, output = suite.run(title)
    if failed or skipped:
        print(f"--- {title}\n{output}", flush=True)
    reported = sanitizer_failures(suite.reports)
    print(f"{title}: {passed} passed, {failed + reported} failed, {skipped} skipped ({time.monotonic() - started:.0f} s)",
          flush=True)
    if 0 < failed <= AGAIN_MAX and not reported and (suite.work / "cache").is_dir():
        suite.failed = failed
        totals.again.append(suite)
        totals.add(passed, 0, skipped)
        return
    shutil.rmtree(suite.work, ignore_errors=True)
    totals.add(passed, failed + reported, skipped)


def run_again(suite: Suite, totals: Totals) -> None:
    """What failed beside other suites, with the machine to itself. All of it has to pass; what fails twice has failed."""
    title = f"tests/{suite.name}, {suite.build}, again and alone"
    passed, failed, skipped, output = suite.run(title, "--last-failed", "--last-failed-no-failures=none")
    failed += sanitizer_failures(suite.reports)
    if passed + failed + skipped != suite.failed:
        failed = suite.failed
    print(f"--- {title}\n{output}\n{title}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    shutil.rmtree(suite.work, ignore_errors=True)
    totals.add(passed, failed, skipped)


def main() -> int:
    totals = Totals()
    if os.geteuid() != 0:
        print("the tests make namespaces: run them as root", file=sys.stderr)
        return 2
    for build in (PLAIN, SANITIZED):
        run_meson(build, totals)
    # The longest first, so that none is left running alone at the end.
    jobs = [(suite, build) for suite, builds in reversed(SUITES) for build in reversed(builds)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for job in [pool.submit(run_pytest, suite, build, totals) for suite, build in jobs]:
            job.result()
    for suite in totals.again:
        run_again(suite, totals)
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped", flush=True)
    return 1 if totals.failed or totals.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
