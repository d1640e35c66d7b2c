# SPDX-License-Identifier: Apache-2.0
"""WebSockets to servers inside, by real clients and servers."""

import asyncio
import base64
import os
import socket
import time
from pathlib import Path

import pytest

from conftest import eventually
from test_tls import TlsDaemon, make_cert

websockets = pytest.importorskip("websockets")

INSIDE = Path(__file__).with_name("inside")
PYTHON, NODE = 8010, 8011


def url(daemon, box, port, path="/", scheme="ws"):
    return f"{scheme}://{daemon.host}:{daemon.port}/sandboxes/{box}/ports/{port}{path}"


def start(daemon, box, name, port):
    text = (INSIDE / name).read_text()
    assert daemon.request("POST", f"/sandboxes/{box}/files", {"path": f"/tmp/{name}", "data": text}).status == 200
    daemon.run(box, f"{'node' if name.endswith('js') else 'python3'} /tmp/{name} {port}", background=True)
    # Any answer will do: one of them wants WebSockets only.
    assert eventually(lambda: daemon.request("GET", f"/sandboxes/{box}/ports/{port}/").status != 502, 20)


@pytest.fixture(scope="module")
def box(daemon):
    sandbox = daemon.create(timeout=3600)["sandbox_id"]
    start(daemon, sandbox, "ws_server.py", PYTHON)
    start(daemon, sandbox, "ws_server.js", NODE)
    return sandbox


def talk(daemon, where, work, **more):
    async def main():
        more.setdefault("extra_headers", {"X-API-Key": daemon.key})
        async with websockets.connect(where, max_size=None, **more) as socket_:
            return await work(socket_)

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_both_ends_by_the_same_library(daemon, box):
    async def work(ws):
        assert ws.subprotocol == "chat"
        for message in ("x", "\u00e9" * 1000, b"\0\xff" * 10, b"y" * 3_000_000, ""):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send("path")
        assert await ws.recv() == "/a%2Fb?c=d"
        await ws.send("headers")
        headers = await ws.recv()
        assert daemon.key not in headers and "X-Forwarded-For: 127.0.0.1" in headers and "Connection: Upgrade" in headers
        pong = await ws.ping()
        await pong
        await ws.send("close")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await ws.recv()
        assert (closed.value.code, closed.value.reason) == (4001, "as asked")

    talk(daemon, url(daemon, box, PYTHON, "/a%2Fb?c=d"), work, subprotocols=["chat"])


def test_many_at_one_time(daemon, box):
    async def one(n):
        async with websockets.connect(url(daemon, box, PYTHON), extra_headers={"X-API-Key": daemon.key}) as ws:
            for i in range(20):
                await ws.send(f"{n} {i}")
                assert await ws.recv() == f"{n} {i}"

    async def main():
        await asyncio.gather(*(one(n) for n in range(50)))

    asyncio.run(asyncio.wait_for(main(), 60))


def test_nodes_server_speaks_first(daemon, box):
    async def work(ws):
        assert await ws.recv() == "hello"

    talk(daemon, url(daemon, box, NODE), work, compression=None, close_timeout=0.1)


def test_both_directions_full(daemon, box):
    """Nobody's buffers hold what is on its way: each side has to read while it writes."""
    async def work(ws):
        async def send():
            for _ in range(100):
                await ws.send(b"z" * 300_000)

        sending = asyncio.ensure_future(send())
        got = 0
        while got < 100 * 300_000:
            got += len(await ws.recv())
        await sending

    talk(daemon, url(daemon, box, PYTHON), work, compression=None)


@pytest.mark.parametrize("status, more", [(401, {"extra_headers": {}}), (401, {"extra_headers": {"X-API-Key": "x"}})])
def test_without_a_key(daemon, box, status, more):
    with pytest.raises(websockets.InvalidStatusCode) as refused:
        talk(daemon, url(daemon, box, PYTHON), None, **more)
    assert refused.value.status_code == status


def test_nobody_listens(daemon, box):
    with pytest.raises(websockets.InvalidStatusCode) as refused:
        talk(daemon, url(daemon, box, 8012), None)
    assert refused.value.status_code == 502


def handshake(daemon, box, port=NODE, method="GET", upgrade="websocket", more=""):
    key = base64.b64encode(os.urandom(16)).decode()
    return (f"{method} /sandboxes/{box}/ports/{port}/ HTTP/1.1\r\nHost: a\r\nX-API-Key: {daemon.key}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n").encode()


