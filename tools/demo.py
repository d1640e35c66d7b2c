"""`make demo`: the main job, shown. Starts a server, runs the example, and looks behind what it prints.

Without --live everything happens against a hermetic internet in network namespaces (tests/lab); with it, against the
machine's real network. Ends with exit code 1 as soon as something is not as the example's document promises.
"""
import argparse
import contextlib
import io
import os
import pathlib
import re
import runpy
import sys
import time
from typing import Iterator, Optional

from declaw import Sandbox
from lab import Daemon, Lab

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "network_domain_allowlist.py"
ALLOWED = "api.github.com"

CONNECT = """
import socket
s = socket.socket()
s.settimeout(5)
try:
    s.connect(("{host}", {port}))
    print("CONNECTED")
except Exception as e:
    print("BLOCKED:", e)
"""
TLS = """
import os, socket, ssl
ca = "/tmp/lab-ca.pem"
context = ssl.create_default_context(cafile=ca if os.path.exists(ca) else None)
address = socket.getaddrinfo("{dial}", 443, socket.AF_INET)[0][4]
try:
    with socket.create_connection(address, timeout=5) as raw, context.wrap_socket(raw, server_hostname="{sni}") as tls:
        print("CONNECTED", tls.version(), "certificate for", dict(x[0] for x in tls.getpeercert()["subject"])["commonName"])
except Exception as e:
    print("BLOCKED:", e)
"""
RESOLVE = """
import socket
try:
    print("RESOLVED", socket.getaddrinfo("{name}", 443)[0][4][0])
except Exception as e:
    print("BLOCKED:", e)
"""


class Failed(Exception):
    pass


def python(sbx: Sandbox, script: str) -> str:
    sbx.files.write("/tmp/demo.py", script)
    result = sbx.commands.run("python3 /tmp/demo.py", timeout=20)
    return (result.stdout + result.stderr).strip()


def show(what: str, output: str, wanted: str) -> None:
    print(f"  {what:<58} {output}", flush=True)
    if wanted not in output:
        raise Failed(f"expected {wanted!r} here")


def unrestricted() -> None:
    print("--- Without a policy, so that \"blocked\" means something ---", flush=True)
    sbx = Sandbox.create(template="python", timeout=120)
    try:
        show("1.1.1.1:80 from an unrestricted sandbox", python(sbx, CONNECT.format(host="1.1.1.1", port=80)), "CONNECTED")
    finally:
        sbx.kill(wait=True)


def look_closer(sbx: Sandbox, ca_pem: Optional[str], cotenant: str, lines: list) -> None:
    """What the document does not check, in the very same sandbox. Printed when the example is through."""
    if ca_pem:
        sbx.files.write("/tmp/lab-ca.pem", ca_pem)
    lines += [
        (f"{ALLOWED}:443 with TLS by its name", python(sbx, TLS.format(dial=ALLOWED, sni=ALLOWED)), "CONNECTED"),
        (f"{cotenant} on the same address", python(sbx, TLS.format(dial=ALLOWED, sni=cotenant)), "BLOCKED"),
        ("example.org looked up", python(sbx, RESOLVE.format(name="example.org")), "BLOCKED"),
    ]
    seen = set()
    for d in sbx.network_log(verdict="deny"):
        if d["message"] not in seen:
            seen.add(d["message"])
            lines.append((None, f"[{d['reason']}] {d['message']}", ""))


def run_example(ca_pem: Optional[str], cotenant: str) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    lines: list = []
    printed = io.StringIO()
    with contextlib.redirect_stdout(Tee(sys.stdout, printed)):
        main(lambda sbx: look_closer(sbx, ca_pem, cotenant, lines))

    got = [re.sub(r"sbx[-_][a-z0-9]+", "sbx_abc123", line.strip()) for line in printed.getvalue().splitlines()]
    wanted = EXAMPLE.with_suffix(".expected.txt").read_text().splitlines()
    if got != wanted:
        raise Failed(f"the example's output is not its document's:\n{got}\n{wanted}")
    print("\n--- The same sandbox, looked at more closely ---")
    for what, output, expected in lines:
        if what:
            show(what, output, expected)
    print("\n--- Why each was refused, from the decision records ---")
    for what, output, _ in lines:
        if not what:
            print(f"  {output}")


class Tee(io.TextIOBase):
    def __init__(self, *sinks: io.TextIOBase) -> None:
        self.sinks = sinks

    def write(self, text: str) -> int:
        for sink in self.sinks:
            sink.write(text)
        return len(text)

    def flush(self) -> None:
        for sink in self.sinks:
            sink.flush()


def timed() -> None:
    start = time.perf_counter()
    sbx = Sandbox.create(template="python", timeout=60, network={"allow_out": [ALLOWED]})
    created = time.perf_counter()
    ok = sbx.commands.run("true").exit_code == 0
    ran = time.perf_counter()
    sbx.kill(wait=True)
    killed = time.perf_counter()
    if not ok:
        raise Failed("true failed")
    print(f"\ncreate {1e3 * (created - start):.1f} ms, first command {1e3 * (ran - created):.1f} ms, "
          f"kill {1e3 * (killed - ran):.1f} ms")


@contextlib.contextmanager
def stage(build: str, live: bool) -> Iterator[tuple]:
    """A running server; yields (CA of the lab or None, a name that shares the allowed one's address)."""
    with contextlib.ExitStack() as stack:
        if live:
            daemon = stack.enter_context(Daemon(build, None, None))
            ca_pem, cotenant = None, "gist.github.com"
        else:
            lab = stack.enter_context(Lab())
            daemon = stack.enter_context(lab.declawd(build))
            ca_pem, cotenant = lab.ca_file.read_text(), "gist-cotenant.evil.test"
        os.environ.update(daemon.env)
        yield ca_pem, cotenant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--live", action="store_true")
    args = parser.parse_args()
    try:
        with stage(str(ROOT / args.build), args.live) as (ca_pem, cotenant):
            unrestricted()
            print()
            run_example(ca_pem, cotenant)
            timed()
    except Failed as e:
        print(f"FAILED: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
