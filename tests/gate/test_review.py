# SPDX-License-Identifier: Apache-2.0
"""Ways round the gate that a review found: each test is one that once got through."""

import os
import socket
import ssl
import struct
import time

import harness
import pytest
from dnsd import lookup
from harness import MOVED, SERVER, SERVER6, SILENT, connect, inside, slot_addr4, slot_addr6
from test_names import DENIED, NAME, read_all
from test_tcp import _tcp_sum

PRIVATE = "10.77.0.5"
LOCAL_ROUTE = "45.79.20.7"


def echoes(s, data=b"x\n"):
    s.sendall(data)
    return s.recv(len(data), socket.MSG_WAITALL) == data


def is_cut(s):
    s.settimeout(1)
    try:
        s.sendall(b"x\n")
        return s.recv(100) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def short_ttl(net):
    net.dns.ttl = 0
    yield
    net.dns.ttl = 60


def test_a_name_that_moves_to_a_private_address_opens_only_the_port_of_its_entry(net, sandbox, world, capture, short_ttl):
    """An address entry opens one port of a private address; a name that now resolves there opens no other."""
    harness.run("ip", "-n", world.net_ns, "addr", "replace", f"{PRIVATE}/32", "dev", "lo")
    net.dns.names["trick.test"] = [SERVER]
    _, ns = sandbox(allow=["trick.test", f"{PRIVATE}:8080"])
    assert lookup(ns, "trick.test") == [SERVER]
    connect(ns, PRIVATE, 8080).close()  # as the entry says
    net.dns.names["trick.test"] = [PRIVATE]
    time.sleep(1.2)
    capture.packets()
    with pytest.raises(TimeoutError):
        connect(ns, SERVER, 7, 1)
    assert capture.mentions(PRIVATE) == 0
    world.gate.decision(addr=SERVER, port=7, reason="name_gone")


def test_a_revoked_name_takes_along_the_address_that_was_dialled_for_it(net, sandbox, world, short_ttl):
    """One handle, two names: what was dialled for the first is not kept because of the second."""
    net.dns.names.update({"a.test": [SERVER], "b.test": [SERVER]})
    slot, ns = sandbox(allow=["a.test", "b.test"])
    assert lookup(ns, "a.test") == lookup(ns, "b.test") == [SERVER]
    net.dns.names["a.test"] = [MOVED]
    net.dns.names.pop("b.test")
    time.sleep(1.2)
    with connect(ns, SERVER, 7) as s:
        assert echoes(s)
        world.update(slot, 2, allow=["a.test"])
        assert echoes(s)
        world.update(slot, 3, allow=["b.test"])
        assert is_cut(s)


def test_an_entry_for_the_handle_does_not_open_what_was_dialled_instead(net, sandbox, world, short_ttl):
    net.dns.names["a.test"] = [SERVER]
    slot, ns = sandbox(allow=["a.test"])
    assert lookup(ns, "a.test") == [SERVER]
    net.dns.names["a.test"] = [MOVED]
    time.sleep(1.2)
    with connect(ns, SERVER, 7) as s:
        assert echoes(s)
        world.update(slot, 2, allow=["a.test", SERVER])
        assert is_cut(s)


def test_inspection_that_was_lifted_cannot_be_taken_for_done(net, sandbox, world):
    """Name, then address, then name again: what went by unseen in between is not vouched for by the first request."""
    net.dns.names[NAME] = [SERVER]
    slot, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    net.requests.clear()
    with connect(ns, SERVER, 8080) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % NAME.encode())
        assert b"200 OK" in s.recv(4096)
        world.update(slot, 2, allow=[NAME, SERVER])
        s.sendall(b"GET /free HTTP/1.1\r\nHost: %s\r\n\r\n" % DENIED.encode())
        assert b"200 OK" in s.recv(4096)
        world.update(slot, 3, allow=[NAME])
        try:
            s.sendall(b"GET /evil HTTP/1.1\r\nHost: %s\r\n\r\n" % DENIED.encode())
            s.recv(4096)
        except ConnectionError:
            pass
        time.sleep(0.1)
    assert [r.split()[1] for r in net.requests] == [b"/", b"/free"]


