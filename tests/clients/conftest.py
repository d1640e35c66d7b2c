# SPDX-License-Identifier: Apache-2.0
"""Real clients. Cases run a few at a time, each in a sandbox of its own, with addresses of its own on the far side."""

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Union

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "sdk" / "python"), str(Path(__file__).resolve().parent)]

import acceptance  # noqa: E402
import small_image  # noqa: E402
from cases import CASES, Case  # noqa: E402
from lab import Daemon, Lab  # noqa: E402
from matrix import write_matrix  # noqa: E402
from npm_cases import NpmClient, Outcome  # noqa: E402
from runner import BUILD, Ground, Trial  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("real clients need network namespaces: run them as root", returncode=2)

#: Much of a case is waiting, but Chromium and npm are not.
AT_ONCE = 3


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def server(lab: Lab) -> Daemon:
    """A server for clients of the API, whose uplink is the lab's internet, with a template "box"."""
    daemon = lab.declawd(BUILD)
    small_image.give(daemon, "box")
    return daemon


@pytest.fixture(scope="session")
def npm_results(server: Daemon, request: pytest.FixtureRequest) -> Callable[[NpmClient], Outcome]:
    """What came of a client's cases: those that this run has tests for, or all where a test is about them all."""
    done: Dict[str, Union[Outcome, Exception]] = {}

    def results(client: NpmClient) -> Outcome:
        if client.package not in done:
            every = [case.name for case in client.cases()]
            items = [item for item in request.session.items if "npm_results" in getattr(item, "fixturenames", ())]
            chosen = [getattr(item, "callspec", _None).params.get("npm_case") for item in items]
            names = every if None in chosen else [name for name in every if name in {case.name for case in chosen}]
            try:
                done[client.package] = client.run(names, server.env)
            except Exception as e:  # told by every test, but not tried again by it
                done[client.package] = e
        outcome = done[client.package]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return results


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    with Ground() as ground:
        yield ground


@pytest.fixture(scope="session")
def trials(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Callable[[Case], Trial]]:
    """The finished trial of a case. All that this run has tests for are started with the first."""
    wanted = {item.callspec.params["case"].key for item in request.session.items if "case" in getattr(item, "callspec", _None).params}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs: Dict[str, "Future[Trial]"] = {c.key: pool.submit(Trial(ground, c).go) for c in CASES if c.key in wanted}
        yield lambda case: jobs[case.key].result()
        done = [job.result() for job in jobs.values()]
    if len(done) == len(CASES) and not any(e for trial in done for e in trial.errors.values()):
        write_matrix(done)


@pytest.fixture(scope="session")
def python_results(server: Daemon) -> Callable[[], Dict[str, Dict[str, Any]]]:
    """What came of the cases with our Python package."""
    done: Dict[str, Dict[str, Any]] = {}

    def run(case: Any) -> Dict[str, Any]:
        error = None
        try:
            case.body({"domain": server.domain, "api_key": server.key})
        except Exception as e:  # its test tells it
            error = e
        return {"name": case.name, "calls": case.calls, "title": case.title, "result": "works", "error": error}

    def results() -> Dict[str, Dict[str, Any]]:
        if not done:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                done.update((row["name"], row) for row in pool.map(run, acceptance.CASES))
        return done

    return results


class _None:
    params: Dict[str, object] = {}
