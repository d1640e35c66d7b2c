# SPDX-License-Identifier: Apache-2.0
"""Files as E2B's clients list, move and watch them: the Connect protocol, byte by byte."""

import datetime
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from conftest import eventually, parent
from connect_client import CallError, Envd

FS = "filesystem.Filesystem/"


@pytest.fixture(scope="module")
def envd(daemon):
    return Envd(daemon, daemon.create(timeout=3600))


@pytest.fixture
def folder(envd, request):
    name = "/tmp/" + re.sub(r"\W", "-", request.node.name)[:80]
    assert envd.run(f"mkdir {name}").end["exitCode"] == 0
    return name


def call(envd, method, **fields):
    return envd.call(FS + method, **fields)


def fails(code, envd, method, **fields):
    with pytest.raises(CallError) as e:
        call(envd, method, **fields)
    assert e.value.code == code, e.value
    return e.value


def test_what_a_file_is(envd, folder):
    envd.run(f"printf hello > {folder}/f; chmod 2640 {folder}/f; touch -d 2020-01-02T03:04:05.678Z {folder}/f")
    entry = call(envd, "Stat", path=f"{folder}//./x/../f")["entry"]
    when = datetime.datetime.fromisoformat(entry.pop("modifiedTime").replace("Z", "+00:00"))
    assert when == datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, datetime.timezone.utc)
    assert entry == {"name": "f", "type": "FILE_TYPE_FILE", "path": f"{folder}/f", "size": "5", "mode": 0o2640,
                     "permissions": "grw-r-----", "owner": "user", "group": "user"}


def test_a_directory_and_links(envd, folder):
    envd.run(f"cd {folder}; mkdir d; chmod 1777 d; ln -s d to-d; ln -s nowhere broken; truncate -s 5000000000 large; mkfifo pipe")
    d = call(envd, "Stat", path=f"{folder}/d")["entry"]
    assert (d["type"], d["permissions"], d["mode"]) == ("FILE_TYPE_DIRECTORY", "dtrwxrwxrwx", 0o1777)
    link = call(envd, "Stat", path=f"{folder}/to-d")["entry"]
    assert (link["type"], link["symlinkTarget"], link["permissions"]) == ("FILE_TYPE_DIRECTORY", "d", "Lrwxrwxrwx")
    assert call(envd, "Stat", path=f"{folder}/broken")["entry"]["symlinkTarget"] == "nowhere"
    # More than 32 bits, as text.
    assert call(envd, "Stat", path=f"{folder}/large")["entry"]["size"] == "5000000000"
    assert call(envd, "Stat", path=f"{folder}/pipe")["entry"]["type"] == "FILE_TYPE_FILE"
    assert call(envd, "Stat", path="/")["entry"]["name"] == "/"


def test_paths_and_users(envd, daemon):
    root = Envd(daemon, {"sandbox_id": envd.id, "envd_access_token": envd.token}, user="root")
    assert call(envd, "Stat", path="~")["entry"]["path"] == "/home/user"
    assert call(envd, "Stat")["entry"]["path"] == "/home/user"
    assert call(envd, "Stat", path="")["entry"]["path"] == "/home/user"
    assert call(root, "Stat", path=".")["entry"]["path"] == "/root"
    assert call(envd, "MakeDir", path="~/mine/below")["entry"]["path"] == "/home/user/mine/below"
    assert call(root, "MakeDir", path="/root/theirs")["entry"]["owner"] == "root"
    fails("permission_denied", envd, "MakeDir", path="/root/no")
    fails("permission_denied", envd, "Stat", path="/root/theirs")
    fails("invalid_argument", envd, "Stat", path="../x")
    fails("invalid_argument", envd, "Stat", path="a" * 5000)
    fails("invalid_argument", envd, "Stat", path="a\0b")
    fails("invalid_argument", envd, "Stat", path=["x"])


def test_what_is_not_there(envd, folder):
    envd.run(f"touch {folder}/f")
    for method in ("Stat", "ListDir"):
        assert fails("not_found", envd, method, path=f"{folder}/none").status == 404
    assert fails("not_found", envd, "Stat", path=f"{folder}/f/below").status == 404
    fails("not_found", envd, "Move", source=f"{folder}/none", destination=f"{folder}/x/y")
    fails("not_found", envd, "Stat", path=f"{folder}/x")  # and no directory was made for it
    fails("invalid_argument", envd, "ListDir", path=f"{folder}/f")


