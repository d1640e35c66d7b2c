# SPDX-License-Identifier: Apache-2.0
"""
Bad days: hostile insides, servers that misbehave, a machine that runs out of things, an administrator who pulls at the wires.

Most cases drive the gate alone between namespaces of the test's own (tests/gate); those that need the whole server have a
lab and a declawd (tests/lab).
"""
import importlib.util
import os
import sys
from pathlib import Path
from typing import Iterator

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(TESTS), str(TESTS.parent / "sdk" / "python"),
                *(str(TESTS / suite) for suite in ("gate", "egress", "integration"))]

from ground import sound  # noqa: E402
from kit import BUILD  # noqa: E402
from lab import Daemon, Lab  # noqa: E402

if os.geteuid() != 0:
    pytest.exit("the bad days make network namespaces: run them as root", returncode=2)

_spec = importlib.util.spec_from_file_location("gate_conftest", TESTS / "gate" / "conftest.py")
assert _spec and _spec.loader
_gate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_gate)
world, net, sandbox, capture = _gate.world, _gate.net, _gate.sandbox, _gate.capture


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    with lab.declawd(BUILD) as daemon:
        yield daemon
        sound(daemon.log())
