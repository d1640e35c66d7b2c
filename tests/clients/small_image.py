# SPDX-License-Identifier: Apache-2.0
"""The small image of the API's tests, and a template of it."""

import importlib.util
import json
import urllib.request
from pathlib import Path

from lab import Daemon

_SECONDS = 120


def archive() -> bytes:
    # By its path: that folder has a conftest.py of its own.
    spec = importlib.util.spec_from_file_location("api_image", Path(__file__).resolve().parents[1] / "api" / "image.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data: bytes = module.archive()
    return data


def give(daemon: Daemon, alias: str) -> None:
    """The server has a template of this name afterwards."""
    request = urllib.request.Request(f"http://{daemon.domain}/templates/import?alias={alias}", archive(), method="POST",
                                     headers={"X-API-Key": daemon.key, "Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        built = json.load(answer)
    assert built["status"] == "completed", built
