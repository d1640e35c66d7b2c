# SPDX-License-Identifier: Apache-2.0
"""The acceptance list with our Python package; test_declaw_sdk.py has it with the published one for JavaScript."""

import pytest
from acceptance import CASES


@pytest.mark.parametrize("accepted", CASES, ids=[case.name for case in CASES])
def test_accepted(python_results, accepted):
    error = python_results()[accepted.name]["error"]
    if error is not None:
        raise error
