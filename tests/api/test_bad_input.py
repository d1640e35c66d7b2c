# SPDX-License-Identifier: Apache-2.0
"""
Bad requests to every route there is: the list comes from the server, the fields and the statuses from docs/openapi.json. What holds for each:
an answer that is described there, soon, never a 5xx (clients repeat those blindly), and a server that is none the worse for it.
"""

import http.client
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from conftest import REPOSITORY, build_dir, eventually
from test_owners import new_key, routes

DOCUMENT = json.loads((REPOSITORY / "docs" / "openapi.json").read_text())
# One of each kind, and some that look like numbers to somebody.
VALUES = [None, True, 0, -1, 1, 1.5, 2**31, 2**63 - 1, -(2**63), 1e300, "", "x", "1", "\u0000", "\ud83d\ude00", "../x", "x" * 70000, [], [None], [[]], ["x"], {}, {"x": None}, {"": ""}]
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}


def every_route():
    for method, pattern in routes():
        for m in ("GET", "POST", "brew") if method == "ANY" else (method,):
            yield m, pattern


def operation(method, pattern):
    item = DOCUMENT["paths"][pattern.replace("...}", "}")]
    return item.get(method.lower()) or item["get"]


def statuses(method, pattern):
    # 413: of every route, says the document's beginning.
    return {413} | {int(code) for code in operation(method, pattern)["responses"]}


def resolve(schema):
    while "$ref" in schema:
        value = DOCUMENT
        for word in schema["$ref"][2:].split("/"):
            value = value[word]
        schema = value
    return schema


def properties(schema):
    """Field: schema, of all that an object may have."""
    schema = resolve(schema)
    found = {}
    for inner in [schema, *map(resolve, schema.get("allOf", [])), *map(resolve, schema.get("anyOf", []))]:
        found.update(inner.get("properties", {}))
        if inner is not schema:
            found.update(properties(inner))
    return found


def body_schema(method, pattern):
    content = operation(method, pattern).get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema")


def is_kind(value, schema):
    """Whether the schema has a word for such a value; what it does not say allows all."""
    schema = resolve(schema)
    if "allOf" in schema or "anyOf" in schema:
        return any(is_kind(value, inner) for inner in [*schema.get("allOf", []), *schema.get("anyOf", [])])
    kinds = schema.get("type")
    if kinds is None or value is None:
        return True
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind == "null" or (isinstance(value, KINDS[kind]) and not (isinstance(value, bool) and kind != "boolean")):
            return True
        if kind == "integer" and isinstance(value, float) and value == int(value):
            return True
    return False


GOOD = {
    "cmd": "true", "path": "/tmp/bad", "data": "eA==", "timeout": 60, "sandbox_ids": [], "files": [], "old_path": "/tmp/bad", "new_path": "/tmp/worse", "signal": "SIGTERM", "cols": 80, "rows": 24,
    "size": {"cols": 80, "rows": 24}, "name": "n",
}  # fmt: skip


# What would take minutes is asked for what there is not, in two ways, as each field is replaced in its turn.
INSTEAD = {"/templates/build": {"dockerfile": "FROM localhost/none-00000000\n", "cpu_count": 10**6}, "/templates/debian": {"memory_mb": 10**9, "cpu_count": 10**6}}


def good_body(method, pattern):
    if pattern in INSTEAD:
        return dict(INSTEAD[pattern])
    schema = body_schema(method, pattern)
    if schema is None:
        return None
    fields = properties(schema)
    return {k: GOOD[k] for k in fields if k in GOOD and not (pattern == "/sandboxes" and k == "name")}


class Client:
    """One connection for many requests, made anew when the server has closed it."""

    def __init__(self, daemon, key=""):
        self.daemon, self.connection = daemon, None
        self.key = daemon.key if key == "" else key

    def ask(self, method, path, body=None, headers=None):
        all_headers = {"X-API-Key": self.key} if self.key else {}
        all_headers.update(headers or {})
        self.connection = self.connection or self.daemon.connect(30)
        begun = time.monotonic()
        try:
            self.connection.request(method, path, body, all_headers)
            answer = self.connection.getresponse()
            # Streams have no end of their own.
            streams = answer.headers.get("Content-Type") == "text/event-stream"
            text = b"" if streams else answer.read()
            if streams or answer.will_close:
                self.close()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        assert time.monotonic() - begun < 20, f"{method} {path} took too long"
        return answer.status, text

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def filled(pattern, sandbox="sbx-never000", process="1"):
    words = {"id": sandbox, "owner": "local", "port": "9", "rest...": "x/y", "pid": process, "cmd_id": process}
    # Of everything else there is none.
    return re.sub(r"{([^}]+)}", lambda word: words.get(word[1], "none-00000000"), pattern)


