# SPDX-License-Identifier: Apache-2.0
"""declaw files: exact requests, and that a hostile sandbox writes nowhere but into the destination, and nothing to the terminal."""

import json
import os
import signal
import stat
import subprocess
import urllib.parse

import pytest

ID = "sbx-1"
BASE = f"/sandboxes/{ID}/files"
NASTY = "\x1b]0;evil\x07\x9b31m"


class Tree:
    """A sandbox's files: path -> bytes, or a list of entries."""

    def __init__(self, stub, content):
        self.content, self.put, self.made, self.removed = content, {}, [], []
        for method, suffix, reply in (("GET", "/info", self.info), ("GET", "/list", self.list), ("GET", "/raw", self.raw),
                                      ("PUT", "/raw", self.upload), ("POST", "/mkdir", self.mkdir), ("DELETE", "", self.remove)):
            stub.on(method, BASE + suffix, reply)

    def path(self, asked):
        return urllib.parse.parse_qs(asked.path.partition("?")[2])["path"][0]

    def say(self, handler, value, status=200):
        handler.whole(status, value if isinstance(value, bytes) else json.dumps(value).encode())

    def find(self, handler, asked):
        path = self.path(asked)
        if path not in self.content:
            self.say(handler, {"message": f"{path} is not there", "code": "not_found"}, 404)
            return None
        return self.content[path]

    def info(self, handler, asked):
        value = self.find(handler, asked)
        if value is not None:
            kind, size = ("dir", 4096) if isinstance(value, list) else ("file", len(value))
            self.say(handler, entry(self.path(asked).rstrip("/").rpartition("/")[2] or "/", kind, size=size))

    def list(self, handler, asked):
        value = self.find(handler, asked)
        if value is not None:
            self.say(handler, value)

    def raw(self, handler, asked):
        value = self.find(handler, asked)
        if value is not None:
            self.say(handler, value)

    def upload(self, handler, asked):
        self.put[self.path(asked)] = asked.body
        self.say(handler, {"path": self.path(asked), "size": len(asked.body)})

    def mkdir(self, handler, asked):
        self.made.append(asked.json["path"])
        self.say(handler, {"created": True})

    def remove(self, handler, asked):
        self.removed.append(self.path(asked))
        self.say(handler, {})


def entry(name, kind="file", **more):
    return {"name": name, "path": "/lies", "type": kind, "size": 1, "mode": "0644", "owner": "user", "group": "user",
            "modified": "2026-01-15T10:30:00.123456+00:00", **more}  # fmt: skip


def test_cat(ask, stub):
    Tree(stub, {"/a b&c#": b"\x00\xff\x1b[1m", "/e": b""})
    done = ask("files", "cat", f"{ID}:/a b&c#", f"{ID}:/e", f"{ID}:/missing", "--user", "root")
    assert (done.returncode, done.stdout) == (1, b"\x00\xff\x1b[1m") and b"/missing is not there" in done.stderr
    assert stub.lines[0] == f"GET {BASE}/raw?path=%2Fa%20b%26c%23&username=root"


def test_cat_that_is_cut_off_fails(ask, stub):
    def cut(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"begin")
        handler.close_connection = True

    stub.on("GET", BASE + "/raw", cut)
    done = ask("files", "cat", f"{ID}:/x")
    assert (done.returncode, done.stdout) == (1, b"begin") and b"broke" in done.stderr


def test_ls(ask, stub):
    Tree(stub, {"/d": [entry("b" + NASTY), entry("a", "dir", mode="0755"), entry("l", symlink_target="/x" + NASTY)], "/f": b"xyz"})
    done = ask("files", "ls", f"{ID}:/d")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == ["a/", "b\\x1b]0;evil\\x07\\x9b31m", "l"]
    lines = ask("files", "ls", "-l", f"{ID}:/d").stdout.decode().splitlines()
    assert lines[0].split() == ["0755", "user", "user", "1", "2026-01-15", "10:30:00", "a/"]
    assert lines[2].endswith("l -> /x\\x1b]0;evil\\x07\\x9b31m")
    assert ask("files", "ls", f"{ID}:/f").stdout == b"f\n"
    done = ask("files", "ls", "--json", f"{ID}:/d")
    assert len(json.loads(done.stdout)) == 3 and b"\x1b" not in done.stdout and done.stdout.isascii()
    assert ask("files", "ls", f"{ID}:/missing").returncode == 1