def test_what_an_open_default_let_pass_unread_does_not_pass_a_list_of_names(net, sandbox, world):
    net.dns.names[NAME] = [SERVER]
    slot, ns = sandbox(deny=[DENIED], default_allow=True)
    lookup(ns, NAME)
    net.requests.clear()
    with connect(ns, SERVER, 8080) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x.test\r\nHost: y.test\r\n\r\n")
        assert b"200 OK" in s.recv(4096)
        world.update(slot, 2, allow=[NAME])
        assert is_cut(s)
    assert len(net.requests) == 1


def test_the_end_of_a_cut_flow_names_no_rule_of_another_policy(net, sandbox, world):
    slot, ns = sandbox(allow=[f"{SERVER}:7"])
    with connect(ns, SERVER, 7) as s:
        assert echoes(s)
        world.update(slot, 2, allow=["198.41.0.4"])
        assert is_cut(s)
    end = world.gate.decision(addr=SERVER, closed=True)
    assert "198.41.0.4" not in end.get("rule", "") + end["message"]


def test_addresses_that_are_the_machines_own_by_a_route(net, sandbox, world):
    """`ip route add local`: no interface has the address, and a connection to it still ends on this machine."""
    harness.run("ip", "-n", world.uplink_ns, "route", "replace", "local", f"{LOCAL_ROUTE}/32", "dev", "lo")
    listener = harness.serve(world.uplink_ns, 7, harness.echo)
    try:
        _, ns = sandbox(default_allow=True)
        with pytest.raises(TimeoutError):
            connect(ns, LOCAL_ROUTE, 7, 0.5)
        world.gate.decision(addr=LOCAL_ROUTE, reason="floor_host")
        connect(ns, SERVER, 7).close()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_tls_hello_in_sslv2_form_is_a_hello_without_a_name(net, sandbox, world, tmp_path):
    """OpenSSL still reads one, and serves its default certificate."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    harness.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert),
                "-days", "2", "-subj", "/CN=test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    names = []
    context.sni_callback = lambda _s, name, _c: names.append(name)

    def handler(c):
        with context.wrap_socket(c, server_side=True) as s:
            harness.echo(s)

    suites = b"".join(b"\0" + struct.pack(">H", x) for x in (0x002F, 0x009C, 0x003C, 0xC02F, 0x00FF))
    body = b"\x01\x03\x03" + struct.pack(">HHH", len(suites), 0, 32) + suites + os.urandom(32)
    listener = harness.serve(world.net_ns, 8444, handler)
    net.dns.names[NAME] = [SERVER]
    _, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    with connect(ns, SERVER, 8444) as s:
        s.sendall(struct.pack(">H", 0x8000 | len(body)) + body)
        reply = read_all(s)
    assert names == [] and reply[:1] == b"\x15"
    world.gate.decision(addr=SERVER, port=8444, reason="tls_malformed")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.mark.parametrize("prefix", [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
])
def test_a_proxy_header_hides_no_name(net, sandbox, world, capture, prefix):
    net.dns.names[NAME] = [SERVER]
    _, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    for step in (1, 1000):
        capture.packets()
        with connect(ns, SERVER, 7) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(prefix), step):
                try:
                    s.sendall(prefix[i : i + step])
                except ConnectionError:
                    break
            try:
                assert read_all(s) == b""
            except ConnectionResetError:
                pass
        assert not any(prefix[:5] in p for p in capture.packets())


def test_a_syn_that_replaces_a_held_one_dials_nothing_anew(net, sandbox, world, capture):
    """Same ports, other sequence numbers: 50 SYNs from inside are not 50 connections from the server's address."""
    slot, ns = sandbox(allow=[SILENT])
    source = slot_addr4(slot)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            for i in range(50):
                segment = struct.pack(">HHIIBBHHH", 4242, 80, 1000 + i, 0, 5 << 4, 2, 64000, 0, 0)
                raw.sendto(_tcp_sum(source, SILENT, segment), (SILENT, 0))
                time.sleep(0.002)

    capture.packets()
    inside(ns, send)
    time.sleep(0.2)
    assert 1 <= capture.mentions(SILENT) <= 3


def test_a_replaced_syn_is_the_one_that_is_admitted(net, sandbox, world):
    """The client gave up and tried again from the same port while the gate was still asking for the name."""
    net.dns.ttl = 0
    net.dns.names["slow.test"] = [SERVER]
    slot, ns = sandbox(allow=["slow.test"])
    lookup(ns, "slow.test")
    time.sleep(1.2)
    net.dns.silent.add("slow.test")

    def first():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((slot_addr4(slot), 40777))
        s.setblocking(False)
        s.connect_ex((SERVER, 7))
        return s

    inside(ns, first).close()
    s = inside(ns, first)
    time.sleep(0.2)
    net.dns.silent.clear()
    s.setblocking(True)
    s.settimeout(10)
    try:
        assert echoes(s)
    except OSError:
        time.sleep(1)
        assert echoes(s)
    finally:
        s.close()
        net.dns.ttl = 60