def json_of(text):
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def check(method, pattern, status, text, wrong, note=""):
    """Collects what is not as described."""
    if status not in statuses(method, pattern):
        wrong.append(f"{method} {pattern} {note}: {status} is not described: {text[:200]!r}")
    # What the port proxy says about a server that is not there is the one exception: its callers are no SDK.
    elif status >= 500 and "/ports/" not in pattern:
        wrong.append(f"{method} {pattern} {note}: {status}: {text[:200]!r}")
    elif status >= 400 and not {"message", "code"} <= set(json_of(text)):
        wrong.append(f"{method} {pattern} {note}: {status}: {text[:200]!r}")


def memory(daemon):
    """Resident KiB. Says nothing in a sanitizer's build, which keeps what was freed to see it used."""
    if "asan" in build_dir().name:
        return 0
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


def under_way(daemon):
    text = daemon.request("GET", "/metrics").body.decode()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("declaw_http_requests_active ")))


@pytest.fixture(scope="module", autouse=True)
def none_the_worse(daemon):
    yield
    assert eventually(lambda: under_way(daemon) == 1), "requests that never end"
    for sandbox in daemon.ids("?state=all"):
        daemon.request("DELETE", f"/sandboxes/{sandbox}")


@pytest.fixture(scope="module")
def client(daemon):
    return Client(daemon)


@pytest.fixture
def alive(daemon):
    sandbox = daemon.create(timeout=3600)["sandbox_id"]
    yield sandbox
    # Whatever was asked of it, it was there.
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["state"] == "running"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_without_a_key(daemon):
    nobody, wrong = Client(daemon, None), []
    for method, pattern in every_route():
        status, text = nobody.ask(method, filled(pattern), "{}")
        if pattern != "/health" and (status, json_of(text).get("code")) != (401, "unauthorized"):
            wrong.append((method, pattern, status, text))
    assert not wrong


def test_another_owners_key(daemon, alive):
    """As if it never was: also with a body that is all right."""
    stranger, wrong = Client(daemon, new_key(daemon, "stranger")["api_key"]), []
    for method, pattern in every_route():
        if "{id}" in pattern:
            status, text = stranger.ask(method, filled(pattern, alive), json.dumps(good_body(method, pattern) or {}))
            if (status, json_of(text).get("code")) != (404, "sandbox_not_found"):
                wrong.append((method, pattern, status, text))
    assert not wrong


QUERIES = ("", "?path=/tmp/x&username=user", "?path=/tmp/x&timeout=1&limit=x&offset=-1&from=x&since=x&depth=x&follow=x&async=x&start=x&end=x&state=x&metadata=x")


@pytest.mark.parametrize("state", ["unknown", "killed", "paused", "not an id"])
def test_ids(daemon, client, state):
    sandbox = {"unknown": "sbx-never000", "not an id": "%00..%2f\xff"}.get(state) or daemon.create(timeout=3600)["sandbox_id"]
    if state == "killed":
        daemon.request("DELETE", f"/sandboxes/{sandbox}")
    if state == "paused":
        daemon.request("POST", f"/sandboxes/{sandbox}/pause")
    sandbox, wrong = http.client.quote(sandbox, safe="%") if hasattr(http.client, "quote") else sandbox.replace("\xff", "%ff"), []
    for method, pattern in sorted(every_route(), key=lambda r: (r[0] == "DELETE", r)):
        # These two end what the others are about.
        if "{id}" not in pattern or (state == "paused" and (method, pattern) in (("POST", "/sandboxes/{id}/resume"), ("DELETE", "/sandboxes/{id}"))):
            continue
        for query in QUERIES:
            body = good_body(method, pattern)
            status, text = client.ask(method, filled(pattern, sandbox) + query, json.dumps(body) if body is not None else None)
            check(method, pattern, status, text, wrong, state + query)
            if state in ("unknown", "not an id") and status != 404:
                wrong.append((method, pattern, query, status, text))
    assert not wrong, "\n".join(map(str, wrong))


def sent(value):
    return json.dumps(value).replace("1e+300", "1e300")


@pytest.fixture
def process(daemon, alive):
    """One of each kind, that lives: the word for a pattern."""
    made = {"commands": daemon.run(alive, "cat", background=True)["pid"]}
    for kind, body, word in (("pty", {"cols": 80, "rows": 24}, "pid"), ("stdio", {"cmd": "cat"}, "cmd_id")):
        made[kind] = daemon.request("POST", f"/sandboxes/{alive}/{kind}", body).json[word]
    return lambda pattern: str(next((v for k, v in made.items() if f"/{k}/" in pattern), 1))