def test_making(envd, folder):
    made = call(envd, "MakeDir", path=f"{folder}/a/b")["entry"]
    assert (made["path"], made["type"]) == (f"{folder}/a/b", "FILE_TYPE_DIRECTORY")
    assert fails("already_exists", envd, "MakeDir", path=f"{folder}/a").status == 409
    envd.run(f"touch {folder}/f")
    fails("invalid_argument", envd, "MakeDir", path=f"{folder}/f")
    fails("invalid_argument", envd, "MakeDir", path=f"{folder}/f/x")


def test_moving(envd, folder):
    envd.run(f"echo one > {folder}/one; mkdir -p {folder}/d/e")
    moved = call(envd, "Move", source=f"{folder}/one", destination=f"{folder}/new/below/two")["entry"]
    assert (moved["name"], moved["path"], moved["size"]) == ("two", f"{folder}/new/below/two", "4")
    assert call(envd, "Move", source=f"{folder}/d", destination=f"{folder}/new/d")["entry"]["type"] == "FILE_TYPE_DIRECTORY"
    fails("failed_precondition", envd, "Move", source=f"{folder}/new/below", destination=f"{folder}/new/d")
    fails("invalid_argument", envd, "Move", source=f"{folder}/new", destination=f"{folder}/new/d/inside")


def test_removing(envd, folder):
    envd.run(f"mkdir -p {folder}/a/b/c; touch {folder}/a/b/f")
    assert call(envd, "Remove", path=f"{folder}/a") == {}
    fails("not_found", envd, "Stat", path=f"{folder}/a")
    assert call(envd, "Remove", path=f"{folder}/a") == {}
    fails("invalid_argument", envd, "Remove", path="/")
    fails("permission_denied", envd, "Remove", path="/etc/passwd")


def test_listing(envd, folder):
    envd.run(f"cd {folder}; mkdir -p a/b/c; touch a/f z")
    names = lambda **f: [e["path"][len(folder) + 1:] for e in call(envd, "ListDir", path=folder, **f)["entries"]]
    assert names() == names(depth=0) == names(depth="1") == ["a", "z"]
    assert names(depth=2) == ["a", "a/b", "a/f", "z"]
    assert names(depth=4294967295) == ["a", "a/b", "a/b/c", "a/f", "z"]
    fails("invalid_argument", envd, "ListDir", path=folder, depth=-1)
    assert call(envd, "ListDir", path=folder + "/a/b/c") == {"entries": []}
    envd.run(f"cd {folder}/a/b/c; seq 5000 | xargs touch")
    assert len(call(envd, "ListDir", path=folder + "/a/b/c")["entries"]) == 5000


def under_way(daemon):
    text = daemon.request("GET", "/metrics").body.decode()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("declaw_http_requests_active ")))


def watch(envd, path, **fields):
    s = envd.stream(FS + "WatchDir", path=path, **fields)
    assert s.next() == {"start": {}}
    return s


def events(s, n):
    found = []
    while len(found) < n:
        message = s.next()
        if "filesystem" in message:
            found.append((message["filesystem"]["type"].removeprefix("EVENT_TYPE_"), message["filesystem"]["name"]))
    return found


def test_watching(envd, folder):
    with watch(envd, folder) as s:
        envd.run(f"cd {folder}; echo x > f; chmod 600 f; mv f g; rm g; mkdir d")
        assert events(s, 7) == [("CREATE", "f"), ("WRITE", "f"), ("CHMOD", "f"), ("RENAME", "f"), ("CREATE", "g"), ("REMOVE", "g"), ("CREATE", "d")]
        envd.run(f"touch {folder}/d/below; touch {folder}/last")
        assert events(s, 1) == [("CREATE", "last")]


