# SPDX-License-Identifier: Apache-2.0
"""Every packet on the uplink, seen by the kernel before and after everybody else."""

import ipaddress
import select
import socket
import struct
import threading
from typing import Collection, Iterable, List, NamedTuple, Optional, Tuple, Union

from . import netns

_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_SNAP = 4096
_FRAME_MAX = 1 << 17
_KEEP_BYTES = 256 << 20
_BUFFER = 64 << 20
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
_FLAGS = ((2, "S"), (1, "F"), (4, "R"), (8, "P"), (16, "A"), (32, "U"), (64, "E"), (128, "C"))
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options
_FRAGMENT = 44


class CaptureLost(Exception):
    """The capture is not complete, so it cannot say that something was not there."""


class Packet(NamedTuple):
    """A packet on the uplink.

    proto: tcp, udp, icmp, icmp6, sctp, a protocol number, or ``ether-XXXX`` for what is not IP (src, dst: MACs).
    flags: of TCP, in the order SFRPAUEC, "SA" for a SYN-ACK; of ICMP "type/code"; "fragment" for a later fragment.
    payload: what follows the transport header, up to about 4 KiB of it; length is its length on the wire.
    outgoing: from the host towards the internet.
    """

    time: float
    outgoing: bool
    src: str
    dst: str
    proto: str
    sport: int
    dport: int
    flags: str
    payload: bytes
    length: int


class _Raw(NamedTuple):
    time: float
    outgoing: bool
    data: bytes
    length: int


def _ipv6_transport(data: bytes) -> Tuple[int, int, bool]:
    """(protocol, offset of its header, whether this is a later fragment)"""
    protocol, at, fragment = data[6], 40, False
    while at + 8 <= len(data):
        if protocol in _EXTENSIONS:
            protocol, at = data[at], at + 8 + data[at + 1] * 8
        elif protocol == _FRAGMENT:
            fragment = fragment or bool(struct.unpack_from("!H", data, at + 2)[0] >> 3)
            protocol, at = data[at], at + 8
        else:
            break
    return protocol, at, fragment


def _transport(protocol: int, data: bytes) -> Tuple[int, int, str, int]:
    """(source port, destination port, flags, header length)"""
    if protocol == 6 and len(data) >= 20:
        flags = "".join(letter for bit, letter in _FLAGS if data[13] & bit)
        return (*struct.unpack_from("!HH", data), flags, (data[12] >> 4) * 4)  # type: ignore[return-value]
    if protocol == 17 and len(data) >= 8:
        return (*struct.unpack_from("!HH", data), "", 8)  # type: ignore[return-value]
    if protocol == 132 and len(data) >= 12:
        return (*struct.unpack_from("!HH", data), "", 12)  # type: ignore[return-value]
    if protocol in (1, 58) and len(data) >= 8:
        return 0, 0, f"{data[0]}/{data[1]}", 8
    return 0, 0, "", 0


def parse(raw: _Raw) -> Packet:
    """Never raises: what cannot be read has empty fields."""
    frame = raw.data
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    data, wire = frame[14:], raw.length - 14
    fragment = False
    if ethertype == 0x0800 and len(data) >= 20:
        protocol, at = data[9], (data[0] & 15) * 4
        src, dst = str(ipaddress.IPv4Address(data[12:16])), str(ipaddress.IPv4Address(data[16:20]))
        fragment = bool(struct.unpack_from("!H", data, 6)[0] & 0x1FFF)
        total = struct.unpack_from("!H", data, 2)[0]
    elif ethertype == 0x86DD and len(data) >= 40:
        protocol, at, fragment = _ipv6_transport(data)
        src, dst = str(ipaddress.IPv6Address(data[8:24])), str(ipaddress.IPv6Address(data[24:40]))
        total = struct.unpack_from("!H", data, 4)[0] + 40
    else:
        macs = frame[6:12].hex(":"), frame[0:6].hex(":")
        return Packet(raw.time, raw.outgoing, *macs, f"ether-{ethertype:04x}", 0, 0, "", data, wire)
    # Ethernet pads short packets; a segment larger than 64 KiB (offload) has no length of its own.
    total = total if at < total <= wire else wire
    name = _PROTOCOLS.get(protocol, str(protocol))
    rest = data[at:total]
    if fragment:
        return Packet(raw.time, raw.outgoing, src, dst, name, 0, 0, "fragment", rest, total - at)
    sport, dport, flags, head = _transport(protocol, rest)
    return Packet(raw.time, raw.outgoing, src, dst, name, sport, dport, flags, rest[head:], max(0, total - at - head))


