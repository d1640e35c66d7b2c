# SPDX-License-Identifier: Apache-2.0
"""Odd paths through the file API: documented answers, resolved inside the sandbox alone, and the host untouched."""
import os
import secrets
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Iterator, List, Tuple
from urllib.parse import quote

import pytest
from ground import Api, Answer

HOST_SECRET = f"host-{secrets.token_hex(16)}"


class Files:
    """The file API of one sandbox."""

    def __init__(self, api: Api, sbx: Any) -> None:
        self.api, self.sbx = api, sbx
        self.base = f"/sandboxes/{sbx.sandbox_id}/files"

    def read(self, path: str, user: str = "user", raw_path: str = "") -> Answer:
        return self.api.call("GET", f"{self.base}?path={raw_path or quote(path)}&username={user}", timeout=20)

    def write(self, path: str, data: str = "x", user: str = "user") -> Answer:
        return self.api.call("POST", self.base, {"path": path, "data": data, "username": user}, timeout=20)

    def put(self, path: str, data: bytes, user: str = "user", raw_path: str = "") -> Answer:
        return self.api.call("PUT", f"{self.base}/raw?path={raw_path or quote(path)}&username={user}", data, timeout=20)

    def sh(self, command: str, user: str = "user") -> str:
        done = self.sbx.commands.run(command, user=user, timeout=30)
        assert done.exit_code == 0, done
        return str(done.stdout)


@pytest.fixture(scope="module")
def files(daemon: Any) -> Iterator[Files]:
    api = Api(daemon)
    sbx = api.sandbox(template="python")
    yield Files(api, sbx)
    sbx.kill()


@pytest.fixture(scope="module")
def canary() -> Iterator[Path]:
    """A file of the host, readable by everybody; its folder is writable by everybody."""
    folder = Path("/tmp") / f"declaw-canary-{secrets.token_hex(8)}"
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "secret"
    path.write_text(HOST_SECRET)
    path.chmod(0o666)
    yield path
    assert path.read_text() == HOST_SECRET
    assert [entry.name for entry in folder.iterdir()] == ["secret"]
    path.unlink()
    folder.rmdir()


def test_plain(files: Files) -> None:
    """The control arm."""
    assert files.write("/tmp/plain", "text").status == 200
    assert files.read("/tmp/plain").body == b"text"
    assert files.put("/tmp/plain", b"\0\xff").status == 200
    assert files.read("/tmp/plain").body == b"\0\xff"
    assert files.write("relative/file", "r").status == 200
    assert files.sh("cat /home/user/relative/file") == "r"
    files.read("/tmp/missing").error(404)


@pytest.mark.parametrize("path", ["/tmp/../etc/passwd", "..", "../x", "/..", "/tmp/..", "/a/b/../../etc/shadow"])
def test_dot_dot(files: Files, path: str) -> None:
    for answer in (files.read(path), files.write(path), files.put(path, b"x")):
        answer.error(400, "invalid_path")


@pytest.mark.parametrize("path", ["%2e%2e/etc/passwd", "%2e%2e%2fetc%2fpasswd", "/tmp/%2E%2E/x"])
def test_dot_dot_encoded(files: Files, path: str) -> None:
    for answer in (files.read("", raw_path=path), files.put("", b"x", raw_path=path)):
        answer.error(400, "invalid_path")


def test_names_that_only_look_like_it(files: Files) -> None:
    for name in ("/tmp/..a", "/tmp/a..", "/tmp/...", "/tmp/ .."):
        assert files.write(name, name).status == 200
        assert files.read(name).body == name.encode()


def test_empty_long_and_missing(files: Files) -> None:
    files.read("").error(400)
    files.write("").error(400)
    files.api.call("GET", files.base).error(400)
    for path in ("/tmp/" + "a" * 256, "/" + "a/" * 2040 + "b" * 20, "/" + "a" * 5000):
        for answer in (files.read(path), files.write(path)):
            assert answer.status in (400, 404), (path[:20], answer)
            answer.error(answer.status)


def test_nul(files: Files) -> None:
    """A path that ends elsewhere for one reader than for another."""
    files.read("", raw_path="/tmp/plain%00.txt").error(400)
    files.put("", b"x", raw_path="/tmp/nul%00.txt").error(400)
    files.write("/tmp/nul\0.txt").error(400)
    assert files.sh("ls /tmp").count("nul") == 0


def test_not_utf8(files: Files) -> None:
    answer = files.put("", b"bytes", raw_path="/tmp/%ff%fe")
    assert answer.status in (200, 400), answer
    if answer.status == 200:
        assert files.read("", raw_path="/tmp/%ff%fe").body == b"bytes"
    else:
        answer.error(400)


def test_links_to_the_host(files: Files, canary: Path) -> None:
    """A link is followed, inside. What it names on the host is not what it names there."""
    for target in (str(canary), f"/proc/self/root{canary}", f"/proc/1/root{canary}", f"/../../..{canary}", f"/proc/self/cwd{canary}"):
        files.sh(f"rm -f /tmp/link; ln -s '{target}' /tmp/link")
        for user in ("user", "root"):
            answer = files.read("/tmp/link", user)
            assert answer.status in (400, 403, 404), (target, answer)
            assert HOST_SECRET.encode() not in answer.body
    files.sh("rm -f /tmp/link; ln -s /etc/shadow /tmp/link; echo own-shadow > /etc/shadow; chmod 600 /etc/shadow", user="root")
    assert files.read("/tmp/link", "root").body == b"own-shadow\n"
    files.read("/tmp/link").error(403)
    files.sh("rm -f /tmp/link; ln -s /etc/passwd /tmp/link", user="root")
    assert files.read("/tmp/link").body == files.sh("cat /etc/passwd").encode() != Path("/etc/passwd").read_bytes()


