# SPDX-License-Identifier: Apache-2.0
"""declaw-unpack against archives that mean harm: nothing is written outside, nothing is followed, everything is bounded."""

import gzip
import io
import json
import os
import socket
import stat
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

import pytest
from conftest import build_dir

MIB = 1 << 20
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Done(NamedTuple):
    code: int
    result: Dict[str, Any]
    root: Path

    @property
    def error(self) -> Optional[str]:
        return (self.result["error"] or {}).get("code")

    def names(self) -> List[str]:
        return sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*"))


Unpack = Callable[..., Done]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    made: List[Path] = []

    def run(archive: Union[bytes, Iterable[bytes]], mode: str = "volume", max_bytes: int = 64 * MIB,
            entries: int = 10_000) -> Done:
        root = tmp_path / f"target{len(made)}"
        made.append(root)
        root.mkdir()
        os.chown(root, 1000, 1000)
        argv = [str(build_dir() / "src/unpack/declaw-unpack"), mode, str(max_bytes), str(entries)]
        p = subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            for piece in [archive] if isinstance(archive, bytes) else archive:
                p.stdin.write(piece)
            p.stdin.close()
        except BrokenPipeError:
            pass
        text = p.stdout.read()
        code = p.wait(60)
        assert text.count(b"\n") == 1, text
        return Done(code, json.loads(text), root)

    return run


def entry(name: str, data: bytes = b"", **fields: Any) -> Tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*entries: Tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, zip: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue()) if zip else out.getvalue()


def directory(name: str, **fields: Any) -> Tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> Tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> Tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.write_text("untouched")
    return path


# Volumes


def test_plain(unpack: Unpack) -> None:
    d = unpack(tar(directory("a", mode=0o700), entry("a/b/c.txt", b"hello", mode=0o640, uid=0, gid=0, mtime=1_000_000_000),
                   entry("ünï/\N{GRINNING FACE}", b"x"), entry("./x", b"y", mode=0o4755)))
    assert (d.code, d.error) == (0, None)
    assert d.result["files"] == 3 and d.result["dirs"] == 3 and d.result["bytes"] == 7 and d.result["dropped"] == 0
    assert d.names() == ["a", "a/b", "a/b/c.txt", "x", "ünï", "ünï/\N{GRINNING FACE}"]
    st = (d.root / "a/b/c.txt").stat()
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode), st.st_mtime) == (1000, 1000, 0o640, 1_000_000_000)
    assert stat.S_IMODE((d.root / "x").stat().st_mode) == 0o755, "no setuid in a volume"
    assert (d.root / "a").stat().st_uid == 1000 and (d.root / "ünï").stat().st_uid == 1000


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats(unpack: Unpack, form: int) -> None:
    name = "d" * 80 + "/" + "f" * 90
    d = unpack(tar(entry(name, b"long"), form=form))
    assert d.code == 0 and (d.root / name).read_bytes() == b"long"


def test_a_volume_has_files_and_directories_only(unpack: Unpack) -> None:
    d = unpack(tar(entry("f", b"1"), symlink("s", "/etc/passwd"), hardlink("h", "f"), entry("p", type=tarfile.FIFOTYPE),
                   entry("c", type=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("b", type=tarfile.BLKTYPE)))
    assert d.code == 0 and d.names() == ["f"]
    assert d.result["dropped"] == 5 and d.result["dropped_links"] == 2 and d.result["dropped_kinds"] == 3


@pytest.mark.parametrize("mode", ["volume", "template"])
@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..", "a/..", "{outside}", "//etc/x", "/", "x" * 256,
                                  "d/" * 129 + "f", "/".join(["y" * 200] * 25)])
def test_paths_that_are_dropped(unpack: Unpack, outside: Path, mode: str, name: str) -> None:
    d = unpack(tar(entry(name.format(outside=outside), b"evil"), entry("good", b"1")), mode)
    assert d.code == 0 and d.names() == ["good"] and d.result["dropped_paths"] == 1
    assert outside.read_text() == "untouched" and sorted(os.listdir(outside.parent)) == ["outside", "target0"]


