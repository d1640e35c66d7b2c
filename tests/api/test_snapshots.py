# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what of a sandbox's files is in them, how they come back, whose they are, and what is left when one fails."""

import gzip
import io
import os
import tarfile
import threading

import image
import pytest
from conftest import Daemon, eventually
from test_owners import new_key


def snapshot(daemon, sandbox, key=None, path="snapshot"):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/{path}", **({"key": key} if key else {}))
    assert answer.status == 200, answer.body
    return answer.json


def restore(daemon, sandbox, snapshot_id=None):
    query = f"?snapshot_id={snapshot_id}" if snapshot_id else ""
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/restore{query}")
    assert answer.status == 200, answer.body
    return answer.json


def run(daemon, sandbox, cmd):
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": cmd, "user": "root"})
    assert answer.status == 200, answer.body
    assert answer.json["exit_code"] == 0, answer.json
    return answer.json["stdout"]


def files(daemon):
    return sorted(os.listdir(daemon.data / "snapshots"))


CHANGES = r"""set -e; cd /home/user
echo one > plain; chown user plain; chmod 4750 plain; ln plain second; ln -s /nowhere link; mkfifo fifo
python3 -c 'import os; open(b"/home/user/n\xff\n t", "w"); os.setxattr("/home/user/plain", "user.a", b"\0\1")'
rm /etc/shells /usr/bin/env; rm -r /usr/share/doc; mkdir /usr/share/doc; echo mine > /usr/share/doc/mine
dd if=/dev/urandom of=large bs=1M count=100 status=none; sha256sum large > large.sum; truncate -s 1G sparse
touch -d @1000000000 plain"""
LOOK = r"""cd /home/user; stat -c '%n %a %u %g %F %s %h' plain link fifo large; stat -c %Y plain; ls -b; ls /usr/share/doc
ls /etc/shells /usr/bin/env 2>&1; sha256sum -c large.sum; stat -c '%s %b' sparse
python3 -c 'import os; print(os.getxattr("/home/user/plain", "user.a"))'; test plain -ef second && echo same; true"""


