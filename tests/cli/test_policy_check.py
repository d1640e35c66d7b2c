# SPDX-License-Identifier: Apache-2.0
"""declaw policy check: targets, policies and how the answers look."""

import json
import subprocess

import pytest

A1, A2 = "93.184.216.34", "1.1.1.1"


def rows(done):
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def one(declaw):
    """(verdict, reason) of one target under a policy in words."""

    def ask(target, *words):
        (row,) = rows(declaw("policy", "check", "--json", *words, target))
        return row["verdict"], row["reason"]

    return ask


@pytest.mark.parametrize("target, words, want", [
    # names
    ("a.test", ["--allow", "a.test"], ("allow", "allow_entry")),
    ("A.Test.", ["--allow", "a.test"], ("allow", "allow_entry")),
    ("b.test", ["--allow", "a.test"], ("deny", "name_not_allowed")),
    ("b.test", ["--deny", "b.test"], ("deny", "deny_entry")),
    ("b.test", [], ("allow", "allow_default")),
    ("b.test", ["--default-egress", "deny"], ("deny", "deny_default")),
    ("a.test", ["--allow", "a.test", "--resolve", "a.test=10.0.0.1"], ("deny", "private_answer")),
    ("a.test", ["--allow", "a.test", "--resolve", f"a.test=10.0.0.1,{A1}"], ("allow", "allow_entry")),
    ("a.test", ["--allow", "a.test", "--resolve", "a.test=127.0.0.1"], ("deny", "floor_loopback")),
    ("a.test", ["--allow", "a.test", "--resolve", "a.test=10.0.0.1", "--allow-private", "10.0.0.0/8"], ("allow", "allow_entry")),
    # names with ports, addresses unknown
    ("a.test:443", ["--allow", "a.test:443"], ("allow", "allow_entry")),
    ("a.test:80", ["--allow", "a.test:443"], ("deny", "not_in_allow_out")),
    ("a.test:443/tcp", ["--allow", "a.test"], ("deny", "tls_required")),
    ("a.test:80/tcp", ["--allow", "a.test"], ("deny", "http_required")),
    ("a.test:443/udp", ["--allow", "a.test"], ("deny", "quic_required")),
    ("a.test:443/quic", ["--allow", "a.test"], ("allow", "allow_entry")),
    ("a.test:22", ["--allow", "a.test"], ("allow", "allow_entry")),
    # ... with a lookup
    ("a.test:443", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("allow", "allow_name")),
    ("a.test:443", ["--allow", A1, "--resolve", f"a.test={A1}"], ("deny", "name_not_allowed")),
    ("a.test:443", ["--allow", "a.test", "--resolve", "a.test=10.0.0.1"], ("deny", "private_answer")),
    ("a.test:443", ["--allow", "a.test", "--allow", "10.0.0.1:22", "--resolve", "a.test=10.0.0.1"], ("deny", "private_address")),
    ("a.test:22", ["--allow", "a.test", "--allow", "10.0.0.1:22", "--resolve", "a.test=10.0.0.1"], ("allow", "allow_entry")),
    ("a.test:443", ["--allow", "*", "--deny", "a.test:443", "--resolve", f"a.test={A1}"], ("deny", "deny_entry")),
    ("a.test:443", ["--deny", "b.test", "--resolve", f"b.test={A1}", "--resolve", f"a.test={A1}"], ("allow", "allow_default")),
    # addresses
    (f"{A1}:80", ["--allow", A1], ("allow", "allow_entry")),
    (f"{A1}:80/tcp", ["--allow", A1], ("allow", "allow_entry")),
    (f"{A1}:80/udp", ["--allow", A1], ("allow", "allow_entry")),
    (f"{A2}:80", ["--allow", A1], ("deny", "not_in_allow_out")),
    ("[2606:4700::1111]:443", ["--allow", "2606:4700::/32"], ("allow", "allow_entry")),
    (f"[::ffff:{A1}]:443", ["--allow", A1], ("allow", "allow_entry")),
    ("169.254.169.254:80", ["--allow", "*"], ("deny", "floor_metadata")),
    (f"{A1}:80", ["--allow", "*", "--host", A1], ("deny", "floor_host")),
    (f"{A1}:443", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("allow", "allow_name")),
    (f"{A1}:443/tls", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("deny", "sni_missing")),
    (f"{A1}:80/http", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("deny", "host_missing")),
    (f"{A1}/icmp", ["--allow", A1], ("deny", "protocol_unsupported")),
    ("::1/icmp", ["--allow", "*"], ("deny", "floor_loopback")),
    # an address and what is shown there
    (f"a.test@{A1}:443", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("allow", "allow_name")),
    (f"b.test@{A1}:443", ["--allow", "a.test", "--resolve", f"a.test={A1}"], ("deny", "sni_not_allowed")),
    (f"b.test@{A1}:443", ["--allow", "*.test", "--resolve", f"a.test={A1}"], ("deny", "sni_mismatch")),
    (f"b.test@{A1}:80", ["--allow", "*.test", "--resolve", f"a.test={A1}"], ("deny", "host_mismatch")),
    (f"b.test@{A1}:80", ["--allow", "*", "--deny", "b.test"], ("deny", "host_not_allowed")),
    (f"b.test@{A1}:443", ["--allow", A1, "--deny", "b.test"], ("allow", "allow_entry")),
])
def test_verdicts(one, target, words, want):
    assert one(target, *words) == want


