# SPDX-License-Identifier: Apache-2.0
"""Templates: imported, built, used, deleted; hostile ones refused; nothing left of those that fail."""

import json
import os
import subprocess
import sys
import tarfile
import time

import pytest

import image
from conftest import REPOSITORY, build_dir, eventually
from test_owners import new_key
from test_volumes import make as make_volume, tar_gz

BUILD_TIMEOUT = 300


def build(daemon, key="", **body):
    answer = daemon.request("POST", "/templates/build", body, key=key, timeout=BUILD_TIMEOUT)
    assert answer.status == 200, answer.body
    return answer.json


def completed(built):
    assert built["status"] == "completed", built
    return built


def directories(daemon):
    return sorted(p.name for p in (daemon.data / "templates").iterdir() if p.name.startswith("tpl-"))


def ready(daemon):
    return {t["template_id"] for t in daemon.request("GET", "/templates").json["templates"] if not t["builtin"]}


@pytest.fixture(scope="module")
def box(daemon):
    """An imported template that others start from."""
    return image.make(daemon, "box", env=["PATH=/bin", "COLOR=blue", "HOME=/nowhere", "not a name=x"])


@pytest.fixture
def made(daemon):
    """Makes sandboxes, and kills them at the end."""
    ids = []

    def make(**fields):
        sandbox = daemon.create(timeout=600, **fields)
        ids.append(sandbox["sandbox_id"])
        return sandbox

    yield make
    for sandbox_id in ids:
        daemon.request("DELETE", f"/sandboxes/{sandbox_id}")


# What there is


def test_builtin_ones_are_listed_and_stay(daemon):
    listed = {t["template_id"]: t for t in daemon.request("GET", "/templates").json["templates"] if t["builtin"]}
    assert {"base", "python"} <= set(listed)
    assert listed["base"]["alias"] == "base" and listed["base"]["status"] == "ready"
    assert daemon.request("GET", "/templates/base").json == listed["base"]
    answer = daemon.request("DELETE", "/templates/base")
    assert (answer.status, answer.code) == (403, "template_builtin")


def test_unknown_ones(daemon):
    for method, path, code in (("GET", "/templates/none", "unknown_template"), ("DELETE", "/templates/tpl-none1234", "unknown_template"), ("GET", "/templates/builds/bld-none1234", "unknown_build")):
        answer = daemon.request(method, path)
        assert (answer.status, answer.code) == (404, code), path
    answer = daemon.request("POST", "/sandboxes", {"template": "none"})
    assert (answer.status, answer.code) == (404, "unknown_template")
    assert "GET /templates" in answer.message


# Import


def test_import_and_a_sandbox_of_it(daemon, box, made):
    listed = daemon.request("GET", "/templates/box").json
    assert listed["template_id"] == box["template_id"] and listed["source"] == "import" and listed["status"] == "ready"
    assert listed["size_bytes"] >= len(image.busybox())
    assert listed["envs"] == {"PATH": "/bin", "COLOR": "blue"}
    for name in ("box", box["template_id"]):
        sandbox = made(template=name, envs={"MINE": "1"})
        assert sandbox["template_id"] == box["template_id"] and sandbox["name"] == name
        result = daemon.run(sandbox["sandbox_id"], "echo $COLOR $MINE $HOME; id -un; cat /etc/resolv.conf; ls /bin | wc -l")
        assert result["exit_code"] == 0, result
        lines = result["stdout"].splitlines()
        assert lines[:2] == ["blue 1 /home/user", "user"]
        assert lines[2].startswith("nameserver ") and int(lines[-1]) == len(image.PROGRAMS) + 1
        # Its own: root may write everywhere, and nobody else sees it.
        assert daemon.run(sandbox["sandbox_id"], "echo x > /bin/mine && touch /new", user="root")["exit_code"] == 0
    other = made(template="box")["sandbox_id"]
    assert daemon.run(other, "ls /bin/mine /new")["exit_code"] != 0
    assert daemon.run(other, "touch /bin/x")["exit_code"] != 0


def test_import_without_a_name_in_the_index(daemon):
    answer = image.send(daemon, image.archive(tag=None))
    assert completed(answer.json)
    template = daemon.request("GET", f"/templates/{answer.json['template_id']}").json
    assert template["alias"] is None
    assert daemon.request("DELETE", f"/templates/{answer.json['template_id']}").status == 200


