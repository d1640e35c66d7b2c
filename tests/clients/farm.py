# SPDX-License-Identifier: Apache-2.0
"""The farm: real servers in a network of their own behind the lab's internet, so that all well-known ports are free.

    sandbox ── gate ── <lab>-up ══ captured ══ <lab>-net (DNS, router) ── farm (caddy, sshd, PostgreSQL, ...)
"""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections import defaultdict, deque
from pathlib import Path
from typing import Any, Deque, Dict, List, Sequence

from lab import Lab
from places import DOMAINS, FAR, NETS4, NETS6, ROUTER4, ROUTER6, Place

_HOST = Path(__file__).resolve().parent / "farm_host.py"
_DEV = "farm"
_STOP_SECONDS = 15.0
_ACCESS_KEPT = 100  # requests of one host


class Farm:
    """Serves from `up` (or ``with Farm(...)``) until `down`, and never longer than its test lives.

    Args:
        places: the cases' places; roots: case key -> which goods stand below its name.
    """

    def __init__(self, lab: Lab, places: Sequence[Place], roots: Dict[str, str]) -> None:
        self.lab, self.places, self.roots = lab, list(places), roots
        self._access: Dict[str, Deque[Dict[str, Any]]] = defaultdict(lambda: deque(maxlen=_ACCESS_KEPT))
        self._access_at, self._access_lock = 0, threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{lab.name}-farm-"))
        self.folder.chmod(0o755)

    def up(self) -> "Farm":
        """Needs root. Raises RuntimeError with what a server wrote when it does not start."""
        atexit.register(self.down)
        for name in ("ca.pem", "ca.key"):
            shutil.copy(self.lab.ca_file.parent / name, self.folder / name)
        (self.folder / "ca.key").chmod(0o600)
        everywhere = [a for p in self.places for a in (*p.own, *p.far)]
        ntp = [a for p in self.places if p.key == "ntp" for a in (*p.own, *p.far)]
        (self.folder / "spec.json").write_text(json.dumps({"roots": self.roots, "web": everywhere, "ntp": ntp}))
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             "/usr/bin/python3", "-B", str(_HOST), str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._expect("ready")
            self._wire()
            self._names()
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            self._expect("serving")
        except BaseException:
            self.down()
            raise
        return self

    def _expect(self, word: str) -> None:
        line = self._process.stdout.readline().strip()
        if line != word:
            raise RuntimeError(f"the farm: {json.loads(line[8:]) if line.startswith('failed: ') else line or 'has ended'}")

    def _batch(self, namespace: Sequence[str], lines: List[str]) -> None:
        done = subprocess.run([*namespace, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, timeout=20,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def _wire(self) -> None:
        """One link from the internet's router; fixed neighbours, so that nothing but the cases' packets passes."""
        unshare = self._process.pid
        pid = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0]
        router_mac, farm_mac = "02:1a:b0:00:01:01", "02:1a:b0:00:01:02"
        self._batch(["ip", "-n", self.lab.internet], [
            f"link add {_DEV} address {router_mac} type veth peer name {_DEV} address {farm_mac} netns {pid}",
            f"link set {_DEV} addrgenmode none",
            f"link set {_DEV} up",
            f"addr add {ROUTER4}/32 dev {_DEV}",
            f"addr add {ROUTER6}/128 dev {_DEV} nodad",
            *(f"route add {net} dev {_DEV} src {ROUTER4}" for net in NETS4),
            *(f"route add {net} dev {_DEV}" for net in NETS6),
            *(f"neigh add {a} lladdr {farm_mac} dev {_DEV} nud permanent" for p in self.places for a in (*p.own, *p.far)),
        ])
        self._batch(["nsenter", f"--net=/proc/{pid}/ns/net", "ip"], [
            "link set lo up",
            f"link set {_DEV} addrgenmode none",
            *(f"addr add {a}/{'128' if ':' in a else '32'} dev {_DEV}{' nodad' if ':' in a else ''}"
              for p in self.places for a in (*p.own, *p.far)),
            f"link set {_DEV} up",
            f"neigh add {ROUTER4} lladdr {router_mac} dev {_DEV} nud permanent",
            f"neigh add {ROUTER6} lladdr {router_mac} dev {_DEV} nud permanent",
            f"route add {ROUTER4} dev {_DEV}",
            f"route add default via {ROUTER4} dev {_DEV}",
            f"route add {ROUTER6} dev {_DEV}",
            f"route add default via {ROUTER6} dev {_DEV}",
        ])

    def _names(self) -> None:
        for p in self.places:
            for domain in DOMAINS:
                four, six = (p.far4, p.far6) if domain == FAR else (p.own4, p.own6)
                for name in p.names(domain):
                    self.lab.dns.set(name, "A", four)
                    self.lab.dns.set(name, "AAAA", six)

    # -- what the far side saw

    def access(self, host: str) -> List[Dict[str, Any]]:
        """The latest requests that the web server answered for this host, in order: proto ("HTTP/3.0"), uri, status, ..."""
        with self._access_lock:
            log = self.folder / "log" / "access.json"
            if log.exists():
                with open(log, "rb") as f:
                    f.seek(self._access_at)
                    whole = f.read().rpartition(b"\n")[0]
                self._access_at += len(whole) + 1 if whole else 0
                for line in whole.splitlines():
                    row = json.loads(line)
                    request = row["request"]
                    rows = self._access[request["host"].partition(":")[0]]
                    rows.append({**{k: request[k] for k in ("proto", "method", "uri")}, "status": row["status"]})
            return list(self._access[host])

    def git_has(self, repository: str, commit: str) -> bool:
        """Whether a commit has arrived in one of the repositories."""
        bare = self.folder / "repos" / f"{repository}.git"
        return subprocess.run(["git", f"--git-dir={bare}", "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True,
                              env={**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
                                   "GIT_CONFIG_VALUE_0": "*"}, timeout=20, check=False).returncode == 0

    def down(self) -> None:
        """Ends every server and removes everything. Harmless when called again."""
        atexit.unregister(self.down)
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Farm":
        return self.up()

    def __exit__(self, *exc: object) -> None:
        self.down()
