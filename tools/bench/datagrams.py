"""DNS answers and UDP datagrams through the gate, beside dnsmasq and beside a namespace that only forwards.

One and the same client (load.c) runs on both sides, in turn. The sandbox's side is a real gate between namespaces.
"""
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple

from .attach import load_harness
from .numbers import Plan, Row, say

NAMES, SUFFIX = 100, "bench.test"
BLOCKS, AT_ONCE, SIZE = 6, 32, 1200
UPSTREAM, DNSMASQ, GATEWAY = "9.9.9.9", "9.9.9.10", "100.112.0.1"
ECHO_PORT = 7
ONE, MANY = "one at a time", f"{AT_ONCE} at a time"
SOURCE = pathlib.Path(__file__).with_name("load.c")


def network() -> Any:
    """The policy of the measurements: a name for each query, and the echo server."""
    return {"allow_out": [f"n{i}.{SUFFIX}" for i in range(NAMES)] + ["93.184.215.14"]}


class Load:
    """The client and the server of load.c, run in namespaces."""

    def __init__(self, folder: str) -> None:
        self.program = f"{folder}/load"
        subprocess.run(["cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", str(SOURCE), "-o", self.program],
                       check=True, timeout=60)

    def argv(self, ns: str, *words: object) -> List[str]:
        return ["ip", "netns", "exec", ns, self.program, *map(str, words)]

    def run(self, ns: str, *words: object) -> Tuple[float, List[float]]:
        """Seconds in all, and milliseconds of each request; none may have failed."""
        done = subprocess.run(self.argv(ns, *words), check=True, capture_output=True, text=True, timeout=120)
        head, *rest = done.stdout.splitlines()
        seconds, again, wrong = head.split()
        if int(wrong):
            raise RuntimeError(f"{wrong} of {len(rest)} answers were no good")
        if int(again):
            say(f"{again} pauses of {' '.join(map(str, words[:1]))} after which requests were sent again")
        return float(seconds), [float(x) / 1e3 for x in rest]


@contextmanager
def process(argv: List[str]) -> Iterator[None]:
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        if p.poll() is not None:
            raise RuntimeError(f"{argv} ended")
        yield
    finally:
        p.terminate()
        p.wait(5)


