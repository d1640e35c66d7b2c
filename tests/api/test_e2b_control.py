# SPDX-License-Identifier: Apache-2.0
"""Sandboxes in E2B's words, below /e2b: the same sandboxes as our own API's."""

import time
from datetime import datetime, timezone
from urllib.parse import quote, urlencode

import pytest

from conftest import eventually
from e2b import make, refused
from test_owners import new_key

ALL = "0.0.0.0/0"


@pytest.fixture(scope="module")
def other(daemon):
    return new_key(daemon, "other")["api_key"]


@pytest.fixture(scope="module")
def one(daemon):
    """A sandbox that nobody changes."""
    return make(daemon, timeout=3600, metadata={"of": "the module"})


@pytest.fixture
def dead(daemon):
    made = make(daemon)["sandboxID"]
    assert daemon.request("DELETE", f"/e2b/sandboxes/{made}").status == 204
    return made


def info(daemon, sandbox):
    answer = daemon.request("GET", f"/e2b/sandboxes/{sandbox}")
    assert answer.status == 200, answer.body
    return answer.json


def ends_in(shown):
    return datetime.fromisoformat(shown["endAt"]).timestamp() - time.time()


def test_a_create_is_answered_with_the_ways_to_it(daemon, one):
    assert one["templateID"] == one["alias"] == "base" and one["envdVersion"] == "0.6.1"
    assert len(one["envdAccessToken"]) >= 32 and one["trafficAccessToken"] != one["envdAccessToken"]
    assert one["domain"] == f"{daemon.host}:{daemon.port}" and one["clientID"]


def test_it_is_a_sandbox_of_our_own_api_too(daemon):
    made = make(daemon, timeout=60, metadata={"a": "b"}, envVars={"X": "1"}, autoPause=True, autoResume={"enabled": True})["sandboxID"]
    assert made in daemon.ids()
    ours = daemon.request("GET", f"/sandboxes/{made}").json
    assert ours["metadata"] == {"a": "b"} and ours["envs"] == {"X": "1"} and ours["timeout"] == 60
    assert ours["lifecycle"] == {"on_timeout": "pause", "auto_resume": True}
    assert ours["network"] == {"allow_out": ["*"]}
    assert daemon.run(made, "echo $X")["stdout"] == "1\n"
    theirs = daemon.create(network={"allow_out": ["a.test:443"], "mode": "observe"})["sandbox_id"]
    assert info(daemon, theirs)["network"] == {"allowOut": ["a.test:443"], "denyOut": [ALL], "allowPublicTraffic": True}
    for sandbox in (made, theirs):
        assert daemon.request("DELETE", f"/e2b/sandboxes/{sandbox}").status == 204
        assert daemon.request("GET", f"/sandboxes/{sandbox}").json["state"] == "killed"


def test_time_outs_of_both_versions(daemon):
    for path, seconds in (("/e2b/v2/sandboxes", 300), ("/e2b/sandboxes", 15)):
        answer = daemon.request("POST", path, {"templateID": "base"})
        assert answer.status == 201
        assert seconds - 10 < ends_in(info(daemon, answer.json["sandboxID"])) <= seconds
        daemon.request("DELETE", f"/e2b/sandboxes/{answer.json['sandboxID']}")


