# SPDX-License-Identifier: Apache-2.0
"""The API over TLS: the same API, for the same clients, with the same limits."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import REPOSITORY, Daemon, build_dir, eventually


def openssl(*words, cwd):
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True, timeout=60)


def make_cert(folder, name, serial=1):
    """A certificate for loopback addresses that signs itself, name.crt and name.key."""
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-set_serial", str(serial),
        "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.9", "-keyout", f"{name}.key", "-out", f"{name}.crt", cwd=folder,
    )  # fmt: skip
    (folder / f"{name}.key").chmod(0o600)
    return folder / f"{name}.crt", folder / f"{name}.key"


class TlsDaemon(Daemon):
    def wait_ready(self):
        def line():
            assert self.process.poll() is None, "declawd ended as it started"
            return next((x for x in self.log().splitlines() if "listening on " in x), None)

        found = eventually(line, 15)
        assert found and "https://" in found
        self.host, port = found.rsplit("https://", 1)[1].rsplit(":", 1)
        self.port = int(port)
        self.key = (self.data / "api-key").read_text().strip()

    def context(self, **versions):
        context = ssl.create_default_context(cafile=str(self.cert))
        for name, version in versions.items():
            setattr(context, name, version)
        return context

    def connect(self, timeout=60):
        import http.client

        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context())

    def raw(self, context=None):
        plain = socket.create_connection((self.host, self.port), timeout=60)
        return (context or self.context()).wrap_socket(plain, server_hostname=self.host)


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    make_cert(folder, "first", 1001)
    make_cert(folder, "second", 1002)
    return folder


@pytest.fixture(scope="module")
def tls(certs):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Copies, which a test replaces.
    for end in ("crt", "key"):
        (certs / f"live.{end}").write_bytes((certs / f"first.{end}").read_bytes())
    (certs / "live.key").chmod(0o600)
    TlsDaemon.cert = certs / "first.crt"
    d = TlsDaemon("--tls-cert", str(certs / "live.crt"), "--tls-key", str(certs / "live.key"))
    yield d
    print(d.log())
    assert d.stop() == 0


def test_the_api_is_the_same(tls):
    made = tls.create(metadata={"a": "b"})["sandbox_id"]
    assert tls.run(made, "echo over tls")["stdout"] == "over tls\n"
    blob = os.urandom(3 << 20)
    assert tls.request("PUT", f"/sandboxes/{made}/files/raw?path=/tmp/blob", blob).status in (200, 201)
    assert tls.request("GET", f"/sandboxes/{made}/files/raw?path=/tmp/blob").body == blob
    assert tls.request("GET", "/sandboxes", key=None).status == 401
    assert tls.request("DELETE", f"/sandboxes/{made}").status == 200


def test_curl(tls, certs):
    def curl(*words):
        return subprocess.run(["curl", "-sS", "-m", "30", *words, f"https://{tls.host}:{tls.port}/health"], capture_output=True, text=True, timeout=60)

    good = curl("--cacert", str(certs / "first.crt"))
    assert good.returncode == 0 and '"status":"ok"' in good.stdout
    # Nobody else's certificate will do, nor none.
    assert curl("--cacert", str(certs / "second.crt")).returncode == 60
    plain = subprocess.run(["curl", "-sS", "-m", "30", f"http://{tls.host}:{tls.port}/health"], capture_output=True, text=True, timeout=60)
    assert plain.returncode != 0


SDK = """
import sys
from declaw import Sandbox
with Sandbox.create(template="base", timeout=60) as s:
    print(s.commands.run("echo by the sdk").stdout, end="")
