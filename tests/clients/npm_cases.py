# SPDX-License-Identifier: Apache-2.0
"""Cases of npm clients, which npm/harness.ts runs: what there is, what came of it, and the rows of docs/clients.md."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence

from npm_packages import compiled, run, sources

_CASE = re.compile(r'^(?:test|alone)\((?:"([^"]+)"|\[((?:"[^"]+"(?:, )?)+)\]), "([^"]+)"', re.M)
_RUN_SECONDS = 600


@dataclass(frozen=True)
class Case:
    name: str
    calls: Sequence[str]
    title: str


@dataclass
class NpmClient:
    """A package and the files with its cases."""

    package: str
    main: str  #: a file of npm/, without its ending
    patterns: Sequence[str]
    #: What it offers that has no case, and why.
    excused: Dict[str, str] = field(default_factory=dict)
    #: Environment variables that it reads, made of those that our own clients read.
    variables: Dict[str, str] = field(default_factory=dict)

    def cases(self) -> List[Case]:
        """Read from the sources, so that there are names before anything is installed."""
        found = []
        for file in sources(*self.patterns):
            for one, several, title in _CASE.findall(re.sub(r",\n +", ", ", file.read_text(encoding="utf-8"))):
                calls = [one] if one else re.findall(r'"([^"]+)"', several)
                found.append(Case(f"{calls[0]}: {title}", tuple(calls), title))
        return found

    def version(self) -> str:
        pinned = json.loads(sources("package.json")[0].read_text(encoding="utf-8"))
        return pinned["devDependencies"][self.package]

    def _node(self, arguments: Sequence[str], env: Optional[Mapping[str, str]] = None) -> List[Any]:
        folder = compiled(*sources(*self.patterns, "harness.ts", "surface.ts"))
        done = run(folder / f"{self.main}.js", arguments, env=env, seconds=_RUN_SECONDS)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    def listed(self) -> List[Case]:
        """The cases that the program itself says it has."""
        return [Case(row["name"], tuple(row["calls"]), row["title"]) for row in self._node(["--list"])[0]]

    def run(self, names: Sequence[str], env: Mapping[str, str]) -> "Outcome":
        every = {case.name for case in self.cases()}
        variables = {name: value.format(**env) for name, value in self.variables.items()}
        *rows, said = self._node([] if set(names) == every else list(names), {**env, **variables})
        return Outcome({row["name"]: row for row in rows}, **said)


@dataclass
class Outcome:
    rows: Dict[str, Dict[str, Any]]
    surface: List[str]  #: what the package offers
    called: List[str]  #: what of it has run


DECLAW = NpmClient("@declaw/sdk", "declaw_main", ["declaw_*.ts"], {
    "BuildError": "the package never throws it",
    "FileUploadError": "the package never throws it",
    "GitAuthError": "the package never throws it",
    "GitUpstreamError": "the package never throws it",
    "TemplateError": "the package never throws it",
})

E2B = NpmClient("e2b", "e2b_main", ["e2b_*.ts"], {
    "Sandbox#getMcpUrl": "there is no MCP gateway on this server",
    "Sandbox#getMcpToken": "there is no MCP gateway on this server",
}, {"E2B_API_URL": "http://{DECLAW_DOMAIN}/e2b", "E2B_SANDBOX_URL": "http://{DECLAW_DOMAIN}/e2b", "E2B_API_KEY": "{DECLAW_API_KEY}"})

#: All that have rows in docs/clients.md.
CLIENTS = [DECLAW, E2B]
