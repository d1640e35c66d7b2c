# SPDX-License-Identifier: Apache-2.0
"""The sandbox of a build: only the server works in it, and the steps of a build have no rights that reach beyond it."""

import pytest

import image
from conftest import eventually
from test_owners import SANDBOX_ROUTES, path_of

# What goes on while a build does: its owner looks, takes rights away, or ends it.
OPEN = {
    ("GET", "/sandboxes/{id}"): 200,
    ("GET", "/sandboxes/{id}/status"): 200,
    ("GET", "/sandboxes/{id}/metrics"): 200,
    ("GET", "/sandboxes/{id}/network"): 200,
    ("GET", "/sandboxes/{id}/network/log"): 200,
    ("GET", "/sandboxes/{id}/network/suggest"): 200,
    ("PUT", "/sandboxes/{id}/network"): 200,
    ("PATCH", "/sandboxes/{id}/network"): 200,
    ("DELETE", "/sandboxes/{id}"): 200,
    # There are none, and there will be none.
    ("GET", "/sandboxes/{id}/snapshots"): 200,
    ("DELETE", "/sandboxes/{id}/snapshots/{snapshot_id}"): 200,
    ("POST", "/sandboxes/{id}/restore"): 404,
    ("POST", "/sandboxes/{id}/volumes/{volume_id}/commit"): 404,
}
# Bodies that are good in themselves, so that nothing but the sandbox is in the way.
BODIES = {
    ("PATCH", "/sandboxes/{id}/timeout"): {"timeout": 600},
    ("POST", "/sandboxes/{id}/commands"): {"cmd": "true"},
    ("POST", "/sandboxes/{id}/commands/stream"): {"cmd": "true"},
    ("POST", "/sandboxes/{id}/commands/{pid}/stdin"): {"data": ""},
    ("POST", "/sandboxes/{id}/commands/{pid}/signal"): {"signal": 15},
    ("PATCH", "/sandboxes/{id}/pty/{pid}"): {"size": {"cols": 80, "rows": 24}},
    ("POST", "/sandboxes/{id}/pty/{pid}/stdin"): {"data": ""},
    ("POST", "/sandboxes/{id}/stdio"): {"cmd": "true"},
    ("POST", "/sandboxes/{id}/stdio/{cmd_id}/stdin"): {"data": ""},
    ("POST", "/sandboxes/{id}/files"): {"path": "/x", "content": "x", "data": "x"},
    ("PATCH", "/sandboxes/{id}/files"): {"old_path": "/x", "new_path": "/y"},
    ("POST", "/sandboxes/{id}/files/batch"): {"files": []},
    ("POST", "/sandboxes/{id}/files/mkdir"): {"path": "/x"},
    ("POST", "/sandboxes/{id}/files/watch"): {"path": "/etc"},
    ("PUT", "/sandboxes/{id}/network"): {"allow_out": ["example.com"]},
    ("PATCH", "/sandboxes/{id}/network"): {"add": {"allow_out": ["example.org"]}},
}


def start(daemon, *commands):
    body = {"template": {"base_image": "box", "run_cmds": list(commands)}, "background": True}
    built = daemon.request("POST", "/templates/build", body, timeout=300).json
    path = f"/templates/builds/{built['build_id']}"
    assert eventually(lambda: "begun" in daemon.request("GET", path).json["logs"], 60)
    return daemon.request("GET", path).json


@pytest.fixture(scope="module")
def box(daemon):
    return image.make(daemon, "box")


@pytest.fixture(scope="module")
def under_way(daemon, box):
    built = start(daemon, "echo begun; sleep 1000")
    yield built
    daemon.request("DELETE", f"/sandboxes/{built['sandbox_id']}")


def test_no_operation_enters_it(daemon, under_way):
    sandbox_id = under_way["sandbox_id"]
    for method, pattern in sorted(SANDBOX_ROUTES - set(OPEN)):
        answer = daemon.request("GET" if method == "ANY" else method, path_of(pattern, sandbox_id), BODIES.get((method, pattern), {}))
        assert (answer.status, answer.code) == (409, "build_sandbox"), (method, pattern, answer.body)
        assert under_way["build_id"] in answer.message
    assert daemon.request("GET", f"/templates/builds/{under_way['build_id']}").json["status"] == "building"


def test_no_operation_of_e2b_enters_it(daemon, under_way):
    sandbox_id = under_way["sandbox_id"]
    # The token for what is inside is in answers to create and connect alone.
    assert "envdAccessToken" not in daemon.request("GET", f"/e2b/sandboxes/{sandbox_id}").json
    for path in (f"/e2b/sandboxes/{sandbox_id}/connect", f"/e2b/v2/sandboxes/{sandbox_id}/connect", f"/e2b/sandboxes/{sandbox_id}/timeout"):
        answer = daemon.request("POST", path, {"timeout": 600})
        assert answer.status == 409 and "belongs to build" in answer.json["message"], (path, answer.body)
    # 409 means to these clients that it is paused.
    assert daemon.request("POST", f"/e2b/sandboxes/{sandbox_id}/pause", {}).status == 403


def test_what_stays(daemon, box):
    sandbox_id = start(daemon, "echo begun; sleep 1000")["sandbox_id"]
    for (method, pattern), status in OPEN.items():
        if method != "DELETE" or "snapshots" in pattern:
            answer = daemon.request(method, path_of(pattern, sandbox_id), BODIES.get((method, pattern)))
            assert answer.status == status, (method, pattern, answer.body)
    assert daemon.request("GET", f"/sandboxes/{sandbox_id}/network").json["network"]["allow_out"] == ["example.com", "example.org"]
    assert daemon.request("DELETE", f"/sandboxes/{sandbox_id}").status == 200
