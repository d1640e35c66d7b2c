# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what the tests of declaw lean on must hold."""

import socket
import ssl
import struct
import subprocess
import time
from typing import Any, List

import pytest

from . import addresses as a
from . import dnsmsg, netns
from .capture import CaptureLost, Packet
from .conftest import eventually
from .control import LabError
from .dnsmsg import Message, Record, make_query, parse_message
from .lab import Lab


def ask(lab: Lab, name: str, type_: str = "A", **options: Any) -> Message:
    return parse_message(lab.ask(make_query(name, type_), **options))


def values(message: Message) -> List[str]:
    return [r.value for r in message.answer]


def tls(lab: Lab, address: str, port: int, sni: str, verify: str = "") -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=lab.ca_file)
    context.check_hostname = False
    wrapped = context.wrap_socket(lab.connect((address, port)), server_hostname=sni or None)
    names = [name for _, name in wrapped.getpeercert().get("subjectAltName", ())]  # type: ignore[union-attr]
    assert names == [verify or sni]
    return wrapped


def get(sock: socket.socket, host: str, path: str = "/") -> bytes:
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while data := sock.recv(1 << 20):
        answer += data
    return answer.partition(b"\r\n\r\n")[2]


# -- DNS


@pytest.mark.parametrize("resolver", a.RESOLVERS)
@pytest.mark.parametrize("tcp", [False, True])
def test_dns_answers(lab: Lab, resolver: str, tcp: bool) -> None:
    message = ask(lab, "API.github.com", resolver=resolver, tcp=tcp)
    assert message.answer == [Record("API.github.com", "A", 60, a.GITHUB)]
    assert message.recursion_available
    (query,) = lab.dns.queries()
    assert query.raw == make_query("API.github.com")
    assert (query.qname, query.qtype, query.resolver) == ("API.github.com", "A", resolver)
    assert query.transport == ("tcp" if tcp else "udp")
    assert query.source in (a.UPLINK4, a.UPLINK6)
    assert abs(query.time - time.time()) < 5


def test_dns_names(lab: Lab) -> None:
    assert values(ask(lab, "one.allowed.test")) == [a.A1]
    assert values(ask(lab, "x.y.wild.test", "AAAA")) == [a.A1_6]
    assert ask(lab, "wild.test").rcode == "NXDOMAIN"
    missing = ask(lab, "nothing.evil.test")
    assert (missing.rcode, [r.type for r in missing.authority]) == ("NXDOMAIN", ["SOA"])
    empty = ask(lab, "api.github.com", "AAAA")
    assert (empty.rcode, empty.answer, len(empty.authority)) == ("NOERROR", [], 1)
    assert [q.qname for q in lab.dns.queries("evil.test")] == ["nothing.evil.test"]
    lab.dns.clear()
    assert lab.dns.queries() == []


def test_dns_records_can_change(lab: Lab) -> None:
    lab.dns.set("one.allowed.test", "A", a.A2, a.PRIVATE, ttl=0)
    assert ask(lab, "one.allowed.test").answer == [
        Record("one.allowed.test", "A", 0, a.A2),
        Record("one.allowed.test", "A", 0, a.PRIVATE),
    ]
    lab.dns.remove("one.allowed.test", "A")
    assert ask(lab, "one.allowed.test").answer == []
    lab.dns.remove("one.allowed.test")
    assert ask(lab, "one.allowed.test").rcode == "NXDOMAIN"
    with pytest.raises(LabError):
        lab.dns.set("x.test", "A", "no address")


def test_dns_chains(lab: Lab) -> None:
    lab.dns.set("c1.allowed.test", "CNAME", "c2.allowed.test", ttl=5)
    lab.dns.set("c2.allowed.test", "CNAME", "deep.wild.test")
    chain = ask(lab, "c1.allowed.test").answer
    assert [(r.owner, r.type, r.value) for r in chain] == [
        ("c1.allowed.test", "CNAME", "c2.allowed.test"),
        ("c2.allowed.test", "CNAME", "deep.wild.test"),
        ("deep.wild.test", "A", a.A1),
    ]
    lab.dns.set("c2.allowed.test", "CNAME", "c1.allowed.test")
    assert ask(lab, "c1.allowed.test").rcode == "SERVFAIL"


def test_dns_types(lab: Lab) -> None:
    lab.dns.set("t.test", "HTTPS", "1 . alpn=h2,http/1.1 port=8443 ipv4hint=1.2.3.4 ech=AAEC ipv6hint=::1")
    (record,) = ask(lab, "t.test", "HTTPS").answer
    assert record.value == (
        "\\#0001" + "00" + "0001000c" + "026832" + "08687474702f312e31" + "0003000220fb" + "0004000401020304"
        + "00050003000102" + "00060010" + "00" * 15 + "01"
    )  # fmt: skip
    lab.dns.set("t.test", "TXT", "x" * 300)
    assert ask(lab, "t.test", "TXT").answer[0].value == "\\#ff" + "78" * 255 + "2d" + "78" * 45
    lab.dns.set("t.test", "MX", "10 mail.t.test")
    lab.dns.set("t.test", "TYPE999", "\\# 00ff")
    assert ask(lab, "t.test", "TYPE999").answer[0].value == "\\#00ff"
    name = "a\\000b\\046c.t.test"
    lab.dns.set(name, "A", a.A1)
    assert ask(lab, name).answer[0].owner == name


