# SPDX-License-Identifier: Apache-2.0
"""docs/clients.md is what this run found."""

import client_table
import declaw
from npm_cases import CLIENTS


def test_the_table_is_what_the_run_found(npm_results, python_results):
    ours = python_results().values()
    assert not [row["error"] for row in ours if row["error"] is not None], "without a result there is no table"
    rows = client_table.rows_of("declaw (Python, ours)", declaw.__version__, ours, {})
    for client in CLIENTS:
        cases = npm_results(client).rows
        assert not [row["error"] for row in cases.values() if "error" in row], "without a result there is no table"
        ordered = [cases[case.name] for case in client.cases()]
        rows += client_table.rows_of(client.package, client.version(), ordered, client.excused)
    found = client_table.text(rows)
    before = client_table.FILE.read_text(encoding="utf-8") if client_table.FILE.exists() else ""
    if found != before:
        client_table.write(found)
    assert found == before, f"{client_table.FILE} was another: it is written anew, and wants to be committed"