def test_import_of_one_of_several(daemon):
    several = image.pack(image.layout([("a", image.layer(lambda t: image.add(t, "which", b"a"))), ("b", image.layer(lambda t: image.add(t, "which", b"b")))]))
    answer = image.send(daemon, several)
    assert answer.status == 200 and answer.json["status"] == "failed"
    assert any("several images" in line for line in answer.json["logs"])
    answer = image.send(daemon, several, "?tag=b")
    template_id = completed(answer.json)["template_id"]
    assert (daemon.data / "templates" / template_id / "root/which").read_text() == "b"
    assert daemon.request("DELETE", f"/templates/{template_id}").status == 200


def test_import_of_what_docker_saves(daemon, tmp_path):
    source = tmp_path / "layout"
    for name, data in image.layout([("latest", image.layer())]).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", f"oci:{source}:latest", f"docker-archive:{tmp_path}/saved.tar:x/y:1"], check=True, timeout=60)
    answer = image.send(daemon, (tmp_path / "saved.tar").read_bytes(), "?background=false")
    template_id = completed(answer.json)["template_id"]
    assert daemon.request("DELETE", f"/templates/{template_id}").status == 200


def test_hostile_images(daemon):
    """What is in an image stays in its directory, and is nobody's on the host beyond its owner and mode."""

    def nasty(tar):
        image.add(tar, "dev", type=tarfile.DIRTYPE, mode=0o755)
        image.add(tar, "dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666)
        image.add(tar, "etc/passwd", b"toor::0:0::/:/bin/sh\nmine:x:1000:1000::/:/bin/sh", mode=0o644)
        image.add(tar, "etc/group", type=tarfile.SYMTYPE, linkname="/../../../../../../etc/group")
        image.add(tar, "etc/resolv.conf", type=tarfile.SYMTYPE, linkname="/../../../../../etc/resolv.conf")
        image.add(tar, "tmp", type=tarfile.SYMTYPE, linkname="/bin")
        image.add(tar, "bin/setuid", b"x", mode=0o4755)

    before = {p: os.stat(p) for p in ("/etc/group", "/etc/resolv.conf", "/tmp")}
    answer = image.send(daemon, image.archive(image.layer(nasty)))
    # /etc/group points to itself below its own root, where a file of the image would be; the host's is as it was.
    assert answer.status == 200 and answer.json["status"] == "failed" and "etc/group" in answer.json["error"]
    assert directories(daemon) == sorted(ready(daemon))
    for path, was in before.items():
        now = os.stat(path)
        assert (now.st_ino, now.st_mode, now.st_mtime_ns if path != "/tmp" else 0) == (was.st_ino, was.st_mode, was.st_mtime_ns if path != "/tmp" else 0)

    def odd(tar):
        image.add(tar, "dev", type=tarfile.DIRTYPE, mode=0o755)
        image.add(tar, "etc/passwd", b"toor::0:0::/:/bin/sh\nmine:x:1000:1000::/:/bin/sh", mode=0o644)
        image.add(tar, "etc/resolv.conf", type=tarfile.SYMTYPE, linkname="/../../../../../etc/resolv.conf")
        image.add(tar, "tmp", type=tarfile.SYMTYPE, linkname="/bin")

    built = completed(image.send(daemon, image.archive(image.layer(odd))).json)
    root = daemon.data / "templates" / built["template_id"] / "root"
    assert (root / "etc/passwd").read_text() == "toor::0:0::/:/bin/sh\nmine:x:1000:1000::/:/bin/sh\n", "both ids are taken"
    assert not (root / "etc/resolv.conf").is_symlink()
    assert daemon.request("DELETE", f"/templates/{built['template_id']}").status == 200


@pytest.mark.parametrize("what", ["no archive", "no shell", "dev is a link", "etc is a file", "empty"])
def test_what_can_be_no_template(daemon, what):
    data = {
        "no archive": b"x" * 2000,
        "no shell": image.archive(image.layer(lambda t: image.add(t, "etc/x", b"x"), shell=False)),
        "dev is a link": image.archive(image.layer(lambda t: image.add(t, "dev", type=tarfile.SYMTYPE, linkname="/bin"))),
        "etc is a file": image.archive(image.layer(lambda t: image.add(t, "proc", b"x"))),
        "empty": b"",
    }[what]
    answer = image.send(daemon, data, "?alias=never")
    if what == "empty":
        assert (answer.status, answer.code) == (400, "bad_archive")
    else:
        assert answer.status == 200 and answer.json["status"] == "failed" and answer.json["error"], answer.body
        kept = daemon.request("GET", f"/templates/builds/{answer.json['build_id']}").json
        assert kept["error"] == answer.json["error"] and kept["logs"] == answer.json["logs"]
        assert what != "no shell" or "shell" in kept["error"]
    assert eventually(lambda: daemon.request("GET", "/templates/never").status == 404)
    assert eventually(lambda: directories(daemon) == sorted(ready(daemon)))


def test_an_upload_that_stops_half_way(daemon):
    connection = daemon.connect()
    connection.putrequest("POST", "/templates/import?alias=half")
    connection.putheader("X-API-Key", daemon.key)
    connection.putheader("Content-Length", "100000")
    connection.endheaders()
    connection.send(b"x" * 5000)
    assert eventually(lambda: daemon.request("GET", "/templates/half").status == 200)
    assert daemon.request("POST", "/sandboxes", {"template": "half"}).code == "template_not_ready"
    connection.close()
    assert eventually(lambda: daemon.request("GET", "/templates/half").status == 404)
    assert eventually(lambda: directories(daemon) == sorted(ready(daemon)))
    assert eventually(lambda: not any(s.startswith("bld-") for s in names(daemon)))


def names(daemon):
    return [s["name"] for s in daemon.request("GET", "/sandboxes").json["sandboxes"]]


# Builds


def test_build_from_steps(daemon, box, made):
    built = completed(build(daemon, template={"base_image": "box", "run_cmds": ["echo \"$COLOR $SIZE\" > /made", "id >> /made; echo 'two\nlines'"], "envs": {"SIZE": "a \"b\" $c \\"}, "copies": [], "apt_packages": [], "start_cmd": None}, alias="steps", cpu_count=1, memory_mb=256, disk_mb=300))
    assert any("STEP" in line for line in built["logs"]) and built["sandbox_id"] not in daemon.ids("")
    template = daemon.request("GET", "/templates/steps").json
    assert (template["cpu_count"], template["memory_mb"], template["disk_mb"], template["source"]) == (1, 256, 300, "build")
    assert template["envs"] == {"PATH": "/bin", "COLOR": "blue", "SIZE": "a \"b\" $c \\"}
    sandbox = made(template="steps")
    assert sandbox["resources"] == {"vcpus": 1, "memory_mb": 256}
    result = daemon.run(sandbox["sandbox_id"], "cat /made; echo \"$SIZE\"; stat -f -c '%b %S' /")
    lines = result["stdout"].splitlines()
    assert lines[0] == "blue a \"b\" $c \\" and lines[1].startswith("uid=0") and lines[2] == "a \"b\" $c \\", result
    blocks, size = map(int, lines[3].split())
    assert blocks * size == 300 << 20


def test_build_from_a_dockerfile(daemon, box, made):
    text = f"""# stages, and a template by its id
FROM localhost/box AS first
RUN echo one > /one
FROM \\
  localhost/{box['template_id']}
COPY --from=first /one /two
ENV COLOR=red EXTRA="1 2"
"""
    completed(build(daemon, dockerfile=text, background=False, alias="stages"))
    sandbox = made(template="stages")["sandbox_id"]
    assert daemon.run(sandbox, "cat /two; echo $COLOR $EXTRA")["stdout"] == "one\nred 1 2\n"


def test_packages(daemon):
    """In the image by its own apt-get, each name a word of its own, in one call after the lists are fetched, and before run_cmds."""
    recorder = b"#!/bin/sh\nmkdir -p /var/lib/apt/lists\necho x > /var/lib/apt/lists/x\necho \"$DEBIAN_FRONTEND\" >> /apt\nfor word; do echo \"[$word]\" >> /apt; done\n"

    def more(tar):
        image.add(tar, "bin/apt-get", recorder, mode=0o755)
        image.add(tar, "bin/rm", type=tarfile.SYMTYPE, linkname="busybox")

    image.make(daemon, "apt", root=image.layer(more))
    built = completed(build(daemon, template={"base_image": "apt", "apt_packages": ["git", "g++:amd64", "lib*-dev"], "run_cmds": ["echo after >> /apt"]}))
    root = daemon.data / "templates" / built["template_id"] / "root"
    wanted = ["", "[update]", "noninteractive", "[install]", "[-y]", "[--no-install-recommends]", "[git]", "[g++:amd64]", "[lib*-dev]", "after"]
    assert (root / "apt").read_text().splitlines() == wanted
    assert list((root / "var/lib/apt/lists").iterdir()) == []
    for name in (built["template_id"], "apt"):
        assert daemon.request("DELETE", f"/templates/{name}").status == 200


def test_build_in_the_background(daemon, box):
    answer = build(daemon, template={"base_image": "box", "run_cmds": ["echo begun; sleep 3; echo done"]}, alias="later", background=True)
    assert answer["status"] == "building"
    assert daemon.request("POST", "/sandboxes", {"template": "later"}).code == "template_not_ready"
    assert daemon.request("DELETE", "/templates/later").code == "template_building"
    path = f"/templates/builds/{answer['build_id']}"
    seen = []

    def grown():
        now = daemon.request("GET", f"{path}?since={len(seen)}").json
        assert now["logs_from"] == len(seen)
        seen.extend(now["logs"])
        return now if now["status"] != "building" else None

    assert eventually(lambda: grown() or "begun" in seen, 60) and "done" not in seen, "lines are there while it runs"
    now = eventually(grown, 60)
    assert now and now["status"] == "completed" and "done" in seen
    assert daemon.request("GET", path).json["logs"] == seen
    assert daemon.request("DELETE", "/templates/later").status == 200


def test_a_build_that_fails_leaves_its_record(daemon, box):
    built = build(daemon, template={"base_image": "box", "run_cmds": ["echo about to; exit 7", "echo never"]}, alias="fails")
    assert built["status"] == "failed" and "about to" in built["logs"] and "never" not in built["logs"]
    assert "exit code" in built["error"]
    assert daemon.request("GET", f"/templates/builds/{built['build_id']}").json == built
    assert daemon.request("GET", f"/templates/{built['template_id']}").status == 404
    assert directories(daemon) == sorted(ready(daemon)) and built["sandbox_id"] not in daemon.ids("")


def test_what_a_build_may_do(daemon, box):
    """The steps of a build have no more than programs in other sandboxes."""
    commands = [
        "echo map $(cat /proc/self/uid_map)",
        "unshare -U true && echo user namespace || echo no user namespace",
        "unshare -n true && echo network namespace || echo no network namespace",
        "echo x > /proc/sys/kernel/core_pattern && echo core_pattern || echo no core_pattern",
        "mkdir /m; mount -t tmpfs x /m && echo tmpfs || echo no tmpfs",
        "echo x > /dev/null; touch /dev/x && echo dev || echo no dev",
        "chroot / true && echo chroot || echo no chroot",
        "echo bounding $(grep CapBnd /proc/self/status)",
    ]
    built = completed(build(daemon, template={"base_image": "box", "run_cmds": commands}))
    said = built["logs"]
    # Not the same as the host's: root inside is a number beyond its users.
    assert any(line.startswith("map 0 ") and int(line.split()[2]) > 65536 for line in said), said
    for line in ("no user namespace", "no network namespace", "no core_pattern", "no tmpfs", "no dev", "no chroot"):
        assert line in said, line
    # The server works in there with more than these: what leaves its root could change the programs that it runs next.
    bounding = int(next(line for line in said if line.startswith("bounding ")).split()[-1], 16)
    names = {"NET_ADMIN": 12, "SYS_MODULE": 16, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "MKNOD": 27, "SETFCAP": 31}
    assert [name for name, bit in names.items() if bounding >> bit & 1] in ([], ["SETFCAP"])
    assert daemon.request("DELETE", f"/templates/{built['template_id']}").status == 200


def test_its_network_policy_holds(daemon, box):
    """A registry that the policy does not name is not reached, and the log of the build's sandbox says so."""
    built = build(daemon, template={"base_image": "registry.example.com/x/y:1"}, network={"allow_out": ["other.example.com"]})
    assert built["status"] == "failed"
    log = daemon.request("GET", f"/sandboxes/{built['sandbox_id']}/network/log").json
    rows = log["decisions"]
    assert any(row["verdict"] == "deny" and row.get("name") == "registry.example.com" for row in rows), rows


def test_the_start_command(daemon, box, made):
    """It runs as the user when a sandbox is made, and the answer waits until it is ready."""
    steps = {"base_image": "box", "start_cmd": "sleep 0.5; echo $COLOR > /tmp/started; exec sleep 1000", "ready_check": "grep blue /tmp/started"}
    completed(build(daemon, template=steps, alias="starts"))
    sandbox = made(template="starts")["sandbox_id"]
    result = daemon.run(sandbox, "cat /tmp/started; stat -c %U /tmp/started")
    assert result["stdout"] == "blue\nuser\n", result
    assert [c["cmd"] for c in daemon.request("GET", f"/sandboxes/{sandbox}/commands").json] == [steps["start_cmd"]]


def test_an_alias_moves(daemon, made):
    first = image.make(daemon, "moving")
    second = image.make(daemon, "moving")
    assert first["template_id"] != second["template_id"]
    assert daemon.request("GET", "/templates/moving").json["template_id"] == second["template_id"]
    assert daemon.request("GET", f"/templates/{first['template_id']}").json["alias"] is None
    assert made(template="moving")["template_id"] == second["template_id"]
    assert made(template=first["template_id"])["template_id"] == first["template_id"]


def test_delete(daemon, made):
    template_id = image.make(daemon, "goes")["template_id"]
    sandbox = made(template="goes")["sandbox_id"]
    answer = daemon.request("DELETE", "/templates/goes")
    assert (answer.status, answer.code) == (409, "template_in_use")
    assert daemon.run(sandbox, "ls /bin/sh")["exit_code"] == 0
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    assert daemon.request("DELETE", "/templates/goes").json == {}
    assert template_id not in directories(daemon)
    assert daemon.request("DELETE", "/templates/goes").status == 404
    assert daemon.request("POST", "/sandboxes", {"template": "goes"}).status == 404


# Requests that are refused


@pytest.mark.parametrize(
    "body, code, word",
    [
        ({"alias": "base"}, "invalid_alias", "server itself"),
        ({"alias": "tpl-x"}, "invalid_alias", "ids"),
        ({"alias": "a/b"}, "invalid_alias", "letters"),
        ({"alias": "x" * 64}, "invalid_alias", "63"),
        ({"template": []}, "invalid_field", "template"),
        ({"dockerfile": 1}, "invalid_field", "dockerfile"),
        ({"dockerfile": "RUN true"}, "invalid_dockerfile", "FROM"),
        ({"dockerfile": "RUN echo \\\nFROM x"}, "invalid_dockerfile", "FROM"),
        ({"dockerfile": "# FROM x"}, "invalid_dockerfile", "FROM"),
        ({"dockerfile": "FROM x\n" + "#" * 65536}, "invalid_dockerfile", "64 KiB"),
        ({"dockerfile": "FROM x\0"}, "invalid_dockerfile", "NUL"),
        ({"dockerfile": "FROM localhost/a:1"}, "invalid_dockerfile", "tag"),
        ({"dockerfile": "FROM localhost/none"}, "unknown_template", "none"),
        ({"dockerfile": "\n".join(f"FROM localhost/t{i}" for i in range(9))}, "invalid_dockerfile", "8"),
        ({"dockerfile": "FROM x", "run_cmds": ["y"]}, "invalid_field", "run_cmds"),
        ({"dockerfile": "FROM x", "base_image": "y"}, "invalid_field", "base_image"),
        ({"base_image": "base"}, "invalid_field", "/usr"),
        ({"base_image": "a\nRUN b"}, "invalid_field", "base_image"),
        ({"base_image": "--x"}, "invalid_field", "base_image"),
        ({"run_cmds": "x"}, "invalid_field", "run_cmds"),
        ({"run_cmds": [1]}, "invalid_field", "run_cmds[0]"),
        ({"run_cmds": ["x"] * 257}, "invalid_field", "256"),
        ({"apt_packages": ["a; b"]}, "invalid_field", "apt_packages[0]"),
        ({"apt_packages": ["-x"]}, "invalid_field", "apt_packages[0]"),
        ({"envs": {"A B": "x"}}, "invalid_field", "A B"),
        ({"envs": {"A": "x\ny"}}, "invalid_field", "line break"),
        ({"copies": [{"src": "a", "dst": "b"}]}, "unsupported_option", "copies"),
        ({"ready_check": "true"}, "invalid_field", "start_cmd"),
        ({"cpu_count": 100000}, "invalid_field", "cpu_count"),
        ({"memory_mb": 100}, "invalid_field", "memory_mb"),
        ({"disk_mb": 102401}, "invalid_field", "disk_mb"),
        ({"disk_mb": "1"}, "invalid_field", "disk_mb"),
        ({"network": {"allow_out": ["not a name"]}}, None, ""),
        ({"background": "x"}, "invalid_field", "background"),
    ],
)
def test_refused_builds(daemon, body, code, word):
    answer = daemon.request("POST", "/templates/build", {"base_image": "nowhere.invalid/x", "background": False, **({} if "base_image" in body or "dockerfile" in body else {}), **({"base_image": None} if "dockerfile" in body and "base_image" not in body else {}), **body})
    assert answer.status in (400, 404), answer.body
    assert code is None or answer.code == code, answer.body
    assert word in answer.message, answer.message
    assert directories(daemon) == sorted(ready(daemon))


@pytest.mark.parametrize("body, word", [({"suite": "-x"}, "suite"), ({"suite": "a b"}, "suite"), ({"packages": ["a,b c"]}, "packages[0]"), ({"mirror": "ftp://x"}, "mirror"), ({"mirror": "http://x y"}, "mirror")])
def test_refused_debian(daemon, body, word):
    answer = daemon.request("POST", "/templates/debian", body)
    assert answer.status == 400 and word in answer.message


@pytest.mark.parametrize("query", ["alias=base", "tag=-x", "tag=a%20b", "cpu_count=x", "memory_mb=1", "background=maybe", "alias=%ff"])
def test_refused_imports(daemon, query):
    assert image.send(daemon, b"x", "?" + query).status == 400


# Bounds, owners, and the end


def test_others_have_their_own(daemon, box):
    other = new_key(daemon, "other")["api_key"]
    build_id = box["build_id"]
    for method, path in (("GET", "/templates/box"), ("GET", f"/templates/{box['template_id']}"), ("DELETE", "/templates/box"), ("GET", f"/templates/builds/{build_id}")):
        assert daemon.request(method, path, key=other).status == 404
    assert all(t["builtin"] for t in daemon.request("GET", "/templates", key=other).json["templates"])
    assert daemon.request("POST", "/sandboxes", {"template": "box"}, key=other).status == 404
    assert daemon.request("POST", "/templates/build", {"dockerfile": "FROM localhost/box"}, key=other).code == "unknown_template"
    theirs = image.make(daemon, "box", key=other)
    assert daemon.request("GET", "/templates/box").json["template_id"] == box["template_id"]
    assert daemon.request("DELETE", "/templates/box", key=other).status == 200
    assert daemon.request("GET", f"/templates/{theirs['template_id']}", key=other).status == 404
    assert daemon.request("GET", "/templates/box").status == 200


def test_a_sandbox_is_smaller_than_the_machine(make_daemon):
    d = make_daemon("--template-memory", "700")
    for sizes in ("memory_mb=400&disk_mb=301", "memory_mb=573", "disk_mb=573"):
        answer = image.send(d, b"", "?alias=big&" + sizes)
        assert (answer.status, answer.code) == (400, "invalid_field"), answer.body
    for alias, query, sizes in (("both", "&memory_mb=400&disk_mb=300", (400, 300)), ("disk", "&disk_mb=500", (200, 500)), ("none", "", (350, 350))):
        answer = image.send(d, image.archive(), f"?alias={alias}{query}")
        assert answer.status == 200, answer.body
        template = d.request("GET", f"/templates/{alias}").json
        assert (template["memory_mb"], template["disk_mb"]) == sizes
    d.create(template="both")
    assert d.stop(remove=False) == 0
    # What was made before the server gave less.
    again = make_daemon("--template-memory", "699", data=d.data)
    answer = again.request("POST", "/sandboxes", {"template": "both"})
    assert (answer.status, answer.code) == (422, "template_too_large") and "--template-memory" in answer.message
    assert again.stop(remove=False) == 0
    # Nobody has said: half of what there is.
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 >> 20
    answer = image.send(make_daemon(data=d.data), b"", f"?alias=big&memory_mb={half - 200}&disk_mb=201")
    assert (answer.status, answer.code) == (400, "invalid_field"), answer.body


def test_a_volume_does_not_hide_the_root(daemon):
    """What a template's link can do to a request is the request's fault: a client would repeat a 500."""
    image.make(daemon, "to-root", root=image.layer(lambda tar: [image.add(tar, name, type=tarfile.SYMTYPE, linkname=to) for name, to in (("x", "/"), ("y", "x/../.."))]))
    volume = make_volume(daemon, "hides", tar_gz({"a": b"a"}))["volume_id"]
    for path in ("/x", "/y"):
        for mode in ("mount-ro", "copy"):
            answer = daemon.request("POST", "/sandboxes", {"template": "to-root", "volumes": [{"volume_id": volume, "mount_path": path, "mode": mode}]})
            assert (answer.status, answer.code) == (422, "invalid_mount_path"), answer.body
    daemon.create(template="to-root", volumes=[{"volume_id": volume, "mount_path": "/x/below", "mode": "mount-ro"}])


def test_a_copied_volume_is_held_against_its_disk(daemon, box):
    built = completed(build(daemon, template={"base_image": "box"}, disk_mb=128))
    volume = make_volume(daemon, "large", tar_gz({"a": bytes(140 << 20)}))["volume_id"]
    body = {"template": built["template_id"], "volumes": [{"volume_id": volume, "mount_path": "/a"}]}
    answer = daemon.request("POST", "/sandboxes", body)
    assert (answer.status, answer.code) == (413, "not_enough_space") and "has 128" in answer.message
    daemon.create(template=built["template_id"], volumes=[{"volume_id": volume, "mount_path": "/a", "mode": "mount-ro"}])


def test_one_owner_leaves_a_build_to_others(make_daemon):
    d = make_daemon("--builds", "2")
    other = new_key(d, "other")["api_key"]
    image.make(d, "box")
    image.make(d, "box", key=other)
    slow = {"template": {"base_image": "box", "run_cmds": ["sleep 1000"]}, "background": True}
    build(d, **slow)
    answer = d.request("POST", "/templates/build", slow)
    assert (answer.status, answer.code) == (429, "too_many_builds")
    build(d, key=other, **slow)


def test_bounds_and_a_stop(make_daemon):
    d = make_daemon("--builds", "1", "--build-timeout", "100")
    image.make(d, "box")
    slow = {"template": {"base_image": "box", "run_cmds": ["echo begun; sleep 1000"]}, "background": True}
    first = build(d, **slow)
    answer = d.request("POST", "/templates/build", slow)
    assert (answer.status, answer.code) == (429, "too_many_builds")
    assert eventually(lambda: "begun" in d.request("GET", f"/templates/builds/{first['build_id']}").json["logs"], 60)
    began = time.monotonic()
    assert d.stop(remove=False) == 0
    assert time.monotonic() - began < 15
    assert len(directories(d)) == 1
    again = make_daemon(data=d.data)
    record = again.request("GET", f"/templates/builds/{first['build_id']}").json
    assert record["status"] == "failed" and "stopped" in record["error"] and "begun" in record["logs"]
    assert again.request("GET", "/templates/box").json["status"] == "ready"


def test_a_server_that_was_killed(make_daemon):
    d = make_daemon()
    image.make(d, "box")
    first = build(d, template={"base_image": "box", "run_cmds": ["echo begun; sleep 1000"]}, background=True)
    assert eventually(lambda: "begun" in d.request("GET", f"/templates/builds/{first['build_id']}").json["logs"], 60)
    (d.data / "templates" / first["template_id"] / "root").mkdir(parents=True)
    d.process.kill()
    d.process.wait()
    again = make_daemon(data=d.data)
    record = again.request("GET", f"/templates/builds/{first['build_id']}").json
    assert record["status"] == "failed" and "restarted" in record["error"]
    assert len(directories(again)) == 1


def test_too_slow(make_daemon):
    d = make_daemon("--build-timeout", "3")
    image.make(d, "box")
    built = build(d, template={"base_image": "box", "run_cmds": ["sleep 1000"]})
    assert built["status"] == "failed" and "longer than 3 s" in built["error"]


def test_who_waits_and_leaves_ends_the_build(daemon, box):
    connection = daemon.connect()
    body = json.dumps({"template": {"base_image": "box", "run_cmds": ["echo begun; sleep 1000"]}, "alias": "left"})
    connection.request("POST", "/templates/build", body, {"X-API-Key": daemon.key})
    assert eventually(lambda: daemon.request("GET", "/templates/left").status == 200)
    connection.sock.close()
    assert eventually(lambda: daemon.request("GET", "/templates/left").status == 404, 20)
    assert eventually(lambda: not any(n.startswith("bld-") for n in names(daemon)))


def test_a_long_wait_has_spaces(make_daemon):
    d = make_daemon(env={"DECLAW_TEST_SILENT_MS": "200"})
    image.make(d, "box")
    connection = d.connect()
    connection.request("POST", "/templates/build", json.dumps({"template": {"base_image": "box", "run_cmds": ["sleep 1"]}}), {"X-API-Key": d.key})
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200 and text.startswith(b"  ")
    assert json.loads(text)["status"] == "completed"


def test_killing_its_sandbox_ends_it(daemon, box):
    built = build(daemon, template={"base_image": "box", "run_cmds": ["sleep 1000"]}, background=True)
    path = f"/templates/builds/{built['build_id']}"
    sandbox = eventually(lambda: daemon.request("GET", path).json["sandbox_id"])
    assert daemon.request("DELETE", f"/sandboxes/{sandbox}").status == 200
    assert eventually(lambda: daemon.request("GET", path).json["status"] == "failed")


def test_log_is_bounded(daemon, box):
    lines = "i=0; while [ $i -lt 20000 ]; do echo line $i 0123456789012345678901234567890123456789; i=$((i+1)); done"
    built = completed(build(daemon, template={"base_image": "box", "run_cmds": [lines]}))
    assert built["logs_from"] > 0 and sum(map(len, built["logs"])) < 300_000
    # The last ones. Which of them stands on a line of its own is buildah's doing: it relays pieces, between lines of its own.
    assert any(f"line {i} " in line for i in range(19950, 20000) for line in built["logs"])
    assert daemon.request("DELETE", f"/templates/{built['template_id']}").status == 200


# Clients


def test_the_python_client(daemon, box):
    script = """
import asyncio, declaw
from declaw import AsyncTemplate, Sandbox, Template, TemplateBase
lines = []
made = Template.build(TemplateBase().from_base_image("box").run_cmd("echo made > /made"), "by-sdk", memory_mb=256, on_build_logs=lines.append)
assert made.status == "completed" and any("STEP" in line for line in lines), (made, lines)
assert Template.get_build_status(made.build_id).status == "completed"
with Sandbox.create(template="by-sdk") as sandbox:
    assert sandbox.commands.run("cat /made").stdout == "made\\n"
    try:
        Template.delete("by-sdk")
        raise AssertionError("deleted while in use")
    except declaw.exceptions.ConflictError:
        pass
    sandbox.kill()
assert "by-sdk" in [t["alias"] for t in Template.list()]
try:
    Template.build(TemplateBase().from_base_image("box").run_cmd("exit 3"), "never")
    raise AssertionError("built")
except declaw.exceptions.BuildError as e:
    assert "exit" in str(e)
assert asyncio.run(AsyncTemplate.get(made.template_id))["alias"] == "by-sdk"
"""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "sdk/python"), "DECLAW_API_KEY": daemon.key, "DECLAW_DOMAIN": f"127.0.0.1:{daemon.port}"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: daemon.request("DELETE", "/templates/by-sdk").status == 200)