def test_watching_all_below_with_entries(envd, folder):
    envd.run(f"mkdir {folder}/d")
    with watch(envd, folder, recursive=True, includeEntry=True) as s:
        envd.run(f"mkdir {folder}/d/e; printf hello > {folder}/d/e/f")
        seen = {}
        while "entry" not in seen.get("d/e/f", {}):
            event = s.next()["filesystem"]
            seen[event["name"]] = event
        assert seen["d/e"]["entry"]["type"] == "FILE_TYPE_DIRECTORY"
        assert seen["d/e/f"]["entry"]["path"] == f"{folder}/d/e/f"
        envd.run(f"rm {folder}/d/e/f")
        event = s.next()["filesystem"]
        while event["type"] != "EVENT_TYPE_REMOVE":
            event = s.next()["filesystem"]
        assert "entry" not in event


def test_the_end_of_a_watch(envd, folder):
    envd.run(f"mkdir {folder}/d")
    with watch(envd, f"{folder}/d") as s:
        envd.run(f"rmdir {folder}/d")
        with pytest.raises(CallError) as e:
            s.next()
        assert e.value.code == "not_found"
    with envd.stream(FS + "WatchDir", _headers={"Connect-Timeout-Ms": "200"}, path=folder) as s:
        assert s.next() == {"start": {}}
        with pytest.raises(CallError) as e:
            s.next()
        assert e.value.code == "deadline_exceeded"
    with envd.stream(FS + "WatchDir", _headers={"Keepalive-Ping-Interval": "1"}, path=folder) as s:
        assert (s.next(), s.next()) == ({"start": {}}, {"keepalive": {}})


@pytest.mark.parametrize("path,code", [("none", "not_found"), ("f", "invalid_argument"), ("../x", "invalid_argument")])
def test_what_can_not_be_watched(envd, folder, path, code):
    envd.run(f"touch {folder}/f")
    with pytest.raises(CallError) as e:
        envd.stream(FS + "WatchDir", path=path if path.startswith("..") else f"{folder}/{path}").next()
    assert (e.value.status, e.value.code) == (200, code)


def test_more_happens_than_is_read(envd, folder):
    with watch(envd, folder) as s:
        # Nobody reads: the kernel's queue fills up, and who reads then is told.
        envd.run(f"cd {folder}; for i in $(seq 60); do seq 1000 | sed s/^/$i-/ | xargs touch; done")
        with pytest.raises(CallError) as e:
            for _ in s.messages():
                pass
        assert e.value.code == "data_loss"


def test_who_goes_is_watched_for_no_more(envd, folder, daemon):
    for _ in range(100):
        watch(envd, folder).close()
    # Each is an operation of the sandbox, of which there are fewer: they have ended.
    assert eventually(lambda: envd.run("true").end["exitCode"] == 0)


def test_the_sandbox_ends_meanwhile(daemon):
    e = Envd(daemon, daemon.create())
    with watch(e, "/tmp") as s:
        assert daemon.request("DELETE", f"/sandboxes/{e.id}").status == 200
        with pytest.raises(CallError) as wrong:
            s.next()
        assert wrong.value.code == "unavailable"
    assert fails("unavailable", e, "Stat", path="/").status == 502
    with pytest.raises(CallError) as wrong:
        watch(e, "/tmp")
    assert wrong.value.status == 502


def test_an_agent_that_answers_nonsense(daemon):
    e = Envd(daemon, daemon.create())
    # Whoever is root inside can end what serves the request; the daemon says so, and goes on.
    root = Envd(daemon, {"sandbox_id": e.id, "envd_access_token": e.token}, user="root")
    with watch(e, "/tmp") as s:
        assert root.run("pkill -KILL -P 1 -u user").end is not None
        with pytest.raises(CallError) as wrong:
            s.next()
        assert wrong.value.code == "unavailable"
    assert daemon.request("GET", "/health").status == 200


def test_the_token_alone_opens(envd):
    e = Envd(envd.daemon, {"sandbox_id": envd.id, "envd_access_token": "x"})
    for method in ("Stat", "MakeDir", "Move", "ListDir", "Remove"):
        assert fails("unauthenticated", e, method, path="/tmp").status == 401
    with pytest.raises(CallError) as wrong:
        watch(e, "/tmp")
    assert wrong.value.status == 401


def fetched(envd, watcher, n):
    """At least n events, by as many calls as it takes."""
    found = []
    deadline = time.monotonic() + 10
    while len(found) < n and time.monotonic() < deadline:
        found += call(envd, "GetWatcherEvents", watcherId=watcher)["events"]
    return found


