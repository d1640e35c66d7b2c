# SPDX-License-Identifier: Apache-2.0
"""Templates, volumes, accounts, vault and governance: the exact requests, and the same of the asynchronous twins."""

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any, Callable, List

import pytest
from sdk_stub import Request, Stub, reply

from declaw import (
    AccountClient,
    AsyncAccountClient,
    AsyncGovernancePacks,
    AsyncTemplate,
    AsyncVaultClient,
    AsyncVolumes,
    BuildException,
    ConflictException,
    FileEntry,
    GovernancePacks,
    NotFoundException,
    Template,
    TemplateBase,
    VaultClient,
    VaultScope,
    Volume,
    VolumeAttachment,
    Volumes,
    expand_vault_refs,
    expand_vault_refs_async,
)

VOLUME = {"volume_id": "vol-1", "name": "n", "size_bytes": 5, "metadata": None, "new": 1}


def sent(stub: Stub) -> List[Any]:
    rows = [(r.method, r.target, r.json if r.headers.get("content-type") == "application/json" else r.body) for r in stub.requests]
    stub.requests.clear()
    return rows


def both(stub: Stub, sync: Callable[[], Any], twin: Callable[[], Any]) -> List[Any]:
    """The requests of the blocking call; those of its twin, and the answers, are the same."""

    async def run() -> Any:
        return await twin()

    stub.requests.clear()
    answer = sync()
    requests = sent(stub)
    assert asyncio.run(run()) == answer
    assert sent(stub) == requests
    return requests


def test_template_fields() -> None:
    empty = {"base_image": "ubuntu:22.04", "run_cmds": [], "copies": [], "envs": {}, "apt_packages": []}
    assert TemplateBase().to_dict() == empty
    made = TemplateBase().from_base_image("debian:12").run_cmd(["a", "b"]).run_cmd("c").copy("s", "d").copy("s", "e", 0o755)
    made.set_envs({"A": "1"}).apt_install("git", "curl").set_start_cmd("run", "check")
    assert made.to_dict() == {
        "base_image": "debian:12", "run_cmds": ["a", "b", "c"], "envs": {"A": "1"}, "apt_packages": ["git", "curl"],
        "copies": [{"src": "s", "dst": "d", "mode": None}, {"src": "s", "dst": "e", "mode": 0o755}], "start_cmd": "run",
        "ready_check": "check",
    }  # fmt: skip
    assert TemplateBase().from_dockerfile("FROM x\nRUN y").to_dict() == {"dockerfile": "FROM x\nRUN y"}
    for bad in ("RUN y", "FROM x\n#" + "a" * (64 << 10)):
        with pytest.raises(ValueError):
            TemplateBase().from_dockerfile(bad)
    with pytest.raises(ValueError, match="run_cmds"):
        TemplateBase().from_dockerfile("FROM x").run_cmd("y").to_dict()


def test_template_calls(stub: Stub) -> None:
    base = TemplateBase().from_dockerfile("FROM x")
    stub.answer(reply(200, {"build_id": "b", "status": "completed", "template_id": "t", "logs": ["one", "two"]}))
    logs: List[str] = []
    assert both(
        stub, lambda: Template.build(base, "mine", 2, 512, 1024, logs.append),
        lambda: AsyncTemplate.build(base, "mine", cpu_count=2, memory_mb=512, disk_mb=1024),
    ) == [(
        "POST", "/templates/build",
        {"template": {"dockerfile": "FROM x"}, "alias": "mine", "cpu_count": 2, "memory_mb": 512, "disk_mb": 1024},
    )]  # fmt: skip
    assert logs == ["one", "two"]
    assert both(
        stub, lambda: Template.build_in_background({"dockerfile": "FROM x"}, "m"), lambda: AsyncTemplate.build_in_background(base, "m")
    ) == [("POST", "/templates/build", {"template": {"dockerfile": "FROM x"}, "alias": "m", "background": True})]  # fmt: skip
    assert both(stub, lambda: Template.get_build_status("b"), lambda: AsyncTemplate.get_build_status("b")) == [
        ("GET", "/templates/builds/b", b"")
    ]
    stub.answer(reply(200, {"templates": [{"template_id": "t"}], "template_id": "t"}))
    assert both(stub, lambda: Template.list(), lambda: AsyncTemplate.list()) == [("GET", "/templates", b"")]
    assert both(stub, lambda: Template.get("a/b"), lambda: AsyncTemplate.get("a/b")) == [("GET", "/templates/a%2Fb", b"")]
    assert both(stub, lambda: Template.delete("t"), lambda: AsyncTemplate.delete("t")) == [("DELETE", "/templates/t", b"")]
    stub.answer(reply(200, {"build_id": "b", "status": "failed", "logs": ["no such package"]}))
    with pytest.raises(BuildException, match="no such package"):
        Template.build(base, "m")


