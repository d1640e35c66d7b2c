# SPDX-License-Identifier: Apache-2.0
"""Requests with the key, retries, and errors as exceptions."""

import json
import random
import threading
import time
from email.message import Message
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple
from urllib.parse import urlencode

from .. import exceptions as exc
from ..connection_config import ConnectionConfig
from .scope import current_scope
from .transport import AnswerTimeout, Body, ConnectFailed, ConnectionLost, Pool, Response

if TYPE_CHECKING:
    from .events import EventStream

_RETRY_AFTER_MAX = 60.0

_BY_STATUS = {
    400: exc.InvalidArgumentError,
    401: exc.AuthenticationError,
    403: exc.AuthenticationError,
    404: exc.NotFoundError,
    408: exc.TimeoutError,
    409: exc.ConflictError,
    413: exc.NotEnoughSpaceError,
    422: exc.InvalidArgumentError,
}


def _retry_after(headers: Message) -> Optional[float]:
    """Seconds, at most 60; None for an absent, negative or otherwise unusable value (an HTTP date, say)."""
    try:
        seconds = float(headers.get("Retry-After") or "")
    except ValueError:
        return None
    return min(seconds, _RETRY_AFTER_MAX) if seconds >= 0 else None


def _error(response: Response, body: bytes, sandbox_id: Optional[str]) -> exc.SandboxError:
    text = body.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    fields: Dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    message = f"HTTP {response.status}: {fields.get('message') or fields.get('error') or text}"
    code = fields.get("code")
    code = code if isinstance(code, str) else ""
    if response.status == 402:
        return exc.InsufficientBalanceError(message, str(fields.get("wallet_type") or ""), sandbox_id=sandbox_id, code=code)
    if response.status == 429:
        return exc.RateLimitError(message, _retry_after(response.headers), sandbox_id=sandbox_id, code=code)
    return _BY_STATUS.get(response.status, exc.SandboxError)(message, sandbox_id=sandbox_id, code=code)


