# SPDX-License-Identifier: Apache-2.0
"""Network policies as the caller writes them. The server decides; what is here finds slips before a request is made."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional

#: In ``deny_out``: everything, IPv6 included.
ALL_TRAFFIC = "0.0.0.0/0"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
# A name that ends in a number is an address in an odd spelling to most resolvers: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"(?:0x.*|[0-9]+)\Z")
_PORTS = re.compile(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?\Z")
_PORTS_TAIL = re.compile(r"(.*):([0-9-]*)\Z")
_REGEX_MAX = 1000
_LIMITS = {"flows", "half_open", "flows_per_second", "dns_per_second", "names_per_minute", "bytes"}


def _canonical_host(host: str) -> Optional[str]:
    """Lower case without the trailing dot; None for what is no host name."""
    host = host[:-1] if host.endswith(".") else host
    if not host.isascii() or len(host) > 253:
        return None
    labels = host.lower().split(".")
    if not all(_LABEL.match(label) for label in labels) or _NUMBER.match(labels[-1]):
        return None
    return ".".join(labels)


def _is_address(text: str) -> bool:
    try:
        # strict=False: host bits are allowed, 10.1.2.3/8 is 10.0.0.0/8
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    slash, length = text.partition("/")[1:]
    return not slash or (length.isdigit() and (length == "0" or length[0] != "0"))


def _ports_ok(text: str) -> bool:
    match = _PORTS.match(text)
    if match is None:
        return False
    first = int(match.group(1))
    return first <= int(match.group(2) or first) <= 65535


def _split_ports(entry: str) -> "tuple[str, Optional[str]]":
    """(entry without its ports, ports or None)."""
    if entry.startswith("["):
        inner, close, tail = entry[1:].partition("]")
        if close and ":" in inner:
            return inner, tail[1:] if tail[:1] == ":" else (None if not tail else tail)
        return entry, None
    if entry.count(":") > 1 and not entry.startswith("~"):
        return entry, None  # IPv6 without brackets has no port
    match = _PORTS_TAIL.match(entry)
    return (match.group(1), match.group(2)) if match else (entry, None)


def validate_network_entry(entry: str, *, allow_domains: bool = True) -> str:
    """Checks one entry of a policy and returns it unchanged.

    An entry is ``host``, ``*.host`` (every name below it, not itself), ``~regex`` (matched against the whole name),
    ``*`` (everything), an IPv4 or IPv6 address, or a CIDR block; each with ``:port`` or ``:port-port`` or without (IPv6 with
    a port: ``[address]:port``).

    Args:
        allow_domains: False refuses host, wildcard and regex entries.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(entry, str) or not entry or not entry.isascii() or not entry.isprintable() or " " in entry:
        raise ValueError(f"invalid network entry: {entry!r} (empty, or with white space, control or non-ASCII characters)")
    body, ports = _split_ports(entry)
    if ports is not None and not _ports_ok(ports):
        raise ValueError(f"invalid network entry: {entry!r} (a port is 1 to 65535, a range is first-last)")
    if body == "*" or ("%" not in body and _is_address(body)):
        return entry
    if body.startswith("~"):
        ok = 1 < len(body) <= _REGEX_MAX + 1
    else:
        ok = _canonical_host(body[2:] if body.startswith("*.") else body) is not None
    if not ok:
        raise ValueError(f"invalid network entry: {entry!r} (a host name, *.host, ~regex, an IP address or a CIDR block)")
    if not allow_domains:
        raise ValueError(f"invalid network entry: {entry!r} (only IP addresses and CIDR blocks may stand here)")
    return entry


def domain_matches(pattern: str, hostname: str) -> bool:
    """Whether the server would take `hostname` for a match of `pattern`: ``host``, ``*.host`` or ``~regex``, without port.

    Upper and lower case, and a trailing dot, make no difference. ``*.example.com`` matches names below example.com at any
    depth, not example.com itself. A regex is tried with Python's engine, the server's is PCRE2.

    Raises:
        ValueError: the pattern is a regex that does not compile.
    """
    host = _canonical_host(hostname)
    if host is None:
        return False
    if pattern.startswith("~"):
        try:
            return re.fullmatch(pattern[1:], host) is not None
        except re.error as e:
            raise ValueError(f"invalid regular expression {pattern[1:]!r}: {e}") from None
    if pattern.startswith("*."):
        suffix = _canonical_host(pattern[2:])
        return suffix is not None and host.endswith("." + suffix)
    return host == _canonical_host(pattern)


class _Unset(List[str]):
    """An empty list that the caller did not write.

    ``allow_out=[]`` that the caller wrote must reach the server, where it means "nothing": dropping it, as one does
    with defaults, would turn the narrowest policy into the widest.
    """


