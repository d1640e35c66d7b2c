# SPDX-License-Identifier: Apache-2.0
"""The program under test: `declaw` of the build in DECLAW_BUILD, below the repository or absolute."""

import os
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

from stub import KEY, Stub

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


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(stub: Stub) -> "dict[str, str]":
    """What points a command at the stub."""
    kept = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
    return {**kept, "DECLAW_API_URL": stub.url, "DECLAW_API_KEY": KEY, "PATH": os.environ["PATH"]}


@pytest.fixture
def ask(program: Path, environment: "dict[str, str]") -> Run:
    """ask(*words, stdin=b"", env={}) runs a command against the stub; its output is bytes."""

    def run(*words: str, stdin: bytes = b"", env: "dict[str, str]" = {}, **more: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(  # type: ignore[call-overload]
            [str(program), *words], input=stdin, capture_output=True, timeout=60, env={**environment, **env}, **more)

    return run
