# SPDX-License-Identifier: Apache-2.0
"""Section C: addresses, ports, protocols, raw access to the link, the host and the neighbours."""
import json
import os
import subprocess
import time

import pytest
from kit import a1, a2, client_hello, fresh, http, query, records, socket_family
from lab.addresses import A1, A1_6, A2, A2_6, METADATA, METADATA_6, PRIVATE, PRIVATE_6, ROUTER4, UPLINK4, UPLINK6

# Scapy is not at hand: packets by hand. Variables put before: src, dst, payload, smac, dmac, ...
PACKETS = r"""
import socket, struct
def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def ip(src, dst, proto, body):
    if ":" in dst:
        return (struct.pack("!IHBB", 0x60000000, len(body), proto, 64) + socket.inet_pton(10, src) + socket.inet_pton(10, dst) + body)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, proto, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
def pseudo(src, dst, proto, body):
    if ":" in dst:
        return socket.inet_pton(10, src) + socket.inet_pton(10, dst) + struct.pack("!II", len(body), proto) + body
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!BBH", 0, proto, len(body)) + body
def udp(src, dst, sport, dport, payload):
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ip(src, dst, 17, body[:6] + struct.pack("!H", checksum(pseudo(src, dst, 17, body)) or 0xffff) + payload)
def tcp(src, dst, sport, dport, flags, payload=b"", seq=1000, ack=0):
    body = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload
    return ip(src, dst, 6, body[:16] + struct.pack("!H", checksum(pseudo(src, dst, 6, body))) + body[18:])
def own():
    import subprocess
    out = subprocess.run(["ip", "-j", "addr", "show", "dev", "eth0"], capture_output=True, text=True).stdout
    import json
    d = json.loads(out)[0]
    v4 = [a["local"] for a in d["addr_info"] if a["family"] == "inet"][0]
    v6 = [a["local"] for a in d["addr_info"] if a["family"] == "inet6" and a.get("scope") == "global"][0]
    return v4, v6, d["address"]
def gateway_mac():
    import subprocess, json
    out = subprocess.run(["ip", "-j", "neigh", "show", "dev", "eth0"], capture_output=True, text=True).stdout
    return [n["lladdr"] for n in json.loads(out) if "lladdr" in n][0]
def frame(packet, smac=None, dmac=None):
    v4, v6, mac = own()
    b = lambda m: bytes.fromhex(m.replace(":", ""))
    kind = 0x86dd if packet[0] >> 4 == 6 else 0x0800
    return b(dmac or gateway_mac()) + b(smac or mac) + struct.pack("!H", kind) + packet
def send(*frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.bind(("eth0", 0))
        for f in frames: s.send(f)
"""


# EC-072
def test_ec072_an_address_without_a_lookup_is_closed(box, far, user, family):
    one = box(allow_out=["one.allowed.test"])
    seen = far()
    for target in (a2(family), a1(family)):
        assert one.run("tcp", user, host=target, port=443, seconds=0.6)["error"] == "timeout"
    seen.silent(A1, A1_6, A2, A2_6)
    assert {d["addr"] for d in one.refusals(port=443)} == {a1(family), a2(family)}
    assert one.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    assert one.run("tcp", user, host=a1(family), port=443)["ok"]
    assert one.run("tcp", user, host=a2(family), port=443, seconds=0.6)["error"] == "timeout"
    seen.silent()


# EC-073
def test_ec073_blocked_never_looks_connected(box, far, user, family):
    one = box(allow_out=[a1(family)])
    seen = far()
    out = one.run("tcp", user, host=a2(family), port=80, seconds=1.0)
    assert not out["connected"] and out["error"] == "timeout"
    swept = one.run("sweep", user, host=a2(family), ports=[1, 21, 22, 25, 53 + 1, 80, 443, 853, 3306, 5432, 8080, 9999])
    assert swept["answered"] == {}
    seen.silent()
    # Control: what is allowed ends as it would without a gate: open is open, refused is refused.
    assert one.run("tcp", user, host=a1(family), port=80)["ok"]
    assert one.run("tcp", user, host=a1(family), port=81)["error"] == "ECONNREFUSED"