def test_dns_scripts(lab: Lab) -> None:
    name = "one.allowed.test"
    lab.dns.script(name, rcode="SERVFAIL")
    assert ask(lab, name).rcode == "SERVFAIL"
    foreign = [Record(name, "A", 9, a.A1), Record("sink.evil.test", "A", 9, a.A2)]
    glue = [Record("ns.evil.test", "A", 9, a.A2)]
    lab.dns.script(name, "A", answer=foreign, additional=glue, authority=[Record("x", "NS", 9, "ns.evil.test")])
    message = ask(lab, name)
    assert (message.answer, message.additional, len(message.authority)) == (foreign, glue, 1)
    assert ask(lab, name, "AAAA").rcode == "SERVFAIL", "the script for any type still holds for the others"
    lab.dns.script(name, turns=[[Record(name, "A", 0, a.A1)], [Record(name, "A", 0, a.METADATA)]])
    lab.dns.unscript(name, "A")
    assert [values(ask(lab, name))[0] for _ in range(4)] == [a.A1, a.METADATA] * 2
    lab.dns.script(name, delay=0.2)
    start = time.monotonic()
    assert values(ask(lab, name)) == [a.A1]
    assert time.monotonic() - start >= 0.2
    lab.dns.script(name, drop="udp")
    with pytest.raises(TimeoutError):
        ask(lab, name, timeout=0.1)
    assert values(ask(lab, name, tcp=True)) == [a.A1]
    lab.dns.script(name, truncate=True)
    assert ask(lab, name).truncated and not ask(lab, name, tcp=True).truncated
    lab.dns.script(name, raw=b"\x81\x80garbage")
    assert lab.ask(make_query(name)) == b"\x12\x34\x81\x80garbage"
    lab.dns.unscript(name)
    assert values(ask(lab, name)) == [a.A1]


def test_dns_long_answers(lab: Lab) -> None:
    many = [f"203.2.{n // 256}.{n % 256}" for n in range(500)]
    lab.dns.set("many.test", "A", *many)
    short = ask(lab, "many.test")
    assert short.truncated and short.answer == []
    assert values(ask(lab, "many.test", tcp=True)) == many
    roomy = parse_message(lab.ask(make_query("many.test", edns_size=16000)))
    assert values(roomy) == many and [r.type for r in roomy.additional] == ["OPT"]


def test_dns_bad_queries_are_logged(lab: Lab) -> None:
    two_questions = b"\x12\x34\x01\x00\x00\x02" + make_query("evil.test")[6:]
    assert parse_message(lab.ask(two_questions)).rcode == "FORMERR"
    (query,) = lab.dns.queries()
    assert (query.qname, query.raw) == (None, two_questions)


# -- TCP


@pytest.mark.parametrize("address", [a.A1, a.A1_6, a.A2, a.A2_6, "1.1.1.1", a.METADATA, a.PRIVATE_6, a.GITHUB])
@pytest.mark.parametrize("port", [80, 8080])
def test_http(lab: Lab, address: str, port: int) -> None:
    with lab.connect((address, port)) as sock:
        body = get(sock, "one.allowed.test", "/x?y")
    assert b'"vhost": "one.allowed.test"' in body and f'"address": "{address}"'.encode() in body
    (request,) = lab.web.requests()
    assert request["head"] == "GET /x?y HTTP/1.1\r\nHost: one.allowed.test\r\nConnection: close\r\n\r\n"
    (connection,) = lab.web.connections()
    assert (connection["local"], connection["port"], connection["tls"]) == (address, port, False)
    assert connection["first"] == request["head"].encode() and connection["bytes_in"] == len(request["head"])


@pytest.mark.parametrize("sni", ["one.allowed.test", "co.evil.test", "never-seen.wild.test"])
@pytest.mark.parametrize("port", [443, 80])
def test_tls_by_sni(lab: Lab, sni: str, port: int) -> None:
    with tls(lab, a.A1, port, sni) as sock:
        assert b'"sni": "%b"' % sni.encode() in get(sock, sni)
    (connection,) = lab.web.connections()
    assert (connection["sni"], connection["tls"]) == (sni, True)
    assert sni.encode() in connection["first"], "the handshake's raw bytes are kept"