@pytest.mark.parametrize("document, target, want", [
    ({"allow_out": ["a.test"]}, "b.test", ("deny", "name_not_allowed")),
    ({"allow_out": []}, "b.test", ("deny", "name_not_allowed")),
    ({"allow_out": None}, "b.test", ("deny", "name_not_allowed")),
    ({"deny_out": None}, "b.test", ("allow", "allow_default")),
    ({"deny_out": ["b.test"], "blocked": "reject"}, "b.test", ("deny", "deny_entry")),
    ({"deny_out": ["b.test"], "blocked": None, "mode": "enforce"}, "b.test", ("deny", "deny_entry")),
    ({"deny_out": ["b.test"], "mode": "observe"}, "b.test", ("allow", "observed")),
    ({}, "b.test", ("allow", "allow_default")),
    ({"template": "base", "network": {"allow_out": ["a.test"]}}, "b.test", ("deny", "name_not_allowed")),
    ({"template": "base", "network": None}, "b.test", ("allow", "allow_default")),
    ({"security": {"network": {"allow_out": ["a.test"]}}}, "b.test", ("deny", "name_not_allowed")),
    ({"security": {"policy_json": '{"network": {"allow_out": ["a.test"]}}'}}, "b.test", ("deny", "name_not_allowed")),
    ({"network": {}, "security": {"network": {"allow_out": ["a.test"]}}}, "b.test", ("allow", "allow_default")),
])
def test_policy_documents(declaw, tmp_path, document, target, want):
    text = json.dumps(document)
    file = tmp_path / "policy.json"
    file.write_text(text)
    for done in (declaw("policy", "check", "--json", "--policy", str(file), target),
                 declaw("policy", "check", "--json", "--policy=-", target, stdin=text)):
        (row,) = rows(done)
        assert (row["verdict"], row["reason"]) == want
        assert done.stderr == ""


