# SPDX-License-Identifier: Apache-2.0
"""declaw key: works on a data directory, with or without a server. Against a running server: tests/api/test_owners.py."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile

import pytest


@pytest.fixture
def key(declaw, tmp_path):
    """key(verb, *words) on a data directory of its own."""

    def run(verb, *words):
        return declaw("key", verb, "--data", str(tmp_path), *words)

    return run


def listed(key, *words):
    result = key("list", "--json", *words)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_create_prints_the_key_alone_and_once(key, tmp_path):
    result = key("create", "--name", "ci")
    assert result.returncode == 0
    text = result.stdout.strip()
    assert result.stdout == text + "\n"
    assert text.startswith("dcl_") and len(text) == 44 and text.isascii()
    assert "this once" in result.stderr and text not in result.stderr
    # The random part is nowhere on the disk, whole.
    for path in tmp_path.iterdir():
        assert text[8:].encode() not in path.read_bytes(), path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert text not in key("list").stdout + key("list", "--json").stdout


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize("where", ["full", "pipe"])
def test_a_key_that_nobody_got_is_revoked(program, key, tmp_path, words, where):
    if where == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    else:
        read, out = os.pipe()
        os.close(read)
    result = subprocess.run([str(program), "key", "create", "--data", str(tmp_path), "--name", "lost", *words], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(out)
    assert result.returncode == 1 and "standard output" in result.stderr and "revoked" in result.stderr
    assert "is made" not in result.stderr
    assert [(r["name"], r["revoked"]) for r in listed(key)] == [("lost", True)]


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["revoke"], ["revoke", "--json"]])
def test_output_that_is_lost_is_a_failure(program, key, tmp_path, words):
    made = [json.loads(key("create", "--name", "n" * 100, "--json").stdout)["key_id"] for _ in range(50 if words[0] == "list" else 1)]
    verb, *rest = words
    with open("/dev/full", "w") as out:
        result = subprocess.run([str(program), "key", verb, "--data", str(tmp_path), *(made if verb == "revoke" else []), *rest], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1 and result.stderr == "declaw: standard output: No space left on device\n"
    assert listed(key)[0]["revoked"] is (verb == "revoke")


def test_list_tells_what_is_known(key):
    made = json.loads(key("create", "--name", "Bau é", "--owner", "team-1", "--json").stdout)
    assert made["api_key"].startswith(made["key_hint"])
    del made["api_key"]
    key("create", "--name", "other")
    rows = listed(key)
    assert rows[0] == made
    assert [r["name"] for r in rows] == ["Bau é", "other"]
    assert [r["owner"] for r in rows] == ["team-1", "local"]
    assert rows[0]["revoked"] is False and rows[0]["last_used_at"] is None
    assert rows[0]["created_at"].endswith("+00:00")
    assert [r["owner"] for r in listed(key, "--owner", "local")] == ["local"]
    table = key("list").stdout.splitlines()
    assert table[0].split()[:2] == ["ID", "STATE"] and len(table) == 3
    assert made["key_id"] in table[1] and "never" in table[1] and "valid" in table[1]


def test_revoke(key):
    made = json.loads(key("create", "--name", "x", "--json").stdout)
    assert key("revoke", made["key_id"]).stdout == f"{made['key_id']} is revoked\n"
    assert listed(key)[0]["revoked"] is True
    at = listed(key)[0]["revoked_at"]
    again = key("revoke", made["key_id"], "--json")
    assert again.returncode == 0 and json.loads(again.stdout) == {"key_id": made["key_id"], "revoked": True}
    assert listed(key)[0]["revoked_at"] == at
    unknown = key("revoke", "key-nothing")
    assert unknown.returncode == 1 and "no API key with this id" in unknown.stderr and unknown.stdout == ""


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["create"], "--name is needed"),
        (["create", "--name", ""], "name must have"),
        (["create", "--name", "a\tb"], "name must have"),
        (["create", "--name", "n" * 129], "name must have"),
        (["create", "--name", "x", "--owner", "a/b"], "owner must be"),
        (["create", "--name", "x", "--owner", ""], "owner must be"),
        (["create", "--name", "x", "--name", "y"], "given twice"),
        (["create", "--name", "x", "y"], "one word too many"),
        (["list", "x"], "one word too many"),
        (["revoke"], "id of a key is needed"),
        (["revoke", "a", "b"], "one word too many"),
        (["forget"], "no command of declaw key"),
    ],
)
def test_wrong_usage_changes_nothing(declaw, tmp_path, words, sentence):
    data = [] if words[0] == "forget" else ["--data", str(tmp_path)]
    result = declaw("key", words[0], *data, *words[1:])
    assert result.returncode == 2 and sentence in result.stderr and result.stdout == ""
    assert json.loads(declaw("key", "list", "--json", "--data", str(tmp_path)).stdout) == []


def test_name_that_is_no_utf8(program, tmp_path):
    result = subprocess.run([str(program), "key", "create", "--data", str(tmp_path), "--name", b"\xff"], capture_output=True, timeout=60)
    assert result.returncode == 2 and b"UTF-8" in result.stderr


def test_directory_that_is_not_there(declaw):
    result = declaw("key", "list", "--data", "/nonexistent/declaw")
    assert result.returncode == 1 and "/nonexistent/declaw/keys.db" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_others_are_told_who_may(program):
    with tempfile.TemporaryDirectory(prefix="declaw-cli-") as folder:
        os.chmod(folder, 0o711)
        os.mkdir(folder + "/data", 0o700)
        shutil.copy(program, folder + "/declaw")
        result = subprocess.run([folder + "/declaw", "key", "list", "--data", folder + "/data"], capture_output=True, text=True, timeout=60, user=65534, group=65534, extra_groups=[])
    assert result.returncode == 1 and "as root" in result.stderr


def test_database_of_a_newer_version(key, tmp_path):
    key("create", "--name", "x")
    with sqlite3.connect(tmp_path / "keys.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    result = key("list")
    assert result.returncode == 1 and "newer version" in result.stderr