def test_tls_without_sni(lab: Lab) -> None:
    with tls(lab, a.A1, 443, "", verify="default.lab") as sock:
        get(sock, "x")
    assert lab.web.connections()[0]["sni"] is None


def test_keep_alive_and_big(lab: Lab) -> None:
    with lab.connect((a.A1, 80)) as sock:
        for host in ("one.allowed.test", "co.evil.test"):
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert host.encode() in sock.recv(65536)
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert sock.recv(65536).endswith(b"\r\n\r\nabcde")
        body = get(sock, "h", "/big?n=3000000")
    assert len(body) == 3_000_000
    assert [r["host"] for r in lab.web.requests()] == ["one.allowed.test", "co.evil.test", "h", "h"]
    assert len({r["connection"] for r in lab.web.requests()}) == 1


def test_unfinished_request_is_seen(lab: Lab) -> None:
    with lab.connect((a.A1, 80)) as sock:
        sock.sendall(b"GET /half HTTP/1.1\r\nHo")
    (request,) = eventually(lab.web.requests)
    assert (request["head"], request["method"]) == ("GET /half HTTP/1.1\r\nHo", None)


def test_speaks_first(lab: Lab) -> None:
    with lab.connect((a.GITHUB, a.SSH)) as sock:
        assert sock.recv(100) == b"SSH-2.0-lab\r\n"
        sock.sendall(b"ping")
        assert sock.recv(100) == b"ping"


def test_starttls(lab: Lab) -> None:
    sock = lab.connect((a.A1, a.SMTP))
    assert sock.recv(100) == b"220 lab ESMTP\r\n"
    sock.sendall(b"EHLO x\r\n")
    assert sock.recv(100) == b"250 EHLO x\r\n"
    sock.sendall(b"STARTTLS\r\n")
    assert sock.recv(100) == b"220 go ahead\r\n"
    context = ssl.create_default_context(cafile=lab.ca_file)
    with context.wrap_socket(sock, server_hostname="two.allowed.test") as secure:
        secure.sendall(b"QUIT")
        assert secure.recv(100) == b"250 QUIT"
    assert lab.web.connections()[0]["sni"] == "two.allowed.test"