def test_the_files_come_back_and_processes_do_not(daemon):
    made = daemon.create(timeout=600, metadata={"a": "b"}, envs={"WHO": "me"}, network={"allow_out": ["one.test"]}, lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox = made["sandbox_id"]
    run(daemon, sandbox, CHANGES)
    before = run(daemon, sandbox, LOOK)
    assert "mine" in before and "No such file" in before and "same" in before and "large: OK" in before
    got = snapshot(daemon, sandbox)
    assert got["sandbox_id"] == sandbox and got["source"] == "manual" and got["snapshot_id"].startswith("snap-")
    assert got["mem_size_bytes"] is None and got["kept"] == "files" and got["mem_blob_key"] == got["vmstate_blob_key"] == ""
    assert 100 << 20 < got["size_bytes"] < 102 << 20 and got["pause_duration_ms"] >= 0
    assert run(daemon, sandbox, LOOK) == before, "it goes on as it was"
    pid = daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "sleep 600", "background": True}).json["pid"]
    run(daemon, sandbox, "rm -r /home/user/* /usr/share/doc; echo later > /home/user/later")
    # While it runs, while it is paused, and when it was killed.
    for state in ("running", "paused", "killed"):
        if state == "paused":
            assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
        if state == "killed":
            assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
        answer = restore(daemon, sandbox, got["snapshot_id"] if state != "killed" else None)
        assert answer["sandbox_id"] == sandbox and answer["snapshot_id"] == got["snapshot_id"] and answer["node_id"]
        now = daemon.request("GET", f"/sandboxes/{sandbox}").json
        assert now["state"] == "running" and "killed_at" not in now
        for member in ("metadata", "envs", "network", "lifecycle", "timeout", "template_id", "name"):
            assert now[member] == made[member], member
        assert run(daemon, sandbox, LOOK) == before
        assert run(daemon, sandbox, "echo $WHO; hostname; cat /etc/hostname") == f"me\n{sandbox}\n{sandbox}\n"
        assert daemon.request("GET", f"/sandboxes/{sandbox}/commands").json == [], "what ran before it does not run now"
        assert daemon.request("DELETE", f"/sandboxes/{sandbox}/commands/{pid}").json == {"killed": False}
        assert not run(daemon, sandbox, "pgrep -x sleep || true")
    listed = daemon.request("GET", "/sandboxes?state=running&state=killed").json["sandboxes"]
    assert [s["state"] for s in listed if s["sandbox_id"] == sandbox] == ["running"]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_the_policy_is_in_force_again(daemon):
    sandbox = daemon.create(network={"allow_out": []})["sandbox_id"]
    generation = daemon.request("GET", f"/sandboxes/{sandbox}/network").json["generation"]
    edit = daemon.request("PATCH", f"/sandboxes/{sandbox}/network", {"add": {"allow_out": ["two.test"]}})
    assert edit.status == 200 and edit.json["generation"] == generation + 1
    snapshot(daemon, sandbox)
    restore(daemon, sandbox)
    now = daemon.request("GET", f"/sandboxes/{sandbox}/network").json
    assert now["generation"] == generation + 1 and now["network"]["allow_out"] == ["two.test"]
    assert run(daemon, sandbox, "python3 -c 'import socket; s = socket.socket(); s.settimeout(1)\ntry: s.connect((\"1.1.1.1\", 80)); print(\"open\")\nexcept OSError: print(\"closed\")'") == "closed\n"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_change_during_a_restore_is_not_undone(daemon, in_background):
    """Changes hammer on the sandbox while it is restored: each that was answered 200 counts, so no generation comes twice."""
    sandbox = daemon.create(timeout=600, network={"allow_out": []})["sandbox_id"]
    snapshot(daemon, sandbox)
    stop, answers = threading.Event(), []

    def change():
        while not stop.is_set():
            answers.append(daemon.request("PATCH", f"/sandboxes/{sandbox}/network", {"add": {"allow_out": ["a.test"]}}))

    threads = [threading.Thread(target=change) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(15):
        restore(daemon, sandbox)
    stop.set()
    for t in threads:
        t.join()
    assert {a.status for a in answers} <= {200, 410}, [a.body for a in answers]
    generations = sorted(a.json["generation"] for a in answers if a.status == 200)
    twice = sorted({g for g in generations if generations.count(g) > 1})
    assert generations and not twice, f"{len(generations)} changes, lost: {twice}"
    assert daemon.request("GET", f"/sandboxes/{sandbox}/network").json["generation"] == generations[-1]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_an_operation_under_way_ends_as_killed(daemon, in_background):
    sandbox = daemon.create()["sandbox_id"]
    snapshot(daemon, sandbox)
    answers = []
    in_background(lambda: answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "touch /tmp/on; sleep 600"})))
    assert eventually(lambda: "on" in run(daemon, sandbox, "ls /tmp"))
    restore(daemon, sandbox)
    assert eventually(lambda: answers)
    assert answers[0].status == 410 and answers[0].json["code"] == "sandbox_killed", answers[0].body
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_new_sandbox_from_a_snapshot(daemon):
    sandbox = daemon.create(template="python", envs={"A": "1"})["sandbox_id"]
    run(daemon, sandbox, "echo kept > /home/user/f; echo '10.0.0.1 more' >> /etc/hosts")
    got = snapshot(daemon, sandbox, path="snapshots")
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    answer = daemon.request("POST", "/sandboxes", {"snapshot_id": got["snapshot_id"], "envs": {"B": "2"}})
    assert answer.status == 201, answer.body
    fresh = answer.json
    assert fresh["sandbox_id"] != sandbox and fresh["template_id"] == "python" and fresh["envs"] == {"B": "2"}
    assert run(daemon, fresh["sandbox_id"], "cat /home/user/f; hostname; tail -1 /etc/hosts; getent hosts $(hostname) | wc -l") == f"kept\n{fresh['sandbox_id']}\n10.0.0.1 more\n1\n"
    wrong = daemon.request("POST", "/sandboxes", {"snapshot_id": got["snapshot_id"], "template": "base"})
    assert wrong.status == 422 and wrong.json["code"] == "template_mismatch"
    assert daemon.request("POST", "/sandboxes", {"snapshot_id": "snap-nothing0"}).json["code"] == "snapshot_not_found"
    assert daemon.request("POST", "/sandboxes", {"snapshot_id": 7}).status == 400
    # One snapshot, many sandboxes; of the new one too.
    again = daemon.request("POST", "/sandboxes", {"snapshot_id": got["snapshot_id"], "template": "python"}).json
    assert run(daemon, again["sandbox_id"], "cat /home/user/f") == "kept\n"
    for made in (fresh, again):
        daemon.request("DELETE", f"/sandboxes/{made['sandbox_id']}")


