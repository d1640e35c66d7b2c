# SPDX-License-Identifier: Apache-2.0
"""Pausing and resuming: what stands still, what stays, what is refused meanwhile, and what can not go wrong."""

import json
import os
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from conftest import REPOSITORY, Daemon, eventually

sys.path[:0] = [str(REPOSITORY / "tests")]

from lab import Lab  # noqa: E402
from lab.addresses import GITHUB, RESOLVER  # noqa: E402


@pytest.fixture(scope="module")
def lab():
    with Lab() as up:
        yield up


@pytest.fixture(scope="module")
def daemon(lab):
    d = Daemon("--uplink-netns", lab.uplink, "--resolver", RESOLVER, env={"DECLAW_TEST_METRICS_MS": "100"})
    yield d
    print(d.log())
    assert d.stop() == 0


def pause(daemon, sandbox):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/pause")
    assert (answer.status, answer.json) == (200, {}), answer.body


def resume(daemon, sandbox):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/resume")
    assert answer.status == 200, answer.body
    return answer.json


def get(daemon, sandbox, query=""):
    answer = daemon.request("GET", f"/sandboxes/{sandbox}{query}")
    assert answer.status == 200, answer.body
    return answer.json


def state(daemon, sandbox):
    return get(daemon, sandbox)["state"]


def seconds_until(iso):
    return (datetime.fromisoformat(iso) - datetime.now(timezone.utc)).total_seconds()


TICKER = "setsid sh -c 'while :; do date +%s.%N >> /tmp/ticks; sleep 0.03; done' >/dev/null 2>&1 &"


def ticks(daemon, sandbox):
    return [float(x) for x in daemon.run(sandbox, "cat /tmp/ticks")["stdout"].split()]


def first_process(daemon, sandbox):
    """PID 1 of the sandbox as the host sees it: the first of the namespace that a program of ours is in."""
    daemon.run(sandbox, "setsid sleep 5432 >/dev/null 2>&1 & sleep 0.1")
    tree = daemon.tree()
    (sleeper,) = [p for p in tree if Path(f"/proc/{p}/cmdline").read_bytes() == b"sleep\0" b"5432\0"]
    inside = os.readlink(f"/proc/{sleeper}/ns/pid")
    (first,) = [p for p in tree if os.readlink(f"/proc/{p}/ns/pid") == inside and "\t1\n" in Path(f"/proc/{p}/status").read_text().partition("NSpid:")[2].partition("NSpgid")[0]]
    return first


def test_nothing_inside_runs_while_it_is_paused(daemon, sandbox):
    daemon.run(sandbox, TICKER)
    assert eventually(lambda: len(ticks(daemon, sandbox)) > 5)
    pause(daemon, sandbox)
    begun = time.time()
    got = get(daemon, sandbox)
    assert got["state"] == "paused" and got["end_at"] is None and abs(seconds_until(got["paused_at"])) < 5
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": False}
    time.sleep(1.2)
    ended = time.time()
    assert resume(daemon, sandbox) == {"resumed": True, "sandbox_id": sandbox, "node_id": "local", "snapshot_id": None}
    assert state(daemon, sandbox) == "running" and "paused_at" not in get(daemon, sandbox)
    assert daemon.request("GET", f"/sandboxes/{sandbox}/status").json == {"is_running": True}
    assert eventually(lambda: ticks(daemon, sandbox)[-1] > ended), "it goes on where it was"
    assert not [t for t in ticks(daemon, sandbox) if begun < t < ended]


def test_a_command_that_runs_is_held_and_goes_on(daemon, sandbox, in_background):
    answers = []
    cmd = "echo begun > /tmp/on; for i in 1 2 3 4 5 6; do sleep 0.1; echo $i; done"
    in_background(lambda: answers.append(daemon.run(sandbox, cmd)))
    assert eventually(lambda: daemon.run(sandbox, "cat /tmp/on")["stdout"] == "begun\n")
    pause(daemon, sandbox)
    time.sleep(1.5)
    assert not answers
    resume(daemon, sandbox)
    assert eventually(lambda: answers)
    assert answers[0]["stdout"] == "1\n2\n3\n4\n5\n6\n" and answers[0]["exit_code"] == 0


PAUSED_409 = [
    ("POST", "/commands", {"cmd": "true"}),
    ("GET", "/commands", None),
    ("GET", "/files?path=/etc/passwd", None),
    ("POST", "/files", {"path": "/tmp/x", "data": "x"}),
    ("GET", "/files/raw?path=/etc/passwd", None),
    ("PUT", "/files/raw?path=/tmp/x", b"x"),
]


