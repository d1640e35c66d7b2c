# SPDX-License-Identifier: Apache-2.0
"""Where the server is and which key opens it."""

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import urlsplit

from .exceptions import AuthenticationError

_DEFAULT_DOMAIN = "127.0.0.1:8080"
_LOCAL_KEY_FILE = "/var/lib/declaw/api-key"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_key_file(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read(4096).strip()


def _find_key(host: str) -> str:
    key = os.environ.get("DECLAW_API_KEY", "")
    if key:
        return key
    named = os.environ.get("DECLAW_API_KEY_FILE", "")
    if named:
        try:
            return _read_key_file(named)
        except OSError as e:
            raise AuthenticationError(f"DECLAW_API_KEY_FILE names {named}, which cannot be read: {e.strerror}") from None
    if not _is_loopback(host):
        return ""  # this machine's own key is no business of another machine
    try:
        return _read_key_file(_LOCAL_KEY_FILE)
    except OSError:
        return ""


@dataclass
class ConnectionConfig:
    """How to reach a server.

    Args:
        api_key: the key. Default: ``DECLAW_API_KEY``, else the content of the file ``DECLAW_API_KEY_FILE``, else, for a
            server on this machine, of ``/var/lib/declaw/api-key`` where that is readable, else none.
        domain: ``host`` or ``host:port``. Default: ``DECLAW_DOMAIN``, else ``127.0.0.1:8080``. Port 443 means https,
            every other port http.
        port: used where `domain` has none.
        api_url: the whole base URL; beats `domain` and `port`, also in whether the server is on this machine.
        request_timeout: seconds, see `Sandbox`; None waits without end.

    After construction ``domain`` is without its port, ``port`` and ``api_url`` are set. ``repr`` leaves the key out.

    Raises:
        ValueError: the domain, URL or key cannot be used.
        AuthenticationError: ``DECLAW_API_KEY_FILE`` is set but cannot be read.
    """

    api_key: Optional[str] = field(default=None, repr=False)  # logs and tracebacks print configurations
    domain: Optional[str] = None
    port: int = 443
    api_url: Optional[str] = None
    request_timeout: Optional[float] = None

    def __post_init__(self) -> None:
        domain = self.domain or self.default_domain()
        head, colon, tail = domain.rpartition(":")
        if colon and tail.isdigit():
            domain, self.port = head, int(tail)
        if not domain or any(c in domain for c in "/@?# \t\r\n") or (":" in domain and not domain.startswith("[")):
            raise ValueError(f"domain {self.domain!r} is not host, host:port or [IPv6 address]:port")
        if not 0 < self.port < 65536:
            raise ValueError(f"port {self.port} is not in 1 to 65535")
        self.domain = domain
        if self.api_url is None:
            scheme = "https" if self.port == 443 else "http"
            self.api_url = f"{scheme}://{domain}:{self.port}"
        if self.api_key is None:
            # The URL's host, which requests go to; `domain` may name another, or nothing but the default.
            self.api_key = _find_key(urlsplit(self.api_url).hostname or "")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("the API key has characters that a header cannot carry")

    @classmethod
    def default_domain(cls) -> str:
        """``host:port`` of the server that is used when none is named."""
        return os.environ.get("DECLAW_DOMAIN") or _DEFAULT_DOMAIN