def test_attachments() -> None:
    volume = Volume.from_dict(VOLUME)
    assert (volume.volume_id, volume.size_bytes, volume.metadata) == ("vol-1", 5, {})
    assert (volume.content_bytes, volume.file_count, volume.dropped) == (None, None, {})
    more = Volume.from_dict({**VOLUME, "content_bytes": 7, "file_count": 1, "dropped": {"links": 2}})
    assert (more.content_bytes, more.file_count, more.dropped) == (7, 1, {"links": 2})
    assert volume.attach("/data").to_dict() == {"volume_id": "vol-1", "mount_path": "/data"}
    assert volume.attach("/data", mode="mount-ro", subpath="a").to_dict() == {
        "volume_id": "vol-1", "mount_path": "/data", "mode": "mount-ro", "subpath": "a"
    }  # fmt: skip
    for bad in ({"mode": "odd"}, {"mount_path": "data"}, {"subpath": "a"}):
        with pytest.raises(ValueError):
            VolumeAttachment(**{"volume_id": "v", "mount_path": "/d", **bad})


def test_volume_calls(stub: Stub) -> None:
    stub.answer(reply(200, {**VOLUME, "volumes": [VOLUME]}))
    one = ("n", b"\x1f\x8bdata")
    assert both(stub, lambda: Volumes.create(*one), lambda: AsyncVolumes.create(*one)) == [("POST", "/volumes?name=n", one[1])]
    assert both(stub, lambda: Volumes.create("n"), lambda: AsyncVolumes.create("n")) == [("POST", "/volumes?name=n", b"")]
    assert both(stub, lambda: Volumes.empty("n"), lambda: AsyncVolumes.empty("n")) == [("POST", "/volumes/empty?name=n", b"")]
    assert both(stub, lambda: Volumes.ingest(*one), lambda: AsyncVolumes.ingest(*one)) == [("POST", "/volumes/ingest?name=n", one[1])]
    assert both(stub, lambda: Volumes.snapshot("s", "/a b", "n"), lambda: AsyncVolumes.snapshot("s", "/a b", "n")) == [
        ("POST", "/sandboxes/s/volumes/snapshot?path=%2Fa+b&name=n", b"")
    ]
    assert both(stub, lambda: Volumes.commit("s", "v"), lambda: AsyncVolumes.commit("s", "v")) == [
        ("POST", "/sandboxes/s/volumes/v/commit", b"")
    ]
    assert both(stub, lambda: Volumes.get("v"), lambda: AsyncVolumes.get("v")) == [("GET", "/volumes/v", b"")]
    assert both(stub, lambda: Volumes.list(), lambda: AsyncVolumes.list()) == [("GET", "/volumes", b"")]
    assert both(stub, lambda: Volumes.delete("v"), lambda: AsyncVolumes.delete("v")) == [("DELETE", "/volumes/v", b"")]
    stub.answer(reply(200, b"\x1f\x8bdata"))
    assert both(stub, lambda: Volumes.download("v"), lambda: AsyncVolumes.download("v")) == [("GET", "/volumes/v/download", b"")]


def test_volume_uploads(stub: Stub, tmp_path: Path) -> None:
    stub.answer(reply(201, VOLUME))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_text("hello")
    Volumes.create("n", tmp_path)
    request = stub.requests[0]
    assert request.headers["content-type"] == "application/gzip" and request.headers["transfer-encoding"] == "chunked"
    with tarfile.open(fileobj=io.BytesIO(request.body)) as tar:
        member = tar.extractfile("./sub/f")
        assert member is not None and member.read() == b"hello"
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(request.body)
    Volumes.create("n", str(archive))
    with archive.open("rb") as f:
        Volumes.create("n", f)
    Volumes.create("n", iter([b"a", b"b"]), content_type="application/x-tar")
    assert [r.body for r in stub.requests[1:]] == [request.body, request.body, b"ab"]
    assert stub.requests[3].headers["content-type"] == "application/x-tar"
    with pytest.raises(FileNotFoundError):
        Volumes.create("n", tmp_path / "missing")
    assert len(stub.requests) == 4


