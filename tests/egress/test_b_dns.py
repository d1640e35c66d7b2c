# SPDX-License-Identifier: Apache-2.0
"""Section B: DNS."""
import os
import time

import pytest
from kit import BUILD, Box, a1, answers, client_hello, fresh, http, query, rcode, records, socket_family
from lab.addresses import A1, A1_6, A2, A2_6, METADATA, PRIVATE, RESOLVER
from lab.dnsmsg import Record

OUTSIDE = ["8.8.8.8", "1.1.1.1", A2, "45.79.10.1"]
OUTSIDE_6 = ["2001:4860:4860::8888", A2_6, "2600:3c00::a001"]


# EC-029, EC-030
@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_ec029_ec030_every_port_53_is_the_gates(box, far, tcp, user, family):
    one = box(allow_out=["one.allowed.test"])
    for server in OUTSIDE if family == 4 else OUTSIDE_6:
        seen = far()

        def ask(name):
            if tcp:
                out = one.run("dns_tcp", user, host=server, send=[query(name).hex()])
                assert out["ok"] and len(out["answers"]) == 1, (server, out)
                return out["answers"][0]
            out = one.run("udp", user, host=server, port=53, send=query(name).hex())
            assert out["ok"] and out["source"] == server, (server, out)
            return out["data"]

        assert rcode(ask("data.evil.test")) == 5
        reply = ask("one.allowed.test")  # control: the same way, an allowed name
        assert rcode(reply) == 0 and answers(reply) == 1
        time.sleep(0.1)
        assert seen.packets(dst=[server], port=53) == [] or server in (RESOLVER,)
        assert seen.queries("evil.test") == []
    assert one.refusals(protocol="dns", name="data.evil.test")[0]["reason"] == "name_not_allowed"


# EC-034
def test_ec034_a_refused_name_never_reaches_its_servers(box, far, user, family):
    one = box(allow_out=["one.allowed.test"])
    assert one.run("lookup", name="one.allowed.test", family=socket_family(family))["ok"]
    seen = far()
    names = [f"x{i:03d}{os.urandom(4).hex()}.evil.test" for i in range(100)]
    steps = [dict(do="udp", host="9.9.9.9", port=53, send=query(n, ident=i).hex()) for i, n in enumerate(names[:40])]
    steps += [dict(do="lookup", name=n) for n in names[40:60]]
    steps += [dict(do="tcp", host=a1(family), port=443, wait=0.2, send=[records(client_hello(n.encode())).hex()])
              for n in names[60:80]]
    steps += [dict(do="tcp", host=a1(family), port=80, wait=0.2, send=[http(n).hex()]) for n in names[80:]]
    out = one.steps(steps, user)
    assert all(rcode(o["data"]) == 5 for o in out[:40])
    assert not any(o["ok"] for o in out[40:60])
    seen.silent()
    assert seen.queries() == [] and seen.requests() == []
    # Control: names of an allowed zone reach their servers.
    wild = box(allow_out=["*.wild.test"])
    seen = far()
    assert wild.run("lookup", user, name=f"x{os.urandom(5).hex()}.wild.test")["ok"]
    assert seen.queries("wild.test")


# EC-037
@pytest.mark.parametrize("count", [0, 2, 255])
def test_ec037_not_one_question_is_malformed(lab, box, far, count, user):
    name = fresh(lab)
    one = box(allow_out=[name])
    seen = far()
    out = one.run("udp", user, host="9.9.9.9", port=53, send=query(name, qdcount=count).hex())
    assert out["ok"] and rcode(out["data"]) == 1
    assert seen.queries() == []
    out = one.run("udp", user, host="9.9.9.9", port=53, send=query(name).hex())
    assert rcode(out["data"]) == 0 and seen.queries(name)