def test_a_body_in_chunks(daemon):
    """As their client sends every body."""
    connection = daemon.connect()
    connection.request("POST", "/e2b/v2/sandboxes", body=iter([b'{"templateID"', b':"base"}']), headers={"X-API-Key": daemon.key}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def test_detail(daemon, one):
    shown = info(daemon, one["sandboxID"])
    assert shown["state"] == "running" and shown["metadata"] == {"of": "the module"} and shown["volumeMounts"] == []
    assert (shown["cpuCount"], shown["memoryMB"], shown["diskSizeMB"]) == (2, 1024, 1024)
    assert shown["network"] == {"allowOut": [], "denyOut": [], "allowPublicTraffic": True} and shown["allowInternetAccess"] is True
    assert shown["lifecycle"] == {"onTimeout": "kill", "autoResume": False}
    assert abs(datetime.fromisoformat(shown["startedAt"]).timestamp() - time.time()) < 600
    assert "envdAccessToken" not in shown


@pytest.mark.parametrize("fields, word", [
    ({"templateID": None}, "templateID"),
    ({"templateID": 1}, "templateID"),
    ({"templateID": ""}, "template"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": 86401}, "timeout"),
    ({"timeout": "60"}, "timeout"),
    ({"timeout": 1.5}, "timeout"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"envVars": {"1": "a"}}, "envs"),
    ({"autoPause": "yes"}, "autoPause"),
    ({"autoPauseMemory": False}, "autoPauseMemory"),
    ({"autoResume": True}, "autoResume"),
    ({"autoResume": {"policy": "any"}}, "autoResume.policy"),
    ({"secure": "yes"}, "secure"),
    ({"volumeMounts": [{"name": "a", "path": "/a"}]}, "volumeMounts"),
    ({"mcp": {"a": {}}}, "mcp"),
    ({"iam": {"tokens": {"a": {}}}}, "iam"),
    ({"later": 1}, "later"),
    ({"network": []}, "network"),
    ({"network": {"rules": {"a.test": []}}}, "network.rules"),
    ({"network": {"egressProxy": {"address": "a:1"}}}, "network.egressProxy"),
    ({"network": {"httpsPorts": [443]}}, "network.httpsPorts"),
    ({"network": {"allowOut": ["a.test"]}}, ALL),
    ({"network": {"denyOut": ["a.test"]}}, "denyOut[0]"),
    ({"network": {"denyOut": ["0.0.0.0"]}}, "denyOut[0]"),
    ({"network": {"denyOut": ["::"]}}, "denyOut[0]"),
    ({"allow_internet_access": "no"}, "allow_internet_access"),
])
def test_what_is_not_done_is_refused(daemon, fields, word):
    before = daemon.ids()
    for path in ("/e2b/v2/sandboxes", "/e2b/sandboxes"):
        refused(daemon.request("POST", path, {"templateID": "base", **fields}), 400, word)
    assert daemon.ids() == before


def test_an_unknown_template(daemon):
    answer = daemon.request("POST", "/e2b/v2/sandboxes", {"templateID": "code-interpreter"})
    refused(answer, 404, "code-interpreter", "unknown_template")


def test_a_body_that_is_too_large(daemon, one):
    large = b'{"templateID":"base","metadata":{"a":"' + b"x" * (11 << 20) + b'"}}'
    for method, path in (("POST", "/e2b/v2/sandboxes"), ("PUT", f"/e2b/sandboxes/{one['sandboxID']}/network"), ("POST", f"/e2b/sandboxes/{one['sandboxID']}/pause")):
        refused(daemon.request(method, path, large), 413)
    assert info(daemon, one["sandboxID"])["state"] == "running"


def test_a_body_that_stops_half_way(daemon):
    before = daemon.ids()
    connection = daemon.connect()
    connection.putrequest("POST", "/e2b/v2/sandboxes")
    connection.putheader("X-API-Key", daemon.key)
    connection.putheader("Content-Length", "100")
    connection.endheaders(b'{"templateID":"base"}')
    connection.close()
    assert daemon.request("GET", "/health").status == 200 and daemon.ids() == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"templateID":"base","templateID":"base"}', b"\xff"])
def test_bodies_that_are_none(daemon, body):
    refused(daemon.request("POST", "/e2b/v2/sandboxes", body), 400, error_code="invalid_json")


def test_connect(daemon, one):
    for path in ("/e2b/v2/sandboxes", "/e2b/sandboxes"):
        answer = daemon.request("POST", f"{path}/{one['sandboxID']}/connect", {"timeout": 60})
        assert answer.status == 200 and answer.json == one
    # A shorter time does not take what was promised.
    assert ends_in(info(daemon, one["sandboxID"])) > 3000
    refused(daemon.request("POST", f"/e2b/v2/sandboxes/{one['sandboxID']}/connect", {"memory": False}), 400, "memory")
    refused(daemon.request("POST", f"/e2b/v2/sandboxes/{one['sandboxID']}/connect", {"timeout": -1}), 400, "timeout")


