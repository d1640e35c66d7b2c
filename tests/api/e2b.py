# SPDX-License-Identifier: Apache-2.0
"""What the tests of the E2B surface share."""

from typing import Any, Dict, Optional

from conftest import Answer, Daemon


def make(daemon: Daemon, **fields: Any) -> Dict[str, Any]:
    """A sandbox, as E2B's clients make one."""
    answer = daemon.request("POST", "/e2b/v2/sandboxes", {"templateID": "base", **fields})
    assert answer.status == 201, answer.body
    return answer.json


def refused(answer: Answer, status: int, word: str = "", error_code: Optional[str] = None) -> None:
    """An error in E2B's form: their clients read the code as a number."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json["code"] == status and word in answer.json["message"], answer.json
    assert error_code in (None, answer.json["error_code"]), answer.json


def envd(made: Dict[str, Any]) -> Dict[str, str]:
    """The headers of a call about what is inside a sandbox."""
    return {"E2b-Sandbox-Id": made["sandboxID"], "E2b-Sandbox-Port": "49983", "X-Access-Token": made["envdAccessToken"]}
