# SPDX-License-Identifier: Apache-2.0
"""Section A: policy text, names and defaults."""
import pytest
from declaw import InvalidArgumentException, Sandbox
from kit import BUILD, Box, a1, a2, client_hello, fresh, http, query, rcode, records, socket_family
from lab.addresses import A1, A2

def raw_create(daemon, network):
    """Past the SDK's own checks: a dict goes through as it is."""
    return Sandbox.create(network=network, domain=daemon.domain, api_key=daemon.key)


# EC-001
@pytest.mark.parametrize("network", [
    {"allow_out": []}, {"allow_out": None}, {"allow_out": [], "deny_out": []}, {"allow_out": [], "deny_out": None},
], ids=str)
def test_ec001_an_empty_allow_list_lets_nothing_out(daemon, far, box, network, user, family):
    shut = Box(daemon, network)
    try:
        seen = far()
        out = shut.run("tcp", user, host=a1(family), port=80, seconds=0.6)
        assert out == {"ok": False, "error": "timeout", "connected": False, "connect_seconds": out["connect_seconds"]}
        assert not shut.run("lookup", user, name="one.allowed.test")["ok"]
        seen.silent(A1, a1(6), A2, a2(6))
        assert seen.queries() == []
        assert [d["reason"] for d in shut.refusals(addr=a1(family), port=80)] == ["not_in_allow_out"]
    finally:
        shut.kill()
    # Control: the same steps from a sandbox that may.
    free = box(allow_out=["one.allowed.test", a1(family)])
    assert free.run("tcp", user, host=a1(family), port=80)["ok"]
    assert free.run("lookup", user, name="one.allowed.test")["ok"]


@pytest.fixture(scope="module")
def denying(lab):
    with lab.declawd(BUILD, ["--default-egress", "deny"]) as daemon:
        yield daemon


@pytest.mark.parametrize("network", [None, {}, {"deny_out": []}, {"deny_out": ["203.0.113.77"]}], ids=str)
def test_ec001_without_a_list_the_servers_default_decides(denying, daemon, far, network, family):
    shut = Box(denying, network)
    free = Box(daemon, network)
    try:
        seen = far()
        assert shut.run("tcp", host=a2(family), port=80, seconds=0.6)["error"] == "timeout"
        assert not shut.run("lookup", name="sink.evil.test")["ok"]
        seen.silent()
        assert [d["reason"] for d in shut.refusals(addr=a2(family))] == ["deny_default"]
        assert free.run("tcp", host=a2(family), port=80)["ok"]
        assert free.run("lookup", name="sink.evil.test")["ok"]
    finally:
        shut.kill()
        free.kill()


# EC-002
def test_ec002_removing_the_last_entry_closes(daemon, far, box, user, family):
    one = box(allow_out=["one.allowed.test"])
    assert one.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    before = one.run("tcp", user, host=a1(family), port=80, send=[http("one.allowed.test").hex()])
    assert b"200" in bytes.fromhex(before["data"])[:20]

    # An open flow, idle while the only entry goes.
    script = ("import socket,sys;s=socket.create_connection((%r,80));print('up',flush=True);"
              "s.settimeout(10)\ntry: print('got',s.recv(1))\nexcept OSError as e: print(type(e).__name__)" % a1(family))
    one.sbx.files.write("/tmp/idle.py", script)
    one.sbx.commands.run("python3 /tmp/idle.py > /tmp/idle.log 2>&1 & while ! grep -q up /tmp/idle.log; do sleep 0.02; done",
                         timeout=10)
    one.sbx.set_network({"allow_out": []})
    seen = far()
    assert one.run("tcp", user, host=a1(family), port=80, seconds=0.6)["error"] == "timeout"
    assert not one.run("lookup", user, name="one.allowed.test")["ok"]
    seen.silent(a1(family))
    assert seen.queries() == []
    assert "ConnectionResetError" in one.sh("cat /tmp/idle.log").stdout
    # Control: given back, it opens again.
    one.sbx.set_network({"allow_out": ["one.allowed.test"]})
    assert one.run("lookup", user, name="one.allowed.test", family=socket_family(family))["ok"]
    assert one.run("tcp", user, host=a1(family), port=80)["ok"]


