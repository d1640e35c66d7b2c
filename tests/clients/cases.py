# SPDX-License-Identifier: Apache-2.0
"""The clients: what each is allowed, what it does, and how one knows that it did it."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple

from goods import MESSAGE, PACKAGE, VERSION
from places import FAR, FARM, Place, place

KIT = "/tmp/kit"  # inside a sandbox: the authority, keys, scripts
CA = f"{KIT}/ca.pem"
SNI, HOST = "sni_not_allowed", "host_not_allowed"

#: Checks a finished command against the farm: (stdout, farm, place) -> None, or an AssertionError.
Check = Callable[[str, Any, Place], None]


@dataclass(frozen=True)
class Case:
    """One client.

    Attributes:
        key: first label of its names.
        client, protocol, does: for the table.
        version: command that prints its version, of which the first number is taken.
        run: host -> command line, for `sh`.
        check: what its output, and the far side, must show.
        port: where it connects; udp: whether it does so by UDP.
        neighbour: the reason with which a wrong name on the right address is refused; None where the protocol carries no name.
        root: below which goods its names stand, where the web server serves it.
        preface: it speaks before its TLS begins, so that some bytes of a refused connection, but no hello, reach the server.
        aliases: more names of its servers.
        kit: files that it needs besides the authority; setup: what root does in the sandbox first.
        note: a line on settings, for the table.
    """

    key: str
    client: str
    protocol: str
    does: str
    version: str
    run: Callable[[str], str]
    check: Check
    port: int
    neighbour: Optional[str] = SNI
    udp: bool = False
    preface: bool = False
    root: str = ""
    aliases: Tuple[str, ...] = ()
    kit: Tuple[str, ...] = ()
    setup: str = ""
    user: str = "user"
    seconds: float = 30
    note: str = ""
    envs: Dict[str, str] = field(default_factory=dict)

    def hosts(self, domain: str) -> List[str]:
        return [f"{key}.{domain}" for key in (self.key, *self.aliases)]

    def allow(self, domain: str = FARM) -> List[str]:
        """The smallest policy with which it works."""
        return [f"{host}:{self.port}" for host in self.hosts(domain)]

    def command(self, domain: str) -> str:
        return self.run(f"{self.key}.{domain}")


def _digest(farm: Any, path: str) -> str:
    return hashlib.sha256((farm.folder / path).read_bytes()).hexdigest()


def _fetched(proto: str, word: str = "") -> Check:
    """The big file came whole, the client said `word`, and the server's log says which HTTP it was."""

    def check(out: str, farm: Any, place: Place) -> None:
        assert _digest(farm, "goods/web/big.bin") in out, out
        assert word in out, out
        assert [(r["proto"], r["status"]) for r in farm.access(place.name(FARM))][-1:] == [(proto, 200)]

    return check


def _curl(flag: str, scheme: str = "https") -> Callable[[str], str]:
    return lambda h: (f"o=$(mktemp); curl -sS {flag} --connect-timeout 4 --cacert {CA} -o $o -w 'HTTP/%{{http_version}}\\n' --fail "
                      f"{scheme}://{h}/big.bin && sha256sum < $o; s=$?; rm -f $o; exit $s")


def _git(prefix: str) -> Callable[[str], str]:
    return lambda h: (
        f"w=$(mktemp -d) && cd $w && git clone -q --single-branch -b main {prefix.format(h=h)} . && sha256sum seeds.bin && "
        "date +%s.%N > harvest && git add harvest && git -c user.name=u -c user.email=u@farm.test commit -q -m reap && "
        "git push -q origin HEAD:refs/heads/b$(date +%N)$$ && echo commit=$(git rev-parse HEAD); s=$?; rm -rf $w; exit $s")


def _pushed(repository: str) -> Check:
    def check(out: str, farm: Any, _place: Place) -> None:
        assert _digest(farm, "work/seeds.bin") in out, out
        commit = re.search(r"commit=([0-9a-f]{40})", out)
        assert commit and farm.git_has(repository, commit[1]), out

    return check


def _apt(scheme: str) -> Callable[[str], str]:
    options = (f"-qq -o Acquire::Retries=0 -o Acquire::http::Timeout=4 -o Acquire::https::Timeout=4 "
               f"-o Acquire::https::CAInfo={CA} -o APT::Update::Error-Mode=any")
    return lambda h: (
        "rm -rf /var/lib/apt/lists /var/cache/apt; mkdir -p /etc/apt /var/lib/apt/lists/partial /var/cache/apt/archives/partial "
        "/var/lib/dpkg/updates /var/lib/dpkg/info /var/lib/dpkg/triggers; touch /var/lib/dpkg/status; "
        f"dpkg --purge {PACKAGE} > /dev/null 2>&1; "
        f"echo 'deb [signed-by={KIT}/apt-key.gpg] {scheme}://{h} ./' > /etc/apt/sources.list; "
        f"apt-get {options} update && apt-get {options} install -y {PACKAGE} > /dev/null && "
        f"dpkg-query -W {PACKAGE} && cat /usr/share/{PACKAGE}/message")


