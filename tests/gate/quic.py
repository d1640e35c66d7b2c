# SPDX-License-Identifier: Apache-2.0
"""QUIC as far as the gate reads it: hellos in CRYPTO frames, in Initials that tests/gate/quic-seal.c seals."""

import os
import ssl
import struct
import subprocess
from typing import Iterable, List, Optional

from harness import BUILD

V1, V2 = 1, 0x6B3343CF


def hello(name: Optional[str]) -> bytes:
    """A ClientHello message, without the TLS record around it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()[5:]


def with_extension(message: bytes, kind: int, body: bytes) -> bytes:
    """The hello with one more extension at its end."""
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + struct.unpack_from("!H", message, at)[0]
    at += 1 + message[at]
    extensions = message[at + 2:] + struct.pack("!HH", kind, len(body)) + body
    whole = message[4:at] + struct.pack("!H", len(extensions)) + extensions
    return message[:1] + len(whole).to_bytes(3, "big") + whole


def varint(v: int) -> bytes:
    for size, prefix in ((1, 0), (2, 0x40), (4, 0x80), (8, 0xC0)):
        if v < 1 << (8 * size - 2):
            raw = v.to_bytes(size, "big")
            return bytes([raw[0] | prefix]) + raw[1:]
    raise ValueError(v)


def crypto(data: bytes, offset: int = 0) -> bytes:
    return b"\x06" + varint(offset) + varint(len(data)) + data


def seal(frames: bytes, dcid: bytes, version: int = V1, pn: int = 0, pad_to: int = 1200, scid: bytes = b"client",
         token: bytes = b"", key_dcid: Optional[bytes] = None) -> bytes:
    fields = [str(version), *((x.hex() or "-") for x in (dcid, scid, token)),
              "-" if key_dcid is None else key_dcid.hex(), str(pn), str(pad_to), frames.hex()]
    done = subprocess.run([os.path.join(BUILD, "tests/gate/quic-seal")], input=" ".join(fields) + "\n",
                          capture_output=True, text=True, check=True, timeout=20)
    return bytes.fromhex(done.stdout.strip())


def initial(name: Optional[str], dcid: Optional[bytes] = None, **kwargs: object) -> bytes:
    """A datagram with a whole hello for this name."""
    return seal(crypto(hello(name)), dcid or os.urandom(8), **kwargs)  # type: ignore[arg-type]


def split(message: bytes, dcid: bytes, cuts: Iterable[int], **kwargs: object) -> List[bytes]:
    """The hello in several datagrams."""
    edges = [0, *cuts, len(message)]
    return [seal(crypto(message[a:b], a), dcid, pn=i, **kwargs)  # type: ignore[arg-type]
            for i, (a, b) in enumerate(zip(edges, edges[1:]))]


def long_packet(kind: int, dcid: bytes, version: int = V1, body: bytes = bytes(40), scid: bytes = b"client") -> bytes:
    """A packet with a long header whose protected part means nothing. kind: 1 0-RTT, 2 Handshake of version 1."""
    head = bytes([0xC0 | kind << 4]) + struct.pack("!I", version) + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
    return head + varint(len(body)) + body
