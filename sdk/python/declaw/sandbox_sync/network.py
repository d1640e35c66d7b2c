# SPDX-License-Identifier: Apache-2.0
"""The network of a sandbox: its policy, live changes, and the log of decisions. Not part of the published SDK."""

import json
import time
from datetime import datetime
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from ..api.client import ApiClient
from ..api.events import EventStream
from ..exceptions import SandboxError
from ..sandbox.network import SandboxNetworkOpts, validate_network_entry

# The server says something every 15 s: silence for so long means that it is gone.
_SILENCE = 45.0
_Time = Union[int, float, str, datetime]


def _seconds(value: _Time) -> Any:
    if isinstance(value, datetime):
        return f"{value.timestamp():.6f}"  # a time without a zone is taken for local time, as datetime does
    return value


def _query(filters: Mapping[str, Any]) -> Dict[str, Any]:
    query: Dict[str, Any] = {}
    for key, value in filters.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        query[key] = _seconds(value) if key in ("since", "until") else value
    return query


def _lists(allow_out: Tuple[str, ...], deny_out: Tuple[str, ...]) -> Dict[str, List[str]]:
    for entry in (*allow_out, *deny_out):
        validate_network_entry(entry)
    lists = {"allow_out": [*allow_out], "deny_out": [*deny_out]}
    return {name: entries for name, entries in lists.items() if entries}


