# SPDX-License-Identifier: Apache-2.0
"""The names that programs import, and that everything public says what it takes, gives and does."""

import dataclasses
import enum
import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest
from sdk_stub import REPO

import declaw

#: What the published package exports, by its documentation's chapters.
PUBLISHED = """
ConnectionConfig CODE_IDEMPOTENCY_IN_PROGRESS CODE_IDEMPOTENCY_KEY_REUSED CODE_TEMPLATE_NOT_READY
SandboxError SandboxException TimeoutException NotFoundException AuthenticationException InvalidArgumentException
NotEnoughSpaceException TemplateException BuildException FileUploadException GitAuthException GitUpstreamException
CommandExitException InsufficientBalanceException RateLimitException ConflictException VersionMismatchException
SandboxInfo SandboxState SandboxMetrics SandboxQuery SandboxLifecycle Snapshot SnapshotInfo CommandResult Stdout Stderr
PtyOutput PtySize ProcessInfo EntryInfo FileType WriteInfo WriteEntry FilesystemEvent FilesystemEventType ALL_TRAFFIC
SandboxNetworkOpts domain_matches SecurityPolicy ContentGateConfig CustomPolicyConfig PIIConfig PIIType RedactionAction
PIIHandler GuardrailsClient InjectionDefenseConfig InjectionJudgeConfig InjectionAction InjectionSensitivity
TransformationRule TransformDirection NetworkPolicy AuditConfig AuditEntry EnvSecurityConfig SecureEnvVar ToxicityConfig
CodeSecurityConfig InvisibleTextConfig Sandbox CommandHandle WatchHandle Pty PtyHandle Stdio StdioProcess StdioResult
SandboxPaginator SnapshotPaginator AsyncSandbox AsyncCommandHandle AsyncWatchHandle AsyncSandboxPaginator
AsyncSnapshotPaginator Template AsyncTemplate TemplateBase BuildInfo TemplateBuildStatus CopyItem Volume
VolumeAttachment FileEntry Volumes VolumeFiles VolumeLocks AsyncVolumes AsyncVolumeFiles AsyncVolumeLocks
GovernancePack GovernanceControl GovernanceAdvisory GovernancePacks AsyncGovernancePacks ApiClient AsyncApiClient
AccountClient AsyncAccountClient AccountInfo AccountOverview DailyUsage DepositInfo UsageSummary WalletInfo VaultClient
AsyncVaultClient expand_vault_refs expand_vault_refs_async VaultScope VaultSecret VaultPreset
""".split()

ELSEWHERE = {
    "declaw.sandbox_sync.commands": ["Commands"],
    "declaw.sandbox_sync.filesystem": ["Filesystem"],
    "declaw.sandbox_sync.pty": ["PtyResult"],
    "declaw.sandbox_async.pty": ["AsyncPty", "AsyncPtyHandle"],
    "declaw.sandbox_async.stdio": ["AsyncStdio", "AsyncStdioProcess"],
    "declaw.sandbox.network": ["validate_network_entry"],
    "declaw.api.client": ["get_shared_client", "reset_shared_clients"],
}


def test_published_names() -> None:
    missing = [name for name in PUBLISHED if not hasattr(declaw, name)]
    assert missing == [] and set(PUBLISHED) <= set(declaw.__all__)
    assert len(set(declaw.__all__)) == len(declaw.__all__)
    for module, names in ELSEWHERE.items():
        assert [n for n in names if not hasattr(importlib.import_module(module), n)] == []


