# SPDX-License-Identifier: Apache-2.0
"""The SDK of this checkout, against a stub server."""

import asyncio
import sys
from typing import Iterator, List

import pytest
from sdk_stub import CREATED, REPO, Stub, reply

sys.path.insert(0, str(REPO / "sdk" / "python"))

import declaw.api.client as client_module  # noqa: E402
from declaw import AsyncSandbox, Sandbox  # noqa: E402


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """The client's waits between attempts, which are not slept."""
    slept: List[float] = []
    monkeypatch.setattr(client_module.time, "sleep", slept.append)
    return slept


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    server = Stub(lambda _request: reply(200, CREATED))
    server.start()
    monkeypatch.setenv("DECLAW_DOMAIN", server.domain)
    monkeypatch.setenv("DECLAW_API_KEY", "dcl_test")
    yield server
    client_module.reset_shared_clients()
    server.stop()


@pytest.fixture
def sbx(stub: Stub) -> Sandbox:
    """A sandbox of the stub, whose creation is forgotten."""
    sandbox = Sandbox.create()
    stub.requests.clear()
    return sandbox


@pytest.fixture
def asbx(stub: Stub) -> AsyncSandbox:
    """The same for coroutines."""
    sandbox = asyncio.run(AsyncSandbox.create())
    stub.requests.clear()
    return sandbox