def test_the_command_line(daemon, tmp_path):
    env = {**os.environ, "DECLAW_API_KEY": daemon.key, "DECLAW_API_URL": f"http://127.0.0.1:{daemon.port}"}

    def declaw(*words, code=0):
        done = subprocess.run([str(build_dir() / "src/cli/declaw"), *words], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        return done

    for name, data in image.layout([("latest", image.layer())], ["PATH=/bin"]).items():
        (tmp_path / "layout" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "layout" / name).write_bytes(data)
    (tmp_path / "image.tar").write_bytes(image.archive())
    first = declaw("template", "import", str(tmp_path / "layout"), "--alias", "by-cli").stdout.strip()
    second = declaw("template", "import", str(tmp_path / "image.tar"), "--alias", "by-cli", "--memory", "256").stdout.strip()
    assert first != second and {first, second} <= set(declaw("template", "ls", "-q").stdout.split())
    (tmp_path / "Dockerfile").write_text("FROM localhost/by-cli\nRUN echo from a file > /made\n")
    done = declaw("template", "build", "-f", str(tmp_path), "--alias", "by-file")
    assert "STEP 2/2" in done.stderr and done.stdout.strip().startswith("tpl-")
    sandbox = declaw("sandbox", "create", "--template", "by-file").stdout.strip()
    assert declaw("sandbox", "exec", sandbox, "--", "cat", "/made").stdout == "from a file\n"
    assert "alive" in declaw("template", "rm", "by-file", code=1).stderr
    declaw("sandbox", "kill", "--wait", sandbox)
    done = declaw("template", "build", "--base", "by-cli", "--run", "echo no; exit 9", code=1)
    assert "\nno\n" in done.stderr and "the build failed" in done.stderr
    declaw("template", "rm", "by-file", first, second)
