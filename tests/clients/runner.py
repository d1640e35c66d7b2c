# SPDX-License-Identifier: Apache-2.0
"""Runs one client in one sandbox: allowed, refused in every way it can be, and allowed again where it was refused.

The last is the control of the refusals: the same command, sandbox and server, and nothing but the policy is another.
"""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from cases import CA, CASES, KIT, PLACES, ROOTS, Case
from declaw import CommandResult, Sandbox
from farm import Farm
from lab import Daemon, Lab
from places import FAR, FARM, RIVAL

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / os.environ.get("DECLAW_BUILD", "build-test")

#: How long a refused client may take: at once, with room for a busy machine; or its own time-out.
AT_ONCE_SECONDS = 10.0
TIMED_OUT_SECONDS = 15.0
#: For clients that have no time-out of their own, or none that can be set.
_GIVE_UP_SECONDS = 5
_HANDSHAKE = b"\x16"  # the first byte of a TLS hello's record


def build_h3get() -> Path:
    """The HTTP/3 client, built once from Debian's packages."""
    out = BUILD / "clients" / "h3get"
    source = HERE / "h3get" / "main.go"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        out.parent.mkdir(exist_ok=True)
        new = out.with_name(f"h3get.{os.getpid()}")
        env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "CGO_ENABLED": "0", "GOFLAGS": "",
               "GOCACHE": str(out.with_name("gocache"))}
        subprocess.run(["go", "build", "-ldflags=-s -w", "-o", new, "."], cwd=source.parent, env=env, check=True, timeout=300)
        new.replace(out)
    return out


class Ground:
    """The lab, the farm in it, and a daemon whose uplink they are. Use as a context manager."""

    def __init__(self) -> None:
        self.h3get = build_h3get()
        self.lab = Lab().up()
        try:
            self.farm = Farm(self.lab, list(PLACES.values()), ROOTS).up()
            self.daemon: Daemon = self.lab.declawd(BUILD)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if hasattr(self, "farm"):
            self.farm.down()
        self.lab.down()

    def __enter__(self) -> "Ground":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def kit(self, name: str) -> bytes:
        """The bytes of a file of the kit."""
        if name == "h3get":
            return self.h3get.read_bytes()
        if name == "known_hosts":
            key = (self.farm.folder / "ssh_host_key.pub").read_text().split()[:2]
            return f"*.farm.test,*.rival.test,*.far.test {' '.join(key)}\n".encode()
        own = self.farm.folder / name
        return own.read_bytes() if own.exists() else (HERE / "inside" / name).read_bytes()


@dataclass
class Ran:
    """One run of a client."""

    code: int
    out: str
    err: str
    seconds: float


class Box:
    """A sandbox with the kits of some cases."""

    def __init__(self, ground: Ground, cases: List[Case], network: Dict[str, Any], timeout: int = 600) -> None:
        self.ground = ground
        daemon = ground.daemon
        self.sbx = Sandbox.create(timeout=timeout, domain=daemon.domain, api_key=daemon.key, network=network)
        for user in ("user", "root"):  # a private key is its reader's alone
            names = {name for case in cases if case.user == user for name in (*case.kit, "ca.pem")}
            for name in names:
                self.sbx.files.write(f"{KIT}/{name}", ground.kit(name), user=user)
        self.sbx.commands.run(f"chmod 755 {KIT}; chmod 700 {KIT}/h3get; chmod 600 {KIT}/ssh_key; true", timeout=10)
        for setup in {case.setup for case in cases if case.setup}:
            done = self.sbx.commands.run(setup, user="root", timeout=10)
            assert done.exit_code == 0, done

    def run(self, case: Case, domain: str, give_up: Optional[float] = None) -> Ran:
        """The client against this domain. give_up: seconds after which `timeout` ends it."""
        command = case.command(domain)
        if give_up is not None:
            quoted = command.replace("'", "'\\''")
            command = f"timeout -k 1 {give_up} bash -c '{quoted}'"
        start = time.monotonic()
        done: CommandResult = self.sbx.commands.run(command, user=case.user, timeout=case.seconds, envs=case.envs)
        return Ran(done.exit_code, done.stdout, done.stderr, time.monotonic() - start)

    def hosts(self, lines: str = "") -> None:
        """What /etc/hosts says besides localhost: past any resolver, as a program with an address of its own would go."""
        self.sbx.files.write("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{lines}", user="root")

    def refusals(self, wanted: Callable[[dict], bool], seconds: float = 3) -> List[dict]:
        """Decision records that say deny; waits a moment for them to be written."""
        deadline = time.monotonic() + seconds
        while True:
            rows = [d for d in self.sbx.network_log(limit=1000, verdict="deny") if wanted(d)]
            if rows or time.monotonic() > deadline:
                return rows
            time.sleep(0.05)

    def kill(self) -> None:
        self.sbx.kill(wait=True)


