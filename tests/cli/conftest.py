# SPDX-License-Identifier: Apache-2.0
"""The program under test: `declaw` of the build in DECLAW_BUILD, below the repository or absolute."""

import os
import subprocess
from pathlib import Path
from typing import Callable

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def program() -> Path:
    return REPOSITORY / os.environ.get("DECLAW_BUILD", "build-test") / "src/cli/declaw"


@pytest.fixture(scope="session")
def declaw(program: Path) -> Run:
    """declaw(*words, stdin="") runs it to its end, without any environment that could matter."""
    kept = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}

    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run([str(program), *words], input=stdin, capture_output=True, text=True, timeout=60, env=kept)

    return run
