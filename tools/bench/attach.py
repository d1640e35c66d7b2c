"""Putting a policy of 1 entry and one of 10,000 in force: at the gate's own socket, and as a whole create request."""
import fcntl
import importlib
import json
import os
import pathlib
import socket
import statistics
import sys
import time
from typing import Any, Dict, List

from .life import create
from .numbers import Plan, Row, modes, pause, say, timed

TARGET_RATIO = 2.0
SIZES = (1, 10_000)
GATE_TESTS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "gate"


def entries(n: int) -> List[str]:
    """A mixture of what people write: names, wildcards, prefixes."""
    kinds = ("host{0}.example.com", "*.zone{0}.example.net", "10.{1}.{2}.0/24")
    return [kinds[i % 3].format(i, i // 256 % 256, i % 256) for i in range(n)]


class Policies:
    """Sandboxes with policies of each size."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.lists = {n: entries(n) for n in SIZES}

    def make(self, n: int) -> Any:
        return create(self.server, template="base", network={"allow_out": self.lists[n]})


def whole_creates(policies: Policies, plan: Plan) -> List[Row]:
    rows: List[Row] = []
    for mode, gap, n in modes(plan.policies, plan.policies_gapped):
        say(f"creates with 1 and with 10,000 entries, {mode}, {n} times each")
        took: Dict[int, List[float]] = {size: [] for size in SIZES}
        for _ in range(n):
            for size in SIZES:
                pause(gap)
                made: List[Any] = []
                took[size].append(timed(lambda: made.append(policies.make(size))))
                made[0].kill(wait=True)
        rows += [Row(f"create request with {size:,} entr{'y' if size == 1 else 'ies'}", mode, took[size]) for size in SIZES]
    return rows


def image_of(server: Any, network: Any) -> bytes:
    """The compiled policy, as this very build's server makes it: out of the memory that it hands to the gate."""
    sbx = create(server, template="base", network=network)
    folder = pathlib.Path(f"/proc/{server.pid}/fd")
    mine = [fd for fd in folder.iterdir() if "memfd:declaw-policy" in os.readlink(fd)]
    if len(mine) != 1:
        raise RuntimeError(f"{len(mine)} policies in the server's memory, not 1")
    image = mine[0].read_bytes()
    sbx.kill(wait=True)
    return image


def images(policies: Policies) -> Dict[int, bytes]:
    return {size: image_of(policies.server, {"allow_out": policies.lists[size]}) for size in SIZES}


def sealed(image: bytes) -> int:
    fd = os.memfd_create("policy", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as f:
        f.write(image)
    fcntl.fcntl(fd, 1033, 0xF)  # F_ADD_SEALS: seal, shrink, grow, write
    return fd


class Attacher:
    """Attach requests at the gate's control socket, each with its own sandbox and a fresh image."""

    def __init__(self, harness: Any, gate: Any) -> None:
        self.harness, self.gate = harness, gate
        self.slot = 0

    def once(self, image: bytes) -> float:
        """From the request to the answer, which the gate gives when the policy is in force."""
        self.slot += 1
        name = f"s{self.slot}"
        fd = sealed(image)
        seq = 1_000_000 + self.slot
        message = json.dumps({"seq": seq, "op": "attach", "sandbox": name, "addr4": self.harness.slot_addr4(self.slot),
                              "addr6": self.harness.slot_addr6(self.slot), "generation": 1}).encode()
        begun = time.perf_counter()
        socket.send_fds(self.gate, [message], [fd])
        reply = json.loads(self.gate.recv(65536))
        took = 1e3 * (time.perf_counter() - begun)
        os.close(fd)
        if reply.get("seq") != seq or not reply.get("ok"):
            raise RuntimeError(f"the gate says {reply}")
        self.gate.send(json.dumps({"seq": seq, "op": "detach", "sandbox": name}).encode())
        if not json.loads(self.gate.recv(65536)).get("ok"):
            raise RuntimeError("detach failed")
        return took


def load_harness(build: pathlib.Path) -> Any:
    """The gate tests' own; it reads the build from the environment as it is loaded."""
    os.environ["DECLAW_BUILD"] = str(build)
    sys.path.insert(0, str(GATE_TESTS))
    return importlib.import_module("harness")


def quiet_gate(harness: Any, world: Any) -> Any:
    """A gate whose socket nobody else reads: the harness' reader thread would be part of what is measured."""

    class Gate(harness.Gate):
        def _read(self) -> None:
            with self._event_lock:
                self.events.append(json.loads(self.control.recv(65536)))
                self._event_lock.notify_all()

    world.gate = Gate(world.gate_ns, world.uplink_ns, ["--resolver", "9.9.9.9"])
    return world.gate.control


def at_the_gate(build: pathlib.Path, policies: Dict[int, bytes], plan: Plan) -> List[Row]:
    harness = load_harness(build)
    rows: List[Row] = []
    with harness.World() as world:
        attacher = Attacher(harness, quiet_gate(harness, world))
        for image in policies.values():
            attacher.once(image)
        for mode, gap, n in modes(plan.attaches, plan.attaches_gapped):
            say(f"attaches of 1 and of 10,000 entries, {mode}, {n} times each")
            took: Dict[int, List[float]] = {size: [] for size in SIZES}
            for i in range(n):
                for size in SIZES if i % 2 else reversed(SIZES):
                    pause(gap)
                    took[size].append(attacher.once(policies[size]))
            ratio = statistics.median(took[SIZES[1]]) / statistics.median(took[SIZES[0]])
            rows += [Row(f"attach, {size:,} entr{'y' if size == 1 else 'ies'} ({len(policies[size]):,} B)", mode, took[size])
                     for size in SIZES]
            rows.append(Row("  ratio of the medians", mode, value=ratio, unit="times", target=TARGET_RATIO))
    return rows