# EC-039
def test_ec039_edns_options_do_not_travel(box, far, user):
    one = box(allow_out=["*.wild.test"])
    label = f"ec039{os.urandom(4).hex()}"
    seen = far()
    secret = b"stolen-bytes-0123456789"
    option = b"\xff\xdc" + len(secret).to_bytes(2, "big") + secret  # local/experimental option 65500
    cookie = b"\x00\x0a\x00\x08" + b"leakleak"
    out = one.run("udp", user, host="9.9.9.9", port=53, send=query(f"{label}.wild.test", options=option + cookie).hex())
    assert rcode(out["data"]) == 0
    upstream = seen.queries(f"{label}.wild.test")
    assert upstream, "control: the question itself went upstream"
    for q in upstream:
        assert secret not in q.raw and b"leakleak" not in q.raw
    # 0x20 bits of the name's letters are another channel.
    out = one.run("udp", user, host="9.9.9.9", port=53, send=query(f"{label}X.WiLd.tEsT").hex())
    assert rcode(out["data"]) == 0
    assert seen.queries(f"{label}x.wild.test")
    for q in seen.queries(f"{label}x.wild.test"):
        assert f"{label}X".encode() not in q.raw


# EC-047
def test_ec047_foreign_owners_are_not_learned(lab, box, far, user, family):
    kind, own, foreign = ("AAAA", A1_6, A2_6) if family == 6 else ("A", A1, A2)
    name = fresh(lab)
    lab.dns.script(name, kind, answer=[Record(name, kind, 60, own), Record("sink.evil.test", kind, 60, foreign)])
    one = box(allow_out=[name])
    found = one.run("lookup", user, name=name, family=socket_family(family))
    assert found["addresses"] == [own]
    seen = far()
    assert one.run("tcp", user, host=foreign, port=443, seconds=0.6)["error"] == "timeout"
    seen.silent()
    assert one.run("tcp", user, host=own, port=443)["ok"]


# EC-049
def test_ec049_a_fresh_name_is_connectable_at_once(lab, box):
    limits = {"names_per_minute": 100000, "dns_per_second": 100000, "flows_per_second": 100000}
    one = box(allow_out=["*.wild.test"], limits=limits)
    # A machine that stands still for a second makes every SYN under way a retransmitted one; a race that the gate loses
    # is lost again in the next round.
    for count in (10000, 5000, 5000):
        out = one.run("race", suffix=f"x{os.urandom(3).hex()}.wild.test", count=count, port=7, timeout=280)
        assert out["failed"] == 0, out
        if out["retransmits"] == 0:
            break
    assert out["retransmits"] == 0, out


# EC-050
def test_ec050_a_pin_that_fails_means_servfail(lab, far, monkeypatch):
    monkeypatch.setenv("DECLAW_TEST_PIN_FAIL", "1")
    with lab.declawd(BUILD) as daemon:
        one = Box(daemon, {"allow_out": ["one.allowed.test"]})
        out = one.run("udp", host="9.9.9.9", port=53, send=query("one.allowed.test").hex())
        assert rcode(out["data"]) == 2 and answers(out["data"]) == 0
        assert [d["reason"] for d in one.refusals(protocol="dns")] == ["pin_limit"]
        assert one.run("tcp", host=A1, port=443, seconds=0.5)["error"] == "timeout"
        one.kill()
    monkeypatch.delenv("DECLAW_TEST_PIN_FAIL")
    with lab.declawd(BUILD) as daemon:  # control
        one = Box(daemon, {"allow_out": ["one.allowed.test"]})
        assert rcode(one.run("udp", host="9.9.9.9", port=53, send=query("one.allowed.test").hex())["data"]) == 0
        one.kill()


# EC-053
def test_ec053_a_ttl_that_ends_cuts_no_flow(lab, box, family):
    name = fresh(lab, a1(family), ttl=1)
    one = box(allow_out=[name])
    assert one.run("lookup", name=name, family=socket_family(family))["ok"]
    request = http(name).hex()
    out = one.run("tcp", host=a1(family), port=80, send=[request, request], gap=2.5, read=100000, wait=1.5)
    assert bytes.fromhex(out["data"]).count(b"HTTP/1.1 200") == 2, out
    # and the address still works as a handle for its name after the TTL
    time.sleep(1.2)
    assert one.run("tcp", host=a1(family), port=80, send=[request])["data"].startswith(b"HTTP/1.1 200".hex())


