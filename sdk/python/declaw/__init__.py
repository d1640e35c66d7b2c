# SPDX-License-Identifier: Apache-2.0
"""Sandboxes on a declaw server.

    from declaw import Sandbox

    sbx = Sandbox.create(template="python", network={"allow_out": ["api.github.com"]})
    print(sbx.commands.run("echo hello").stdout)
    sbx.kill()

`AsyncSandbox` is the same for coroutines.
"""

from .account import (
    AccountClient, AccountInfo, AccountOverview, AsyncAccountClient, DailyUsage, DepositInfo, UsageSummary, WalletInfo,
)  # fmt: skip
from .api.async_client import AsyncApiClient
from .api.client import ApiClient
from .connection_config import ConnectionConfig
from .exceptions import (
    CODE_IDEMPOTENCY_IN_PROGRESS, CODE_IDEMPOTENCY_KEY_REUSED, CODE_TEMPLATE_NOT_READY, AuthenticationException,
    BuildException, CommandExitException, ConflictException, FileUploadException, GitAuthException, GitUpstreamException,
    InsufficientBalanceException, InvalidArgumentException, NotEnoughSpaceException, NotFoundException, RateLimitException,
    SandboxError, SandboxException, TemplateException, TimeoutException, VersionMismatchException,
)  # fmt: skip
from .governance import AsyncGovernancePacks, GovernanceAdvisory, GovernanceControl, GovernancePack, GovernancePacks
from .sandbox.models import (
    CommandResult, EntryInfo, FilesystemEvent, FilesystemEventType, FileType, ProcessInfo, PtyOutput, PtySize, SandboxInfo,
    SandboxLifecycle, SandboxMetrics, SandboxQuery, SandboxState, Snapshot, SnapshotInfo, Stderr, Stdout, WriteEntry,
    WriteInfo,
)  # fmt: skip
from .sandbox.network import ALL_TRAFFIC, NetworkPolicy, SandboxNetworkOpts, domain_matches, validate_network_entry
from .sandbox_async.commands import AsyncCommandHandle, AsyncCommands
from .sandbox_async.filesystem import AsyncFilesystem, AsyncWatchHandle
from .sandbox_async.main import AsyncSandbox
from .sandbox_async.network import AsyncNetwork
from .sandbox_async.paginator import AsyncSandboxPaginator, AsyncSnapshotPaginator
from .sandbox_async.pty import AsyncPty, AsyncPtyHandle
from .sandbox_async.stdio import AsyncStdio, AsyncStdioProcess
from .sandbox_sync.command_handle import CommandHandle
from .sandbox_sync.commands import Commands
from .sandbox_sync.filesystem import Filesystem
from .sandbox_sync.main import Sandbox
from .sandbox_sync.network import Network
from .sandbox_sync.paginator import SandboxPaginator, SnapshotPaginator
from .sandbox_sync.pty import Pty, PtyHandle, PtyResult
from .sandbox_sync.stdio import Stdio, StdioProcess, StdioResult
from .sandbox_sync.watch import WatchHandle
from .security import (
    AuditConfig, AuditEntry, CodeSecurityConfig, ContentGateConfig, CustomPolicyConfig, EnvSecurityConfig,
    GuardrailsClient, InjectionAction, InjectionDefenseConfig, InjectionJudgeConfig, InjectionSensitivity,
    InvisibleTextConfig, PIIConfig, PIIHandler, PIIType, RedactionAction, SecureEnvVar, SecurityPolicy, ToxicityConfig,
    TransformationRule, TransformDirection,
)  # fmt: skip
from .template import AsyncTemplate, BuildInfo, CopyItem, Template, TemplateBase, TemplateBuildStatus
from .vault import (
    AsyncVaultClient, VaultClient, VaultPreset, VaultScope, VaultSecret, expand_vault_refs, expand_vault_refs_async,
)  # fmt: skip
from .volumes import (
    AsyncVolumeFiles, AsyncVolumeLocks, AsyncVolumes, FileEntry, Volume, VolumeAttachment, VolumeFiles, VolumeLocks,
    Volumes,
)  # fmt: skip

__version__ = "0.1.0"

__all__ = [
    "ALL_TRAFFIC", "AccountClient", "AccountInfo", "AccountOverview", "ApiClient", "AsyncAccountClient", "AsyncApiClient",
    "AsyncCommandHandle", "AsyncCommands", "AsyncFilesystem", "AsyncGovernancePacks", "AsyncNetwork", "AsyncPty",
    "AsyncPtyHandle", "AsyncSandbox", "AsyncSandboxPaginator", "AsyncSnapshotPaginator", "AsyncStdio", "AsyncStdioProcess",
    "AsyncTemplate", "AsyncVaultClient", "AsyncVolumeFiles", "AsyncVolumeLocks", "AsyncVolumes", "AsyncWatchHandle",
    "AuditConfig", "AuditEntry", "AuthenticationException", "BuildException", "BuildInfo", "CODE_IDEMPOTENCY_IN_PROGRESS",
    "CODE_IDEMPOTENCY_KEY_REUSED", "CODE_TEMPLATE_NOT_READY", "CodeSecurityConfig", "CommandExitException",
    "CommandHandle", "CommandResult", "Commands", "ConflictException", "ConnectionConfig", "ContentGateConfig", "CopyItem",
    "CustomPolicyConfig", "DailyUsage", "DepositInfo", "EntryInfo", "EnvSecurityConfig", "FileEntry", "FileType",
    "FileUploadException", "Filesystem", "FilesystemEvent", "FilesystemEventType", "GitAuthException",
    "GitUpstreamException", "GovernanceAdvisory", "GovernanceControl", "GovernancePack", "GovernancePacks",
    "GuardrailsClient", "InjectionAction", "InjectionDefenseConfig", "InjectionJudgeConfig", "InjectionSensitivity",
    "InsufficientBalanceException", "InvalidArgumentException", "InvisibleTextConfig", "Network", "NetworkPolicy",
    "NotEnoughSpaceException", "NotFoundException", "PIIConfig", "PIIHandler", "PIIType", "ProcessInfo", "Pty",
    "PtyHandle", "PtyOutput", "PtyResult", "PtySize", "RateLimitException", "RedactionAction", "Sandbox", "SandboxError",
    "SandboxException", "SandboxInfo", "SandboxLifecycle", "SandboxMetrics", "SandboxNetworkOpts", "SandboxPaginator",
    "SandboxQuery", "SandboxState", "SecureEnvVar", "SecurityPolicy", "Snapshot", "SnapshotInfo", "SnapshotPaginator",
    "Stderr", "Stdio", "StdioProcess", "StdioResult", "Stdout", "Template", "TemplateBase", "TemplateBuildStatus",
    "TemplateException", "TimeoutException", "ToxicityConfig", "TransformDirection", "TransformationRule", "UsageSummary",
    "VaultClient", "VaultPreset", "VaultScope", "VaultSecret", "VersionMismatchException", "Volume", "VolumeAttachment",
    "VolumeFiles", "VolumeLocks", "Volumes", "WalletInfo", "WatchHandle", "WriteEntry", "WriteInfo", "domain_matches",
    "expand_vault_refs", "expand_vault_refs_async", "validate_network_entry",
]  # fmt: skip
