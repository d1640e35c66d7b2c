# SPDX-License-Identifier: Apache-2.0
"""``sandbox.network``: the exact requests, and what becomes of the answers."""

import json
from datetime import datetime, timezone
from typing import Any, List
from urllib.parse import parse_qs, urlsplit

import pytest
from sdk_stub import Request, Stub, reply

import declaw.sandbox_sync.network as network_module
from declaw import ConflictException, InvalidArgumentException, NetworkPolicy, Sandbox, SandboxException, SandboxNetworkOpts

BASE = "/sandboxes/sbx-abc12345/network"
CHANGED = {"network": {"allow_out": ["a.test"]}, "generation": 2}


@pytest.fixture
def sbx(stub: Stub) -> Sandbox:
    sandbox = Sandbox.create()
    stub.requests.clear()
    return sandbox


def only(stub: Stub) -> Request:
    (request,) = stub.requests
    return request


def test_get(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {**CHANGED, "enforced": None}))
    assert sbx.network.get() == {**CHANGED, "enforced": None}
    assert (only(stub).method, only(stub).target) == ("GET", BASE)


def test_set(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, CHANGED))
    assert sbx.network.set(SandboxNetworkOpts(["a.test"], blocked="reject"), generation=7) == CHANGED
    assert (only(stub).method, only(stub).target) == ("PUT", BASE + "?generation=7")
    assert only(stub).json == {"allow_out": ["a.test"], "blocked": "reject"}
    stub.requests.clear()
    assert sbx.set_network({"deny_out": []}) is None
    assert (only(stub).target, only(stub).json) == (BASE, {"deny_out": []})


def test_update(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, CHANGED))
    assert sbx.network.update(add={"allow_out": ["a.test"]}, mode="observe", limits={"flows": None}, generation=3) == CHANGED
    assert (only(stub).method, only(stub).target) == ("PATCH", BASE)
    assert only(stub).json == {
        "add": {"allow_out": ["a.test"]}, "mode": "observe", "limits": {"flows": None}, "generation": 3
    }  # fmt: skip


def test_allow_and_deny(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, CHANGED))
    sbx.network.allow("a.test", "*.b.test:443")
    sbx.network.deny("1.2.3.4")
    assert [r.json for r in stub.requests] == [
        {"add": {"allow_out": ["a.test", "*.b.test:443"]}}, {"add": {"deny_out": ["1.2.3.4"]}}
    ]  # fmt: skip
    stub.requests.clear()
    with pytest.raises(ValueError, match="invalid network entry"):
        sbx.network.allow("a b")
    assert stub.requests == []


def test_remove(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(200, {**CHANGED, "not_found": ["b", "a", "c", "b"]}))
    assert sbx.network.remove("a", "b", "c") == {**CHANGED, "not_found": ["b"]}, "in neither list"
    assert only(stub).json == {"remove": {"allow_out": ["a", "b", "c"], "deny_out": ["a", "b", "c"]}}
    stub.answer(reply(200, CHANGED))
    assert sbx.network.remove("a") == CHANGED


def test_a_conflict(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(409, {"message": "the generation is 4", "code": "generation_conflict"}))
    with pytest.raises(ConflictException, match="is 4"):
        sbx.network.update(mode="enforce", generation=3)
    assert len(stub.requests) == 1


def test_log(stub: Stub, sbx: Sandbox) -> None:
    page = {"decisions": [{"id": 2}, {"id": 1}], "next": None}
    stub.answer(reply(200, page))
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert sbx.network.log(5, would=True, name="*.a.test", port=443, since=when, until=1767225600.5, before=9) == page
    target = urlsplit(only(stub).target)
    assert target.path == BASE + "/log"
    assert parse_qs(target.query) == {
        "limit": ["5"], "would": ["true"], "name": ["*.a.test"], "port": ["443"], "since": ["1767225600.000000"],
        "until": ["1767225600.5"], "before": ["9"],
    }  # fmt: skip
    assert sbx.network_log(verdict="deny") == [{"id": 1}, {"id": 2}], "oldest first, as ever"


