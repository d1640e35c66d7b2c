# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: making them, entering them, and the wires of the lab."""

import ctypes
import os
import subprocess
import threading
from typing import Callable, Dict, List, TypeVar

from . import addresses as a

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")

UPLINK_DEV, INTERNET_DEV = "uplink", "inet"
_UPLINK_MAC, _INTERNET_MAC = "02:1a:b0:00:00:02", "02:1a:b0:00:00:01"


def enter(name: str) -> None:
    """Moves the calling thread into the namespace."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, _CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"setns {name}: {os.strerror(error)}")
    finally:
        os.close(fd)


def inside(name: str, work: Callable[[], _T]) -> _T:
    """What work() returns when run in the namespace. A socket made there stays there.

    It runs on a thread of its own, which ends with it, so that no thread of the caller's ever changes place.
    """
    results: List[_T] = []
    errors: List[BaseException] = []

    def run() -> None:
        try:
            enter(name)
            results.append(work())
        except BaseException as e:  # handed to the caller below
            errors.append(e)

    thread = threading.Thread(target=run, name=f"inside-{name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _tool(argv: List[str], text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _sysctls(values: Dict[str, str]) -> None:
    for path, value in values.items():
        with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as f:
            f.write(value)


def _is6(address: str) -> bool:
    return ":" in address


def _addr_add(address: str, length: int, dev: str) -> str:
    return f"addr add {address}/{length} dev {dev}" + (" nodad" if _is6(address) else "")


def _link_end(dev: str, own: List[str], peers: List[str], peer_mac: str) -> List[str]:
    """One end of the veth. Fixed neighbours: no ARP or ND stands in the capture or delays a packet."""
    return [
        f"link set {dev} addrgenmode none",
        *(_addr_add(address, 64 if _is6(address) else 24, dev) for address in own),
        f"link set {dev} up",
        *(f"neigh add {address} lladdr {peer_mac} dev {dev} nud permanent" for address in peers),
    ]


def _uplink_batch(internet: str) -> List[str]:
    return [
        "link set lo up",
        f"link add {UPLINK_DEV} address {_UPLINK_MAC} type veth"
        f" peer name {INTERNET_DEV} address {_INTERNET_MAC} netns {internet}",
        *_link_end(UPLINK_DEV, [a.UPLINK4, a.UPLINK6], [a.ROUTER4, a.ROUTER6], _INTERNET_MAC),
        f"route add default via {a.ROUTER4}",
        f"route add default via {a.ROUTER6}",
    ]


def _internet_batch() -> List[str]:
    refusals = [("unreachable", a.UNREACHABLE), ("unreachable", a.UNREACHABLE_6),
                ("prohibit", a.PROHIBITED), ("prohibit", a.PROHIBITED_6)]  # fmt: skip
    return [
        "link set lo up",
        *_link_end(INTERNET_DEV, [a.ROUTER4, a.ROUTER6], [a.UPLINK4, a.UPLINK6], _UPLINK_MAC),
        *(_addr_add(address, 128 if _is6(address) else 32, "lo") for address in a.SERVERS),
        *(f"route add {kind} {address}" for kind, address in refusals),
        # Everything else is a place from which nothing comes back. (`default` alone would be IPv4's.)
        "route add blackhole 0.0.0.0/0",
        "route add blackhole ::/0",
    ]


# A kernel reports its multicast groups (MLD) for a second or two: noise in a capture that is to be silent.
_NO_MULTICAST_REPORTS = """
table ip6 quiet {
  chain output {
    type filter hook output priority filter;
    icmpv6 type mld2-listener-report drop
  }
}
"""


def _nft(namespace: str, rules: str) -> None:
    _tool(["ip", "netns", "exec", namespace, "nft", "-f", "-"], rules)


def _nft_rules() -> str:
    served = ", ".join(str(p) for p in (*a.HTTP_PORTS, a.ECHO, a.SSH, a.SMTP))
    return f"""
table inet lab {{
  chain untracked_in {{
    type filter hook prerouting priority raw;
    ip daddr != {a.A2} notrack
    ip6 daddr != {a.A2_6} notrack
  }}
  chain untracked_out {{
    type filter hook output priority raw;
    ip saddr != {a.A2} notrack
    ip6 saddr != {a.A2_6} notrack
  }}
  chain sink {{
    type nat hook prerouting priority dstnat;
    ip daddr {a.A2} tcp dport != {{ {served} }} dnat ip to {a.A2}:{a.SINK}
    ip6 daddr {a.A2_6} tcp dport != {{ {served} }} dnat ip6 to [{a.A2_6}]:{a.SINK}
  }}
  chain swallow {{
    type filter hook input priority filter;
    tcp dport {a.SWALLOWED} drop
    ip daddr {a.A2} udp dport != {{ {a.ECHO}, 443 }} drop
    ip6 daddr {a.A2_6} udp dport != {{ {a.ECHO}, 443 }} drop
  }}
}}
"""


_ROUTER = {
    # A host that does not forward sends no ICMP errors for others either.
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # Every refusal is told, not six and then one a second.
    "ipv4/icmp_ratelimit": "0",
    "ipv6/icmp/ratelimit": "0",
}


def build(uplink: str, internet: str) -> None:
    """Makes both namespaces and the wire between them. Neither has a way to the real network."""
    for name in (uplink, internet):
        _tool(["ip", "netns", "add", name])
    inside(internet, lambda: _sysctls(_ROUTER))
    _nft(uplink, _NO_MULTICAST_REPORTS)
    _nft(internet, _NO_MULTICAST_REPORTS + _nft_rules())
    _tool(["ip", "-n", uplink, "-batch", "-"], "\n".join(_uplink_batch(internet)))
    _tool(["ip", "-n", internet, "-batch", "-"], "\n".join(_internet_batch()))


def destroy(*names: str) -> None:
    """Removes the namespaces that exist; what is in them goes with the last process inside."""
    for name in names:
        if os.path.exists(f"/run/netns/{name}"):
            _tool(["ip", "netns", "del", name])
