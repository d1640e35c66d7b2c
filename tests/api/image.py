# SPDX-License-Identifier: Apache-2.0
"""Small images made by hand: a root file system around one static program, as an OCI archive."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

# Other suites take this file too, and have a conftest.py of their own.
BUILD = Path(__file__).resolve().parents[2] / os.environ.get("DECLAW_BUILD", "build-test")

PROGRAMS = ("sh", "cat", "chown", "cp", "echo", "env", "false", "grep", "id", "ls", "mkdir", "mount", "ps", "sleep", "stat", "touch", "true", "unshare", "wget", "wc")


def busybox() -> bytes:
    found = shutil.which("busybox")
    assert found, "the package busybox-static is missing"
    return Path(found).read_bytes()


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for key, value in fields.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(data))


def libraries() -> Iterable[str]:
    """What the agent itself needs in an image: nothing, unless it is built with a sanitizer, and so not static."""
    done = subprocess.run(["ldd", str(BUILD / "src/agent/declaw-agent")], capture_output=True, text=True)
    return sorted({word for line in done.stdout.splitlines() for word in line.split() if word.startswith("/")}) if done.returncode == 0 else []


def layer(more: Optional[Callable[[tarfile.TarFile], None]] = None, shell: bool = True) -> bytes:
    """bin/busybox and links to it; more adds what a test wants."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("bin", "etc"):
            add(tar, name, type=tarfile.DIRTYPE, mode=0o755)
        if shell:
            add(tar, "bin/busybox", busybox(), mode=0o755)
            for path in libraries():
                add(tar, path.lstrip("/"), Path(path).read_bytes(), mode=0o755)
            for name in PROGRAMS:
                add(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox")
        if more:
            more(tar)
    return buffer.getvalue()


def layout(images: Iterable[Tuple[Optional[str], bytes]], env: Iterable[str] = ("PATH=/bin",)) -> Dict[str, bytes]:
    """The files of an OCI image layout with these tags and layers."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def put(data: bytes, kind: str) -> Dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    manifests = []
    for tag, data in images:
        root = put(data, "layer.v1.tar")
        config = {"architecture": "amd64", "os": "linux", "config": {"Env": list(env)}, "rootfs": {"type": "layers", "diff_ids": [root["digest"]]}}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": put(json.dumps(config).encode(), "config.v1+json"), "layers": [root]}
        entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
        if tag:
            entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        manifests.append(entry)
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    return files


def pack(files: Dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            add(tar, name, data)
    return buffer.getvalue()


def archive(root: Optional[bytes] = None, env: Iterable[str] = ("PATH=/bin",), tag: Optional[str] = "latest") -> bytes:
    return pack(layout([(tag, root or layer())], env))


def send(daemon: Any, data: bytes, query: str = "", key: str = "") -> Any:
    return daemon.request("POST", "/templates/import" + query, data, {"Content-Type": "application/octet-stream"}, key=key, timeout=120)


def make(daemon: Any, alias: str, key: str = "", **fields: Any) -> Dict[str, Any]:
    """A template of this name; what the server answered."""
    answer = send(daemon, archive(**fields), f"?alias={alias}", key)
    assert answer.status == 200 and answer.json["status"] == "completed", answer.body
    built: Dict[str, Any] = answer.json
    return built