def test_wrong_types_of_each_field(daemon, client, alive, process):
    before, wrong = memory(daemon), []
    for method, pattern in every_route():
        schema = body_schema(method, pattern)
        if schema is None:
            continue
        path, good = filled(pattern, alive, process(pattern)), good_body(method, pattern)
        for name, field in properties(schema).items():
            for value in VALUES:
                status, text = client.ask(method, path, sent({**good, name: value}))
                note = f"{name}={str(value)[:40]!r}"
                check(method, pattern, status, text, wrong, note)
                # An id that is not there is looked for before the body is read; everything else has to say what is wrong.
                if status < 400 and not is_kind(value, field):
                    wrong.append(f"{method} {pattern} {note}: accepted: {text[:100]!r}")
                if status == 201 and pattern == "/sandboxes":
                    client.ask("DELETE", "/sandboxes/" + json.loads(text)["sandbox_id"])
                if status == 200 and pattern.endswith("/timeout"):
                    client.ask(method, path, json.dumps({"timeout": 3600}))
        for whole in (None, [], "x", 1, True, *([] if pattern in INSTEAD else [{}])):
            status, text = client.ask(method, path, sent(whole))
            check(method, pattern, status, text, wrong, f"body {whole!r}")
    assert not wrong, "\n".join(wrong)
    assert memory(daemon) - before < 30_000


def test_fields_that_nobody_knows(daemon, client, alive):
    wrong = []
    for method, pattern in every_route():
        good = good_body(method, pattern)
        if good is None:
            continue
        more = {"nonsense": {"a": [1, None]}, "": 1, "constructor": [], "\u0000": 0, "cmd\u0000": "x"}
        status, text = client.ask(method, filled(pattern, alive), json.dumps({**good, **more}))
        check(method, pattern, status, text, wrong)
        if status == 201 and pattern == "/sandboxes":
            client.ask("DELETE", "/sandboxes/" + json.loads(text)["sandbox_id"])
    assert not wrong, "\n".join(wrong)


def test_eleven_mebibytes_of_json(daemon, client, alive):
    before, wrong = memory(daemon), []
    body = b'{"path": "/tmp/x", "cmd": "true", "data": "' + b"x" * (11 << 20) + b'"}'
    for method, pattern in every_route():
        if "/ports/" in pattern or (method, pattern) in (("DELETE", "/sandboxes/{id}"), ("POST", "/sandboxes/{id}/pause")):
            continue
        status, text = client.ask(method, filled(pattern, alive) + "?path=/tmp/x", body)
        if body_schema(method, pattern) is not None and status != 413:
            wrong.append(f"{method} {pattern}: {status} {text[:200]!r}")
        check(method, pattern, status, text, wrong)
    assert not wrong, "\n".join(wrong)
    assert memory(daemon) - before < 30_000


@pytest.mark.parametrize("ending", ["closed", "reset", "half-closed"])
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_bodies_that_stop_half_way(daemon, client, alive, ending, framing):
    socks = []
    for method, pattern in every_route():
        if (method, pattern) == ("DELETE", "/sandboxes/{id}"):
            continue
        sock = socket.create_connection((daemon.host, daemon.port))
        start = b'{"cmd": "sl' if "length" in framing.lower() else b'b\r\n{"cmd": "sl\r\n5\r\neep'
        sock.sendall(f"{method} {filled(pattern, alive)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n{framing}\r\n\r\n".encode() + start)
        if ending == "half-closed":
            sock.shutdown(socket.SHUT_WR)
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if ending != "half-closed":
            sock.close()
        socks.append(sock)
    assert eventually(lambda: under_way(daemon) == 1), "requests whose body never came are still under way"
    for sock in socks:
        sock.close()
    assert daemon.run(alive, "echo fine")["stdout"] == "fine\n"


def test_pipelined_requests(daemon, alive):
    """Each twice in one write, behind it one that is known: as many answers, in their order."""
    for method, pattern in every_route():
        if (method, pattern) in (("DELETE", "/sandboxes/{id}"), ("POST", "/sandboxes/{id}/pause"), ("POST", "/sandboxes")):
            continue
        good = good_body(method, pattern)
        body = json.dumps(good) if good is not None else ""
        one = f"{method} {filled(pattern, alive)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with socket.create_connection((daemon.host, daemon.port)) as sock:
            sock.settimeout(20)
            sock.sendall((one + one + one.replace(one.split(" ")[1], "/health", 1).replace(method, "GET", 1)).encode())
            file, got = sock.makefile("rb"), []
            for _ in range(3):
                status, headers, text = read_answer(file)
                got.append(status)
                if headers.get("connection") == "close":
                    break
            assert len(got) == 3 or got == [200], (method, pattern, got)  # a stream has its connection for itself
            assert got[2:] in ([], [200]) and got[0] in statuses(method, pattern), (method, pattern, got)