def test_pause_and_connect(daemon):
    made = make(daemon, timeout=900)
    at = f"/e2b/sandboxes/{made['sandboxID']}"
    refused(daemon.request("POST", at + "/pause", {"memory": False}), 400, "memory")
    refused(daemon.request("POST", at + "/pause", b"{"), 400, error_code="invalid_json")
    assert daemon.request("POST", at + "/pause").status == 204, "their earlier clients send no body"
    assert daemon.request("POST", f"/e2b/v2/sandboxes/{made['sandboxID']}/connect", {}).status == 201
    assert daemon.request("POST", at + "/pause", {}).status == 204
    refused(daemon.request("POST", at + "/pause", {}), 409)
    assert info(daemon, made["sandboxID"])["state"] == "paused"
    refused(daemon.request("PUT", at + "/network", {}), 409, "paused")
    answer = daemon.request("POST", f"/e2b/v2/sandboxes/{made['sandboxID']}/connect", {"timeout": 100})
    assert answer.status == 201 and answer.json == made
    shown = info(daemon, made["sandboxID"])
    assert shown["state"] == "running" and 90 < ends_in(shown) <= 100
    assert daemon.request("POST", f"/e2b/v2/sandboxes/{made['sandboxID']}/connect", {}).status == 200
    assert 290 < ends_in(info(daemon, made["sandboxID"])) <= 300
    assert daemon.request("DELETE", at).status == 204


def test_timeout(daemon):
    made = make(daemon)["sandboxID"]
    at = f"/e2b/sandboxes/{made}"
    for seconds in (1000, 50):
        answer = daemon.request("POST", at + "/timeout", {"timeout": seconds})
        assert answer.status == 204 and answer.body == b""
        assert seconds - 10 < ends_in(info(daemon, made)) <= seconds
    for body in ({}, {"timeout": 0}, {"timeout": "1"}, {"timeout": None}, {"timeout": 60, "more": 1}):
        refused(daemon.request("POST", at + "/timeout", body), 400)
    daemon.request("POST", at + "/timeout", {"timeout": 1})
    assert eventually(lambda: daemon.request("GET", at).status == 404, 10)


def test_a_killed_one_is_unknown(daemon, dead):
    at = f"/e2b/sandboxes/{dead}"
    for method, path, body in (("GET", at, None), ("DELETE", at, None), ("POST", at + "/timeout", {"timeout": 9}), ("POST", at + "/pause", {}),
                               ("PUT", at + "/network", {}), ("POST", f"/e2b/v2/sandboxes/{dead}/connect", {}), ("GET", at + "/metrics", None)):
        refused(daemon.request(method, path, body), 404)


def about_one(sandbox):
    at = f"/e2b/sandboxes/{sandbox}"
    return (("GET", at, None), ("DELETE", at, None), ("POST", at + "/timeout", {"timeout": 9}), ("POST", at + "/pause", {}), ("PUT", at + "/network", {}),
            ("POST", f"/e2b/v2/sandboxes/{sandbox}/connect", {}), ("POST", at + "/connect", {}), ("GET", at + "/metrics", None))


def test_anothers_is_unknown(daemon, one, other):
    for (method, path, body), (_, never, _) in zip(about_one(one["sandboxID"]), about_one("sbx-none")):
        answer, unknown = daemon.request(method, path, body, key=other), daemon.request(method, never, body, key=other)
        refused(answer, 404)
        assert answer.json["message"].replace(one["sandboxID"], "") == unknown.json["message"].replace("sbx-none", "")
    assert info(daemon, one["sandboxID"])["state"] == "running"
    assert daemon.request("GET", "/e2b/v2/sandboxes", key=other).json == []


def test_without_a_key(daemon, one):
    requests = [*about_one(one["sandboxID"]), ("POST", "/e2b/v2/sandboxes", {"templateID": "base"}), ("GET", "/e2b/v2/sandboxes", None), ("GET", "/e2b/nothing", None)]
    for method, path, body in requests:
        for key in (None, "e2b_" + "0" * 40, one["envdAccessToken"]):
            refused(daemon.request(method, path, body, key=key), 401)


