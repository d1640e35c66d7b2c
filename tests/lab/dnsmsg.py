# SPDX-License-Identifier: Apache-2.0
"""DNS messages, written and read plainly: no name compression is written but the one towards the question."""

import base64
import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

TYPES: Dict[str, int] = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41,
    "SVCB": 64, "HTTPS": 65, "ANY": 255,
}  # fmt: skip
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES: Dict[str, int] = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
_RCODE_NAMES = {number: name for name, number in RCODES.items()}
_SVC_KEYS = {"mandatory": 0, "alpn": 1, "no-default-alpn": 2, "port": 3, "ipv4hint": 4, "ech": 5, "ipv6hint": 6}

_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080


class Record(NamedTuple):
    """value is presentation text: an address, a name, ``10 mail.x`` (MX), ``1 . alpn=h2 port=8443`` (HTTPS), or
    ``\\# hex`` for any type."""

    owner: str
    type: str
    ttl: int
    value: str


def type_number(name: str) -> int:
    return TYPES[name] if name in TYPES else int(name[4:])


def type_name(number: int) -> str:
    return _TYPE_NAMES.get(number, f"TYPE{number}")


def encode_name(name: str) -> bytes:
    """Dots part labels; ``\\DDD`` stands for any byte, a dot or NUL included."""
    out, label, i = b"", b"", 0
    text = name[:-1] if name.endswith(".") else name
    if not text:
        return b"\0"
    while i <= len(text):
        if i == len(text) or text[i] == ".":
            out += bytes([len(label)]) + label
            label = b""
            i += 1
        elif text[i] == "\\":
            label += bytes([int(text[i + 1 : i + 4])])
            i += 4
        else:
            label += text[i].encode("latin-1")
            i += 1
    return out + b"\0"


def _label_text(label: bytes) -> str:
    return "".join(chr(c) if 0x21 <= c <= 0x7E and c not in b".\\" else f"\\{c:03d}" for c in label)


def decode_name(message: bytes, at: int) -> Tuple[str, int]:
    """(name without the last dot, where it ends). Raises ValueError or IndexError for what is no name."""
    labels: List[str] = []
    end: Optional[int] = None
    jumps = 0
    while True:
        n = message[at]
        if n >= 0xC0:
            jumps += 1
            if jumps > 64:
                raise ValueError("pointer loop")
            end = at + 2 if end is None else end
            at = (n & 0x3F) << 8 | message[at + 1]
        elif n > 63:
            raise ValueError("label type")
        elif n == 0:
            return ".".join(labels), at + 1 if end is None else end
        else:
            if at + 1 + n > len(message):
                raise ValueError("label past the end")
            labels.append(_label_text(message[at + 1 : at + 1 + n]))
            at += 1 + n


def _svc_param(text: str) -> Tuple[int, bytes]:
    key, _, value = text.partition("=")
    number = _SVC_KEYS[key] if key in _SVC_KEYS else int(key[3:])
    if key == "alpn":
        data = b"".join(bytes([len(p)]) + p.encode() for p in value.split(","))
    elif key == "port":
        data = struct.pack("!H", int(value))
    elif key in ("ipv4hint", "ipv6hint"):
        data = b"".join(ipaddress.ip_address(p).packed for p in value.split(","))
    elif key == "ech":
        data = base64.b64decode(value)
    else:
        data = bytes.fromhex(value)
    return number, data


def encode_rdata(type_: str, value: str) -> bytes:
    if value.startswith("\\#"):
        return bytes.fromhex(value[2:])
    if type_ in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if type_ in ("CNAME", "NS", "PTR"):
        return encode_name(value)
    if type_ == "TXT":
        data = value.encode("latin-1")
        return b"".join(bytes([len(p)]) + p for p in (data[i : i + 255] for i in range(0, len(data) or 1, 255)))
    words = value.split()
    if type_ == "MX":
        return struct.pack("!H", int(words[0])) + encode_name(words[1])
    if type_ == "SRV":
        return struct.pack("!HHH", *map(int, words[:3])) + encode_name(words[3])
    if type_ == "SOA":
        return encode_name(words[0]) + encode_name(words[1]) + struct.pack("!IIIII", *map(int, words[2:7]))
    if type_ in ("HTTPS", "SVCB"):
        params = sorted(_svc_param(w) for w in words[2:])
        wire = b"".join(struct.pack("!HH", k, len(v)) + v for k, v in params)
        return struct.pack("!H", int(words[0])) + encode_name(words[1]) + wire
    raise ValueError(f"no text form for {type_}: write \\# and hex")