"""


def test_python_sdk(tls, certs, make_tls):
    # Port 443 is what makes https of a domain with published clients.
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.9", 443))
    except OSError:
        pytest.skip("port 443 is taken")
    finally:
        probe.close()
    d = make_tls("--listen", "127.0.0.9:443")
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "sdk/python"), "DECLAW_DOMAIN": "127.0.0.9:443", "DECLAW_API_KEY": d.key, "SSL_CERT_FILE": str(certs / "first.crt")}
    result = subprocess.run([sys.executable, "-c", SDK], env=env, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (0, "by the sdk\n"), result.stderr
    # Without the certificate it does not send its key anywhere.
    del env["SSL_CERT_FILE"]
    assert subprocess.run([sys.executable, "-c", SDK], env=env, capture_output=True, timeout=120).returncode != 0


@pytest.fixture
def make_tls(certs):
    made = []

    def make(*args):
        made.append(TlsDaemon("--tls-cert", str(certs / "first.crt"), "--tls-key", str(certs / "first.key"), *args))
        return made[-1]

    yield make
    for d in made:
        print(d.log())
        d.stop()


@pytest.mark.parametrize("version, ok", [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_versions(tls, version, ok):
    wanted = ssl.TLSVersion[version]
    context = tls.context(minimum_version=wanted, maximum_version=wanted)
    context.set_ciphers("ALL:@SECLEVEL=0")
    if ok:
        with tls.raw(context) as s:
            assert s.version() == version.replace("_", ".")
    else:
        with pytest.raises((ssl.SSLError, OSError)):
            tls.raw(context).close()


def test_a_command_ends_with_its_client(tls):
    made = tls.create()["sandbox_id"]
    body = b'{"cmd": "sleep 987"}'
    s = tls.raw()
    s.sendall(f"POST /sandboxes/{made}/commands HTTP/1.1\r\nHost: x\r\nX-API-Key: {tls.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def running():
        return "sleep 987" in tls.run(made, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; true")["stdout"].replace("cat /proc", "")

    assert eventually(running, 15)
    s.close()
    assert eventually(lambda: not running(), 15)
    tls.request("DELETE", f"/sandboxes/{made}")


@pytest.mark.parametrize("how", ["nothing", "half a hello", "a slow head"])
def test_who_shows_no_key_is_ended(tls, how):
    begun = time.monotonic()
    if how == "a slow head":
        s = tls.raw()
        s.sendall(b"GET /sandboxes HTTP/1.1\r\n")
    else:
        s = socket.create_connection((tls.host, tls.port), timeout=60)
        s.sendall(b"" if how == "nothing" else bytes.fromhex("160301020001"))
    s.settimeout(30)
    try:
        while s.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    s.close()
    assert time.monotonic() - begun < 25
    assert tls.request("GET", "/health").status == 200


def serial(tls):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with tls.raw(context) as s:
        der = s.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-serial"], input=der, capture_output=True, timeout=60).stdout
    return int(text.decode().strip().split("=")[1], 16)


def test_a_renewed_certificate_is_taken(tls, certs):
    assert serial(tls) == 1001
    held = tls.raw()
    (certs / "live.crt").write_text("not a certificate")
    tls.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "the earlier one stays" in tls.log())
    assert serial(tls) == 1001
    for end in ("crt", "key"):
        (certs / f"live.{end}").write_bytes((certs / f"second.{end}").read_bytes())
    tls.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: serial(tls) == 1002, 10)
    # Who was there before goes on.
    held.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held.recv(4096).startswith(b"HTTP/1.1 200")
    held.close()
    for end in ("crt", "key"):
        (certs / f"live.{end}").write_bytes((certs / f"first.{end}").read_bytes())
    tls.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: serial(tls) == 1001, 10)


def refused(*args):
    result = subprocess.run([str(build_dir() / "src/declawd/declawd"), "--data", "/nonexistent/declaw", *map(str, args)], capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})
    assert result.stdout == "" and result.stderr.count("\n") == 1
    return result.returncode, result.stderr


def test_one_without_the_other(certs):
    assert refused("--tls-cert", certs / "first.crt") == (2, "declawd: --tls-cert needs --tls-key too\n")
    assert refused("--tls-key", certs / "first.key") == (2, "declawd: --tls-key needs --tls-cert too\n")


@pytest.mark.parametrize(
    "cert, key, option, sentence",
    [
        ("missing.crt", "first.key", "--tls-cert", "No such file"),
        ("first.crt", "missing.key", "--tls-key", "No such file"),
        ("empty", "first.key", "--tls-cert", "is no PEM file"),
        (".", "first.key", "--tls-cert", "is no PEM file"),
        ("first.key", "first.key", "--tls-cert", "holds no certificate"),
        ("first.crt", "first.crt600", "--tls-key", "holds no private key"),
        ("first.crt", "locked.key", "--tls-key", "pass phrase"),
        ("first.crt", "second.key", "--tls-key", "does not belong to the certificate"),
        ("first.crt", "open.key", "--tls-key", "may be read by everybody"),
    ],
)
def test_files_that_are_refused(certs, cert, key, option, sentence):
    (certs / "empty").write_bytes(b"")
    (certs / "first.crt600").write_bytes((certs / "first.crt").read_bytes())
    (certs / "first.crt600").chmod(0o600)
    (certs / "open.key").write_bytes((certs / "first.key").read_bytes())
    (certs / "open.key").chmod(0o644)
    if key == "locked.key":
        openssl("pkcs8", "-topk8", "-in", "first.key", "-out", "locked.key", "-passout", "pass:x", cwd=certs)
        (certs / "locked.key").chmod(0o600)
    code, message = refused("--tls-cert", certs / cert, "--tls-key", certs / key)
    assert code == 1 and option in message and sentence in message
    assert str(certs / (cert if option == "--tls-cert" else key)) in message