def _names(entries: Iterable[str]) -> bool:
    return any(not (e == "*" or _is_address(_split_ports(e)[0])) for e in entries)


@dataclass
class SandboxNetworkOpts:
    """What a sandbox may reach.

    Args:
        allow_out: entries (see `validate_network_entry`) that may be reached. Given: nothing else may, so ``[]`` closes
            everything. Not given: everything public, minus `deny_out`.
        deny_out: IP addresses and CIDR blocks, or `ALL_TRAFFIC`. A narrower `allow_out` entry beats it.
        allow_public_traffic: False closes the sandbox's ports to requests from outside.
        mask_request_host: Host header that servers inside see.
        blocked: what a refused connection looks like from inside: "drop" (the server's default; it times out) or
            "reject" (it is refused at once). This server's, not part of the published SDK.
        mode: "enforce" (the default) or "observe": what the lists would refuse is noted and passes. This server's.
        limits: at most ``flows``, ``half_open``, ``flows_per_second``, ``dns_per_second``, ``names_per_minute``,
            ``bytes``; each optional. This server's.
        allow_ech: True lets TLS with Encrypted Client Hello through to a name's address, judged by its outer name; browsers send
            it as grease. This server's.

    Raises:
        ValueError: an entry, `blocked`, `mode` or the name of a limit is not valid.
    """

    allow_out: List[str] = field(default_factory=_Unset)
    deny_out: List[str] = field(default_factory=_Unset)
    allow_public_traffic: bool = True
    mask_request_host: Optional[str] = None
    blocked: Optional[str] = None
    mode: Optional[str] = None
    limits: Optional[Dict[str, int]] = None
    allow_ech: Optional[bool] = None

    def __post_init__(self) -> None:
        for name, words in (("blocked", ("drop", "reject")), ("mode", ("enforce", "observe"))):
            if getattr(self, name) not in (None, *words):
                raise ValueError(f"{name} is {words[0]!r} or {words[1]!r}, not {getattr(self, name)!r}")
        unknown = set(self.limits or ()) - _LIMITS
        if unknown:
            raise ValueError(f"no such limit: {', '.join(sorted(map(str, unknown)))}")
        for name in ("allow_out", "deny_out"):
            entries = getattr(self, name)
            if isinstance(entries, str):  # would be taken for a list of one-letter names
                raise ValueError(f"{name} is a list of entries, not one string: [{entries!r}]")
            for entry in entries:
                validate_network_entry(entry, allow_domains=name == "allow_out")

    @property
    def has_domain_rules(self) -> bool:
        """Whether an entry of `allow_out` is a name, a wildcard or a regex."""
        return _names(self.allow_out)

    @property
    def effective_allow_out(self) -> List[str]:
        """`allow_out`, with the 8.8.8.8 that the published SDK shows where names are used. It is not sent; this server
        resolves names itself and does not open that address."""
        extra = ["8.8.8.8"] if self.has_domain_rules and "8.8.8.8" not in self.allow_out else []
        return [*self.allow_out, *extra]

    def to_dict(self) -> Dict[str, Any]:
        """The ``network`` object of the wire; what was not given is left out."""
        out: Dict[str, Any] = {}
        if self.allow_out or not isinstance(self.allow_out, _Unset):
            out["allow_out"] = list(self.allow_out)
        if self.deny_out:
            out["deny_out"] = list(self.deny_out)
        if not self.allow_public_traffic:
            out["allow_public_traffic"] = False
        if self.mask_request_host is not None:
            out["mask_request_host"] = self.mask_request_host
        ours = {"blocked": self.blocked, "mode": self.mode, "limits": self.limits and dict(self.limits),
                "allow_ech": self.allow_ech}  # fmt: skip
        out.update((k, v) for k, v in ours.items() if v)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SandboxNetworkOpts":
        """The opposite of `to_dict`; unknown keys are ignored, an ``allow_out`` of None is the empty list."""
        plain = ("allow_public_traffic", "mask_request_host", "blocked", "mode", "limits", "allow_ech")
        known: Dict[str, Any] = {k: data[k] for k in plain if k in data}
        lists: Dict[str, Any] = {k: list(data[k] or []) for k in ("allow_out", "deny_out") if k in data}
        return cls(**lists, **known)


@dataclass
class NetworkPolicy(SandboxNetworkOpts):
    """The same fields under the name that security policies use."""

    def to_network_opts(self) -> SandboxNetworkOpts:
        """The same as a `SandboxNetworkOpts`."""
        return SandboxNetworkOpts(**vars(self))