@pytest.mark.parametrize(
    "function, parameters",
    [
        (declaw.Sandbox.create, "template timeout metadata envs vault_refs secure allow_internet_access network security lifecycle volumes"),
        (declaw.Sandbox.connect, "sandbox_id timeout"),
        (declaw.Sandbox.list, "query limit next_token"),
        (declaw.Sandbox.kill, "request_timeout wait"),
        (declaw.Sandbox.restore, "sandbox_id snapshot_id"),
        (declaw.Sandbox.get_metrics, "start end request_timeout"),
        (declaw.Commands.run, "cmd background envs user cwd on_stdout on_stderr stdin timeout request_timeout"),
        (declaw.Commands.run_stream, "cmd on_stdout on_stderr envs user cwd timeout"),
        (declaw.Commands.connect, "pid timeout request_timeout"),
        (declaw.CommandHandle.wait, "on_stdout on_stderr"),
        (declaw.Filesystem.read, "path format user request_timeout"),
        (declaw.Filesystem.list, "path depth user request_timeout"),
        (declaw.Filesystem.watch_dir, "path user request_timeout recursive"),
        (declaw.Pty.create, "size user cwd envs timeout on_data request_timeout"),
        (declaw.Stdio.start, "cmd envs user cwd on_stdout on_stderr request_timeout"),
        (declaw.AsyncSandbox.run_command, "cmd background envs user cwd on_stdout on_stderr timeout request_timeout"),
        (declaw.AsyncSandbox.read_file, "path format user request_timeout"),
        (declaw.Template.build, "template alias cpu_count memory_mb disk_mb on_build_logs"),
        (declaw.Volumes.create, "name data content_type"),
        (declaw.SandboxPaginator, "client query limit"),
        (declaw.TransformationRule, "match replace direction"),
        (declaw.SecurityPolicy, "pii injection_defense transformations network audit env_security toxicity code_security invisible_text content_gate custom_policy"),
    ],
)  # fmt: skip
def test_published_parameters(function: Any, parameters: str) -> None:
    """By position and by name as programs pass them; what is ours comes after."""
    ours = [n for n in inspect.signature(function).parameters if n not in ("self", "cls")]
    assert ours[: len(parameters.split())] == parameters.split()


def modules() -> Iterator[Any]:
    for info in pkgutil.walk_packages(declaw.__path__, "declaw."):
        yield importlib.import_module(info.name)


def public() -> Iterator[Tuple[str, Any]]:
    """Every public function, class and method that the package defines."""
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for part, member in vars(value).items():
                    member = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
                    member = member.fget if isinstance(member, property) else member
                    if inspect.isfunction(member) and (not part.startswith("_") or part == "__init__"):
                        yield f"{module.__name__}.{name}.{part}", member


def test_everything_is_described() -> None:
    bare: List[str] = []
    for name, value in public():
        of_dataclass = name.endswith("__init__") and "__create_fn__" in value.__qualname__
        if name.endswith("__init__") or (inspect.isclass(value) and issubclass(value, enum.Enum) and value.__doc__):
            continue  # the class says what it is made of
        if not of_dataclass and not (value.__doc__ or "").strip():
            bare.append(name)
    assert bare == []
    assert [m.__name__ for m in modules() if not (m.__doc__ or "").strip()] == []


def test_everything_is_annotated() -> None:
    bare: List[str] = []
    for name, value in public():
        if not inspect.isfunction(value) or "__create_fn__" in value.__qualname__:
            continue
        for parameter in inspect.signature(value).parameters.values():
            if parameter.name not in ("self", "cls") and parameter.annotation is parameter.empty:
                bare.append(f"{name}({parameter.name})")
        if inspect.signature(value).return_annotation is inspect.Signature.empty:
            bare.append(f"{name} ->")
    assert bare == []


def test_models_are_dataclasses() -> None:
    for name in ("SandboxInfo", "CommandResult", "EntryInfo", "FilesystemEvent", "Volume", "VaultSecret", "AccountInfo"):
        assert dataclasses.is_dataclass(getattr(declaw, name))


def test_standard_library_only() -> None:
    for module in modules():
        for line in Path(module.__file__).read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and not words[1].startswith("."):
                assert words[1].split(".")[0] in sys.stdlib_module_names, f"{module.__name__}: {line}"


def test_mypy(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (Debian: apt-get install mypy)")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(REPO / "sdk" / "python" / "declaw")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