def test_volume_files(stub: Stub) -> None:
    entry = {"name": "f", "path": "/f", "is_dir": False, "size": 1, "version": 3}
    stub.answer(reply(200, {**entry, "entries": [entry], "exists": True}))
    files, twin = Volumes.files("v"), AsyncVolumes.files("v")
    base = "/volumes/v/files"
    assert both(stub, lambda: files.write("/f#", "é", if_version=3), lambda: twin.write("/f#", "é", if_version=3)) == [
        ("PUT", base + "/raw?path=%2Ff%23&if_version=3", "é".encode())
    ]
    assert files.list()[0] == FileEntry("f", "/f", False, 1, version=3)
    assert both(stub, lambda: files.list(), lambda: twin.list())[0] == ("GET", base + "/list?path=%2F", b"")
    assert both(stub, lambda: files.info("/f"), lambda: twin.info("/f")) == [("GET", base + "/info?path=%2Ff", b"")]
    assert both(stub, lambda: files.exists("/f"), lambda: twin.exists("/f")) == [("GET", base + "/exists?path=%2Ff", b"")]
    assert both(stub, lambda: files.read("/f"), lambda: twin.read("/f")) == [("GET", base + "/raw?path=%2Ff", b"")]
    assert both(stub, lambda: files.remove("/f", True), lambda: twin.remove("/f", True)) == [
        ("DELETE", base + "?path=%2Ff&recursive=true", b"")
    ]
    assert both(stub, lambda: files.rename("/f", "/g"), lambda: twin.rename("/f", "/g")) == [
        ("PATCH", base, {"old_path": "/f", "new_path": "/g"})
    ]
    assert both(stub, lambda: files.mkdir("/d"), lambda: twin.mkdir("/d")) == [("POST", base + "/mkdir", {"path": "/d"})]
    stub.answer(reply(409, {"message": "version"}))
    with pytest.raises(ConflictException):
        files.write("/f", b"x", if_version=3)


def test_volume_locks(stub: Stub) -> None:
    stub.answer(reply(200, {"token": "t", "renewed": True, "released": False, "held": True}))
    locks, twin = Volumes.locks("v"), AsyncVolumes.locks("v")
    base = "/volumes/v/locks"
    assert both(stub, lambda: locks.acquire("/f", ttl_seconds=5), lambda: twin.acquire("/f", ttl_seconds=5)) == [
        ("POST", base, {"path": "/f", "ttl_seconds": 5})
    ]
    assert both(stub, lambda: locks.renew("/f", "t"), lambda: twin.renew("/f", "t")) == [
        ("POST", base + "/renew", {"path": "/f", "token": "t"})
    ]
    assert locks.release("/f", "t") is False
    assert both(stub, lambda: locks.release("/f", "t"), lambda: twin.release("/f", "t"))[-1] == (
        "DELETE", base, {"path": "/f", "token": "t"}
    )  # fmt: skip
    assert both(stub, lambda: locks.status("/f"), lambda: twin.status("/f")) == [("GET", base + "?path=%2Ff", b"")]


ACCOUNT = {
    "owner_id": "o/1", "email": "e", "balance_micros": 5, "total_cost_micros": 7, "days": [{"date": "2026-01-01"}],
    "deposits": [{"amount_micros": 3}], "active_sandboxes": 2,
}  # fmt: skip