def test_operations_are_refused_while_it_is_paused(daemon, sandbox):
    pause(daemon, sandbox)
    for method, below, body in PAUSED_409:
        answer = daemon.request(method, f"/sandboxes/{sandbox}{below}", body)
        assert (answer.status, answer.code) == (409, "sandbox_paused"), (method, below, answer.body)
    assert state(daemon, sandbox) == "paused"
    resume(daemon, sandbox)
    assert daemon.run(sandbox, "test -e /tmp/x || echo none")["stdout"] == "none\n"


def test_twice_and_out_of_turn(daemon, sandbox):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/resume")
    assert (answer.status, answer.code) == (409, "not_paused")
    pause(daemon, sandbox)
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/pause")
    assert (answer.status, answer.code) == (409, "not_pausable")
    assert state(daemon, sandbox) == "paused"
    resume(daemon, sandbox)
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/resume")
    assert (answer.status, answer.code) == (409, "not_paused")
    for _ in range(5):
        pause(daemon, sandbox)
        resume(daemon, sandbox)
    assert daemon.run(sandbox, "echo fine")["stdout"] == "fine\n"


@pytest.mark.parametrize("what", ["pause", "resume"])
def test_of_one_that_is_killed_or_never_was(daemon, what):
    sandbox = daemon.create()["sandbox_id"]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/{what}")
    assert (answer.status, answer.code) == (410, "sandbox_killed")
    answer = daemon.request("POST", f"/sandboxes/sbx-nothing1/{what}")
    assert (answer.status, answer.code) == (404, "sandbox_not_found")
    assert daemon.request("POST", f"/sandboxes/{sandbox}/{what}", key=None).status == 401
    assert daemon.request("GET", f"/sandboxes/{sandbox}/{what}").status == 405


@pytest.mark.parametrize("body", [b"", b"{}", b'{"x":1}', b"no json"])
def test_a_body_is_of_no_matter(daemon, sandbox, body):
    headers = {"Content-Type": "application/json"}
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause", body, headers).status == 200
    assert daemon.request("POST", f"/sandboxes/{sandbox}/resume", body, headers).status == 200


def test_the_list_knows_the_paused(daemon):
    for left in daemon.ids("?state=all&limit=1000"):
        daemon.request("DELETE", f"/sandboxes/{left}")
    one, two, three = [daemon.create(metadata={"list": "paused"})["sandbox_id"] for _ in range(3)]
    mine = "metadata.list=paused"
    pause(daemon, two)
    daemon.request("DELETE", f"/sandboxes/{three}")
    assert daemon.ids(f"?{mine}") == [one, two], "killed ones are hidden unless asked for, paused ones are not"
    assert daemon.ids(f"?{mine}&state=paused") == [two]
    assert daemon.ids(f"?{mine}&state=live") == daemon.ids(f"?{mine}&state=running") == [one]
    assert daemon.ids(f"?{mine}&state=killed") == [three]
    assert daemon.ids(f"?{mine}&state=running&state=paused") == daemon.ids(f"?{mine}&state=live,paused") == [one, two]
    assert daemon.ids(f"?{mine}&state=paused&state=killed") == [two, three]
    assert daemon.ids(f"?{mine}&state=all") == [one, two, three]
    page = daemon.request("GET", f"/sandboxes?{mine}&state=all&limit=1&offset=1").json
    assert [(s["sandbox_id"], s["state"], s["end_at"]) for s in page["sandboxes"]] == [(two, "paused", None)] and page["total"] == 3
    assert daemon.request("GET", "/health").json["sandboxes"] == 2
    daemon.request("POST", "/sandboxes/kill-many", {"sandbox_ids": [one, two]})


def test_a_kill_while_it_is_paused_leaves_nothing(daemon):
    before = set(daemon.footprint().cgroups())
    sandbox = daemon.create()["sandbox_id"]
    daemon.run(sandbox, "for i in 1 2 3; do setsid sleep 8765 >/dev/null 2>&1 & done; sleep 0.1")

    def sleepers():
        return [p for p in daemon.tree() if Path(f"/proc/{p}/cmdline").read_bytes() == b"sleep\0" b"8765\0"]

    assert len(sleepers()) == 3
    (line,) = [x for x in Path(f"/proc/{sleepers()[0]}/cgroup").read_text().splitlines() if x.startswith("0::")]
    ours = line.rpartition("/")[2]
    assert any(c.endswith("/" + ours) for c in daemon.footprint().cgroups())
    pause(daemon, sandbox)
    answer = daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert (answer.status, answer.json) == (200, {"killed": True})
    assert sleepers() == []
    got = get(daemon, sandbox)
    assert got["state"] == "killed" and got["kill_reason"] == "killed" and got["end_at"] == got["killed_at"] and "paused_at" not in got
    assert eventually(lambda: not any(c.endswith("/" + ours) for c in daemon.footprint().cgroups())), before
    again = daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert (again.status, again.json) == (200, {"killed": True})


