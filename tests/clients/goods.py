# SPDX-License-Identifier: Apache-2.0
"""What the farm serves: files, repositories of git, apt, pip and npm, keys and certificates."""

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict

from places import DOMAINS

BIG_BYTES = 3 << 20
PACKAGE, VERSION, MESSAGE = "farm-hello", "1.2.3", "hello from the farm"


def _run(*argv: object, cwd: Any = None, user: Any = None, **env: str) -> str:
    done = subprocess.run([*map(str, argv)], capture_output=True, text=True, timeout=60, cwd=cwd, user=user, group=user,
                          env={**os.environ, **env})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}")
    return done.stdout


def _certificates(folder: Path, uid: int) -> None:
    """By the lab's authority: one for each domain, and one for all of them where a server can have but one."""
    key = folder / "leaf.key"
    _run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    (folder / "db.key").write_bytes(key.read_bytes())
    (folder / "db.key").chmod(0o600)
    os.chown(folder / "db.key", uid, uid)
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = farm\n")
    for file, names in [(d, [d]) for d in DOMAINS] + [("all", list(DOMAINS))]:
        san = ",".join(f"DNS:*.{n}" for n in names)
        _run("openssl", "req", "-x509", "-new", "-config", folder / "openssl.cnf", "-key", key, "-subj", "/CN=farm",
             "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-days", "2", "-set_serial", f"0x{os.urandom(8).hex()}",
             "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={san}",
             "-addext", "extendedKeyUsage=serverAuth", "-addext", "authorityKeyIdentifier=keyid", "-out", folder / f"{file}.pem")
    (folder / "ca.key").unlink()


def _web(folder: Path) -> None:
    web = folder / "goods" / "web"
    web.mkdir(parents=True)
    (web / "big.bin").write_bytes(os.urandom(BIG_BYTES))
    (web / "page.html").write_text(
        "<!doctype html><title>before</title><p id=p>before</p><img src=/dot.svg>"
        "<script>fetch('/fact.json').then(r => r.json()).then(f => {"
        " document.title = 'after'; document.getElementById('p').textContent = f.fact; })</script>")
    (web / "fact.json").write_text(json.dumps({"fact": "oats grow here"}))
    (web / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')


def _git(folder: Path, uid: int) -> None:
    repos, work = folder / "repos", folder / "work"
    repos.mkdir()
    work.mkdir()
    for path in (repos, work):
        os.chown(path, uid, uid)
    git = ("git", "-c", "init.defaultBranch=main", "-c", "user.name=lab", "-c", "user.email=lab@farm.test")

    def run(*argv: object) -> None:
        _run(*git, *argv, cwd=work, user=uid, HOME=str(folder / "home"), GIT_CONFIG_NOSYSTEM="1")

    run("init", "-q")
    (work / "README").write_text("A field of barley.\n")
    (work / "seeds.bin").write_bytes(os.urandom(300_000))
    run("add", ".")
    run("commit", "-q", "-m", "sow")
    for key in ("git-https", "git-ssh"):
        run("clone", "-q", "--bare", work, repos / f"{key}.git")
        run("-C", repos / f"{key}.git", "config", "http.receivepack", "true")
    link = folder / "home" / "git-ssh.git"
    link.symlink_to(repos / "git-ssh.git")
    os.lchown(link, uid, uid)  # git asks whose it is


def _ssh(folder: Path) -> None:
    for name in ("ssh_host_key", "ssh_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
    (folder / "authorized_keys").write_bytes((folder / "ssh_key.pub").read_bytes())


def _deb(folder: Path) -> None:
    """A flat, signed repository with one package."""
    root, repo = folder / "deb", folder / "goods" / "apt"
    repo.mkdir(parents=True)
    share = root / "usr" / "share" / PACKAGE
    share.mkdir(parents=True)
    (share / "message").write_text(MESSAGE + "\n")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        f"Package: {PACKAGE}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: lab <lab@farm.test>\nDescription: a greeting\n")
    _run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", root, repo / f"{PACKAGE}_{VERSION}_all.deb")
    packages = _run("apt-ftparchive", "packages", ".", cwd=repo)
    (repo / "Packages").write_text(packages)
    (repo / "Release").write_text(_run("apt-ftparchive", "release", ".", cwd=repo))
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback")
    _run(*gpg, "--quick-gen-key", "farm", "ed25519", "sign", "0")
    _run(*gpg, "--clearsign", "-o", repo / "InRelease", repo / "Release")
    _run(*gpg, "--export", "-o", folder / "apt-key.gpg")


def _wheel(folder: Path) -> None:
    """A simple index on one host and the file on another, as the public one does it."""
    files = folder / "goods" / "files"
    files.mkdir(parents=True)
    stem = f"{PACKAGE.replace('-', '_')}"
    info = f"{stem}-{VERSION}.dist-info"
    content = {
        f"{stem}/__init__.py": f"MESSAGE = {MESSAGE!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
            for name, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = files / f"{stem}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        for name, text in content.items():
            z.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for domain in DOMAINS:
        index = folder / "www" / domain.split(".")[0] / "pip" / "simple" / PACKAGE
        index.mkdir(parents=True)
        url = f"https://pip-files.{domain}/{wheel.name}#sha256={digest}"
        (index / "index.html").write_text(f'<!doctype html><a href="{url}">{wheel.name}</a>')


def _npm(folder: Path) -> None:
    data = io.BytesIO()
    package = {"name": PACKAGE, "version": VERSION, "main": "index.js"}
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in (("package.json", json.dumps(package)), ("index.js", f"module.exports = {json.dumps(MESSAGE)}\n")):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    tarball = data.getvalue()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    for domain in DOMAINS:
        folder_of = folder / "www" / domain.split(".")[0] / "npm" / PACKAGE
        (folder_of / "-").mkdir(parents=True)
        file = f"{PACKAGE}-{VERSION}.tgz"
        (folder_of / "-" / file).write_bytes(tarball)
        url = f"https://npm.{domain}/{PACKAGE}/-/{file}"
        version: Dict[str, Any] = {**package, "dist": {"tarball": url, "integrity": integrity}}
        document = {"name": PACKAGE, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
        (folder_of / "index.json").write_text(json.dumps(document))


def _www(folder: Path, roots: Dict[str, str]) -> None:
    """Which goods stand below a case's name; those that depend on the domain are there already."""
    for domain in DOMAINS:
        www = folder / "www" / domain.split(".")[0]
        www.mkdir(parents=True, exist_ok=True)
        for key, what in roots.items():
            if not (www / key).exists():
                (www / key).symlink_to(folder / "goods" / what)


def make(folder: Path, spec: Dict[str, Any], uid: int) -> None:
    """Fills the folder. spec["roots"]: case key -> "web", "apt", "files"."""
    _certificates(folder, uid)
    _web(folder)
    _git(folder, uid)
    _ssh(folder)
    _deb(folder)
    _wheel(folder)
    _npm(folder)
    _www(folder, spec["roots"])
