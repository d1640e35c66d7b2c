# SPDX-License-Identifier: Apache-2.0
"""Several keys, several owners: what is another owner's does not exist."""

import json
import subprocess
import time

import pytest

from conftest import build_dir, eventually

# Every route about one sandbox. With another owner's key each must be as for an id that never was.
SANDBOX_ROUTES = {
    ("GET", "/sandboxes/{id}"),
    ("DELETE", "/sandboxes/{id}"),
    ("GET", "/sandboxes/{id}/status"),
    ("PATCH", "/sandboxes/{id}/timeout"),
    ("POST", "/sandboxes/{id}/pause"),
    ("POST", "/sandboxes/{id}/resume"),
    ("POST", "/sandboxes/{id}/snapshot"),
    ("POST", "/sandboxes/{id}/snapshots"),
    ("GET", "/sandboxes/{id}/snapshots"),
    ("DELETE", "/sandboxes/{id}/snapshots/{snapshot_id}"),
    ("POST", "/sandboxes/{id}/restore"),
    ("GET", "/sandboxes/{id}/metrics"),
    ("POST", "/sandboxes/{id}/commands"),
    ("GET", "/sandboxes/{id}/commands"),
    ("POST", "/sandboxes/{id}/commands/stream"),
    ("DELETE", "/sandboxes/{id}/commands/{pid}"),
    ("GET", "/sandboxes/{id}/commands/{pid}/wait"),
    ("GET", "/sandboxes/{id}/commands/{pid}/stream"),
    ("POST", "/sandboxes/{id}/commands/{pid}/stdin"),
    ("POST", "/sandboxes/{id}/commands/{pid}/stdin/close"),
    ("POST", "/sandboxes/{id}/commands/{pid}/signal"),
    ("POST", "/sandboxes/{id}/pty"),
    ("GET", "/sandboxes/{id}/pty/{pid}/stream"),
    ("POST", "/sandboxes/{id}/pty/{pid}/stdin"),
    ("PATCH", "/sandboxes/{id}/pty/{pid}"),
    ("DELETE", "/sandboxes/{id}/pty/{pid}"),
    ("POST", "/sandboxes/{id}/stdio"),
    ("GET", "/sandboxes/{id}/stdio/{cmd_id}/stream"),
    ("POST", "/sandboxes/{id}/stdio/{cmd_id}/stdin"),
    ("POST", "/sandboxes/{id}/stdio/{cmd_id}/stdin/close"),
    ("DELETE", "/sandboxes/{id}/stdio/{cmd_id}"),
    ("GET", "/sandboxes/{id}/files"),
    ("POST", "/sandboxes/{id}/files"),
    ("DELETE", "/sandboxes/{id}/files"),
    ("PATCH", "/sandboxes/{id}/files"),
    ("POST", "/sandboxes/{id}/files/batch"),
    ("GET", "/sandboxes/{id}/files/list"),
    ("GET", "/sandboxes/{id}/files/exists"),
    ("GET", "/sandboxes/{id}/files/info"),
    ("POST", "/sandboxes/{id}/files/mkdir"),
    ("POST", "/sandboxes/{id}/files/watch"),
    ("GET", "/sandboxes/{id}/files/raw"),
    ("PUT", "/sandboxes/{id}/files/raw"),
    ("GET", "/sandboxes/{id}/network"),
    ("PUT", "/sandboxes/{id}/network"),
    ("PATCH", "/sandboxes/{id}/network"),
    ("GET", "/sandboxes/{id}/network/log"),
    ("GET", "/sandboxes/{id}/network/suggest"),
    ("ANY", "/sandboxes/{id}/ports/{port}"),
    ("ANY", "/sandboxes/{id}/ports/{port}/{rest...}"),
    ("POST", "/sandboxes/{id}/volumes/snapshot"),
    ("POST", "/sandboxes/{id}/volumes/{volume_id}/commit"),
}
# The others, with the test below (or elsewhere) that shows what they tell another owner.
OTHER_ROUTES = {
    ("GET", "/health"): "of nobody",
    ("GET", "/metrics"): "numbers of all, no ids: test_metrics.py",
    ("GET", "/openapi.json"): "of nobody",
    ("GET", "/auth/me"): "test_accounts.py",
    ("GET", "/accounts/{owner}"): "test_accounts.py",
    ("GET", "/accounts/{owner}/api-keys"): "test_accounts.py",
    ("POST", "/accounts/{owner}/api-keys"): "test_accounts.py",
    ("DELETE", "/accounts/{owner}/api-keys/{key_id}"): "test_accounts.py",
    ("GET", "/accounts/{owner}/wallet"): "test_accounts.py",
    ("GET", "/accounts/{owner}/usage"): "test_accounts.py",
    ("GET", "/accounts/{owner}/usage/daily"): "test_accounts.py",
    ("GET", "/accounts/{owner}/deposits"): "test_accounts.py",
    ("GET", "/accounts/{owner}/overview"): "test_accounts.py",
    ("POST", "/sandboxes"): "test_idempotency_keys_are_an_owners_own",
    ("GET", "/sandboxes"): "test_lists_show_ones_own",
    ("GET", "/snapshots"): "test_snapshots.py",
    ("POST", "/sandboxes/kill-many"): "test_kill_many_does_not_know_others",
    ("POST", "/volumes"): "test_volumes.py",
    ("GET", "/volumes"): "test_volumes.py",
    ("POST", "/volumes/empty"): "test_volumes.py",
    ("POST", "/volumes/ingest"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}"): "test_volumes.py",
    ("DELETE", "/volumes/{volume_id}"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/download"): "test_volumes.py",
    ("PUT", "/volumes/{volume_id}/files/raw"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/files/raw"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/files/list"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/files/info"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/files/exists"): "test_volumes.py",
    ("DELETE", "/volumes/{volume_id}/files"): "test_volumes.py",
    ("PATCH", "/volumes/{volume_id}/files"): "test_volumes.py",
    ("POST", "/volumes/{volume_id}/files/mkdir"): "test_volumes.py",
    ("GET", "/volumes/{volume_id}/locks"): "test_volumes.py",
    ("POST", "/volumes/{volume_id}/locks"): "test_volumes.py",
    ("DELETE", "/volumes/{volume_id}/locks"): "test_volumes.py",
    ("POST", "/volumes/{volume_id}/locks/renew"): "test_volumes.py",
    ("GET", "/templates"): "test_templates.py, as the next six",
    ("POST", "/templates/build"): "another's template is no base",
    ("POST", "/templates/import"): "an alias is an owner's own",
    ("POST", "/templates/debian"): "as build",
    ("GET", "/templates/builds/{build_id}"): "unknown",
    ("GET", "/templates/{template_id}"): "unknown",
    ("DELETE", "/templates/{template_id}"): "unknown",
}


def cli(daemon, *words):
    result = subprocess.run([str(build_dir() / "src/cli/declaw"), "key", words[0], "--data", str(daemon.data), "--json", *words[1:]], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def new_key(daemon, owner):
    """A key by the command line, when the server has seen it."""
    made = cli(daemon, "create", "--name", "test", "--owner", owner)
    assert eventually(lambda: daemon.request("GET", "/auth/me", key=made["api_key"]).status == 200, 1)
    return made


@pytest.fixture(scope="module")
def other(daemon):
    return new_key(daemon, "other")["api_key"]


@pytest.fixture(scope="module")
def alive(daemon):
    return daemon.create(timeout=3600, network={"allow_out": ["example.com"]})["sandbox_id"]


@pytest.fixture(scope="module")
def dead(daemon):
    sandbox_id = daemon.create()["sandbox_id"]
    assert daemon.request("DELETE", f"/sandboxes/{sandbox_id}").status == 200
    return sandbox_id


def routes():
    text = subprocess.run([str(build_dir() / "src/declawd/declawd"), "--print-routes"], capture_output=True, text=True, check=True, timeout=60).stdout
    return [tuple(line.split(" ")) for line in text.splitlines() if not line.split(" ")[1].startswith(("/e2b/", "/files", "/{rest...}"))]


def test_every_route_is_listed():
    there = routes()
    assert len(there) == len(set(there))
    listed = SANDBOX_ROUTES | set(OTHER_ROUTES)
    assert set(there) - listed == set(), "say here what these routes tell another owner's key"
    assert listed - set(there) == set()
    # What names a sandbox is tried below.
    assert {r for r in there if r[1].startswith("/sandboxes/{id}")} == SANDBOX_ROUTES


def path_of(pattern, sandbox_id):
    filled = pattern.replace("{id}", sandbox_id)
    for word in ("{pid}", "{cmd_id}", "{snapshot_id}", "{port}", "{rest...}", "{volume_id}"):
        filled = filled.replace(word, "1")
    assert "{" not in filled
    return filled + "?path=/etc/hostname"


@pytest.mark.parametrize("state", ["alive", "dead"])
def test_others_sandboxes_are_unknown_on_every_route(daemon, other, alive, dead, state):
    sandbox_id = {"alive": alive, "dead": dead}[state]
    before = daemon.request("GET", f"/sandboxes/{sandbox_id}").json
    for method, pattern in sorted(SANDBOX_ROUTES):
        never = daemon.request(method, path_of(pattern, "sbx-never000"), b"{}", key=other)
        theirs = daemon.request(method, path_of(pattern, sandbox_id), b"{}", key=other)
        assert (never.status, never.code) == (404, "sandbox_not_found"), (method, pattern)
        assert (theirs.status, theirs.body) == (never.status, never.body), (method, pattern)
        # Also what is wrong in itself says no more.
        bad = daemon.request(method, path_of(pattern, sandbox_id), b"{", key=other)
        assert (bad.status, bad.body) == (never.status, never.body), (method, pattern)
    assert daemon.request("GET", f"/sandboxes/{sandbox_id}").json == before
    if state == "alive":
        assert before["state"] == "running"
        assert daemon.run(sandbox_id, "echo here")["stdout"] == "here\n"


def test_lists_show_ones_own(daemon, other, alive, dead):
    mine = daemon.ids("?state=all")
    assert alive in mine and dead in mine
    for query in ("", "?state=all", "?state=killed"):
        answer = daemon.request("GET", "/sandboxes" + query, key=other).json
        assert answer["sandboxes"] == [] and answer["total"] == 0 and answer["next_token"] is None
    made = daemon.request("POST", "/sandboxes", {}, key=other)
    assert made.status == 201
    theirs = made.json["sandbox_id"]
    assert [s["sandbox_id"] for s in daemon.request("GET", "/sandboxes", key=other).json["sandboxes"]] == [theirs]
    assert theirs not in daemon.ids("?state=all")
    assert daemon.request("GET", f"/sandboxes/{theirs}").status == 404
    assert daemon.request("DELETE", f"/sandboxes/{theirs}").status == 404
    assert daemon.request("DELETE", f"/sandboxes/{theirs}", key=other).status == 200


@pytest.mark.parametrize("query, done", [("", {"killed": True}), ("?async=true", {"queued": True})])
def test_kill_many_does_not_know_others(daemon, other, alive, dead, query, done):
    own = daemon.request("POST", "/sandboxes", {}, key=other).json["sandbox_id"]
    ids = [alive, dead, "sbx-never000", own]
    answer = daemon.request("POST", "/sandboxes/kill-many" + query, {"sandbox_ids": ids}, key=other)
    results = answer.json["results"]
    assert results[alive] == results[dead] == results["sbx-never000"]
    assert "error" in results[alive] and results[own] == done
    assert daemon.request("GET", f"/sandboxes/{alive}/status").json == {"is_running": True}


def test_idempotency_keys_are_an_owners_own(daemon, other):
    header = {"Idempotency-Key": "shared-by-chance"}
    mine = daemon.request("POST", "/sandboxes", {"timeout": 60}, header)
    # Another body, and not even a hint that somebody has used the key.
    theirs = daemon.request("POST", "/sandboxes", {"timeout": 61}, header, key=other)
    assert (mine.status, theirs.status) == (201, 201)
    assert mine.json["sandbox_id"] != theirs.json["sandbox_id"]
    assert daemon.request("POST", "/sandboxes", {"timeout": 60}, header).json == mine.json
    assert daemon.request("POST", "/sandboxes", {"timeout": 60}, header, key=other).code == "idempotency_key_reused"
    # Of one owner, whichever of its keys.
    second = new_key(daemon, "other")["api_key"]
    assert daemon.request("POST", "/sandboxes", {"timeout": 61}, header, key=second).json == theirs.json
    daemon.request("DELETE", f"/sandboxes/{mine.json['sandbox_id']}")
    daemon.request("DELETE", f"/sandboxes/{theirs.json['sandbox_id']}", key=other)


def test_a_revoked_key_opens_nothing_within_a_second(daemon):
    made = new_key(daemon, "leaver")
    sandbox_id = daemon.request("POST", "/sandboxes", {}, key=made["api_key"]).json["sandbox_id"]
    connection = daemon.connect()
    headers = {"Authorization": "Bearer " + made["api_key"]}
    connection.request("GET", "/auth/me", headers=headers)
    assert connection.getresponse().read() and True
    cli(daemon, "revoke", made["key_id"])
    time.sleep(1)
    # Not on a connection either that was opened with it.
    connection.request("GET", "/auth/me", headers=headers)
    assert connection.getresponse().status == 401
    connection.close()
    assert daemon.request("GET", "/auth/me", key=made["api_key"]).code == "unauthorized"
    # What it made goes on, for the owner's other keys.
    again = new_key(daemon, "leaver")["api_key"]
    assert daemon.request("GET", f"/sandboxes/{sandbox_id}", key=again).json["state"] == "running"
    assert daemon.request("DELETE", f"/sandboxes/{sandbox_id}", key=again).status == 200


def test_use_of_a_key_shows(daemon, other):
    rows = {r["owner"]: r for r in cli(daemon, "list")}
    assert rows["local"]["last_used_at"] and rows["other"]["last_used_at"]
    assert rows["local"]["name"] == "key file"


def test_owners_outlive_the_server(make_daemon):
    first = make_daemon()
    key = new_key(first, "keeper")["api_key"]
    sandbox_id = first.request("POST", "/sandboxes", {}, key=key).json["sandbox_id"]
    first.stop(remove=False)
    second = make_daemon(data=first.data)
    assert second.request("GET", f"/sandboxes/{sandbox_id}", key=key).json["state"] == "killed"
    assert second.request("GET", f"/sandboxes/{sandbox_id}").status == 404
    # Another key in the file ends the one that was there.
    second.stop(remove=False)
    old = second.key
    (first.data / "api-key").write_text("another-key\n")
    third = make_daemon(data=first.data)
    assert third.request("GET", "/auth/me").json["owner_id"] == "local"
    assert third.request("GET", "/auth/me", key=old).status == 401
    assert third.request("GET", "/auth/me", key=key).status == 200