def test_account(stub: Stub) -> None:
    stub.answer(reply(200, ACCOUNT))
    account, twin = AccountClient(), AsyncAccountClient()
    assert account.get_account().email == "e"
    assert [r[:2] for r in sent(stub)] == [("GET", "/auth/me"), ("GET", "/accounts/o%2F1")]
    twin.set_owner_id("o/1")
    account.set_owner_id("o/1")
    base = "/accounts/o%2F1"
    calls = [
        (account.get_account, twin.get_account, ""), (account.get_wallet, twin.get_wallet, "/wallet"),
        (account.get_usage, twin.get_usage, "/usage"), (account.get_daily_usage, twin.get_daily_usage, "/usage/daily"),
        (account.list_deposits, twin.list_deposits, "/deposits"), (account.get_overview, twin.get_overview, "/overview"),
    ]  # fmt: skip
    for sync, other, path in calls:
        assert both(stub, sync, other) == [("GET", base + path, b"")]
    account.get_usage("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    account.list_deposits(5, 10)
    assert [r[1] for r in sent(stub)] == [
        base + "/usage?start=2026-01-01T00%3A00%3A00Z&end=2026-01-02T00%3A00%3A00Z", base + "/deposits?limit=5&offset=10"
    ]  # fmt: skip
    assert (account.get_wallet().balance_micros, account.get_overview().active_sandboxes) == (5, 2)
    stub.answer(reply(200, {"wallet": {"balance_micros": 9}}), reply(200, [{"date": "d"}]), reply(404, {"message": "no"}))
    assert account.get_wallet().balance_micros == 9
    assert account.get_daily_usage()[0].date == "d"
    with pytest.raises(NotFoundException):
        account.get_overview()


def vault(request: Request) -> bytes:
    path = request.target
    if path == "/teams":
        named = [{"team_id": "t2", "name": "default", "created_at": "2"}, {"team_id": "t1", "name": "default", "created_at": "1"}]
        return reply(200, {"teams": [{"team_id": "x", "name": "other"}, *named]})
    if path.endswith("/environments"):
        return reply(200, {"environments": [{"env_id": "e", "name": "prod"}]})
    secret = {"secret_id": "s1", "name": "n", "scopes": [{"domain_regex": "a", "new": 1}]}
    return reply(200, {**secret, "secrets": [secret], "presets": [{"key": "openai", "scopes": []}]})


def test_vault(stub: Stub) -> None:
    stub.handler = vault
    client, twin = VaultClient(), AsyncVaultClient()
    assert client.team_id() == "t1"
    assert [r[:2] for r in sent(stub)] == [("GET", "/teams"), ("GET", "/teams/t1/environments")]
    asyncio.run(twin.team_id())
    stub.requests.clear()
    base = "/teams/t1/vault/secrets"
    scope = VaultScope("a", value_prefix="Bearer ")
    wire = {"domain_regex": "a", "injection_type": "header", "value_prefix": "Bearer "}
    assert both(
        stub, lambda: client.create_secret("v", name="n", scopes=[scope], rotation_interval_days=9),
        lambda: twin.create_secret("v", name="n", scopes=[wire], rotation_interval_days=9),
    ) == [("POST", base, {"environment": "prod", "value": "v", "name": "n", "scopes": [wire], "rotation_interval_days": 9})]  # fmt: skip
    assert both(stub, client.list_secrets, twin.list_secrets) == [("GET", base, b"")]
    assert both(stub, lambda: client.rotate_secret("s1", "w"), lambda: twin.rotate_secret("s1", "w")) == [
        ("POST", base + "/s1/rotate", {"value": "w"})
    ]
    assert both(stub, lambda: client.update_scopes("s1", [scope]), lambda: twin.update_scopes("s1", [scope])) == [
        ("POST", base + "/s1/scopes", {"scopes": [wire]})
    ]
    assert both(stub, lambda: client.delete_secret("s1"), lambda: twin.delete_secret("s1")) == [("DELETE", base + "/s1", b"")]
    assert both(stub, client.list_presets, twin.list_presets) == [("GET", "/vault/presets", b"")]
    refs = {"A": "name", "B": "vault://t/e/n"}
    full = {"A": "vault://t1/prod/name", "B": "vault://t/e/n"}
    assert expand_vault_refs(refs, client) == full
    assert asyncio.run(expand_vault_refs_async(refs, twin)) == full
    assert expand_vault_refs({"B": "vault://t/e/n"}) == {"B": "vault://t/e/n"}
    assert sent(stub) == []


def test_vault_makes_its_team(stub: Stub) -> None:
    stub.answer(
        reply(200, {"teams": []}), reply(201, {"team_id": "t9"}), reply(200, {"environments": []}), reply(201, {"env_id": "e"})
    )
    assert VaultClient().team_id() == "t9"
    assert sent(stub) == [
        ("GET", "/teams", b""), ("POST", "/teams", {"name": "default"}), ("GET", "/teams/t9/environments", b""),
        ("POST", "/teams/t9/environments", {"name": "prod"}),
    ]  # fmt: skip


def test_governance(stub: Stub) -> None:
    pack = {
        "name": "p", "version": "1", "gates": ["g"], "enforces": [{"control": "c", "gate": "g", "rule": "r"}],
        "advisory": [{"control": "d", "reason": "why"}], "policy_ref": "p@1", "seeded": True,
    }  # fmt: skip
    stub.answer(reply(200, {**pack, "packs": [pack]}))
    got = GovernancePacks.get("p")
    assert (got.enforces[0].rule, got.advisory[0].reason, got.seeded, got.policy_ref) == ("r", "why", True, "p@1")
    assert both(stub, lambda: GovernancePacks.get("p"), lambda: AsyncGovernancePacks.get("p"))[-1] == (
        "GET", "/governance/packs/p", b""
    )  # fmt: skip
    assert both(stub, lambda: GovernancePacks.list(), lambda: AsyncGovernancePacks.list()) == [("GET", "/governance/packs", b"")]