def test_lists_pages_and_deletes(daemon):
    key = new_key(daemon, "pages")["api_key"]
    ask = lambda method, path, body=None: daemon.request(method, path, body, key=key)  # noqa: E731
    boxes = [ask("POST", "/sandboxes", {}).json["sandbox_id"] for _ in range(2)]
    made = [snapshot(daemon, boxes[i % 2], key)["snapshot_id"] for i in range(5)]
    newest = made[::-1]
    assert [s["snapshot_id"] for s in ask("GET", f"/sandboxes/{boxes[0]}/snapshots").json["snapshots"]] == newest[::2]
    seen, token = [], ""
    for _ in range(3):
        page = ask("GET", f"/snapshots?limit=2{token}").json
        seen.append([s["snapshot_id"] for s in page["snapshots"]])
        token = f"&next_token={page['next_token']}"
        if len(seen) == 1:
            # A newer one does not shift the pages.
            snapshot(daemon, boxes[0], key)
    assert seen == [newest[:2], newest[2:4], newest[4:]] and page["next_token"] is None
    one = ask("GET", f"/snapshots?sandbox_id={boxes[1]}").json
    assert [s["snapshot_id"] for s in one["snapshots"]] == newest[1::2] and one["next_token"] is None
    for bad in ("limit=0", "limit=x", "next_token=x"):
        assert ask("GET", f"/snapshots?{bad}").status == 400, bad
    for _ in range(2):
        answer = ask("DELETE", f"/sandboxes/{boxes[0]}/snapshots/{made[0]}")
        assert (answer.status, answer.json) == (200, {})
    # One of another sandbox stays.
    assert ask("DELETE", f"/sandboxes/{boxes[0]}/snapshots/{made[1]}").json == {}
    left = [s["snapshot_id"] for s in ask("GET", "/snapshots").json["snapshots"]]
    assert made[0] not in left and made[1] in left
    assert f"{made[0]}.tar" not in files(daemon) and f"{made[1]}.tar" in files(daemon)
    answer = ask("POST", f"/sandboxes/{boxes[0]}/restore?snapshot_id={made[0]}")
    assert answer.status == 404 and answer.json["code"] == "snapshot_not_found"
    # The sandbox was not touched by the failure.
    assert ask("GET", f"/sandboxes/{boxes[0]}/status").json == {"is_running": True}
    for box in boxes:
        ask("DELETE", f"/sandboxes/{box}")


def test_other_owners(daemon):
    mine, theirs = daemon.create()["sandbox_id"], new_key(daemon, "snap-other")["api_key"]
    got = snapshot(daemon, mine)["snapshot_id"]
    box = daemon.request("POST", "/sandboxes", {}, key=theirs).json["sandbox_id"]
    assert daemon.request("GET", "/snapshots", key=theirs).json == {"snapshots": [], "next_token": None}
    assert daemon.request("GET", f"/snapshots?sandbox_id={mine}", key=theirs).json["snapshots"] == []
    for method, path, body in (("POST", "/sandboxes", {"snapshot_id": got}), ("POST", f"/sandboxes/{box}/restore?snapshot_id={got}", None)):
        answer = daemon.request(method, path, body, key=theirs)
        assert answer.status == 404 and answer.json["code"] == "snapshot_not_found"
    assert daemon.request("DELETE", f"/sandboxes/{box}/snapshots/{got}", key=theirs).json == {}
    assert daemon.request("POST", f"/sandboxes/{mine}/restore?snapshot_id={got}").status == 200
    daemon.request("DELETE", f"/sandboxes/{mine}")
    daemon.request("DELETE", f"/sandboxes/{box}", key=theirs)


def test_dead_and_paused(daemon):
    sandbox = daemon.create()["sandbox_id"]
    assert daemon.request("POST", f"/sandboxes/{sandbox}/restore").json["code"] == "snapshot_not_found"
    run(daemon, sandbox, "echo x > /tmp/x")
    assert daemon.request("POST", f"/sandboxes/{sandbox}/pause").status == 200
    got = snapshot(daemon, sandbox)
    assert got["pause_duration_ms"] == 0
    assert daemon.request("GET", f"/sandboxes/{sandbox}").json["state"] == "paused"
    assert daemon.request("POST", f"/sandboxes/{sandbox}/resume").status == 200
    assert run(daemon, sandbox, "cat /tmp/x") == "x\n"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/snapshot")
    assert answer.status == 410, answer.body
    assert daemon.request("POST", "/sandboxes/sbx-never000/restore").status == 404


