# SPDX-License-Identifier: Apache-2.0
"""Finding commands, and what the program says about itself."""

import re

import pytest


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(declaw, words):
    done = declaw(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: declaw COMMAND") and re.search(r"^  policy +\w", done.stdout, re.M)
    done = declaw("policy", *words)
    assert done.returncode == 0 and re.search(r"^  check +\w", done.stdout, re.M)


def test_help_of_a_command_names_every_option(declaw):
    done = declaw("policy", "check", "--help")
    assert done.returncode == 0
    for word in ("--policy", "--allow", "--deny", "--default-egress", "--resolve", "--host", "--allow-private", "--targets", "--json",
                 "--verbose", "NAME@ADDR:PORT", "Exit code"):
        assert word in done.stdout


def test_version(declaw):
    assert re.fullmatch(r"declaw \d+\.\d+\.\d+\n", declaw("--version").stdout)


@pytest.mark.parametrize("words", [["nonsense"], ["policy", "nonsense"], ["policy\x1b[1m"]])
def test_unknown_commands(declaw, words):
    done = declaw(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no command" in done.stderr and "\x1b" not in done.stderr
