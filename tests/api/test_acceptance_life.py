# SPDX-License-Identifier: Apache-2.0
"""A sandbox's life as published clients walk through it, with the headers and bodies that they send."""

import json
import re
from datetime import datetime

import pytest

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")

# What each published client puts around its requests.
CLIENTS = {
    "python": {"auth": "Authorization", "headers": {"User-Agent": "python-httpx/0.27.0", "Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Content-Type": "application/json"}},
    "js": {"auth": "Authorization", "headers": {"User-Agent": "node", "Accept": "*/*"}},
    "go": {"auth": "Authorization", "headers": {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}},
    "curl": {"auth": "X-API-Key", "headers": {"User-Agent": "curl/8.5.0", "Accept": "*/*"}},
}


class Client:
    def __init__(self, daemon, name):
        self.daemon, self.name = daemon, name
        self.connection = daemon.connect()
        kind = CLIENTS[name]
        value = f"Bearer {daemon.key}" if kind["auth"] == "Authorization" else daemon.key
        self.headers = {**kind["headers"], kind["auth"]: value}

    def __call__(self, method, path, body=None, want=200, **headers):
        """One request on the client's one connection, which is kept. The body of its answer, a JSON object or array."""
        text = None if body is None else json.dumps(body)
        all_headers = {**self.headers, **headers, **({"Content-Type": "application/json"} if body is not None else {})}
        self.connection.request(method, path, body=text, headers=all_headers)
        response = self.connection.getresponse()
        raw = response.read()
        assert response.status == want, (method, path, response.status, raw)
        assert response.headers["Content-Type"].startswith("application/json")
        return json.loads(raw)


@pytest.fixture(params=list(CLIENTS))
def client(request, daemon):
    c = Client(daemon, request.param)
    yield c
    c.connection.close()


@pytest.fixture
def made(client):
    got = client("POST", "/sandboxes", {"template": "base", "timeout": 300, "secure": True}, 201)
    yield got
    client("DELETE", f"/sandboxes/{got['sandbox_id']}")


def test_list(client, made):
    got = client("GET", "/sandboxes")
    assert isinstance(got["sandboxes"], list) and made["sandbox_id"] in [s["sandbox_id"] for s in got["sandboxes"]]
    assert got["next_token"] is None and got["total"] == len(got["sandboxes"])
    for s in got["sandboxes"]:
        assert isinstance(s["metadata"], dict)


def test_create(client, made):
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made["sandbox_id"]) and re.fullmatch(r"sbx-[a-z0-9-]{1,64}", made["sandbox_id"])
    assert made["envd_access_token"] and made["traffic_access_token"] and made["sandbox_domain"] and made["guest_ip"]
    assert (made["template_id"], made["state"], made["timeout"], made["envd_port"]) == ("base", "running", 300, 49983)
    assert made["resources"]["vcpus"] > 0 and made["resources"]["memory_mb"] > 0
    assert made["lifecycle"] == {"on_timeout": "kill", "auto_resume": False}
    assert TIME.match(made["started_at"]) and TIME.match(made["end_at"])
    assert (datetime.fromisoformat(made["end_at"]) - datetime.fromisoformat(made["started_at"])).total_seconds() == 300


def test_get_and_status(client, made):
    got = client("GET", f"/sandboxes/{made['sandbox_id']}")
    assert got == {k: v for k, v in made.items() if not k.endswith("_token")}
    assert client("GET", f"/sandboxes/{made['sandbox_id']}/status") == {"is_running": True}


def test_the_least_that_a_client_sends(client):
    body = {"python": {"template": "base", "timeout": 300, "secure": True}, "js": {"template": "base", "timeout": 300, "secure": True, "metadata": {}}}.get(client.name, {})
    got = client("POST", "/sandboxes", body, 201)
    assert got["timeout"] == 300 and got["template_id"] == "base" and got["metadata"] == {} and got["envs"] == {}
    client("DELETE", f"/sandboxes/{got['sandbox_id']}")


