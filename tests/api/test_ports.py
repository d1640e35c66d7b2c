# SPDX-License-Identifier: Apache-2.0
"""Ports of a sandbox as paths of the server: what goes in, what comes out, and what does not."""

import base64
import hashlib
import http.client
import json
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from conftest import eventually

PORT = 8000
SERVER = Path(__file__).with_name("inside") / "port_server.py"
EVERYTHING = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "brew")


def at(sandbox, path="/", port=PORT):
    return f"/sandboxes/{sandbox}/ports/{port}{path}"


def b64(data):
    return base64.urlsafe_b64encode(data).decode()


def start_server(daemon, sandbox, port=PORT):
    written = daemon.request("POST", f"/sandboxes/{sandbox}/files", {"path": "/tmp/server.py", "data": SERVER.read_text()})
    assert written.status == 200, written.body
    daemon.run(sandbox, f"python3 /tmp/server.py {port}", background=True)
    assert eventually(lambda: daemon.request("GET", at(sandbox, "/up", port)).status == 200, 15)


@pytest.fixture(scope="module")
def box(daemon):
    sandbox = daemon.create(timeout=3600)["sandbox_id"]
    start_server(daemon, sandbox)
    return sandbox


def see(daemon, box, path="/", method="GET", **more):
    answer = daemon.request(method, at(box, path), **more)
    assert answer.status == 200, answer.body
    return answer.json


def fields(seen):
    return {k.lower(): v for k, v in seen["headers"]}


@pytest.mark.parametrize("path, target", [
    ("", "/"), ("/", "/"), ("/a", "/a"), ("?x=1", "/?x=1"), ("/a/b?c=d&c=e", "/a/b?c=d&c=e"), ("//a//", "//a//"), ("/?", "/?"), ("/a%2Fb%20c%00?%26=+", "/a%2Fb%20c%00?%26=+"),
    ("/../../x", "/../../x"), ("/%2e%2e/x", "/%2e%2e/x"), ("/a;b=c,d:e@f!$'()*", "/a;b=c,d:e@f!$'()*"), ("/sandboxes/x/ports/1/y", "/sandboxes/x/ports/1/y"), ("/%zz%", "/%zz%"),
])
def test_path_and_query_go_as_they_are(daemon, box, path, target):
    assert see(daemon, box, path)["target"] == target


@pytest.mark.parametrize("method", EVERYTHING)
def test_every_method(daemon, box, method):
    assert see(daemon, box, "/x", method)["method"] == method


def test_head_has_the_length_and_no_body(daemon, box):
    connection = daemon.connect()
    for path, length in (("/x", None), ("/many/length/12345", "12345")):
        connection.request("HEAD", at(box, path), headers={"X-API-Key": daemon.key})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() == b""
        assert length is None or answer.headers["Content-Length"] == length
    # The same connection goes on.
    connection.request("GET", at(box, "/x"), headers={"X-API-Key": daemon.key})
    assert connection.getresponse().status == 200


def test_headers_inside(daemon, box):
    sent = {"X-API-Key": daemon.key, "X-One": "1", "Cookie": "a=b", "Accept": "*/*", "Connection": "X-Two, keep-alive", "X-Two": "2", "TE": "trailers", "Keep-Alive": "5", "X-Empty": "", "Host": "my.test:99"}
    seen = see(daemon, box, "/x", headers=sent)
    got = fields(seen)
    assert daemon.key not in json.dumps(seen)
    assert {k: got.get(k) for k in ("x-one", "cookie", "accept", "x-empty", "host", "connection")} == {
        "x-one": "1", "cookie": "a=b", "accept": "*/*", "x-empty": "", "host": "my.test:99", "connection": "close"}
    assert not {"x-two", "te", "keep-alive", "x-api-key", "authorization", "content-length", "transfer-encoding", "upgrade"} & set(got)
    assert got["x-forwarded-for"] == "127.0.0.1" and got["x-forwarded-proto"] == "http" and got["x-forwarded-host"] == "my.test:99"
    assert got["x-forwarded-prefix"] == at(box, "")


