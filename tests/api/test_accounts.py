# SPDX-License-Identifier: Apache-2.0
"""/auth/me and /accounts: for clients with a log-in or a page of keys."""

import pytest

from test_owners import new_key


@pytest.fixture(scope="module")
def other(daemon):
    return new_key(daemon, "other")["api_key"]


def test_auth_me(daemon, other):
    mine = daemon.request("GET", "/auth/me").json
    assert mine["owner_id"] == "local" and mine["key_id"].startswith("key-")
    assert daemon.request("GET", "/auth/me", key=other).json["owner_id"] == "other"
    assert daemon.request("GET", "/auth/me", key=None).status == 401


def test_the_own_account(daemon, other):
    account = daemon.request("GET", "/accounts/other", key=other).json
    assert account["owner_id"] == "other" and account["tier"] == "self-hosted"
    assert account["created_at"].endswith("+00:00") and not account["created_at"].startswith("1970")


@pytest.mark.parametrize("name", ["local", "nobody", "OTHER", "a.b", "x" * 100, "%2e%2e"])
@pytest.mark.parametrize("method, below", [("GET", ""), ("GET", "/api-keys"), ("POST", "/api-keys"), ("DELETE", "/api-keys/key-x"), ("GET", "/wallet"), ("GET", "/usage"), ("GET", "/usage/daily"), ("GET", "/deposits"), ("GET", "/overview")])
def test_other_accounts_are_forbidden(daemon, other, name, method, below):
    answer = daemon.request(method, f"/accounts/{name}{below}", b'{"name": "x"}', key=other)
    assert (answer.status, answer.message) == (403, "cannot access another account")


@pytest.mark.parametrize("below", ["wallet", "usage", "usage/daily", "deposits", "overview"])
def test_what_is_about_money_says_so(daemon, below):
    answer = daemon.request("GET", f"/accounts/local/{below}")
    assert (answer.status, answer.code) == (404, "no_billing") and "billing" in answer.message


def test_keys_are_the_same_as_the_command_lines(daemon):
    made = daemon.request("POST", "/accounts/local/api-keys", {"name": "from the API é"})
    assert made.status == 201
    key, key_id = made.json["api_key"], made.json["key_id"]
    assert key.startswith("dcl_") and len(key) == 44
    # At once, and for the same owner.
    assert daemon.request("GET", "/auth/me", key=key).json == {"owner_id": "local", "key_id": key_id}
    rows = {r["key_id"]: r for r in daemon.request("GET", "/accounts/local/api-keys", key=key).json["api_keys"]}
    assert rows[key_id]["name"] == "from the API é" and rows[key_id]["revoked"] is False
    assert rows[key_id]["masked_key"] == key[:8] + "..."
    assert key not in str(rows)
    answer = daemon.request("DELETE", f"/accounts/local/api-keys/{key_id}")
    assert answer.json == {"key_id": key_id, "revoked": True}
    assert daemon.request("GET", "/auth/me", key=key).status == 401
    rows = {r["key_id"]: r for r in daemon.request("GET", "/accounts/local/api-keys").json["api_keys"]}
    assert rows[key_id]["revoked"] is True
    assert daemon.request("DELETE", f"/accounts/local/api-keys/{key_id}").status == 200


def test_others_keys_can_not_be_revoked(daemon, other):
    mine = daemon.request("GET", "/auth/me").json["key_id"]
    answer = daemon.request("DELETE", f"/accounts/other/api-keys/{mine}", key=other)
    assert (answer.status, answer.code) == (404, "key_not_found")
    assert daemon.request("GET", "/auth/me").status == 200
    listed = daemon.request("GET", "/accounts/other/api-keys", key=other).json["api_keys"]
    assert mine not in [r["key_id"] for r in listed]


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 1}, {"name": None}, {"name": "a\nb"}, {"name": "x" * 129}])
def test_names_that_are_refused(daemon, body):
    answer = daemon.request("POST", "/accounts/local/api-keys", body)
    assert (answer.status, answer.code) == (400, "invalid_field") and "name" in answer.message


def test_an_owner_has_so_many_keys(daemon):
    owner = new_key(daemon, "greedy")
    made = []
    while True:
        answer = daemon.request("POST", "/accounts/greedy/api-keys", {"name": "more"}, key=owner["api_key"])
        if answer.status != 201:
            break
        made.append(answer.json["key_id"])
        assert len(made) < 200
    assert (answer.status, answer.code) == (429, "too_many_keys") and len(made) == 99
    assert daemon.request("DELETE", f"/accounts/greedy/api-keys/{made[0]}", key=owner["api_key"]).status == 200
    assert daemon.request("POST", "/accounts/greedy/api-keys", {"name": "more"}, key=owner["api_key"]).status == 201