def test_questions_given_up_still_count(net, sandbox, world):
    """One sandbox asks for names that nobody answers, over connections that it drops at once, again and again; another's
    names must still resolve."""
    net.dns.names["fine.test"] = [SERVER]
    _, ns = sandbox(allow=["*.silent.test"])
    _, other = sandbox(allow=["fine.test"])
    net.dns.silent.add("silent.test")

    def question(name):
        wire = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
        wire = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + wire
        return struct.pack(">H", len(wire)) + wire

    def work():
        for i in range(45):
            sockets = []
            for j in range(15):
                s = socket.create_connection(("100.112.0.1", 53), 3)
                s.sendall(b"".join(question(f"n{i}-{j}-{k}.silent.test") for k in range(31)))
                sockets.append(s)
            for s in sockets:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()
            time.sleep(0.01)

    inside(ns, work)
    try:
        assert lookup(other, "fine.test") == [SERVER]
        assert len({q for q in net.dns.queries if q.endswith("silent.test")}) <= 600
    finally:
        net.dns.silent.clear()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("first", [b"a", b"GET /"])
def test_a_line_byte_by_byte_costs_little(net, sandbox, world, first):
    """A long line that grows by single bytes is not read from its start for each of them."""
    net.dns.names[NAME] = [SERVER]
    _, ns = sandbox(allow=[NAME])
    lookup(ns, NAME)
    with connect(ns, SERVER, 8080) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(first + b"a" * 58000)
        time.sleep(0.05)
        before = cpu_seconds(world.gate.process.pid)
        for _ in range(6000):
            s.send(b"a")
            pause = time.perf_counter() + 0.00005
            while time.perf_counter() < pause:
                pass
        spent = cpu_seconds(world.gate.process.pid) - before
    print(f"\n{spent:.2f} s for {first!r}")
    assert spent < (1.2 if "asan" in harness.BUILD else 0.3)


def _sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ip4(source, target, proto, body, ttl=64, fragment=0, options=b""):
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + len(body), 7, fragment, ttl, proto, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target) + options
    return head[:10] + struct.pack(">H", _sum16(head)) + head[12:] + body


def _ip6(source, target, proto, body, limit=64):
    v6 = socket.AF_INET6
    head = struct.pack(">IHBB", 6 << 28, len(body), proto, limit)
    return head + socket.inet_pton(v6, source) + socket.inet_pton(v6, target) + body


def _bodies(pseudo):
    """Transport parts with right checksums: pseudo(proto, n) is the pseudo header."""
    for flags in (0x02, 0x00, 0x01, 0x03, 0x04, 0x06, 0x10, 0x12, 0x18, 0x29, 0x3F, 0xC2):
        for port in (7, 80, 22):
            segment = struct.pack(">HHIIBBHHH", 53 if flags == 0x10 else 4000, port, 9, 9, 5 << 4, flags, 999, 0, 0)
            value = _sum16(pseudo(6, len(segment)) + segment)
            yield 6, segment[:16] + struct.pack(">H", value) + segment[18:]
    for port in (7, 123, 5353, 67):
        datagram = struct.pack(">HHHH", 53, port, 12, 0) + b"evil"
        yield 17, datagram[:6] + struct.pack(">H", _sum16(pseudo(17, 12) + datagram)) + datagram[8:]
    for kind in (0, 3, 5, 8, 128, 129, 133, 134, 135, 136, 137):
        for proto in (1, 58):
            message = struct.pack(">BBHI", kind, 0, 0, 1) + b"evil" * 8
            prefix = pseudo(58, len(message)) if proto == 58 else b""
            yield proto, message[:2] + struct.pack(">H", _sum16(prefix + message)) + message[4:]
    for proto in (0, 2, 4, 41, 43, 44, 47, 50, 51, 59, 60, 89, 103, 132, 255):
        yield proto, b"\x06\0" + b"\0" * 6 + b"evil" * 8
    yield 6, b"\0\x07"
    yield 17, b"\0\x35\0"