def _installed(out: str, _farm: Any, _place: Place) -> None:
    assert VERSION in out and MESSAGE in out, out


def _rows(*wanted: str) -> Check:
    def check(out: str, _farm: Any, _place: Place) -> None:
        lines = out.split()
        assert all(w in lines for w in wanted), out

    return check


def _messages(template: str, count: int, least_seconds: float = 0) -> Check:
    def check(out: str, _farm: Any, _place: Place) -> None:
        lines = out.splitlines()
        assert [line.startswith(template.format(i=i, n=i + 1)) for i, line in enumerate(lines)] == [True] * count, out
        assert not least_seconds or float(lines[-1].split()[-1]) >= least_seconds, out

    return check


def _offset(out: str, _farm: Any, _place: Place) -> None:
    answer = json.loads(out.splitlines()[-1])
    assert abs(answer["offset"] - 1.5) < 0.5 and answer["stratum"] == 1, out


def _redis(options: str) -> Callable[[str], str]:
    return lambda h: (f"k=k$(date +%N)$$; r() {{ timeout 4 redis-cli -e -h {h} {options.format(h=h)} \"$@\"; }}; "
                      "r set $k barley && r get $k && r rpush $k.l a b c && r lrange $k.l 0 -1 && r del $k $k.l")


_CHROMIUM = ("/usr/lib/chromium/chromium --headless --no-sandbox --disable-gpu --no-zygote --disable-dev-shm-usage --disable-extensions "
             "--disable-background-networking --disable-component-update --disable-sync --no-first-run --no-pings "
             "--disable-features=OptimizationHints,MediaRouter,Translate --user-data-dir=$d/profile "
             "--timeout=6000 --virtual-time-budget=3000 --dump-dom")


def _chromium(extra: str = "") -> Callable[[str], str]:
    return lambda h: (
        f"d=$(mktemp -d) && export HOME=$d && mkdir -p $d/.pki/nssdb && certutil -d sql:$d/.pki/nssdb -N --empty-password && "
        f"certutil -d sql:$d/.pki/nssdb -A -t C,, -n farm -i {CA} && "
        f"timeout 20 {_CHROMIUM} {extra.format(h=h)} https://{h}/page.html 2> $d/err | tee $d/out; "
        "grep -q '<title>after' $d/out; s=$?; [ $s = 0 ] || tail -n 20 $d/err >&2; rm -rf $d; exit $s")


#: Chromium sends a meaningless ECH extension with every hello, which the wire does not tell from a meant one. This stops it.
NO_ECH = ("mkdir -p /etc/chromium/policies/managed && echo '{\"EncryptedClientHelloEnabled\": false}' > "
          "/etc/chromium/policies/managed/ech.json && chmod -R a+rX /etc/chromium")
_CHROMIUM_NOTE = ("`EncryptedClientHelloEnabled: false` as a managed policy, because it sends ECH (as grease) otherwise, and that is refused "
                  "(`ech`); the program itself (`/usr/lib/chromium/chromium`) where `/etc/chromium.d` is missing; "
                  "`--no-sandbox --disable-gpu --no-zygote`; an own authority goes into the NSS database of the user")


def _page(proto: str) -> Check:
    def check(out: str, farm: Any, place: Place) -> None:
        assert "oats grow here" in out, out
        seen = {(r["uri"], r["proto"]) for r in farm.access(place.name(FARM)) if r["status"] == 200}
        assert {("/page.html", proto), ("/fact.json", proto)} <= seen, seen

    return check


def _script(name: str) -> str:
    return f"{KIT}/{name}"


_SSH = (f"ssh -F none -i {KIT}/ssh_key -o UserKnownHostsFile={KIT}/known_hosts -o StrictHostKeyChecking=yes "
        "-o ConnectTimeout=4 -o BatchMode=yes")
_NO_NAME = "carries no name: opens by its name's address on its own port"