def test_what_there_is_not(daemon, one):
    for method, path in (("GET", "/e2b/nothing"), ("GET", "/e2b/snapshots"), ("POST", f"/e2b/sandboxes/{one['sandboxID']}/snapshots"), ("DELETE", "/e2b/templates/x"),
                         ("POST", "/e2b/v3/templates"), ("GET", "/e2b/volumes"), ("POST", f"/e2b/sandboxes/{one['sandboxID']}/fork")):
        refused(daemon.request(method, path), 404)
    refused(daemon.request("PATCH", "/e2b/v2/sandboxes"), 405)


@pytest.fixture(scope="module")
def listed():
    """A server of this module's own, whose sandboxes are known."""
    from conftest import Daemon
    daemon = Daemon()
    try:
        made = [make(daemon, metadata={"n": str(n), "odd key": "a&b=c+d %"})["sandboxID"] for n in range(5)]
        assert daemon.request("POST", f"/e2b/sandboxes/{made[2]}/pause", {}).status == 204
        yield daemon, made
    finally:
        assert daemon.stop() == 0


def page(daemon, path="/e2b/v2/sandboxes", **query):
    answer = daemon.request("GET", path + "?" + urlencode(query, doseq=True))
    assert answer.status == 200, answer.body
    return [row["sandboxID"] for row in answer.json], answer.headers["x-next-token"]


def test_lists(listed):
    daemon, made = listed
    assert page(daemon) == (made[::-1], None)
    assert page(daemon, order="asc") == (made, None)
    assert page(daemon, order="asc", state="paused")[0] == [made[2]]
    assert page(daemon, order="asc", state=["running"])[0] == made[:2] + made[3:]
    assert page(daemon, order="asc", state="running,paused")[0] == page(daemon, order="asc", state=["running", "paused"])[0] == made
    assert page(daemon, "/e2b/sandboxes", order="asc")[0] == made[:2] + made[3:]
    assert page(daemon, template="base")[0] == made[::-1] and page(daemon, template="node")[0] == []
    shown = daemon.request("GET", f"/e2b/sandboxes/{made[1]}").json
    assert page(daemon, startedAfter=shown["startedAt"], order="asc")[0] == made[2:]
    assert page(daemon, startedAfter=datetime.now(timezone.utc).isoformat())[0] == []
    row = daemon.request("GET", "/e2b/v2/sandboxes?limit=1").json[0]
    assert {k: v for k, v in info(daemon, made[4]).items() if k in row} == row


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages(listed, order):
    daemon, made = listed
    seen, token = page(daemon, order=order, limit=2)
    while token:
        more, token = page(daemon, order=order, limit=2, nextToken=token)
        assert 0 < len(more) <= 2
        seen += more
    assert seen == (made if order == "asc" else made[::-1])


def test_filters_by_metadata(listed):
    daemon, made = listed

    def filtered(pairs):
        """As their client encodes it."""
        return page(daemon, metadata=urlencode({quote(k, safe=""): quote(v, safe="") for k, v in pairs.items()}))[0]

    assert filtered({"n": "3"}) == [made[3]]
    assert filtered({"odd key": "a&b=c+d %"}) == made[::-1]
    assert filtered({"odd key": "a&b=c+d %", "n": "0"}) == [made[0]]
    assert filtered({"odd key": "a"}) == [] and filtered({"none": ""}) == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=killed", "state=all", "state=x", "order=up", "startedAfter=now", "nextToken=x", "nextToken=1.", "nextToken=x.sbx-1",
                                   "metadata=a", "metadata=a%3D%2500", "metadata=a%3D%25"])
def test_queries_that_are_none(daemon, query):
    refused(daemon.request("GET", "/e2b/v2/sandboxes?" + query), 400, query.partition("=")[0])