def test_a_new_timeout(client, made):
    path = f"/sandboxes/{made['sandbox_id']}"
    assert client("PATCH", f"{path}/timeout", {"timeout": 600}) == {"ok": True}
    got = client("GET", path)
    assert got["timeout"] == 600 and got["end_at"] > made["end_at"]
    got = client("GET", f"{path}?timeout=1200")
    assert got["timeout"] == 1200


def test_metrics(client, made):
    got = client("GET", f"/sandboxes/{made['sandbox_id']}/metrics")
    newest = got if client.name == "go" else got[-1]
    assert isinstance(got, dict if client.name == "go" else list)
    assert TIME.match(newest["timestamp"])
    assert {k for k, v in newest.items() if isinstance(v, float)} == {"cpu_usage_percent", "memory_usage_mb", "disk_usage_mb"}


def test_metadata_and_envs(client):
    body = {"template": "base", "timeout": 60, "metadata": {"user": "alice", "ünï": "cödé 🎉"}, "envs": {"MY_VAR": "my value"}}
    s = client("POST", "/sandboxes", body, 201)
    path = f"/sandboxes/{s['sandbox_id']}"
    got = client("GET", path)
    assert got["metadata"] == body["metadata"] and got["envs"] == body["envs"]
    done = client("POST", f"{path}/commands", {"cmd": "printf %s \"$MY_VAR\"", "user": "user", "timeout": 60})
    assert (done["stdout"], done["exit_code"]) == ("my value", 0)
    client("DELETE", path)


