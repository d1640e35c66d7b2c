# SPDX-License-Identifier: Apache-2.0
"""What the integration cases share: the build, plain HTTP, bounded waiting."""
import http.client
import json
import os
import pathlib
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional
from urllib.parse import urlencode

from declaw import Sandbox

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPO / os.environ.get("DECLAW_BUILD", "build-test")
# Sanitized programs are several times slower; no bound here is a promise about them.
SLOW = 4.0 if "asan" in BUILD.name else 1.0


def until(what: Callable[[], Any], seconds: float, wanted: Callable[[Any], bool] = bool) -> Any:
    """Asks again and again, until the answer is wanted (default: true); fails with the last answer."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        answer = what()
        if wanted(answer):
            return answer
        assert time.monotonic() < deadline, f"still so after {seconds * SLOW:.0f} s: {answer}"
        time.sleep(0.02)


def nothing(what: Callable[[], List[str]], seconds: float = 10) -> None:
    """Waits until the list is empty."""
    until(what, seconds, lambda answer: not answer)


def has_hooks() -> bool:
    """Whether this build can be made to fail on purpose."""
    options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    return any(o["name"] == "test_hooks" and o["value"] for o in options)


def sound(log: str) -> None:
    """No sanitizer has spoken. The gate is started with an empty environment, so it speaks here and not in a file."""
    for line in log.splitlines():
        assert "runtime error:" not in line and "Sanitizer" not in line, log[-8000:]


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def error(self, status: int, code: Optional[str] = None) -> str:
        """Checks that this is the documented error object and returns its message."""
        assert self.status == status, (self.status, self.body[:500])
        assert set(self.json) == {"message", "code"}, self.json
        assert self.json["message"] and self.json["code"], self.json
        assert code is None or self.json["code"] == code, self.json
        return str(self.json["message"])


class Api:
    """The wire itself, for what the SDK would hide: statuses, odd paths, connections that break off."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def connection(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)

    def headers(self) -> Dict[str, str]:
        return {"Authorization": f"Bearer {self.server.key}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, query: Optional[Dict[str, str]] = None,
             timeout: float = 60) -> Answer:
        """body: an object for JSON, or bytes as they are. query is encoded; None: path goes out as it is."""
        connection = self.connection(timeout)
        try:
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            target = path + ("?" + urlencode(query) if query else "")
            connection.request(method, target, data, self.headers())
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def create(self, **fields: Any) -> Answer:
        return self.call("POST", "/sandboxes", {"template": "base", "timeout": 300, **fields})

    def running(self) -> List[str]:
        answer = self.call("GET", "/sandboxes")
        assert answer.status == 200, answer
        return [row["sandbox_id"] for row in answer.json["sandboxes"]]

    def sandbox(self, **kwargs: Any) -> Sandbox:
        """Through the SDK."""
        kwargs = {"template": "base", "timeout": 300, **kwargs}
        return Sandbox.create(domain=self.server.domain, api_key=self.server.key, **kwargs)
