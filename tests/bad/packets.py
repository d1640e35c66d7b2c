# SPDX-License-Identifier: Apache-2.0
"""Packets by hand, with right checksums or with none that is right. Standard library only."""
import random
import socket
import struct

GATE_MAC, SANDBOX_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def pseudo(src: bytes, dst: bytes, proto: int, n: int) -> bytes:
    if len(src) == 16:
        return src + dst + struct.pack(">II", n, proto)
    return src + dst + struct.pack(">HH", proto, n)


def with_sum(head: bytes, at: int, cover: bytes) -> bytes:
    value = checksum(cover + head[:at] + b"\0\0" + head[at + 2:])
    return head[:at] + struct.pack(">H", value) + head[at + 2:]


def tcp(src: bytes, dst: bytes, sport: int, dport: int, flags: int, seq: int = 0, ack: int = 0, data: bytes = b"",
        options: bytes = b"", window: int = 64000) -> bytes:
    options += b"\0" * (-len(options) % 4)
    head = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                       min(5 + len(options) // 4, 15) << 4, flags & 255, window, 0, 0) + options + data
    return with_sum(head, 16, pseudo(src, dst, 6, len(head)))


def udp(src: bytes, dst: bytes, sport: int, dport: int, data: bytes) -> bytes:
    head = struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data
    return with_sum(head, 6, pseudo(src, dst, 17, len(head)))


def icmp(src: bytes, dst: bytes, kind: int, code: int, body: bytes) -> bytes:
    head = struct.pack(">BBH", kind, code, 0) + body
    return with_sum(head, 2, pseudo(src, dst, 58, len(head)) if len(src) == 16 else b"")


def ip(src: bytes, dst: bytes, proto: int, body: bytes, ttl: int = 64, fragment: int = 0, ident: int = 0) -> bytes:
    if len(src) == 16:
        return struct.pack(">IHBB", 0x60000000, len(body), proto, ttl) + src + dst + body
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, ttl, proto, 0) + src + dst
    return with_sum(head, 10, b"") + body


def frame(packet: bytes, ethertype: int = 0) -> bytes:
    kind = ethertype or (0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800)
    return GATE_MAC + SANDBOX_MAC + struct.pack(">H", kind) + packet


def mutate(rng: random.Random, data: bytes, most: int = 4096) -> bytes:
    """A few small changes: bits, bytes, numbers at their edges, pieces cut, doubled, moved or put in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        n = len(out)
        at = rng.randrange(n + 1)
        what = rng.randrange(8)
        if what == 0 and n:
            out[at % n] ^= 1 << rng.randrange(8)
        elif what == 1 and n:
            out[at % n] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x0D, 0x20, 0xC0, rng.randrange(256)))
        elif what == 2 and n >= 2:
            struct.pack_into(">H", out, at % (n - 1), rng.choice((0, 1, 0xFFFF, 0x8000, n & 0xFFFF, (n - 1) & 0xFFFF)))
        elif what == 3:
            del out[at:at + rng.choice((1, 2, 4, 16, n))]
        elif what == 4:
            piece = out[at:at + rng.choice((1, 2, 8, 64))]
            out[at:at] = piece * rng.choice((1, 1, 2, 30))
        elif what == 5:
            out[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16, 200)))
        elif what == 6 and n > 4:
            cut = rng.randrange(n)
            out = out[cut:] + out[:cut] if rng.random() < 0.2 else out[:cut]
        elif what == 7:
            out += rng.randbytes(rng.choice((1, 4, 64)))
    return bytes(out[:most])
