# SPDX-License-Identifier: Apache-2.0
"""Templates: what sandboxes are made from."""

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, TypeVar, Union

from ._wire import expect, expect_list, parsed, present, segment
from .api.client import ApiClient, get_shared_client
from .api.lanes import call, wait_for
from .connection_config import ConnectionConfig
from .exceptions import BuildError

_B = TypeVar("_B", bound="TemplateBase")
LogHandler = Callable[[str], Any]

DEFAULT_BASE_IMAGE = "ubuntu:22.04"


@dataclass
class CopyItem:
    """A file that the build copies, with its Unix mode (None: as it is). The server must have `src`: nothing is uploaded."""

    src: str
    dst: str
    mode: Optional[int] = None

    def to_dict(self) -> Dict[str, Any]:
        """The object of the wire."""
        return dict(vars(self))


@dataclass
class BuildInfo:
    """A build that was begun: ``status`` is "building", "completed" or "failed"."""

    build_id: str
    status: str
    template_id: Optional[str] = None
    logs: List[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BuildInfo":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        return cls(data["build_id"], data["status"], data.get("template_id"), [str(x) for x in data.get("logs") or []])


@dataclass
class TemplateBuildStatus(BuildInfo):
    """How far a build is."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TemplateBuildStatus":
        """From the JSON object of the wire. Raises KeyError for what is not one."""
        return cls(**vars(BuildInfo.from_dict(data)))


class TemplateBase:
    """Says step by step what is in a template. Every method returns the object itself.

    A Dockerfile says it all, so it stands alone; without one the base image is ``ubuntu:22.04`` unless told.
    """

    def __init__(self) -> None:
        self._dockerfile: Optional[str] = None
        self._fields: Dict[str, Any] = {
            "base_image": DEFAULT_BASE_IMAGE, "run_cmds": [], "copies": [], "envs": {}, "apt_packages": [], "start_cmd": None
        }  # fmt: skip

    def from_base_image(self: _B, image: str = DEFAULT_BASE_IMAGE) -> _B:
        """Starts from an image."""
        self._dockerfile = None
        self._fields["base_image"] = image
        return self

    def from_dockerfile(self: _B, text: str) -> _B:
        """Takes everything from a Dockerfile, its text (at most 64 KiB, with a FROM).

        Raises:
            ValueError: it is longer, or has no FROM.
        """
        if len(text.encode("utf-8")) > 64 << 10:
            raise ValueError("the Dockerfile has more than 64 KiB")
        if not any(line.strip().upper().startswith("FROM ") for line in text.splitlines()):
            raise ValueError("the Dockerfile has no FROM")
        self._dockerfile = text
        return self

    def run_cmd(self: _B, commands: Union[str, List[str]]) -> _B:
        """Adds shell lines that the build runs."""
        self._fields["run_cmds"] += [commands] if isinstance(commands, str) else commands
        return self

    def copy(self: _B, src: str, dst: str, mode: Optional[int] = None) -> _B:
        """Adds a file, see `CopyItem`."""
        self._fields["copies"].append(CopyItem(src, dst, mode))
        return self

    def set_envs(self: _B, envs: Dict[str, str]) -> _B:
        """Adds to the environment of every command."""
        self._fields["envs"].update(envs)
        return self

    def apt_install(self: _B, *packages: str) -> _B:
        """Adds Debian packages."""
        self._fields["apt_packages"] += packages
        return self

    def set_start_cmd(self: _B, cmd: str, ready_check: Optional[str] = None) -> _B:
        """What runs when a sandbox starts, and a command that succeeds once it is ready."""
        self._fields.update(start_cmd=cmd, **present(ready_check=ready_check))
        return self

    def to_dict(self) -> Dict[str, Any]:
        """The ``template`` object of the wire.

        Raises:
            ValueError: a Dockerfile, and steps beside it, which the server would ignore.
        """
        steps = {k: v for k, v in self._fields.items() if v and k != "base_image"}
        if self._dockerfile is not None:
            if steps:
                raise ValueError(f"a Dockerfile stands alone: {', '.join(steps)} must be in it")
            return {"dockerfile": self._dockerfile}
        return {**present(**self._fields), "copies": [c.to_dict() for c in self._fields["copies"]]}


def _client(api_key: Optional[str], domain: Optional[str]) -> ApiClient:
    return get_shared_client(ConnectionConfig(api_key=api_key, domain=domain))


def _build(template: Union[TemplateBase, Mapping[str, Any]], alias: str, background: bool, sizes: Dict[str, Optional[int]],
           on_build_logs: Optional[LogHandler], client: ApiClient, request_timeout: Optional[float]) -> BuildInfo:  # fmt: skip
    wire = template.to_dict() if isinstance(template, TemplateBase) else dict(template)
    body = {"template": wire, "alias": alias, **present(background=background or None, **sizes)}
    answer = client.post("/templates/build", json=body, repeatable=False, request_timeout=request_timeout)
    info = parsed(BuildInfo.from_dict, answer)
    for line in info.logs if on_build_logs is not None else ():
        on_build_logs(line)  # type: ignore[misc]
    if info.status == "failed":
        raise BuildError(f"build {info.build_id} of {alias!r} failed: {' | '.join(info.logs[-5:]) or 'no log'}")
    return info


class Template:
    """Makes templates of what a `TemplateBase` says, or a dict of the same fields. The methods need no object.

    ``api_key`` and ``domain``: see `ConnectionConfig`. Every call may raise SandboxError and its kinds.
    """

    @staticmethod
    def build(
        template: Union[TemplateBase, Mapping[str, Any]],
        alias: str,
        cpu_count: Optional[int] = None,
        memory_mb: Optional[int] = None,
        disk_mb: Optional[int] = None,
        on_build_logs: Optional[LogHandler] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> BuildInfo:
        """Builds, and waits for the end.

        Args:
            alias: the name for ``Sandbox.create(template=...)``.
            cpu_count, memory_mb, disk_mb: of its sandboxes; MiB.
            on_build_logs: called with each line of the log, after the end.

        Raises:
            BuildError: it failed. InvalidArgumentError: the server refuses a field.
        """
        sizes = {"cpu_count": cpu_count, "memory_mb": memory_mb, "disk_mb": disk_mb}
        return _build(template, alias, False, sizes, on_build_logs, _client(api_key, domain), request_timeout)

    @staticmethod
    def build_in_background(
        template: Union[TemplateBase, Mapping[str, Any]],
        alias: str,
        cpu_count: Optional[int] = None,
        memory_mb: Optional[int] = None,
        disk_mb: Optional[int] = None,
        on_build_logs: Optional[LogHandler] = None,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> BuildInfo:
        """Begins to build; arguments as `build`. `get_build_status` tells how it goes."""
        sizes = {"cpu_count": cpu_count, "memory_mb": memory_mb, "disk_mb": disk_mb}
        return _build(template, alias, True, sizes, on_build_logs, _client(api_key, domain), request_timeout)

    @staticmethod
    def get_build_status(
        build_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> TemplateBuildStatus:
        """How far a build is. Raises NotFoundError."""
        answer = _client(api_key, domain).get(f"/templates/builds/{segment(build_id)}", request_timeout=request_timeout)
        return parsed(TemplateBuildStatus.from_dict, answer)

    @staticmethod
    def list(
        api_key: Optional[str] = None, domain: Optional[str] = None, request_timeout: Optional[float] = None
    ) -> List[Dict[str, Any]]:
        """All templates, as the server tells of them (``template_id``, ``alias``, ...). Not part of the published SDK."""
        answer = _client(api_key, domain).get("/templates", request_timeout=request_timeout)
        return expect_list(expect(answer, "templates")["templates"])

    @staticmethod
    def get(
        template_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """One, by id or alias. Raises NotFoundError. Not part of the published SDK."""
        answer = _client(api_key, domain).get(f"/templates/{segment(template_id)}", request_timeout=request_timeout)
        return expect(answer, "template_id")

    @staticmethod
    def delete(
        template_id: str,
        api_key: Optional[str] = None,
        domain: Optional[str] = None,
        request_timeout: Optional[float] = None,
    ) -> None:
        """Deletes one, by id or alias. Raises NotFoundError, and ConflictError while sandboxes made of it live. Not part of the published SDK."""
        _client(api_key, domain).delete(f"/templates/{segment(template_id)}", request_timeout=request_timeout)


class AsyncTemplate:
    """As `Template`, with coroutines. Keywords as there."""

    @staticmethod
    async def build(template: Union[TemplateBase, Mapping[str, Any]], alias: str, **options: Any) -> BuildInfo:
        """As `Template.build`."""
        return await wait_for(Template.build, template, alias, **options)

    @staticmethod
    async def build_in_background(
        template: Union[TemplateBase, Mapping[str, Any]], alias: str, **options: Any
    ) -> BuildInfo:
        """As `Template.build_in_background`."""
        return await wait_for(Template.build_in_background, template, alias, **options)

    @staticmethod
    async def get_build_status(build_id: str, **options: Any) -> TemplateBuildStatus:
        """As `Template.get_build_status`."""
        return await call(Template.get_build_status, build_id, **options)

    @staticmethod
    async def list(**options: Any) -> List[Dict[str, Any]]:
        """As `Template.list`."""
        return await call(Template.list, **options)

    @staticmethod
    async def get(template_id: str, **options: Any) -> Dict[str, Any]:
        """As `Template.get`."""
        return await call(Template.get, template_id, **options)

    @staticmethod
    async def delete(template_id: str, **options: Any) -> None:
        """As `Template.delete`."""
        await call(Template.delete, template_id, **options)