def json_body(value: Any) -> bytes:
    """JSON as it goes on the wire. Raises ValueError for what JSON or UTF-8 cannot carry (NaN, a lone surrogate)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


class ApiClient:
    """Speaks to one server; any number of threads may share it.

    Args:
        config: which server; default: that of the environment.
        max_retries: attempts in all.
        retry_delay: seconds before the second attempt; the n-th waits n times as long, half of it random.

    An attempt is repeated after a failed connect, after a 409 with code ``idempotency_in_progress`` (when ``Retry-After``
    says), and, where a second run does no harm, after a 5xx and after a timed-out or lost connection. A 429 is not.
    Clients of this API used to repeat every call after a 5xx; this one is stricter: a proxy's 502 or 504 may come after the
    server has begun, so a command, input, a signal, a rename or a removal (``repeatable=False``) is then not sent again.
    """

    def __init__(
        self, config: Optional[ConnectionConfig] = None, *, max_retries: int = 3, retry_delay: float = 0.5
    ) -> None:
        self.config = config or ConnectionConfig()
        self._max_retries = max_retries
        self._retry_delay = retry_delay
        self._pool = Pool(self.config.api_url or "")
        self._headers = {"Accept": "*/*", "User-Agent": "declaw-python/0.1.0"}
        if self.config.api_key:
            self._headers["Authorization"] = f"Bearer {self.config.api_key}"

    def get(self, path: str, **options: Any) -> Any:
        """GET; options as `request`. Returns the JSON of the answer."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        """POST; options as `request`. Returns the JSON of the answer."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        """PUT; options as `request`. Returns the JSON of the answer."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Any:
        """PATCH; options as `request`. Returns the JSON of the answer."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        """DELETE; options as `request`. Returns the JSON of the answer."""
        return self.request("DELETE", path, **options)

    def get_bytes(self, path: str, **options: Any) -> bytes:
        """GET; options as `open`. Returns the answer as it is."""
        return self.request_bytes("GET", path, **options)

    def stream(self, method: str, path: str, **options: Any) -> "EventStream":
        """One call whose answer is a stream of events; options as `open`. To be iterated, or closed.

        Raises:
            SandboxError: the answer is no event stream; and its kinds.
        """
        from .events import open_events  # which is about this class

        return open_events(self, method, path, **options)

    def close(self) -> None:
        """Closes idle connections. The client stays usable."""
        self._pool.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """One call; options as `open`. Returns the JSON of the answer, None where the body is empty.

        Raises:
            SandboxError or one of its kinds
        """
        data = self._run(method, path, whole=True, **options)[1]
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError:
            raise exc.SandboxError(
                f"{method} {path}: the server's answer is not JSON: {data[:200]!r}", sandbox_id=options.get("sandbox_id")
            ) from None

    def request_bytes(self, method: str, path: str, **options: Any) -> bytes:
        """One call whose answer is taken as it is; options as `open`."""
        return self._run(method, path, whole=True, **options)[1]

    def open(self, method: str, path: str, **options: Any) -> Response:
        """One call; returns as soon as the head of a good answer is there, for the caller to read or close.

        Options:
            query: parameters; a list repeats its name.
            json: body as JSON.
            content: body as bytes or as an iterator of bytes; ``application/octet-stream`` where `headers` say nothing else.
            headers: further headers.
            request_timeout: seconds for the connection and for each wait for bytes; None: the config's.
            repeatable: False where a request that the server may have begun must not be sent again, also not after a 5xx.
            sandbox_id: for the exceptions.
        """
        return self._run(method, path, whole=False, **options)[0]

    def _run(
        self,
        method: str,
        path: str,
        *,
        whole: bool,
        query: Optional[Mapping[str, Any]] = None,
        json: Any = None,
        content: Body = None,
        headers: Optional[Mapping[str, str]] = None,
        request_timeout: Optional[float] = None,
        repeatable: bool = True,
        sandbox_id: Optional[str] = None,
    ) -> Tuple[Response, bytes]:
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        body: Body = content
        all_headers = {**self._headers, **(headers or {})}
        if json is not None:
            body = json_body(json)
            all_headers["Content-Type"] = "application/json"
        elif content is not None:
            all_headers.setdefault("Content-Type", "application/octet-stream")
        timeout = self.config.request_timeout if request_timeout is None else request_timeout
        attempts = self._max_retries if body is None or isinstance(body, bytes) else 1  # an iterator runs once
        stale_left = 1 if attempts > 1 and repeatable else 0
        attempt = 1
        while True:
            delay = self._retry_delay * attempt * (0.5 + 0.5 * random.random())
            last = attempt >= attempts
            try:
                response = self._pool.send(method, target, all_headers, body, timeout)
                if 200 <= response.status < 300:
                    return response, response.read() if whole else b""
                error = _error(response, response.read(), sandbox_id)
                if response.status == 409 and error.code == exc.CODE_IDEMPOTENCY_IN_PROGRESS:
                    told = _retry_after(response.headers)
                    delay = delay if told is None else told
                elif response.status < 500 or not repeatable:
                    last = True  # a 5xx may be a proxy's, given up on a server that had begun
            except ConnectFailed as e:
                error = exc.TimeoutError(f"{method} {path}: {e}", sandbox_id=sandbox_id)
            except AnswerTimeout as e:
                error = exc.TimeoutError(f"{method} {path}: {e}", sandbox_id=sandbox_id)
                last = last or not repeatable
            except ConnectionLost as e:
                if e.stale and stale_left:
                    stale_left = 0
                    continue  # the server had closed an idle connection: at once, on a new one, and not an attempt
                error = exc.SandboxError(f"{method} {path}: {e}", sandbox_id=sandbox_id)
                last = True
            if last:
                raise error
            scope = current_scope()
            if scope is not None:
                scope.sleep(delay)
            else:
                time.sleep(delay)
            attempt += 1


_shared: Dict[Tuple[Optional[str], Optional[str], Optional[float]], ApiClient] = {}
_shared_lock = threading.Lock()


def get_shared_client(config: Optional[ConnectionConfig] = None) -> ApiClient:
    """The process's one client for this key, URL and timeout."""
    config = config or ConnectionConfig()
    key = (config.api_key, config.api_url, config.request_timeout)
    with _shared_lock:
        client = _shared.get(key)
        if client is None:
            client = _shared[key] = ApiClient(config)
        return client


def reset_shared_clients() -> None:
    """Forgets the shared clients and closes their idle connections."""
    with _shared_lock:
        clients = list(_shared.values())
        _shared.clear()
    for client in clients:
        client.close()
