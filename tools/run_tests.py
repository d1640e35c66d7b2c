"""Runs every suite and ends with one line: N passed, N failed, N skipped.

Unit and fuzz-corpus tests run under gcc and, again, under clang with AddressSanitizer and UBSan; the end-to-end suites
run against both builds too. A sanitizer report of any process, also of one that a test expected to end, is a failure.
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


class Totals:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0

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


def run_pytest(suite: str, build: str, totals: Totals) -> None:
    folder = ROOT / "tests" / suite
    if not folder.is_dir():
        return
    started = time.monotonic()
    work = pathlib.Path(tempfile.mkdtemp(prefix="declaw-test-"))
    # Below a world-searchable folder, since mkdtemp's own is for root alone.
    work.chmod(0o755)
    reports = work / "reports"
    reports.mkdir()
    env = dict(os.environ, DECLAW_BUILD=build, PYTHONPATH=f"{ROOT}/sdk/python:{ROOT}/tests", PYTHONDONTWRITEBYTECODE="1")
    if build == SANITIZED:
        env.update(sanitizer_environment(reports))
    junit = work / "junit.xml"
    print(f"tests/{suite}, {build}: started", flush=True)
    try:
        done = subprocess.run(
            [PYTHON, "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider", f"--junitxml={junit}", str(folder)],
            cwd=ROOT, env=env, timeout=SUITE_SECONDS, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        returncode, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as e:
        returncode, output = 1, f"{(e.stdout or b'').decode(errors='replace')}\ntook over {SUITE_SECONDS} s"
    passed = failed = skipped = 0
    if junit.exists():
        for row in ElementTree.parse(junit).getroot().iter("testsuite"):
            tests, errors = int(row.get("tests", 0)), int(row.get("errors", 0))
            bad, skips = int(row.get("failures", 0)), int(row.get("skipped", 0))
            failed += errors + bad
            skipped += skips
            passed += max(tests - errors - bad - skips, 0)
    if returncode != 0 and failed == 0:
        failed = 1
    if failed or skipped:
        print(f"--- tests/{suite}, {build}\n{output}", flush=True)
    failed += sanitizer_failures(reports)
    print(f"tests/{suite}, {build}: {passed} passed, {failed} failed, {skipped} skipped "
          f"({time.monotonic() - started:.0f} s)", flush=True)
    shutil.rmtree(work, ignore_errors=True)
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
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped", flush=True)
    return 1 if totals.failed or totals.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
