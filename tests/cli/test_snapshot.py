# SPDX-License-Identifier: Apache-2.0
"""declaw snapshot, and sandbox snapshots and create --snapshot: exact requests, and hostile answers."""

import json

import pytest

from test_sandbox import ID, NASTY, no_controls

SNAPSHOT = {"snapshot_id": "snap-1", "sandbox_id": ID, "template_id": f"t{NASTY}", "source": "manual", "mem_blob_key": "", "vmstate_blob_key": "",
            "mem_size_bytes": None, "pause_duration_ms": 3, "created_at": "2020-01-15T10:30:00.123456+00:00", "kept": "files", "size_bytes": 3 << 20}  # fmt: skip


def pages(stub, *rows):
    """One row a page."""
    def page(handler, asked):
        at = int(asked.path.partition("next_token=")[2] or 0)
        token = str(at + 1) if at + 1 < len(rows) else None
        handler.whole(200, json.dumps({"snapshots": [rows[at]], "next_token": token}).encode())

    stub.on("GET", "/snapshots", page)


def test_ls(ask, stub):
    pages(stub, {**SNAPSHOT, "snapshot_id": "snap-2", "size_bytes": None}, SNAPSHOT)
    done = ask("snapshot", "ls")
    rows = done.stdout.decode().splitlines()
    assert done.returncode == 0 and rows[0].split() == ["ID", "SANDBOX", "TEMPLATE", "SIZE", "AGE"] and len(rows) == 3
    assert rows[1].split()[:2] == ["snap-2", ID] and "3.0M" in rows[2]
    no_controls(done.stdout)
    assert stub.lines == ["GET /snapshots?limit=1000", "GET /snapshots?limit=1000&next_token=1"]
    assert ask("snapshot", "ls", "-q").stdout == b"snap-2\nsnap-1\n"
    listed = json.loads(ask("snapshot", "ls", "--json").stdout)
    assert listed["total"] == 2 and [s["snapshot_id"] for s in listed["snapshots"]] == ["snap-2", "snap-1"]


def test_of_one_sandbox(ask, stub):
    pages(stub, SNAPSHOT)
    for words in (["snapshot", "ls", "-q", "--sandbox", ID], ["sandbox", "snapshots", "-q", ID]):
        assert ask(*words).stdout == b"snap-1\n"
        assert stub.lines[-1] == f"GET /snapshots?limit=1000&sandbox_id={ID}"


def test_rm(ask, stub):
    pages(stub, SNAPSHOT, {**SNAPSHOT, "snapshot_id": "snap-2", "sandbox_id": "sbx-2"})
    stub.on("DELETE", f"/sandboxes/{ID}/snapshots/snap-1", {})
    stub.on("DELETE", "/sandboxes/sbx-2/snapshots/snap-2", {})
    done = ask("snapshot", "rm", "snap-2", "snap-3", "snap-1")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"declaw: snap-3: there is no such snapshot\n")
    assert [x for x in stub.lines if "DELETE" in x] == ["DELETE /sandboxes/sbx-2/snapshots/snap-2", f"DELETE /sandboxes/{ID}/snapshots/snap-1"]
    assert json.loads(ask("snapshot", "rm", "--json", "snap-1").stdout) == {"snapshot_id": "snap-1"}


def test_create(ask, stub):
    stub.on("POST", "/sandboxes", (201, {"sandbox_id": ID}))
    assert ask("sandbox", "create", "--snapshot", "snap-1").stdout == f"{ID}\n".encode()
    assert stub.asked[0].json == {"snapshot_id": "snap-1"}


@pytest.mark.parametrize("words", [["rm"], ["rm", "../x"], ["ls", "x"], ["ls", "--sandbox", "a&b"]])
def test_wrong_words(ask, stub, words):
    done = ask("snapshot", *words)
    assert (done.returncode, done.stdout) == (2, b"") and not stub.asked


def test_a_bad_answer(ask, stub):
    for answer in ({}, {"snapshots": {}}, [], {"snapshots": [{**SNAPSHOT, "snapshot_id": NASTY}]}):
        stub.on("GET", "/snapshots", answer)
        done = ask("snapshot", "ls", "-q")
        assert (done.returncode, done.stdout) == (1, b""), answer
        no_controls(done.stderr)
    # A sandbox's name that would lead elsewhere.
    stub.on("GET", "/snapshots", {"snapshots": [{**SNAPSHOT, "sandbox_id": "../templates/x"}], "next_token": None})
    assert ask("snapshot", "rm", "snap-1").returncode == 1
    assert not [x for x in stub.lines if "DELETE" in x]
