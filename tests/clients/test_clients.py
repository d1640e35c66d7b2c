# SPDX-License-Identifier: Apache-2.0
"""Every client does its work where its policy lets it, and fails, soon and with a record of why, everywhere else."""

import dataclasses
import re

import pytest
from cases import CA, CASES, KIT, PLACES
from places import FARM, RIVAL
from runner import Box

EVERY = pytest.mark.parametrize("case", CASES, ids=[c.key for c in CASES])
NAMED = [c for c in CASES if c.neighbour is not None]


def _arm(trial, arm):
    if trial.errors[arm] is not None:
        raise trial.errors[arm]


@EVERY
def test_allowed(trials, case):
    """The policy names its host and port and nothing else; the work is checked on both sides."""
    _arm(trials(case), "allowed")


@EVERY
def test_refused_name(trials, case):
    _arm(trials(case), "name")


@EVERY
def test_refused_address(trials, case):
    _arm(trials(case), "address")


@EVERY
def test_rejected_address(trials, case):
    """The same with "blocked": "reject"."""
    _arm(trials(case), "rejected")


@pytest.mark.parametrize("case", NAMED, ids=[c.key for c in NAMED])
def test_refused_neighbour(trials, case):
    """Another name of the very address that its host has."""
    _arm(trials(case), "neighbour")


@EVERY
def test_control(trials, case):
    """The same commands, sandbox and servers as refused, after the policy was changed."""
    _arm(trials(case), "control")


# -- what some clients do by default


def _only_by_setting(ground, key, network, setup, reason):
    """The client of this case, with nothing but this policy and without its usual setup, is refused for this reason."""
    case = dataclasses.replace(next(c for c in CASES if c.key == key), setup=setup)
    box = Box(ground, [case], network)
    try:
        assert box.run(case, FARM).code != 0
        assert [d for d in box.refusals(lambda d: d["reason"] == reason)]
    finally:
        box.kill()


def test_chromium_that_greases_ech_is_refused(ground):
    _only_by_setting(ground, "chromium-h2", {"allow_out": ["chromium-h2.farm.test"]}, "", "ech")


def test_chromium_with_grease_where_the_policy_allows_it(ground):
    """allow_ech: the outer name is judged, which is the only one where ECH is grease."""
    case = dataclasses.replace(next(c for c in CASES if c.key == "chromium-h2"), setup="")
    box = Box(ground, [case], {"allow_out": ["chromium-h2.farm.test"], "allow_ech": True})
    try:
        done = box.run(case, FARM)
        assert done.code == 0, done
        case.check(done.out, ground.farm, PLACES["chromium-h2"])
    finally:
        box.kill()


def test_grpc_without_tls_needs_an_address_entry(ground):
    """Plain HTTP/2 with prior knowledge says its names where the gate does not look."""
    place = PLACES["grpc"]
    case = dataclasses.replace(next(c for c in CASES if c.key == "grpc"), seconds=20,
                               run=lambda host: f"python3 {KIT}/grpc_stream.py ipv4:{place.own4}:50052 plain 3 10")
    box = Box(ground, [case], {"allow_out": [place.name(FARM)]})
    try:
        assert place.own4 in box.sbx.commands.run(f"getent ahosts {place.name(FARM)}", timeout=10).stdout
        mark = ground.lab.capture.mark()
        assert box.run(case, FARM).code != 0
        refused = box.refusals(lambda d: d.get("addr") == place.own4)
        assert {d["reason"] for d in refused} == {"http_upgrade"}, refused
        assert [p for p in ground.lab.capture.packets(dst=place.own4, port=50052, outgoing=True, since=mark) if p.length] == []
        box.sbx.set_network({"allow_out": [place.own4]})
        assert box.run(case, FARM).out.count("sheaf") == 3
    finally:
        box.kill()


def test_h3_falls_back_to_tcp_at_once(ground):
    """Where the policy has the port but not QUIC's name, a client that does as browsers do asks over TCP, and is refused there too."""
    case = next(c for c in CASES if c.key == "h3get")
    place = PLACES["h3get"]
    before = len(ground.farm.access(place.name(RIVAL)))
    box = Box(ground, [case], {"allow_out": case.allow()})
    try:
        box.hosts(f"{place.own4} {place.name(RIVAL)}\n")
        assert place.own4 in box.sbx.commands.run(f"getent ahosts {place.name(FARM)}", timeout=10).stdout
        done = box.sbx.commands.run(f"{KIT}/h3get -ca {CA} -seconds 10 -fallback https://{place.name(RIVAL)}/big.bin", timeout=30)
        assert done.exit_code != 0
        assert float(re.search(r"h3 failed after ([0-9.]+) s", done.stderr)[1]) < 5, done.stderr
        for protocol in ("udp", "tcp"):
            refused = box.refusals(lambda d: d["protocol"] == protocol and d.get("name") == place.name(RIVAL))
            assert {d["reason"] for d in refused} == {"sni_not_allowed"}, (protocol, done.stderr)
        assert len(ground.farm.access(place.name(RIVAL))) == before
    finally:
        box.kill()