def _encode_record(record: Record, qname: str, qname_at: int) -> bytes:
    same = record.owner.lower().rstrip(".") == qname.lower()
    owner = struct.pack("!H", 0xC000 | qname_at) if same and qname else encode_name(record.owner)
    rdata = encode_rdata(record.type, record.value)
    return owner + struct.pack("!HHIH", type_number(record.type), 1, record.ttl & 0xFFFFFFFF, len(rdata)) + rdata


@dataclass
class Query:
    """A query as the server reads it; question holds its bytes, so that an answer repeats them case for case."""

    id: int
    flags: int
    qname: str
    qtype: str
    question: bytes
    #: what the asker takes over UDP; None: it sent no OPT
    edns_size: Optional[int]


def _skip_record(message: bytes, at: int) -> Tuple[int, int, int]:
    """(type, class, where it ends)"""
    _, at = decode_name(message, at)
    type_, class_, _ttl, length = struct.unpack_from("!HHIH", message, at)
    return type_, class_, at + 10 + length


def parse_query(message: bytes) -> Query:
    """Raises ValueError for what is no query with one question."""
    try:
        id_, flags, qd, an, ns, ar = struct.unpack_from("!6H", message)
        if flags & _QR or qd != 1:
            raise ValueError("not a query with one question")
        qname, at = decode_name(message, 12)
        qtype, _qclass = struct.unpack_from("!HH", message, at)
        question = message[12 : at + 4]
        at += 4
        edns: Optional[int] = None
        for _ in range(an + ns + ar):
            type_, class_, at = _skip_record(message, at)
            if type_ == TYPES["OPT"]:
                edns = class_
    except (IndexError, struct.error) as e:
        raise ValueError(str(e)) from None
    return Query(id_, flags, qname, type_name(qtype), question, edns)


@dataclass
class Reply:
    rcode: str = "NOERROR"
    answer: List[Record] = field(default_factory=list)
    authority: List[Record] = field(default_factory=list)
    additional: List[Record] = field(default_factory=list)
    truncated: bool = False

    def encode(self, query: Query, limit: int) -> bytes:
        """limit: bytes the transport takes; more than that and the message is an empty one with TC."""
        additional = [_encode_record(r, query.qname, 12) for r in self.additional]
        if query.edns_size is not None:
            additional.append(b"\0" + struct.pack("!HHIH", TYPES["OPT"], 1232, 0, 0))
        flags = _QR | _RA | (query.flags & _RD) | RCODES[self.rcode] | (_TC if self.truncated else 0)
        sections = [[_encode_record(r, query.qname, 12) for r in part] for part in (self.answer, self.authority)]
        counts = [len(part) for part in (*sections, additional)]
        head = struct.pack("!6H", query.id, flags, 1, *counts)
        wire = head + query.question + b"".join(b"".join(part) for part in (*sections, additional))
        if len(wire) <= limit:
            return wire
        return struct.pack("!6H", query.id, flags | _TC, 1, 0, 0, 0) + query.question


def make_query(name: str, type_: str = "A", id_: int = 0x1234, edns_size: Optional[int] = None) -> bytes:
    """A query as a stub resolver sends it."""
    opt = b"" if edns_size is None else b"\0" + struct.pack("!HHIH", TYPES["OPT"], edns_size, 0, 0)
    head = struct.pack("!6H", id_, _RD, 1, 0, 0, 1 if opt else 0)
    return head + encode_name(name) + struct.pack("!HH", type_number(type_), 1) + opt


@dataclass
class Message:
    """A response as a test reads it."""

    id: int
    rcode: str
    truncated: bool
    recursion_available: bool
    answer: List[Record]
    authority: List[Record]
    additional: List[Record]


def _decode_value(message: bytes, type_: str, at: int, length: int) -> str:
    data = message[at : at + length]
    if type_ in ("A", "AAAA"):
        address: Union[ipaddress.IPv4Address, ipaddress.IPv6Address] = ipaddress.ip_address(data)
        return str(address)
    if type_ in ("CNAME", "NS", "PTR"):
        return decode_name(message, at)[0]
    return "\\#" + data.hex()


def parse_message(message: bytes) -> Message:
    """Raises ValueError, IndexError or struct.error for what is no DNS message."""
    id_, flags, qd, *counts = struct.unpack_from("!6H", message)
    at = 12
    for _ in range(qd):
        at = decode_name(message, at)[1] + 4
    sections: List[List[Record]] = []
    for count in counts:
        records = []
        for _ in range(count):
            owner, at = decode_name(message, at)
            number, _class, ttl, length = struct.unpack_from("!HHIH", message, at)
            name = type_name(number)
            records.append(Record(owner, name, ttl, _decode_value(message, name, at + 10, length)))
            at += 10 + length
        sections.append(records)
    rcode = _RCODE_NAMES.get(flags & 15, str(flags & 15))
    return Message(id_, rcode, bool(flags & _TC), bool(flags & _RA), *sections)
