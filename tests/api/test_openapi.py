# SPDX-License-Identifier: Apache-2.0
"""GET /openapi.json says what the server does: every route and no other, and answers that look as it says."""

import re

import pytest

import image
from test_owners import routes

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module")
def document(daemon):
    answer = daemon.request("GET", "/openapi.json")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    return answer.json


def operations(document):
    for path, item in document["paths"].items():
        assert set(item) <= METHODS | {"parameters"}
        for method in METHODS & set(item):
            yield method, path, item


def test_it_needs_a_key(daemon):
    assert daemon.request("GET", "/openapi.json", key=None).status == 401


def test_version(daemon, document):
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == daemon.request("GET", "/health").json["version"]


def test_every_route_is_described_and_no_other(document):
    described = {(method.upper(), path) for method, path, _ in operations(document)}
    # The standard has no word for every method, nor for the rest of a path.
    there = {(m.upper(), pattern.replace("...}", "}")) for method, pattern in routes() for m in (METHODS if method == "ANY" else {method})}
    assert there - described == set(), "routes that docs/openapi.json does not know"
    assert described - there == set(), "docs/openapi.json knows routes that there are not"


def test_the_words_of_a_path_are_described(document):
    for _, path, item in operations(document):
        words = re.findall(r"\{(\w+)\}", path)
        given = item.get("parameters", [])
        assert [p["name"] for p in given] == words, path
        assert all(p["in"] == "path" and p["required"] is True for p in given)


def test_every_operation_is_whole(document):
    ids = []
    for method, path, item in operations(document):
        operation = item[method]
        ids.append(operation["operationId"])
        assert operation["summary"] and operation["responses"]
        assert ("401" in operation["responses"]) == (operation.get("security") != []), path
        for code, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9][0-9]", code)
            assert "$ref" in response or {"description", "content"} <= set(response)
    assert len(ids) == len(set(ids))


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document, reference):
    assert reference.startswith("#/")
    value = document
    for word in reference[2:].split("/"):
        value = value[word]
    return value


def test_references_lead_somewhere_and_all_are_used(document):
    used = set(references(document))
    for reference in used:
        assert resolve(document, reference)
    for kind in ("schemas", "responses"):
        assert {f"#/components/{kind}/{name}" for name in document["components"][kind]} <= used


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def check(document, schema, value, where):
    """The part of JSON Schema that the document uses; members that it does not name are wrong too."""
    known = members(document, schema, value)
    if isinstance(value, dict) and known is not None:
        assert set(value) <= known, f"{where}: not described: {set(value) - known}"
    matches(document, schema, value, where)


def members(document, schema, value):
    if "$ref" in schema:
        return members(document, resolve(document, schema["$ref"]), value)
    if "allOf" in schema:
        return set().union(*(members(document, s, value) or set() for s in schema["allOf"]))
    if "anyOf" in schema or "properties" not in schema:
        return None
    return set(schema["properties"])


