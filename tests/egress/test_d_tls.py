# SPDX-License-Identifier: Apache-2.0
"""Section D: TLS."""
import pytest
from kit import a1, a2, client_hello, fresh, records, socket_family

OK, ALERT = b"\x16", b"\x15"


@pytest.fixture
def one(box, family):
    made = box(allow_out=["one.allowed.test"])
    assert made.run("lookup", name="one.allowed.test", family=socket_family(family))["ok"]
    return made


def say(one, family, user, chunks, port=443, gap=0.0, wait=1.0):
    out = one.run("tcp", user, host=a1(family), port=port, send=[c if isinstance(c, str) else c.hex() for c in chunks], gap=gap, wait=wait, read=1)
    return bytes.fromhex(out["data"])


def nothing_arrived(seen):
    """No connection that the far side took carried a byte."""
    assert all(not c["first"] for c in seen.connections())
    seen.silent()


# EC-132
@pytest.mark.parametrize("port", [443, 8443])
def test_ec132_tls_without_a_name_is_refused(one, far, port, user, family):
    seen = far()
    assert say(one, family, user, [records(client_hello(None))], port) in (b"", ALERT)
    nothing_arrived(seen)
    assert [d["reason"] for d in one.refusals(port=port)] == ["sni_missing"]
    assert say(one, family, user, [records(client_hello(b"one.allowed.test"))], port) == OK


# EC-134
@pytest.mark.parametrize("port", [443, 8443])
def test_ec134_a_co_tenants_name_is_refused(one, far, port, user, family):
    seen = far()
    assert say(one, family, user, [records(client_hello(b"co.evil.test"))], port) in (b"", ALERT)
    nothing_arrived(seen)
    refused = one.refusals(port=port)
    assert [(d["reason"], d["name"]) for d in refused] == [("sni_not_allowed", "co.evil.test")]
    assert say(one, family, user, [records(client_hello(b"one.allowed.test"))], port) == OK


def test_ec134_an_allowed_name_of_another_address_is_refused(lab, box, far, user):
    """Allowed and resolved, but to another address than this one: the pair counts, not the name."""
    elsewhere = fresh(lab, a2(4))
    both = box(allow_out=["one.allowed.test", elsewhere])
    for name in ("one.allowed.test", elsewhere):
        assert both.run("lookup", name=name, family=2)["ok"]
    seen = far()
    assert say(both, 4, user, [records(client_hello(elsewhere.encode()))]) in (b"", ALERT)
    nothing_arrived(seen)
    assert [d["reason"] for d in both.refusals(port=443)] == ["sni_mismatch"]
    assert say(both, 4, user, [records(client_hello(b"one.allowed.test"))]) == OK


# EC-139
def test_ec139_a_hello_split_over_records_is_judged_whole(one, far, user, family):
    good, bad = client_hello(b"one.allowed.test"), client_hello(b"co.evil.test")
    for hello, wanted in ((bad, (b"", ALERT)), (good, (OK,))):
        seen = far()
        cuts = list(range(1, len(hello)))
        for some in (cuts[i:i + 60] for i in range(0, len(cuts), 60)):
            steps = [dict(do="tcp", host=a1(family), port=443, send=[records(hello, c).hex()], wait=2.0, read=1) for c in some]
            for cut, out in zip(some, one.steps(steps, user)):
                assert bytes.fromhex(out["data"]) in wanted, (cut, out)
        if hello is bad:
            nothing_arrived(seen)
    # each byte of the first 40 in a record of its own
    assert say(one, family, user, [records(good, *range(1, 40))], wait=2.0) == OK
    seen = far()
    assert say(one, family, user, [records(bad, *range(1, 40))]) in (b"", ALERT)
    nothing_arrived(seen)


def test_ec139_a_hello_in_many_segments_is_judged_whole(one, far, user, family):
    good, bad = records(client_hello(b"one.allowed.test")), records(client_hello(b"co.evil.test"))
    assert say(one, family, user, [good[i:i + 7] for i in range(0, len(good), 7)], gap=0.002) == OK
    seen = far()
    assert say(one, family, user, [bad[i:i + 7] for i in range(0, len(bad), 7)], gap=0.002) in (b"", ALERT)
    nothing_arrived(seen)


# EC-140
@pytest.mark.parametrize("pad", [1500, 5000, 15000, 20000, 40000])
def test_ec140_large_hellos_work(one, far, pad, user, family):
    assert say(one, family, user, [records(client_hello(b"one.allowed.test", pad=pad))], wait=2.0)[:1] in (OK, ALERT)
    # The server may not like so much padding; what counts is that the hello went through whole.
    seen = far()
    say(one, family, user, [records(client_hello(b"one.allowed.test", pad=pad))], wait=1.0)
    assert any(c["first"] for c in seen.connections())
    seen = far()
    assert say(one, family, user, [records(client_hello(b"co.evil.test", pad=pad))]) in (b"", ALERT)
    nothing_arrived(seen)


def test_ec140_over_64_kib_is_refused(one, far, user, family):
    seen = far()
    for name in (b"one.allowed.test", b"co.evil.test"):
        extra = b"\xfa\xfa" + (60000).to_bytes(2, "big") + bytes(60000)
        hello = records(client_hello(name, pad=5400, extra=extra))
        assert len(hello) > 65536
        one.sbx.files.write("/tmp/big", hello.hex())
        assert say(one, family, user, ["@/tmp/big"]) in (b"", ALERT)
    nothing_arrived(seen)
    assert say(one, family, user, [records(client_hello(b"one.allowed.test"))]) == OK


# EC-154
def test_ec154_no_syn_to_a_denied_address_no_byte_before_the_verdict(one, far, user, family):
    seen = far()
    out = one.run("tcp", user, host=a2(family), port=443, seconds=0.6, send=[records(client_hello(b"sink.evil.test")).hex()])
    assert out["error"] == "timeout" and not out["connected"]
    seen.silent()
    # To the shared address the connection exists; not one byte of payload before the verdict, none after a refusal.
    seen = far()
    hello = records(client_hello(b"co.evil.test"))
    assert say(one, family, user, [hello[:-1]], wait=0.5) == b""
    assert [p for p in seen.packets(dst=[a1(family)], port=443) if p.length] == []
    assert say(one, family, user, [hello], wait=0.5) in (b"", ALERT)
    assert [p for p in seen.packets(dst=[a1(family)], port=443) if p.length] == []
    seen = far()
    assert say(one, family, user, [records(client_hello(b"one.allowed.test"))]) == OK
    assert [p for p in seen.packets(dst=[a1(family)], port=443) if p.length]