def test_unreadable_directories_are_still_filled(unpack: Unpack) -> None:
    d = unpack(tar(directory("d", mode=0), entry("d/f", b"1", mode=0)))
    assert d.code == 0 and d.names() == ["d", "d/f"]
    assert stat.S_IMODE((d.root / "d").stat().st_mode) == 0o700 and stat.S_IMODE((d.root / "d/f").stat().st_mode) == 0


def test_later_entries_win(unpack: Unpack) -> None:
    d = unpack(tar(entry("f", b"first, longer"), entry("f", b"second"), directory("d"), entry("d", b"now a file"),
                   entry("x", b"file"), directory("x"), entry("x/in", b"1")))
    assert d.code == 0 and d.names() == ["d", "f", "x", "x/in"]
    assert (d.root / "f").read_bytes() == b"second" and (d.root / "d").read_bytes() == b"now a file"
    assert d.result["files"] == 3 and d.result["bytes"] == len(b"second" b"now a file" b"1") and d.result["dirs"] == 1


def test_what_is_in_the_way_is_dropped(unpack: Unpack) -> None:
    d = unpack(tar(entry("f", b"1"), entry("f/below", b"2"), directory("f2/full"), entry("f2", b"3"), entry("f/a/b", b"4")))
    assert d.code == 0 and d.names() == ["f", "f2", "f2/full"] and d.result["dropped_conflicts"] == 3


def test_a_directory_that_went_is_not_used_again(unpack: Unpack) -> None:
    """The directory of the last entry is kept open: it must not be written to when it has become something else."""
    d = unpack(tar(directory("d"), entry("d/one", b"1"), entry("e/x", type=tarfile.CHRTYPE), directory("g/"), entry("g", b"file"),
                   entry("g/late", b"2"), entry("d/two", b"3")))
    assert d.code == 0 and d.names() == ["d", "d/one", "d/two", "g"]


# What is no archive