def test_rm(ask, stub):
    tree = Tree(stub, {"/d": [], "/f": b""})
    done = ask("files", "rm", f"{ID}:/d", f"{ID}:/f", f"{ID}:/missing")
    assert done.returncode == 1 and b"it is a folder" in done.stderr and tree.removed == ["/f"]
    assert ask("files", "rm", "-r", f"{ID}:/d").returncode == 0 and tree.removed == ["/f", "/d"]


@pytest.mark.parametrize("words", [
    ["cp", "a", "b"], ["cp", f"{ID}:/a", f"{ID}:/b"], ["cp", "a", f"{ID}:"], ["cp", "./x:y", "b"], ["cp", "a/b:c", "d"], ["cp", f"{ID}:/a"],
    ["cat", "/a"], ["cat", f"{ID}:"], ["cat", "../x:/y"], ["ls", "a b:/x"], ["rm"],
])  # fmt: skip
def test_wrong_words(ask, stub, words):
    done = ask("files", *words)
    assert (done.returncode, done.stdout) == (2, b"") and not stub.asked


# --- up

def test_copy_a_file_up(ask, stub, tmp_path):
    tree = Tree(stub, {"/d": [], "/old": b"x"})
    (tmp_path / "f").write_bytes(b"\x00\xff" * 100_000)
    for to, at in (("/new", "/new"), ("/old", "/old"), ("/d", "/d/f"), ("/x/", "/x/f"), ("rel", "rel")):
        done = ask("files", "cp", str(tmp_path / "f"), f"{ID}:{to}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert tree.put[at] == b"\x00\xff" * 100_000
    put = [a for a in stub.asked if a.method == "PUT"][0]
    assert put.headers["content-length"] == "200000" and "expect" not in put.headers
    assert json.loads(ask("files", "cp", "--json", str(tmp_path / "f"), f"{ID}:/new").stdout) == {"files": 1, "bytes": 200000, "complete": True}


def test_copy_from_a_pipe(ask, stub):
    tree = Tree(stub, {})
    assert ask("files", "cp", "/dev/stdin", f"{ID}:/x", stdin=b"abc" * 50_000).returncode == 0
    assert tree.put["/x"] == b"abc" * 50_000


def test_copy_a_folder_up(ask, stub, tmp_path):
    tree = Tree(stub, {"/there": []})
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_bytes(b"1")
    (top / "sub/b").write_bytes(b"22")
    (top / "link").symlink_to("a")
    (top / "loop").symlink_to(".")
    os.mkfifo(top / "pipe")
    (top / "broken").symlink_to("nowhere")
    done = ask("files", "cp", str(top), f"{ID}:/there")
    assert done.returncode == 1  # not everything was copied
    assert tree.put == {"/there/top/a": b"1", "/there/top/sub/b": b"22", "/there/top/link": b"1"}
    assert sorted(tree.made) == ["/there/top", "/there/top/sub"]
    assert sorted(line.rpartition("top/")[2].partition(":")[0] for line in done.stderr.decode().splitlines()) == ["broken", "loop", "pipe"]
    ask("files", "cp", str(top) + "/.", f"{ID}:/there")
    assert "/there/a" in tree.put


def test_a_refused_upload(ask, stub, tmp_path):
    Tree(stub, {})
    stub.on("PUT", BASE + "/raw", (413, {"message": "no space left", "code": "too_large"}))
    (tmp_path / "f").write_bytes(b"x" * 1000)
    done = ask("files", "cp", str(tmp_path / "f"), f"{ID}:/x")
    assert (done.returncode, done.stderr) == (1, b"declaw: no space left\n")
    stub.on("PUT", BASE + "/raw", {"path": "/x", "size": 3})
    done = ask("files", "cp", str(tmp_path / "f"), f"{ID}:/x")
    assert done.returncode == 1 and b"another size" in done.stderr
    done = ask("files", "cp", str(tmp_path / "missing"), f"{ID}:/x")
    assert done.returncode == 1 and b"No such file" in done.stderr


# --- down

def test_copy_a_file_down(ask, stub, tmp_path):
    Tree(stub, {"/f": b"\x00new", "/p": b"#!"})
    (tmp_path / "there").mkdir()
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    for to, at in (("new", "new"), ("old", "old"), ("there", "there/f"), ("there/", "there/f"), ("link", "old")):
        done = ask("files", "cp", f"{ID}:/f", f"{tmp_path}/{to}")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert (tmp_path / at).read_bytes() == b"\x00new"
        (tmp_path / "old").write_text("old")
    assert (tmp_path / "link").is_symlink()
    assert ask("files", "cp", f"{ID}:/f", "x", cwd=tmp_path).returncode == 0 and (tmp_path / "x").exists()
    # A link to what has no name is written to, and stays; one that leads nowhere is refused, and stays.
    (tmp_path / "out").symlink_to("/proc/self/fd/1")
    (tmp_path / "nowhere").symlink_to("missing")
    assert ask("files", "cp", f"{ID}:/f", str(tmp_path / "out")).stdout == b"\x00new"
    assert ask("files", "cp", f"{ID}:/f", str(tmp_path / "nowhere")).returncode == 1
    assert (tmp_path / "out").is_symlink() and (tmp_path / "nowhere").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "new", "nowhere", "old", "out", "there", "x"]
    for to in ("missing/", "missing/x"):
        done = ask("files", "cp", f"{ID}:/f", f"{tmp_path}/{to}")
        assert done.returncode == 1 and b"No such file" in done.stderr