def test_packets_made_by_hand_reach_nobody(net, sandbox, world, capture):
    """Everything that root can put on its link, to everybody who could be there. What is judged is what may leave: nothing
    here, for the policy allows nothing. The machine, the neighbour and the far side see no packet at all."""
    slot, ns = sandbox(allow=[])
    other, other_ns = sandbox(default_allow=True)
    own4, own6 = slot_addr4(slot), slot_addr6(slot)
    targets4 = [slot_addr4(other), "100.112.0.1", SERVER, "203.0.113.2", "255.255.255.255", "224.0.0.1", "127.0.0.1", own4]
    targets6 = [slot_addr6(other), "fd64:6377::1", "fe80::1", SERVER6, "2001:db8:77::2", "ff02::1", "::1", own6]
    packets = []
    for target in targets4:
        for source in (own4, "0.0.0.0", "100.112.0.1", target, slot_addr4(other), "127.0.0.1"):
            def pseudo4(proto, n):
                return socket.inet_aton(source) + socket.inet_aton(target) + struct.pack(">HH", proto, n)
            for proto, body in _bodies(pseudo4):
                packets.append((0x0800, _ip4(source, target, proto, body)))
                if source == own4:
                    route = b"\x83\x07\x04" + socket.inet_aton(slot_addr4(other)) + b"\0"
                    packets += [(0x0800, p) for p in (_ip4(source, target, proto, body, ttl=1),
                                _ip4(source, target, proto, body, fragment=0x2000),
                                _ip4(source, target, proto, body, fragment=1),
                                _ip4(source, target, proto, body, options=route),
                                _ip4(source, target, proto, body, options=b"\x94\x04\0\0"))]
    for target in targets6:
        for source in (own6, "::", "fd64:6377::1", "fe80::1", "fe80::2", target, slot_addr6(other), "::1"):
            def pseudo6(proto, n):
                v6 = socket.AF_INET6
                return socket.inet_pton(v6, source) + socket.inet_pton(v6, target) + struct.pack(">II", n, proto)
            for proto, body in _bodies(pseudo6):
                packets.append((0x86DD, _ip6(source, target, proto, body)))
                if source == own6:
                    final = socket.inet_pton(socket.AF_INET6, slot_addr6(other))
                    for extension in ((0, bytes([proto, 0, 1, 4, 0, 0, 0, 0])), (60, bytes([proto, 0, 1, 4, 0, 0, 0, 0])),
                                      (43, bytes([proto, 2, 0, 1, 0, 0, 0, 0]) + final), (44, bytes([proto, 0, 0, 1, 0, 0, 0, 1])),
                                      (44, bytes([proto, 0, 0, 0, 0, 0, 0, 1]))):
                        packets.append((0x86DD, _ip6(source, target, extension[0], extension[1] + body)))
                    packets.append((0x86DD, _ip6(source, target, proto, body, limit=1)))
    arp = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + bytes.fromhex("020000000002") + socket.inet_aton(slot_addr4(other))
    packets.append((0x0806, arp + bytes(6) + socket.inet_aton("100.112.0.1")))

    def send():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            mine = bytes.fromhex(harness.SANDBOX_MAC.replace(":", ""))
            gate = bytes.fromhex(harness.GATE_MAC.replace(":", ""))
            for i, (kind, packet) in enumerate(packets):
                for mac in (gate,) if i % 16 else (gate, b"\xff" * 6, b"\x33\x33\0\0\0\1", mine):
                    raw.send(mac + mine + struct.pack(">H", kind) + packet)
                if i % 200 == 0:
                    time.sleep(0.005)

    neighbour = harness.Capture(other_ns, "eth0")
    capture.packets()
    inside(ns, send)
    time.sleep(0.5)
    print(f"\n{len(packets)} packets")
    assert neighbour.packets() == []
    # Earlier tests' connections may still be ending: what begins anew, or carries our bytes, is what counts.
    begun = [p for p in capture.packets() if b"evil" in p or (p[12:14] == b"\x08\0" and p[23] == 6 and p[47] & 0x12 == 2)
            or (p[12:14] == b"\x86\xdd" and p[20] == 6 and p[67] & 0x12 == 2)]
    assert [p for p in begun if socket.inet_aton(SILENT) not in p] == []
    neighbour.close()
    with connect(other_ns, SERVER, 7) as s:  # and all goes on
        assert echoes(s)
