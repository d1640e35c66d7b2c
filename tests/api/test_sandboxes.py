# SPDX-License-Identifier: Apache-2.0
"""Create, read, list, kill, time-outs, idempotency."""

import json
import re
import threading
import time
import uuid
from datetime import datetime, timedelta

import pytest

from conftest import eventually

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")


def test_create_returns_the_whole_object(daemon):
    s = daemon.create(timeout=60, metadata={"a": "b"}, envs={"E": "1"})
    assert re.fullmatch(r"sbx-[a-z0-9]{8}", s["sandbox_id"])
    assert (s["template_id"], s["name"], s["state"], s["timeout"]) == ("base", "base", "running", 60)
    assert (s["metadata"], s["envs"], s["network"], s["security"]) == ({"a": "b"}, {"E": "1"}, None, None)
    assert s["lifecycle"] == {"on_timeout": "kill", "auto_resume": False}
    assert s["resources"] == {"vcpus": 2, "memory_mb": 1024}
    assert TIME.match(s["started_at"]) and TIME.match(s["end_at"])
    assert datetime.fromisoformat(s["end_at"]) - datetime.fromisoformat(s["started_at"]) == timedelta(seconds=60)
    assert s["envd_access_token"] and s["traffic_access_token"] and s["envd_port"] == 49983
    assert re.fullmatch(r"100\.(9[6-9]|1[01]\d)\.\d+\.\d+", s["guest_ip"])
    assert s["sandbox_domain"] == f"127.0.0.1:{daemon.port}"
    got = daemon.request("GET", f"/sandboxes/{s['sandbox_id']}").json
    assert "envd_access_token" not in got and "traffic_access_token" not in got
    assert got == {k: v for k, v in s.items() if not k.endswith("_token")}
    daemon.request("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_policies_are_echoed_as_given(daemon):
    network = {"allow_out": ["API.github.com", "*.x.test:443"], "deny_out": ["0.0.0.0/0"], "allow_public_traffic": True}
    security = {"audit": {"enabled": True}, "x": [1, None]}
    s = daemon.create(network=network, security=security)
    got = daemon.request("GET", f"/sandboxes/{s['sandbox_id']}").json
    assert got["network"] == network and got["security"] == security
    daemon.request("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_policy_json_and_its_network(daemon):
    text = json.dumps({"network": {"allow_out": ["a.test"]}, "pii": {"enabled": False}})
    s = daemon.create(security={"policy_json": text})
    assert s["security"] == {"policy_json": text}
    assert s["network"] == {"allow_out": ["a.test"]}
    daemon.request("DELETE", f"/sandboxes/{s['sandbox_id']}")


BAD_CREATES = [
    ({"template": "no-such-template"}, 404, "unknown_template", "template"),
    ({"template": ""}, 400, "invalid_field", "template"),
    ({"template": "x" * 64}, 400, "invalid_field", "template"),
    ({"template": "../base"}, 400, "invalid_field", "template"),
    ({"template": "base\0"}, 400, "invalid_field", "template"),
    ({"template": 1}, 400, "invalid_field", "template"),
    ({"name": ""}, 400, "invalid_field", "name"),
    ({"name": "x" * 129}, 400, "invalid_field", "name"),
    ({"timeout": 0}, 400, "invalid_timeout", "timeout"),
    ({"timeout": 1000000}, 400, "invalid_timeout", "timeout"),
    ({"timeout": -5}, 400, "invalid_timeout", "timeout"),
    ({"timeout": "60"}, 400, "invalid_field", "timeout"),
    ({"timeout": 1.5}, 400, "invalid_field", "timeout"),
    ({"metadata": {"": "x"}}, 400, "invalid_field", "metadata"),
    ({"metadata": {"k" * 257: "x"}}, 400, "invalid_field", "metadata"),
    ({"metadata": {str(i): "" for i in range(257)}}, 400, "invalid_field", "metadata"),
    ({"metadata": {"a": "x" * 65536}}, 400, "invalid_field", "metadata"),
    ({"metadata": {"a": 1}}, 400, "invalid_field", "metadata"),
    ({"envs": {"A-B": "x"}}, 400, "invalid_field", "envs"),
    ({"envs": {"A": "x\0y"}}, 400, "invalid_field", "envs"),
    ({"envs": []}, 400, "invalid_field", "envs"),
    ({"network": "all"}, 400, "invalid_field", "network"),
    ({"network": {"allow_out": "a.test"}}, 400, "invalid_field", "network.allow_out"),
    ({"network": {"allow_out": ["a.test", "not a host"]}}, 400, "invalid_network_entry", "network.allow_out[1]"),
    ({"network": {"allow_out": [""]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"allow_out": ["x" * 300 + ".test"]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"allow_out": ["http://a.test/"]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"allow_out": ["a.test\0.b.test"]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"deny_out": ["10.0.0.0/33"]}}, 400, "invalid_network_entry", "network.deny_out[0]"),
    ({"network": {"deny_out": ["1.2.3"]}}, 400, "invalid_network_entry", "network.deny_out[0]"),
    ({"network": {"deny_out": [None]}}, 400, "invalid_network_entry", "network.deny_out[0]"),
    ({"network": {"allow_out": ["~["]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"allow_out": ["~^(a+)+$"]}}, 400, "invalid_network_entry", "network.allow_out[0]"),
    ({"network": {"mask_request_host": "local host"}}, 400, "invalid_field", "network.mask_request_host"),
    ({"network": {"mask_request_host": True}}, 400, "invalid_field", "network.mask_request_host"),
    ({"security": {"network": {"allow_out": ["a b"]}}}, 400, "invalid_network_entry", "allow_out[0]"),
    ({"security": {"policy_json": "{"}}, 400, "invalid_json", "security.policy_json"),
    ({"lifecycle": {"on_timeout": "sleep"}}, 400, "invalid_field", "lifecycle.on_timeout"),
    ({"lifecycle": {"on_timeout": None, "auto_resume": "yes"}}, 400, "invalid_field", "auto_resume"),
    ({"volumes": [{"volume_id": "v"}]}, 400, "invalid_field", "volumes[0].mount_path"),
    ({"vault_refs": {"A": "vault://a/b/c"}}, 400, "unsupported_option", "vault_refs"),
    ({"resources": {"vcpus": 64}}, 403, "resources_not_allowed", "resources"),
]


PII = {"pii": {"enabled": True, "types": ["ssn"]}, "audit": {"enabled": False}}


@pytest.mark.parametrize(
    "security, features",
    [
        (PII, ["pii"]),
        ({"policy_json": json.dumps(PII)}, ["pii"]),
        ({"pii": {"enabled": True}, "injection_defense": {"enabled": True, "sensitivity": "high"}, "audit": {"enabled": True}}, ["pii", "injection_defense", "audit"]),
        ({"transformations": [{"match": "a", "replace": "b", "direction": "both"}]}, ["transformations"]),
        ({"env_security": {"mask_patterns": ["*_KEY"]}, "network": {"allow_out": ["a.test"]}, "future": {"enabled": True}}, []),
    ],
)
def test_what_is_not_supported_is_said(daemon, security, features):
    s = daemon.create(security=security)
    assert s["security"] == security
    assert [w.split()[0] for w in s.get("warnings", [])] == [f"security.{f}" for f in features]
    assert all("supported" in w for w in s.get("warnings", []))
    got = daemon.request("GET", f"/sandboxes/{s['sandbox_id']}").json
    assert got["security"] == security and "warnings" not in got
    daemon.request("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_warnings_are_repeated_to_a_repeated_request(daemon):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answers = [daemon.request("POST", "/sandboxes", {"security": PII}, headers) for _ in range(2)]
    assert [a.status for a in answers] == [201, 201] and answers[0].json == answers[1].json and answers[0].json["warnings"]
    daemon.request("DELETE", f"/sandboxes/{answers[0].json['sandbox_id']}")


def test_a_strict_server_refuses_what_it_does_not_have(make_daemon):
    d = make_daemon("--strict-security")
    for security, word in [(PII, "security.pii"), ({"policy_json": json.dumps(PII)}, "security.pii"), ({"audit": {"enabled": True}}, "security.audit")]:
        answer = d.request("POST", "/sandboxes", {"security": security})
        assert (answer.status, answer.code) == (422, "unsupported_security") and word in answer.message
    assert d.ids("?state=all") == []
    s = d.create(security={"pii": {"enabled": False}, "network": {"allow_out": ["a.test"]}})
    assert s["network"] == {"allow_out": ["a.test"]} and "warnings" not in s


@pytest.mark.parametrize("body, status, code, field", BAD_CREATES, ids=[f"{i}-{row[3]}" for i, row in enumerate(BAD_CREATES)])
def test_bad_create_names_the_field_and_changes_nothing(daemon, body, status, code, field):
    before = daemon.ids("?state=all&limit=1000")
    answer = daemon.request("POST", "/sandboxes", body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert field in answer.message
    assert daemon.ids("?state=all&limit=1000") == before


def test_a_regex_within_bounds_is_fine(daemon):
    s = daemon.create(network={"allow_out": ["~^api[0-9]+\\.x\\.test$"]})
    daemon.request("DELETE", f"/sandboxes/{s['sandbox_id']}")


def test_kill_and_what_stays(daemon):
    sandbox = daemon.create(metadata={"kept": "yes"})["sandbox_id"]
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": True}
    answer = daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert (answer.status, answer.json) == (200, {"killed": True})
    got = daemon.request("GET", f"/sandboxes/{sandbox}").json
    assert got["state"] == "killed" and got["kill_reason"] == "killed" and got["metadata"] == {"kept": "yes"}
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": False}
    again = daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert (again.status, again.json) == (200, {"killed": True})
    assert sandbox not in daemon.ids()
    assert sandbox in daemon.ids("?state=killed&limit=1000") and sandbox in daemon.ids("?state=all&limit=1000")


@pytest.mark.parametrize(
    "method, below, body",
    [("POST", "/commands", {"cmd": "true"}), ("GET", "/commands", None), ("GET", "/files?path=/etc/passwd", None), ("POST", "/files", {"path": "x", "data": ""}), ("PUT", "/files/raw?path=x", b"data"), ("GET", "/files/raw?path=x", None), ("PATCH", "/timeout", {"timeout": 60})],
)
def test_a_killed_sandbox_is_gone(daemon, method, below, body):
    sandbox = daemon.create()["sandbox_id"]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answer = daemon.request(method, f"/sandboxes/{sandbox}{below}", body)
    assert (answer.status, answer.code) == (410, "sandbox_killed")
    assert daemon.request("GET", f"/sandboxes/{sandbox}/network/log").status == 200


def test_kill_in_the_background(daemon):
    sandbox = daemon.create()["sandbox_id"]
    answer = daemon.request("DELETE", f"/sandboxes/{sandbox}?async=true")
    assert (answer.status, answer.json) == (202, {"queued": True})
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": False}
    assert daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"}).status == 410
    assert eventually(lambda: sandbox in daemon.ids("?state=killed&limit=1000"))
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}?async=true").status == 202


@pytest.mark.parametrize("query, status, key", [("", 200, "killed"), ("?async=true", 202, "queued")])
def test_kill_many(daemon, query, status, key):
    ids = [daemon.create()["sandbox_id"] for _ in range(3)]
    answer = daemon.request("POST", "/sandboxes/kill-many" + query, {"sandbox_ids": [*ids, "sbx-nothing1"]})
    assert answer.status == status
    assert {i: answer.json["results"][i] for i in ids} == {i: {key: True} for i in ids}
    assert "error" in answer.json["results"]["sbx-nothing1"]
    assert eventually(lambda: not set(ids) & set(daemon.ids()))


@pytest.mark.parametrize("body", [{}, {"sandbox_ids": "x"}, {"sandbox_ids": [1]}, {"sandbox_ids": ["x" * 100]}, {"sandbox_ids": ["x"] * 1001}])
def test_kill_many_of_what_is_no_list(daemon, body):
    answer = daemon.request("POST", "/sandboxes/kill-many", body)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert "sandbox_ids" in answer.message


def test_killing_twice_at_one_time(daemon):
    sandbox = daemon.create()["sandbox_id"]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.request("DELETE", f"/sandboxes/{sandbox}").json)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [{"killed": True}] * 8


def test_expiry_kills(daemon):
    sandbox = daemon.create(timeout=1)["sandbox_id"]
    begun = time.monotonic()
    assert eventually(lambda: not daemon.request("GET", f"/sandboxes/{sandbox}/status").json["is_running"])
    assert 0.8 < time.monotonic() - begun < 2
    assert eventually(lambda: daemon.request("GET", f"/sandboxes/{sandbox}").json["state"] == "killed")
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["kill_reason"] == "timeout"


def test_a_new_timeout_counts_from_now(daemon):
    sandbox = daemon.create(timeout=2)["sandbox_id"]
    time.sleep(1)
    answer = daemon.request("PATCH", f"/sandboxes/{sandbox}/timeout", {"timeout": 60})
    assert (answer.status, answer.json) == (200, {"ok": True})
    got = daemon.request("GET", f"/sandboxes/{sandbox}").json
    assert got["timeout"] == 60
    assert datetime.fromisoformat(got["end_at"]) - datetime.fromisoformat(got["started_at"]) > timedelta(seconds=60)
    time.sleep(1.5)
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": True}
    daemon.request("PATCH", f"/sandboxes/{sandbox}/timeout", {"timeout": 1})
    assert eventually(lambda: not daemon.request("GET", f"/sandboxes/{sandbox}/status").json["is_running"])


@pytest.mark.parametrize("body, code", [({"timeout": 0}, "invalid_timeout"), ({"timeout": 1000000}, "invalid_timeout"), ({}, "invalid_timeout"), ({"timeout": "1"}, "invalid_field"), ({"timeout": None}, "invalid_timeout")])
def test_bad_new_timeout(daemon, sandbox, body, code):
    before = daemon.request("GET", f"/sandboxes/{sandbox}").json
    answer = daemon.request("PATCH", f"/sandboxes/{sandbox}/timeout", body)
    assert (answer.status, answer.code) == (400, code)
    assert "timeout" in answer.message
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json == before


def test_get_with_a_timeout_extends_and_never_shortens(daemon, sandbox):
    got = daemon.request("GET", f"/sandboxes/{sandbox}?timeout=3000").json
    assert got["timeout"] == 3000
    assert daemon.request("GET", f"/sandboxes/{sandbox}?timeout=5").json["end_at"] == got["end_at"]
    for bad in ("0", "1000000", "x", "-1", ""):
        answer = daemon.request("GET", f"/sandboxes/{sandbox}?timeout={bad}")
        assert answer.status == 400 and "timeout" in answer.message


def test_list_in_pages(daemon):
    for sandbox in daemon.ids():
        daemon.request("DELETE", f"/sandboxes/{sandbox}")
    made = [daemon.create(metadata={"n": str(i), "group": "pages"})["sandbox_id"] for i in range(5)]
    seen, query = [], "?limit=2"
    for _ in range(3):
        page = daemon.request("GET", "/sandboxes" + query).json
        assert page["total"] == 5
        seen += [s["sandbox_id"] for s in page["sandboxes"]]
        query = f"?limit=2&next_token={page['next_token']}"
    assert page["next_token"] is None
    assert seen == made
    assert daemon.ids("?offset=3") == made[3:]
    assert daemon.ids("?offset=99") == []
    assert daemon.ids("?metadata=%7B%22n%22%3A%223%22%7D") == [made[3]]
    assert daemon.ids("?metadata=%7B%27n%27%3A+%274%27%7D") == [made[4]]
    assert daemon.ids("?metadata.group=pages&metadata.n=1") == [made[1]]
    assert daemon.ids("?state=live") == made and daemon.ids("?state=running&state=paused") == made
    assert daemon.ids("?state=paused") == []
    daemon.request("POST", "/sandboxes/kill-many", {"sandbox_ids": made})
    assert daemon.ids("?state=killed&metadata.group=pages") == made
    assert daemon.ids("?state=killed&metadata.group=pages&limit=2&offset=1") == made[1:3]


@pytest.mark.parametrize("query, field", [("limit=0", "limit"), ("limit=x", "limit"), ("offset=-1", "offset"), ("next_token=x", "next_token"), ("state=odd", "state")])
def test_bad_list(daemon, query, field):
    answer = daemon.request("GET", "/sandboxes?" + query)
    assert (answer.status, answer.code) == (400, "invalid_field")
    assert field in answer.message


def test_the_same_key_gives_the_same_sandbox(daemon):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    before = len(daemon.ids())
    first = daemon.request("POST", "/sandboxes", '{"timeout": 60, "metadata": {"a": "1", "b": "2"}}', headers)
    second = daemon.request("POST", "/sandboxes", '{"metadata":{"b":"2","a":"1"},"timeout":60}', headers)
    assert first.status == second.status == 201
    assert first.json == second.json
    assert len(daemon.ids()) == before + 1
    other = daemon.request("POST", "/sandboxes", {"timeout": 61}, headers)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert len(daemon.ids()) == before + 1


def test_a_failed_create_frees_its_key(daemon):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    assert daemon.request("POST", "/sandboxes", {"timeout": 0}, headers).status == 400
    assert daemon.request("POST", "/sandboxes", {"timeout": 60}, headers).status == 201


def test_the_same_key_at_one_time_makes_one_sandbox(daemon):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    before = len(daemon.ids())
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.request("POST", "/sandboxes", {}, headers))) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    made = {a.json["sandbox_id"] for a in answers if a.status == 201}
    assert len(made) == 1
    for a in answers:
        assert a.status == 201 or (a.status, a.code, a.headers["Retry-After"]) == (409, "idempotency_in_progress", "1")
    assert len(daemon.ids()) == before + 1


@pytest.mark.parametrize("key", ["", "x" * 600])
def test_an_idempotency_key_that_is_none(daemon, key):
    answer = daemon.request("POST", "/sandboxes", {}, {"Idempotency-Key": key})
    assert answer.status == 400 and "Idempotency-Key" in answer.message


def test_a_sandbox_that_ends_by_itself_is_killed(daemon):
    sandbox = daemon.create()["sandbox_id"]
    daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "kill -9 1; kill -TERM 1; true", "user": "root", "timeout": 5})
    # PID 1 can not be killed from inside; the keeper sees it when the host kills it.
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": True}
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_many_creates_and_kills_side_by_side(daemon):
    before = set(daemon.ids())
    failures = []

    def work():
        for _ in range(5):
            sandbox = daemon.create()["sandbox_id"]
            if daemon.run(sandbox, "echo ok")["stdout"] != "ok\n":
                failures.append(sandbox)
            daemon.request("DELETE", f"/sandboxes/{sandbox}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert set(daemon.ids()) == before