@pytest.mark.parametrize("how", ["async", "many"])
def test_other_ways_to_kill_a_paused_one(daemon, how):
    sandbox = daemon.create()["sandbox_id"]
    pause(daemon, sandbox)
    if how == "async":
        assert daemon.request("DELETE", f"/sandboxes/{sandbox}?async=true").json == {"queued": True}
    else:
        assert daemon.request("POST", "/sandboxes/kill-many", {"sandbox_ids": [sandbox]}).json["results"] == {sandbox: {"killed": True}}
    assert state(daemon, sandbox) == "killed"
    assert eventually(lambda: sandbox in daemon.ids("?state=killed&limit=1000"))


def test_a_paused_one_whose_first_process_dies(daemon):
    sandbox = daemon.create()["sandbox_id"]
    first = first_process(daemon, sandbox)
    pause(daemon, sandbox)
    os.kill(first, 9)
    assert eventually(lambda: state(daemon, sandbox) == "killed")
    assert get(daemon, sandbox)["kill_reason"] == "exited"


def test_its_time_stands_still(daemon):
    sandbox = daemon.create(timeout=2)["sandbox_id"]
    pause(daemon, sandbox)
    time.sleep(2.5)
    assert state(daemon, sandbox) == "paused"
    resume(daemon, sandbox)
    got = get(daemon, sandbox)
    assert got["timeout"] == 2 and 1 < seconds_until(got["end_at"]) <= 2
    time.sleep(1)
    assert state(daemon, sandbox) == "running"
    assert eventually(lambda: state(daemon, sandbox) == "killed", 3)
    assert get(daemon, sandbox)["kill_reason"] == "timeout"


def test_a_new_timeout_while_it_is_paused(daemon):
    sandbox = daemon.create(timeout=60)["sandbox_id"]
    pause(daemon, sandbox)
    assert daemon.request("PATCH", f"/sandboxes/{sandbox}/timeout", {"timeout": 500}).json == {"ok": True}
    got = get(daemon, sandbox)
    assert got["timeout"] == 500 and got["end_at"] is None and got["state"] == "paused"
    assert get(daemon, sandbox, "?timeout=400")["timeout"] == 500, "a connect extends, and does not wake"
    assert get(daemon, sandbox, "?timeout=600")["timeout"] == 600
    assert state(daemon, sandbox) == "paused"
    resume(daemon, sandbox)
    assert 590 < seconds_until(get(daemon, sandbox)["end_at"]) <= 600
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_paused_at_its_deadline(daemon):
    sandbox = daemon.create(timeout=1, lifecycle={"on_timeout": "pause"})["sandbox_id"]
    assert get(daemon, sandbox)["lifecycle"] == {"on_timeout": "pause", "auto_resume": False}
    daemon.run(sandbox, "echo kept > /dev/shm/kept; " + TICKER)
    begun = time.monotonic()
    assert eventually(lambda: state(daemon, sandbox) == "paused", 3)
    assert time.monotonic() - begun < 2
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"})
    assert (answer.status, answer.code) == (409, "sandbox_paused")
    time.sleep(1.5)
    assert state(daemon, sandbox) == "paused", "it is not killed at a second one"
    resume(daemon, sandbox)
    assert daemon.run(sandbox, "cat /dev/shm/kept")["stdout"] == "kept\n", "memory stays"

    def longest():
        seen = ticks(daemon, sandbox)
        return max(b - a for a, b in zip(seen, seen[1:]))

    assert eventually(lambda: longest() > 1, 0.8), "the first tick after it comes when it comes"
    assert eventually(lambda: state(daemon, sandbox) == "paused", 3), "and at the next one again"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_longer_timeout_puts_the_pause_off(daemon):
    sandbox = daemon.create(timeout=1, lifecycle={"on_timeout": "pause"})["sandbox_id"]
    daemon.request("PATCH", f"/sandboxes/{sandbox}/timeout", {"timeout": 60})
    time.sleep(1.5)
    assert state(daemon, sandbox) == "running"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


