# SPDX-License-Identifier: Apache-2.0
"""Files by E2B's /files: forms, raw bytes, compressed ones, and signed URLs without any key."""

import base64
import gzip
import hashlib
import os
import subprocess
import time
import zlib
from urllib.parse import quote, urlencode

import pytest

from conftest import eventually
from e2b import envd, make, refused

HOME = "/home/user"


@pytest.fixture(scope="module")
def one(daemon):
    return make(daemon, timeout=3600)


def part(filename=None, name="file", data=b"x", boundary=b"b", head=b""):
    given = b"" if filename is None else b'; filename="' + filename.encode() + b'"'
    return b"--" + boundary + b"\r\n" + head + b'Content-Disposition: form-data; name="' + name.encode() + b'"' + given + b"\r\n\r\n" + data + b"\r\n"


def form(*parts, end=b"--b--\r\n"):
    return b"".join(parts) + end


def post(daemon, made, body, query="", kind="multipart/form-data; boundary=b", **headers):
    return daemon.request("POST", "/e2b/files" + query, body, {**envd(made), "Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}, key=None)


def raw(daemon, made, body, path, **headers):
    return post(daemon, made, body, "?" + urlencode({"path": path}), "application/octet-stream", **headers)


def get(daemon, made, path, **query):
    return daemon.request("GET", "/e2b/files?" + urlencode({"path": path, **query}), headers=envd(made), key=None)


def content(daemon, made, path):
    answer = get(daemon, made, path)
    assert answer.status == 200, answer.body
    return answer.body


def test_one_file_of_a_form(daemon, one):
    answer = post(daemon, one, form(part("ignored", data=b"hello")), "?" + urlencode({"path": "/tmp/a b"}))
    assert answer.status == 200 and answer.json == [{"name": "a b", "path": "/tmp/a b", "type": "file"}]
    assert content(daemon, one, "/tmp/a b") == b"hello"


def test_several_files(daemon, one):
    names = ["/tmp/form/1", "/tmp/form/deep/er/2", 'relative "ä"', "~/tilde"]
    answer = post(daemon, one, form(*(part(n.replace('"', "%22"), data=n.encode()) for n in names)))
    assert answer.status == 200, answer.body
    paths = [names[0], names[1], f"{HOME}/{names[2]}", f"{HOME}/tilde"]
    assert answer.json == [{"name": p.rpartition("/")[2], "path": p, "type": "file"} for p in paths]
    assert [content(daemon, one, p) for p in paths] == [n.encode() for n in names]


def test_bytes_that_look_like_boundaries(daemon, one):
    data = b"\r\n--\r\n--a\r\n-\r--b\r\r\n" + os.urandom(200_000) + b"\r\n--"
    assert post(daemon, one, form(part("/tmp/odd", data=data))).status == 200
    assert content(daemon, one, "/tmp/odd") == data


def test_empty_files(daemon, one):
    assert post(daemon, one, form(part("/tmp/empty", data=b""))).status == 200
    assert raw(daemon, one, b"", "/tmp/empty2").status == 200
    for path in ("/tmp/empty", "/tmp/empty2"):
        answer = get(daemon, one, path)
        assert answer.status == 200 and answer.body == b"" and answer.headers["Content-Length"] == "0"


def test_raw_bytes(daemon, one):
    data = os.urandom(3_000_001)
    answer = raw(daemon, one, data, "raw/of/it")
    assert answer.json == [{"name": "it", "path": f"{HOME}/raw/of/it", "type": "file"}]
    assert content(daemon, one, f"{HOME}/raw/of/it") == data == content(daemon, one, "raw/of/it") == content(daemon, one, "~/raw/of/it")


def test_a_body_in_chunks(daemon, one):
    connection = daemon.connect()
    whole = form(part("/tmp/chunks", data=b"abc" * 50_000))
    pieces = [whole[i:i + 1] for i in range(100)] + [whole[100:]]
    connection.request("POST", "/e2b/files", body=iter(pieces), headers={**envd(one), "Content-Type": "multipart/form-data; boundary=b"}, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    assert content(daemon, one, "/tmp/chunks") == b"abc" * 50_000


def test_whose_the_files_are(daemon, one):
    for user, owner in (("user", "user"), ("root", "root")):
        assert post(daemon, one, form(part(f"/tmp/of-{user}")), f"?username={user}").status == 200
        assert daemon.run(one["sandboxID"], f"stat -c %U /tmp/of-{user}")["stdout"].strip() == owner
    refused(post(daemon, one, form(part("/etc/not-mine"))), 403)
    assert post(daemon, one, form(part("home")), "?username=root").json[0]["path"] == "/root/home"


def test_gzip(daemon, one):
    data = b"seed" * 500_000
    assert raw(daemon, one, gzip.compress(data), "/tmp/unpacked", Content_Encoding="gzip").status == 200
    assert content(daemon, one, "/tmp/unpacked") == data
    assert post(daemon, one, gzip.compress(form(part("/tmp/packed-form"))), Content_Encoding="gzip").status == 200
    assert content(daemon, one, "/tmp/packed-form") == b"x"


@pytest.mark.parametrize("body", [b"", b"plain", gzip.compress(b"x" * 9000)[:-9], gzip.compress(b"x") + b"y", gzip.compress(b"x") * 2, zlib.compress(b"x"), gzip.compress(b"x")[:-2] + b"zz"])
def test_gzip_that_is_none(daemon, one, body):
    refused(raw(daemon, one, body, "/tmp/none", Content_Encoding="gzip"), 400, "compressed" if body[:2] == b"\x1f\x8b" and body[-2:] != b"zz" or not body else "gzip")


def test_a_gzip_bomb_ends(daemon, one):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    answer = raw(daemon, one, bomb, "/dev/null", Content_Encoding="gzip")
    assert answer.status in (400, 413)
    answer = raw(daemon, one, bomb, "/tmp/bomb", Content_Encoding="gzip")
    refused(answer, 413, "MiB")
    assert daemon.run(one["sandboxID"], "rm -f /tmp/bomb")["exit_code"] == 0


def test_other_encodings(daemon, one):
    refused(raw(daemon, one, b"x", "/tmp/none", Content_Encoding="br"), 415, "Content-Encoding")
    assert raw(daemon, one, b"x", "/tmp/identity", Content_Encoding="identity").status == 200


def test_metadata_of_files_is_refused(daemon, one):
    refused(raw(daemon, one, b"x", "/tmp/meta", X_Metadata_A="b"), 400, "X-Metadata")
    refused(post(daemon, one, form(part("/tmp/meta")), x_metadata_a="b"), 400, "X-Metadata")
    refused(get(daemon, one, "/tmp/meta"), 404)


@pytest.mark.parametrize("body, word", [
    (b"", "boundary is missing"),
    (b"--b--\r\n", "no file"),
    (form(part("/tmp/bad/1"), end=b""), "boundary is missing"),
    (form(part("/tmp/bad/1"), end=b"--b-"), "boundary is missing"),
    (form(part("/tmp/bad/1", name="other")), "\"file\""),
    (form(part()), "no filename"),
    (form(part("")), "filename"),
    (form(part("../up")), "home directory"),
    (form(part("/tmp/bad/1"), part("/tmp/bad/1")), "same path"),
    (form(part("/tmp/bad/1", boundary=b"c")), "boundary"),
    (form(part("/tmp/bad/1", head=b"Content-Transfer-Encoding: base64\r\n")), "Content-Transfer-Encoding"),
    (form(part("/" + "n" * 4096)), "filename"),
    (form(part("/tmp/bad/1", head=b"X: " + b"y" * 20000 + b"\r\n")), "too long"),
    (form(part("/tmp/" + "n" * 300)), "too long"),
    (form(part("/tmp")), "/tmp"),
    (form(part("/dev/null/x")), "/dev/null"),
])
def test_forms_that_are_none(daemon, one, body, word):
    refused(post(daemon, one, body), 400, word)
    assert daemon.run(one["sandboxID"], "true")["exit_code"] == 0


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=b"])
def test_types_that_are_none(daemon, one, kind):
    refused(post(daemon, one, form(part("/tmp/type")), kind=kind), 400, "Content-Type")


def test_raw_bytes_need_a_path(daemon, one):
    refused(post(daemon, one, b"x", kind="application/octet-stream"), 400, "path")
    refused(daemon.request("GET", "/e2b/files", headers=envd(one), key=None), 400, "path")


def test_what_can_not_be_read(daemon, one):
    refused(get(daemon, one, "/none"), 404, "/none", "not_found")
    refused(get(daemon, one, "/tmp"), 400, "/tmp")
    refused(get(daemon, one, "/etc/shadow-"), 404)
    refused(get(daemon, one, "/tmp/x", username="nobody-there"), 400)


def test_a_body_that_stops(daemon, one):
    """The server is rid of it, and the sandbox too."""
    for body in (b"--b\r\n", part("/tmp/stopped", data=b"half")[:-2]):
        connection = daemon.connect()
        connection.putrequest("POST", "/e2b/files")
        for key, value in {**envd(one), "Content-Type": "multipart/form-data; boundary=b", "Content-Length": "1000"}.items():
            connection.putheader(key, value)
        connection.endheaders(body)
        connection.close()
    assert eventually(lambda: daemon.run(one["sandboxID"], "pgrep -c declaw-agent; true")["stdout"].strip() in ("0", "1"))
    assert post(daemon, one, form(part("/tmp/stopped", data=b"whole"))).status == 200


def test_a_full_disk(daemon):
    made = make(daemon)
    assert "No space" in daemon.run(made["sandboxID"], "head -c 2000M /dev/zero > /tmp/fill", timeout=100)["stderr"]
    refused(raw(daemon, made, b"x" * (1 << 20), "/tmp/more"), 507)
    daemon.request("DELETE", f"/e2b/sandboxes/{made['sandboxID']}")


# -- who may

def test_tokens(daemon, one):
    other = make(daemon)
    for headers in ({}, {"X-Access-Token": ""}, {"X-Access-Token": other["envdAccessToken"]}, {"X-Access-Token": "x"}):
        for method, body in (("GET", None), ("POST", b"")):
            wanted = {**envd(one), **headers}
            if not headers:
                del wanted["X-Access-Token"]
            refused(daemon.request(method, "/e2b/files?path=/etc/passwd", body, wanted, key=None), 401)
            # An API key is something else.
            refused(daemon.request(method, "/e2b/files?path=/etc/passwd", body, wanted), 401)
    refused(daemon.request("GET", "/e2b/files?path=/etc/passwd", headers={"X-Access-Token": one["envdAccessToken"]}, key=None), 400, "E2b-Sandbox-Id")
    daemon.request("DELETE", f"/e2b/sandboxes/{other['sandboxID']}")
    assert get(daemon, other, "/etc/passwd").status == 502, "their clients read that as: it does not run"


def test_paused(daemon):
    made = make(daemon)
    assert daemon.request("POST", f"/e2b/sandboxes/{made['sandboxID']}/pause", {}).status == 204
    assert get(daemon, made, "/etc/passwd").status == 502
    assert raw(daemon, made, b"x", "/tmp/x").status == 502
    assert daemon.request("GET", "/e2b/health", headers=envd(made), key=None).status == 502
    assert daemon.request("POST", f"/e2b/v2/sandboxes/{made['sandboxID']}/connect", {}).status == 201
    assert daemon.request("GET", "/e2b/health", headers=envd(made), key=None).status == 204
    assert get(daemon, made, "/etc/passwd").status == 200
    daemon.request("DELETE", f"/e2b/sandboxes/{made['sandboxID']}")


def signed(made, what, operation, user="", expires=None, token=None, **change):
    """The query of a signed URL, as their client makes one."""
    text = f"{what}:{operation}:{user}:{token or made['envdAccessToken']}" + (f":{expires}" if expires is not None else "")
    signature = "v1_" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    query = {"username": user, "path": what, "signature": signature, "signature_expiration": expires}
    return urlencode({k: v for k, v in {**query, **change}.items() if v not in ("", None)})


def curl(daemon, query, *words):
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *words, f"http://{daemon.host}:{daemon.port}/files?{query}"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def test_signed_urls_with_curl(daemon, one, tmp_path):
    bystander = make(daemon)
    (tmp_path / "a").write_bytes(b"by curl")
    assert curl(daemon, signed(one, "/tmp/signed+& ä", "write", expires=int(time.time()) + 60), "-F", f"file=@{tmp_path}/a")[0] == 200
    assert curl(daemon, signed(one, "/tmp/signed+& ä", "read", "root", int(time.time()) + 60)) == (200, b"by curl")
    assert curl(daemon, signed(one, "/tmp/signed+& ä", "read")) == (200, b"by curl")
    assert get(daemon, bystander, "/tmp/signed+& ä").status == 404
    # For uploads that name their files in the form.
    assert curl(daemon, signed(one, "", "write"), "-F", f"file=@{tmp_path}/a;filename=/tmp/named")[0] == 200
    assert content(daemon, one, "/tmp/named") == b"by curl"
    daemon.request("DELETE", f"/e2b/sandboxes/{bystander['sandboxID']}")


def test_signed_urls_below_the_prefix_and_with_the_header(daemon, one):
    query = signed(one, "/etc/passwd", "read")
    for path, headers in (("/e2b/files", {}), ("/e2b/files", {"E2b-Sandbox-Id": one["sandboxID"]}), ("/files", {"E2b-Sandbox-Id": one["sandboxID"]})):
        assert daemon.request("GET", f"{path}?{query}", headers=headers, key=None).status == 200
    for named in ("sbx-none", "", "x" * 200):
        refused(daemon.request("GET", f"/files?{query}", headers={"E2b-Sandbox-Id": named}, key=None), 401)


def test_signatures_that_are_wrong(daemon, one):
    now = int(time.time())
    right = signed(one, "/etc/passwd", "read", expires=now + 60)
    assert curl(daemon, right)[0] == 200
    wrong = [
        signed(one, "/etc/passwd", "read", expires=now - 1),
        signed(one, "/etc/passwd", "read", expires=now + 60, signature_expiration=now + 120),
        signed(one, "/etc/passwd", "read", expires=now + 60, signature_expiration=None),
        signed(one, "/etc/passwd", "read", signature_expiration=now + 60),
        signed(one, "/etc/passwd", "write"),
        signed(one, "/etc/passwd", "read", path="/etc/group"),
        signed(one, "/etc/passwd", "read", path="/etc/../etc/passwd"),
        signed(one, "/etc/passwd", "read", username="root"),
        signed(one, "/etc/passwd", "read", token="x"),
        signed(one, "/etc/passwd", "read", signature="v1_"),
        signed(one, "/etc/passwd", "read", signature="v1_" + "A" * 43),
        signed(one, "/etc/passwd", "read", signature=None),
        # Signed well, and longer than anything that is served: it is not even looked at.
        signed(one, "/" + "a" * 4096, "read"),
        signed(one, "/etc/passwd", "read", "u" * 65),
        signed(one, "/etc/passwd", "read", expires="0" * 11 + str(now + 60)),
        "path=/etc/passwd",
        "",
    ]
    for query in wrong:
        status, body = curl(daemon, query)
        assert status == 401, (query, body)
    assert b"expired" in curl(daemon, wrong[0])[1]
    assert curl(daemon, signed(one, "/tmp/w", "read"), "-F", "file=x;filename=x")[0] == 401


def test_signed_urls_end_with_their_sandbox(daemon):
    made = make(daemon)
    query = signed(made, "/etc/passwd", "read")
    assert curl(daemon, query)[0] == 200
    daemon.request("DELETE", f"/e2b/sandboxes/{made['sandboxID']}")
    assert curl(daemon, query)[0] == 401


def test_a_large_upload_is_not_kept(daemon, one):
    """The server's memory does not grow with a file's."""
    def rss():
        text = open(f"/proc/{daemon.process.pid}/status", encoding="ascii").read()
        return int(text.split("VmRSS:")[1].split()[0]) // 1024

    before = rss()
    assert raw(daemon, one, bytes(200 << 20), "/tmp/large").status == 200
    assert post(daemon, one, form(part("/tmp/large", data=bytes(200 << 20)))).status == 200
    assert len(content(daemon, one, "/tmp/large")) == 200 << 20
    assert rss() - before < 60
    daemon.run(one["sandboxID"], "rm /tmp/large")