def test_network_is_replaced(daemon):
    made = make(daemon, allow_internet_access=False, network={"allowOut": ["a.test"], "allowPublicTraffic": False})
    at = f"/e2b/sandboxes/{made['sandboxID']}"
    assert made["trafficAccessToken"]
    shown = info(daemon, made["sandboxID"])
    assert shown["network"] == {"allowOut": ["a.test"], "denyOut": [ALL], "allowPublicTraffic": False} and shown["allowInternetAccess"] is False
    for body, ours, theirs in (
            ({"allowOut": ["8.8.8.8"], "denyOut": ["8.0.0.0/8"]}, {"allow_out": ["8.8.8.8", "*"], "deny_out": ["8.0.0.0/8"]}, (["8.8.8.8"], ["8.0.0.0/8"])),
            ({"allowOut": ["*.b.test"], "denyOut": [ALL]}, {"allow_out": ["*.b.test"]}, (["*.b.test"], [ALL])),
            ({"allow_internet_access": False}, {"allow_out": []}, ([], [ALL])),
            ({}, {"allow_out": ["*"]}, ([], []))):
        answer = daemon.request("PUT", at + "/network", body)
        assert answer.status == 204 and answer.body == b""
        assert daemon.request("GET", f"/sandboxes/{made['sandboxID']}/network").json["network"] == {**ours, "allow_public_traffic": False}
        shown = info(daemon, made["sandboxID"])
        assert shown["network"] == {"allowOut": theirs[0], "denyOut": theirs[1], "allowPublicTraffic": False}
        assert shown["allowInternetAccess"] is (ALL not in theirs[1])
    for body, word in (({"allowOut": ["a.test"]}, ALL), ({"denyOut": ["a.test"]}, "denyOut[0]"), ({"allowPublicTraffic": True}, "allowPublicTraffic"), ({"rules": {"a": []}}, "rules"),
                       ({"egressProxy": {"address": "a:1"}}, "egressProxy"), ({"allow_out": []}, None), ({"allowOut": "a"}, "allowOut"), ({"allowOut": ["0.0.0.1"]}, "allow_out[0]")):
        answer = daemon.request("PUT", at + "/network", body)
        if word:
            refused(answer, 400, word)
            assert info(daemon, made["sandboxID"])["network"]["denyOut"] == [], "what is refused changes nothing"
    daemon.request("DELETE", at)


def test_metrics(daemon, one):
    at = f"/e2b/sandboxes/{one['sandboxID']}/metrics"
    samples = daemon.request("GET", at).json
    assert samples
    last = samples[-1]
    assert last["cpuCount"] == 2 and last["memTotal"] == last["diskTotal"] == 1 << 30 and last["memUsed"] > 0 and last["cpuUsedPct"] >= 0
    assert abs(last["timestampUnix"] - time.time()) < 60
    assert daemon.request("GET", at + f"?end={int(time.time()) - 3600}").json == []
    refused(daemon.request("GET", at + "?start=x"), 400, "start")


def test_a_sandbox_killed_by_our_api_is_gone_here(daemon):
    made = make(daemon)
    assert daemon.request("DELETE", f"/sandboxes/{made['sandboxID']}").status == 200
    refused(daemon.request("GET", f"/e2b/sandboxes/{made['sandboxID']}"), 404)
    assert made["sandboxID"] not in page(daemon)[0]


def test_a_server_that_closes_by_default(make_daemon):
    """Their clients always say allow_internet_access: that opens nothing which the operator has closed."""
    server = make_daemon("--default-egress", "deny")
    made = make(server, allow_internet_access=True)["sandboxID"]
    network = info(server, made)["network"]
    assert (network["allowOut"], network["denyOut"]) == ([], [ALL])
    assert server.request("GET", f"/sandboxes/{made}").json["network"]["allow_out"] == []
    assert server.request("PUT", f"/e2b/sandboxes/{made}/network", {"allowOut": [ALL]}).status == 204
    assert info(server, made)["network"]["denyOut"] == []
    assert server.request("PUT", f"/e2b/sandboxes/{made}/network", {}).status == 204
    assert info(server, made)["network"]["denyOut"] == [ALL]