def test_writes_through_links(files: Files, canary: Path) -> None:
    """The folder is made inside, on the way, and the host's stays as it is (the fixture looks)."""
    files.sh(f"mkdir -p {canary.parent}; rm -f /tmp/out; ln -s {canary} /tmp/out; rm -f /tmp/dir; ln -s {canary.parent} /tmp/dir")
    for path in ("/tmp/out", "/tmp/dir/new", f"{canary}", f"/proc/self/root{canary}"):
        answer = files.write(path, "mine")
        assert answer.status in (200, 400, 403), (path, answer)
    assert files.read(str(canary)).body == b"mine"
    assert canary.read_text() == HOST_SECRET


def test_link_loops(files: Files) -> None:
    files.sh("rm -f /tmp/a /tmp/b; ln -s /tmp/b /tmp/a; ln -s /tmp/a /tmp/b")
    for answer in (files.read("/tmp/a"), files.write("/tmp/a"), files.write("/tmp/a/b")):
        answer.error(400)


SWAPPER = """
import os, sys, time
os.makedirs(sys.argv[1], exist_ok=True)
os.makedirs("/tmp/real", exist_ok=True)
until, n = time.monotonic() + 2, 0
while time.monotonic() < until:
    n += 1
    os.symlink((sys.argv[1], "/tmp/real", "/proc/1/root/tmp", "/proc/self/root" + sys.argv[1])[n % 4], "/tmp/next")
    os.rename("/tmp/next", "/tmp/race")
print(n)
"""


def test_swapped_while_written(files: Files, canary: Path) -> None:
    """A folder that is ever another link while the server goes below it: it may go either way, but inside."""
    files.write("/tmp/swapper.py", SWAPPER)
    files.sh("ln -sfn /tmp /tmp/race")
    swaps: List[str] = []
    swapper = threading.Thread(target=lambda: swaps.append(files.sh(f"python3 /tmp/swapper.py {canary.parent}")))
    swapper.start()
    statuses: Counter[int] = Counter()
    while swapper.is_alive():
        statuses[files.write("/tmp/race/secret", "mine").status] += 1
        answer = files.read("/tmp/race/secret")
        statuses[answer.status] += 1
        assert HOST_SECRET.encode() not in answer.body
    swapper.join()
    print(f"{swaps[0].strip()} swaps, statuses {dict(statuses)}")
    assert statuses[200] and set(statuses) <= {200, 400, 403, 404}


def test_proc(files: Files) -> None:
    assert files.read("/proc/self/root/etc/hostname").body.decode().strip() == files.sbx.sandbox_id
    for path in ("/proc/1/environ", "/proc/1/root/etc/passwd", "/proc/1/mem", "/proc/1/exe", "/proc/1/fd/3"):
        for user in ("user", "root"):
            files.read(path, user).error(403)
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"):
        answer = files.write(path, "|/tmp/x", "root")
        assert answer.status in (400, 403), answer
    assert b"declaw" not in files.read("/proc/self/mountinfo").body


SPECIAL: List[Tuple[str, str]] = [
    ("fifo", "mkfifo {0}"), ("socket", "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('{0}')\""),
    ("folder", "mkdir {0}"),
]


@pytest.mark.parametrize("kind,make", SPECIAL, ids=[kind for kind, _ in SPECIAL])
def test_special_files(files: Files, kind: str, make: str) -> None:
    """Nobody is on the other side, and nobody waits for one."""
    path = f"/tmp/special-{kind}"
    files.sh(f"rm -rf {path}; " + make.format(path))
    begun = time.monotonic()
    for answer in (files.read(path), files.write(path), files.put(path, b"x" * 100_000)):
        answer.error(400)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty", "/dev/stdin", "/dev/pts/ptmx", "/dev/random"])
def test_devices(files: Files, path: str) -> None:
    begun = time.monotonic()
    for answer in (files.read(path), files.write(path)):
        assert answer.status in (400, 403, 404), answer
        answer.error(answer.status)
    assert time.monotonic() - begun < 10


def test_owners(files: Files) -> None:
    """What the API writes belongs to who it was written for, and permissions are those of that user."""
    assert files.write("/tmp/of-user", "x").status == 200
    assert files.write("/tmp/of-root", "x", "root").status == 200
    assert files.sh("stat -c '%U %G %a' /tmp/of-user /tmp/of-root").split("\n")[:2] == ["user user 644", "root root 644"]
    files.write("/root/x", "x").error(403)
    files.write("/usr/bin/x", "x").error(403)
    files.write("/tmp/of-root", "changed").error(403)
    files.read("/tmp/x", "nobody-of-this-name").error(400)
    assert files.sh("cat /tmp/of-root") == "x"
    assert not os.path.exists("/tmp/of-user")