def test_a_watcher_that_is_asked(envd, folder):
    watcher = call(envd, "CreateWatcher", path=folder, recursive=True)["watcherId"]
    assert call(envd, "GetWatcherEvents", watcherId=watcher) == {"events": []}
    envd.run(f"cd {folder}; echo x > f; mkdir d; touch d/g")
    found = fetched(envd, watcher, 4)
    assert [(e["type"], e["name"]) for e in found][:3] == [("EVENT_TYPE_CREATE", "f"), ("EVENT_TYPE_WRITE", "f"), ("EVENT_TYPE_CREATE", "d")]
    assert ("EVENT_TYPE_CREATE", "d/g") in [(e["type"], e["name"]) for e in found]
    assert all("entry" not in e for e in found)
    assert call(envd, "RemoveWatcher", watcher_id=watcher) == {}
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        assert fails("not_found", envd, method, watcherId=watcher).status == 404


def test_a_watcher_with_entries(envd, folder):
    watcher = call(envd, "CreateWatcher", path=folder, include_entry=True)["watcherId"]
    envd.run(f"printf hello > {folder}/f")
    assert fetched(envd, watcher, 2)[0]["entry"]["path"] == f"{folder}/f"
    call(envd, "RemoveWatcher", watcherId=watcher)


def test_an_answer_has_a_bound_in_bytes(envd, folder):
    """Each name becomes six times as long in JSON, and is told three times."""
    deep = folder + ("/" + "\1" * 250) * 13
    envd.run(f"""python3 - {folder} <<'E'
import os, sys
deep = sys.argv[1] + ("/" + chr(1) * 250) * 13
os.makedirs(deep)
for name in ("a", "b"):
    open(deep + "/" + name, "w").close()
E""")
    watcher = call(envd, "CreateWatcher", path=folder, recursive=True, includeEntry=True)["watcherId"]
    envd.run(f"""python3 - {folder} <<'E'
import os, sys
deep = sys.argv[1] + ("/" + chr(1) * 250) * 13
for i in range(150):
    os.chmod(deep + "/" + "ab"[i % 2], 0o600 + i)
E""")
    found, largest = [], 0
    deadline = time.monotonic() + 20
    while len(found) < 150 and time.monotonic() < deadline:
        answer = envd.raw("/" + FS + "GetWatcherEvents", json.dumps({"watcherId": watcher}).encode())
        assert answer.status == 200, answer.body[:500]
        largest = max(largest, len(answer.body))
        found += [(e["type"], e["entry"]["path"]) for e in answer.json["events"]]
    # All of them, and not at once.
    assert found == [("EVENT_TYPE_CHMOD", f"{deep}/{'ab'[i % 2]}") for i in range(150)]
    assert 1 << 20 <= largest < 5 << 18
    call(envd, "RemoveWatcher", watcherId=watcher)


