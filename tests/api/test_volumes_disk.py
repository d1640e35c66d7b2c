# SPDX-License-Identifier: Apache-2.0
"""A server whose disk is small: neither volumes nor templates take the last of it, however small they are as they are sent."""

import os
import shlex
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List

import image
import pytest
from conftest import Daemon, eventually
from test_volumes import MIB, ids, make, on_disk, tar_gz

SPARE = 256 * MIB


class SmallDisk(Daemon):
    """Its data is on a tmpfs that only its own mount namespace has."""

    def __init__(self, mount: str, *args: str) -> None:
        self.mount = mount
        super().__init__(*args)

    def program(self) -> str:
        self.data.mkdir()
        script = self.folder / "start"
        inner = f'mount -t tmpfs -o mode=700,{self.mount} none {shlex.quote(str(self.data))} && exec "$0" "$@"'
        script.write_text(f"#!/bin/sh\nexec unshare -m --propagation private sh -c {shlex.quote(inner)} {shlex.quote(super().program())} \"$@\"\n")
        script.chmod(0o700)
        return str(script)

    def wait_ready(self) -> None:
        seen = Path(f"/proc/{self.process.pid}/root{self.data}")
        self.data = seen
        super().wait_ready()


@pytest.fixture
def small_disk() -> Iterator[Callable[..., Daemon]]:
    made: List[Daemon] = []

    def start(*args: str) -> Daemon:
        made.append(SmallDisk(*args))
        return made[-1]

    yield start
    for d in made:
        print(d.log())
        d.stop()


class Lowest:
    """The least that was free meanwhile."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon, self.end, self.bytes = daemon, threading.Event(), 1 << 62

    def __enter__(self) -> "Lowest":
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self) -> None:
        while not self.end.wait(0.01):
            s = os.statvfs(self.daemon.data)
            self.bytes = min(self.bytes, s.f_bavail * s.f_frsize)

    def __exit__(self, *_: Any) -> None:
        self.end.set()
        self.thread.join()


def test_a_small_upload_that_is_large(small_disk: Any) -> None:
    daemon = small_disk("size=1200m")
    body = tar_gz({"f": bytes(1100 * MIB)})
    assert len(body) < 2 * MIB
    with Lowest(daemon) as lowest:
        answer = daemon.request("POST", "/volumes?name=v", body)
    assert (answer.status, answer.code) == (413, "no_space"), answer.body
    assert lowest.bytes > SPARE // 4, "it is ended well before the disk is full"
    assert ids(daemon) == [] and eventually(lambda: on_disk(daemon) == [])
    assert make(daemon, "small", tar_gz({"f": b"x"}))


def test_many_empty_files(small_disk: Any) -> None:
    daemon = small_disk("size=600m,nr_inodes=40000")
    answer = daemon.request("POST", "/volumes?name=v", tar_gz({f"f{i}": b"" for i in range(30_000)}))
    assert (answer.status, answer.code) == (413, "no_space"), answer.body
    assert ids(daemon) == [] and eventually(lambda: on_disk(daemon) == [], 20)


def test_a_template(small_disk: Any) -> None:
    daemon = small_disk("size=700m")
    box = image.make(daemon, "box")["template_id"]
    body = {"template": {"base_image": "box", "run_cmds": ["dd if=/dev/zero of=/zeros bs=1048576 count=600"]}}
    with Lowest(daemon) as lowest:
        answer = daemon.request("POST", "/templates/build", body, timeout=200)
    assert answer.json["status"] == "failed" and "disk is nearly full" in answer.json["error"], answer.body
    assert lowest.bytes > SPARE // 4
    assert eventually(lambda: [p for p in os.listdir(daemon.data / "templates") if p.startswith("tpl-")] == [box])


def test_no_build_begins_on_a_full_disk(small_disk: Any) -> None:
    daemon = small_disk("size=200m")
    for path in ("/volumes?name=v", "/templates/import?alias=a"):
        answer = daemon.request("POST", path, b"x" * 1000, {"Content-Type": "application/octet-stream"})
        assert (answer.status, answer.code) == (413, "no_space"), path
