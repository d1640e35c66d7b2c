# SPDX-License-Identifier: Apache-2.0
"""Who is where in the lab."""

from typing import Dict, List, Tuple

#: The two ends of the uplink: the host's, and the internet's router.
UPLINK4, ROUTER4 = "203.0.113.2", "203.0.113.1"
UPLINK6, ROUTER6 = "2001:db8:77::2", "2001:db8:77::1"

#: Two virtual hosts share it: one.allowed.test (and the rest of allowed.test, wild.test) and co.evil.test.
A1, A1_6 = "93.184.215.14", "2606:2800:21f::14"
#: Named by no rule. Takes TCP on any port, swallows UDP (but 7 and 443), answers pings.
A2, A2_6 = "203.1.113.66", "2a00:1450::66"
#: api.github.com, and gist-cotenant.evil.test on the same address.
GITHUB = "140.82.121.6"
PYPI, PYPI_6 = "151.101.0.223", "2a04:4e42::223"
METADATA, METADATA_6 = "169.254.169.254", "fd00:ec2::254"
PRIVATE, PRIVATE_6 = "10.9.8.7", "fd12:3456::7"

RESOLVER = "9.9.9.9"
RESOLVERS: Tuple[str, ...] = (
    RESOLVER, "149.112.112.112", "1.1.1.1", "8.8.8.8",
    "2620:fe::fe", "2606:4700:4700::1111", "2001:4860:4860::8888",
)  # fmt: skip

#: Routed, and nobody answers: a SYN is lost without a word.
SILENT, SILENT_6 = "45.79.10.1", "2600:3c00::a001"
#: ICMP "host unreachable" (IPv6: "no route") and "administratively prohibited".
UNREACHABLE, UNREACHABLE_6 = "45.79.10.2", "2600:3c00::a002"
PROHIBITED, PROHIBITED_6 = "45.79.10.3", "2600:3c00::a003"

#: Every address that answers. On each: HTTP_PORTS, ECHO, SSH, SMTP.
SERVERS: Tuple[str, ...] = (
    *RESOLVERS, A1, A1_6, A2, A2_6, GITHUB, PYPI, PYPI_6, METADATA, METADATA_6, PRIVATE, PRIVATE_6,
)  # fmt: skip

#: HTTP and TLS on each of them, told apart by the first byte, so that "TLS on 80" is seen for what it is.
HTTP_PORTS = (80, 443, 8080, 8443)
ECHO = 7  # TCP and UDP; UDP 443 echoes too
SSH = 22  # speaks first, then echoes
SMTP = 2525  # speaks first, knows STARTTLS
SINK = 9  # where A2's other ports lead
CLOSED = 81  # RST (not on A2, which takes every port)
SWALLOWED = 9999  # the SYN is dropped

Records = Dict[str, Dict[str, List[str]]]

#: What the DNS knows at first: name -> type -> values.
ZONES: Records = {
    "api.github.com": {"A": [GITHUB]},
    "github.com": {"A": [GITHUB]},
    "one.allowed.test": {"A": [A1], "AAAA": [A1_6]},
    "two.allowed.test": {"A": [A1], "AAAA": [A1_6]},
    "allowed.test": {"A": [A1], "AAAA": [A1_6]},
    "*.wild.test": {"A": [A1], "AAAA": [A1_6]},
    "co.evil.test": {"A": [A1], "AAAA": [A1_6]},
    "gist-cotenant.evil.test": {"A": [GITHUB]},
    "sink.evil.test": {"A": [A2], "AAAA": [A2_6]},
    "evil.test": {"A": [A2], "AAAA": [A2_6]},
    "example.org": {"A": [A2], "AAAA": [A2_6]},
    "private.test": {"A": [PRIVATE], "AAAA": [PRIVATE_6]},
    "pypi.org": {"A": [PYPI], "AAAA": [PYPI_6]},
    "files.pythonhosted.org": {"A": [PYPI], "AAAA": [PYPI_6]},
}

#: Names whose certificates are made at start; others are made when first asked for.
CERTIFIED = tuple(name for name in ZONES if not name.startswith("*"))