def test_it_is_of_one_moment(daemon):
    """A writer keeps two files equal, but for the moment between two writes; a hundred thousand appends go on."""
    sandbox = daemon.create()["sandbox_id"]
    run(daemon, sandbox, "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i >> /tmp/a; echo $i >> /tmp/b; done' >/dev/null 2>&1 &")
    assert eventually(lambda: int(run(daemon, sandbox, "wc -l < /tmp/b")) > 1000)
    got = snapshot(daemon, sandbox)["snapshot_id"]
    restore(daemon, sandbox, got)
    a, b = (run(daemon, sandbox, f"cat /tmp/{x}").split("\n") for x in "ab")
    assert abs(len(a) - len(b)) <= 1 and a[:-1] == [str(i + 1) for i in range(len(a) - 1)]
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_a_full_disk_comes_back(daemon):
    sandbox = daemon.create()["sandbox_id"]
    run(daemon, sandbox, "dd if=/dev/zero of=/tmp/fill bs=1M status=none; rm -f /tmp/none; true")
    got = snapshot(daemon, sandbox)["snapshot_id"]
    restore(daemon, sandbox, got)
    assert int(run(daemon, sandbox, "stat -c %s /tmp/fill")) > 900 << 20
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    daemon.request("DELETE", f"/sandboxes/{sandbox}/snapshots/{got}")


