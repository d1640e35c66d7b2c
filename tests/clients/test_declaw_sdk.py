# SPDX-License-Identifier: Apache-2.0
"""Every call that the published @declaw/sdk offers, as it was installed, against a real server."""

import pytest
from npm_cases import DECLAW

CASES = DECLAW.cases()


@pytest.mark.parametrize("npm_case", CASES, ids=[case.name for case in CASES])
def test_call(npm_results, npm_case):
    row = npm_results(DECLAW).rows[npm_case.name]
    assert "error" not in row, row["error"]


def test_the_cases_are_those_of_the_program():
    assert {c.name: c.calls for c in DECLAW.listed()} == {c.name: c.calls for c in CASES}


def test_every_call_has_a_case_or_a_reason(npm_results):
    offered = set(npm_results(DECLAW).surface)
    tried = {call for case in CASES for call in case.calls}
    assert offered - tried - set(DECLAW.excused) == set(), "calls without a case"
    # ConnectionConfig and the errors are classes that have nothing but a constructor.
    assert tried - offered == set(), "cases of what the package does not have"
    assert set(DECLAW.excused) <= offered - tried, "reasons for calls that have cases"


def test_every_call_was_made(npm_results):
    """A case that forgot to make its call counts for nothing: V8 counted what ran. Constructors of errors have no name there."""
    outcome = npm_results(DECLAW)
    named = {call for call in outcome.surface if call[0].islower() or "#" in call or "." in call}
    assert named - set(DECLAW.excused) - set(outcome.called) == set()