def test_suggest(stub: Stub, sbx: Sandbox) -> None:
    answer = {"network": {"allow_out": []}, "entries": [], "not_coverable": [], "overflow": 0}
    stub.answer(reply(200, answer))
    assert sbx.network.suggest() == answer
    assert only(stub).target == BASE + "/suggest"


@pytest.mark.parametrize("call", ["get", "suggest", "log"])
def test_an_answer_that_is_none(stub: Stub, sbx: Sandbox, call: str) -> None:
    stub.answer(reply(200, []))
    with pytest.raises(SandboxException, match="answer has no"):
        getattr(sbx.network, call)()


def stream(*events: str, end: bool = True) -> bytes:
    """A chunked answer; without its end it breaks off."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(e.encode()), e.encode()) for e in events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + chunks + (b"0\r\n\r\n" if end else b"")


def event(kind: str, row: Any) -> str:
    number = f"id: {row['id']}\n" if "id" in row else ""
    return f"{number}event: {kind}\ndata: {json.dumps(row)}\n\n"


END = "event: end_of_log\ndata: {}\n\n"


def test_follow(stub: Stub, sbx: Sandbox) -> None:
    first, second = event("decision", {"id": 1, "verdict": "deny"}), event("end", {"id": 1, "closed": True})
    # Cut anywhere, with comments between.
    stub.answer(stream(":\n\n", first[:7], first[7:] + ":\n\n" + second, event("dropped", {"count": 3}), END))
    assert [*sbx.network.follow(2, verdict="deny", after=None)] == [
        {"id": 1, "verdict": "deny", "event": "decision"}, {"id": 1, "closed": True, "event": "end"}, {"count": 3, "event": "dropped"}
    ]  # fmt: skip
    assert parse_qs(urlsplit(only(stub).target).query) == {"follow": ["true"], "limit": ["2"], "verdict": ["deny"]}
    assert "last-event-id" not in only(stub).headers


def test_follow_goes_on_where_it_broke(stub: Stub, sbx: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module.time, "sleep", lambda _seconds: None)
    first = stream(event("decision", {"id": 3}), event("decision", {"id": 4}), event("end", {"id": 3}), end=False)
    stub.answer(first, stream(event("decision", {"id": 5}), END))
    follow = sbx.network.follow()
    assert [next(follow)["id"] for _ in range(3)] == [3, 4, 3]
    stub.drop_connections()
    assert [e["id"] for e in follow] == [5]
    assert stub.requests[1].headers["last-event-id"] == "4"


def test_follow_gives_up(stub: Stub, sbx: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: List[float] = []
    monkeypatch.setattr(network_module.time, "sleep", slept.append)
    stub.answer(stream())
    with pytest.raises(SandboxException, match="closed the log"):
        next(sbx.network.follow(after=7))
    assert len(slept) == 3 and [r.headers["last-event-id"] for r in stub.requests] == ["7"] * 4


def test_follow_is_refused(stub: Stub, sbx: Sandbox) -> None:
    stub.answer(reply(400, {"message": "port must be ...", "code": "invalid_field"}))
    with pytest.raises(InvalidArgumentException, match="port"):
        next(sbx.network.follow(port=-1))


def test_our_options() -> None:
    opts = SandboxNetworkOpts(["a.test"], blocked="reject", mode="observe", limits={"flows": 5})
    wire = {"allow_out": ["a.test"], "blocked": "reject", "mode": "observe", "limits": {"flows": 5}}
    assert opts.to_dict() == wire
    assert SandboxNetworkOpts.from_dict(wire) == opts
    assert NetworkPolicy.from_dict(wire).to_network_opts().to_dict() == wire
    assert SandboxNetworkOpts(mode="enforce").to_dict() == {"mode": "enforce"}
    for bad in ({"blocked": "no"}, {"mode": "off"}, {"limits": {"flow": 1}}):
        with pytest.raises(ValueError):
            SandboxNetworkOpts(**bad)  # type: ignore[arg-type]
