# SPDX-License-Identifier: Apache-2.0
"""The names that the published `AsyncSandbox` has instead of ``.commands`` and ``.files``."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..sandbox.models import CommandResult, EntryInfo, ProcessInfo, WriteEntry, WriteInfo
from ..sandbox_sync.filesystem import Data
from .commands import AsyncCommandHandle, AsyncCommands, AsyncOutputHandler
from .filesystem import AsyncByteStream, AsyncFilesystem


class FlatCalls:
    """Each is the same as the call of ``commands`` or ``files`` that it names."""

    _commands: AsyncCommands
    _files: AsyncFilesystem

    async def run_command(
        self,
        cmd: str,
        background: bool = False,
        envs: Optional[Dict[str, str]] = None,
        user: str = "user",
        cwd: Optional[str] = None,
        on_stdout: Optional[AsyncOutputHandler] = None,
        on_stderr: Optional[AsyncOutputHandler] = None,
        timeout: Optional[float] = 60,
        request_timeout: Optional[float] = None,
        *,
        stdin: Optional[bool] = None,
    ) -> Union[CommandResult, AsyncCommandHandle]:
        """As `AsyncCommands.run`."""
        return await self._commands.run(
            cmd, background, envs, user, cwd, on_stdout, on_stderr, stdin, timeout, request_timeout
        )

    async def list_commands(self, request_timeout: Optional[float] = None) -> List[ProcessInfo]:
        """As `AsyncCommands.list`."""
        return await self._commands.list(request_timeout)

    async def kill_command(self, pid: int, request_timeout: Optional[float] = None) -> bool:
        """As `AsyncCommands.kill`."""
        return await self._commands.kill(pid, request_timeout)

    def connect_command(
        self, pid: int, timeout: Optional[float] = 60, request_timeout: Optional[float] = None
    ) -> AsyncCommandHandle:
        """As `AsyncCommands.connect`; no coroutine."""
        return self._commands.connect(pid, timeout, request_timeout)

    async def send_command_stdin(
        self, pid: int, data: Union[str, bytes], request_timeout: Optional[float] = None
    ) -> None:
        """As `AsyncCommands.send_stdin`."""
        await self._commands.send_stdin(pid, data, request_timeout)

    async def read_file(
        self, path: str, format: str = "text", user: str = "user", request_timeout: Optional[float] = None
    ) -> Union[str, bytearray, AsyncByteStream]:
        """As `AsyncFilesystem.read`."""
        return await self._files.read(path, format, user, request_timeout)

    async def write_file(
        self, path: str, data: Data, user: str = "user", request_timeout: Optional[float] = None
    ) -> WriteInfo:
        """As `AsyncFilesystem.write`."""
        return await self._files.write(path, data, user, request_timeout)

    async def write_files(
        self,
        files: Sequence[Union[WriteEntry, Mapping[str, Any]]],
        user: str = "user",
        request_timeout: Optional[float] = None,
    ) -> List[WriteInfo]:
        """As `AsyncFilesystem.write_files`; bytes are taken too."""
        return await self._files.write_files(files, user, request_timeout)

    async def list_files(
        self, path: str, depth: int = 1, user: str = "user", request_timeout: Optional[float] = None
    ) -> List[EntryInfo]:
        """As `AsyncFilesystem.list`."""
        return await self._files.list(path, depth, user, request_timeout)

    async def file_exists(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """As `AsyncFilesystem.exists`."""
        return await self._files.exists(path, user, request_timeout)

    async def get_file_info(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> EntryInfo:
        """As `AsyncFilesystem.get_info`."""
        return await self._files.get_info(path, user, request_timeout)

    async def remove_file(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> None:
        """As `AsyncFilesystem.remove`."""
        await self._files.remove(path, user, request_timeout)

    async def rename_file(
        self, old_path: str, new_path: str, user: str = "user", request_timeout: Optional[float] = None
    ) -> EntryInfo:
        """As `AsyncFilesystem.rename`."""
        return await self._files.rename(old_path, new_path, user, request_timeout)

    async def make_dir(self, path: str, user: str = "user", request_timeout: Optional[float] = None) -> bool:
        """As `AsyncFilesystem.make_dir`."""
        return await self._files.make_dir(path, user, request_timeout)