def volume(daemon, name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    answer = daemon.request("POST", f"/volumes?name={name}", gzip.compress(out.getvalue()))
    assert answer.status in (200, 201), answer.body
    return answer.json["volume_id"]


def test_volumes(daemon):
    ro, copy = volume(daemon, "ro"), volume(daemon, "copy")
    sandbox = daemon.create(volumes=[{"volume_id": ro, "mount_path": "/data/ro", "mode": "mount-ro"}, {"volume_id": copy, "mount_path": "/data/copy"}])["sandbox_id"]
    run(daemon, sandbox, "echo changed > /data/copy/f")
    listed = daemon.request("GET", f"/sandboxes/{sandbox}").json["volumes"]
    assert daemon.request("PATCH", f"/sandboxes/{sandbox}/network", {"add": {"allow_out": ["two.test"]}}).status == 200
    assert len(listed) == 2 and daemon.request("GET", f"/sandboxes/{sandbox}").json["volumes"] == listed, "a new policy changes the policy alone"
    got = snapshot(daemon, sandbox)["snapshot_id"]
    look = "cat /data/ro/f; echo; cat /data/copy/f; touch /data/ro/x 2>/dev/null || echo read-only"
    restore(daemon, sandbox, got)
    assert run(daemon, sandbox, look) == "text\nchanged\nread-only\n"
    fresh = daemon.request("POST", "/sandboxes", {"snapshot_id": got}).json["sandbox_id"]
    assert run(daemon, fresh, look) == "text\nchanged\nread-only\n"
    for box in (sandbox, fresh):
        daemon.request("DELETE", f"/sandboxes/{box}")
    # What was copied is not asked for again; what is mounted must be there.
    assert daemon.request("DELETE", f"/volumes/{copy}").status == 200
    restore(daemon, sandbox, got)
    daemon.request("DELETE", f"/sandboxes/{sandbox}")
    assert daemon.request("DELETE", f"/volumes/{ro}").status == 200
    answer = daemon.request("POST", f"/sandboxes/{sandbox}/restore?snapshot_id={got}")
    assert answer.status == 404 and answer.json["code"] == "volume_not_found", answer.body


def test_two_restores_at_one_time(daemon):
    sandbox = daemon.create()["sandbox_id"]
    run(daemon, sandbox, "dd if=/dev/zero of=/tmp/x bs=1M count=50 status=none")
    snapshot(daemon, sandbox)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/restore"))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {a.status for a in answers} <= {200, 409} and 200 in {a.status for a in answers}, [a.body for a in answers]
    assert run(daemon, sandbox, "echo here") == "here\n"
    daemon.request("DELETE", f"/sandboxes/{sandbox}")


def test_limits():
    d = Daemon("--snapshots", "2", "--snapshot-mb", "20")
    try:
        sandbox = d.create()["sandbox_id"]
        run(d, sandbox, "dd if=/dev/zero of=/tmp/x bs=1M count=30 status=none")
        answer = d.request("POST", f"/sandboxes/{sandbox}/snapshot")
        assert answer.status == 413 and answer.json["code"] == "snapshot_too_large" and "20 MB" in answer.json["message"], answer.body
        assert files(d) == []
        run(d, sandbox, "truncate -s 0 /tmp/x; dd if=/dev/zero of=/tmp/x bs=1M count=15 status=none")
        first = snapshot(d, sandbox)["snapshot_id"]
        assert d.request("POST", f"/sandboxes/{sandbox}/snapshot").status == 413
        run(d, sandbox, "rm /tmp/x")
        snapshot(d, sandbox)
        answer = d.request("POST", f"/sandboxes/{sandbox}/snapshot")
        assert answer.status == 429 and answer.json["code"] == "too_many_snapshots"
        assert d.request("DELETE", f"/sandboxes/{sandbox}/snapshots/{first}").status == 200
        snapshot(d, sandbox)
        assert len(files(d)) == 2
    finally:
        assert d.stop() == 0


def test_they_outlive_the_server(tmp_path):
    d = Daemon(data=tmp_path / "data")
    sandbox = d.create()["sandbox_id"]
    run(d, sandbox, "echo kept > /home/user/f")
    got = snapshot(d, sandbox)["snapshot_id"]
    assert d.stop() == 0
    # Left by a server that died in the middle, and a file that nobody knows.
    (tmp_path / "data/snapshots/.snap-half0000.tar").write_bytes(b"x")
    (tmp_path / "data/snapshots/snap-unknown0.tar").write_bytes(b"x")
    d = Daemon(data=tmp_path / "data")
    try:
        assert files(d) == [f"{got}.tar"]
        assert (tmp_path / "data/snapshots" / f"{got}.tar").stat().st_mode & 0o777 == 0o600
        assert d.request("GET", f"/sandboxes/{sandbox}").json["state"] == "killed"
        restore(d, sandbox, got)
        assert run(d, sandbox, "cat /home/user/f") == "kept\n"
        # One that was changed on disk is not used.
        with open(tmp_path / "data/snapshots" / f"{got}.tar", "ab") as f:
            f.write(b"x")
        assert d.request("POST", f"/sandboxes/{sandbox}/restore").status == 500
        assert run(d, sandbox, "cat /home/user/f") == "kept\n"
    finally:
        assert d.stop() == 0


@pytest.mark.parametrize("step", ["pack_start", "pack", "daemon.snapshot_file", "daemon.snapshot_sync", "daemon.snapshot_store"])
def test_failures_leave_nothing(step):
    d = Daemon(env={"DECLAW_TEST_FAIL": step})
    try:
        sandbox = d.create()["sandbox_id"]
        run(d, sandbox, "echo x > /tmp/x")
        before = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        for _ in range(3):
            answer = d.request("POST", f"/sandboxes/{sandbox}/snapshot")
            assert answer.status == 500 and step in answer.json["message"], answer.body
        assert files(d) == [] and d.request("GET", "/snapshots").json["snapshots"] == []
        assert len(os.listdir(f"/proc/{d.process.pid}/fd")) <= before + 1
        assert run(d, sandbox, "cat /tmp/x") == "x\n", "it goes on"
    finally:
        assert d.stop() == 0


def not_restored(d, sandbox, got):
    """What is left of a restore that failed behind the end of the old sandbox: it is killed, and the snapshot is there."""
    now = d.request("GET", f"/sandboxes/{sandbox}").json
    assert now["state"] == "killed" and now["kill_reason"] == "restore" and now["killed_at"], now
    answer = d.request("POST", f"/sandboxes/{sandbox}/commands", {"cmd": "true"})
    assert answer.status == 410 and answer.json["code"] == "sandbox_killed", answer.body
    assert d.request("GET", "/health", key=None).json["sandboxes"] == 0
    assert [s["snapshot_id"] for s in d.request("GET", f"/sandboxes/{sandbox}/snapshots").json["snapshots"]] == [got]
    assert files(d) == [f"{got}.tar"]


@pytest.mark.parametrize("step", ["daemon.restore_attach", "daemon.restore_store", "daemon.restore_publish"])
def test_a_restore_that_fails_half_way(tmp_path, step):
    d = Daemon(data=tmp_path / "data", env={"DECLAW_TEST_FAIL": step})
    sandbox = d.create(envs={"WHO": "me"})["sandbox_id"]
    run(d, sandbox, "echo kept > /home/user/f")
    got = snapshot(d, sandbox)["snapshot_id"]
    fds = None
    # Clients repeat what fails like this, and no harm is done.
    for _ in range(4):
        answer = d.request("POST", f"/sandboxes/{sandbox}/restore")
        assert (answer.status, answer.json["code"]) == (500, "internal") and step in answer.json["message"], answer.body
        not_restored(d, sandbox, got)
        fds = fds or len(os.listdir(f"/proc/{d.process.pid}/fd"))
    assert eventually(lambda: len(os.listdir(f"/proc/{d.process.pid}/fd")) <= fds)
    # The id is free for the next restore, and nothing else of the sandbox is in the way.
    assert d.request("POST", "/sandboxes", {"snapshot_id": got}).status == 201
    assert d.stop() == 0
    d = Daemon(data=tmp_path / "data")
    try:
        restore(d, sandbox)
        assert run(d, sandbox, "cat /home/user/f; echo $WHO") == "kept\nme\n"
        assert "kill_reason" not in d.request("GET", f"/sandboxes/{sandbox}").json
    finally:
        assert d.stop() == 0


def test_an_archive_that_was_spoiled(tmp_path):
    """Its length is right, so it is found out where it is unpacked, when the old sandbox is gone."""
    d = Daemon(data=tmp_path / "data")
    try:
        sandbox = d.create()["sandbox_id"]
        run(d, sandbox, "echo kept > /home/user/f")
        got = snapshot(d, sandbox)["snapshot_id"]
        archive = tmp_path / "data/snapshots" / f"{got}.tar"
        good = archive.read_bytes()
        for bad in (os.urandom(len(good)), good[:512] + os.urandom(len(good) - 512), b"\0" * len(good), good[: len(good) // 2].ljust(len(good), b"\xff"), good[: len(good) // 1024 * 512].ljust(len(good), b"\0")):
            archive.write_bytes(bad)
            answer = d.request("POST", f"/sandboxes/{sandbox}/restore")
            assert answer.status == 500, (bad[:600], answer.body)
            not_restored(d, sandbox, got)
            assert d.request("POST", "/sandboxes", {"snapshot_id": got}).status == 500
        archive.write_bytes(good)
        restore(d, sandbox)
        assert run(d, sandbox, "cat /home/user/f") == "kept\n"
    finally:
        assert d.stop() == 0


def test_a_kill_ends_a_snapshot(daemon, in_background):
    sandbox = daemon.create()["sandbox_id"]
    run(daemon, sandbox, "dd if=/dev/urandom of=/tmp/x bs=1M count=700 status=none")
    before = files(daemon)
    answers = []
    in_background(lambda: answers.append(daemon.request("POST", f"/sandboxes/{sandbox}/snapshot")))
    assert eventually(lambda: len(files(daemon)) > len(before))
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    assert eventually(lambda: answers)
    # It was killed, or the snapshot was done before.
    assert answers[0].status in (200, 410), answers[0].body
    if answers[0].status == 410:
        assert files(daemon) == before


def test_of_a_template_of_ones_own(daemon):
    template = image.make(daemon, "snapped", env=["COLOR=blue"])["template_id"]
    sandbox = daemon.create(template="snapped", envs={"A": "1"})
    box = sandbox["sandbox_id"]
    answer = daemon.request("POST", f"/sandboxes/{box}/files?path=/kept&username=root", {"path": "/kept", "data": "text", "username": "root"})
    assert answer.status == 200, answer.body
    got = snapshot(daemon, box)
    assert got["template_id"] == sandbox["template_id"] == template
    assert daemon.request("DELETE", f"/sandboxes/{box}").status == 200
    answer = daemon.request("DELETE", f"/templates/{template}")
    assert answer.status == 409 and answer.json["code"] == "template_in_use", answer.body
    restore(daemon, box)
    assert daemon.request("GET", f"/sandboxes/{box}/files?path=/kept&username=root").body == b"text"
    assert daemon.request("GET", f"/sandboxes/{box}").json["envs"] == sandbox["envs"]
    for name in ("snapped", template):
        fresh = daemon.create(snapshot_id=got["snapshot_id"], template=name)
        assert fresh["template_id"] == template
        assert daemon.request("GET", f"/sandboxes/{fresh['sandbox_id']}/files?path=/kept&username=root").body == b"text"
        daemon.request("DELETE", f"/sandboxes/{fresh['sandbox_id']}")
    daemon.request("DELETE", f"/sandboxes/{box}")
    assert daemon.request("DELETE", f"/sandboxes/{box}/snapshots/{got['snapshot_id']}").status == 200
    assert daemon.request("DELETE", f"/templates/{template}").status == 200
