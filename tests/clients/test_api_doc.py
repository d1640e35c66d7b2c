# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/api.md, run from top to bottom against a real server, answer as it says, and no route is missing there."""

import fnmatch
import json
import os
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import pytest
import small_image
from runner import BUILD

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "api.md"
_EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n```(json|text)\n(.*?)^```$", re.M | re.S)
_SECONDS = 60

#: Members of answers that have a name in later examples.
NAMED = {"sandbox_id": "ID", "pid": "PID", "cmd_id": "CMD", "owner_id": "OWNER", "key_id": "KEY_ID", "volume_id": "VOLUME",
         "build_id": "BUILD", "template_id": "TEMPLATE", "snapshot_id": "SNAPSHOT"}
#: Numbers that an example shows as they are; others depend on the run.
EXACT = {"exit_code", "size", "timeout", "generation", "total"}


@dataclass
class Example:
    line: int
    script: str
    kind: str
    wanted: str


def examples() -> List[Example]:
    text = DOC.read_text(encoding="utf-8")
    return [Example(text.count("\n", 0, m.start()) + 1, *m.groups()) for m in _EXAMPLE.finditer(text)]


def like(wanted: str, got: str) -> bool:
    """`…` in what is wanted stands for anything."""
    return fnmatch.fnmatchcase(got, re.sub(r"([\[?*])", r"[\1]", wanted).replace("…", "*"))


def agrees(wanted: Any, got: Any, where: str) -> None:
    """Whatever is shown is there; an answer may have more."""
    if isinstance(wanted, dict):
        assert isinstance(got, dict), f"{where}: {got!r}"
        for name, value in wanted.items():
            assert name in got, f"{where}: {name} is missing: {got!r}"
            agrees(value, got[name], f"{where}.{name}")
    elif isinstance(wanted, list):
        assert isinstance(got, list) and len(got) >= len(wanted) and (wanted or not got), f"{where}: {got!r}"
        for i, value in enumerate(wanted):
            agrees(value, got[i], f"{where}[{i}]")
    elif isinstance(wanted, str):
        assert isinstance(got, str) and like(wanted, got), f"{where}: {got!r} is not {wanted!r}"
    elif isinstance(wanted, (int, float)) and not isinstance(wanted, bool) and where.rpartition(".")[2] not in EXACT:
        assert isinstance(got, (int, float)) and not isinstance(got, bool), f"{where}: {got!r}"
    else:
        assert type(wanted) is type(got) and wanted == got, f"{where}: {got!r} is not {wanted!r}"


def in_order(wanted: List[str], got: List[str]) -> None:
    lines = iter(got)
    for line in wanted:
        assert any(like(line, other) for other in lines), f"no line {line!r}, behind those before it, in {got!r}"


def names_of(text: str) -> Dict[str, str]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    rows = answer if isinstance(answer, list) else [answer]
    return {NAMED[k]: str(v) for row in rows if isinstance(row, dict) for k, v in row.items() if k in NAMED and isinstance(v, (str, int))}


@pytest.fixture(scope="module")
def done(lab, tmp_path_factory):
    """What each example wrote, and the routes that were asked for meanwhile."""
    outputs = []
    folder = tmp_path_factory.mktemp("api")
    (folder / "image.tar").write_bytes(small_image.archive())
    with lab.declawd(BUILD) as daemon:
        env = {"PATH": os.environ["PATH"], "API": f"http://{daemon.domain}", "KEY": f"X-API-Key: {daemon.key}"}
        for example in examples():
            ran = subprocess.run(["bash", "-euc", example.script], env=env, cwd=folder, timeout=_SECONDS, check=False,
                                 capture_output=True, text=True)
            outputs.append(ran)
            env.update(names_of(ran.stdout))
        request = urllib.request.Request(f"{env['API']}/metrics", headers={"X-API-Key": daemon.key})
        with urllib.request.urlopen(request, timeout=10) as answer:
            numbers = answer.read().decode()
    asked = re.findall(r'^declaw_http_requests_total\{method="(\w+)",route="([^"]+)",code="\dxx"\} [1-9]', numbers, re.M)
    return outputs, {("ANY" if "/ports/" in route else method, route.replace("...}", "}")) for method, route in asked}


@pytest.mark.parametrize("n, example", list(enumerate(examples())), ids=lambda v: f"line-{v.line}" if isinstance(v, Example) else "")
def test_example(done, n, example):
    ran = done[0][n]
    assert ran.returncode == 0, ran
    if example.kind == "json":
        agrees(json.loads(example.wanted), json.loads(ran.stdout), "answer")
    else:
        in_order(example.wanted.splitlines(), [line.rstrip() for line in ran.stdout.splitlines()])


def test_every_block_is_an_example():
    text = DOC.read_text(encoding="utf-8")
    assert text.count("```") == 4 * len(examples()), "a block without an answer, or the other way round"


def test_every_route_was_asked_for(done):
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    # Ports take any method, which the server counts as one route.
    there = {("ANY" if "/ports/" in path else method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"}
    assert there - done[1] == set(), "routes without an example in docs/api.md"