@pytest.mark.parametrize("method, below, body", [*PAUSED_409])
def test_a_request_wakes_one_that_asked_for_it(daemon, method, below, body):
    sandbox = daemon.create(timeout=60, lifecycle={"auto_resume": True})["sandbox_id"]
    pause(daemon, sandbox)
    for quiet in ("", "/status", "/network", "/metrics", "/network/log"):
        assert daemon.request("GET", f"/sandboxes/{sandbox}{quiet}").status == 200
    assert state(daemon, sandbox) == "paused", "looking at it wakes nothing"
    answer = daemon.request(method, f"/sandboxes/{sandbox}{below}", body)
    assert answer.status == 200, answer.body
    got = get(daemon, sandbox)
    assert got["state"] == "running" and 50 < seconds_until(got["end_at"]) <= 60
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_to_and_fro(daemon):
    """Paused at each deadline, woken by each command."""
    sandbox = daemon.create(timeout=1, lifecycle={"on_timeout": "pause", "auto_resume": True})["sandbox_id"]
    for i in range(3):
        assert eventually(lambda: state(daemon, sandbox) == "paused", 3)
        assert daemon.run(sandbox, f"echo {i} >> /tmp/turns; cat /tmp/turns")["stdout"].split() == [str(n) for n in range(i + 1)]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_many_requests_wake_it_once(daemon):
    sandbox = daemon.create(lifecycle={"auto_resume": True})["sandbox_id"]
    pause(daemon, sandbox)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "echo x"}))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert [(a.status, a.json["stdout"]) for a in answers] == [(200, "x\n")] * 8
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_paused_resumed_and_killed_at_one_time(daemon):
    """Whatever comes first: documented answers alone, one end, nothing left hanging."""
    for _ in range(6):
        sandbox = daemon.create(lifecycle={"auto_resume": True})["sandbox_id"]
        answers = []

        def ask(method, below, body=None):
            answers.append((below, daemon.request(method, f"/sandboxes/{sandbox}{below}", body, timeout=20)))

        work = [("POST", "/pause"), ("POST", "/resume"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/commands", {"cmd": "true", "timeout": 5}), ("DELETE", ""), ("POST", "/pause")]
        threads = [threading.Thread(target=ask, args=w) for w in work]
        for t in threads:
            t.start()
        for t in threads:
            t.join(20)
            assert not t.is_alive()
        for below, a in answers:
            fine = {"/pause": [(200, None), (409, "not_pausable"), (410, "sandbox_killed")], "/resume": [(200, None), (409, "not_paused"), (410, "sandbox_killed")],
                    "/commands": [(200, None), (410, "sandbox_killed"), (410, "sandbox_gone")], "": [(200, None)]}[below]
            assert (a.status, None if a.status == 200 else a.code) in fine, (below, a.body)
        assert state(daemon, sandbox) == "killed"


def test_paused_and_resumed_by_many(daemon, sandbox):
    done = {200: 0, 409: 0}
    lock = threading.Lock()

    def work(what):
        for _ in range(10):
            answer = daemon.request("POST", f"/sandboxes/{sandbox}/{what}", timeout=20)
            with lock:
                done[answer.status] += 1

    threads = [threading.Thread(target=work, args=(what,)) for what in ("pause", "resume") * 3]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    assert sum(done.values()) == 60 and done[200] > 0
    if state(daemon, sandbox) == "paused":
        resume(daemon, sandbox)
    assert daemon.run(sandbox, "echo alive")["stdout"] == "alive\n"


def test_paused_while_it_is_made(daemon):
    """There is no moment between made and paused in which it is neither."""
    ids, answers = [], []

    def work():
        sandbox = daemon.create()["sandbox_id"]
        ids.append(sandbox)
        answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/pause"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert [a.status for a in answers] == [200] * 6
    assert set(ids) <= set(daemon.ids("?state=paused"))
    daemon.request("POST", "/sandboxes/kill-many", {"sandbox_ids": ids})


def test_twenty_sandboxes(daemon):
    ids = [daemon.create()["sandbox_id"] for _ in range(20)]
    for sandbox in ids:
        daemon.run(sandbox, TICKER.replace("0.03", "0.5"))
    for sandbox in ids:
        pause(daemon, sandbox)
    assert set(daemon.ids("?state=paused&limit=1000")) >= set(ids)
    for sandbox in ids[::2]:
        resume(daemon, sandbox)
    assert {state(daemon, s) for s in ids[::2]} == {"running"} and {state(daemon, s) for s in ids[1::2]} == {"paused"}
    for sandbox in ids[::4]:
        assert daemon.run(sandbox, "echo x")["stdout"] == "x\n"
    assert set(daemon.request("POST", "/sandboxes/kill-many", {"sandbox_ids": ids}).json["results"]) == set(ids)
    assert not set(ids) & set(daemon.ids())


FLOW = r"""
import socket, sys, time
s = socket.create_connection((sys.argv[1], 7), timeout=30)
print("open", flush=True)
with open("/tmp/flow", "a", buffering=1) as log:
    for i in range(100000):
        try:
            s.sendall(b"%07d\n" % i)
            got = b""
            while len(got) < 8:
                part = s.recv(8 - len(got))
                if not part:
                    raise OSError("ended")
                got += part
        except OSError as e:
            log.write(f"error {e}\n")
            break
        log.write(got.decode())
        time.sleep(0.02)
"""


def flow_lines(daemon, sandbox):
    return daemon.run(sandbox, "cat /tmp/flow")["stdout"].splitlines()


@pytest.fixture
def flowing(daemon):
    sandbox = daemon.create(template="python", network={"allow_out": [GITHUB]})["sandbox_id"]
    daemon.request("POST", f"/sandboxes/{sandbox}/files", {"path": "/tmp/flow.py", "data": FLOW})
    daemon.run(sandbox, f"setsid python3 /tmp/flow.py {GITHUB} >/tmp/out 2>&1 &")
    assert eventually(lambda: len(flow_lines(daemon, sandbox)) > 3), daemon.run(sandbox, "cat /tmp/out")
    yield sandbox
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_connection_goes_on(daemon, flowing):
    pause(daemon, flowing)
    time.sleep(2)
    resume(daemon, flowing)
    before = len(flow_lines(daemon, flowing))
    assert eventually(lambda: len(flow_lines(daemon, flowing)) > before + 5)
    lines = flow_lines(daemon, flowing)
    assert [int(x) for x in lines] == list(range(len(lines)))


def test_a_policy_that_changes_meanwhile(daemon, flowing):
    pause(daemon, flowing)
    answer = daemon.request("PUT", f"/sandboxes/{flowing}/network", {"allow_out": []})
    assert answer.status == 200, answer.body
    assert state(daemon, flowing) == "paused", "that wakes nothing"
    assert daemon.request("GET", f"/sandboxes/{flowing}/network").json["enforced"]["flows"] == 0
    resume(daemon, flowing)
    assert eventually(lambda: flow_lines(daemon, flowing)[-1].startswith("error"), 10)
    answer = daemon.request("PATCH", f"/sandboxes/{flowing}/network", {"add": {"allow_out": [GITHUB]}})
    assert answer.status == 200


def test_the_gate_dies_while_it_is_paused(daemon):
    sandbox = daemon.create(template="python", network={"allow_out": [GITHUB]})["sandbox_id"]
    pause(daemon, sandbox)
    old = daemon.gate_pid()
    os.kill(old, 9)
    assert eventually(lambda: daemon.gate_pid() not in (None, old) and daemon.request("GET", "/health", key=None).json["gate"] == "up", 20)
    assert eventually(lambda: daemon.request("GET", f"/sandboxes/{sandbox}/network").json["enforced"], 20)
    resume(daemon, sandbox)
    reach = f"import socket; s = socket.create_connection(('{GITHUB}', 7), timeout=5); s.sendall(b'x'); print(s.recv(1))"
    assert daemon.run(sandbox, f'python3 -c "{reach}"')["stdout"] == "b'x'\n"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_restart_kills_the_paused_like_all_others(make_daemon):
    d = make_daemon()
    sandbox = d.create()["sandbox_id"]
    pause(d, sandbox)
    footprint = d.footprint()
    assert d.stop(remove=False) == 0
    assert not footprint.left()
    again = make_daemon(data=d.data)
    got = get(again, sandbox)
    assert got["state"] == "killed" and got["kill_reason"] == "server stopped"
    other = again.create()["sandbox_id"]
    pause(again, other)
    footprint = again.footprint()
    again.process.kill()
    again.process.wait()
    assert eventually(lambda: not footprint.left()), footprint.left()
    third = make_daemon(data=d.data)
    assert get(third, other)["kill_reason"] == "server restarted" and third.ids("?state=paused") == []


def test_a_stop_while_one_is_being_woken(make_daemon, in_background):
    d = make_daemon()
    ids = [d.create(timeout=1, lifecycle={"on_timeout": "pause", "auto_resume": True})["sandbox_id"] for _ in range(5)]
    for sandbox in ids:
        in_background(lambda s=sandbox: d.request("POST", f"/sandboxes/{s}/commands", {"cmd": "sleep 30"}))
    time.sleep(1)
    begun = time.monotonic()
    assert d.stop(remove=False) == 0
    assert time.monotonic() - begun < 9


# ---- metrics


def metrics(daemon, sandbox, query="", **headers):
    answer = daemon.request("GET", f"/sandboxes/{sandbox}/metrics{query}", headers=headers)
    assert answer.status == 200, answer.body
    return answer.json


def test_metrics_are_what_the_host_counts(daemon, sandbox):
    first = metrics(daemon, sandbox)[-1]
    assert set(first) == {"timestamp", "cpu_usage_percent", "memory_usage_mb", "disk_usage_mb"}
    assert abs(seconds_until(first["timestamp"])) < 5 and first["timestamp"].endswith("+00:00")
    assert all(isinstance(first[k], float) and first[k] >= 0 for k in first if k != "timestamp")
    daemon.run(sandbox, "head -c 50000000 /dev/zero > /tmp/fifty")
    second = metrics(daemon, sandbox)[-1]
    assert 45 < second["disk_usage_mb"] - first["disk_usage_mb"] < 60
    assert second["memory_usage_mb"] - first["memory_usage_mb"] < 30, "files are not counted twice"
    daemon.run(sandbox, "setsid sh -c 'while :; do :; done' >/dev/null 2>&1 &")
    assert eventually(lambda: metrics(daemon, sandbox)[-1]["cpu_usage_percent"] > 20, 10)
    daemon.run(sandbox, "python3 -c 'x = bytearray(80 << 20); import time; time.sleep(60)' >/dev/null 2>&1 & sleep 1", timeout=20)
    pause(daemon, sandbox)
    # A sample's share is of the time since the one before, which began while it ran.
    assert eventually(lambda: metrics(daemon, sandbox)[-1]["cpu_usage_percent"] == 0, 15)
    held = metrics(daemon, sandbox)
    assert held[-1]["disk_usage_mb"] > 45
    assert metrics(daemon, sandbox)[-1]["timestamp"] > held[-1]["timestamp"], "one of this moment, also while it is paused"


def test_metrics_of_a_while(daemon, sandbox):
    assert eventually(lambda: len(metrics(daemon, sandbox)) > 5)
    all_of_them = metrics(daemon, sandbox)
    times = [s["timestamp"] for s in all_of_them]
    assert times == sorted(times) and len(set(times)) == len(times)
    some = metrics(daemon, sandbox, f"?start={times[2].replace('+', '%2B')}&end={times[4].replace('+', '%2B')}")
    assert [s["timestamp"] for s in some] == times[2:5]
    future = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert metrics(daemon, sandbox, f"?start={future}") == []
    assert len(metrics(daemon, sandbox, f"?end={future}")) >= len(all_of_them)
    for bad in ("start=yesterday", "end=", "start=2026-13-01T00:00:00Z"):
        answer = daemon.request("GET", f"/sandboxes/{sandbox}/metrics?{bad}")
        assert (answer.status, answer.code) == (400, "invalid_field") and bad.split("=")[0] in answer.message


@pytest.mark.parametrize("agent", ["Go-http-client/1.1", "Go-http-client/2.0"])
def test_one_client_gets_one_object(daemon, sandbox, agent):
    got = metrics(daemon, sandbox, **{"User-Agent": agent})
    assert isinstance(got, dict) and set(got) == {"timestamp", "cpu_usage_percent", "memory_usage_mb", "disk_usage_mb"}
    assert isinstance(metrics(daemon, sandbox, **{"User-Agent": "python-httpx/0.27"}), list)


def test_metrics_of_one_that_is_gone(daemon):
    sandbox = daemon.create()["sandbox_id"]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answer = daemon.request("GET", f"/sandboxes/{sandbox}/metrics")
    assert (answer.status, answer.code) == (410, "sandbox_killed")
    assert daemon.request("GET", "/sandboxes/sbx-nothing1/metrics").status == 404
    assert json.loads(answer.body)["message"]