class Trial:
    """All arms of one case, one after the other, in one sandbox. Every arm's result stands alone."""

    ARMS = ("allowed", "name", "address", "rejected", "neighbour", "control")

    def __init__(self, ground: Ground, case: Case) -> None:
        self.ground, self.case, self.place = ground, case, PLACES[case.key]
        self.network = {"allow_out": case.allow()}
        self.errors: Dict[str, Optional[BaseException]] = {}
        self.reasons: Dict[str, str] = {}
        self.seconds: Dict[str, float] = {}
        self.version = ""

    def go(self) -> "Trial":
        try:
            self.box = Box(self.ground, [self.case], self.network)
        except BaseException as e:  # every arm tells it
            self.errors = {arm: e for arm in self.ARMS}
            return self
        try:
            said = self.box.sbx.commands.run(self.case.version, timeout=20).stdout
            self.version = (re.findall(r"\d+(?:\.\d+)+\w*", said) or ["?"])[0]
            for arm in self.ARMS:
                try:
                    self.errors[arm] = None
                    getattr(self, f"_{arm}")()
                except BaseException as e:
                    self.errors[arm] = e
        finally:
            self.box.kill()
        return self

    # -- arms

    def _allowed(self) -> None:
        ran = self.box.run(self.case, FARM)
        assert ran.code == 0, f"exit {ran.code} after {ran.seconds:.1f} s\n{ran.out[-2000:]}\n{ran.err[-4000:]}\n{self._log()}"
        self.case.check(ran.out, self.ground.farm, self.place)
        self.seconds["allowed"] = ran.seconds

    def _name(self) -> None:
        """A name that the policy does not have."""
        mark = self.ground.lab.capture.mark()
        ran = self.box.run(self.case, FAR)
        self._refused("name", ran, AT_ONCE_SECONDS)
        self._untouched(mark, FAR)
        hosts = self.case.hosts(FAR)
        rows = self.box.refusals(lambda d: d.get("name") in hosts)
        self._explained("name", rows, {"name_not_allowed"}, hosts)

    def _address(self) -> None:
        """The address of such a name, without asking for it."""
        self.box.hosts("".join(f"{self.place.far4} {host}\n" for host in self.case.hosts(FAR)))
        mark = self.ground.lab.capture.mark()
        ran = self.box.run(self.case, FAR, give_up=_GIVE_UP_SECONDS)
        self._refused("address", ran, TIMED_OUT_SECONDS)
        self._untouched(mark, FAR)
        rows = self.box.refusals(lambda d: d.get("addr") == self.place.far4)
        self._explained("address", rows, {"not_in_allow_out"}, [self.place.far4])

    def _rejected(self) -> None:
        """The same under "blocked": "reject": no client needs its time-out."""
        self.box.sbx.set_network({**self.network, "blocked": "reject"})
        mark = self.ground.lab.capture.mark()
        ran = self.box.run(self.case, FAR)
        self._refused("rejected", ran, AT_ONCE_SECONDS)
        self._untouched(mark, FAR)
        self.box.sbx.set_network(self.network)

    def _neighbour(self) -> None:
        """A name that the policy does not have, on the very address that it opens."""
        if self.case.neighbour is None:
            return
        self.box.hosts("".join(f"{self.place.own4} {host}\n" for host in self.case.hosts(RIVAL)))
        found = self.box.sbx.commands.run(f"getent ahosts {self.place.name(FARM)}", timeout=10)
        assert self.place.own4 in found.stdout, found
        time.sleep(0.2)  # the ends of the allowed arm's connections
        mark = self.ground.lab.capture.mark()
        ran = self.box.run(self.case, RIVAL)
        self._refused("neighbour", ran, AT_ONCE_SECONDS)
        self._untouched(mark, RIVAL)
        hosts = self.case.hosts(RIVAL)
        rows = self.box.refusals(lambda d: d.get("name") in hosts and d["reason"] == self.case.neighbour)
        self._explained("neighbour", rows, {self.case.neighbour}, hosts)

    def _control(self) -> None:
        """What was refused works as soon as the policy has it."""
        self.box.hosts()
        for domain in (FAR, RIVAL):
            self.box.sbx.set_network({"allow_out": self.case.allow(domain)})
            ran = self.box.run(self.case, domain)
            assert ran.code == 0, f"{domain}: exit {ran.code}\n{ran.out[-2000:]}\n{ran.err[-4000:]}\n{self._log()}"

    # -- what they have in common

    def _log(self) -> str:
        keep = ("time", "protocol", "addr", "port", "name", "verdict", "reason", "count", "closed", "bytes_out", "bytes_in")
        return "\n".join(json.dumps({k: d[k] for k in keep if k in d}) for d in self.box.sbx.network_log(limit=30))

    def _refused(self, arm: str, ran: Ran, most: float) -> None:
        assert ran.code != 0, f"it worked: {ran.out[-2000:]}\n{self._log()}"
        assert ran.seconds < most, f"{ran.seconds:.1f} s\n{ran.err[-4000:]}\n{self._log()}"
        self.seconds[arm] = ran.seconds

    def _untouched(self, mark: int, domain: str) -> None:
        """The far side saw nothing of it: no query; no packet, or where the address is open for another name, no byte (or no
        byte of TLS, where that begins later)."""
        time.sleep(0.15)  # what was under way gets the chance to arrive
        for host in self.case.hosts(domain):
            assert self.ground.lab.dns.queries(host) == []
            assert self.ground.farm.access(host) == []
        there = self.place.far if domain == FAR else self.place.own
        packets = self.ground.lab.capture.packets(dst=there, outgoing=True, since=mark)
        assert [p for p in packets if domain == FAR or (p.payload[:1] == _HANDSHAKE if self.case.preface else p.length)] == []

    def _explained(self, arm: str, rows: List[dict], reasons: set, about: List[str]) -> None:
        assert rows, f"no decision record about {about}\n{self._log()}"
        assert {d["reason"] for d in rows} == reasons, rows
        assert all(any(a in d["message"] for a in about) for d in rows), rows
        self.reasons[arm] = rows[0]["reason"]