def test_ec073_errors_of_the_network_come_through(box, user, family):
    from lab.addresses import PROHIBITED, PROHIBITED_6, SILENT, SILENT_6, UNREACHABLE, UNREACHABLE_6

    silent, unreachable, prohibited = ((SILENT_6, UNREACHABLE_6, PROHIBITED_6) if family == 6
                                       else (SILENT, UNREACHABLE, PROHIBITED))
    one = box(allow_out=[silent, unreachable, prohibited])
    assert one.run("tcp", user, host=silent, port=80, seconds=0.8)["error"] == "timeout"
    assert one.run("tcp", user, host=unreachable, port=80, seconds=3)["error"] in ("EHOSTUNREACH", "ENETUNREACH", "EACCES")
    assert one.run("tcp", user, host=prohibited, port=80, seconds=3)["error"] in ("EHOSTUNREACH", "EACCES", "ENETUNREACH")


# EC-074
def test_ec074_no_port_of_an_unnamed_address_is_open(box, far, family):
    one = box(allow_out=[f"{a1(4)}", f"[{a1(6)}]:443"])
    seen = far()
    span = [1, 65536, 1 if family == 4 else 7]
    out = one.run("sweep", host=a2(family), span=span, seconds=0.05, workers=256, timeout=300)
    assert out["answered"] == {}
    seen.silent()
    assert one.run("sweep", host=a1(family), ports=[443])["answered"] == {"443": "open"}


def test_ec074_entries_with_a_port_open_that_port_alone(box, far, user, family):
    entry = f"[{a1(6)}]:443" if family == 6 else f"{a1(4)}:443"
    one = box(allow_out=[entry, "one.allowed.test:8080-8081"])
    assert one.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    seen = far()
    for port in (80, 22, 8443, 442, 444, 8082):
        assert one.run("tcp", user, host=a1(family), port=port, seconds=0.4)["error"] == "timeout", port
    seen.silent(a1(family))
    assert one.run("tcp", user, host=a1(family), port=443)["ok"]
    assert one.run("tcp", user, host=a1(family), port=8080)["ok"]


# EC-077: every test here with `family` runs on IPv6 too; what remains is a policy of one family on a host with both.
def test_ec077_a_policy_of_one_family_does_not_open_the_other(box, far, user):
    four, six = box(allow_out=[A1, "0.0.0.0/1"]), box(allow_out=[A1_6])
    seen = far()
    assert four.run("tcp", user, host=A1_6, port=80, seconds=0.6)["error"] == "timeout"
    assert four.run("tcp", user, host=A2_6, port=80, seconds=0.6)["error"] == "timeout"
    assert six.run("tcp", user, host=A1, port=80, seconds=0.6)["error"] == "timeout"
    seen.silent(A1, A1_6, A2, A2_6)
    assert four.run("tcp", user, host=A1, port=80)["ok"] and six.run("tcp", user, host=A1_6, port=80)["ok"]


# EC-079
def test_ec079_udp_follows_the_policy(box, far, user, family):
    one = box(allow_out=[f"[{a1(6)}]:7" if family == 6 else f"{a1(4)}:7"])
    seen = far()
    for target in (a1(family), a2(family)):
        for port in (7, 123, 443, 5353, 51820):
            if (target, port) != (a1(family), 7):
                assert not one.run("udp", user, host=target, port=port, send=b"leak".hex(), seconds=0.1, times=2)["ok"]
    time.sleep(0.1)
    seen.silent()
    assert seen.packets(dst=[a1(family)], proto="udp") == [] and seen.datagrams() == []
    assert {d["reason"] for d in one.refusals(protocol="udp")} == {"not_in_allow_out"}
    out = one.run("udp", user, host=a1(family), port=7, send=b"echo".hex())
    assert out["ok"] and (out["data"], out["source"], out["source_port"]) == (b"echo".hex(), a1(family), 7)


def test_ec079_udp_of_a_name(box, far, user, family):
    """Its port 443 is QUIC that names it, or nothing; what is refused there is told at once."""
    one = box(allow_out=["one.allowed.test"])
    seen = far()
    assert not one.run("udp", user, host=a1(family), port=7, send=b"leak".hex(), seconds=0.2)["ok"], "not looked up yet"
    assert one.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    for data in (b"leak", b"\x40" + bytes(1200), b"\xc0\0\0\0\1\x08" + bytes(1200)):
        out = one.run("udp", user, host=a1(family), port=443, send=data.hex(), seconds=2)
        assert not out["ok"]
    assert seen.packets(dst=[a1(family)], proto="udp") == [] and seen.datagrams() == []
    assert {d["reason"] for d in one.refusals(protocol="udp")} == {"not_in_allow_out", "quic_required"}
    assert one.run("udp", user, host=a1(family), port=7, send=b"echo".hex())["data"] == b"echo".hex()