class Capture:
    """Runs from `start` to `stop`. A mark is a place in the stream of packets; see `mark` and `packets`."""

    def __init__(self, namespace: str, device: str) -> None:
        self._namespace = namespace
        self._device = device
        self._lock = threading.Lock()
        self._kept: List[_Raw] = []
        self._base = 0  # how many were cleared away
        self._bytes = 0
        self._drops = 0
        self._overflow = 0
        self._stopping = threading.Event()

    def start(self) -> None:
        self._sock = netns.inside(self._namespace, self._open)
        self._thread = threading.Thread(target=self._run, name="lab-capture", daemon=True)
        self._thread.start()

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: nothing before bind names the device
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind((self._device, _ETH_P_ALL))
        sock.setblocking(False)
        return sock

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._sock.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            if select.select([self._sock], [], [], 0.1)[0]:
                with self._lock:
                    self._drain()

    def _drain(self) -> None:
        while True:
            try:
                data, ancillary, _, address = self._sock.recvmsg(_FRAME_MAX, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            if self._bytes >= _KEEP_BYTES:
                self._overflow += 1
                continue
            kept = data[:_SNAP]
            self._bytes += len(kept)
            self._kept.append(_Raw(seconds + nanoseconds / 1e9, address[2] == _PACKET_OUTGOING, kept, len(data)))

    def _count_drops(self) -> None:
        # The kernel starts again from 0 with every reading.
        statistics = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._drops += struct.unpack("II", statistics)[1]

    @property
    def lost(self) -> int:
        """Packets since the last `clear` that are not here: dropped by the kernel, or beyond what is kept."""
        with self._lock:
            self._drain()
            self._count_drops()
            return self._drops + self._overflow

    def mark(self) -> int:
        """The place after the last packet that has passed by now."""
        with self._lock:
            self._drain()
            return self._base + len(self._kept)

    def clear(self) -> None:
        """Forgets all packets and losses. Marks made before stay valid."""
        with self._lock:
            self._drain()
            self._count_drops()
            self._base += len(self._kept)
            self._kept, self._bytes, self._drops, self._overflow = [], 0, 0, 0

    def packets(
        self,
        *,
        dst: Union[str, Collection[str], None] = None,
        src: Union[str, Collection[str], None] = None,
        proto: Optional[str] = None,
        port: Optional[int] = None,
        outgoing: Optional[bool] = None,
        since: int = 0,
    ) -> List[Packet]:
        """Those that passed after the mark `since`, oldest first.

        Args:
            dst, src: one address or several.
            port: of either end.

        Raises:
            CaptureLost: packets were lost, so an empty list would prove nothing.
        """
        if self.lost:
            raise CaptureLost(f"{self._drops} packets dropped by the kernel, {self._overflow} beyond what is kept")
        with self._lock:
            raws: Iterable[_Raw] = self._kept[max(0, since - self._base) :]
        wanted_dst, wanted_src = _addresses(dst), _addresses(src)
        return [
            p
            for p in map(parse, raws)
            if (wanted_dst is None or p.dst in wanted_dst)
            and (wanted_src is None or p.src in wanted_src)
            and (proto is None or p.proto == proto)
            and (port is None or port in (p.sport, p.dport))
            and (outgoing is None or p.outgoing == outgoing)
        ]


def _addresses(value: Union[str, Collection[str], None]) -> Optional[Collection[str]]:
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    return {str(ipaddress.ip_address(t)) for t in texts}
