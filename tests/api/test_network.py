# SPDX-License-Identifier: Apache-2.0
"""The network of a running sandbox: read, replaced, changed in part; its log, page by page and as it grows."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from conftest import eventually


@pytest.fixture
def sandbox(daemon):
    made = daemon.request("POST", "/sandboxes", {"network": {"allow_out": ["a.test"]}}).json["sandbox_id"]
    yield made
    daemon.request("DELETE", f"/sandboxes/{made}")


def test_the_new_policy_is_read_back(daemon, sandbox):
    answer = daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": ["b.test", "10.0.0.0/8"]})
    assert (answer.status, answer.json["generation"]) == (200, 2)
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"allow_out": ["b.test", "10.0.0.0/8"]}
    assert daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": []}).json["generation"] == 3


def test_a_killed_sandbox_keeps_its_last_policy_and_takes_no_other(daemon, sandbox):
    assert daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"deny_out": ["0.0.0.0/0"]}).status == 200
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"deny_out": ["0.0.0.0/0"]}
    refused = daemon.request("PUT", f"/sandboxes/{sandbox}/network", {"allow_out": []})
    assert (refused.status, refused.code) == (410, "sandbox_killed")


@pytest.mark.parametrize("body, code", [
    ({"allow_out": ["b.test", "x y"]}, "invalid_network_entry"),
    ({"allow_out": ["127.0.0.1"]}, "invalid_network_entry"),
    ({"allow_out": "b.test"}, "invalid_field"),
    ({"mask_request_host": "x/y"}, "invalid_field"),
])
def test_what_cannot_be_honoured_changes_nothing(daemon, sandbox, body, code):
    refused = daemon.request("PUT", f"/sandboxes/{sandbox}/network", body)
    assert (refused.status, refused.code) == (400, code), refused.body
    assert "network" in refused.message
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == {"allow_out": ["a.test"]}


def test_an_unknown_sandbox_is_not_found(daemon):
    assert daemon.request("PUT", "/sandboxes/sbx-zzzzzzzz/network", {"allow_out": []}).status == 404


def network(daemon, sandbox, method="GET", body=None, query=""):
    return daemon.request(method, f"/sandboxes/{sandbox}/network{query}", body)


OURS = {"allow_out": ["a.test"], "blocked": "reject", "mode": "observe", "limits": {"flows": 5, "bytes": 5000000000}}


def test_our_members_are_read_back_and_in_force(daemon):
    sandbox = daemon.create(network=OURS)["sandbox_id"]
    got = network(daemon, sandbox).json
    assert got["network"] == OURS and got["generation"] == 1
    assert got["enforced"]["generation"] == 1
    assert {"flows", "udp_flows", "pins", "half_open", "bytes_out", "bytes_in", "limits"} <= set(got["enforced"])
    limits = got["enforced"]["limits"]
    assert limits["flows"] == 5 and limits["bytes"] == 5000000000 and limits["half_open"] == 256
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == OURS
    network(daemon, sandbox, "PUT", {"limits": {"half_open": 7}})
    limits = network(daemon, sandbox).json["enforced"]["limits"]
    assert limits["flows"] == 1024 and limits["half_open"] == 7
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_the_servers_own_limits_are_the_default(make_daemon):
    d = make_daemon("--limit-flows", "9", env={"DECLAW_LIMIT_NAMES_PER_MINUTE": "3"})
    sandbox = d.create(network={"limits": {"names_per_minute": 50}})["sandbox_id"]
    limits = network(d, sandbox).json["enforced"]["limits"]
    assert (limits["flows"], limits["names_per_minute"], limits["half_open"]) == (9, 50, 256)
    assert network(d, d.create()["sandbox_id"]).json["enforced"]["limits"]["names_per_minute"] == 3


@pytest.mark.parametrize("member, word", [
    ({"blocked": "no"}, "network.blocked"), ({"blocked": 1}, "blocked"), ({"mode": "Observe"}, "network.mode"), ({"mode": ["observe"]}, "mode"),
    ({"limits": []}, "limits"), ({"limits": {"flows": 0}}, "limits.flows"), ({"limits": {"flows": 16385}}, "1 and 16384"), ({"limits": {"flows": 1.5}}, "limits.flows"),
    ({"limits": {"bytes": -1}}, "limits.bytes"), ({"limits": {"bytes": "1"}}, "limits.bytes"), ({"limits": {"flow": 1}}, "no limit"), ({"limits": {"names_per_minute": 10**30}}, ""),
])
def test_members_that_cannot_be_honoured(daemon, sandbox, member, word):
    for refused in (daemon.request("POST", "/sandboxes", {"network": member}), network(daemon, sandbox, "PUT", member), network(daemon, sandbox, "PATCH", member)):
        assert refused.status == 400 and word in refused.message, refused.body
    assert network(daemon, sandbox).json["generation"] == 1


def test_of_a_killed_sandbox_the_network_can_be_read(daemon, sandbox):
    network(daemon, sandbox, "PATCH", {"add": {"allow_out": ["b.test"]}})
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert network(daemon, sandbox).json == {"network": {"allow_out": ["a.test", "b.test"]}, "generation": 2, "enforced": None}
    refused = network(daemon, sandbox, "PATCH", {})
    assert (refused.status, refused.code) == (410, "sandbox_killed")


def test_patch(daemon, sandbox):
    done = network(daemon, sandbox, "PATCH", {"add": {"allow_out": ["b.test", "a.test"], "deny_out": ["1.1.1.1"]}})
    assert done.json == {"network": {"allow_out": ["a.test", "b.test"], "deny_out": ["1.1.1.1"]}, "generation": 2}
    done = network(daemon, sandbox, "PATCH", {"remove": {"allow_out": ["a.test", "b.test", "c.test"]}, "mode": "observe", "limits": {"flows": 3}})
    assert done.json["network"] == {"allow_out": [], "deny_out": ["1.1.1.1"], "mode": "observe", "limits": {"flows": 3}}
    assert done.json["not_found"] == ["c.test"]
    assert network(daemon, sandbox).json["enforced"]["generation"] == 3
    done = network(daemon, sandbox, "PATCH", {"mode": None, "limits": {"flows": None, "half_open": 4}})
    assert done.json["network"] == {"allow_out": [], "deny_out": ["1.1.1.1"], "limits": {"half_open": 4}}


@pytest.mark.parametrize("body, code", [
    ({"add": {"allow_out": ["x y"]}}, "invalid_network_entry"), ({"add": {"allow_out": [1]}}, "invalid_network_entry"), ({"add": {"allow": []}}, "invalid_field"),
    ({"add": ["a"]}, "invalid_field"), ({"allow_out": []}, "invalid_field"), ({"remove": {"deny_out": "x"}}, "invalid_field"), ({"generation": 0}, "invalid_field"),
    ({"generation": "1"}, "invalid_field"), ({"mask_request_host": "x"}, "invalid_field"),
])
def test_a_patch_that_cannot_be_honoured_changes_nothing(daemon, sandbox, body, code):
    refused = network(daemon, sandbox, "PATCH", body)
    assert (refused.status, refused.code) == (400, code), refused.body
    assert network(daemon, sandbox).json["network"] == {"allow_out": ["a.test"]} and network(daemon, sandbox).json["generation"] == 1


def test_generations(daemon, sandbox):
    conflict = network(daemon, sandbox, "PATCH", {"add": {"allow_out": ["b.test"]}, "generation": 2})
    assert (conflict.status, conflict.code) == (409, "generation_conflict") and "is 1" in conflict.message
    assert network(daemon, sandbox, "PATCH", {"add": {"allow_out": ["b.test"]}, "generation": 1}).json["generation"] == 2
    assert network(daemon, sandbox, "PUT", {"allow_out": []}, "?generation=1").code == "generation_conflict"
    assert network(daemon, sandbox, "PUT", {"allow_out": []}, "?generation=2").json["generation"] == 3
    for bad in ("0", "x", "-1", ""):
        assert network(daemon, sandbox, "PUT", {}, f"?generation={bad}").status == 400
    assert network(daemon, sandbox).json["network"] == {"allow_out": []}


def test_no_concurrent_change_is_lost(daemon, sandbox):
    def work(worker):
        for i in range(10):
            done = network(daemon, sandbox, "PATCH", {"add": {"allow_out": [f"w{worker}-{i}.test"]}})
            assert done.status == 200, done.body

    threads = [threading.Thread(target=work, args=(w,)) for w in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    got = network(daemon, sandbox).json
    assert sorted(got["network"]["allow_out"]) == sorted(["a.test", *(f"w{w}-{i}.test" for w in range(8) for i in range(10))])
    assert got["generation"] == 81 == got["enforced"]["generation"]


def test_of_two_with_one_generation_one_wins(daemon, sandbox):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(network(daemon, sandbox, "PATCH", {"add": {"allow_out": [f"{n}.test"]}, "generation": 1}).status)) for n in "bcdef"]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert sorted(answers) == [200, 409, 409, 409, 409]
    assert len(network(daemon, sandbox).json["network"]["allow_out"]) == 2


def test_ten_thousand_entries(daemon, sandbox):
    entries = [f"host-{i}.example-{i % 97}.test:443" for i in range(10000)]
    assert network(daemon, sandbox, "PUT", {"allow_out": entries}).status == 200
    done = network(daemon, sandbox, "PATCH", {"remove": {"allow_out": entries[:5000]}, "add": {"allow_out": ["new.test"]}})
    assert done.json["network"]["allow_out"] == [*entries[5000:], "new.test"]


def test_a_policy_in_any_spelling_of_json_is_kept_and_can_be_changed(daemon, sandbox):
    sent = '{ "allow_out" :\r\n\t[ "b\\u002etest" , "~a\\\\.test:443" ] ,\n "x" : [1e2, " \\ud83d\\ude00\\\\\\" , : é" ] } '
    meant = json.loads(sent)
    put = network(daemon, sandbox, "PUT", sent)
    assert (put.status, put.json["network"], put.json["generation"]) == (200, meant, 2)
    assert network(daemon, sandbox).json["network"] == meant
    done = network(daemon, sandbox, "PATCH", {"add": {"allow_out": ["c.test"]}, "remove": {"allow_out": ["b.test"]}})
    assert done.json["network"] == {**meant, "allow_out": ["~a\\.test:443", "c.test"]}
    assert network(daemon, sandbox, "PUT", sent).status == 200
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["network"] == meant  # out of the store


def test_a_gate_that_is_replaced_has_the_changed_policy(make_daemon):
    d = make_daemon()
    sandbox = d.create(network={"allow_out": ["a.test"], "limits": {"flows": 6}})["sandbox_id"]
    network(d, sandbox, "PATCH", {"limits": {"half_open": 5}})
    before = d.gate_pid()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: d.gate_pid() not in (None, before))
    got = eventually(lambda: network(d, sandbox).json["enforced"])
    assert got["generation"] == 2 and (got["limits"]["flows"], got["limits"]["half_open"]) == (6, 5)


def log(daemon, sandbox, query=""):
    return daemon.request("GET", f"/sandboxes/{sandbox}/network/log{query}")


@pytest.mark.parametrize("query, word", [
    ("verdict=x", "verdict"), ("verdict=", "verdict"), ("reason=x", "reason"), ("proto=quic", "proto"), ("name=a%20b", "name"), ("name=*", "name"), ("addr=1.2.3", "addr"),
    ("addr=1.2.3.0/24", "addr"), ("port=65536", "port"), ("port=-1", "port"), ("since=yesterday", "since"), ("until=2026-02-30T00:00:00Z", "until"), ("limit=0", "limit"),
    ("before=0", "before"), ("before=x", "before"), ("would=1", "would"), ("follow=yes", "follow"), ("follow=true&before=3", "before"), ("name=a%00", "name"),
])
def test_bad_queries_of_the_log(daemon, sandbox, query, word):
    refused = log(daemon, sandbox, "?" + query)
    assert (refused.status, refused.code) == (400, "invalid_field") and word in refused.message, refused.body


REFUSED = "for a in {}; do (timeout 0.3 bash -c \"echo > /dev/tcp/$a/80\" &) ; done 2> /dev/null; sleep 0.6"


def refuse(daemon, sandbox, *addresses):
    daemon.run(sandbox, REFUSED.format(" ".join(addresses)), timeout=10)


def test_pages_and_filters_of_the_log(daemon, sandbox):
    addresses = [f"192.0.2.{n}" for n in range(1, 8)]
    refuse(daemon, sandbox, *addresses)
    everything = log(daemon, sandbox).json
    rows = everything["decisions"]
    assert everything["next"] is None and {r["addr"] for r in rows} == set(addresses)
    ids = [r["id"] for r in rows]
    assert ids == sorted(ids, reverse=True), "newest first"
    paged, before = [], ""
    while True:
        page = log(daemon, sandbox, f"?limit=3{before}").json
        paged += [r["id"] for r in page["decisions"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert paged == ids
    assert [r["addr"] for r in log(daemon, sandbox, "?addr=192.0.2.3").json["decisions"]] == ["192.0.2.3"]
    reason = rows[0]["reason"]
    assert log(daemon, sandbox, f"?reason={reason}&proto=tcp&port=80&verdict=deny&would=false").json["decisions"] == [r for r in rows if r["reason"] == reason]
    for none in ("port=81", "proto=udp", "verdict=allow", "would=true", "name=a.test", "name=*.test", "until=1000", "since=4000000000", "reason=floor_metadata"):
        assert log(daemon, sandbox, "?" + none).json["decisions"] == [], none
    when = rows[3]["time"]
    since = [r["id"] for r in log(daemon, sandbox, f"?since={when}").json["decisions"]]
    until = [r["id"] for r in log(daemon, sandbox, f"?until={when}").json["decisions"]]
    assert rows[3]["id"] in since and rows[3]["id"] not in until and sorted(since + until, reverse=True) == ids


class Follower:
    """Reads Server-Sent Events in a thread of its own."""

    def __init__(self, daemon, sandbox, query="", headers=None):
        self.connection = daemon.connect(timeout=60)
        self.connection.request("GET", f"/sandboxes/{sandbox}/network/log?follow=true{query}", headers={"X-API-Key": daemon.key, **(headers or {})})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.events, self.comments, self.ended = [], 0, False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        fields = {}
        try:
            for line in self.answer:
                line = line.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    key, _, value = line.partition(": ")
                    fields[key] = value
                elif fields:
                    self.events.append((fields.get("event"), fields.get("id"), json.loads(fields["data"])))
                    fields = {}
        except (OSError, ValueError, AttributeError):
            pass
        self.ended = True

    def addresses(self):
        return [data.get("addr") for event, _, data in self.events if event == "decision"]

    def close(self):
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.connection.close()


def test_following(daemon, sandbox):
    refuse(daemon, sandbox, "192.0.2.1", "192.0.2.2")
    live, last, only = Follower(daemon, sandbox), Follower(daemon, sandbox, "&limit=1"), Follower(daemon, sandbox, "&addr=192.0.2.4")
    assert eventually(lambda: last.events) and eventually(lambda: live.comments) and not live.events
    refuse(daemon, sandbox, "192.0.2.3", "192.0.2.4")
    assert eventually(lambda: {"192.0.2.3", "192.0.2.4"} <= set(live.addresses())), live.events
    assert eventually(lambda: len(set(last.addresses())) == 3)
    assert eventually(lambda: set(only.addresses()) == {"192.0.2.4"})
    for event, row_id, data in live.events:
        assert int(row_id) == data["id"]
    middle = live.events[0][1]
    resumed = Follower(daemon, sandbox, headers={"Last-Event-ID": middle})
    assert eventually(lambda: [e[1] for e in resumed.events] == [e[1] for e in live.events[1:]])
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    for f in (live, last, only, resumed):
        assert eventually(lambda: f.ended) and f.events[-1] == ("end_of_log", None, {})
    after = Follower(daemon, sandbox, "&limit=1000")
    assert eventually(lambda: after.ended) and after.events[-1][0] == "end_of_log" and len(set(after.addresses())) == 4


def test_a_bad_last_event_id(daemon, sandbox):
    refused = daemon.request("GET", f"/sandboxes/{sandbox}/network/log?follow=true", headers={"Last-Event-ID": "x"})
    assert refused.status == 400 and "Last-Event-ID" in refused.message


def test_followers_are_bounded_and_leave(daemon, sandbox):
    followers = [Follower(daemon, sandbox) for _ in range(8)]
    refused = daemon.request("GET", f"/sandboxes/{sandbox}/network/log?follow=true")
    assert (refused.status, refused.code) == (429, "too_many_followers")
    other = daemon.create()["sandbox_id"]
    Follower(daemon, other).close()
    daemon.request("DELETE", f"/sandboxes/{other}")
    followers.pop().close()

    def again():
        answer = daemon.connect()
        answer.request("GET", f"/sandboxes/{sandbox}/network/log?follow=true", headers={"X-API-Key": daemon.key})
        status = answer.getresponse().status
        answer.close()
        return status == 200

    assert eventually(again), "a follower that hangs up makes room at once"
    for f in followers:
        f.close()


def test_a_silent_log_says_that_it_is_alive(daemon, sandbox):
    f = Follower(daemon, sandbox)
    assert eventually(lambda: f.comments >= 2, 20), "15 s"
    f.close()


def test_a_server_that_stops_lets_followers_go(make_daemon):
    d = make_daemon()
    f = Follower(d, d.create()["sandbox_id"])
    began = time.monotonic()
    assert d.stop() == 0 and time.monotonic() - began < 8
    assert eventually(lambda: f.ended)


def test_nothing_was_observed(daemon, sandbox):
    got = daemon.request("GET", f"/sandboxes/{sandbox}/network/suggest").json
    assert got == {"network": {"allow_out": []}, "entries": [], "not_coverable": [], "overflow": 0}


def test_a_busy_sandbox_takes_a_change(daemon, sandbox):
    """Rights must be taken away most of all where much is going on."""
    def sleep():
        while daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "sleep 20", "timeout": 30}).status == 429:
            time.sleep(0.05)  # the question below was there first

    threads = [threading.Thread(target=sleep, daemon=True) for _ in range(64)]
    for t in threads:
        t.start()
    full = lambda: daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"}).code == "too_many_operations"  # noqa: E731
    assert eventually(full, 10)
    changed = network(daemon, sandbox, "PATCH", {"remove": {"allow_out": ["a.test"]}})
    assert (changed.status, changed.json["network"]) == (200, {"allow_out": []})
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    for t in threads:
        t.join(10)


def test_changes_while_gates_die(make_daemon):
    """Each is in force or refused; none is half of both, and no policy is forgotten."""
    d = make_daemon()
    ids = [d.request("POST", "/sandboxes", {"network": {"allow_out": []}}).json["sandbox_id"] for _ in range(3)]
    answers, stop = {i: [] for i in ids}, threading.Event()

    def change(i):
        n = 0
        while not stop.is_set():
            n += 1
            answers[i].append(network(d, i, "PATCH", {"add": {"allow_out": [f"n{n}.test"]}}))

    threads = [threading.Thread(target=change, args=(i,)) for i in ids]
    for t in threads:
        t.start()
    for _ in range(6):
        old = d.gate_pid()
        os.kill(old, signal.SIGKILL)
        assert eventually(lambda: d.gate_pid() not in (None, old), 10)
        time.sleep(0.2)
    stop.set()
    for t in threads:
        t.join()
    assert eventually(lambda: all(network(d, i).json["enforced"] for i in ids), 10), "every one is attached again"
    for i in ids:
        assert {(a.status, a.code) for a in answers[i]} <= {(200, None), (503, "gate_unavailable")}, {(a.status, a.body) for a in answers[i] if a.status != 200}
        now = network(d, i).json
        good = [a for a in answers[i] if a.status == 200]
        assert len(good) > 5 and now["generation"] == 1 + len(good) == now["enforced"]["generation"]
        assert now["network"] == good[-1].json["network"]
    assert d.stop() == 0
