# SPDX-License-Identifier: Apache-2.0
"""Sandboxes on a declaw server.

    from declaw import Sandbox

    sbx = Sandbox.create(template="python", network={"allow_out": ["api.github.com"]})
    print(sbx.commands.run("echo hello").stdout)
    sbx.kill()
"""

from .api.client import ApiClient
from .connection_config import ConnectionConfig
from .exceptions import (
    CODE_IDEMPOTENCY_IN_PROGRESS,
    CODE_IDEMPOTENCY_KEY_REUSED,
    CODE_TEMPLATE_NOT_READY,
    AuthenticationException,
    BuildException,
    CommandExitException,
    ConflictException,
    FileUploadException,
    GitAuthException,
    GitUpstreamException,
    InsufficientBalanceException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    NotFoundException,
    RateLimitException,
    SandboxError,
    SandboxException,
    TemplateException,
    TimeoutException,
    VersionMismatchException,
)
from .sandbox.models import (
    CommandResult,
    EntryInfo,
    FileType,
    SandboxInfo,
    SandboxLifecycle,
    SandboxQuery,
    SandboxState,
    WriteEntry,
    WriteInfo,
)
from .sandbox.network import (
    ALL_TRAFFIC,
    NetworkPolicy,
    SandboxNetworkOpts,
    domain_matches,
    validate_network_entry,
)
from .sandbox_sync.main import Sandbox

__version__ = "0.1.0"

__all__ = [
    "ALL_TRAFFIC",
    "ApiClient",
    "AuthenticationException",
    "BuildException",
    "CODE_IDEMPOTENCY_IN_PROGRESS",
    "CODE_IDEMPOTENCY_KEY_REUSED",
    "CODE_TEMPLATE_NOT_READY",
    "CommandExitException",
    "CommandResult",
    "ConflictException",
    "ConnectionConfig",
    "EntryInfo",
    "FileType",
    "FileUploadException",
    "GitAuthException",
    "GitUpstreamException",
    "InsufficientBalanceException",
    "InvalidArgumentException",
    "NetworkPolicy",
    "NotEnoughSpaceException",
    "NotFoundException",
    "RateLimitException",
    "Sandbox",
    "SandboxError",
    "SandboxException",
    "SandboxInfo",
    "SandboxLifecycle",
    "SandboxNetworkOpts",
    "SandboxQuery",
    "SandboxState",
    "TemplateException",
    "TimeoutException",
    "VersionMismatchException",
    "WriteEntry",
    "WriteInfo",
    "domain_matches",
    "validate_network_entry",
]
