# SPDX-License-Identifier: Apache-2.0
"""
A flood out of a network namespace, as a process of its own so that it takes no time from who measures:

    flood.py NAMESPACE PER_SECOND syn SOURCE DESTINATION PORT | dns NAME | dnstcp

Sends until it is ended, at most PER_SECOND things a second. NAME has a %d for a number.
"""

import ctypes
import os
import socket
import struct
import sys
import time
from typing import Callable

GATEWAY = "100.112.0.1"


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(source: str, destination: str, port: int, number: int) -> bytes:
    """An IPv4 packet; the source port and the sequence number come from number."""
    s, d = socket.inet_aton(source), socket.inet_aton(destination)
    sport = 1024 + number % 60000
    tcp = struct.pack(">HHIIBBHHH", sport, port, number * 7919 & 0xFFFFFFFF, 0, 0x50, 2, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack(">H", checksum(s + d + struct.pack(">HH", 6, len(tcp)) + tcp)) + tcp[18:]
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), number & 0xFFFF, 0x4000, 64, 6, 0, s, d)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + tcp


def syns(source: str, destination: str, port: str) -> Callable[[int], None]:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    return lambda number: raw.sendto(syn(source, destination, int(port), number), (destination, 0)) and None


def queries(name: str) -> Callable[[int], None]:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((GATEWAY, 53))

    def send(number: int) -> None:
        labels = (name % number if "%" in name else name).split(".")
        question = b"".join(bytes([len(x)]) + x.encode() for x in labels) + b"\0\0\1\0\1"
        s.send(struct.pack(">HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + question)

    return send


def connections() -> Callable[[int], None]:
    """DNS over TCP: as many at a time as the client can have open, each for a moment."""
    kept: list[socket.socket] = []

    def send(number: int) -> None:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.setblocking(False)
        s.connect_ex((GATEWAY, 53))
        kept.append(s)
        if len(kept) > 500:
            kept.pop(0).close()

    return send


def main() -> None:
    namespace, rate, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None).setns(fd, 0x40000000) != 0:
        sys.exit("setns")
    send = {"syn": syns, "dns": queries, "dnstcp": connections}[kind](*sys.argv[4:])
    number, parent = 0, os.getppid()
    while os.getppid() == parent:  # who started it may not have come to end it
        started = time.monotonic()
        for _ in range(max(1, rate // 100)):
            number += 1
            try:
                send(number)
            except OSError:
                pass  # the queue is full, or an ICMP error of an earlier one
        time.sleep(max(0.0005, 0.01 - (time.monotonic() - started)))


main()
