# SPDX-License-Identifier: Apache-2.0
"""The gate between namespaces of the test's own: sandboxes, the gate's, the uplink, and an internet behind it.

    sbN --veth g<slot>--> gate <-descriptors- declaw-gate -sockets-> uplink --veth--> net
"""

import ctypes
import json
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Optional, Sequence, TypeVar

BUILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", os.environ.get("DECLAW_BUILD", "build-test"))
GATE_MAC, SANDBOX_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
SERVER, SERVER6 = "93.184.215.14", "2606:2800:21f::14"
OTHER, OTHER6 = "93.184.215.99", "2606:2800:21f::99"
MOVED = "93.184.215.15"
UNREACHABLE, SILENT = "45.79.10.2", "45.79.10.1"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_T = TypeVar("_T")


def run(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def inside(ns: str, work: Callable[[], _T]) -> _T:
    """What work() returns when it runs in the namespace, on a thread of its own."""
    result: List[_T] = []
    errors: List[BaseException] = []

    def body() -> None:
        fd = os.open(f"/run/netns/{ns}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {ns}")
            result.append(work())
        except BaseException as e:  # for the caller
            errors.append(e)
        finally:
            os.close(fd)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def slot_addr4(slot: int) -> str:
    return socket.inet_ntop(socket.AF_INET, struct.pack(">I", 0x64700000 + 255 + slot))


def slot_addr6(slot: int) -> str:
    low = struct.pack(">I", 0x64700000 + 255 + slot)
    return socket.inet_ntop(socket.AF_INET6, b"\xfd\x64\x63\x77" + bytes(8) + low)


def policy_image(allow: Optional[Sequence[str]] = None, deny: Sequence[str] = (), default_allow: bool = False,
                 reject: bool = False, observe: bool = False, allow_ech: bool = False) -> bytes:
    argv = [os.path.join(BUILD, "tests/gate/policy-image")]
    argv += ["--reject"] if reject else []
    argv += ["--observe"] if observe else []
    argv += ["--allow-ech"] if allow_ech else []
    argv += ["--default-allow"] if default_allow else []
    argv += ["--allow-none"] if allow is not None else []
    for entry in allow or ():
        argv += ["--allow", entry]
    for entry in deny:
        argv += ["--deny", entry]
    return subprocess.run(argv, check=True, capture_output=True, timeout=20).stdout


class Gate:
    """One declaw-gate process and its control socket."""

    def __init__(
        self, gate_ns: str, uplink_ns: str, options: Sequence[str], before: Optional[Callable[[], None]] = None
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [os.open(f"/run/netns/{n}", os.O_RDONLY) for n in (gate_ns, uplink_ns)] + [theirs.fileno()]
        argv = [os.environ.get("DECLAW_GATE", os.path.join(BUILD, "src/gate/declaw-gate"))]
        argv += ["--gate-netns-fd", str(fds[0]), "--uplink-netns-fd", str(fds[1]), "--control-fd", str(fds[2])]
        self.process = subprocess.Popen([*argv, *options], pass_fds=fds, preexec_fn=before)
        os.close(fds[0])
        os.close(fds[1])
        theirs.close()
        self.control = ours
        self.events: List[Dict[str, Any]] = []
        self._seq = 0
        self._event_lock = threading.Condition()
        self._replies: Dict[int, Dict[str, Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_event(lambda e: e["event"] == "ready", 10)

    def _read(self) -> None:
        while True:
            try:
                data = self.control.recv(65536)
            except OSError:
                data = b""
            with self._event_lock:
                if data:
                    message = json.loads(data)
                    if "event" in message:
                        self.events.append(message)
                    else:
                        self._replies[message["seq"]] = message
                self._event_lock.notify_all()
            if not data:
                return

    def wait_event(self, match: Callable[[Dict[str, Any]], bool], timeout: float = 3.0) -> Dict[str, Any]:
        end = time.monotonic() + timeout
        with self._event_lock:
            while True:
                for event in self.events:
                    if match(event):
                        return event
                if not self._event_lock.wait(end - time.monotonic()) and time.monotonic() > end:
                    raise AssertionError(f"no such event; there were {self.events}")

    def decision(self, **want: Any) -> Dict[str, Any]:
        want.setdefault("closed", False)
        return self.wait_event(lambda e: e["event"] == "decision" and all(e.get(k) == v for k, v in want.items()))

    def forget_events(self) -> None:
        with self._event_lock:
            self.events.clear()

    def request(self, op: str, image: Optional[bytes] = None, **fields: Any) -> Dict[str, Any]:
        self._seq += 1
        message = json.dumps({"seq": self._seq, "op": op, **fields}).encode()
        if image is None:
            self.control.send(message)
        else:
            fd = os.memfd_create("policy", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            os.write(fd, image)
            f_add_seals, seals = 1033, 0x1 | 0x2 | 0x4 | 0x8
            import fcntl

            fcntl.fcntl(fd, f_add_seals, seals)
            socket.send_fds(self.control, [message], [fd])
            os.close(fd)
        end = time.monotonic() + 5
        with self._event_lock:
            while self._seq not in self._replies:
                if time.monotonic() > end or not self._event_lock.wait(end - time.monotonic()):
                    raise AssertionError(f"no reply to {op}")
            return self._replies.pop(self._seq)

    def stop(self) -> None:
        self.control.shutdown(socket.SHUT_RDWR)
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


class World:
    """All namespaces of one test run."""

    def __init__(self) -> None:
        self.tag = f"dwg{os.getpid()}"
        self._undo = ExitStack()
        self.gate_ns, self.uplink_ns, self.net_ns = (f"{self.tag}{n}" for n in ("gate", "up", "net"))
        self.gate: Optional[Gate] = None
        self.options: List[str] = []

    def __enter__(self) -> "World":
        try:
            for ns in (self.gate_ns, self.uplink_ns, self.net_ns):
                self._add_ns(ns)
            self._wire_uplink()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_gate()
        self._undo.close()

    def _add_ns(self, ns: str) -> None:
        run("ip", "netns", "add", ns)
        self._undo.callback(run, "ip", "netns", "del", ns)

    def _wire_uplink(self) -> None:
        a, b = GATE_MAC, SANDBOX_MAC
        run("ip", "-n", self.uplink_ns, "-batch", "-", stdin=f"""
link set lo up
link add wan address {a} type veth peer name inet address {b} netns {self.net_ns}
addr add 203.0.113.2/24 dev wan
addr add 2001:db8:77::2/64 dev wan nodad
link set wan up
neigh replace 203.0.113.1 lladdr {b} dev wan nud permanent
neigh replace 2001:db8:77::1 lladdr {b} dev wan nud permanent
route add default via 203.0.113.1
""")
        servers = "".join(f"addr add {x}/32 dev lo\n" for x in (SERVER, OTHER, MOVED, "9.9.9.9"))
        servers += "".join(f"addr add {x}/128 dev lo nodad\n" for x in (SERVER6, OTHER6))
        run("ip", "-n", self.net_ns, "-batch", "-", stdin=f"""
link set lo up
addr add 203.0.113.1/24 dev inet
addr add 2001:db8:77::1/64 dev inet nodad
link set inet up
neigh replace 203.0.113.2 lladdr {a} dev inet nud permanent
neigh replace 2001:db8:77::2 lladdr {a} dev inet nud permanent
{servers}route add unreachable {UNREACHABLE}
route add blackhole {SILENT}
""")
        run("ip", "-n", self.uplink_ns, "-6", "route", "add", "default", "via", "2001:db8:77::1")
        inside(self.net_ns, lambda: _sysctl({"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
                                             "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0"}))

    def start_gate(self, *options: str, before: Optional[Callable[[], None]] = None) -> Gate:
        self.options = list(options) or self.options
        self.gate = Gate(self.gate_ns, self.uplink_ns, self.options, before)
        return self.gate

    def stop_gate(self) -> None:
        if self.gate:
            self.gate.stop()
            self.gate = None

    def sandbox(self, slot: int) -> str:
        """A namespace wired to the gate's as the runtime does it."""
        ns, dev = f"{self.tag}sb{slot}", f"g{slot}"
        a4, a6 = slot_addr4(slot), slot_addr6(slot)
        self._add_ns(ns)
        run("ip", "-n", self.gate_ns, "-batch", "-", stdin=f"""
link add {dev} address {GATE_MAC} type veth peer name eth0 address {SANDBOX_MAC} netns {ns}
link set {dev} addrgenmode none up
route add {a4}/32 dev {dev}
route add {a6}/128 dev {dev}
neigh replace {a4} lladdr {SANDBOX_MAC} dev {dev} nud permanent
neigh replace {a6} lladdr {SANDBOX_MAC} dev {dev} nud permanent
""")
        run("ip", "-n", ns, "-batch", "-", stdin=f"""
link set lo up
link set eth0 addrgenmode none
addr add {a4}/32 dev eth0
addr add {a6}/128 dev eth0 nodad
link set eth0 up
neigh replace 100.112.0.1 lladdr {GATE_MAC} dev eth0 nud permanent
neigh replace fe80::1 lladdr {GATE_MAC} dev eth0 nud permanent
route add 100.112.0.1/32 dev eth0
route add default via 100.112.0.1
""")
        run("ip", "-n", ns, "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
        # Until the kernel has taken the link into service it drops what is sent (src/runtime/netlink.h says more).
        deadline = time.monotonic() + 2
        while "state UP" not in run("ip", "-n", ns, "link", "show", "eth0") and time.monotonic() < deadline:
            time.sleep(0.001)
        return ns

    def attach(self, slot: int, generation: int = 1, limits: Optional[Dict[str, int]] = None, **policy: Any) -> None:
        assert self.gate
        reply = self.gate.request("attach", policy_image(**policy), sandbox=f"s{slot}", addr4=slot_addr4(slot),
                                  addr6=slot_addr6(slot), generation=generation, limits=limits)
        assert reply["ok"], reply

    def update(self, slot: int, generation: int, limits: Optional[Dict[str, int]] = None, **policy: Any) -> None:
        assert self.gate
        reply = self.gate.request("update", policy_image(**policy), sandbox=f"s{slot}", generation=generation,
                                  limits=limits)
        assert reply["ok"], reply


def _sysctl(values: Dict[str, str]) -> None:
    for path, value in values.items():
        with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as f:
            f.write(value)


class Capture:
    """Every packet that comes out of the uplink, seen from its far side."""

    def __init__(self, ns: str, dev: str) -> None:
        self._socket = inside(ns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        self._socket.bind((dev, 3))
        self._socket.setblocking(False)

    def packets(self) -> List[bytes]:
        """What came since the last call, without what the far side sent itself."""
        out = []
        while True:
            try:
                data, address = self._socket.recvfrom(65536)
            except BlockingIOError:
                return out
            if address[2] != socket.PACKET_OUTGOING:
                out.append(data)

    def mentions(self, address: str) -> int:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = socket.inet_pton(family, address)
        return sum(raw in p[14:54] for p in self.packets())

    def close(self) -> None:
        self._socket.close()


def connect(ns: str, address: str, port: int, timeout: float = 3.0) -> socket.socket:
    """A connection from a namespace; raises as connect() does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def work() -> socket.socket:
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            s.connect((address, port))
        except BaseException:
            s.close()
            raise
        return s

    return inside(ns, work)


def serve(ns: str, port: int, handler: Callable[[socket.socket], None], address: str = "::") -> socket.socket:
    """A TCP server in the namespace, a thread per connection; close the listener to end it."""

    def work() -> socket.socket:
        s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind((address, port))
        s.listen(512)
        return s

    listener = inside(ns, work)

    def one(c: socket.socket) -> None:
        with c:
            try:
                handler(c)
            except OSError:
                pass

    def loop() -> None:
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(c,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return listener


def echo(c: socket.socket) -> None:
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := c.recv(65536):
        c.sendall(data)
