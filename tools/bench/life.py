"""The life of a sandbox as a program sees it through the SDK: create, first command, commands, kill."""
from typing import Any, List

import time

from declaw import Sandbox

from .numbers import Plan, Row, modes, pause, say, timed

TARGET_FIRST_COMMAND_MS = 8.0
TARGET_COMMAND_MS = 4.0


def create(server: Any, **kwargs: Any) -> Sandbox:
    return Sandbox.create(timeout=300, domain=server.domain, api_key=server.key, **{"template": "python", **kwargs})


def succeed(sbx: Sandbox) -> None:
    if sbx.commands.run("true").exit_code != 0:
        raise RuntimeError("true failed")


def lives(server: Any, mode: str, gap: bool, n: int) -> List[Row]:
    created, first, killed = [], [], []
    for _ in range(n):
        pause(gap)
        begun = time.perf_counter()
        sbx = create(server)
        at_create = time.perf_counter()
        succeed(sbx)
        at_first = time.perf_counter()
        pause(gap)
        killed.append(timed(lambda: sbx.kill(wait=True)))
        created.append(1e3 * (at_create - begun))
        first.append(1e3 * (at_first - begun))
    return [
        Row("create to first successful command", mode, first, target=TARGET_FIRST_COMMAND_MS),
        Row("  of it create", mode, created),
        Row("kill, until no process is left", mode, killed),
    ]


def commands(server: Any, mode: str, gap: bool, n: int) -> List[Row]:
    sbx = create(server)
    succeed(sbx)
    took = []
    for _ in range(n):
        pause(gap)
        took.append(timed(lambda: succeed(sbx)))
    sbx.kill(wait=True)
    return [Row('commands.run("true")', mode, took, target=TARGET_COMMAND_MS)]


def run(server: Any, plan: Plan) -> List[Row]:
    rows: List[Row] = []
    for _ in range(3):  # the client's connection, the files in the page cache
        sbx = create(server)
        succeed(sbx)
        sbx.kill(wait=True)
    for mode, gap, n in modes(plan.lives, plan.lives_gapped):
        say(f"create, first command, kill, {mode}, {n} times")
        rows += lives(server, mode, gap, n)
    for mode, gap, n in modes(plan.commands, plan.commands_gapped):
        say(f"commands, {mode}, {n} times")
        rows += commands(server, mode, gap, n)
    return rows