# EC-058
@pytest.mark.parametrize("target", ["10.9.8.7", "127.0.0.1", METADATA, "192.168.1.1", "100.112.0.1", "100.64.0.9", "0.0.0.0",
                                    "203.0.113.2", "fd12:3456::7", "::1", "fe80::1", "fd00:ec2::254", "::ffff:10.9.8.7",
                                    "64:ff9b::a09:807", "2002:a09:807::1", "2001:db8:77::2"])
def test_ec058_private_answers_are_withheld(lab, box, far, target, user):
    kind = 28 if ":" in target else 1
    name = fresh(lab, target)
    one = box(allow_out=[name])
    seen = far()
    out = one.run("udp", user, host="9.9.9.9", port=53, send=query(name, kind).hex())
    assert rcode(out["data"]) in (0, 2) and answers(out["data"]) == 0
    assert seen.queries(name), "control: it was asked for, and answered"
    assert not one.run("tcp", user, host=target, port=80, seconds=0.5)["connected"]
    time.sleep(0.1)
    assert seen.packets(dst=[target.removeprefix("::ffff:") if "ffff" in target else target], proto="tcp") == []
    if "ffff" not in target:  # a mapped AAAA is not an IPv6 address at all, and simply not taken
        assert one.refusals(protocol="dns", name=name), "the refusal is recorded"


def test_ec058_control_public_answer_and_address_entry(lab, box, user):
    name, private = fresh(lab), fresh(lab, PRIVATE)
    assert box(allow_out=[name]).run("lookup", user, name=name)["ok"]
    two = box(allow_out=[private, PRIVATE])
    assert PRIVATE in two.run("lookup", user, name=private, family=2)["addresses"]
    assert two.run("tcp", user, host=PRIVATE, port=80)["ok"]


# EC-059
def test_ec059_rebinding_never_hits_the_private_listener(lab, box, far, user):
    name = fresh(lab)
    lab.dns.script(name, "A", turns=[[Record(name, "A", 0, A1)], [Record(name, "A", 0, PRIVATE)]])
    one = box(allow_out=[name])
    seen = far()
    out = one.run("rebind", user, name=name, port=7, times=1000, timeout=200)
    assert PRIVATE not in out["given"] and PRIVATE not in out["connected"]
    assert out["connected"].get(A1, 0) > 300, out  # control: the public answers did work
    steps = [dict(do="tcp", host=PRIVATE, port=7, seconds=0.05, wait=0.01) for _ in range(40)]
    assert not any(o["connected"] for o in one.steps(steps, user))
    assert seen.packets(dst=[PRIVATE]) == []


# EC-067
def test_ec067_pins_are_not_shared(box, far, user, family):
    first, second = box(allow_out=["one.allowed.test"]), box(allow_out=["one.allowed.test"])
    assert first.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    assert first.run("tcp", user, host=a1(family), port=443)["ok"]
    seen = far()
    assert second.run("tcp", user, host=a1(family), port=443, seconds=0.6)["error"] == "timeout"
    seen.silent(a1(family))
    assert second.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    assert second.run("tcp", user, host=a1(family), port=443)["ok"]


# Not in the catalogue's first wave, but what every client lives on.
def test_names_pass_as_the_client_wants_them(box, family):
    one = box(allow_out=["one.allowed.test"])
    out = one.run("udp", host="9.9.9.9", port=53, send=query("one.allowed.test", 16).hex())  # TXT: answered here, empty
    assert rcode(out["data"]) == 0 and answers(out["data"]) == 0
    assert one.run("lookup", name="localhost")["ok"]
