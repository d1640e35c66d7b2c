# SPDX-License-Identifier: Apache-2.0
"""Every command and option that the program has stands in its man page, its completions and its documentation."""

import re
import shutil
import subprocess

import pytest
from conftest import REPOSITORY


@pytest.fixture(scope="module")
def commands(declaw):
    """{"sandbox create": its --help}, found as a user finds them."""
    def listed(*words):
        text = declaw(*words, "--help").stdout
        return [m for m in re.findall(r"^  (\S+) +\S", text, re.M) if m not in ("declaw",)]

    found = {f"{group} {verb}": declaw(group, verb, "--help").stdout for group in listed() for verb in listed(group)}
    assert len(found) > 20 and all(text.startswith("Usage: declaw ") for text in found.values()), sorted(found)
    return found


def options(text):
    return re.findall(r"^  (--?[a-z][a-z-]*)", text, re.M)


def test_the_man_page(commands):
    page = (REPOSITORY / "docs/declaw.1").read_text().replace("\\-", "-")
    for name, text in commands.items():
        assert f".SS declaw {name}" in page, name
        for option in options(text):
            assert re.search(rf"^\.B {option}\b", page, re.M), (name, option)


def test_the_man_page_is_well_formed():
    if not shutil.which("groff"):
        pytest.skip("no groff")
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(REPOSITORY / "docs/declaw.1")], capture_output=True, check=True)
    assert done.stderr == b"" and b"declaw sandbox kill" in done.stdout


def test_the_documentation(commands):
    text = (REPOSITORY / "docs/cli.md").read_text()
    for name in commands:
        assert re.search(rf"(`|declaw ){name}\b", text), name


def complete(*words):
    script = f'source "{REPOSITORY}/src/cli/completion/declaw.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _declaw; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script, "bash", "declaw", *words], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completion(commands):
    groups = {name.split()[0] for name in commands}
    assert groups <= set(complete(""))
    for group in groups:
        assert {n.split()[1] for n in commands if n.startswith(group + " ")} <= set(complete(group, ""))
    for name, text in commands.items():
        assert set(complete(*name.split(), "-")) == set(options(text)), name


def test_zsh_completion(commands):
    script = (REPOSITORY / "src/cli/completion/_declaw").read_text()
    for name, text in commands.items():
        part = re.search(rf'^\t"{name}"\)\n(.*?)\n\t\t;;', script, re.M | re.S)
        assert part, name
        assert set(re.findall(r"'\*?(-[a-z-]+)\[", part[1])) == set(options(text)), name
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", str(REPOSITORY / "src/cli/completion/_declaw")], check=True)