@pytest.mark.parametrize("address", [a.A1, a.A1_6])
def test_echo(lab: Lab, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.connect((address, a.ECHO)) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    for port in (a.ECHO, 443):
        with lab.make_socket(family, socket.SOCK_DGRAM) as udp:
            udp.settimeout(3)
            udp.connect((address, port))
            udp.send(b"\xc0datagram")
            assert udp.recv(100) == b"\xc0datagram"
    assert [(d["local"], d["port"], d["data"]) for d in lab.web.datagrams()] == [
        (address, a.ECHO, b"\xc0datagram"), (address, 443, b"\xc0datagram"),
    ]  # fmt: skip


@pytest.mark.parametrize("address", [a.A2, a.A2_6])
def test_sink_takes_any_port(lab: Lab, address: str) -> None:
    for port in (1, 53, 5432, 65535, a.CLOSED):
        with lab.connect((address, port)) as sock:
            sock.sendall(b"secret")
        (seen,) = eventually(lambda p=port: [c for c in lab.web.connections() if c["port"] == p and c["closed"]])
        assert (seen["local"], seen["first"]) == (address, b"secret")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.make_socket(family, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"leak", (address, 53))
    (packet,) = lab.capture.packets(dst=address, proto="udp")
    assert (packet.dport, packet.payload, packet.outgoing) == (53, b"leak", True)
    assert not lab.capture.packets(src=address, proto="icmp") and not lab.capture.packets(src=address, proto="icmp6")


@pytest.mark.parametrize(
    "address, port, error",
    [
        (a.A1, a.CLOSED, ConnectionRefusedError),
        (a.A1_6, a.CLOSED, ConnectionRefusedError),
        (a.A1, a.SWALLOWED, TimeoutError),
        (a.A1_6, a.SWALLOWED, TimeoutError),
        (a.SILENT, 80, TimeoutError),
        (a.SILENT_6, 80, TimeoutError),
        (a.UNREACHABLE, 80, OSError),
        (a.UNREACHABLE_6, 80, OSError),
        (a.PROHIBITED, 80, OSError),
        (a.PROHIBITED_6, 80, OSError),
    ],
)
def test_dead_ends(lab: Lab, address: str, port: int, error: type) -> None:
    mark = lab.capture.mark()
    # IPv6 drops an ICMP error that comes, as here, faster than connect() lets its socket go; the next SYN, after a
    # second, meets the next one.
    six = ":" in address and error is OSError
    with pytest.raises(error) as caught:
        lab.connect((address, port), timeout=3 if six else 0.2)
    packets = lab.capture.packets(since=mark)
    if error is TimeoutError:
        assert [(p.outgoing, p.dst, p.flags) for p in packets] == [(True, address, "S")]
    else:
        assert not isinstance(caught.value, TimeoutError)


def test_two_labs_at_a_time(lab: Lab) -> None:
    with Lab() as other:
        assert other.uplink != lab.uplink
        other.dns.set("one.allowed.test", "A", a.A2)
        assert values(ask(other, "one.allowed.test")) == [a.A2]
        assert values(ask(lab, "one.allowed.test")) == [a.A1]


def test_uplink_reaches_only_the_lab(lab: Lab) -> None:
    links = subprocess.run(["ip", "-n", lab.uplink, "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split(": ")[1].split("@")[0] for line in links.splitlines()) == ["lo", netns.UPLINK_DEV]


# -- capture


def test_capture_marks(lab: Lab) -> None:
    ask(lab, "one.allowed.test")
    mark = lab.capture.mark()
    assert lab.capture.packets(since=mark) == []
    with lab.connect((a.A1_6, 80)) as sock:
        sock.sendall(b"x")
    packets = lab.capture.packets(since=mark)
    assert {p.proto for p in packets} == {"tcp"}
    assert packets[0].flags == "S" and packets[0].outgoing and packets[0].dst == a.A1_6
    assert [p.payload for p in lab.capture.packets(dst=[a.A1_6], since=mark) if p.payload] == [b"x"]
    assert lab.capture.packets(dst=[a.A2, a.A2_6], since=mark) == []
    assert lab.capture.packets(port=53, since=mark) == [] != lab.capture.packets(port=53)
    lab.capture.clear()
    after = lab.capture.mark()
    ask(lab, "one.allowed.test")
    assert len(lab.capture.packets(since=after, port=53)) == 2


@pytest.mark.parametrize("address", [a.A2, a.A2_6])
def test_capture_sees_pings(lab: Lab, address: str) -> None:
    six = ":" in address
    family, proto, ask_type = (socket.AF_INET6, 58, 128) if six else (socket.AF_INET, 1, 8)
    body = b"\x00\x07\x00\x01covert"
    # The checksum of IPv6 is the kernel's affair.
    words = struct.unpack("!5H", body) + (ask_type << 8,)
    total = sum(words)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    with netns.inside(lab.uplink, lambda: socket.socket(family, socket.SOCK_RAW, proto)) as raw:
        raw.settimeout(3)
        raw.sendto(struct.pack("!BBH", ask_type, 0, checksum) + body, (address, 0))
        assert raw.recv(200).endswith(b"covert")
    pings = [(p.flags, p.outgoing, p.payload) for p in lab.capture.packets() if p.proto.startswith("icmp")]
    assert [p[:2] for p in pings] == ([("128/0", True), ("129/0", False)] if six else [("8/0", True), ("0/0", False)])
    assert pings[0][2] == b"covert"


def test_capture_sees_fragments_and_ether(lab: Lab) -> None:
    with lab.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragment
        udp.sendto(bytes(3000), (a.A2, 1234))
    packets = lab.capture.packets(dst=a.A2)
    assert [p.flags for p in packets] == ["", "fragment", "fragment"]
    assert packets[0].dport == 1234

    def frame() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((netns.UPLINK_DEV, 0))
            raw.send(b"\xff" * 6 + bytes(6) + b"\x88\xb5" + b"covert")

    netns.inside(lab.uplink, frame)
    (odd,) = [p for p in lab.capture.packets() if p.proto == "ether-88b5"]
    assert odd.payload.startswith(b"covert")


def test_capture_keeps_up_and_says_when_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20_000
    with lab.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for n in range(count):
            udp.sendto(n.to_bytes(4, "big"), (a.A2, 1))
    seen = [int.from_bytes(p.payload, "big") for p in lab.capture.packets(dst=a.A2)]
    assert seen == list(range(count)) and lab.capture.lost == 0
    # With a small buffer and nobody reading, the kernel drops: told, not hidden.
    with lab.capture._lock:
        lab.capture._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with lab.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for _ in range(1000):
                udp.sendto(bytes(1000), (a.A2, 1))
    assert lab.capture.lost > 0
    with pytest.raises(CaptureLost):
        lab.capture.packets(dst=a.A2)
    lab.capture._sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    lab.capture.clear()
    assert lab.capture.lost == 0 and lab.capture.packets() == []


def test_packet_is_a_tuple(lab: Lab) -> None:
    ask(lab, "one.allowed.test")
    time_, outgoing, src, dst, proto, sport, dport, flags, payload, length = lab.capture.packets()[0]
    assert isinstance(lab.capture.packets()[0], Packet) and isinstance(time_, float) and outgoing is True
    assert (src, dst, proto, dport, flags, length) == (a.UPLINK4, a.RESOLVER, "udp", 53, "", len(payload))
    assert dnsmsg.parse_query(payload).qname == "one.allowed.test" and sport > 0