def test_truncated(unpack: Unpack) -> None:
    whole = tar(entry("a", os.urandom(100_000)), entry("b", os.urandom(100_000)))
    for n in (1, 10, 1000, len(whole) // 2, len(whole) - 9):
        d = unpack(whole[:n])
        assert d.code == 1 and d.error == "bad_archive", n
        assert "/" not in d.result["error"]["message"]


@pytest.mark.parametrize("bytes_", [b"", b"hello", b"\0" * 10_240, gzip.compress(b""), gzip.compress(b"no tar" * 1000),
                                    gzip.compress(gzip.compress(b"x")), b"\x1f\x8b" + b"\xff" * 5000, b"BZh9" + b"1" * 100],
                         ids=["nothing", "text", "zeros", "gzip-nothing", "gzip-text", "gzip-gzip", "gzip-broken", "bzip2"])
def test_no_archive(unpack: Unpack, bytes_: bytes) -> None:
    d = unpack(bytes_)
    assert d.code == 1 and d.error == "bad_archive" and d.names() == []


def test_a_volume_is_compressed(unpack: Unpack) -> None:
    plain = tar(entry("f", b"1"), zip=False)
    d = unpack(plain)
    assert (d.code, d.error, d.names()) == (1, "bad_archive", [])
    assert unpack(plain, "template").names() == ["f"]


def test_an_empty_archive(unpack: Unpack) -> None:
    d = unpack(tar())
    assert (d.code, d.error, d.names()) == (0, None, [])


def test_damaged_bytes_never_crash(unpack: Unpack) -> None:
    whole = bytearray(tar(directory("d"), entry("d/f", b"x" * 2000), symlink("s", "d"), hardlink("h", "d/f"), zip=False))
    for at in range(0, len(whole), 61):
        bad = bytearray(whole)
        bad[at] ^= 0xFF
        d = unpack(bytes(bad), "template")
        assert d.code in (0, 1), (at, d.result)


# Bombs


def zeros(header: bytes, mebibytes: int) -> Iterable[bytes]:
    c = __import__("zlib").compressobj(9, wbits=31)
    yield c.compress(header)
    block = bytes(MIB)
    for _ in range(mebibytes):
        yield c.compress(block)
    yield c.flush()


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    """A GNU header, whose size may be any number of 63 bits."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def test_ten_gigabytes_of_zeros(unpack: Unpack) -> None:
    d = unpack(zeros(header("bomb", 10 << 30), 10 << 10))
    assert (d.code, d.error) == (1, "too_large") and sum(p.stat().st_size for p in d.root.rglob("*")) == 0


def test_many_files_up_to_the_bound(unpack: Unpack) -> None:
    d = unpack(tar(*[entry(f"f{i}", b"x" * MIB) for i in range(5)]), max_bytes=3 * MIB)
    assert (d.code, d.error) == (1, "too_large") and sum(p.stat().st_size for p in d.root.rglob("*")) <= 3 * MIB
    assert unpack(tar(entry("f", b"x" * MIB)), max_bytes=MIB).code == 0


def test_replaced_files_count(unpack: Unpack) -> None:
    assert unpack(tar(*[entry("f", b"x" * MIB) for _ in range(5)]), max_bytes=3 * MIB).error == "too_large"


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 1, (1 << 63) - 512])
@pytest.mark.parametrize("kind", [b"0", b"2", b"3"])
def test_lies_about_sizes(unpack: Unpack, size: int, kind: bytes) -> None:
    d = unpack(gzip.compress(header("liar", size, kind) + b"x" * 4096))
    assert d.code in (0, 1) and d.result["bytes"] == 0
    if kind == b"0":
        assert d.error in ("too_large", "bad_archive")


def test_too_many_entries(unpack: Unpack) -> None:
    assert unpack(tar(*[entry(f"f{i}") for i in range(11)]), entries=10).error == "too_many"
    assert unpack(tar(*[symlink(f"f{i}", "x") for i in range(11)]), entries=10).error == "too_many", "dropped ones are work too"
    assert unpack(tar(*[entry(f"f{i}") for i in range(10)]), entries=10).code == 0


def test_parents_are_bounded_too(unpack: Unpack) -> None:
    d = unpack(tar(*[entry("/".join(f"{i}-{j}" for j in range(60)) + "/f") for i in range(5)]), entries=100)
    assert d.error == "too_many" and len(d.names()) <= 105


def test_a_flood_of_headers(unpack: Unpack) -> None:
    """Global headers are no entries, so no count of entries ends them."""
    out = io.BytesIO()
    for _ in range(200_000):
        out.write(tarfile.TarInfo.create_pax_global_header({"comment": "x" * 400}))
    d = unpack(gzip.compress(out.getvalue() + tar(entry("f"), zip=False), 1))
    assert d.code == 1 and d.error in ("bad_archive", "too_many")


def test_pax_globals(unpack: Unpack) -> None:
    """What a global header says of owner and path holds for nothing that is kept here."""
    for pax in ({"path": "../outside"}, {"uid": "0", "SCHILY.xattr.security.capability": "x"}, {"size": str(1 << 50)}):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=pax) as t:
            t.addfile(*[entry("f", b"1")[0]], io.BytesIO(b"1"))
        d = unpack(gzip.compress(out.getvalue()))
        assert d.code in (0, 1)
        assert set(d.names()) <= {"f"} and sorted(os.listdir(d.root.parent)) == sorted(
            p for p in os.listdir(d.root.parent) if p.startswith("target"))


def test_a_huge_pax_header(unpack: Unpack) -> None:
    d = unpack(tar(entry("f", b"1", pax_headers={"comment": "x" * (8 * MIB)})))
    assert (d.code, d.error) == (1, "bad_archive")


def sparse(tmp_path: Path, size: int) -> bytes:
    with open(tmp_path / "sparse", "wb") as f:
        f.seek(size // 2)
        f.write(b"middle")
        f.truncate(size)
    return subprocess.run(["tar", "-C", str(tmp_path), "--sparse", "-czf", "-", "sparse"], check=True,
                          stdout=subprocess.PIPE).stdout


def test_sparse_files(unpack: Unpack, tmp_path: Path) -> None:
    d = unpack(sparse(tmp_path, 32 * MIB))
    st = (d.root / "sparse").stat()
    assert d.code == 0 and st.st_size == 32 * MIB and st.st_blocks * 512 < MIB
    assert (d.root / "sparse").read_bytes()[16 * MIB:][:6] == b"middle"
    # Its holes would be filled when it is copied: they count.
    assert unpack(sparse(tmp_path, 65 * MIB)).error == "too_large"


# Templates


def test_a_root(unpack: Unpack) -> None:
    d = unpack(tar(directory(".", mode=0o755), entry("bin/su", b"su", mode=0o4755), entry("tmp/f", b"1", uid=1000, gid=65535),
                   directory("tmp", mode=0o1777), symlink("bin/sh", "/usr/bin/dash"), hardlink("bin/su2", "bin/su"),
                   entry("run/fifo", type=tarfile.FIFOTYPE, mode=0o600),
                   entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)), "template")
    assert d.code == 0, d.result
    assert stat.S_IMODE((d.root / "bin/su").stat().st_mode) == 0o4755 and (d.root / "bin/su").stat().st_nlink == 2
    assert stat.S_IMODE((d.root / "tmp").stat().st_mode) == 0o1777 and d.root.stat().st_uid == 0
    st = (d.root / "tmp/f").stat()
    assert (st.st_uid, st.st_gid) == (1000, 65535)
    assert os.readlink(d.root / "bin/sh") == "/usr/bin/dash"
    assert stat.S_ISFIFO((d.root / "run/fifo").stat().st_mode)
    assert d.result["dropped_kinds"] == 1 and not (d.root / "dev/null").exists()


@pytest.mark.parametrize("who", [{"uid": 65536}, {"gid": 65536}, {"uid": 2**31}, {"uid": 2**40}])
def test_ids_above_those_of_a_sandbox(unpack: Unpack, who: Dict[str, int]) -> None:
    d = unpack(tar(entry("f", b"1", **who)), "template")
    assert (d.code, d.error) == (1, "bad_owner") and "'f'" in d.result["error"]["message"]
    assert unpack(tar(entry("f", b"1", **who))).code == 0, "a volume's files have one owner, whatever the archive says"


@pytest.mark.parametrize("target", ["{parent}", "..", "/", ".", "real"])
def test_nothing_is_written_through_a_link(unpack: Unpack, outside: Path, target: str) -> None:
    d = unpack(tar(directory("real"), symlink("l", target.format(parent=outside.parent)), entry("l/outside", b"evil"),
                   entry("l/new/deep", b"evil"), directory("l/dir"), hardlink("l/h", "l"), symlink("l/s", "x"),
                   entry("l/p", type=tarfile.FIFOTYPE)), "template")
    assert d.code == 0 and d.names() == ["l", "real"] and d.result["dropped_conflicts"] == 6
    assert outside.read_text() == "untouched" and sorted(os.listdir(outside.parent)) == ["outside", "target0"]


def test_a_link_is_replaced_and_not_followed(unpack: Unpack, outside: Path) -> None:
    d = unpack(tar(symlink("l", str(outside)), entry("l", b"mine", mode=0o666), symlink("m", str(outside.parent)), directory("m"),
                   entry("m/f", b"1"), symlink("n", str(outside)), symlink("n", "other")), "template")
    assert d.code == 0 and (d.root / "l").read_bytes() == b"mine" and not (d.root / "l").is_symlink()
    assert not (d.root / "m").is_symlink() and (d.root / "m/f").exists() and os.readlink(d.root / "n") == "other"
    assert outside.read_text() == "untouched" and stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_hard_links_stay_inside(unpack: Unpack, outside: Path) -> None:
    d = unpack(tar(hardlink("a", str(outside)), hardlink("b", "../outside"), hardlink("c", "missing"), directory("d"),
                   hardlink("e", "d"), hardlink("self", "self"), symlink("s", str(outside)), hardlink("t", "s"),
                   hardlink("u", "s/x"), entry("t", b"new")), "template")
    assert d.code == 0 and d.names() == ["d", "s", "t"] and (d.root / "t").read_bytes() == b"new"
    assert outside.stat().st_nlink == 1 and outside.read_text() == "untouched"


def test_extended_attributes(unpack: Unpack) -> None:
    def with_xattr(name: str, value: bytes) -> Tuple[tarfile.TarInfo, bytes]:
        return entry("f", b"1", pax_headers={f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")})

    d = unpack(tar(with_xattr("security.capability", CAPABILITY)), "template")
    assert d.code == 0 and os.getxattr(d.root / "f", "security.capability") == CAPABILITY
    for name, value in [("user.large", b"x" * 3000), ("security.selinux", b"x"), ("trusted.overlay.opaque", b"y"), ("security.capability", b"short"),
                        ("security.capability", struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, 5))]:
        d = unpack(tar(with_xattr(name, value)), "template")
        assert d.code == 0 and os.listxattr(d.root / "f") == [] and d.result["dropped_xattrs"] == 1, name
    d = unpack(tar(with_xattr("security.capability", CAPABILITY)))
    assert d.code == 0 and os.listxattr(d.root / "f") == []


# Confinement


def test_it_refuses_to_unpack_into_the_root() -> None:
    p = subprocess.run([str(build_dir() / "src/unpack/declaw-unpack"), "volume", "1000", "10"], cwd="/", input=tar(entry("f")),
                       stdout=subprocess.PIPE, check=False)
    assert p.returncode == 2 and json.loads(p.stdout)["error"]["code"] == "internal"


@pytest.mark.parametrize("args", [[], ["volume"], ["other", "1", "1"], ["volume", "0", "1"], ["volume", "1", "-1"],
                                  ["volume", "1x", "1"], ["volume", "1", "99999999999999999999"], ["volume", "1", "1", "1"]])
def test_arguments(args: List[str], tmp_path: Path) -> None:
    p = subprocess.run([str(build_dir() / "src/unpack/declaw-unpack"), *args], cwd=tmp_path, input=b"", capture_output=True, check=False)
    assert p.returncode == 2 and b"usage" in p.stderr and p.stdout == b""


@pytest.mark.parametrize("mode, caps, uid", [("volume", 0, 1000), ("template", 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31, 0)])
def test_what_it_can_do_while_it_reads(tmp_path: Path, mode: str, caps: int, uid: int) -> None:
    """Asked of the kernel while it waits for more of an archive: its root, descriptors, capabilities, filter."""
    root = tmp_path / "target"
    root.mkdir()
    os.chown(root, 1000, 1000)
    spare, other = socket.socketpair()
    spare.set_inheritable(True)
    p = subprocess.Popen([str(build_dir() / "src/unpack/declaw-unpack"), mode, "1000000", "10"], cwd=root, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, pass_fds=[spare.fileno()])
    try:
        spare.close()
        p.stdin.write(tar(entry("f", os.urandom(600_000)))[:500_000])
        p.stdin.flush()
        other.settimeout(10)
        assert other.recv(1) == b"", "it closes what it was not to have"
        proc = Path(f"/proc/{p.pid}")
        while not (root / "f").exists():
            assert p.poll() is None
        status = dict(x.split(":\t", 1) for x in (proc / "status").read_text().splitlines() if ":\t" in x)
        assert os.readlink(proc / "root") == str(root) and os.readlink(proc / "cwd").startswith(str(root))
        assert status["Uid"].split() == [str(uid)] * 4 and status["Gid"].split() == [str(uid)] * 4 and not status["Groups"].split()
        assert int(status["CapEff"], 16) == caps and int(status["CapPrm"], 16) == caps
        assert int(status["CapBnd"], 16) == 0 and int(status["CapInh"], 16) == 0
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        fds = {int(n) for n in os.listdir(proc / "fd")}
        assert {0, 1, 2} <= fds and all(os.readlink(proc / "fd" / str(n)).startswith(str(root)) for n in fds - {0, 1, 2})
    finally:
        p.kill()
        p.wait()
        p.stdin = None
        p.stdout.close()
