# SPDX-License-Identifier: Apache-2.0
"""What this package raises. Each class has two names: ``XError``, and ``XException`` for the same class."""

from typing import Optional

#: ``code`` of a 409: the first request with this idempotency key is still running.
CODE_IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
#: ``code`` of a 422: the idempotency key was used before with another body.
CODE_IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
#: ``code`` of a 409: the template exists but is still being made.
CODE_TEMPLATE_NOT_READY = "template_not_ready"


class SandboxError(Exception):
    """Base of everything this package raises, except ``ValueError`` for arguments refused before a request is made.

    Attributes:
        sandbox_id: the sandbox the call was about, or None.
        code: the server's stable word for the error, or "".
    """

    def __init__(self, message: str = "", *, sandbox_id: Optional[str] = None, code: str = "") -> None:
        super().__init__(message)
        self.sandbox_id = sandbox_id
        self.code = code


class TimeoutError(SandboxError):  # noqa: A001 - the published name; unrelated to the builtin
    """HTTP 408 (a command ran out of its time), or the server could not be reached or did not answer in time."""


class NotFoundError(SandboxError):
    """HTTP 404: no such sandbox, file or template."""


class AuthenticationError(SandboxError):
    """HTTP 401 or 403: the key is missing, wrong, or not allowed to do this."""


class InvalidArgumentError(SandboxError):
    """HTTP 400 or 422: the server refuses a value; the message names it."""


class NotEnoughSpaceError(SandboxError):
    """HTTP 413: the body is too large, or the sandbox's disk is full."""


class ConflictError(SandboxError):
    """HTTP 409: the call does not fit the present state (paused, version mismatch, template not ready, ...)."""


#: The published SDK uses one class for both.
VersionMismatchError = ConflictError


class TemplateError(SandboxError):
    """Something is wrong with a template."""


class BuildError(TemplateError):
    """A template could not be built."""


class FileUploadError(SandboxError):
    """A file could not be sent."""


class GitAuthError(SandboxError):
    """Git was refused by its remote."""


class GitUpstreamError(SandboxError):
    """Git's remote failed."""


class CommandExitError(SandboxError):
    """A waited-for command ended with a code other than 0.

    Attributes:
        exit_code: the command's exit code.
        stdout, stderr: what it wrote.
    """

    def __init__(
        self, message: str = "", *, exit_code: int = 1, stdout: str = "", stderr: str = "", sandbox_id: Optional[str] = None
    ) -> None:
        super().__init__(message, sandbox_id=sandbox_id)
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr


class InsufficientBalanceError(SandboxError):
    """HTTP 402. ``wallet_type`` says which balance, or is ""."""

    def __init__(
        self, message: str = "", wallet_type: str = "", *, sandbox_id: Optional[str] = None, code: str = ""
    ) -> None:
        super().__init__(message, sandbox_id=sandbox_id, code=code)
        self.wallet_type = wallet_type


class RateLimitError(SandboxError):
    """HTTP 429; never retried by this package. ``retry_after`` is in seconds, None when the server did not say."""

    def __init__(
        self,
        message: str = "",
        retry_after: Optional[float] = None,
        limit: Optional[int] = None,
        remaining: Optional[int] = None,
        *,
        sandbox_id: Optional[str] = None,
        code: str = "",
    ) -> None:
        super().__init__(message, sandbox_id=sandbox_id, code=code)
        self.retry_after = retry_after
        self.limit = limit
        self.remaining = remaining


SandboxException = SandboxError
TimeoutException = TimeoutError
NotFoundException = NotFoundError
AuthenticationException = AuthenticationError
InvalidArgumentException = InvalidArgumentError
NotEnoughSpaceException = NotEnoughSpaceError
ConflictException = ConflictError
VersionMismatchException = VersionMismatchError
TemplateException = TemplateError
BuildException = BuildError
FileUploadException = FileUploadError
GitAuthException = GitAuthError
GitUpstreamException = GitUpstreamError
CommandExitException = CommandExitError
InsufficientBalanceException = InsufficientBalanceError
RateLimitException = RateLimitError
