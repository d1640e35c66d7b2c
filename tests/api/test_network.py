# SPDX-License-Identifier: Apache-2.0
"""PUT /sandboxes/{id}/network: a whole new policy for a running sandbox."""

import pytest


@pytest.fixture
def sandbox(daemon):
    made = daemon.request("POST", "/sandboxes", {"network": {"allow_out": ["a.test"]}}).json["sandbox_id"]
    yield made
    daemon.request("DELETE", f"/sandboxes/{made}")


def test_the_new_policy_is_read_back(daemon, sandbox):
    answer = daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": ["b.test", "10.0.0.0/8"]})
    assert (answer.status, answer.json["generation"]) == (200, 2)
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"allow_out": ["b.test", "10.0.0.0/8"]}
    assert daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": []}).json["generation"] == 3


def test_a_killed_sandbox_keeps_its_last_policy_and_takes_no_other(daemon, sandbox):
    assert daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"deny_out": ["0.0.0.0/0"]}).status == 200
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"deny_out": ["0.0.0.0/0"]}
    refused = daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": []})
    assert (refused.status, refused.code) == (410, "sandbox_killed")


@pytest.mark.parametrize("body, code", [
    ({"allow_out": ["b.test", "x y"]}, "invalid_network_entry"),
    ({"allow_out": ["127.0.0.1"]}, "invalid_network_entry"),
    ({"allow_out": "b.test"}, "invalid_field"),
    ({"mask_request_host": "x"}, "unsupported_option"),
])
def test_what_cannot_be_honoured_changes_nothing(daemon, sandbox, body, code):
    refused = daemon.request("PUT", f"/sandboxes/{sandbox}/network", body)
    assert (refused.status, refused.code) == (400, code), refused.body
    assert "network" in refused.message
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"allow_out": ["a.test"]}


def test_an_unknown_sandbox_is_not_found(daemon):
    assert daemon.request("PUT", "/sandboxes/sbx-zzzzzzzz/network", {"allow_out": []}).status == 404