def test_what_a_proxy_in_front_said_stands(daemon, box):
    got = fields(see(daemon, box, "/x", headers={"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.test", "X-Forwarded-Prefix": "/up"}))
    assert got["x-forwarded-for"] == "192.0.2.1, 192.0.2.2, 127.0.0.1"
    assert (got["x-forwarded-proto"], got["x-forwarded-host"], got["x-forwarded-prefix"]) == ("https", "a.test", "/up" + at(box, ""))


@pytest.mark.parametrize("headers, kept", [
    ({"Authorization": "Bearer KEY"}, None),
    ({"authorization": "bearer  KEY"}, None),
    ({"X-API-Key": "KEY", "Authorization": "Bearer KEY"}, None),
    ({"X-API-Key": "KEY", "Authorization": "Bearer theirs"}, "Bearer theirs"),
    ({"X-API-Key": "KEY", "Authorization": "Basic dTpw"}, "Basic dTpw"),
])
def test_keys_stay_outside(daemon, box, headers, kept):
    headers = {k: v.replace("KEY", daemon.key) for k, v in headers.items()}
    seen = see(daemon, box, "/x", headers=headers, key=None)
    assert daemon.key not in json.dumps(seen) and fields(seen).get("authorization") == kept


def test_set_cookie_and_what_is_the_connections_stay_inside(daemon, box):
    raw = b"HTTP/1.1 203 Fine\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nStrict-Transport-Security: max-age=1\r\nAlt-Svc: h3\r\nClear-Site-Data: *\r\nKeep-Alive: timeout=9\r\nConnection: X-Gone\r\nX-Gone: 1\r\nX-Kept: a\tb\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Request-Id: theirs\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nhi"
    answer = daemon.request("GET", at(box, "/raw/" + b64(raw)))
    assert (answer.status, answer.body) == (203, b"hi")
    assert answer.headers["X-Kept"] == "a b" and answer.headers.get_all("X-Twice") == ["1", "2"] and answer.headers["Location"] == "/x"
    assert answer.headers.get_all("X-Request-Id") == ["theirs"] and answer.headers.get_all("Date") == ["Thu, 01 Jan 1970 00:00:00 GMT"]
    for name in ("Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "Clear-Site-Data", "X-Gone", "Keep-Alive"):
        assert name not in answer.headers


@pytest.mark.parametrize("raw, status, body", [
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n", 200, b"abcde"),
    (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, b""),
    (b"HTTP/1.1 418\r\nContent-Length: 3\r\n\r\nteabeyond", 418, b"tea"),
    (b"HTTP/1.1 301 Moved\r\nLocation: http://localhost:8000/x\r\nContent-Length: 0\r\n\r\n", 301, b""),
])
@pytest.mark.parametrize("way", ["raw", "drip"])
def test_answers(daemon, box, raw, status, body, way):
    connection = daemon.connect()
    for _ in range(2):  # and the client's connection stays usable
        connection.request("GET", at(box, f"/{way}/" + b64(raw)), headers={"X-API-Key": daemon.key})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, body)
        assert "Trailer" not in answer.headers and "X-T" not in answer.headers
        if status == 304 and b"Content-Length" not in raw:
            assert answer.headers["Content-Length"] is None


@pytest.mark.parametrize("raw", [
    b"", b"\r\n", b"hello", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1", b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 129 + b"\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 17000 + b"\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 20, b"HTTP/1.1 099 x\r\n\r\n",
], ids=lambda raw: repr(raw[:60]))
def test_what_is_no_answer_is_502(daemon, box, raw):
    answer = daemon.request("GET", at(box, "/raw/" + b64(raw)))
    assert (answer.status, answer.code) == (502, "port_bad_answer"), answer.body


@pytest.mark.parametrize("raw", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
], ids=repr)
def test_a_body_that_is_cut_does_not_look_whole(daemon, box, raw):
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        daemon.request("GET", at(box, "/raw/" + b64(raw)))