def matches(document, schema, value, where):
    if "$ref" in schema:
        return matches(document, resolve(document, schema["$ref"]), value, where)
    for inner in schema.get("allOf", []):
        matches(document, inner, value, where)
    if "anyOf" in schema:
        errors = []
        for inner in schema["anyOf"]:
            try:
                return check(document, inner, value, where)
            except AssertionError as e:
                errors.append(str(e))
        raise AssertionError(f"{where}: none fits: {errors}")
    wanted = schema.get("type")
    if wanted:
        names = wanted if isinstance(wanted, list) else [wanted]
        assert any(isinstance(value, KINDS[n]) and not (isinstance(value, bool) and n in ("integer", "number")) for n in names), f"{where}: {value!r} is no {wanted}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r}"
    if schema.get("format") == "date-time" and value is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", value), where
    if isinstance(value, dict):
        assert set(schema.get("required", [])) <= set(value), f"{where}: missing: {set(schema.get('required', [])) - set(value)}"
        for name, inner in value.items():
            below = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(below, dict):
                check(document, below, inner, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for at, inner in enumerate(value):
            check(document, schema["items"], inner, f"{where}[{at}]")


def test_answers_look_as_described(daemon, document):
    wrong = []

    def ask(method, path, pattern, body=None):
        answer = daemon.request(method, path, body)
        try:
            look(answer, method, pattern)
        except AssertionError as e:
            wrong.append(str(e).splitlines()[0])
        return answer

    def look(answer, method, pattern):
        response = document["paths"][pattern][method.lower()]["responses"].get(str(answer.status))
        assert response, f"{method} {pattern}: {answer.status} is not described"
        if "$ref" in response:
            response = resolve(document, response["$ref"])
        if answer.headers["Content-Type"].startswith("application/json"):
            check(document, response["content"]["application/json"]["schema"], answer.json, f"{method} {pattern}")
        else:
            assert answer.headers["Content-Type"].split(";")[0] in response["content"], pattern

    made = ask("POST", "/sandboxes", "/sandboxes", {"timeout": 600, "metadata": {"a": "b"}, "network": {"allow_out": ["example.com"], "mode": "observe"}}).json["sandbox_id"]
    one = "/sandboxes/{id}"

    def on(method, below, body=None, pattern=None):
        return ask(method, f"/sandboxes/{made}{below}", one + (pattern or below.split("?")[0]), body)

    for path in ("/health", "/metrics", "/openapi.json", "/auth/me", "/sandboxes", "/sandboxes?state=all"):
        ask("GET", path, path.split("?")[0])
    for below in ("", "/api-keys", "/wallet", "/usage", "/usage/daily", "/deposits", "/overview"):
        ask("GET", "/accounts/local" + below, "/accounts/{owner}" + below)
        ask("GET", "/accounts/other" + below, "/accounts/{owner}" + below)
    volume = ask("POST", "/volumes?name=x", "/volumes").json["volume_id"]
    ask("POST", "/volumes?name=x", "/volumes", "no archive")
    ask("POST", "/volumes/empty?name=y", "/volumes/empty")
    ask("GET", "/volumes", "/volumes")
    for below in ("", "/download", "/files/list", "/locks"):
        ask("GET", f"/volumes/{volume}{below}", "/volumes/{volume_id}" + below)
    ask("DELETE", f"/volumes/{volume}", "/volumes/{volume_id}")
    ask("GET", f"/volumes/{volume}", "/volumes/{volume_id}")
    ask("POST", "/volumes/ingest?name=x", "/volumes/ingest", "x")
    ask("GET", "/templates", "/templates")
    template = image.make(daemon, "described")
    ask("GET", "/templates/described", "/templates/{template_id}")
    ask("GET", "/templates/base", "/templates/{template_id}")
    ask("GET", "/templates/none", "/templates/{template_id}")
    ask("GET", f"/templates/builds/{template['build_id']}", "/templates/builds/{build_id}")
    ask("GET", "/templates/builds/bld-none", "/templates/builds/{build_id}")
    ask("POST", "/templates/build", "/templates/build", {"base_image": "described", "run_cmds": ["true"]})
    ask("POST", "/templates/build", "/templates/build", {"run_cmds": "x"})
    ask("POST", "/templates/debian", "/templates/debian", {"suite": "-"})
    ask("POST", "/templates/import?alias=", "/templates/import", "no archive")
    ask("DELETE", "/templates/base", "/templates/{template_id}")
    ask("DELETE", "/templates/described", "/templates/{template_id}")
    key = ask("POST", "/accounts/local/api-keys", "/accounts/{owner}/api-keys", {"name": "x"}).json["key_id"]
    ask("DELETE", f"/accounts/local/api-keys/{key}", "/accounts/{owner}/api-keys/{key_id}")
    for below in ("", "/status", "/metrics", "/commands", "/network", "/network/log", "/network/suggest", "/files/list?path=/etc", "/files/info?path=/etc", "/files/exists?path=/none", "/files?path=/none", "/files/raw?path=/etc/passwd"):
        on("GET", below)
    on("POST", "/commands", {"cmd": "echo x; exit 3"})
    pid = on("POST", "/commands", {"cmd": "cat", "background": True, "stdin": True}).json["pid"]
    on("GET", "/commands")
    on("POST", f"/commands/{pid}/stdin", {"data": "x"}, "/commands/{pid}/stdin")
    on("DELETE", f"/commands/{pid}", None, "/commands/{pid}")
    on("POST", "/files", {"path": "/tmp/a", "data": "x"})
    on("POST", "/files", {"path": "../a", "data": "x"})
    on("POST", "/files/batch", {"files": [{"path": "/tmp/b", "data": "x"}]})
    on("PATCH", "/files", {"old_path": "/tmp/a", "new_path": "/tmp/c"})
    on("POST", "/files/mkdir", {"path": "/tmp/d/e"})
    on("DELETE", "/files?path=/tmp/c&username=user")
    on("PATCH", "/network", {"add": {"allow_out": ["example.org"]}})
    on("PUT", "/network", {"allow_out": ["example.org"], "blocked": "reject"})
    on("PATCH", "/timeout", {"timeout": 700})
    on("PATCH", "/timeout", {"timeout": "x"})
    on("POST", "/volumes/snapshot?path=/etc")
    on("POST", "/volumes/snapshot?path=/proc")
    on("POST", "/volumes/vol-none0000/commit", None, "/volumes/{volume_id}/commit")
    on("POST", "/pause")
    on("POST", "/commands", {"cmd": "true"})
    ask("GET", f"/sandboxes/{made}", one)
    on("POST", "/resume")
    ask("POST", "/sandboxes/kill-many", "/sandboxes/kill-many", {"sandbox_ids": [made, "sbx-none"]})
    ask("GET", f"/sandboxes/{made}", one)
    on("POST", "/commands", {"cmd": "true"})
    ask("DELETE", "/sandboxes/sbx-none", one)
    ask("DELETE", f"/sandboxes/{made}", one)
    assert not wrong, "\n".join(wrong)