def test_a_broken_download_leaves_what_was_there(ask, stub, tmp_path):
    Tree(stub, {"/f": b"xx"})

    def cut(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"begin")
        handler.close_connection = True

    stub.on("GET", BASE + "/raw", cut)
    (tmp_path / "f").write_text("old")
    done = ask("files", "cp", f"{ID}:/f", str(tmp_path))
    assert done.returncode == 1 and b"broke" in done.stderr
    assert (tmp_path / "f").read_text() == "old" and os.listdir(tmp_path) == ["f"]


def test_an_interrupted_download_leaves_nothing(program, environment, stub, tmp_path):
    Tree(stub, {"/f": b"xx"})

    def hang(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"begin")
        handler.wfile.flush()
        handler.gone(30)

    stub.on("GET", BASE + "/raw", hang)
    with subprocess.Popen([str(program), "files", "cp", f"{ID}:/f", str(tmp_path)], env=environment) as p:
        assert stub.wait_for(lambda: os.listdir(tmp_path))
        p.send_signal(signal.SIGTERM)
        assert p.wait(20) == -signal.SIGTERM
    assert os.listdir(tmp_path) == []


def test_copy_a_folder_down(ask, stub, tmp_path):
    Tree(stub, {
        "/top": [entry("a", mode="6777"), entry("sub", "dir"), entry("loop", "dir", symlink_target="."), entry("unreadable")],
        "/top/a": b"1", "/top/sub": [entry("b")], "/top/sub/b": b"22",
    })  # fmt: skip
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "new"))
    assert done.returncode == 1 and b"loop: left out" in done.stderr and b"unreadable: left out" in done.stderr
    assert (tmp_path / "new/a").read_bytes() == b"1" and (tmp_path / "new/sub/b").read_bytes() == b"22"
    assert not (tmp_path / "new/a").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)
    assert (tmp_path / "new/a").stat().st_mode & stat.S_IXUSR and not (tmp_path / "new/sub/b").stat().st_mode & stat.S_IXUSR
    ask("files", "cp", f"{ID}:/top", str(tmp_path / "new"))
    assert (tmp_path / "new/top/a").exists()
    ask("files", "cp", f"{ID}:/top/.", str(tmp_path / "new/sub"))
    assert not (tmp_path / "new/sub/a").exists()  # "/top/." is another path, which this sandbox does not have


@pytest.mark.parametrize("name", ["..", ".", "", "../evil", "/etc/evil", "a/b", "a\0b", "x" * 300, None, 7, ["x"]])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_names_that_lead_elsewhere_are_left_out(ask, stub, tmp_path, name, kind):
    class Any(dict):
        def __contains__(self, key):
            return True

        def __missing__(self, key):
            return b"evil"

    Tree(stub, Any({"/top": [entry(name, kind), entry("good")]}))
    (tmp_path / "in").mkdir()
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "in/new"))
    assert done.returncode == 1 and b"left out" in done.stderr
    assert os.listdir(tmp_path) == ["in"] and os.listdir(tmp_path / "in") == ["new"] and os.listdir(tmp_path / "in/new") == ["good"]


def test_links_here_do_not_lead_out(ask, stub, tmp_path):
    Tree(stub, {"/top": [entry("l", "dir"), entry("f")], "/top/l": [entry("x")], "/top/l/x": b"evil", "/top/f": b"evil"})
    outside, inside = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    inside.mkdir()
    (outside / "f").write_text("mine")
    (inside / "l").symlink_to(outside)
    (inside / "f").symlink_to(outside / "f")
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "in2"))
    assert done.returncode == 0
    (tmp_path / "in2").rename(tmp_path / "unused")
    # The copy goes into in/top, whose parts are links already.
    inside.rename(tmp_path / "top")
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path))
    assert done.returncode == 1 and os.listdir(outside) == ["f"] and (outside / "f").read_text() == "mine"


