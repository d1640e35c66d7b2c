"""Writes docs/egress-cases.md: every case of the catalogue, how it is tried, and what came of it.

    tools/egress_table.py --probe BUILD/egress-suite/egress-probe [--results BUILD/egress-results.json] [--check]

What egress-probe does it says itself (--list). Cases that one program inside one sandbox cannot try are listed here, with the tests
that try them or the reason why nobody can. --results: verdicts of a run (tests/egress/suite.py writes them); without, the committed
ones are kept. --check: is the committed table what would be written? The verdict column is not compared.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
from typing import Dict, List, Tuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "egress-cases.md"
SECTIONS = {"A": "Policy text and names", "B": "DNS", "C": "Addresses, sockets, kernel", "D": "TLS", "E": "HTTP",
            "F": "Allowed doors used badly", "G": "Control plane, logs, limits"}

E, G, U = "tests/egress/", "tests/gate/", "tests/unit/"
# number -> (section, what, tests that try it, or why nothing here does)
ELSEWHERE: Dict[int, Tuple[str, str, List[str], str]] = {
    1: ("A", "an empty list opens everything", [f"{E}test_a_policy.py::test_ec001_an_empty_allow_list_lets_nothing_out",
        f"{E}test_a_policy.py::test_ec001_without_a_list_the_servers_default_decides"], ""),
    2: ("A", "removing the last rule opens everything", [f"{E}test_a_policy.py::test_ec002_removing_the_last_entry_closes"], ""),
    3: ("A", "a list of one kind flips the default of the other", [f"{U}policy/test_decide.c"], ""),
    4: ("A", "a global allow beats denies", [f"{E}test_c_transport.py::test_ec104_metadata_is_closed_under_allow_all",
        f"{U}policy/test_decide.c"], ""),
    5: ("A", "an entry opens the floor", [f"{E}test_c_transport.py::test_ec104_metadata_is_closed_under_allow_all",
        f"{U}policy/test_special.c"], ""),
    17: ("A", "patterns that cover too much", [f"{U}policy/test_entry.c"], ""),
    25: ("A", "the checker says one thing, the wire another", [f"{G}test_policy_check.py::test_the_checker_says_what_happens"], ""),
    27: ("A", "entries with scheme or path", [f"{U}policy/test_entry.c"], ""),
    50: ("B", "the answer is sent although the pin failed", [f"{E}test_b_dns.py::test_ec050_a_pin_that_fails_means_servfail"], ""),
    53: ("B", "a TTL that ends cuts a live flow", [f"{E}test_b_dns.py::test_ec053_a_ttl_that_ends_cuts_no_flow",
        f"{G}test_clock.py::test_idle_flow_survives_hours"], ""),
    56: ("B", "learned addresses never expire", [f"{G}test_clock.py::test_address_that_the_name_gave_up_is_never_dialled",
        f"{G}test_names.py::test_update_takes_a_name_away"], ""),
    60: ("B", "pooled upstream connections skip the check", [], "the gate keeps no pool: a flow has a connection of its own"),
    66: ("B", "a query with a neighbour's address",
        [f"{E}test_c_transport.py::test_ec066_ec090_a_foreign_source_address_counts_for_nobody"], ""),
    67: ("B", "pins shared by sandboxes", [f"{E}test_b_dns.py::test_ec067_pins_are_not_shared",
        f"{G}test_names.py::test_the_lookup_of_another_sandbox_opens_nothing"], ""),
    69: ("B", "AAAA where IPv6 is off", [f"{U}gate/test_dns_query.c"], ""),
    71: ("B", "the resolver restarts", [f"{G}test_fail_closed.py::test_restarts_under_traffic"], ""),
    77: ("C", "IPv6 parity", [f"{E}test_c_transport.py::test_ec077_a_policy_of_one_family_does_not_open_the_other"],
        "and every case here runs on both"),
    108: ("C", "connection-tracking helpers open ports", [], "no rule of the gate looks at connection tracking, so none is loaded"),
    110: ("C", "an open flow survives revocation", [f"{E}test_a_policy.py::test_ec002_removing_the_last_entry_closes",
        f"{G}test_tcp.py::test_update_resets_what_it_denies_and_keeps_the_rest", f"{G}test_udp.py::test_update_keeps_and_ends"], ""),
    112: ("C", "an unrelated update breaks a kept flow", [f"{G}test_tcp.py::test_update_resets_what_it_denies_and_keeps_the_rest"], ""),
    113: ("C", "a gap while the policy is replaced", [f"{E}test_suite.py::test_case"], "the arms with updates: every case here"),
    115: ("C", "the answer comes before the effect", [f"{G}test_limits.py::test_update_is_in_force_at_once"], ""),
    116: ("C", "the workload runs before the rules",
        [f"{E}test_c_transport.py::test_ec116_nothing_leaves_before_the_policy_is_in_force"], ""),
    117: ("C", "the filter crashes", [f"{G}test_fail_closed.py::test_killed_gate_means_silence_and_a_new_one_serves",
        "tests/integration/test_gate_death.py::test_gate_death"], ""),
    119: ("C", "pause, resume, restore without rules", [], "sandboxes cannot be paused or restored yet"),
    120: ("C", "a deployment mode without the filter", [], "there is one mode"),
    121: ("C", "a fork has no policy, or its parent's", [], "sandboxes cannot be forked"),
    123: ("C", "an allow-all left by a crash", ["tests/api/test_life.py::test_a_killed_daemon_leaves_nothing_but_records"], ""),
    124: ("C", "synthetic addresses change owner", [], "there are none: answers hold real addresses"),
    125: ("C", "a synthetic mapping survives a change", [], "there are none; pins are judged by the policy of now: "
          "tests/gate/test_names.py::test_update_takes_a_name_away"),
    126: ("C", "the synthetic range collides", [], "there is none"),
    127: ("C", "two entries for one name, each with a port", [f"{E}test_c_transport.py::test_ec074_entries_with_a_port_open_that_port_alone"],
        ""),
    131: ("C", "user-space kernels bypass the rules", [], "no such runtime is offered"),
    135: ("D", "CONNECT to one name, TLS for another", [], "there is no explicit proxy; CONNECT is EC-170"),
    136: ("D", "SNI and the Host inside TLS differ", [], "inside TLS nothing is read; such a connection goes only to addresses of "
          "the named host"),
    137: ("D", "HTTP/2 coalescing", [], "as EC-136"),
    151: ("D", "ECH keys reach the client", [], "as EC-068: keys are stripped from HTTPS records"),
    156: ("D", "an interceptor accepts bad certificates", [], "nothing is intercepted"),
    157: ("D", "an interceptor's authority is misused", [], "nothing is intercepted"),
    158: ("D", "ALPN breaks", [], "nothing is intercepted; the control arms run through the same code"),
    171: ("E", "CONNECT with an odd port", [], "as EC-170: CONNECT is refused"),
    174: ("E", "a fetcher of the host follows a redirect", [], "nothing of the host fetches for a sandbox"),
    175: ("E", "paths in several spellings", [], "no entry has a path"),
    177: ("E", "HTTP/2 pseudo-headers", [], "HTTP/2 in clear is refused: EC-169"),
    178: ("E", "the proxy's own path skips rules", [], "as EC-162: absolute form is judged like any request"),
    180: ("E", "a relay inside the sandbox", [f"{E}test_c_transport.py::test_ec102_sandboxes_do_not_reach_each_other"],
        "it reaches what the sandbox may"),
    181: ("E", "injected credentials leak", [], "none are injected"),
    183: ("E", "an upstream pool shared by sandboxes", [], "there is no pool"),
    186: ("F", "a multi-tenant host that is allowed", [], "a residual risk: THREAT_MODEL.md"),
    187: ("F", "fetchers behind an allowed name", [], "a residual risk: THREAT_MODEL.md"),
    188: ("F", "volume through an allowed name", [f"{G}test_limits.py::test_bytes", f"{G}test_udp.py::test_byte_quota"], ""),
    189: ("G", "the policy API from inside", [], "as EC-103: nothing of the host answers"),
    190: ("G", "no policy arrives", [f"{G}test_tcp.py::test_unknown_source_has_no_policy",
        "tests/integration/test_failures.py::test_gate_that_does_not_answer"], ""),
    191: ("G", "a capability is missing", ["tests/api/test_life.py::test_a_start_that_fails_says_why_and_leaves_nothing"], ""),
    192: ("G", "an update that is half applied", ["tests/api/test_network.py::test_what_cannot_be_honoured_changes_nothing",
        "tests/api/test_network.py::test_no_concurrent_change_is_lost"], ""),
    195: ("G", "denials without a record", [f"{E}test_suite.py::test_case"], "every case here that expects a record"),
    197: ("G", "large policies", ["tests/api/test_network.py::test_ten_thousand_entries"], ""),
    198: ("G", "identities used again", [f"{G}test_udp.py::test_the_lookup_of_another_sandbox_opens_nothing"],
        "addresses come round after a million others; nothing is kept by them"),
    200: ("G", "features that remove each other's rules", [], "the ruleset is static: no feature adds or removes a rule"),
    201: ("G", "a path without a meter", [f"{G}test_limits.py::test_bytes", f"{G}test_udp.py::test_byte_quota"], ""),
    202: ("G", "what is wanted does not work", [f"{E}test_suite.py::test_case"], "the control arms"),
}
#: Without a gate there is no sandbox either: what is looked for is put there by a test of its own, or by test_defences.py.
INSIDE = {63, 98, 100}
UNSEEN = {63, 98, 100, 102, 103}
#: Numbers that the catalogue does not have: ways that were found while building this.
OURS = (81, 141, 179)

HEAD = """# Egress cases

