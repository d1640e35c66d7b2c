# SPDX-License-Identifier: Apache-2.0
"""Every case is seen to fail when its defence is switched off (src/core/defence.h; builds with test hooks alone).

The cases name their defences themselves (egress-probe --list): "a" is one switch, "a+b" both at once, "a@link" that the probe runs
on the sandbox's link with all capabilities, because inside a sandbox the technique cannot even begin.
"""
import os
import queue
import threading
from typing import Dict, Iterator, List, Tuple

import pytest
from suite import BUILD, PLACES, PROBE, Field, Run, Subject, cases, got_through, touched

CASES = cases() if PROBE.exists() else []
PAIRS = [(case, defence) for case in CASES for defence in case.defences]
#: Each in namespaces of its own, so that what a far side sees is of one run.
AT_ONCE = 4


def _groups() -> Dict[str, List[str]]:
    groups: Dict[str, List[str]] = {}
    for case, defence in PAIRS:
        groups.setdefault(defence, []).append(case.number)
    return groups


def _run_group(field: Field, defence: str, numbers: List[str], lock: threading.Lock) -> Run:
    names, _, arm = defence.partition("@")
    with lock:  # the switch is the daemon's environment, and so this process's while it starts
        os.environ["DECLAW_TEST_OFF"] = names.replace("+", ",")
        try:
            context = field.declawd()
            daemon = context.__enter__()
        finally:
            del os.environ["DECLAW_TEST_OFF"]
    try:
        # The neighbour may do what the attacker must not do in its name.
        subject = Subject(field, daemon, peer_allow=[PLACES["a3"], PLACES["a3_6"]])
        run = subject.run(arm or "user", arguments=f"--case {','.join(numbers)}")
        subject.close()
        return run
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def undefended() -> Iterator[Dict[str, Run]]:
    """A run for every defence, without it."""
    todo: "queue.SimpleQueue[Tuple[str, List[str]]]" = queue.SimpleQueue()
    runs: Dict[str, Run] = {}
    errors: List[BaseException] = []
    lock = threading.Lock()
    for group in _groups().items():
        todo.put(group)

    def work() -> None:
        try:
            with Field() as field:
                while not errors:
                    defence, numbers = todo.get_nowait()
                    runs[defence] = _run_group(field, defence, numbers, lock)
        except queue.Empty:
            return
        except BaseException as e:  # raised below, in the thread that waits
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    yield runs


def test_there_are_switches():
    assert len({name for _, d in PAIRS for name in d.partition("@")[0].split("+")}) > 20, f"is {BUILD}/egress-suite built?"
    without = {c.number for c in CASES if c.expect != "works" and not c.defences}
    # What no switch opens: the gate has no code that would send it on. test_suite.py sees these fail without a gate.
    assert without == {"EC-037", "EC-039", "EC-040", "EC-042", "EC-063", "EC-083", "EC-098", "EC-100"}


def test_a_switch_that_does_not_exist_is_noticed(monkeypatch):
    monkeypatch.setenv("DECLAW_TEST_OFF", "flow_policy,flow")
    with Field() as field, pytest.raises(RuntimeError, match="before it listened"):
        with field.declawd():
            pass


@pytest.mark.parametrize("case, defence", PAIRS, ids=[f"{c.number} without {d}" for c, d in PAIRS])
def test_without_its_defence_the_case_fails(undefended, case, defence):
    run = undefended[defence]
    lines = [line for line in run.lines if line["case"] == case.number]
    assert sorted(line["family"] for line in lines if touched(line, run.far) or got_through(line)) == list(case.families), lines
