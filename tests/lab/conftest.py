# SPDX-License-Identifier: Apache-2.0
"""One lab for each module of tests."""

import os
import time
from typing import Any, Iterator

import pytest

from .lab import Lab


def eventually(look: Any) -> Any:
    """The far side notes a little after the near side knows."""
    deadline = time.monotonic() + 3
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    """The module's lab, its logs empty and its DNS as new."""

    def idle() -> bool:
        shared.web.clear()
        return not shared.web.connections()

    assert eventually(idle), "a connection of the test before is still open"
    shared.dns.reset()
    shared.dns.clear()
    shared.capture.clear()
    return shared
