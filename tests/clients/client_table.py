# SPDX-License-Identifier: Apache-2.0
"""docs/clients.md, from what a complete run found."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List

FILE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
_HEAD = """# Clients of the API

What the published clients do against this server, written by the run of `tests/clients`: every call that a package offers, as it was
installed, against a real server. *works*: the call did what the package says it does, and that was checked by its effect. The pinned
versions are in `tests/clients/npm/package.json`.

| client | version | call | tried | result |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    client: str
    version: str
    call: str
    tried: str
    result: str

    def __str__(self) -> str:
        return f"| {self.client} | {self.version} | `{self.call}` | {self.tried} | {self.result} |\n"


def rows_of(client: str, version: str, cases: Iterable[dict], excused: Dict[str, str]) -> List[Row]:
    """One row a call. cases: name, calls, title and result of each."""
    tried: Dict[str, List[dict]] = {}
    for case in cases:
        for call in case["calls"]:
            tried.setdefault(call, []).append(case)
    rows = [Row(client, version, call, "; ".join(c["title"] for c in found), "; ".join(dict.fromkeys(c["result"] for c in found)))
            for call, found in tried.items()]
    rows += [Row(client, version, call, "–", f"not tried: {why}") for call, why in excused.items()]
    return sorted(rows, key=lambda row: row.call)


def text(rows: List[Row]) -> str:
    return _HEAD + "".join(map(str, rows))


def write(content: str) -> None:
    new = Path(f"{FILE}.{os.getpid()}")
    new.write_text(content, encoding="utf-8")
    new.replace(FILE)
