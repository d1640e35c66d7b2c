# SPDX-License-Identifier: Apache-2.0
"""The parser of Server-Sent Events: a table, the same cut anywhere, and its bounds."""

from typing import Iterable, List

import pytest

from declaw.api.sse import ServerEvent, SSEError, SSEParser

E = ServerEvent
TABLE = [
    (b"data: a\n\n", [E("message", "a")]),
    (b"data:a\n\n", [E("message", "a")]),
    (b"data:  a\n\n", [E("message", " a")]),
    (b"event: x\ndata: 1\ndata: 2\n\n", [E("x", "1\n2")]),
    (b"data\n\n", [E("message", "")]),
    (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [E("message", "a"), E("message", "b"), E("message", "c")]),
    (b": ping\n\n: ping\n\ndata: a\n: in the middle\ndata: b\n\n", [E("message", "a\nb")]),
    (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [E("message", "a")]),
    (b"id: 7\nevent: e\ndata: a\n\ndata: b\n\n", [E("e", "a", "7"), E("message", "b")]),
    (b"id: 7\x00\ndata: a\n\n", [E("message", "a")]),
    (b"event: end\n\n", [E("end", "")]),
    (b"event:\ndata: a\n\n", [E("message", "a")]),
    (b"data: a\ndata: cut off", []),
    (b"nonsense\nother: x\n:\ndata: a:b: c\n\n", [E("message", "a:b: c")]),
    ("data: é\u2028\u0085\n\n".encode(), [E("message", "é\u2028\u0085")]),
    (b"data: \xff\n\n", [E("message", "\ufffd")]),
    (b"\n\n\r\n\n", []),
    (b"", []),
]  # fmt: skip


def parse(pieces: Iterable[bytes]) -> List[ServerEvent]:
    parser = SSEParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("data, events", TABLE)
def test_table(data: bytes, events: List[ServerEvent]) -> None:
    assert parse([data]) == events


@pytest.mark.parametrize("data, events", TABLE)
def test_cut_anywhere(data: bytes, events: List[ServerEvent]) -> None:
    for cut in range(len(data) + 1):
        assert parse([data[:cut], data[cut:]]) == events, cut
    assert parse(data[i : i + 1] for i in range(len(data))) == events


def test_last_event_id_and_retry() -> None:
    parser = SSEParser()
    parser.feed(b"id: 7\nretry: 1500\ndata: a\n\nretry: x\ndata: b\n\n")
    assert (parser.last_event_id, parser.retry) == ("7", 1500)
    parser.feed(b"id\ndata: c\n\n")
    assert parser.last_event_id == ""


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_line_is_bounded(piece: int) -> None:
    parser = SSEParser(max_line=20)
    assert parser.feed(b"data: " + b"a" * 14 + b"\n\n") == [E("message", "a" * 14)]
    data = b"data: " + b"a" * 15 + b"\n\n"
    with pytest.raises(SSEError, match="a line of more than 20"):
        for i in range(0, len(data), piece):
            parser.feed(data[i : i + piece])


def test_an_event_is_bounded() -> None:
    parser = SSEParser(max_line=20)
    with pytest.raises(SSEError, match="an event of more than 20"):
        parser.feed(b"data: aaaa\ndata: aaaa\ndata: aaaa\n")


def test_comments_without_end_cost_no_memory() -> None:
    parser = SSEParser(max_line=100)
    for _ in range(1000):
        assert parser.feed(b": ping\n\n" * 10) == []
    assert len(parser._line) == 0 and parser._data == []