class Network:
    """``sandbox.network``.

    Every call may raise NotFoundError (no such sandbox), and those that change something SandboxError (410) when the
    sandbox was killed; reading works on killed ones too.
    """

    def __init__(self, client: ApiClient, sandbox_id: str, base: str) -> None:
        self._client = client
        self._sandbox_id = sandbox_id
        self._path = f"{base}/network"

    def _object(self, answer: Any, key: str) -> Dict[str, Any]:
        if not isinstance(answer, dict) or key not in answer:
            raise SandboxError(f"the server's answer has no {key!r}: {answer!r}", sandbox_id=self._sandbox_id)
        return answer

    def get(self, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """The policy and what is enforced of it.

        Returns:
            ``{"network": as stored or None, "generation": int, "enforced": dict or None}``; ``enforced`` has the gate's
            own ``generation``, ``flows``, ``udp_flows``, ``pins``, ``half_open``, ``bytes_out``, ``bytes_in`` and the
            ``limits`` in force. It is None for a killed sandbox, and while the gate is being started again.
        """
        answer = self._client.get(self._path, request_timeout=request_timeout, sandbox_id=self._sandbox_id)
        return self._object(answer, "network")

    def set(
        self,
        network: Union[SandboxNetworkOpts, Mapping[str, Any]],
        generation: Optional[int] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Replaces the whole policy; in force when it returns, and connections that it denies have been ended.

        Args:
            network: as for `Sandbox.create`.
            generation: change it only if this is the present one.

        Returns:
            ``{"network": dict, "generation": int}``.

        Raises:
            InvalidArgumentError: an entry cannot be honoured; the old policy stays.
            ConflictError: another generation is the present one.
        """
        body = network.to_dict() if isinstance(network, SandboxNetworkOpts) else network
        query = None if generation is None else {"generation": generation}
        # With a generation a repeated request would meet its own change.
        answer = self._client.put(
            self._path, query=query, json=body, repeatable=generation is None,
            request_timeout=request_timeout, sandbox_id=self._sandbox_id,
        )  # fmt: skip
        return self._object(answer, "generation")

    def update(
        self,
        *,
        add: Optional[Mapping[str, Any]] = None,
        remove: Optional[Mapping[str, Any]] = None,
        blocked: Optional[str] = None,
        mode: Optional[str] = None,
        limits: Optional[Mapping[str, Optional[int]]] = None,
        allow_ech: Optional[bool] = None,
        generation: Optional[int] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """Changes a part of the policy; in force when it returns. What is not named stays.

        Args:
            add, remove: ``{"allow_out": [...], "deny_out": [...]}``. Entries are compared as they are written. Adding
                to an ``allow_out`` that was absent makes it a list, which denies everything else.
            blocked: "drop" or "reject".
            mode: "enforce" or "observe".
            limits: those to change; None takes one back to the server's default.
            allow_ech: whether TLS with Encrypted Client Hello passes, judged by its outer name.
            generation: change it only if this is the present one.

        Returns:
            ``{"network": dict, "generation": int}``, with ``"not_found"``: entries to remove that were not there.

        Raises:
            InvalidArgumentError: something cannot be honoured; nothing has changed.
            ConflictError: another generation is the present one.
        """
        optional = {
            "add": add, "remove": remove, "blocked": blocked, "mode": mode, "limits": limits, "allow_ech": allow_ech, "generation": generation
        }  # fmt: skip
        body = {key: value for key, value in optional.items() if value is not None}
        answer = self._client.patch(
            self._path, json=body, repeatable=generation is None,
            request_timeout=request_timeout, sandbox_id=self._sandbox_id,
        )  # fmt: skip
        return self._object(answer, "generation")

    def allow(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """Adds to ``allow_out``; see `update`. Raises ValueError for what is no entry."""
        return self.update(add=_lists(entries, ()), request_timeout=request_timeout)

    def deny(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """Adds to ``deny_out``; see `update`. A narrower ``allow_out`` entry beats it. Raises ValueError for what is no entry."""
        return self.update(add=_lists((), entries), request_timeout=request_timeout)

    def remove(self, *entries: str, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """Takes entries, as they are written, out of both lists. ``"not_found"`` of the answer has those that were in neither."""
        if not entries:
            return self.update(request_timeout=request_timeout)
        both = {"allow_out": [*entries], "deny_out": [*entries]}
        answer = self.update(remove=both, request_timeout=request_timeout)
        missing: List[str] = answer.pop("not_found", [])
        nowhere = [entry for entry in dict.fromkeys(entries) if missing.count(entry) == 2]
        return {**answer, "not_found": nowhere} if nowhere else answer

    def log(
        self,
        limit: int = 100,
        *,
        verdict: Optional[str] = None,
        would: Optional[bool] = None,
        reason: Optional[str] = None,
        proto: Optional[str] = None,
        name: Optional[str] = None,
        addr: Optional[str] = None,
        port: Optional[int] = None,
        since: Optional[_Time] = None,
        until: Optional[_Time] = None,
        before: Optional[int] = None,
        request_timeout: Optional[float] = None,
    ) -> Dict[str, Any]:
        """One page of decisions about its traffic, newest first.

        Args:
            limit: how many at most; 1 to 1000.
            verdict: "allow" or "deny".
            would: True: what a policy that only observes would have refused.
            reason, proto, addr, port: as the records have them.
            name: a host, or ``*.host`` for every name below it.
            since, until: Unix seconds, a datetime, or RFC 3339 text; since <= time < until.
            before: ``next`` of the page before.

        Returns:
            ``{"decisions": [dict, ...], "next": int or None}``. A flow is one record: ``closed``, ``ended``,
            ``bytes_out``, ``bytes_in`` and ``duration_ms`` (milliseconds) come with its end.

        Raises:
            InvalidArgumentError: an argument is wrong; the message names it.
        """
        query = _query({
            "limit": limit, "verdict": verdict, "would": would, "reason": reason, "proto": proto, "name": name,
            "addr": addr, "port": port, "since": since, "until": until, "before": before,
        })  # fmt: skip
        answer = self._client.get(
            f"{self._path}/log", query=query, request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )
        return self._object(answer, "decisions")

    def follow(
        self,
        limit: int = 0,
        *,
        after: Optional[int] = None,
        request_timeout: Optional[float] = None,
        **filters: Any,
    ) -> Iterator[Dict[str, Any]]:
        """Decisions as they are made, until the sandbox is gone. Leaving the loop ends it.

        Args:
            limit: so many of the newest decisions come first.
            after: instead, every decision after this id.
            request_timeout: seconds of silence after which the connection counts as lost; the server is never silent
                for more than 15.
            filters: as for `log`.

        Yields:
            the record, with ``"event"``: "decision", or "end" (the same ``id`` again, changed: the flow has ended).
            ``{"event": "dropped", "count": int}`` stands for records that were lost because the reader was slow.

        A connection that breaks is made again, and goes on after the last record.

        Raises:
            InvalidArgumentError: an argument is wrong. RateLimitError: too many follow already.
            SandboxError: the connection broke, and could not be made again.
        """
        query = _query({**filters, "follow": True, "limit": limit or None})
        last = after
        failures = 0
        while True:
            headers = {"Accept": "text/event-stream"}
            if last is not None:
                headers["Last-Event-ID"] = str(last)
            response = self._client.open(
                "GET", f"{self._path}/log", query=query, headers=headers,
                request_timeout=_SILENCE if request_timeout is None else request_timeout, sandbox_id=self._sandbox_id,
            )  # fmt: skip
            try:
                for event in EventStream(response, self._sandbox_id):
                    failures = 0
                    if event.event == "end_of_log":
                        return
                    if event.id and event.event != "end":  # the row of an end is an older one
                        last = int(event.id)
                    yield {**json.loads(event.data), "event": event.event}
                problem: Exception = SandboxError("the server has closed the log", sandbox_id=self._sandbox_id)
            except SandboxError as e:
                problem = e
            finally:
                response.close()
            failures += 1
            if failures > 3:
                raise SandboxError(f"following the network log: {problem}", sandbox_id=self._sandbox_id) from problem
            time.sleep(0.2 * failures)

    def suggest(self, request_timeout: Optional[float] = None) -> Dict[str, Any]:
        """The smallest policy that allows what the sandbox did while its ``mode`` was "observe".

        Returns:
            ``{"network": {"allow_out": [...]}, "entries": [...], "not_coverable": [...], "overflow": int}``: an entry has
            ``entry``, ``why``, ``count``, ``protocols``, ``first`` and ``last``; ``not_coverable`` is what was refused
            even so; ``overflow`` counts what was seen beyond the server's memory.
        """
        answer = self._client.get(
            f"{self._path}/suggest", request_timeout=request_timeout, sandbox_id=self._sandbox_id
        )
        return self._object(answer, "network")
