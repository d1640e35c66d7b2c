# SPDX-License-Identifier: Apache-2.0
"""NTP version 4 (RFC 5905), server mode, this machine's clock plus OFFSET. ntp_server.py LOG ADDRESS..."""

import json
import select
import socket
import struct
import sys
import time

OFFSET = 1.5  # seconds; a client that shows it has really asked this server
_EPOCH = 2208988800


def _stamp(t: float) -> bytes:
    return struct.pack("!II", int(t) + _EPOCH, int((t % 1) * (1 << 32)))


def answer(query: bytes, now: float) -> bytes:
    """Stratum 1 of the local clock; origin is the client's transmit time."""
    version = (query[0] >> 3) & 7
    head = struct.pack("!BBbb", version << 3 | 4, 1, query[2], -20) + struct.pack("!II", 0, 16) + b"LOCL"
    return head + _stamp(now) + query[40:48] + _stamp(now) + _stamp(now)


def main() -> None:
    sockets = []
    for address in sys.argv[2:]:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 123))
        sockets.append(sock)
    with open(sys.argv[1], "a", encoding="ascii") as log:
        while True:
            for sock in select.select(sockets, [], [])[0]:
                query, peer = sock.recvfrom(1024)
                log.write(json.dumps({"local": sock.getsockname()[0], "peer": peer[0], "n": len(query)}) + "\n")
                log.flush()
                if len(query) >= 48 and query[0] & 7 == 3:
                    sock.sendto(answer(query, time.time() + OFFSET), peer)


main()
