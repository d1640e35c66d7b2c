# SPDX-License-Identifier: Apache-2.0
"""One gate and one internet for all tests of a file; each test has a slot of its own."""

import itertools
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import harness
from dnsd import Dns

_slots = itertools.count(1)


def pytest_collection_modifyitems(config: Any, items: Any) -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root and /dev/net/tun"))


class Net:
    """The far side: servers, what they saw, and the names."""

    def __init__(self, world: harness.World, folder: Path) -> None:
        self.world = world
        self.requests: list[bytes] = []
        self.tls_names: list[str] = []
        self.dns = Dns(world.net_ns, "9.9.9.9")
        self._listeners = [
            harness.serve(world.net_ns, 7, harness.echo),
            harness.serve(world.net_ns, 80, self._http),
            harness.serve(world.net_ns, 8080, self._http),
            harness.serve(world.net_ns, 443, self._tls),
            harness.serve(world.net_ns, 8443, self._tls),
        ]
        key, cert = folder / "key.pem", folder / "cert.pem"
        harness.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=test")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._context.sni_callback = lambda _s, name, _c: self.tls_names.append(name or "-") and None

    def _http(self, c: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = c.recv(65536)
                if not data:
                    return
                buffer += data
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            self.requests.append(head)
            length = [int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")]
            while length and len(buffer) < length[0]:
                buffer += c.recv(65536)
            buffer = buffer[length[0]:] if length else buffer
            if b"pgrade: websocket" in head and b"/accept" in head:
                c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                if buffer:
                    c.sendall(buffer)
                harness.echo(c)
                return
            body = b"you asked " + head.split(b"\r\n")[0]
            c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def _tls(self, c: socket.socket) -> None:
        with self._context.wrap_socket(c, server_side=True) as s:
            harness.echo(s)

    def close(self) -> None:
        self.dns.close()
        for listener in self._listeners:
            # close() alone leaves accept() waiting, and with it the namespace
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@pytest.fixture(scope="module")
def world() -> Iterator[harness.World]:
    with harness.World() as w:
        w.start_gate("--resolver", "9.9.9.9")
        yield w


@pytest.fixture(scope="module")
def net(world: harness.World, tmp_path_factory: Any) -> Iterator[Net]:
    n = Net(world, tmp_path_factory.mktemp("net"))
    yield n
    n.close()


@pytest.fixture
def sandbox(world: harness.World) -> Callable[..., tuple[int, str]]:
    """Makes an attached sandbox: sandbox(allow=[...]) -> (slot, namespace)."""

    def make(**policy: Any) -> tuple[int, str]:
        slot = next(_slots)
        ns = world.sandbox(slot)
        world.attach(slot, **policy)
        assert world.gate
        world.gate.forget_events()
        return slot, ns

    return make


@pytest.fixture
def capture(world: harness.World) -> Iterator[harness.Capture]:
    c = harness.Capture(world.net_ns, "inet")
    yield c
    c.close()
