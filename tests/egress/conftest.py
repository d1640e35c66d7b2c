# SPDX-License-Identifier: Apache-2.0
"""The egress cases: black box. What the far side saw decides; every case has a control arm that must succeed."""
import os
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "sdk" / "python"), str(Path(__file__).resolve().parent)]

from kit import BUILD, Box, Far  # noqa: E402
from lab import Daemon, Lab  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("the egress cases make network namespaces: run them as root", returncode=2)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def daemon(lab: Lab) -> Iterator[Daemon]:
    with lab.declawd(BUILD) as daemon:
        yield daemon


@pytest.fixture
def box(lab: Lab, daemon: Daemon) -> Iterator[Callable[..., Box]]:
    """Makes sandboxes with a policy: box(allow_out=[...], deny_out=[...]), box() for none; kills them at the end."""
    made = []

    def make(server: Daemon = daemon, **network: object) -> Box:
        made.append(Box(server, network or None))
        return made[-1]

    lab.dns.reset()
    yield make
    for one in made:
        one.kill()


@pytest.fixture
def far(lab: Lab) -> Callable[[], Far]:
    """far() marks now; its methods tell what the far side saw since."""
    return lambda: Far(lab)


@pytest.fixture(params=["user", "root"])
def user(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    return request.param
