# SPDX-License-Identifier: Apache-2.0
"""Pausing, and snapshots: the calls of `Sandbox`, apart so that a file stays readable."""

from typing import Any, List, Optional

from .._wire import expect, expect_list, parsed, segment
from ..api.client import ApiClient
from ..sandbox.models import Snapshot, SnapshotInfo


class SnapshotCalls:
    """The part of `Sandbox` about stopping it and going back."""

    _client: ApiClient
    _sandbox_id: str
    _base: str

    def pause(self, request_timeout: Optional[float] = None) -> None:
        """Stops everything inside; nothing is lost, and `resume` lets it go on.

        Raises:
            ConflictError: it cannot be paused now. NotFoundError: no such sandbox.
        """
        self._post("pause", request_timeout)

    def resume(self, request_timeout: Optional[float] = None) -> None:
        """Lets a paused sandbox go on.

        Raises:
            ConflictError: it is not paused. NotFoundError: no such sandbox.
        """
        self._post("resume", request_timeout)

    def create_snapshot(self, request_timeout: Optional[float] = None) -> SnapshotInfo:
        """Keeps its present state, for `restore`; returns what is needed to name it. See `snapshot`."""
        return parsed(SnapshotInfo.from_dict, self._post("snapshot", request_timeout, repeatable=False), self._sandbox_id)

    def snapshot(self, request_timeout: Optional[float] = None) -> Snapshot:
        """Keeps its present state, for `restore`; returns all that the server tells of it.

        Raises:
            NotFoundError: no such sandbox. NotEnoughSpaceError: there is no room. SandboxError: the server cannot do it.
        """
        return parsed(Snapshot.from_dict, self._post("snapshot", request_timeout, repeatable=False), self._sandbox_id)

    def list_snapshots(self, request_timeout: Optional[float] = None) -> List[Snapshot]:
        """Its snapshots, newest first."""
        answer = self._client.get(
            f"{self._base}/snapshots", request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )
        rows = expect_list(expect(answer, "snapshots", self._sandbox_id)["snapshots"], self._sandbox_id)
        return [parsed(Snapshot.from_dict, row, self._sandbox_id) for row in rows]

    def delete_snapshot(self, snapshot_id: str, request_timeout: Optional[float] = None) -> bool:
        """Forgets a snapshot; one that is gone already is no error. Returns True.

        Raises:
            ConflictError: a paused sandbox is kept in it.
        """
        self._client.delete(
            f"{self._base}/snapshots/{segment(snapshot_id)}", request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )
        return True

    def _post(self, call: str, request_timeout: Optional[float], **options: Any) -> Any:
        return self._client.post(
            f"{self._base}/{call}", request_timeout=request_timeout, sandbox_id=self._sandbox_id, **options
        )
