# SPDX-License-Identifier: Apache-2.0
"""Ports of a sandbox by Host or by E2B's headers: who may, and what arrives."""

import pytest

from e2b import make, refused
from test_owners import new_key
from test_ports import fields, start_server

PORT = 8000


@pytest.fixture(scope="module")
def public(daemon):
    made = make(daemon, timeout=3600)
    start_server(daemon, made["sandboxID"])
    return made


@pytest.fixture(scope="module")
def private(daemon):
    """The server inside is started while nobody is looking: no port of it answers a key."""
    made = make(daemon, timeout=3600)
    start_server(daemon, made["sandboxID"])
    assert daemon.request("PUT", f"/sandboxes/{made['sandboxID']}/network", {"allow_out": ["*"], "allow_public_traffic": False}).status == 200
    return made


def by_host(made, port=PORT, domain="sandboxes.test:8080"):
    return {"Host": f"{port}-{made['sandboxID']}.{domain}"}


def by_header(made, port=PORT):
    return {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": str(port)}


def token(made):
    return {"e2b-traffic-access-token": made["trafficAccessToken"]}


@pytest.mark.parametrize("where", [by_host, by_header])
@pytest.mark.parametrize("path, target", [("/", "/"), ("/a/b%20c?d=e", "/a/b%20c?d=e"), ("/sandboxes", "/sandboxes"), ("/files", "/files"), ("/health", "/health")])
def test_every_path_belongs_to_the_port(daemon, public, where, path, target):
    answer = daemon.request("GET", path, headers={**where(public), **token(public)}, key=None)
    assert answer.status == 200 and answer.json["target"] == target


def test_the_prefix_of_the_sandbox_url_is_taken_away(daemon, public):
    for path, target in (("/e2b/x?y", "/x?y"), ("/e2b", "/"), ("/e2b?y", "/?y"), ("/e2bx", "/e2bx"), ("/e2b/e2b/x", "/e2b/x")):
        assert daemon.request("GET", path, headers={**by_header(public), **token(public)}, key=None).json["target"] == target
    assert daemon.request("GET", "/e2b/x", headers={**by_host(public), **token(public)}, key=None).json["target"] == "/e2b/x"


def test_what_the_server_inside_sees(daemon, public):
    headers = {**by_host(public), **by_header(public), **token(public), "Authorization": "Bearer its-own", "X-Access-Token": "its-own"}
    seen = daemon.request("POST", "/x", b"body", headers).json
    inside = fields(seen)
    assert seen["method"] == "POST" and inside["host"] == by_host(public)["Host"] and inside["authorization"] == "Bearer its-own"
    assert not {"x-api-key", "e2b-traffic-access-token", "e2b-sandbox-id", "e2b-sandbox-port"} & set(inside)


def test_who_may(daemon, public, private):
    other = new_key(daemon, "other")["api_key"]
    for where in (by_host, by_header):
        # Without a credential nobody, with the token everybody.
        for made in (public, private):
            for wrong in ({}, {"e2b-traffic-access-token": ""}, {"e2b-traffic-access-token": made["envdAccessToken"]}):
                refused(daemon.request("GET", "/", headers={**where(made), **wrong}, key=None), 403, "trafficAccessToken")
            refused(daemon.request("GET", "/", headers=where(made), key=other), 403)
            assert daemon.request("GET", "/", headers={**where(made), **token(made)}, key=None).status == 200
        refused(daemon.request("GET", "/", headers={**where(private), **token(public)}, key=None), 403)
        # The owner's key, where there is public traffic.
        assert daemon.request("GET", "/", headers=where(public)).status == 200
        refused(daemon.request("GET", "/", headers=where(private)), 403, error_code="public_traffic_off")
        # Those that there are not look like others'.
        refused(daemon.request("GET", "/", headers=where({"sandboxID": "sbx-none"})), 403, "trafficAccessToken")


def test_envd_is_no_port(daemon, public):
    assert daemon.request("GET", "/e2b/health", headers={"E2b-Sandbox-Id": public["sandboxID"], "E2b-Sandbox-Port": "49983"}, key=None).status == 204
    assert daemon.request("GET", "/health", headers=by_host(public, 49983), key=None).json["status"] == "ok"


def test_who_knows_an_id_is_a_stranger_all_the_same(daemon, public):
    killed = make(daemon)
    daemon.request("DELETE", f"/e2b/sandboxes/{killed['sandboxID']}")
    for made, status in ((public, 204), (killed, 502)):
        asked = {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983"}
        answer = daemon.request("GET", "/e2b/health", headers=asked, key=None)
        # The connection of a stranger is kept no longer than its answer takes.
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        answer = daemon.request("GET", "/e2b/health", headers=asked)
        assert answer.status == status and answer.headers["Connection"] != "close"


@pytest.mark.parametrize("port", ["0", "65536", "x", "", "-1", "99999999999", "8000 ", "08000", "+8000"])
def test_ports_that_are_none(daemon, public, port):
    refused(daemon.request("GET", "/", headers={**by_header(public, port), **token(public)}, key=None), 400, error_code="invalid_port")


def test_hosts_that_are_none_are_our_own_api(daemon, public):
    for host in (f"{PORT}-{public['sandboxID']}", f"-{public['sandboxID']}.test", f"{PORT}-x{public['sandboxID']}.test", f"{PORT}{public['sandboxID']}.test", f"x{PORT}-{public['sandboxID']}.test", "8000-example.test"):
        assert daemon.request("GET", "/health", headers={"Host": host}, key=None).json["status"] == "ok"


def test_nothing_listens(daemon, public):
    refused(daemon.request("GET", "/", headers={**by_host(public, 9), **token(public)}, key=None), 502, error_code="port_unreachable")


def test_mask_request_host(daemon):
    made = make(daemon, network={"maskRequestHost": "localhost:${PORT}"})
    start_server(daemon, made["sandboxID"])
    seen = daemon.request("GET", "/", headers={**by_host(made), **token(made)}, key=None).json
    assert fields(seen)["host"] == "localhost:8000"
    daemon.request("DELETE", f"/e2b/sandboxes/{made['sandboxID']}")
    assert daemon.request("GET", "/", headers={**by_host(made), **token(made)}, key=None).status == 502
