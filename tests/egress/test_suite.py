# SPDX-License-Identifier: Apache-2.0
"""The egress suite against this build: every case as root and as uid 1000, IPv4 and IPv6, again while policies change, and again in a
sandbox that was halted and let go on.

The probes of all arms run at one time, each in a sandbox of its own; the tests then read what came of each case.
"""
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from suite import (BUILD, FAR, INSIDE, NEVER, PLACES, PROBE, Field, Run, Subject, cases, got_through, problems, run_without_a_gate,
                   touched, write_results)

ROOT = Path(__file__).resolve().parents[2]
#: name: (who runs the probe, whether policies are replaced meanwhile, whether the sandbox was paused before). On the link: the host's
#: root with all capabilities.
ARMS = {"uid 1000": ("user", False, False), "root": ("root", False, False),
        "uid 1000, updates": ("user", True, False), "root, updates": ("root", True, False),
        "uid 1000, paused": ("user", False, True), "root, paused": ("root", False, True),
        "on the link": ("link", False, False)}
CASES = cases() if PROBE.exists() else []


def test_the_suite_is_built():
    assert PROBE.exists() and FAR.exists(), f"{BUILD} lacks egress-suite: is it among the parts?"
    assert len(CASES) > 80


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    with Field() as field:
        yield field


@pytest.fixture(scope="module")
def runs(field: Field) -> Dict[str, Run]:
    """Every arm's run, all of them at the same time."""
    results: Dict[str, Run] = {}
    errors: List[BaseException] = []

    with field.declawd() as daemon:
        subjects = {arm: Subject(field, daemon) for arm in ARMS}

        def run(arm: str) -> None:
            user, updates, paused = ARMS[arm]
            try:
                if paused:
                    subjects[arm].halt()
                results[arm] = subjects[arm].run(user, updates)
            except BaseException as e:  # raised below, in the thread that waits
                errors.append(e)

        threads = [threading.Thread(target=run, args=(arm,)) for arm in ARMS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for subject in subjects.values():
            subject.close()
    if errors:
        raise errors[0]
    write_results(results)
    return results


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("case", CASES, ids=[c.number for c in CASES])
def test_case(runs, case, arm):
    run = runs[arm]
    lines = [line for line in run.lines if line["case"] == case.number]
    if arm == "on the link" and case.number in INSIDE:
        return  # it runs outside the sandbox's other walls
    assert [line["family"] for line in sorted(lines, key=lambda line: line["family"])] == list(case.families)
    wrong = {f"IPv{line['family']}": problems(line, run) for line in lines}
    assert not any(wrong.values()), (case.technique, wrong)


def test_not_one_packet_went_where_nothing_may_go(field, runs):
    """The capture on the uplink, over all arms and everything between them."""
    assert len(runs) == len(ARMS)
    assert field.capture.packets(dst=NEVER, outgoing=True) == []
    assert field.capture.packets(outgoing=True), "control: the capture sees what did leave"


def test_only_allowed_names_were_asked_for(runs):
    """Not only those with a nonce: no query for any other name reached the internet's DNS."""
    names = {line["name"] for run in runs.values() for line in run.far if line["what"] == "query"}
    assert names, "control: allowed ones were"
    strays = {n for n in names if n not in ("one.allowed.test", "narrow.allowed.test") and not n.endswith(".wild.test")}
    assert strays == set()


@pytest.fixture(scope="module")
def without_a_gate() -> Iterator[Run]:
    with Field() as field:
        yield run_without_a_gate(field)


@pytest.mark.parametrize("case", [c for c in CASES if c.expect != "works"], ids=lambda c: c.number)
def test_without_a_gate_the_far_side_sees_it(without_a_gate, case):
    """No case passes because the far side is blind, or because the probe does nothing."""
    if case.number in INSIDE or case.number in ("EC-102", "EC-103"):
        return  # there is no sandbox then, so none to look into, and no neighbour: see below, and test_defences.py
    lines = [line for line in without_a_gate.lines if line["case"] == case.number]
    seen = sorted(line["family"] for line in lines if touched(line, without_a_gate.far) or got_through(line))
    assert seen == list(case.families)


def test_what_is_open_inside_is_noticed(field, tmp_path):
    """The cases that look at the sandbox's own inside: a descriptor left open, an abstract name, a service's socket."""
    path = "/run/avahi-daemon/socket"  # one of those that the probe tries and a test machine does not have
    script = (f"import os, socket, subprocess, sys\n"
              f"a = socket.socket(socket.AF_UNIX); a.bind('\\0com.test'); a.listen()\n"
              f"os.makedirs(os.path.dirname({path!r})); b = socket.socket(socket.AF_UNIX); b.bind({path!r}); b.listen()\n"
              f"r, w = os.pipe()\n"
              f"subprocess.run([{str(PROBE)!r}, '--config', {str(tmp_path / 'conf')!r}, '--case', {','.join(INSIDE)!r}], pass_fds=[r])\n")
    (tmp_path / "conf").write_text("".join(f"{k} {v}\n" for k, v in PLACES.items()) + "resolver 9.9.9.9\n")
    # A mount namespace of its own, so that the machine's /run stays as it is.
    done = subprocess.run(["ip", "netns", "exec", field.uplink, "unshare", "-m", "sh", "-c",
                           "mount -t tmpfs none /run && exec /usr/bin/python3 -c \"$1\"", "sh", script],
                          capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["case"]: line["denied"]["client"] for line in lines[:-1]} == {number: "connected" for number in INSIDE}, done.stderr


def test_the_table_is_current():
    """docs/egress-cases.md is what tools/egress_table.py writes for this probe."""
    done = subprocess.run([sys.executable, ROOT / "tools" / "egress_table.py", "--probe", PROBE, "--check"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