# EC-083, EC-087, EC-088: from inside as root, and with the host's own root in the sandbox's network namespace
def test_ec083_ec087_ec088_raw_access_is_refused_inside(box, far, user, family):
    one = box(allow_out=[a1(family)])
    seen = far()
    icmp = 58 if family == 6 else 1
    for proto in (icmp, 6, 17, 132, 255):
        out = one.run("raw", user, family=family, proto=proto, host=a2(family), send=(b"\x08\0\xf7\xff" + bytes(28)).hex())
        assert not out["ok"], (proto, out)
    assert not one.run("packet", user, send=bytes(60).hex())["ok"]
    one.sh(f"ping -c1 -W1 {a2(family)}", user)
    seen.silent()
    assert one.run("tcp", user, host=a1(family), port=80)["ok"]


@pytest.mark.parametrize("shape", ["icmp echo", "udp", "tcp syn", "tcp ack data", "tcp syn data", "tcp rst", "sctp", "gre", "ipip",
                                   "fragment", "udp to the listeners' side"])
def test_ec083_ec087_ec088_hand_made_packets_are_judged_outside(box, far, shape, family):
    one = box(allow_out=[a1(family)])
    seen = far()
    script = PACKETS + r"""
v4, v6, mac = own()
me = v6 if ":" in dst else v4
secret = b"stolen-by-hand"
if shape == "icmp echo":
    if ":" in dst:
        body = struct.pack("!BBHHH", 128, 0, 0, 1, 1) + secret
        body = body[:2] + struct.pack("!H", checksum(pseudo(me, dst, 58, body))) + body[4:]
        p = [ip(me, dst, 58, body)]
    else:
        body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + secret
        p = [ip(me, dst, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])]
elif shape == "udp": p = [udp(me, dst, 4444, 9, secret)]
elif shape == "udp to the listeners' side": p = [udp(me, "fd64:6377::1" if ":" in dst else "100.112.0.1", 4444, 9999, secret)]
elif shape == "tcp syn": p = [tcp(me, dst, 4444, 80, 2)]
elif shape == "tcp ack data": p = [tcp(me, dst, 4444, 80, 24, secret)]
elif shape == "tcp syn data": p = [tcp(me, dst, 4444, 80, 2, secret)]
elif shape == "tcp rst": p = [tcp(me, dst, 4444, 80, 4, secret)]
elif shape == "sctp": p = [ip(me, dst, 132, secret)]
elif shape == "gre": p = [ip(me, dst, 47, b"\0\0\x08\0" + tcp(v4, "203.1.113.66", 1, 80, 2))]
elif shape == "ipip": p = [ip(me, dst, 4, tcp(v4, "203.1.113.66", 1, 80, 2))]
elif shape == "fragment":
    whole = udp(me, dst, 4444, 9, secret * 4)
    if ":" in dst:
        inner = whole[40:]
        p = [ip(me, dst, 44, struct.pack("!BBHI", 17, 0, 1, 7) + inner[:24]), ip(me, dst, 44, struct.pack("!BBHI", 17, 0, 24, 7) + inner[24:])]
    else:
        def frag(off, more, part):
            h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(part), 7, (0x2000 if more else 0) | off, 64, 17, 0, socket.inet_aton(me), socket.inet_aton(dst))
            return h[:10] + struct.pack("!H", checksum(h)) + h[12:] + part
        p = [frag(0, True, whole[20:44]), frag(3, False, whole[44:])]
send(*[frame(x) for x in p for _ in range(3)])
print("sent")
"""
    assert "sent" in one.in_its_network(script, shape=shape, dst=a2(family))
    time.sleep(0.3)
    seen.silent()
    assert not any(b"stolen" in bytes(p.payload) for p in seen.packets())
    # Control: from the same namespace, by the same kind of socket call, the allowed address answers.
    ok = one.in_its_network("import socket; s = socket.create_connection((dst, 80), 3); print('connected')", dst=a1(family))
    assert "connected" in ok