# EC-006: NUL, in each place where a name can stand
@pytest.mark.parametrize("name", ["one\0.allowed.test", "evil.test\0.allowed.test", "\0allowed.test"])
def test_ec006_nul_in_an_entry_is_refused(daemon, name):
    with pytest.raises(InvalidArgumentException) as refused:
        raw_create(daemon, {"allow_out": [name]})
    assert "network.allow_out[0]" in str(refused.value)


@pytest.fixture
def named(box):
    """A sandbox with one name and one wildcard, both already resolved."""
    one = box(allow_out=["one.allowed.test", "*.wild.test"])
    for name in ("one.allowed.test", "a.wild.test"):
        assert one.run("lookup", name=name)["ok"]
    return one


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def refused_everywhere(one, far, name: bytes, labels, user, family):
    """The name as a DNS question, as SNI and as Host: nothing of it leaves."""
    seen = far()
    asked = one.run("udp", user, host="9.9.9.9", port=53, send=query(wire(*labels)).hex())
    assert asked["ok"] and rcode(asked["data"]) in (1, 5), asked
    sni = one.run("tcp", user, host=a1(family), port=443, send=[records(client_hello(name)).hex()])
    assert bytes.fromhex(sni["data"])[:1] in (b"", b"\x15"), sni
    plain = one.run("tcp", user, host=a1(family), port=80,
                    send=[b"GET / HTTP/1.1\r\nHost: ".hex() + name.hex() + b"\r\n\r\n".hex()])
    assert bytes.fromhex(plain["data"])[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403"), plain
    seen.silent()
    assert seen.queries() == [] and seen.requests() == []
    assert all(not c["first"] for c in seen.connections())


def allowed_everywhere(one, far, name: bytes, user, family):
    """The control arm of the same bytes: an allowed name passes in DNS, SNI and Host."""
    seen = far()
    asked = one.run("udp", user, host="9.9.9.9", port=53, send=query(wire(*name.rstrip(b".").split(b"."))).hex())
    assert rcode(asked["data"]) == 0, asked
    sni = one.run("tcp", user, host=a1(family), port=443, send=[records(client_hello(name)).hex()])
    assert bytes.fromhex(sni["data"])[:1] == b"\x16", sni
    plain = one.run("tcp", user, host=a1(family), port=80, send=[http(name.decode()).hex()])
    assert bytes.fromhex(plain["data"])[:12] == b"HTTP/1.1 200", plain
    assert len(seen.requests()) == 1


def test_ec006_nul_in_dns_sni_and_host(named, far, user, family):
    refused_everywhere(named, far, b"evil.test\0.allowed.test", [b"evil", b"test\0", b"allowed", b"test"], user, family)
    refused_everywhere(named, far, b"one.allowed.test\0.evil.test", [b"one", b"allowed", b"test\0", b"evil", b"test"],
                       user, family)
    allowed_everywhere(named, far, b"one.allowed.test", user, family)


# EC-008
def test_ec008_a_trailing_dot_changes_nothing(box, far, user, family):
    one = box(allow_out=["One.Allowed.test."], deny_out=["evil.test."])
    assert one.run("lookup", user, name="one.allowed.test.", family=socket_family(family))["ok"]
    seen = far()
    sni = one.run("tcp", user, host=a1(family), port=443, send=[records(client_hello(b"one.allowed.test")).hex()])
    assert bytes.fromhex(sni["data"])[:1] == b"\x16"
    plain = one.run("tcp", user, host=a1(family), port=80, send=[http("one.allowed.test.").hex()])
    assert b" 200 " in bytes.fromhex(plain["data"])[:16]
    assert len(seen.requests()) == 1
    seen = far()
    for name in (b"co.evil.test.", b"evil.test.", b"co.evil.test"):
        assert not one.run("lookup", user, name=name.decode())["ok"]
        out = one.run("tcp", user, host=a1(family), port=443, send=[records(client_hello(name)).hex()])
        assert bytes.fromhex(out["data"])[:1] in (b"", b"\x15")
        out = one.run("tcp", user, host=a1(family), port=80, send=[http(name.decode()).hex()])
        assert b" 403 " in bytes.fromhex(out["data"])[:16]
    seen.silent()
    assert seen.requests() == []


# EC-009
@pytest.mark.parametrize("spelling", [b"ONE.ALLOWED.TEST", b"oNe.AlLoWeD.tEsT", b"one.allowed.TEST"])
def test_ec009_letter_case_changes_nothing(named, far, spelling, user, family):
    allowed_everywhere(named, far, spelling, user, family)


def test_ec009_case_does_not_open_others(named, far, user, family):
    refused_everywhere(named, far, b"CO.EVIL.TEST", [b"CO", b"EVIL", b"TEST"], user, family)


# EC-013
LOOK_ALIKES = ["evilone.allowed.test", "one.allowed.test.evil.test", "one-allowed.test", "oneallowed.test",
               "one.allowed.test-evil.test", "x.one.allowed.test", "allowed.test", "ne.allowed.test", "evilwild.test",
               "wild.test", "wild.test.evil.test", "a.wild.test.evil.test"]


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_ec013_look_alikes_are_refused(named, far, name, user, family):
    labels = [label.encode() for label in name.split(".")]
    refused_everywhere(named, far, name.encode(), labels, user, family)


def test_ec013_control(named, far, user, family):
    allowed_everywhere(named, far, b"one.allowed.test", user, family)
    allowed_everywhere(named, far, b"a.wild.test", user, family)


# EC-014
def test_ec014_apex_and_wildcard_are_different(named, far, box, user, family):
    refused_everywhere(named, far, b"wild.test", [b"wild", b"test"], user, family)
    allowed_everywhere(named, far, b"a.wild.test", user, family)
    apex = box(allow_out=["allowed.test"])
    assert apex.run("lookup", name="allowed.test")["ok"]
    refused_everywhere(apex, far, b"one.allowed.test", [b"one", b"allowed", b"test"], user, family)
    allowed_everywhere(apex, far, b"allowed.test", user, family)


# EC-020
NUMERIC = ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "0x7f000001", "3405840962", "017700000001", "1.2.3"]


