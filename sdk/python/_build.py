# SPDX-License-Identifier: Apache-2.0
"""A PEP 517 backend of one page: the package is pure Python without dependencies, so a wheel is a zip of its files."""

import base64
import hashlib
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

NAME, VERSION = "declaw", "0.1.0"
HERE = Path(__file__).resolve().parent
SUMMARY = "Client of declaw, a self-hosted sandbox server: from declaw import Sandbox, AsyncSandbox"
METADATA = (
    f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nSummary: {SUMMARY}\n"
    "Requires-Python: >=3.10\nLicense: Apache-2.0\n"
)
WHEEL = "Wheel-Version: 1.0\nGenerator: declaw\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _package_files() -> List[Path]:
    return sorted(p for p in (HERE / NAME).rglob("*") if p.suffix in (".py", ".typed"))


def build_wheel(
    wheel_directory: str, config_settings: Optional[Dict[str, Any]] = None, metadata_directory: Optional[str] = None
) -> str:
    info = f"{NAME}-{VERSION}.dist-info"
    content = {str(p.relative_to(HERE)): p.read_bytes() for p in _package_files()}
    content[f"{info}/METADATA"] = METADATA.encode()
    content[f"{info}/WHEEL"] = WHEEL.encode()
    record = ""
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in content.items():
            z.writestr(name, data)
    return wheel


def build_sdist(sdist_directory: str, config_settings: Optional[Dict[str, Any]] = None) -> str:
    top = f"{NAME}-{VERSION}"
    with tarfile.open(Path(sdist_directory) / f"{top}.tar.gz", "w:gz") as t:
        for p in [HERE / "pyproject.toml", HERE / "_build.py", *_package_files()]:
            t.add(p, f"{top}/{p.relative_to(HERE)}")
    return f"{top}.tar.gz"
