# SPDX-License-Identifier: Apache-2.0
"""What the egress cases share: sandboxes with a probe inside, bytes to send, and the far side's word on it."""
import base64
import contextlib
import json
import os
import pathlib
import struct
import subprocess
import time
from typing import Any, Dict, List, Optional

from declaw import Sandbox
from lab import Lab
from lab.addresses import A1, A1_6, A2, A2_6

PROBE = (pathlib.Path(__file__).parent / "probe.py").read_text()
BUILD = pathlib.Path(__file__).resolve().parents[2] / os.environ.get("DECLAW_BUILD", "build-test")
EVIL = ("evil.test",)


class Box:
    """A sandbox with the probe inside. `run` does one step as a user inside and returns what it experienced."""

    def __init__(self, daemon: Any, network: Optional[dict], template: str = "python") -> None:
        self.daemon = daemon
        kwargs: Dict[str, Any] = {} if network is None else {"network": network}
        self.sbx = Sandbox.create(template=template, timeout=600, domain=daemon.domain, api_key=daemon.key, **kwargs)
        self.sbx.files.write("/tmp/probe.py", PROBE)

    def steps(self, steps: List[dict], user: str = "user", timeout: float = 120) -> List[dict]:
        packed = base64.b64encode(json.dumps(steps).encode()).decode()
        done = self.sbx.commands.run(f"python3 /tmp/probe.py {packed}", user=user, timeout=timeout)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run(self, do: str, user: str = "user", timeout: float = 120, **arguments: Any) -> dict:
        return self.steps([dict(do=do, **arguments)], user, timeout)[0]

    def sh(self, command: str, user: str = "user") -> Any:
        return self.sbx.commands.run(command, user=user, timeout=60)

    def refusals(self, **wanted: Any) -> List[dict]:
        """Decision records with verdict deny that have these values; waits a moment for them to be written."""
        deadline = time.monotonic() + 3
        while True:
            rows = [d for d in self.sbx.network_log(limit=1000, verdict="deny")
                    if all(d.get(k) == v for k, v in wanted.items())]
            if rows or time.monotonic() > deadline:
                return rows
            time.sleep(0.05)

    def pid(self) -> int:
        """A process of the sandbox as the host sees it, to enter its namespaces with the host's own root."""
        token = f"{time.time_ns()}"
        self.sbx.commands.run(f"sleep 300.{token} > /dev/null 2>&1 & echo", timeout=10)
        deadline = time.monotonic() + 5  # the shell may be back before its child has become sleep
        while time.monotonic() < deadline:
            for entry in pathlib.Path("/proc").iterdir():
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        if (entry / "cmdline").read_bytes().startswith(f"sleep\x00300.{token}".encode()):
                            return int(entry.name)
        raise AssertionError("the sandbox's process is not to be seen")

    def in_its_network(self, script: str, **arguments: Any) -> str:
        """Runs Python as the host's root, all capabilities, inside the sandbox's network namespace: the strongest
        attacker its link can have."""
        prelude = "".join(f"{k} = {v!r}\n" for k, v in arguments.items())
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self.pid()}/ns/net", "/usr/bin/python3", "-c", prelude + script],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self) -> None:
        self.sbx.kill(wait=True)