def test_network_is_stored(client):
    network = {"allow_out": ["api.example.com", "*.example.org"], "deny_out": ["0.0.0.0/0"], "allow_public_traffic": True}
    s = client("POST", "/sandboxes", {"network": network}, 201)
    assert s["network"] == network
    assert client("GET", f"/sandboxes/{s['sandbox_id']}")["network"] == network
    client("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_security_is_stored(client):
    policy = {"pii": {"enabled": True, "types": ["ssn", "phone_number"], "action": "redact"}, "injection_defense": {"enabled": True, "sensitivity": "medium"},
              "network": {"deny_out": ["0.0.0.0/0"]}, "audit": {"enabled": True}, "env_security": {"mask_patterns": ["*_KEY"], "auto_mask_in_audit": True}, "later": {"x": 1}}
    security = {"policy_json": json.dumps(policy)} if client.name in ("python", "js") else policy
    s = client("POST", "/sandboxes", {"security": security}, 201)
    got = client("GET", f"/sandboxes/{s['sandbox_id']}")
    assert s["security"] == got["security"] == security
    assert got["network"] == {"deny_out": ["0.0.0.0/0"]}, "the one inside is used when there is none at the top"
    assert [w.split()[0] for w in s["warnings"]] == ["security.pii", "security.injection_defense", "security.audit"]
    client("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_the_network_at_the_top_wins(client):
    s = client("POST", "/sandboxes", {"network": {"allow_out": ["top.test"]}, "security": {"network": {"allow_out": ["inside.test"]}}}, 201)
    assert s["network"] == {"allow_out": ["top.test"]}
    client("DELETE", f"/sandboxes/{s['sandbox_id']}")


REFUSED = [
    ({"resources": {"vcpus": 8}}, 403, "resources_not_allowed", "resources"),
    ({"template": "no-such"}, 404, "unknown_template", "template"),
    ({"timeout": 0}, 400, "invalid_timeout", "timeout"),
    ({"vault_refs": {"A": "vault://t/prod/n"}}, 400, "unsupported_option", "vault_refs"),
]


@pytest.mark.parametrize("body, status, code, word", REFUSED, ids=[r[3] for r in REFUSED])
def test_what_is_refused_is_named(client, body, status, code, word):
    got = client("POST", "/sandboxes", body, status)
    assert got["code"] == code and word in got["message"]


def test_what_is_empty_or_unknown_is_fine(client):
    body = {"vault_refs": {}, "volumes": [], "resources": None, "lifecycle": {}, "metadata": None, "something_new": {"a": [1]}}
    s = client("POST", "/sandboxes", body, 201)
    client("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_pause_resume_and_a_kill_that_waits(client):
    s = client("POST", "/sandboxes", {"lifecycle": {"on_timeout": "pause", "auto_resume": False}}, 201)
    path = f"/sandboxes/{s['sandbox_id']}"
    assert s["lifecycle"] == {"on_timeout": "pause", "auto_resume": False}
    assert client("POST", f"{path}/pause") == {}
    assert client("GET", path)["state"] == "paused"
    assert client("GET", f"{path}/status") == {"is_running": False}
    assert client("POST", f"{path}/commands", {"cmd": "true", "user": "user", "timeout": 60}, 409)["code"] == "sandbox_paused"
    got = client("POST", f"{path}/resume")
    assert got["resumed"] is True and got["sandbox_id"] == s["sandbox_id"] and "node_id" in got and "snapshot_id" in got
    assert client("GET", path)["state"] in ("live", "running")
    assert client("POST", f"{path}/resume", want=409)["code"] == "not_paused"
    client("POST", f"{path}/pause")
    assert client("DELETE", path) == {"killed": True}
    got = client("GET", path)
    assert got["state"] == "killed" and got["sandbox_id"] == s["sandbox_id"] and got["template_id"] == "base"
    assert client("DELETE", path) == {"killed": True}
    assert client("POST", f"{path}/commands", {"cmd": "true"}, 410)["message"]


def test_kills_without_waiting(client):
    ids = [client("POST", "/sandboxes", {}, 201)["sandbox_id"] for _ in range(3)]
    assert client("DELETE", f"/sandboxes/{ids[0]}?async=true", want=202) == {"queued": True}
    got = client("POST", "/sandboxes/kill-many?async=true", {"sandbox_ids": ids[1:2]}, 202)
    assert got == {"results": {ids[1]: {"queued": True}}}
    got = client("POST", "/sandboxes/kill-many", {"sandbox_ids": [ids[2], "sbx-nothere1"]})
    assert got["results"][ids[2]] == {"killed": True} and list(got["results"]["sbx-nothere1"]) == ["error"]
    assert {client("GET", f"/sandboxes/{i}")["state"] for i in ids} == {"killed"}
    assert client("POST", "/sandboxes/kill-many", {"sandbox_ids": []}) == {"results": {}}


def test_one_that_never_was(client):
    for method, below, body in [("GET", "", None), ("DELETE", "", None), ("GET", "/status", None), ("GET", "/metrics", None), ("PATCH", "/timeout", {"timeout": 60}), ("POST", "/pause", None), ("POST", "/resume", None)]:
        got = client(method, f"/sandboxes/sbx-nothere1{below}", body, 404)
        assert got["code"] == "sandbox_not_found" and got["message"]


def test_paging_by_token(client):
    tag = f"page-{client.name}"
    ids = [client("POST", "/sandboxes", {"metadata": {"tag": tag}}, 201)["sandbox_id"] for _ in range(3)]
    client("POST", f"/sandboxes/{ids[1]}/pause")
    seen, token = [], ""
    while token is not None:
        page = client("GET", f"/sandboxes?limit=1&metadata.tag={tag}&next_token={token}")
        assert len(page["sandboxes"]) == 1 and page["total"] == 3
        seen.append(page["sandboxes"][0]["sandbox_id"])
        token = page["next_token"]
    assert seen == ids
    assert client("POST", "/sandboxes/kill-many", {"sandbox_ids": ids}) == {"results": {i: {"killed": True} for i in ids}}


@pytest.mark.parametrize("header, value", [("X-API-Key", "wrong"), ("Authorization", "Bearer wrong"), ("Authorization", "Basic abc"), (None, None)])
@pytest.mark.parametrize("method, path", [("GET", "/sandboxes"), ("POST", "/sandboxes/sbx-1/pause"), ("GET", "/sandboxes/sbx-1/metrics")])
def test_without_the_key(daemon, header, value, method, path):
    answer = daemon.request(method, path, headers={header: value} if header else {}, key=None)
    assert answer.status == 401 and answer.message