# EC-066, EC-090
SPOOF = PACKETS + r"""
v4, v6, mac = own()
me = victim6 if ":" in dst else victim4
q = bytes.fromhex(question)
send(*[frame(x, smac=m) for m in (None, victim_mac) for x in (
    udp(me, "fd64:6377::1" if ":" in dst else "100.112.0.1", 5555, 53, q), udp(me, "9.9.9.9" if "." in dst else "2620:fe::fe", 5555, 53, q),
    tcp(me, dst, 5556, 80, 2), udp(me, dst, 5557, 9, b"spoofed"))])
print("sent")
"""


def test_ec066_ec090_a_foreign_source_address_counts_for_nobody(box, far, family):
    attacker, victim = box(allow_out=["0.0.0.0/0"]), box(allow_out=["two.allowed.test", a1(family)])
    theirs = json.loads(victim.in_its_network(PACKETS + "import json; print(json.dumps(own()))"))
    seen = far()
    out = attacker.in_its_network(SPOOF, dst=a2(family), victim4=theirs[0], victim6=theirs[1], victim_mac=theirs[2],
                                  question=query("two.allowed.test", 28 if family == 6 else 1).hex())
    assert "sent" in out
    time.sleep(0.4)
    seen.silent()
    assert seen.queries() == [], "no query of a spoofed source is answered or sent on"
    assert victim.sbx.network_log() == [], "and nothing is written down for the victim"
    assert victim.run("tcp", host=a1(family), port=80)["ok"], "whose own traffic goes on"
    assert attacker.run("tcp", host=a2(family), port=80)["ok"], "control: the attacker's own address may"


def test_ec090_arp_and_neighbour_lies_move_no_traffic(box, far, family):
    attacker, victim = box(allow_out=[a1(family)]), box(allow_out=[a1(family)])
    theirs = json.loads(victim.in_its_network(PACKETS + "import json; print(json.dumps(own()))"))
    out = attacker.in_its_network(PACKETS + r"""
v4, v6, mac = own()
b = lambda m: bytes.fromhex(m.replace(":", ""))
arp = b"\xff" * 6 + b(mac) + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)
frames = [arp + b(mac) + socket.inet_aton(a) + b"\xff" * 6 + socket.inet_aton(v4) for a in (victim4, "100.112.0.1")]
na = struct.pack("!BBHI", 136, 0, 0, 0xe0000000) + socket.inet_pton(10, victim6) + b"\x02\x01" + b(mac)
na = na[:2] + struct.pack("!H", checksum(pseudo(victim6, "ff02::1", 58, na))) + na[4:]
p = ip(victim6, "ff02::1", 58, na)
frames.append(b("33:33:00:00:00:01") + b(mac) + b"\x86\xdd" + p[:7] + b"\xff" + p[8:])
send(*frames * 5)
import subprocess
subprocess.run(["ip", "link", "set", "dev", "eth0", "address", victim_mac.replace("02", "06", 1)], check=True)
subprocess.run(["ip", "addr", "add", victim4 + "/32", "dev", "eth0"], check=True)
s = socket.socket(); s.settimeout(0.6); s.bind((victim4, 0))
try: s.connect((target, 80)); print("connected")
except OSError as e: print("refused", e)
""", victim4=theirs[0], victim6=theirs[1], victim_mac=theirs[2], target=a1(4))
    assert "refused" in out
    assert victim.run("tcp", host=a1(family), port=80)["ok"]