class Far:
    """The far side's view of one case."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.mark = lab.capture.mark()
        self.seen_queries = len(lab.dns.queries())
        self.seen_connections = len(lab.web.connections())
        self.seen_requests = len(lab.web.requests())
        self.seen_datagrams = len(lab.web.datagrams())

    def packets(self, **wanted: Any) -> list:
        return self.lab.capture.packets(since=self.mark, outgoing=True, **wanted)

    def queries(self, suffix: str = "") -> list:
        rows = self.lab.dns.queries()[self.seen_queries:]
        return [q for q in rows if not suffix or (q.qname or "").lower().rstrip(".").endswith(suffix)]

    def connections(self) -> list:
        return self.lab.web.connections()[self.seen_connections:]

    def requests(self) -> list:
        return self.lab.web.requests()[self.seen_requests:]

    def datagrams(self) -> list:
        return self.lab.web.datagrams()[self.seen_datagrams:]

    def silent(self, *addresses: str) -> None:
        """Not one packet went to these (default: the sink that no rule names), not one query to the evil zone."""
        time.sleep(0.15)  # what was under way gets the chance to arrive
        assert self.packets(dst=addresses or (A2, A2_6)) == []
        for zone in EVIL:
            assert self.queries(zone) == []


def fresh(lab: Lab, *values: str, ttl: int = 60) -> str:
    """A name below allowed.test that nobody has asked for yet (the gate has a cache), with these addresses or A1's."""
    name = f"n{os.urandom(5).hex()}.allowed.test"
    for kind in ("A", "AAAA"):
        mine = [v for v in values or (A1, A1_6) if (":" in v) == (kind == "AAAA")]
        if mine:
            lab.dns.set(name, kind, *mine, ttl=ttl)
    return name


def a1(family: int) -> str:
    return A1_6 if family == 6 else A1


def a2(family: int) -> str:
    return A2_6 if family == 6 else A2


def socket_family(family: int) -> int:
    return 10 if family == 6 else 2


def query(name: Any, qtype: int = 1, ident: int = 0x1234, qdcount: int = 1, options: bytes = b"", edns: bool = False,
          tail: bytes = b"", arcount: Optional[int] = None, extra: bytes = b"", flags: int = 0x0100) -> bytes:
    """A DNS query by hand. name: text, or the wire form of the name as bytes."""
    wire = name if isinstance(name, bytes) else b"".join(
        bytes([len(label)]) + label.encode("latin-1") for label in name.rstrip(".").split(".")) + b"\0"
    question = wire + struct.pack("!HH", qtype, 1)
    additional = extra
    count = 0
    if edns or options:
        additional += b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(options)) + options
        count = 1
    header = struct.pack("!HHHHHH", ident, flags, qdcount, 0, 0, count if arcount is None else arcount)
    return header + question * max(min(qdcount, 3), 0) + additional + tail


def rcode(answer_hex: str) -> int:
    return bytes.fromhex(answer_hex)[3] & 15


def answers(answer_hex: str) -> int:
    return struct.unpack_from("!H", bytes.fromhex(answer_hex), 6)[0]


def client_hello(sni: Optional[bytes], pad: int = 0, extra: bytes = b"", sni_extension: Optional[bytes] = None) -> bytes:
    """A ClientHello handshake message. pad: bytes of a padding extension (RFC 7685); extra: more extensions."""
    extensions = b""
    if sni_extension is not None:
        extensions += struct.pack("!HH", 0, len(sni_extension)) + sni_extension
    elif sni is not None:
        entry = b"\0" + struct.pack("!H", len(sni)) + sni
        body = struct.pack("!H", len(entry)) + entry
        extensions += struct.pack("!HH", 0, len(body)) + body
    extensions += bytes.fromhex("002b0003020304" "000a00040002001d" "000d00060004080404 03".replace(" ", ""))
    share = b"\x00\x1d\x00\x20" + bytes(range(32))
    extensions += struct.pack("!HHH", 51, len(share) + 2, len(share)) + share + extra
    if pad:
        extensions += struct.pack("!HH", 21, pad) + b"\0" * pad
    body = b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32) + bytes.fromhex("0006130113021303" "0100")
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def records(message: bytes, *cuts: int) -> bytes:
    """The message as TLS records, cut at these offsets (and at 2^14 where a piece would be longer)."""
    out, start = b"", 0
    edges = sorted({c for c in cuts if 0 < c < len(message)} | {len(message)})
    for edge in edges:
        while start < edge:
            piece = message[start:min(edge, start + 16384)]
            out += b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece
            start += len(piece)
    return out


def http(host: Optional[str], path: str = "/", method: str = "GET", version: str = "HTTP/1.1", extra: str = "") -> bytes:
    lines = [f"{method} {path} {version}"] + ([f"Host: {host}"] if host is not None else [])
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode("latin-1")