CASES: List[Case] = [
    Case("curl-h1", "curl", "HTTP/1.1, TLS", "3 MiB download, checksum", "curl --version", _curl("--http1.1"),
         _fetched("HTTP/1.1", "HTTP/1.1"), 443, root="web"),
    Case("curl-h2", "curl", "HTTP/2, TLS", "3 MiB download, checksum", "curl --version", _curl("--http2"),
         _fetched("HTTP/2.0", "HTTP/2"), 443, root="web"),
    Case("curl-plain", "curl", "HTTP/1.1", "3 MiB download, checksum", "curl --version", _curl("", "http"),
         _fetched("HTTP/1.1", "HTTP/1.1"), 80, HOST, root="web"),
    Case("h3get", "quic-go", "HTTP/3, QUIC", "3 MiB download, checksum", "echo 0.29", lambda h:
         f"{KIT}/h3get -ca {CA} -seconds 3 https://{h}/big.bin", _fetched("HTTP/3.0", "HTTP/3"), 443, root="web", udp=True,
         kit=("h3get",), note="Debian's curl has no HTTP/3; `tests/clients/h3get` stands in for it"),
    Case("urllib", "Python urllib", "HTTP/1.1, TLS", "3 MiB download, checksum", "python3 --version", lambda h:
         f"python3 {_script('urllib_get.py')} https://{h}/big.bin", _fetched("HTTP/1.1"), 443, root="web",
         kit=("urllib_get.py",), envs={"SSL_CERT_FILE": CA}),
    Case("fetch", "Node fetch", "HTTP/1.1, TLS", "3 MiB download, checksum", "node --version", lambda h:
         f"node {_script('fetch.mjs')} https://{h}/big.bin", _fetched("HTTP/1.1"), 443, root="web",
         kit=("fetch.mjs",), envs={"NODE_EXTRA_CA_CERTS": CA}),
    Case("wget", "wget", "HTTP/1.1, TLS", "3 MiB download, checksum", "wget --version", lambda h:
         f"o=$(mktemp); wget -q --tries=1 --timeout=4 --ca-certificate={CA} -O $o https://{h}/big.bin && sha256sum < $o; "
         "s=$?; rm -f $o; exit $s",
         _fetched("HTTP/1.1"), 443, root="web"),
    Case("git-https", "git", "smart HTTP, TLS", "clone, commit, push", "git --version", _git("https://{h}/git-https.git"),
         _pushed("git-https"), 443,
         envs={"GIT_SSL_CAINFO": CA}, note="has no time-out for connecting; `\"blocked\": \"reject\"` answers it at once"),
    Case("git-ssh", "git", "SSH", "clone, commit, push", "git --version", _git("ssh://lab@{h}/~/git-ssh.git"),
         _pushed("git-ssh"), 22, None, kit=("ssh_key", "known_hosts"), envs={"GIT_SSH_COMMAND": _SSH}, note=_NO_NAME),
    Case("ssh", "OpenSSH", "SSH", "remote command, 1 MiB there and back", "ssh -V 2>&1", lambda h:
         f"o=$(mktemp); head -c 1048576 /dev/zero | tr '\\0' x | {_SSH} lab@{h} 'cat; echo as $(id -un)' > $o && "
         "head -c 1048576 $o | sha256sum && tail -c +1048577 $o; s=$?; rm -f $o; exit $s",
         _rows(hashlib.sha256(b"x" * 1048576).hexdigest(), "lab"), 22, None, kit=("ssh_key", "known_hosts"), note=_NO_NAME),
    Case("apt-http", "apt", "HTTP/1.1", "update (signed), install, run", "apt-get --version", _apt("http"), _installed, 80, HOST,
         root="apt", user="root", kit=("apt-key.gpg",)),
    Case("apt-https", "apt", "HTTP/1.1, TLS", "update (signed), install, run", "apt-get --version", _apt("https"), _installed, 443,
         root="apt", user="root", kit=("apt-key.gpg",)),
    Case("pip", "pip", "HTTP/1.1, TLS", "index, download, install, import", "/usr/bin/python3 -m pip --version", lambda h:
         f"t=$(mktemp -d) && /usr/bin/python3 -m pip install -q --disable-pip-version-check --no-cache-dir --retries 0 --timeout 4 "
         f"--cert {CA} --index-url https://{h}/simple --target $t {PACKAGE}=={VERSION} && ls $t && PYTHONPATH=$t python3 -c "
         f"'import farm_hello; print(farm_hello.MESSAGE)'; s=$?; rm -rf $t; exit $s", _installed, 443,
         aliases=("pip-files",), note="two hosts: the index, and where its files are"),
    Case("npm", "npm", "HTTP/1.1, TLS", "metadata, tarball, install, require", "npm --version", lambda h:
         f"t=$(mktemp -d) && cd $t && npm install --registry https://{h}/ --no-audit --no-fund --no-update-notifier "
         f"--fetch-retries=0 --fetch-timeout=4000 --cache $t/c --loglevel=error {PACKAGE} && npm ls && "
         f"node -p 'require(\"{PACKAGE}\")'; s=$?; cd /; rm -rf $t; exit $s", _installed, 443,
         envs={"npm_config_cafile": CA, "npm_config_globalconfig": "/dev/null"}),
    Case("psql", "psql", "PostgreSQL, STARTTLS", "verify-full, insert, select", "/usr/lib/postgresql/15/bin/psql --version", lambda h:
         f"/usr/lib/postgresql/15/bin/psql 'host={h} user=lab dbname=postgres sslmode=verify-full sslrootcert={CA} connect_timeout=4' "
         "-v ON_ERROR_STOP=1 -Atc \"begin; insert into crops values (4, 'rye'); select name from crops order by id; rollback; "
         "select 'ssl:' || ssl from pg_stat_ssl where pid = pg_backend_pid()\"", _rows("barley", "rye", "ssl:true"), 5432,
         preface=True, envs={"PGPASSWORD": "farm"}),
    Case("mariadb", "mariadb", "MySQL, STARTTLS", "verified TLS, insert, select", "mariadb --version | grep -o Distrib.*", lambda h:
         f"mariadb --no-defaults -h {h} -u lab -pfarm --ssl-ca={CA} --ssl-verify-server-cert --connect-timeout=4 -N -D farm -e "
         "\"begin; insert into crops values (4, 'rye'); select name from crops order by id; rollback; "
         "show status like 'Ssl_version'\"", _rows("barley", "rye", "TLSv1.3"), 3306, None,
         note="its TLS has no SNI; behind plain text that is as good as none"),
    Case("redis", "redis-cli", "RESP", "set, get, list", "redis-cli --version", _redis(""), _rows("OK", "barley", "3", "a", "b", "c"),
         6379, None, note=_NO_NAME),
    Case("redis-tls", "redis-cli", "RESP, TLS", "set, get, list", "redis-cli --version", _redis(f"-p 6380 --tls --cacert {CA} --sni {{h}}"),
         _rows("OK", "barley", "3", "a", "b", "c"), 6380, note="needs `--sni`: without it redis-cli names no server"),
    Case("grpc", "gRPC (Python)", "HTTP/2, TLS", "server stream of 30 messages in 3 s", "python3 -c 'import grpc; print(grpc.__version__)'",
         lambda h: f"python3 {_script('grpc_stream.py')} {h}:50051 {CA} 30 100", _messages("sheaf {i} ", 30, 2.5), 50051,
         kit=("grpc_stream.py",)),
    Case("wss", "WebSocket (Python)", "WebSocket, TLS", "20 messages and answers",
         "python3 -c 'import websockets.version as v; print(v.version)'", lambda h:
         f"python3 {_script('ws_talk.py')} wss://{h}/ws {CA} 20", _messages("{n} GRAIN {i}", 20), 443, kit=("ws_talk.py",)),
    Case("ws", "WebSocket (Python)", "WebSocket, HTTP/1.1 upgrade", "20 messages and answers",
         "python3 -c 'import websockets.version as v; print(v.version)'", lambda h:
         f"python3 {_script('ws_talk.py')} ws://{h}/ws {CA} 20", _messages("{n} GRAIN {i}", 20), 80, HOST, kit=("ws_talk.py",)),
    Case("ntp", "ntpdig (ntpdate -q)", "NTP, UDP", "asks for the time, shows the offset", "ntpdig --version", lambda h:
         f"ntpdig -j -t 3 {h}", _offset, 123, None, udp=True, note=_NO_NAME),
    Case("chromium-h2", "Chromium", "HTTP/2, TLS", "page, script, fetch; dumps the DOM", "/usr/lib/chromium/chromium --version 2>/dev/null",
         _chromium("--disable-quic"), _page("HTTP/2.0"), 443, root="web", seconds=40, setup=NO_ECH, note=_CHROMIUM_NOTE),
    Case("chromium-h3", "Chromium", "HTTP/3, QUIC", "page, script, fetch; dumps the DOM", "/usr/lib/chromium/chromium --version 2>/dev/null",
         _chromium("--enable-quic --origin-to-force-quic-on={h}:443"), _page("HTTP/3.0"), 443, root="web", udp=True, seconds=40,
         setup=NO_ECH),
]
PLACES: Dict[str, Place] = {case.key: place(case.key, i, case.aliases) for i, case in enumerate(CASES)}
ROOTS: Dict[str, str] = {case.key: case.root for case in CASES if case.root} | {"pip-files": "files"}