# EC-091
def test_ec091_full_root_inside_changes_nothing_outside(box, far, family):
    one = box(allow_out=[a1(family)])
    seen = far()
    out = one.in_its_network(r"""
import subprocess, socket
for command in ("nft flush ruleset", "ip rule add pref 1 table main", "ip route flush table all", "ip route replace default via 100.112.0.1 dev eth0 onlink",
                "ip -6 route replace default via fe80::1 dev eth0", "ip link set lo up", "ip link set eth0 promisc on",
                "ip addr add 203.0.113.2/24 dev eth0", "ip neigh flush all", "sysctl -w net.ipv4.ip_forward=1",
                "ip neigh replace 100.112.0.1 lladdr 02:64:63:00:00:01 dev eth0", "ip neigh replace fe80::1 lladdr 02:64:63:00:00:01 dev eth0"):
    subprocess.run(command.split(), capture_output=True)
def attempt(host):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET); s.settimeout(0.7)
    try: s.connect((host, 80)); return "connected"
    except OSError as e: return "refused"
print(attempt(bad), attempt("169.254.169.254"))
""", bad=a2(family))
    assert out.split() == ["refused", "refused"]
    seen.silent(A2, A2_6, METADATA)
    # Control: another sandbox is untouched, and so is this one for what it may, once its own link is whole again.
    other = box(allow_out=[a1(family)])
    assert other.run("tcp", host=a1(family), port=80)["ok"]


def test_ec091_root_by_the_api_cannot_touch_the_link(box, far, user):
    one = box(allow_out=[A1])
    for command in ("ip link set eth0 down", "ip addr add 1.2.3.4/32 dev eth0", "ip route del default", "nft flush ruleset",
                    "unshare -n true", "unshare -Urn true", "mount -t tmpfs none /mnt"):
        assert one.run("shell", user, command=command)["status"] != 0, command
    assert one.run("tcp", user, host=A1, port=80)["ok"]


# EC-102
def test_ec102_sandboxes_do_not_reach_each_other(box, far, user):
    one, two = box(), box(allow_out=["0.0.0.0/0"])
    addresses = json.loads(two.in_its_network(PACKETS + "import json; print(json.dumps(own()[:2]))"))
    two.sh("python3 -m http.server 8000 --bind :: > /dev/null 2>&1 & python3 -m http.server 8001 > /dev/null 2>&1 & sleep 0.5")
    for address in addresses:
        for port in (8000, 8001, 22):
            out = one.run("tcp", user, host=address, port=port, seconds=0.5)
            assert out["error"] == "timeout", (address, port, out)
        assert not one.run("udp", user, host=address, port=53 + 1, send="00", seconds=0.2)["ok"]
    assert {d["reason"] for d in one.refusals(protocol="tcp")} == {"floor_sandbox"}
    assert two.run("tcp", user, host="127.0.0.1", port=8001)["ok"], "control: the service is there"


# EC-103
def test_ec103_the_host_and_the_gateway_offer_nothing_but_dns(lab, daemon, box, far, user):
    one = box()  # allow-all by default: the floor alone is at work
    hosts = ["100.112.0.1", "fd64:6377::1", UPLINK4, UPLINK6, "127.0.0.2", "fe80::1%eth0", "0.0.0.0"]
    real = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    hosts += [a["local"] for link in real for a in link["addr_info"] if a.get("scope") == "global"]
    listening = subprocess.run(["ip", "netns", "exec", lab.uplink, "/usr/bin/python3", "-c", """
import socket, time
a = socket.create_server(("0.0.0.0", 8099)); b = socket.create_server(("::", 8098), family=socket.AF_INET6)
print("ready", flush=True); time.sleep(0)
"""], capture_output=True, text=True, check=True)
    assert "ready" in listening.stdout
    for host in hosts:
        swept = one.run("sweep", user, host=host, ports=[22, 80, 443, 8080, daemon.port, 8098, 8099, 111])["answered"]
        if host in ("127.0.0.2", "0.0.0.0"):  # the sandbox's own loopback
            assert set(swept.values()) <= {"ECONNREFUSED"}
        else:
            assert swept == {}, host
    seen = far()
    assert one.run("udp", user, host="100.112.0.1", port=53, send=query("one.allowed.test").hex())["ok"]
    seen.silent(UPLINK4, ROUTER4)
    assert one.run("tcp", user, host=A1, port=80)["ok"]


# EC-104
@pytest.mark.parametrize("target", [METADATA, METADATA_6, "100.100.100.200", "168.63.129.16", "192.0.0.192"])
def test_ec104_metadata_is_closed_under_allow_all(lab, box, far, target, user):
    one = box(allow_out=["0.0.0.0/0"])
    two = box(allow_out=["0.0.0.0/0", target])
    seen = far()
    for sandbox in (one, two, box()):
        out = sandbox.run("tcp", user, host=target, port=80, seconds=0.5)
        assert out["error"] in ("timeout", "ENETUNREACH"), out
    time.sleep(0.1)
    assert seen.packets(dst=[target]) == []
    assert one.refusals(addr=target)[0]["reason"] == "floor_metadata"
    assert not one.run("lookup", user, name=fresh(lab, target))["ok"]
    assert one.run("tcp", user, host=A2, port=80)["ok"]


