# SPDX-License-Identifier: Apache-2.0
"""Each step of a create fails once, on purpose: the client is told, nothing has changed, nothing is left behind."""
import os
import re
import signal
import threading
from typing import Any, Callable, List

import pytest
from ground import BUILD, REPO, has_hooks, nothing, until

POOL = 4
if not has_hooks():
    pytest.skip(f"{BUILD.name} has no test hooks: nothing can be made to fail in it", allow_module_level=True)


def runtime_steps() -> List[str]:
    """As dw_runtime_steps has them, so that a new step is a new case."""
    table = (REPO / "src" / "runtime" / "spec.c").read_text().split("dw_runtime_steps[", 1)[1].split("};")[0]
    return [name for name in re.findall(r'\] = "(\w+)"', table) if name != "none"]


def daemon_steps() -> List[str]:
    sources = (REPO / "src" / "daemon").glob("*.c")
    return sorted(name for path in sources for name in re.findall(r'test_fails\("([\w.]+)"', path.read_text()))


def test_the_lists_are_found() -> None:
    assert len(runtime_steps()) >= 20 and len(daemon_steps()) >= 2


# While a slot is made ahead: then there are never any slots. The others fail in a slot that waits ready.
# Not of a create: tests/api/test_snapshots.py.
OF_SNAPSHOTS = {"pack_start", "pack", "daemon.snapshot_file", "daemon.snapshot_sync", "daemon.snapshot_store"}
AHEAD = {"cgroup_make", "clone", "userns_map", "link", "gate_route", "cgroup_join", "tmpfs", "dev", "proc", "address", "route"}


@pytest.mark.parametrize("step", [s for s in runtime_steps() + daemon_steps() if s not in OF_SNAPSHOTS])
def test_step(step: str, watched: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECLAW_TEST_FAIL", step)
    server, traces, api = watched()
    slots = 0 if step in AHEAD else POOL
    before = traces.settle(slots)
    for _ in range(2):
        answer = api.create(network={"allow_out": ["one.allowed.test"]}, metadata={"step": step})
        message = answer.error(500)
        assert api.running() == []
        listed = api.call("GET", "/sandboxes?state=killed&state=running").json
        assert listed["sandboxes"] == [], "a sandbox that never was is on record"
    print(f"{step}: {message}")
    assert step in message, "the message does not say which step failed"
    after = traces.settle(slots)
    assert after[:4] == before[:4] and after.files <= before.files + 2, (before, after)
    assert api.call("GET", "/health").json["status"] == "ok"
    os.kill(server.pid, signal.SIGTERM)
    nothing(traces.left)
    assert server.stop() == 0


@pytest.mark.parametrize("step", ["", "no_such_step"])
def test_control(step: str, watched: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls to a server in which no step fails."""
    monkeypatch.setenv("DECLAW_TEST_FAIL", step)
    _server, traces, api = watched()
    before = traces.settle(POOL)
    answer = api.create(network={"allow_out": ["one.allowed.test"]}, metadata={"step": step})
    assert answer.status == 201, answer
    assert api.running() == [answer.json["sandbox_id"]]
    path = f"/sandboxes/{answer.json['sandbox_id']}"
    assert api.call("POST", path + "/commands", {"cmd": "echo here"}).json["stdout"] == "here\n"
    assert api.call("DELETE", path).status == 200
    assert traces.settle(POOL)[:4] == before[:4]


def test_gate_that_does_not_answer(watched: Callable[..., Any]) -> None:
    """Stopped, not ended, so nobody starts another: the attach runs into its deadline, and the sandbox is taken back."""
    _server, traces, api = watched()
    before = traces.settle(POOL)
    gate = traces.gate()
    os.kill(gate, signal.SIGSTOP)
    try:
        answer = api.create(network={"allow_out": ["one.allowed.test"]})
        answer.error(503, "gate_unavailable")
        assert api.running() == []
        assert traces.settle(POOL).gate_links == before.gate_links
    finally:
        os.kill(gate, signal.SIGCONT)
    answer = api.create(network={"allow_out": ["one.allowed.test"]})
    assert answer.status == 201, answer
    assert api.call("DELETE", f"/sandboxes/{answer.json['sandbox_id']}").status == 200
    assert traces.settle(POOL)[:4] == before[:4]


def test_gate_that_ends_during_creates(watched: Callable[..., Any]) -> None:
    """Each create either works, whole, or fails, whole."""
    _server, traces, api = watched()
    before = traces.settle(POOL)
    answers: List[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(api.create(network={"allow_out": ["a.test"]}))) for _ in range(8)]
    for i, t in enumerate(threads):
        t.start()
        if i == 3:
            os.kill(traces.gate(), signal.SIGKILL)
    for t in threads:
        t.join()
    made = sorted(a.json["sandbox_id"] for a in answers if a.status == 201)
    for a in answers:
        if a.status != 201:
            a.error(503, "gate_unavailable")
    print(f"{len(made)} of {len(answers)} creates worked")
    assert sorted(api.running()) == made
    for sandbox_id in made:
        run = api.call("POST", f"/sandboxes/{sandbox_id}/commands", {"cmd": "echo here"})
        assert run.json["stdout"] == "here\n"
        api.call("DELETE", f"/sandboxes/{sandbox_id}")
    until(lambda: api.call("GET", "/health").json["gate"], 5, lambda word: word == "up")
    assert traces.settle(POOL)[:4] == before[:4]