@pytest.mark.parametrize("name", NUMERIC)
def test_ec020_numeric_spellings_are_no_names(daemon, named, far, name, user, family):
    with pytest.raises(InvalidArgumentException) as refused:
        raw_create(daemon, {"allow_out": [name]})
    assert "network.allow_out[0]" in str(refused.value)
    refused_everywhere(named, far, name.encode(), [label.encode() for label in name.split(".")], user, family)


def test_ec020_inside_they_are_judged_as_the_address_they_mean(named, far, user):
    seen = far()  # 3405840962 = 203.1.113.66
    for spelling in ("3405869378", "203.1.29026", "0xcb.0x01.0x71.0x42"):
        assert not named.run("tcp", user, host=spelling, port=80, seconds=0.5)["connected"]
    seen.silent()


# EC-021
@pytest.mark.parametrize("entry", ["::ffff:127.0.0.1", "::ffff:100.112.0.1", "[::ffff:127.0.0.1]:80"])
def test_ec021_mapped_addresses_are_judged_as_ipv4_in_entries(daemon, entry):
    with pytest.raises(InvalidArgumentException):
        raw_create(daemon, {"allow_out": [entry]})


def test_ec021_mapped_literals_and_answers(lab, box, far, user):
    one = box(allow_out=[f"::ffff:{A1}", "one.allowed.test"])
    assert one.run("tcp", user, host=A1, port=80)["ok"], "the entry means the IPv4 address"
    assert one.run("tcp", user, host=f"::ffff:{A1}", port=80)["ok"], "and so does a literal inside"
    seen = far()
    for target in (f"::ffff:{A2}", "::ffff:10.9.8.7", "::ffff:169.254.169.254", "::ffff:127.0.0.2"):
        assert not one.run("tcp", user, host=target, port=80, seconds=0.5)["connected"]
    two = box(allow_out=["*.allowed.test"])
    asked = two.run("udp", user, host="9.9.9.9", port=53, send=query(fresh(lab, "::ffff:10.9.8.7"), 28).hex())
    assert rcode(asked["data"]) in (0, 2) and "0a090807" not in asked["data"]
    assert not two.run("tcp", user, host="10.9.8.7", port=80, seconds=0.5)["connected"]
    assert not one.run("tcp", user, host="10.9.8.7", port=80, seconds=0.5)["connected"]
    seen.silent(A2, "10.9.8.7", "169.254.169.254")