def compare(load: Load, n: int, at_once: int, ours: Tuple[str, List[object]], theirs: Tuple[str, List[object]]) -> Any:
    """(seconds, samples) of each side, in turns."""
    sides: List[Tuple[float, List[float]]] = [(0.0, []), (0.0, [])]
    for _ in range(BLOCKS):
        for i, (ns, words) in enumerate((ours, theirs)):
            seconds, samples = load.run(ns, *words[:3], n // BLOCKS, at_once, *words[3:])
            sides[i] = (sides[i][0] + seconds, sides[i][1] + samples)
    return sides


def rates(what: str, unit: str, sides: Any, names: Tuple[str, str]) -> List[Row]:
    per_second = [len(samples) / seconds for seconds, samples in sides]
    rows = [Row(f"{what}, {name}", MANY, value=value, unit=unit) for name, value in zip(names, per_second)]
    return rows + [Row("  ratio of the rates", MANY, value=per_second[1] / per_second[0], unit="times")]


def dns(world: Any, load: Load, sandbox: str, plan: Plan) -> List[Row]:
    if not shutil.which("dnsmasq"):
        say("no dnsmasq here (Debian: dnsmasq-base), so nothing to compare DNS with")
        return []
    from dnsd import Dns

    world_dns = Dns(world.net_ns, UPSTREAM)
    world_dns.ttl = 3600
    world_dns.names.update({f"n{i}.{SUFFIX}": ["93.184.215.14"] for i in range(NAMES)})
    subprocess.run(["ip", "-n", world.net_ns, "addr", "add", f"{DNSMASQ}/32", "dev", "lo"], check=True)
    argv = ["ip", "netns", "exec", world.net_ns, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            f"--server={UPSTREAM}", f"--listen-address={DNSMASQ}", "--bind-interfaces", "--cache-size=1000", "--pid-file=", "--user=root"]
    ours = (sandbox, ["dns", GATEWAY, 53, NAMES, SUFFIX])
    theirs = (world.uplink_ns, ["dns", DNSMASQ, 53, NAMES, SUFFIX])
    names = ("the gate", "dnsmasq")
    try:
        with process(argv):
            compare(load, NAMES * BLOCKS, 1, ours, theirs)  # fills both caches
            say(f"DNS answers from the cache, {plan.queries} of the gate and of dnsmasq")
            one = compare(load, plan.queries, 1, ours, theirs)
            many = compare(load, plan.queries * 4, AT_ONCE, ours, theirs)
    finally:
        world_dns.close()
    rows = [Row(f"DNS answer from the cache, {name}", ONE, samples) for name, (_, samples) in zip(names, one)]
    ratio = statistics.median(one[0][1]) / statistics.median(one[1][1])
    rows.append(Row("  ratio of the medians", ONE, value=ratio, unit="times"))
    return rows + rates("DNS queries", "a second", many, names)


def forwarder(harness: Any, world: Any) -> str:
    """A client namespace whose packets another one forwards to the internet."""
    plain, between = f"{world.tag}plain", f"{world.tag}fwd"
    for ns in (plain, between):
        world._add_ns(ns)
    harness.run("ip", "-n", between, "-batch", "-", stdin=f"""
link set lo up
link add name near type veth peer name eth0 netns {plain}
link add name far type veth peer name plain netns {world.net_ns}
addr add 198.18.0.1/30 dev near
addr add 198.18.1.1/30 dev far
link set near up
link set far up
""")
    harness.run("ip", "-n", plain, "-batch", "-", stdin="addr add 198.18.0.2/30 dev eth0\nlink set eth0 up\n"
                                                         "route add default via 198.18.0.1\n")
    harness.run("ip", "-n", world.net_ns, "-batch", "-", stdin="addr add 198.18.1.2/30 dev plain\nlink set plain up\n"
                                                                "route add 198.18.0.0/30 via 198.18.1.1\n")
    harness.run("ip", "-n", between, "route", "add", "default", "via", "198.18.1.2")
    harness.inside(between, lambda: pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii"))
    return plain


def udp(harness: Any, world: Any, load: Load, sandbox: str, plan: Plan) -> List[Row]:
    plain = forwarder(harness, world)
    words: List[object] = ["echo", harness.SERVER, ECHO_PORT, SIZE]
    ours, theirs = (sandbox, words), (plain, words)
    names = ("through the gate", "forwarded")
    with process(load.argv(world.net_ns, "serve", harness.SERVER, ECHO_PORT)):
        compare(load, 100 * BLOCKS, 1, ours, theirs)
        say(f"UDP round trips, {plan.datagrams} through the gate and forwarded by the kernel")
        one = compare(load, plan.datagrams, 1, ours, theirs)
        many = compare(load, plan.datagrams * 4, AT_ONCE, ours, theirs)
    rows = [Row(f"UDP round trip, {SIZE:,} bytes, {name}", ONE, samples) for name, (_, samples) in zip(names, one)]
    extra = statistics.median(one[0][1]) - statistics.median(one[1][1])
    rows.append(Row("  difference of the medians", ONE, value=extra))
    rows += rates("UDP round trips", "a second", many, names)
    mbit = len(many[0][1]) / many[0][0] * SIZE * 8 / 1e6
    return rows + [Row("  UDP through the gate, each way", MANY, value=mbit, unit="Mbit/s")]


def run(build: pathlib.Path, image: bytes, plan: Plan) -> List[Row]:
    harness = load_harness(build)
    with harness.World() as world, tempfile.TemporaryDirectory() as folder:
        load = Load(folder)
        gate = world.start_gate("--resolver", UPSTREAM)
        sandbox = world.sandbox(1)
        reply = gate.request("attach", image, sandbox="s1", addr4=harness.slot_addr4(1), addr6=harness.slot_addr6(1), generation=1,
                             limits={"dns_per_second": 1_000_000, "flows_per_second": 1_000_000})
        if not reply["ok"]:
            raise RuntimeError(f"the gate says {reply}")
        return dns(world, load, sandbox, plan) + udp(harness, world, load, sandbox, plan)
