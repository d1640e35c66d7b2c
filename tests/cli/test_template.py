# SPDX-License-Identifier: Apache-2.0
"""declaw template: exact requests, the log as it grows, exit codes, and that nothing of a hostile server reaches the terminal."""

import io
import json
import tarfile

from test_sandbox import NASTY, no_controls

BUILD = {"build_id": "bld-1", "status": "building", "template_id": "tpl-1", "sandbox_id": "sbx-1", "logs_from": 0, "logs": ["one" + NASTY], "error": None}
TEMPLATE = {"template_id": "tpl-1", "alias": "a" + NASTY.replace("\0", ""), "status": "ready", "builtin": False, "created_at": "2020-01-15T10:30:00.123456+00:00",
            "cpu_count": 2, "memory_mb": 256, "disk_mb": 300, "size_bytes": 3 << 20, "start_cmd": f"x{NASTY}", "source": "build", "envs": {}}  # fmt: skip


def steps(stub, *answers):
    """What the build's route says, one after the other."""
    left = list(answers)
    stub.on("GET", "/templates/builds/bld-1", lambda handler, asked: handler.whole(200, json.dumps(left.pop(0)).encode()))


def test_build(ask, stub):
    stub.on("POST", "/templates/build", (200, BUILD))
    steps(stub, {**BUILD, "logs_from": 1, "logs": ["two"]}, {**BUILD, "logs_from": 2, "logs": ["three"], "status": "completed"})
    done = ask("template", "build", "--alias", "a", "--base", "b:1", "--run", "x y", "--run", "z", "--apt", "git", "--env", "A=b c", "--start", "s", "--ready", "r",
               "--allow", "h", "--deny", "d", "--cpus", "1", "--memory", "256", "--disk", "300")  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"tpl-1\n"), done.stderr
    no_controls(done.stderr)
    assert [line[:3] for line in done.stderr.splitlines()] == [b"one", b"two", b"thr"]
    assert stub.lines == ["POST /templates/build", "GET /templates/builds/bld-1?since=1", "GET /templates/builds/bld-1?since=2"]
    assert json.loads(stub.asked[0].body) == {
        "template": {"base_image": "b:1", "run_cmds": ["x y", "z"], "apt_packages": ["git"], "envs": {"A": "b c"}, "start_cmd": "s", "ready_check": "r"},
        "alias": "a", "cpu_count": 1, "memory_mb": 256, "disk_mb": 300, "network": {"allow_out": ["h"], "deny_out": ["d"]}, "background": True,
    }  # fmt: skip


def test_a_build_of_a_dockerfile_that_fails(ask, stub, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM x\nRUN ü\n")
    stub.on("POST", "/templates/build", (200, {**BUILD, "status": "failed", "error": "no" + NASTY.replace("\0", "")}))
    for word in (str(tmp_path), str(tmp_path / "Dockerfile")):
        done = ask("template", "build", "-f", word, "-q")
        assert (done.returncode, done.stdout) == (1, b"") and b"the build failed: no" in done.stderr and b"one" not in done.stderr
        no_controls(done.stderr)
        assert json.loads(stub.asked[-1].body) == {"template": {"dockerfile": "FROM x\nRUN ü\n"}, "background": True}


def test_background_and_json(ask, stub):
    stub.on("POST", "/templates/debian", (200, BUILD))
    done = ask("template", "debian", "--suite", "sid", "--package", "git", "--mirror", "http://m/", "--background")
    assert (done.returncode, done.stdout) == (0, b"bld-1\n")
    assert json.loads(stub.asked[0].body) == {"suite": "sid", "packages": ["git"], "mirror": "http://m/", "background": True}
    steps(stub, {**BUILD, "status": "completed"})
    done = ask("template", "debian", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "completed"
    no_controls(done.stdout)


def test_import(ask, stub, tmp_path):
    stub.on("POST", "/templates/import", (200, {**BUILD, "status": "completed"}))
    (tmp_path / "layout/blobs").mkdir(parents=True)
    (tmp_path / "layout/oci-layout").write_text("{}")
    (tmp_path / "image.tar").write_bytes(b"archive\x00\xff")
    done = ask("template", "import", str(tmp_path / "image.tar"), "--alias", "a b&", "--tag", "x/y:1", "--memory", "256")
    assert (done.returncode, done.stdout) == (0, b"tpl-1\n"), done.stderr
    assert stub.lines[0] == "POST /templates/import?background=true&alias=a%20b%26&tag=x%2Fy%3A1&memory_mb=256"
    assert stub.asked[0].body == b"archive\x00\xff"
    assert ask("template", "import", str(tmp_path / "layout")).returncode == 0
    with tarfile.open(fileobj=io.BytesIO(stub.asked[-1].body), mode="r:gz") as t:
        assert sorted(t.getnames()) == ["blobs", "oci-layout"]


def test_ls_info_rm(ask, stub):
    stub.on("GET", "/templates", (200, {"templates": [{**TEMPLATE, "template_id": "base", "created_at": None, "size_bytes": None}, TEMPLATE]}))
    stub.on("GET", "/templates/tpl-1", (200, TEMPLATE))
    stub.on("DELETE", "/templates/tpl-1", (200, {}))
    stub.on("DELETE", "/templates/x", (409, {"message": f"in use{NASTY}", "code": "template_in_use"}))
    assert ask("template", "ls", "-q").stdout == b"base\ntpl-1\n"
    for words in (["ls"], ["info", "tpl-1"]):
        done = ask("template", *words)
        assert done.returncode == 0 and b"tpl-1" in done.stdout and b"3.0M" in done.stdout, done
        no_controls(done.stdout, done.stderr)
    assert len(json.loads(ask("template", "ls", "--json").stdout)["templates"]) == 2
    done = ask("template", "rm", "x", "tpl-1")
    assert done.returncode == 1 and b"x: in use" in done.stderr
    assert stub.lines[-2:] == ["DELETE /templates/x", "DELETE /templates/tpl-1"]


def test_what_can_not_be(ask, stub, tmp_path):
    for words in (["build", "-f", "x", "--base", "y"], ["build", "--ready", "x"], ["build", "word"], ["build", "-f", str(tmp_path / "none")], ["build", "--cpus", "0"],
                  ["import"], ["import", str(tmp_path / "none")], ["debian", "x"], ["info"], ["rm", "a/b"]):  # fmt: skip
        done = ask("template", *words)
        assert (done.returncode, done.stdout) == (2, b""), words
    assert not stub.asked
    stub.on("POST", "/templates/build", (200, {"build_id": "../x"}))
    assert ask("template", "build").returncode == 1