Every way past a network policy that the catalogue knows, how it is tried here, and what came of it. The numbers are those of the
catalogue, with gaps where it has them; {ours} are our own. **pass**: nothing of the denied arm reached the far side, a
decision record says why, and the control arm succeeded; as root and as uid 1000, on
IPv4 and IPv6, on the link, and again while the policy was replaced all the time. *Seen to fail without*: with that
defence switched off in a test build (`src/core/defence.h`), or with no gate between, the far side did see it. *On the link*: run by the
host's root, with all capabilities, in the sandbox's network namespace. [egress-suite.md](egress-suite.md) says how to run the same cases against another product.

Written by `tools/egress_table.py`; do not edit.
""".replace("{ours}", ", ".join(f"EC-{n:03d}" for n in OURS))


def probe_cases(probe: pathlib.Path) -> Dict[int, dict]:
    done = subprocess.run([probe, "--list"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {int(row["case"][3:]): row for row in rows}


def check_tests_exist() -> List[str]:
    """A test that was renamed must not go on vouching for a case."""
    missing = []
    for number, (_, _, tests, _) in ELSEWHERE.items():
        for test in tests:
            path, _, name = test.partition("::")
            file = ROOT / path
            if not file.exists() or (name and not re.search(rf"^def {name}\b", file.read_text(), re.M)):
                missing.append(f"EC-{number:03d}: {test} does not exist")
    return missing


def verdict(number: int, arms: Dict[str, str]) -> str:
    if number in INSIDE:
        arms = {arm: value for arm, value in arms.items() if not arm.startswith("on the link")}
    if not arms:
        return "not run"
    failed = sorted(arm for arm, value in arms.items() if value != "pass")
    return "pass" if not failed else "FAIL: " + "; ".join(failed)


def defence(word: str) -> str:
    names, _, arm = word.partition("@")
    return " and ".join(f"`{n}`" for n in names.split("+")) + (", on the link" if arm else "")


def row(number: int, cases: Dict[int, dict], results: Dict[str, Dict[str, str]]) -> str:
    if number in cases:
        case = cases[number]
        families = "IPv4, IPv6" if 6 in case["families"] else "any"
        without = "; ".join([*map(defence, case["defences"].split()), *(["any gate"] if number not in UNSEEN else [])])
        if case["expect"] == "works":
            without = "–"
        return f"| EC-{number:03d} | {case['technique']} | {families} | {verdict(number, results.get(case['case'], {}))} | {without} |"
    _, what, tests, why = ELSEWHERE[number]
    named = ", ".join(f"`{t}`" for t in tests)
    text = f"covered by {named}" + (f"; {why}" if why else "") if tests else f"not tried: {why}"
    return f"| EC-{number:03d} | {what} | – | {text} | – |"


def table(cases: Dict[int, dict], results: Dict[str, Dict[str, str]]) -> str:
    lines = [HEAD]
    sections = {n: c["section"] for n, c in cases.items()} | {n: e[0] for n, e in ELSEWHERE.items()}
    for letter, title in SECTIONS.items():
        lines += [f"## {letter}. {title}", "| case | technique | family | verdict | seen to fail without |", "|---|---|---|---|---|"]
        lines += [row(n, cases, results) for n in sorted(sections) if sections[n] == letter]
        lines.append("")
    return "\n".join(lines)


def committed_results() -> Dict[str, Dict[str, str]]:
    """The verdict column of the committed table: {"EC-006": {"": "pass"}}."""
    found: Dict[str, Dict[str, str]] = {}
    if TABLE.exists():
        for number, value in re.findall(r"^\| (EC-\d+) \| [^|]* \| (?:any|IPv4, IPv6) \| ([^|]*) \|", TABLE.read_text(), re.M):
            if value != "not run":
                found[number] = {value.removeprefix("FAIL: "): "pass" if value == "pass" else "fail"}
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--probe", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    cases = probe_cases(arguments.probe)
    wrong = check_tests_exist() + [f"EC-{n:03d} is both tried and excused" for n in cases.keys() & ELSEWHERE.keys()]
    results = json.loads(arguments.results.read_text()) if arguments.results else committed_results()
    text = table(cases, results)
    if arguments.check:
        current = TABLE.read_text() if TABLE.exists() else ""
        if current != text:
            wrong.append(f"{TABLE.relative_to(ROOT)} is not what this probe does: run tools/egress_table.py --probe {arguments.probe}")
        if "not run" in text or "FAIL" in text:
            wrong.append("a case has no verdict, or failed, in the committed table")
    elif not wrong:
        TABLE.write_text(text)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