@pytest.mark.parametrize("document, word", [
    ("", "not valid JSON"),
    ("[]", "must be a JSON object"),
    ('{"allow_out": 1}', "network.allow_out must be a list"),
    ('{"allow_out": ["a.test", 1]}', "network.allow_out[1] must be a string"),
    ('{"allow_out": ["a\\u0000b"]}', "network.allow_out[0] must be a string without NUL"),
    ('{"allow_out": ["ok.test", "a b"]}', 'network.allow_out[1]: "a b"'),
    ('{"deny_out": ["~(a"]}', "network.deny_out[0]"),
    ('{"allow_out": [], "allow_out": []}', "not valid JSON"),
    ('{"deny_out": [], "blocked": "loudly"}', 'network.blocked must be "drop" or "reject"'),
    ('{"deny_out": [], "mode": true}', 'network.mode must be "enforce" or "observe"'),
    ('{"network": 5}', "network must be an object"),
    ('{"security": {"policy_json": "{"}}', "security.policy_json"),
    ('{"security": 1}', "security must be an object"),
    ("[" * 100_000, "not valid JSON"),
])
def test_bad_policies(declaw, document, word):
    done = declaw("policy", "check", "--policy", "-", "a.test", stdin=document)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr and done.stderr.startswith("declaw: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words, word", [
    ([], "no target"),
    (["--nonsense", "a.test"], "--nonsense"),
    (["--json=1", "a.test"], "--json=1"),
    (["a.test", "--allow"], "--allow needs a value"),
    (["--allow", "a b", "a.test"], 'network.allow_out[0]: "a b"'),
    (["--allow", "\xff\x01", "a.test"], "network.allow_out[0]"),
    (["--deny", "http://a.test/", "a.test"], "network.deny_out[0]"),
    (["--default-egress", "maybe", "a.test"], "allow or deny"),
    (["--resolve", "a.test", "a.test"], "NAME=ADDR"),
    (["--resolve", "a.test=", "a.test"], "NAME=ADDR"),
    (["--resolve", "a.test=1.2.3.4,", "a.test"], "NAME=ADDR"),
    (["--resolve", "a..test=1.2.3.4", "a.test"], "empty label"),
    (["--resolve", "a.test=1.2.3.4", "--resolve", "A.test=1.2.3.5", "a.test"], "given twice"),
    (["--resolve", "a.test=" + ",".join(["1.2.3.4"] * 65), "a.test"], "at most 64"),
    (["--host", "1.2.3", "a.test"], "an IP address"),
    (["--allow-private", "10.0.0.0/33", "a.test"], "an address or a CIDR"),
    (["--policy", "/nonexistent", "a.test"], "/nonexistent: No such file"),
    (["--policy", "-", "-"], "only once"),
    (["--targets", "/nonexistent"], "/nonexistent: No such file"),
    (["--", "--json"], "--json"),
])
def test_bad_words(declaw, words, word):
    done = declaw("policy", "check", *words, stdin="{}")
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr and done.stderr.startswith("declaw: ")


@pytest.mark.parametrize("target, why", [
    ("", "empty"),
    ("1.2.3.4", "a port is missing"),
    ("::1", "a port is missing"),
    ("[::1]", "a port is missing"),
    ("a.test/tcp", "a port is missing"),
    ("a.test:0", "1 to 65535"),
    ("a.test:65536", "1 to 65535"),
    ("a.test:080", "1 to 65535"),
    ("a.test:", "1 to 65535"),
    ("a.test:80:80", "1 to 65535"),
    ("a.test:80/sctp", "tcp, udp, tls"),
    ("a.test:80/", "tcp, udp, tls"),
    ("https://a.test/", "a URL"),
    ("[::1:80", "without its ']'"),
    ("[::1]80", "may follow ']'"),
    ("[1.2.3.4]:80", "not an IPv6 address"),
    ("a.test/icmp", "an address alone"),
    ("1.2.3.4:80/icmp", "an address alone"),
    ("a.test@b.test:443", "not an IP address"),
    ("@1.2.3.4:443", "empty"),
    ("a.test@1.2.3.4", "a port is missing"),
    ("8.8.8.8:53/udp", "answers on port 53"),
    ("a.test:53", "answers on port 53"),
    ("localhost", "the sandbox itself"),
    ("x.localhost:80", "the sandbox itself"),
    ("127.1:80", ""),
    ("2130706433", ""),
    ("a b", ""),
    ("a..test", "empty label"),
    ("x" * 300, ""),
    ("a\u00e9.test", ""),
    ("a\x1b[31m.test", ""),
])
def test_bad_targets(declaw, target, why):
    done = declaw("policy", "check", "--", "ok.test", target)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr and done.stderr.startswith('declaw: target "')
    assert done.stderr.rstrip("\n").isascii() and done.stderr.rstrip("\n").isprintable()


def test_truncated_targets_are_judged_or_refused(declaw):
    for whole in ("one.allowed.test@[2606:2800:21f::14]:443/quic", "93.184.216.34:8443/http"):
        for n in range(1, len(whole)):
            assert declaw("policy", "check", "--", whole[:n]).returncode in (0, 1, 2)


def test_exit_codes(declaw):
    check = ["policy", "check", "--allow", "a.test"]
    assert declaw(*check, "a.test").returncode == 0
    assert declaw(*check, "a.test", "b.test").returncode == 1
    assert declaw(*check, "a.test", "b:b:b").returncode == 2