@pytest.mark.parametrize("port, status, code", [
    ("0", 400, "invalid_port"), ("65536", 400, "invalid_port"), ("http", 400, "invalid_port"), ("-1", 400, "invalid_port"), ("080", 400, "invalid_port"), ("8%300", 400, "invalid_request"),
    ("+80", 400, "invalid_port"), ("80.0", 400, "invalid_port"), ("99999999999999999999", 400, "invalid_port"), ("49983", 403, "reserved_port"), ("8001", 502, "port_unreachable"),
])
def test_ports(daemon, box, port, status, code):
    for rest in ("", "/", "/x?y"):
        answer = daemon.request("GET", f"/sandboxes/{box}/ports/{port}{rest}")
        assert (answer.status, answer.code) == (status, code), answer.body


def test_who_may(daemon, box):
    assert daemon.request("GET", at(box, "/x"), key=None).status == 401
    assert daemon.request("GET", at(box, "/x"), key="wrong").status == 401
    assert daemon.request("GET", at("sbx-never000", "/x")).code == "sandbox_not_found"


def test_public_traffic_off(daemon, box):
    assert daemon.request("PUT", f"/sandboxes/{box}/network", {"allow_public_traffic": False}).status == 200
    answer = daemon.request("GET", at(box, "/x"))
    assert (answer.status, answer.code) == (403, "public_traffic_off")
    assert daemon.request("GET", at(box, "/x"), key=None).status == 401
    assert daemon.request("PUT", f"/sandboxes/{box}/network", {"allow_public_traffic": True}).status == 200
    assert see(daemon, box, "/x")


def test_mask_request_host(daemon, box):
    assert daemon.request("PUT", f"/sandboxes/{box}/network", {"mask_request_host": "localhost:${PORT}"}).status == 200
    got = fields(see(daemon, box, "/x", headers={"Host": "my.test"}))
    assert (got["host"], got["x-forwarded-host"]) == (f"localhost:{PORT}", "my.test")
    assert daemon.request("PUT", f"/sandboxes/{box}/network", {}).status == 200
    assert fields(see(daemon, box, "/x", headers={"Host": "my.test"}))["host"] == "my.test"


def test_paused_and_killed(daemon):
    sandbox = daemon.create(timeout=600)["sandbox_id"]
    start_server(daemon, sandbox)
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    answer = daemon.request("GET", at(sandbox, "/x"))
    assert (answer.status, answer.code) == (409, "sandbox_paused")
    assert daemon.request("POST", f"/sandboxes/{sandbox}/resume").status == 200
    assert see(daemon, sandbox, "/x")
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answer = daemon.request("GET", at(sandbox, "/x"))
    assert (answer.status, answer.code) == (410, "sandbox_killed")


def test_a_paused_one_wakes_where_its_lifecycle_says_so(daemon):
    sandbox = daemon.create(timeout=600, lifecycle={"on_timeout": "pause", "auto_resume": True})["sandbox_id"]
    start_server(daemon, sandbox)
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    assert see(daemon, sandbox, "/x")
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def blocks(n):
    block = bytes(range(256)) * 256
    for at_byte in range(0, n, len(block)):
        yield block[: n - at_byte]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_requests_of_any_size(daemon, box, framing):
    n = 40_000_000
    digest = hashlib.sha256()
    for block in blocks(n):
        digest.update(block)
    headers = {"X-API-Key": daemon.key}
    if framing == "length":
        headers["Content-Length"] = str(n)
    connection = daemon.connect()
    connection.request("POST", at(box, "/x"), body=blocks(n), headers=headers, encode_chunked=framing == "chunked")
    seen = json.loads(connection.getresponse().read())
    assert (seen["n"], seen["sha256"]) == (n, digest.hexdigest())


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_answers_of_any_size(daemon, box, framing):
    n = 40_000_000
    answer = daemon.request("GET", at(box, f"/many/{framing}/{n}"))
    assert len(answer.body) == n and answer.body == b"".join(blocks(n))