def test_escape_sequences_in_names_and_errors(ask, stub, tmp_path):
    Tree(stub, {"/top": [entry("ok" + NASTY), entry("../" + NASTY), entry("no" + NASTY)], "/top/ok" + NASTY: b"x"})
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "new"))
    assert done.returncode == 1 and b"\x1b" not in done.stderr and b"\x07" not in done.stderr and b"\xc2\x9b" not in done.stderr
    assert os.listdir(tmp_path / "new") == ["ok" + NASTY]  # a file may be called so; only terminals mind


def test_folders_without_end(ask, stub, tmp_path):
    class Endless(dict):
        def __contains__(self, key):
            return True

        def __missing__(self, key):
            return [entry("d", "dir")]

    Tree(stub, Endless())
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "new"))
    assert done.returncode == 1 and b"too many folders" in done.stderr and len(stub.asked) < 250


def test_files_come_before_the_folders_beside_them(ask, stub, tmp_path):
    Tree(stub, {"/top": [entry("sub", "dir"), entry("f")], "/top/f": b"1", "/top/sub": [entry("g")], "/top/sub/g": b"2"})
    assert ask("files", "cp", f"{ID}:/top", str(tmp_path / "new")).returncode == 0
    assert [line.rpartition("%2F")[2] for line in stub.lines if "/raw" in line] == ["f", "g"]
    assert (tmp_path / "new/f").read_bytes() == b"1" and (tmp_path / "new/sub/g").read_bytes() == b"2"


def test_wide_folders_in_wide_folders_do_not_fill_the_memory(program, environment, stub, tmp_path):
    """Ten levels, each of 90,000 folders: what is kept of them all is bounded, and the copy tells of what it leaves out."""
    wide = json.dumps([{"name": f"{i:05}", "type": "dir"} for i in range(90_000)]).encode()
    peak = []

    def listing(handler, asked):
        depth = asked.path.count("%2F")
        if depth < 11:
            handler.whole(200, wide)
            return
        with open(f"/proc/{p.pid}/status") as f:
            peak.append(int(next(line for line in f if line.startswith("VmHWM:")).split()[1]) >> 10)
        p.terminate()

    Tree(stub, {"/top": []})
    stub.on("GET", BASE + "/list", listing)
    with open(tmp_path / "told", "w+b") as told:
        with subprocess.Popen([str(program), "files", "cp", "-q", f"{ID}:/top", str(tmp_path / "new")], env=environment, stderr=told) as p:
            # The third level does not fit: it, and what is below, are left out.
            assert stub.wait_for(lambda: peak or os.path.getsize(tmp_path / "told") > 100_000, 60)
            with open(f"/proc/{p.pid}/status") as f:
                peak.append(int(next(line for line in f if line.startswith("VmHWM:")).split()[1]) >> 10)
            p.terminate()
            assert p.wait(60) == -signal.SIGTERM
        told.seek(0)
        assert b"left out: too many folders are still to be copied" in told.read(1000)
    if b"__asan_init" not in program.read_bytes():
        assert max(peak) < 200, peak


@pytest.mark.parametrize("listing", [{}, [7], [None], "x", [{}], [{"name": "a", "type": "dir"}]])
def test_listings_that_make_no_sense(ask, stub, tmp_path, listing):
    Tree(stub, {"/top": []})
    stub.on("GET", BASE + "/list", lambda handler, asked: handler.whole(200, json.dumps(listing).encode()))
    done = ask("files", "cp", f"{ID}:/top", str(tmp_path / "new"))
    assert done.returncode == 1 and done.stderr


def test_progress_is_for_terminals_and_quiet_turns_it_off(program, environment, stub, tmp_path):
    import pty

    Tree(stub, {"/f" + NASTY: b"x" * 100_000})
    for words, want in ((["cp"], True), (["cp", "-q"], False)):
        ours, theirs = pty.openpty()
        subprocess.run([str(program), "files", *words, f"{ID}:/f{NASTY}", str(tmp_path / "f")], stderr=theirs, env=environment, timeout=30, check=True)
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass
        os.close(ours)
        assert (b"1 file, 97K" in shown) == want and b"]0;" not in shown.replace(b"\\x1b]0;", b"")
