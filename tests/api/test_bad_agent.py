# SPDX-License-Identifier: Apache-2.0
"""
A sandbox whose agent was taken over: tests/api/hostile_agent.c answers each operation with nonsense of another kind, 27 in turn. Every route
has to come to an end, as it is described, never as a 5xx (but where no SDK calls: the ports), and the server has to stay as it was.
"""

import http.client
import json
import os
import shutil
import socket

import pytest

from conftest import Daemon, build_dir, eventually
from test_bad_input import Client, body_schema, check, every_route, filled, good_body, memory, statuses, under_way

KINDS = 27
# Waits that are for a slow sandbox, not for one that says nothing at all.
HASTY = {"DECLAW_TEST_PORT_ANSWER_MS": "300", "DECLAW_TEST_PORT_STALL_MS": "300", "DECLAW_TEST_PORT_IDLE_MS": "300", "DECLAW_TEST_OP_STALL_MS": "300"}


class HostileDaemon(Daemon):
    """declawd and its helpers in a folder of their own, where the agent is another one."""

    def __init__(self, folder, **kwargs):
        self.programs = folder
        for name in ("gate/declaw-gate", "declawd/declawd"):
            (folder / name).parent.mkdir(parents=True)
            shutil.copy2(build_dir() / "src" / name, folder / name)
        for extra in (build_dir() / "src" / "unpack").glob("declaw-unpack"):
            (folder / "unpack").mkdir()
            shutil.copy2(extra, folder / "unpack")
        (folder / "agent").mkdir()
        shutil.copy2(build_dir() / "tests/gate/hostile-agent", folder / "agent" / "declaw-agent")
        super().__init__(**kwargs)

    def program(self):
        return str(self.programs / "declawd" / "declawd")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    d = HostileDaemon(tmp_path_factory.mktemp("programs"), env=HASTY)
    yield d
    print(d.log())
    assert d.stop() == 0


def test_every_route_comes_to_an_end(hostile):
    client, wrong = Client(hostile), []
    sandbox = hostile.create(timeout=3600)["sandbox_id"]
    before = memory(hostile)
    for method, pattern in sorted(every_route()):
        if "{id}" not in pattern or (method, pattern) == ("DELETE", "/sandboxes/{id}"):
            continue
        good = good_body(method, pattern)
        path = filled(pattern, sandbox) + "?path=/tmp/x&username=user"
        for kind in range(KINDS):
            body = json.dumps({**good, **({"timeout": 1} if "cmd" in good else {})}) if good is not None else None
            try:
                status, text = client.ask(method, path, body)
            except (http.client.HTTPException, OSError):
                # Cut off in the middle of an answer: what a client can tell from a whole one.
                assert 200 in statuses(method, pattern), (method, pattern, kind)
                continue
            check(method, pattern, status, text, wrong, f"kind {kind}")
    assert not wrong, "\n".join(wrong)
    assert eventually(lambda: under_way(hostile) == 1), "requests that never end"
    assert memory(hostile) - before < 60_000
    assert hostile.request("GET", f"/sandboxes/{sandbox}").json["state"] == "running"
    # Others' sandboxes are none the worse for it, nor is its own end.
    hostile.create()
    assert hostile.request("DELETE", f"/sandboxes/{sandbox}").json == {"killed": True}


def test_streams_end(hostile):
    """Followed to their end, all kinds, more than once."""
    sandbox = hostile.create(timeout=3600)["sandbox_id"]
    for method, pattern, body in (("POST", "/commands/stream", {"cmd": "true", "timeout": 1}), ("POST", "/files/watch", {"path": "/tmp"}), ("GET", "/files/raw?path=/x", None), ("GET", "/ports/80/x", None)):
        for _ in range(KINDS):
            connection = hostile.connect(20)
            connection.request(method, f"/sandboxes/{sandbox}{pattern}", json.dumps(body) if body else None, {"X-API-Key": hostile.key})
            try:
                answer = connection.getresponse()
                while answer.read(1 << 20):
                    pass
            except http.client.IncompleteRead:
                pass
            connection.close()
    assert eventually(lambda: under_way(hostile) == 1)


def test_a_websocket_to_it(hostile):
    sandbox = hostile.create(timeout=3600)["sandbox_id"]
    for _ in range(KINDS):
        with socket.create_connection((hostile.host, hostile.port)) as sock:
            sock.settimeout(20)
            sock.sendall(f"GET /sandboxes/{sandbox}/ports/80/ HTTP/1.1\r\nHost: a\r\nX-API-Key: {hostile.key}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n".encode())
            status = sock.recv(12)
            assert status in (b"HTTP/1.1 200", b"HTTP/1.1 410", b"HTTP/1.1 502", b"HTTP/1.1 504", b"HTTP/1.1 429"), status
    assert eventually(lambda: under_way(hostile) == 1)


def test_the_table_is_whole():
    """Every route about a sandbox that takes a body has one to be asked with."""
    for method, pattern in every_route():
        if "{id}" in pattern and body_schema(method, pattern):
            assert good_body(method, pattern) is not None
