# SPDX-License-Identifier: Apache-2.0
"""A server that tests start inside a sandbox: what it does stands in the path. Also runs by itself: port_server.py PORT."""

import base64
import hashlib
import json
import socket
import sys
import threading
import time

closed = []  # paths of connections whose other side went away


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.buffer += data
        return bool(data)

    def take(self, n: int) -> bytes:
        while len(self.buffer) < n and self.more():
            pass
        taken, self.buffer = self.buffer[:n], self.buffer[n:]
        return taken

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer and self.more():
            pass
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def body(self, headers):
        fields = {k.lower(): v for k, v in headers}
        if "content-length" in fields:
            left = int(fields["content-length"])
            while left and (data := self.take(min(left, 65536))):
                left -= len(data)
                yield data
        while fields.get("transfer-encoding") == "chunked" and (n := int(self.line() or b"0", 16)):
            yield self.take(n)
            self.take(2)

    def reply(self, body: bytes, kind: str = "application/json", status: str = "200 OK") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.sock.sendall(head.encode() + body)

    def until_gone(self, path: str) -> None:
        while self.more():
            pass
        closed.append(path)

    def serve(self) -> None:
        first = self.line().decode("latin1")
        if not first:
            return
        method, target, _ = first.split(" ", 2)
        headers = []
        while line := self.line().decode("latin1"):
            name, _, value = line.partition(": ")
            headers.append((name, value))
        what, _, argument = target.partition("?")[0].lstrip("/").partition("/")
        action = getattr(self, "do_" + what, self.do_see)
        action(argument, method, target, headers)

    def do_see(self, argument, method, target, headers):
        digest, n = hashlib.sha256(), 0
        for data in self.body(headers):
            digest.update(data)
            n += len(data)
        self.reply(json.dumps({"method": method, "target": target, "headers": headers, "n": n, "sha256": digest.hexdigest()}).encode())

    def do_raw(self, argument, method, target, headers):
        """Exactly these bytes."""
        for _ in self.body(headers):
            pass
        self.sock.sendall(base64.urlsafe_b64decode(argument))

    def do_open(self, argument, method, target, headers):
        """These bytes, and the connection stays open."""
        self.sock.sendall(base64.urlsafe_b64decode(argument))
        self.until_gone(target)

    def do_drip(self, argument, method, target, headers):
        """Byte by byte."""
        for byte in base64.urlsafe_b64decode(argument):
            self.sock.sendall(bytes([byte]))
            time.sleep(0.001)

    def do_many(self, argument, method, target, headers):
        """kind/n: so many bytes, framed in that way."""
        kind, n = argument.split("/")
        left, block = int(n), bytes(range(256)) * 256
        head = {"length": f"Content-Length: {n}\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "close": ""}[kind]
        self.sock.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        try:
            while left:
                data = block[: min(left, len(block))]
                self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data) if kind == "chunked" else data)
                left -= len(data)
            if kind == "chunked":
                self.sock.sendall(b"0\r\n\r\n")
        except OSError:
            closed.append(target)

    def do_count(self, argument, method, target, headers):
        """An event a tick, without end."""
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        n = 0
        try:
            while True:
                data = b"data: %d\n\n" % n
                self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))
                n += 1
                time.sleep(float(argument))
        except OSError:
            closed.append(target)

    def do_early(self, argument, method, target, headers):
        """An answer before the body, of which nothing is read."""
        self.reply(b'{"message": "too large"}', status="413 Content Too Large")
        if argument == "open":
            time.sleep(60)

    def do_echo(self, argument, method, target, headers):
        """What comes goes back as it comes."""
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for data in self.body(headers):
            self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))
        self.sock.sendall(b"0\r\n\r\n")

    def do_closed(self, argument, method, target, headers):
        self.reply(json.dumps(closed).encode())


def run(sock: socket.socket) -> None:
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            Connection(sock).serve()
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256) as listener:
        while True:
            accepted, _ = listener.accept()
            threading.Thread(target=run, args=(accepted,), daemon=True).start()
