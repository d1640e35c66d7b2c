# SPDX-License-Identifier: Apache-2.0
"""declaw network: exact requests and how the answers look."""

import json

import pytest

ID = "sbx-1"
BASE = f"/sandboxes/{ID}/network"
NASTY = "\x1b]0;evil\x07\x9b31m"
ROW = {"id": 12, "time": "2026-01-15T10:30:00.123456+00:00", "protocol": "tcp", "addr": "93.184.215.14", "port": 443, "name": "pypi.org",
       "verdict": "allow", "reason": "allow_name", "rule": "allow_out[0] pypi.org:443", "message": "...", "count": 1}  # fmt: skip


def test_get(ask, stub):
    answer = {"network": {"allow_out": ["a.test:443", "b.test" + NASTY], "deny_out": [], "mode": "observe", "limits": {"flows": 5}},
              "generation": 3, "enforced": {"flows": 2, "bytes_out": 10, "limits": {}}}  # fmt: skip
    stub.on("GET", BASE, answer)
    done = ask("network", "get", ID)
    rows = [line.split(None, 1) for line in done.stdout.decode().splitlines()]
    assert rows[:5] == [["allow_out", "a.test:443"], ["allow_out", "b.test\\x1b]0;evil\\x07\\x9b31m"], ["deny_out", "(empty: nothing)"],
                        ["mode", "observe"], ["limits", '{"flows":5}']]  # fmt: skip
    assert ["generation", "3"] in rows and ["bytes_out", "10"] in rows
    assert json.loads(ask("network", "get", "--json", ID).stdout) == answer
    stub.on("GET", BASE, {"network": None, "generation": 1, "enforced": None})
    out = ask("network", "get", ID).stdout
    assert b"the server's default" in out and out.split()[-2:] == [b"generation", b"1"]


def test_set(ask, stub, tmp_path):
    stub.on("PUT", BASE, {"network": {"allow_out": []}, "generation": 2})
    (tmp_path / "n").write_text('{"allow_out": ["ü.test"]}')
    assert ask("network", "set", ID, str(tmp_path / "n")).returncode == 0
    assert ask("network", "set", ID, "-", "--generation", "4", stdin=b'{"mode": null}').returncode == 0
    assert stub.lines == [f"PUT {BASE}", f"PUT {BASE}?generation=4"]
    assert [a.json for a in stub.asked] == [{"allow_out": ["ü.test"]}, {"mode": None}]
    for bad in (b"", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xff"):
        done = ask("network", "set", ID, "-", stdin=bad)
        assert (done.returncode, done.stdout) == (2, b""), bad
    assert len(stub.asked) == 2


def test_allow_and_deny(ask, stub):
    stub.on("PATCH", BASE, {"network": {"allow_out": ["a"]}, "generation": 2, "not_found": ["x"]})
    assert b"not found" in ask("network", "allow", ID, "a.test", "*.b.test:443").stdout
    ask("network", "deny", "--remove", "--generation=7", ID, "1.2.3.4")
    assert [a.json for a in stub.asked] == [{"add": {"allow_out": ["a.test", "*.b.test:443"]}}, {"remove": {"deny_out": ["1.2.3.4"]}, "generation": 7}]
    assert ask("network", "allow", ID).returncode == 2
    stub.on("PATCH", BASE, (409, {"message": "another change came first", "code": "generation_conflict"}))
    assert ask("network", "deny", ID, "1.1.1.1").stderr == b"declaw: another change came first\n"


def test_log(ask, stub):
    rows = [{**ROW, "id": 13, "verdict": "deny", "name": NASTY, "rule": None, "addr": None, "port": None, "reason": "not_in_allow_out"}, ROW]
    stub.on("GET", BASE + "/log", {"decisions": rows, "next": None})
    done = ask("network", "log", ID)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split()[:4] == ["TIME", "(UTC)", "VERDICT", "PROTO"]
    assert lines[1].split() == ["2026-01-15", "10:30:00", "allow", "tcp", "pypi.org", "(93.184.215.14):443", "allow_name", "1", "allow_out[0]", "pypi.org:443"]
    assert "deny" in lines[2] and "\x1b" not in lines[2]
    assert [r["id"] for r in json.loads(ask("network", "log", "--json", ID).stdout)["decisions"]] == [13, 12]
    ask("network", "log", ID, "--verdict", "deny", "--name", "*.a&b", "--port", "443", "--since", "2026-01-31T12:00:00+01:00", "--limit", "5",
        "--would", "true", "--reason", "r", "--proto", "tcp", "--addr", "::1", "--until", "9", "--before", "7")  # fmt: skip
    assert stub.lines[-1] == (f"GET {BASE}/log?verdict=deny&name=%2A.a%26b&port=443&since=2026-01-31T12%3A00%3A00%2B01%3A00&limit=5&would=true"
                              "&reason=r&proto=tcp&addr=%3A%3A1&until=9&before=7")  # fmt: skip


def followed(*events):
    def reply(handler, asked):
        handler.events()
        handler.wfile.write(b":\n\n")
        for name, value in events:
            handler.event(name, value)

    return reply


def test_follow(ask, stub):
    stub.on("GET", BASE + "/log", followed(("decision", ROW), ("end", {**ROW, "closed": True}), ("dropped", {"count": 4}), ("later", {}), ("end_of_log", {})))
    done = ask("network", "log", ID, "--follow", "--limit", "9", "--verdict", "allow")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1 and b"4 rows were lost" in done.stderr
    assert stub.lines == [f"GET {BASE}/log?follow=true&limit=9&verdict=allow"]
    done = ask("network", "log", ID, "--follow", "--json")
    assert [json.loads(x)["event"] for x in done.stdout.splitlines()] == ["decision", "end", "dropped", "later", "end_of_log"]


@pytest.mark.parametrize("events, says", [([("decision", ROW)], "before the sandbox did"), ([("decision", [])], "makes no sense")])
def test_a_log_that_breaks(ask, stub, events, says):
    stub.on("GET", BASE + "/log", followed(*events))
    done = ask("network", "log", "--follow", ID)
    assert done.returncode == 1 and says in done.stderr.decode()


def test_suggest(ask, stub):
    answer = {"network": {"allow_out": ["a.test:443"]}, "entries": [{"entry": "a.test:443", "why": "seen " + NASTY, "count": 41}],
              "not_coverable": [{"protocol": "tcp", "addr": "169.254.169.254", "port": 80, "why": "below the floor"}], "overflow": 2}  # fmt: skip
    stub.on("GET", BASE + "/suggest", answer)
    done = ask("network", "suggest", ID)
    lines = done.stdout.decode().splitlines()
    assert lines[1].split()[:3] == ["a.test:443", "41", "seen"] and "\x1b" not in lines[1]
    assert lines[2] == "not covered: 169.254.169.254 port 80: below the floor" and "2 kinds" in lines[3]
    assert json.loads(ask("network", "suggest", ID, "--policy").stdout) == answer["network"]
    assert json.loads(ask("network", "suggest", ID, "--json").stdout) == answer