def test_ec104_control_an_operator_can_open_one(lab, far):
    from kit import BUILD, Box

    with lab.declawd(BUILD, ["--allow-private", f"{METADATA}/32"]) as daemon:
        one = Box(daemon, {"allow_out": [METADATA]})
        assert one.run("tcp", host=METADATA, port=80)["ok"]
        one.kill()


# Private ranges: an address entry opens them, nothing else does.
def test_private_ranges_open_only_by_an_address_entry(box, far, user, family):
    target = PRIVATE_6 if family == 6 else PRIVATE
    seen = far()
    for one in (box(), box(allow_out=["0.0.0.0/0"]), box(allow_out=["*"])):
        assert one.run("tcp", user, host=target, port=80, seconds=0.5)["error"] == "timeout"
        assert one.refusals(addr=target)[0]["reason"] == "private_address"
    assert seen.packets(dst=[target]) == []
    assert box(allow_out=[target]).run("tcp", user, host=target, port=80)["ok"]


# EC-116
def test_ec116_nothing_leaves_before_the_policy_is_in_force(daemon, box, far, lab):
    """The parked process is in its network namespace long before it has a policy: from there, without pause, through
    the create of sandboxes, connects are tried; the very first policy they get denies them."""
    import threading

    seen = far()
    attempts = [0]
    uplink = os.stat(f"/run/netns/{lab.uplink}").st_ino  # the gate's own process may connect, of course

    script = r"""
import glob, os, socket, sys, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
end = time.time() + 6
tried = 0
while time.time() < end:
    for pid in children():
        try: fd = os.open("/proc/%d/ns/net" % pid, os.O_RDONLY)
        except OSError: continue
        if libc.setns(fd, 0) == 0:
            s = socket.socket(); s.setblocking(False)
            try: s.connect((bad, 80))
            except OSError: pass
            tried += 1
            time.sleep(0.002)
            s.close()
        os.close(fd)
print(tried)
"""
    children = r"""
def children():
    found, todo = [], [int(root)]
    while todo:
        pid = todo.pop()
        for task in glob.glob("/proc/%d/task/*/children" % pid):
            try: kids = [int(x) for x in open(task).read().split()]
            except OSError: continue
            todo += kids
            for kid in kids:
                try:
                    if os.readlink("/proc/%d/ns/net" % kid) not in known: found.append(kid)
                except OSError: pass
    return found
import glob, os
known = {os.readlink("/proc/self/ns/net"), os.readlink("/proc/%d/ns/net" % int(root)), "net:[%d]" % uplink}
"""

    def attack():
        done = subprocess.run(["/usr/bin/python3", "-c", f"root={daemon.pid}\nbad={A2!r}\nuplink={uplink}\n" + children + script],
                              capture_output=True, text=True, timeout=60, check=True)
        attempts[0] = int(done.stdout)

    thread = threading.Thread(target=attack)
    thread.start()
    made = []
    while thread.is_alive() and len(made) < 40:
        made.append(box(allow_out=[A1]))
    thread.join()
    assert attempts[0] > 50, "the attack itself has to have run"
    seen.silent()
    assert made[-1].run("tcp", host=A1, port=80)["ok"]


def test_other_tcp_without_a_connection_is_dropped(box, far, family):
    one = box(allow_out=[a1(family)])
    seen = far()
    one.in_its_network(PACKETS + r"""
v4, v6, mac = own()
me = v6 if ":" in dst else v4
send(*[frame(tcp(me, dst, 7000 + f, 80, f, b"x")) for f in range(256) if not (f & 2) or f & 0x15])
""", dst=a1(family))
    time.sleep(0.2)
    assert seen.packets(dst=[a1(family)]) == []
    hello = records(client_hello(b"x.test"))
    assert one.run("tcp", host=a1(family), port=443, send=[hello.hex()])["connected"]
    assert one.run("tcp", host=a1(family), port=80, send=[http("x.test").hex()])["ok"]