def stopped_agent(daemon, envd):
    """The sandbox's agent: what it has begun goes on while it is stopped, and nothing new begins."""
    with envd.start("exec sleep 3456.789") as s:
        s.pid()
        # What the agent has only forked is not the program yet.
        (pid,) = eventually(lambda: [p for p, name in daemon.tree().items() if name == "sleep" and b"3456.789" in Path(f"/proc/{p}/cmdline").read_bytes()])
    while re.search(r"^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.M)[1] != "1":
        pid = parent(pid)
    assert pid in daemon.tree()
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_watcher_of_a_sandbox_that_is_slow(make_daemon, in_background):
    """An entry is asked of the sandbox for each event: that neither keeps a call from its end, nor one whose client has gone."""
    d = make_daemon(env={"DECLAW_TEST_OP_STALL_MS": "400"})
    e = Envd(d, d.create(timeout=3600))
    e.run("mkdir /tmp/slow")
    watcher = call(e, "CreateWatcher", path="/tmp/slow", includeEntry=True)["watcherId"]
    e.run("for i in $(seq 50); do mkdir /tmp/slow/$i; done")
    agent = stopped_agent(d, e)
    try:
        begun, found = time.monotonic(), []
        first = in_background(lambda: found.extend(call(e, "GetWatcherEvents", watcherId=watcher)["events"]))
        assert eventually(lambda: under_way(d) == 2)
        assert fails("failed_precondition", e, "GetWatcherEvents", watcherId=watcher).status == 409
        first.join(30)
        assert 0 < len(found) < 10 and time.monotonic() - begun < 5
        # Nobody waits for this one.
        connection = d.connect()
        connection.request("POST", "/e2b/" + FS + "GetWatcherEvents", json.dumps({"watcherId": watcher}), {**e.headers, "Content-Type": "application/json"})
        assert eventually(lambda: under_way(d) == 2)
        begun = time.monotonic()
        connection.close()
        assert eventually(lambda: under_way(d) == 1) and time.monotonic() - begun < 0.35
    finally:
        os.kill(agent, signal.SIGCONT)
    assert e.run("true").end["exitCode"] == 0
    assert call(e, "GetWatcherEvents", watcherId=watcher)["events"][-1]["entry"]["path"] == "/tmp/slow/50"


def test_what_may_have_been_done_is_not_to_be_repeated(make_daemon, in_background):
    """502 is for a sandbox that does not run: clients ask again then."""
    d = make_daemon(env={"DECLAW_TEST_OP_STALL_MS": "2000"})
    e = Envd(d, d.create(timeout=3600))
    agent = stopped_agent(d, e)
    try:
        with pytest.raises(CallError) as wrong:
            e.run("echo x >> /tmp/ran")
        # It does run when the sandbox has time.
        assert (wrong.value.status, wrong.value.code) == (200, "deadline_exceeded") and "may run" in wrong.value.message
    finally:
        os.kill(agent, signal.SIGCONT)
    assert e.run("true").end["exitCode"] == 0
    os.kill(agent, signal.SIGSTOP)
    try:
        wrong = []
        asked = in_background(lambda: wrong.append(fails("unavailable", e, "MakeDir", path="/tmp/made")))
        assert eventually(lambda: under_way(d) == 2)
        assert d.request("POST", f"/sandboxes/{e.id}/pause").status == 200
        asked.join(30)
        assert wrong[0].status == 409 and "paused" in wrong[0].message
    finally:
        os.kill(agent, signal.SIGCONT)


def test_the_end_of_what_a_watcher_watches(envd, folder):
    envd.run(f"mkdir {folder}/d")
    watcher = call(envd, "CreateWatcher", path=f"{folder}/d")["watcherId"]
    envd.run(f"touch {folder}/d/f; rm -r {folder}/d")
    # What came before the end is told first, and the end as often as it is asked for.
    assert fetched(envd, watcher, 1)[0]["type"] == "EVENT_TYPE_CREATE"
    for _ in range(2):
        assert eventually(lambda: ended(envd, watcher))
    call(envd, "RemoveWatcher", watcherId=watcher)


def ended(envd, watcher):
    try:
        call(envd, "GetWatcherEvents", watcherId=watcher)
    except CallError as e:
        assert e.code == "not_found" and "removed" in e.message
        return True
    return False


def test_whose_watcher_it_is(envd, daemon, folder):
    watcher = call(envd, "CreateWatcher", path=folder)["watcherId"]
    other = Envd(daemon, daemon.create())
    for method in ("GetWatcherEvents", "RemoveWatcher"):
        fails("not_found", other, method, watcherId=watcher)
        fails("invalid_argument", envd, method, watcherId=1)
        fails("not_found", envd, method)
    call(envd, "RemoveWatcher", watcherId=watcher)
    fails("not_found", envd, "CreateWatcher", path=f"{folder}/none")


def test_so_many_watchers_and_no_more(daemon):
    e = Envd(daemon, daemon.create())
    made = [call(e, "CreateWatcher", path="/tmp")["watcherId"] for _ in range(16)]
    assert fails("resource_exhausted", e, "CreateWatcher", path="/tmp").status == 429
    call(e, "RemoveWatcher", watcherId=made[0])
    call(e, "CreateWatcher", path="/tmp")
    # They go with their sandbox.
    assert daemon.request("DELETE", f"/sandboxes/{e.id}").status == 200
    assert fails("unavailable", e, "GetWatcherEvents", watcherId=made[1]).status == 502