def read_answer(file):
    status, headers = int(file.readline().split()[1]), {}
    while line := file.readline().strip():
        name, _, value = line.decode("latin1").partition(": ")
        headers[name.lower()] = value
    if headers.get("connection") == "close":
        return status, headers, b""
    if "transfer-encoding" not in headers:
        return status, headers, file.read(int(headers.get("content-length", 0)))
    text = b""
    while n := int(file.readline(), 16):
        text += file.read(n)
        file.readline()
    file.readline()
    return status, headers, text


def test_a_thousand_idle_connections(make_daemon):
    """By a client with a key: they keep their places, and others are served beside them."""
    daemon = make_daemon()
    before, socks = memory(daemon), []
    try:
        for _ in range(1000):
            sock = socket.create_connection((daemon.host, daemon.port))
            sock.sendall(f"GET /health HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            socks.append(sock)
        for _ in range(20):
            assert daemon.request("GET", "/sandboxes").status == 200
        assert memory(daemon) - before < 1000 * 200
        for sock in socks[::100]:
            sock.sendall(f"GET /sandboxes HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        for sock in socks:
            sock.close()


def test_a_foreground_command_ends_with_its_client(daemon, alive):
    for below in ("commands", "commands/stream"):
        body = json.dumps({"cmd": "echo begun; exec sleep 4321"})
        with socket.create_connection((daemon.host, daemon.port)) as sock:
            sock.sendall(f"POST /sandboxes/{alive}/{below} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            assert eventually(lambda: "4321" in daemon.run(alive, "ps ax; true")["stdout"])
        assert eventually(lambda: "4321" not in daemon.run(alive, "ps ax; true")["stdout"]), below


FLOOD = "yes 0123456789012345678901234567890123456789"


def test_slow_readers_of_every_stream(daemon, alive):
    def begin(path, body=None, method=None):
        sock = socket.create_connection((daemon.host, daemon.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        text = json.dumps(body) if body is not None else ""
        sock.sendall(f"{method or ('POST' if body else 'GET')} /sandboxes/{alive}{path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        assert sock.recv(12) == b"HTTP/1.1 200", path
        socks.append(sock)

    def made(path, body):
        answer = daemon.request("POST", f"/sandboxes/{alive}{path}", body)
        assert answer.status == 200, answer.body
        return answer.json

    socks = []
    daemon.run(alive, "head -c 100000000 /dev/zero > /tmp/large; rm -rf /tmp/w; mkdir /tmp/w")
    pid = daemon.run(alive, FLOOD, background=True)["pid"]
    pty = made("/pty", {"cols": 80, "rows": 24})["pid"]
    daemon.request("POST", f"/sandboxes/{alive}/pty/{pty}/stdin", {"data": FLOOD + "\n"})
    stdio = made("/stdio", {"cmd": FLOOD})["cmd_id"]
    before = memory(daemon)
    try:
        begin("/commands/stream", {"cmd": FLOOD})
        begin(f"/commands/{pid}/stream")
        begin(f"/pty/{pty}/stream")
        begin(f"/stdio/{stdio}/stream")
        begin("/files?path=/tmp/large")
        begin("/files/raw?path=/tmp/large")
        begin("/files/watch", {"path": "/tmp/w"})
        begin("/network/log?follow=true")
        daemon.run(alive, "for i in $(seq 20000); do : > /tmp/w/$i; done")
        # A second one of each that goes on reading is not stalled by the first.
        for path in (f"/commands/{pid}/stream", f"/stdio/{stdio}/stream"):
            connection = daemon.connect(20)
            connection.request("GET", f"/sandboxes/{alive}{path}", headers={"X-API-Key": daemon.key})
            assert len(connection.getresponse().read(2_000_000)) == 2_000_000
            connection.close()
        assert daemon.run(alive, "echo fine")["stdout"] == "fine\n"
        # What is kept of a process's output, and no more: bounds.h.
        assert memory(daemon) - before < 40_000
    finally:
        for sock in socks:
            sock.close()
        for path in (f"/commands/{pid}", f"/pty/{pty}", f"/stdio/{stdio}"):
            daemon.request("DELETE", f"/sandboxes/{alive}{path}")


def test_an_agent_that_was_killed(daemon, client):
    wrong = []
    agents = lambda: {p for p, name in daemon.tree().items() if name == "memfd:declaw-ag"}  # noqa: E731
    before = agents()
    sandbox = daemon.create(timeout=3600)["sandbox_id"]
    daemon.run(sandbox, "true")
    (agent,) = agents() - before
    os.kill(agent, signal.SIGKILL)
    for method, pattern in every_route():
        if "{id}" in pattern:
            body = good_body(method, pattern)
            status, text = client.ask(method, filled(pattern, sandbox) + QUERIES[1], json.dumps(body) if body is not None else None)
            check(method, pattern, status, text, wrong, "agent killed")
    assert not wrong, "\n".join(wrong)
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["state"] == "killed"