@pytest.mark.parametrize("method, upgrade, more", [("GET", "h2c", ""), ("GET", "websocket, h2c", ""), ("POST", "websocket", "Content-Length: 0\r\n"), ("GET", "websocket", "Upgrade: h2c\r\n"), ("GET", "websocket", "Content-Length: 3\r\n")])
def test_other_protocols_are_refused(daemon, box, method, upgrade, more):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box, method=method, upgrade=upgrade, more=more) + b"abc")
        answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400") and b"unsupported_upgrade" in answer, answer


def test_bytes_of_both_sides_right_behind_the_head(daemon, box):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box) + b"at once")
        got = b""
        while not got.endswith(b"at once"):
            data = sock.recv(4096)
            assert data, got
            got += data
    head, _, rest = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101") and b"et-cookie" not in head.lower() and rest == b"\x81\x05helloat once"


def test_one_that_answers_without_changing(daemon, box):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box, port=PYTHON).replace(b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 12\r\n"))
        assert sock.recv(4096).startswith(b"HTTP/1.1 400")


def count(daemon, box):
    seen = daemon.run(box, f"grep -c ' 01 ' /proc/net/tcp; true")["stdout"]
    return int(seen)


def test_a_client_that_vanishes_and_a_sandbox_that_ends(daemon):
    box = daemon.create(timeout=600)["sandbox_id"]
    start(daemon, box, "ws_server.js", NODE)
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.sendall(handshake(daemon, box))
        assert sock.recv(12) == b"HTTP/1.1 101"
        assert eventually(lambda: count(daemon, box) == 2)
    assert eventually(lambda: count(daemon, box) == 0)
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box))
        assert sock.recv(12) == b"HTTP/1.1 101"
        assert daemon.request("DELETE", f"/sandboxes/{box}").status == 200
        while sock.recv(4096):
            pass


def test_slow_reader_of_a_websocket(daemon, box):
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box))
        assert sock.recv(12) == b"HTTP/1.1 101"
        sock.settimeout(0.5)
        with pytest.raises(OSError):  # it takes no more than the buffers on the way hold
            sock.sendall(b"q" * 200_000_000)
        assert daemon.request("GET", f"/sandboxes/{box}/ports/{NODE}/x").status == 200


def test_a_server_that_stops_ends_them(make_daemon):
    daemon = make_daemon()
    box = daemon.create(timeout=600)["sandbox_id"]
    start(daemon, box, "ws_server.js", NODE)
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box))
        assert sock.recv(12) == b"HTTP/1.1 101"
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 5
        while sock.recv(4096):
            pass


def test_idle_ones_end(make_daemon):
    daemon = make_daemon(env={"DECLAW_TEST_PORT_IDLE_MS": "500"})
    box = daemon.create(timeout=600)["sandbox_id"]
    start(daemon, box, "ws_server.js", NODE)
    with socket.create_connection((daemon.host, daemon.port)) as sock:
        sock.settimeout(20)
        sock.sendall(handshake(daemon, box))
        got = b""
        while data := sock.recv(4096):
            got += data
    assert got.startswith(b"HTTP/1.1 101") and got.endswith(b"hello")


def test_over_tls(tmp_path, monkeypatch):
    cert, key = make_cert(tmp_path, "here")
    monkeypatch.setattr(TlsDaemon, "cert", cert, raising=False)
    daemon = TlsDaemon("--tls-cert", str(cert), "--tls-key", str(key))
    try:
        box = daemon.create(timeout=600)["sandbox_id"]
        start(daemon, box, "ws_server.py", PYTHON)

        async def work(ws):
            for message in ("x", b"y" * 3_000_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send("headers")
            assert "X-Forwarded-Proto: https" in await ws.recv()

        talk(daemon, url(daemon, box, PYTHON, scheme="wss"), work, ssl=daemon.context())
        # And one that is open when it stops.
        with daemon.raw() as sock:
            sock.sendall(handshake(daemon, box, port=PYTHON))
            assert sock.recv(12) == b"HTTP/1.1 101"
            assert daemon.stop() == 0
    finally:
        print(daemon.log() if daemon.log_path.exists() else "")
        daemon.stop()