def test_table(declaw):
    done = declaw("policy", "check", "--allow", "a.test:443", "--deny", "*", "a.test:443", "a-much-longer-name.test", f"{A1}:80")
    assert done.stdout.splitlines() == [
        "TARGET                   VERDICT  REASON            RULE",
        "a.test:443               allow    allow_entry       allow_out[0] a.test:443",
        "a-much-longer-name.test  deny     name_not_allowed  -",
        "    a-much-longer-name.test was refused: no entry of allow_out covers the name, so it was not looked up; add the name or a "
        "wildcard such as *.example.com to network.allow_out.",
        f"{A1}:80         deny     not_in_allow_out  -",
        f"    {A1}:80 was refused: no entry of allow_out covers it; add the host name, address or CIDR to network.allow_out to open it.",
        "note: the addresses of the name were not judged (--resolve NAME=ADDR plays the lookup)",
    ]


def test_steps(declaw):
    words = ["policy", "check", "--allow", "*.test", "--resolve", f"a.test={A1},10.0.0.1", "a.test:443"]
    first, second = rows(declaw(*words, "--json"))
    assert (first["address"], second["address"]) == (A1, "10.0.0.1")
    assert [(s["step"], s["what"], s["verdict"]) for s in first["steps"]] == [
        ("query", "a.test", "allow"), ("answer", A1, "allow"), ("flow", f"{A1}:443", "allow"), ("name", "a.test:443", "allow")]
    assert [(s["step"], s["verdict"], s["reason"]) for s in second["steps"]] == [
        ("query", "allow", "allow_entry"), ("answer", "deny", "private_answer")]
    shown = declaw(*words, "--verbose").stdout
    assert f"    flow   {A1}:443: allow, allow_name, allow_out[0] *.test\n" in shown
    assert "    answer 10.0.0.1: deny, private_answer\n" in shown


def test_observed(declaw):
    document = json.dumps({"allow_out": ["a.test"], "mode": "observe"})
    done = declaw("policy", "check", "--json", "--policy", "-", "b.test", f"{A1}:80", "10.0.0.1:80", "a.test:443/tcp", stdin=document)
    got = [(r["verdict"], r["reason"], r.get("would")) for r in rows(done)]
    assert got == [("allow", "observed", "name_not_allowed"), ("allow", "observed", "not_in_allow_out"),
                   ("deny", "private_address", None), ("allow", "observed", "tls_required")]
    assert "would have been refused" in rows(done)[0]["message"]


def test_many_targets_from_a_file_and_from_standard_input(declaw, tmp_path):
    lines = ["# what we use", "", *(f"  host{i}.test:443  " for i in range(20_000)), "last.test"]
    file = tmp_path / "targets"
    file.write_text("\r\n".join(lines))
    for words, stdin in ((["--targets", str(file)], ""), (["-"], file.read_text())):
        done = declaw("policy", "check", "--json", "--allow", "~host[0-9]*5\\.test", *words, stdin=stdin)
        got = rows(done)
        assert done.returncode == 1 and len(got) == 20_001
        assert sum(r["verdict"] == "allow" for r in got) == 2_000
        assert got[-1]["target"] == "last.test"
    done = declaw("policy", "check", "-", stdin="a.test\n\nb:b:b\n")
    assert done.returncode == 2 and done.stdout == "" and "line 3" in done.stderr


def test_a_misspelt_list_is_told(declaw):
    """Beside an allow list an unknown member can open nothing; without one it may be a restriction that is not there."""
    done = declaw("policy", "check", "--policy", "-", "a.test", stdin='{"network": {"allow_outs": ["b.test"]}}')
    assert done.returncode == 2 and done.stdout == "" and "network.allow_outs is not known" in done.stderr
    done = declaw("policy", "check", "--policy", "-", "a.test", stdin='{"network": {"later": 1, "allow_out": ["a.test"]}}')
    assert done.returncode == 0 and "network.later is not known" in done.stderr
    done = declaw("policy", "check", "--policy", "-", "a.test", stdin='{"allowed": ["b.test"]}')
    assert done.returncode == 0 and "neither lists nor a network object" in done.stderr


def test_entries_of_file_and_command_line_come_together(declaw):
    done = declaw("policy", "check", "--json", "--policy", "-", "--allow", "b.test", "a.test", "b.test", stdin='{"allow_out": ["a.test"]}')
    assert [r["rule"] for r in rows(done)] == ["allow_out[0] a.test", "allow_out[1] b.test"]


def test_a_full_output_is_an_error(program):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([str(program), "policy", "check", "a.test"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 2 and "writing the result" in done.stderr