def closed_inside(daemon, box):
    return see(daemon, box, "/closed")


def test_events_come_as_they_are_said_and_a_client_that_goes_is_noticed(daemon, box):
    path = "/count/0.01?sse"
    connection = daemon.connect()
    connection.request("GET", at(box, path), headers={"X-API-Key": daemon.key})
    answer = connection.getresponse()
    sock = connection.sock
    assert answer.headers["Content-Type"] == "text/event-stream"
    for n in range(20):
        assert answer.readline() == b"data: %d\n" % n and answer.readline() == b"\n"
    answer.close()
    connection.close()
    sock.close()
    assert eventually(lambda: path in closed_inside(daemon, box))


def test_a_client_that_goes_before_the_answer(daemon, box):
    path = "/open/" + b64(b"HTTP/1.1 200 OK\r\n") + "?gone"
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.sendall(f"GET {at(box, path)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
        time.sleep(0.2)
        assert path not in closed_inside(daemon, box)
    assert eventually(lambda: path in closed_inside(daemon, box))


def test_a_client_that_stops_half_way_through_its_body(daemon, box):
    before = len(closed_inside(daemon, box))
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.sendall(f"POST {at(box, '/echo/half')} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nContent-Length: 100000\r\n\r\nabc".encode())
        time.sleep(0.1)
    # Nothing is left of it: the count of connections is what a full set of them needs.
    assert len(closed_inside(daemon, box)) == before
    assert see(daemon, box)


def test_slow_readers_slow_the_server_inside_and_nobody_else(daemon, box):
    path = "/many/chunked/400000000"
    rss = lambda: int(next(line.split()[1] for line in Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS")))  # noqa: E731
    before = rss()
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.sendall(f"GET {at(box, path)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.5)
        assert see(daemon, box) and path not in closed_inside(daemon, box)
        assert rss() - before < 8000
    assert eventually(lambda: path in closed_inside(daemon, box))


@pytest.mark.parametrize("how", ["early/", "early/open"])
def test_an_answer_before_the_body_is_read(hasty, how):
    daemon, box = hasty
    connection = daemon.connect()
    connection.request("POST", at(box, "/" + how), body=blocks(20_000_000), headers={"X-API-Key": daemon.key, "Content-Length": "20000000"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (413, {"message": "too large"})


def test_what_comes_back_as_it_comes(daemon, box):
    n = 200_000
    answer = daemon.request("POST", at(box, "/echo/"), b"".join(blocks(n)))
    assert answer.status == 200 and answer.body == b"".join(blocks(n))


def test_expect_continue(daemon, box):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(f"POST {at(box, '/x')} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n".encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        seen = json.loads(answer.read())
    assert seen["n"] == 3 and "expect" not in fields(seen)


def raw_request(daemon, text):
    """The statuses of all answers on one connection."""
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(text.replace("KEY", daemon.key).encode("latin1"))
        got = b""
        while data := sock.recv(65536):
            got += data
    return [int(status) for status in re.findall(rb"HTTP/1.1 ([0-9]{3}) ", got)]


@pytest.mark.parametrize("fields_text", [
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n", "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Content-Length: +3\r\n", "Content-Length: 3, 3\r\n", "Transfer-Encoding: chunked, chunked\r\n", "X Y: z\r\n", "X\x01: z\r\n", "X: a\x01b\r\n",
])
def test_framing_in_two_ways_never_gets_inside(daemon, box, fields_text):
    head = f"POST {at(box, '/x')} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: KEY\r\n{fields_text}\r\n"
    statuses = raw_request(daemon, head + "0\r\n\r\n")
    assert not [s for s in statuses if s not in (400, 413, 501)], statuses


def test_connections_inside_are_bounded(daemon, box):
    socks = []
    try:
        full = None
        for n in range(140):
            sock = socket.create_connection((daemon.host, daemon.port))
            sock.settimeout(20)
            socks.append(sock)
            sock.sendall(f"GET {at(box, '/count/5')} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\n\r\n".encode())
            status = sock.recv(12)
            if status != b"HTTP/1.1 200":
                full = n, status
                break
        assert full == (128, b"HTTP/1.1 429")
        # Commands have room of their own.
        assert daemon.run(box, "echo fine")["stdout"] == "fine\n"
    finally:
        for sock in socks:
            sock.close()
    assert eventually(lambda: daemon.request("GET", at(box)).status == 200)


def test_refused_requests_hold_nothing(daemon, box):
    """As many as there may be of all sandboxes, to a port where nothing listens, whose bodies never end."""
    from test_bad_input import under_way

    other, socks = daemon.create(timeout=3600)["sandbox_id"], []
    start_server(daemon, other)
    try:
        for _ in range(520):
            sock = socket.create_connection((daemon.host, daemon.port))
            socks.append(sock)
            sock.sendall(f"POST {at(box, '/', 9)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n".encode())
        assert eventually(lambda: under_way(daemon) > 520, 30)
        for sandbox in (other, box):
            assert eventually(lambda: daemon.request("GET", at(sandbox)).status == 200)
    finally:
        for sock in socks:
            sock.close()


def test_a_refused_body_without_end_is_not_read_on(daemon, box):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(f"POST {at(box, '/', 9)} HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with pytest.raises(ConnectionError):
            for _ in range(200):
                sock.sendall(piece)
    answer = daemon.request("POST", at(box, "/", 9), bytes(1 << 20))
    assert (answer.status, answer.code) == (502, "port_unreachable")


def test_pipelined_requests(daemon, box):
    one = f"GET {at(box, '/x')} HTTP/1.1\r\nHost: a\r\nX-API-Key: KEY\r\n\r\n"
    assert raw_request(daemon, one * 3 + one.replace("Host: a", "Host: a\r\nConnection: close")) == [200] * 4


@pytest.fixture(scope="module")
def hasty():
    """A server whose waits are short."""
    from conftest import Daemon

    d = Daemon(env={"DECLAW_TEST_PORT_ANSWER_MS": "500", "DECLAW_TEST_PORT_STALL_MS": "500", "DECLAW_TEST_PORT_IDLE_MS": "500"})
    sandbox = d.create(timeout=3600)["sandbox_id"]
    start_server(d, sandbox)
    yield d, sandbox
    print(d.log())
    assert d.stop() == 0


def test_a_server_that_never_answers(hasty):
    daemon, box = hasty
    for start in (b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: y\r\n"):
        answer = daemon.request("GET", at(box, "/open/" + b64(start)))
        assert (answer.status, answer.code) == (504, "port_timeout")


def test_an_answer_that_stops(hasty):
    daemon, box = hasty
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        daemon.request("GET", at(box, "/open/" + b64(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")))


def test_a_request_that_is_not_taken(hasty):
    daemon, box = hasty
    daemon.run(box, "exec python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\", 8002)); c=s.accept(); c=s.accept(); time.sleep(100)'", background=True)
    assert eventually(lambda: daemon.request("GET", at(box, "/", 8002)).code == "port_timeout")
    answer = daemon.request("POST", at(box, "/", 8002), blocks(20_000_000), headers={"Content-Length": "20000000"})
    assert (answer.status, answer.code) == (504, "port_timeout")


def test_killed_while_it_answers(daemon):
    sandbox = daemon.create(timeout=600)["sandbox_id"]
    start_server(daemon, sandbox)
    got = []
    wait = threading.Thread(target=lambda: got.append(daemon.request("GET", at(sandbox, "/open/" + b64(b"HTTP/1.1 200")))))
    wait.start()
    connection = daemon.connect()
    connection.request("GET", at(sandbox, "/count/0.01"), headers={"X-API-Key": daemon.key})
    answer = connection.getresponse()
    assert answer.readline() == b"data: 0\n"
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    wait.join(20)
    assert (got[0].status, got[0].code) == (410, "sandbox_killed")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
