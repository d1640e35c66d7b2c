# SPDX-License-Identifier: Apache-2.0
"""The published npm package e2b, as it was installed, against a real server."""

import pytest
from npm_cases import E2B

CASES = E2B.cases()


@pytest.mark.parametrize("npm_case", CASES, ids=[case.name for case in CASES])
def test_call(npm_results, npm_case):
    row = npm_results(E2B).rows[npm_case.name]
    assert "error" not in row, row["error"]


def test_the_cases_are_those_of_the_program():
    assert {c.name: c.calls for c in E2B.listed()} == {c.name: c.calls for c in CASES}


def test_every_call_has_a_case_or_a_reason(npm_results):
    offered = set(npm_results(E2B).surface)
    tried = {call for case in CASES for call in case.calls}
    assert offered - tried - set(E2B.excused) == set(), "calls without a case"
    # CommandHandle and WatchHandle have no constructor that could be asked; the others are shown as not part of this surface.
    beyond = {call for call in tried - offered if not call.startswith(("CommandHandle#", "WatchHandle#"))}
    assert beyond == {"Template", "Volume", "Secret", "SnapshotPaginator#nextItems"}
    assert set(E2B.excused) <= offered - tried, "reasons for calls that have cases"


def test_every_call_was_made(npm_results):
    """A case that forgot to make its call counts for nothing: V8 counted what ran."""
    outcome = npm_results(E2B)
    named = {call for call in outcome.surface if call[0].islower() or "#" in call or "." in call}
    assert named - set(E2B.excused) - set(outcome.called) == set()
