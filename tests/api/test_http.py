# SPDX-License-Identifier: Apache-2.0
"""What is the same for every route: keys, errors, limits, connections."""

import json
import socket
import threading
import time

import pytest

from conftest import eventually

JSON_MAX = 10 << 20


def test_health_needs_no_key(daemon):
    answer = daemon.request("GET", "/health", key=None)
    assert answer.status == 200
    assert answer.json["status"] == "ok" and answer.json["gate"] == "up"
    assert set(answer.json) == {"status", "version", "gate", "sandboxes"}


@pytest.mark.parametrize("method, path", [("GET", "/sandboxes"), ("POST", "/sandboxes"), ("DELETE", "/sandboxes/x"), ("GET", "/no-such-route"), ("PUT", "/sandboxes"), ("POST", "/health")])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
        {"X-API-Key": "{key}x"},
    ],
)
def test_without_the_key_everything_is_401(daemon, method, path, headers):
    before = daemon.ids()
    answer = daemon.request(method, path, b"{}", {k: v.format(key=daemon.key) for k, v in headers.items()}, key=None)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert "API key" in answer.message
    assert daemon.ids() == before


@pytest.mark.parametrize("name, value", [("Authorization", "Bearer {key}"), ("authorization", "bearer {key}"), ("X-API-Key", "{key}"), ("x-api-key", "{key}")])
def test_both_headers_carry_the_key(daemon, name, value):
    assert daemon.request("GET", "/sandboxes", headers={name: value.format(key=daemon.key)}, key=None).status == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/sandboxes/", "/sandboxes/x/", "/sandboxes/x/y", "/sandboxes//status", "/health/"])
def test_unknown_route(daemon, path):
    answer = daemon.request("GET", path)
    assert (answer.status, answer.code) == (404, "route_not_found")


@pytest.mark.parametrize(
    "method, path, allow",
    [("DELETE", "/sandboxes", {"GET", "POST"}), ("POST", "/sandboxes/x", {"GET", "DELETE"}), ("GET", "/sandboxes/kill-many", {"POST"}), ("BREW", "/health", {"GET"})],
)
def test_wrong_method_says_which_ones_there_are(daemon, method, path, allow):
    answer = daemon.request(method, path)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"1", b'"x"', b'{"timeout":60,"timeout":61}', b"{'timeout': 60}", b"{} {}", b'{"metadata":{"a":"\xff"}}', b'{"timeout": 1e', b"[" * 100000, b'{"a":' * 40 + b"1" + b"}" * 40],
)
def test_malformed_json(daemon, body):
    before = daemon.ids("?state=all")
    answer = daemon.request("POST", "/sandboxes", body)
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert "body" in answer.message
    assert daemon.ids("?state=all") == before


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit(daemon, chunked):
    before = daemon.ids()
    body = json.dumps({"metadata": {"a": "x" * JSON_MAX}}).encode()
    assert len(body) > JSON_MAX
    if chunked:
        connection = daemon.connect()
        parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
        connection.request("POST", "/sandboxes", parts, {"X-API-Key": daemon.key}, encode_chunked=True)
        response = connection.getresponse()
        status, answer = response.status, json.loads(response.read())
    else:
        response = daemon.request("POST", "/sandboxes", body)
        status, answer = response.status, response.json
    assert status == 413
    assert answer["code"] == "body_too_large" and "10 MiB" in answer["message"]
    assert daemon.ids() == before


