# SPDX-License-Identifier: Apache-2.0
"""The real server, whole: what it leaves behind, what it survives, what a program inside can see and do."""
import os
import sys
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "sdk" / "python"), str(Path(__file__).resolve().parent)]

from ground import BUILD, Api, sound  # noqa: E402
from lab import Daemon, Lab  # noqa: E402
from traces import Traces  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("the integration cases start the real server: run them as root", returncode=2)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    with lab.declawd(BUILD) as daemon:
        yield daemon
        sound(daemon.log())


@pytest.fixture
def start(lab: Lab) -> Iterator[Callable[..., Daemon]]:
    """Starts a server that belongs to the test alone; ends what the test has not ended."""
    started: List[Daemon] = []

    def make(*arguments: str) -> Daemon:
        started.append(lab.declawd(BUILD, arguments))
        return started[-1]

    yield make
    logs = []
    for one in started:
        logs.append(one.log())
        status = one.stop()
        print(f"--- declawd {one.pid} ended with {status}; it wrote:\n{logs[-1]}---")
    for log in logs:
        sound(log)


@pytest.fixture
def watched(start: Callable[..., Daemon], lab: Lab) -> Callable[..., "tuple[Daemon, Traces, Api]"]:
    """watched() starts a server and returns it with its traces on this host and a plain client."""

    def make(*arguments: str) -> "tuple[Daemon, Traces, Api]":
        server = start(*arguments)
        return server, Traces(server, lab.uplink), Api(server)

    return make
