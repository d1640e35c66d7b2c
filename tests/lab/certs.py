# SPDX-License-Identifier: Apache-2.0
"""A throw-away certificate authority. One key for all leaves: only their names matter here."""

import os
import re
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Dict, List, Optional

_CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
CN = lab
"""
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,250}[a-z0-9_])?\Z")
#: A test that offers random names must not fill the disk.
_MAX_NAMES = 500
DEFAULT = "default.lab"


class Certs:
    def __init__(self, folder: Path, alpn: List[str]) -> None:
        self._folder = folder
        self._alpn = alpn
        self._contexts: Dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._config = folder / "openssl.cnf"
        self._ca_key, self._leaf_key = folder / "ca.key", folder / "leaf.key"
        self.ca = folder / "ca.pem"

    def create(self) -> None:
        """The authority and the leaves' key."""
        self._config.write_text(_CONFIG, encoding="ascii")
        for key in (self._ca_key, self._leaf_key):
            self._openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)])
        self._openssl(
            ["req", "-x509", "-new", "-config", str(self._config), "-key", str(self._ca_key), "-subj", "/CN=declaw lab CA"]
            + ["-days", "2", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
            + ["-addext", "subjectKeyIdentifier=hash", "-out", str(self.ca)]
        )

    @staticmethod
    def _openssl(arguments: List[str]) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")

    def context(self, name: Optional[str]) -> ssl.SSLContext:
        """For a server name as a client offers it; the default's for none, a strange one, or one too many."""
        name = (name or DEFAULT).lower()
        with self._lock:
            if name not in self._contexts and (len(self._contexts) >= _MAX_NAMES or not _NAME.match(name)):
                name = DEFAULT
            if name not in self._contexts:
                self._contexts[name] = self._make(name)
            return self._contexts[name]

    def _make(self, name: str) -> ssl.SSLContext:
        pem = self._folder / f"leaf-{len(self._contexts)}.pem"
        subject = name if len(name) <= 64 else "long name"  # the limit of a CN; clients read the SAN
        self._openssl(
            ["req", "-x509", "-new", "-config", str(self._config), "-key", str(self._leaf_key), "-subj", f"/CN={subject}"]
            + ["-CA", str(self.ca), "-CAkey", str(self._ca_key), "-days", "2", "-set_serial", f"0x{os.urandom(8).hex()}"]
            + ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=DNS:{name}"]
            + ["-addext", "extendedKeyUsage=serverAuth", "-addext", "authorityKeyIdentifier=keyid", "-out", str(pem)]
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, self._leaf_key)
        context.set_alpn_protocols(self._alpn)
        return context