def test_a_huge_declared_body_is_refused_at_once(daemon):
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.sendall(f"POST /sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nContent-Length: 99999999999\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_client_that_asks_first_gets_the_refusal_instead_of_a_go_ahead(daemon, sandbox):
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.sendall(b"POST /sandboxes HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 401")
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.sendall(f"POST /sandboxes/x/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 404")
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.sendall(f"POST /sandboxes/{sandbox}/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {daemon.key}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 100")
        s.sendall(b"{}")
        assert s.recv(4096).startswith(b"HTTP/1.1 400")


def test_a_body_and_a_content_type_where_none_belongs(daemon):
    headers = {"Content-Type": "application/json", "Content-Length": "0"}
    assert daemon.request("GET", "/sandboxes", headers=headers).status == 200
    assert daemon.request("GET", "/sandboxes", b"not json").status == 200
    assert daemon.request("DELETE", "/sandboxes/sbx-nothing", b"{}").status == 404


def test_one_connection_serves_many_requests(daemon):
    connection = daemon.connect()
    for path, status in [("/health", 200), ("/sandboxes", 401), ("/health", 200), ("/sandboxes/nothing", 401)]:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == status
        response.read()
    connection.request("GET", "/sandboxes", headers={"X-API-Key": daemon.key})
    assert connection.getresponse().status == 200


def test_many_idle_connections_do_not_stop_the_next_one(daemon):
    idle = [socket.create_connection((daemon.host, daemon.port)) for _ in range(300)]
    try:
        assert daemon.request("GET", "/health", key=None).status == 200
    finally:
        for s in idle:
            s.close()


def test_requests_side_by_side(daemon):
    statuses = []

    def get():
        statuses.append(daemon.request("GET", "/sandboxes").status)

    threads = [threading.Thread(target=get) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert statuses == [200] * 50


@pytest.mark.parametrize("sandbox_id", ["sbx-00000000", "a.b", "..%2f..%2fetc", "%00", "x" * 500, "%e2%82%ac"])
@pytest.mark.parametrize("method, below", [("GET", ""), ("DELETE", ""), ("DELETE", "?async=true"), ("GET", "/status"), ("PATCH", "/timeout"), ("POST", "/commands"), ("GET", "/commands"), ("GET", "/files?path=/x"), ("POST", "/files"), ("PUT", "/files/raw?path=/x"), ("GET", "/network/log"), ("GET", "/network"), ("PUT", "/network"), ("PATCH", "/network"), ("GET", "/network/suggest")])
def test_an_unknown_id(daemon, method, below, sandbox_id):
    bodies = {"/network": {}, "/timeout": {"timeout": 60}, "/commands": {"cmd": "true"}, "/files": {"path": "/x", "data": ""}}
    answer = daemon.request(method, f"/sandboxes/{sandbox_id}{below}", bodies.get(below, b"") if method != "GET" else None)
    assert answer.status == 404
    assert answer.code in ("sandbox_not_found", "route_not_found")
    assert answer.code == "sandbox_not_found" or "%" in sandbox_id


def drip(daemon, sockets, stop):
    """Sends a byte of a head on each every now and then, so that none of them is idle."""
    while not stop.wait(1):
        for s in sockets:
            try:
                s.send(b"X")
            except OSError:
                pass


@pytest.mark.parametrize("head", [b"", b"GET /health HTTP/1.1\r\nX-Slow: ", b"POST /sandboxes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"])
def test_strangers_do_not_take_the_places_of_clients(daemon, head):
    """As many connections as there are, all without a key, none ever idle or ended: clients with a key are served all the while."""
    kept = daemon.connect(10)
    kept.request("GET", "/sandboxes", headers={"X-API-Key": daemon.key})
    kept.getresponse().read()
    strangers, stop = [], threading.Event()
    thread = threading.Thread(target=drip, args=(daemon, strangers, stop))
    try:
        for _ in range(1100):
            s = socket.create_connection((daemon.host, daemon.port), 10)
            strangers.append(s)
            s.sendall(head)
        thread.start()
        for _ in range(3):
            assert daemon.request("GET", "/sandboxes", timeout=10).status == 200
            kept.request("GET", "/sandboxes", headers={"X-API-Key": daemon.key})
            assert kept.getresponse().read()
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()
        for s in strangers:
            s.close()


def test_a_stranger_is_not_waited_for(daemon):
    """A head that comes byte by byte is never idle, and still has an end."""
    begun = time.monotonic()
    with socket.create_connection((daemon.host, daemon.port), 10) as s:
        s.settimeout(0.5)
        s.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        while time.monotonic() - begun < 40:
            try:
                s.send(b"x")
                if not s.recv(1):
                    break
            except socket.timeout:
                continue
            except OSError:
                break
    assert 5 < time.monotonic() - begun < 30
    assert daemon.request("GET", "/health", key=None).status == 200


def test_strangers_do_not_fill_the_log(make_daemon):
    daemon = make_daemon()
    begun = time.monotonic()
    for _ in range(1000):
        with socket.create_connection((daemon.host, daemon.port), 10) as s:
            s.sendall(b"GET /")
    eventually(lambda: "event=http" in daemon.log())
    time.sleep(0.5)
    lines = [line for line in daemon.log().splitlines() if "event=http" in line]
    assert 0 < len(lines) <= 10 * (time.monotonic() - begun + 2)
