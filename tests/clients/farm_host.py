# SPDX-License-Identifier: Apache-2.0
"""PID 1 of the farm's own network, mount and PID namespaces: makes the goods, starts the servers, ends with its test.

    unshare --net --mount --pid --fork --mount-proc python3 farm_host.py FOLDER

Says "ready" when it can be wired, waits for a line, starts everything, says "serving". The end of its standard input is the end
of the test, however it went: PID 1 then ends, and the kernel takes every process and both namespaces along.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent))

import goods  # noqa: E402
from places import DOMAINS  # noqa: E402

HERE = Path(__file__).resolve().parent
UID = 4242  # of all servers that need no root; a number that no account of the machine has
START_SECONDS = 90.0
PYTHON = "/usr/bin/python3"
PG = Path("/usr/lib/postgresql/15/bin")


class Host:
    """The servers and what they need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = json.loads((folder / "spec.json").read_text())
        self.processes: Dict[str, subprocess.Popen] = {}

    # -- the place

    def own_accounts(self) -> None:
        """A passwd and a /run that only the farm sees: an account for its servers, without touching the machine's."""
        passwd, group = self.folder / "passwd", self.folder / "group"
        home = self.folder / "home"
        home.mkdir()
        os.chown(home, UID, UID)
        lines = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith(("lab:", "sshd:"))]
        lines += [f"lab:x:{UID}:{UID}:lab:{home}:/bin/sh", "sshd:x:4243:65534::/run/sshd:/usr/sbin/nologin"]
        passwd.write_text("\n".join(lines) + "\n")
        group.write_text(Path("/etc/group").read_text() + f"lab:x:{UID}:\n")
        shadow = self.folder / "shadow"
        shadow.write_text("root:*:1::::::\nlab:*:1::::::\nsshd:*:1::::::\n")
        shadow.chmod(0o600)
        for own, theirs in ((passwd, "/etc/passwd"), (group, "/etc/group"), (shadow, "/etc/shadow")):
            subprocess.run(["mount", "--bind", own, theirs], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=16m", "farm", "/run"], check=True)
        os.mkdir("/run/sshd", 0o755)

    def run(self, *argv: object, user: bool = False, **kwargs: object) -> None:
        """One step of the preparation; its output is shown when it fails."""
        done = subprocess.run([*self._as_user(user), *map(str, argv)], capture_output=True, text=True, timeout=60, **kwargs)
        if done.returncode != 0:
            raise RuntimeError(f"{argv[0]}: {done.stdout}{done.stderr}")

    @staticmethod
    def _as_user(user: bool) -> List[str]:
        return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"] if user else []

    def start(self, name: str, *argv: object, user: bool = False, **env: str) -> None:
        with open(self.folder / "log" / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self._as_user(user), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, env={**os.environ, "HOME": str(self.folder / "home"), **env})

    def await_port(self, name: str, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if name in self.processes and self.processes[name].poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log" / f"{name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{name} does not listen on {port}:\n{log[-4000:]}") from None
                time.sleep(0.02)

    # -- servers

    def caddy(self) -> None:
        sites = ""
        for domain in DOMAINS:
            tls = f"tls {self.folder}/{domain}.pem {self.folder}/leaf.key"
            sites += f"https://*.{domain} {{\n\t{tls}\n\timport site\n}}\nhttp://*.{domain} {{\n\timport site\n}}\n"
        git = " ".join(f"git-https.{domain}" for domain in DOMAINS)
        # Every address by itself: a QUIC listener on all of them would answer from the first one.
        (self.folder / "Caddyfile").write_text(f"""{{
	admin off
	auto_https off
	default_bind 127.0.0.1 {' '.join(self.spec["web"])}
	servers {{
		protocols h1 h2 h3
	}}
	log {{
		level ERROR
	}}
}}
(site) {{
	log {{
		output file {self.folder}/log/access.json
	}}
	@git host {git}
	reverse_proxy @git 127.0.0.1:9001
	reverse_proxy /ws 127.0.0.1:9002
	root * {self.folder}/www/{{labels.1}}/{{labels.2}}
	try_files {{path}} {{path}}/index.json {{path}}/index.html
	file_server
}}
{sites}""")
        self.start("caddy", "caddy", "run", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile",
                   XDG_DATA_HOME=str(self.folder / "caddy"), GOMAXPROCS="2")
        self.await_port("caddy", 443)

    def python_servers(self) -> None:
        servers = HERE / "servers"
        self.start("git-http", PYTHON, servers / "git_http.py", "9001", self.folder / "repos", user=True)
        self.start("websocket", PYTHON, servers / "ws_server.py", "9002")
        self.start("grpc", PYTHON, servers / "grpc_server.py", "50051", self.folder)
        self.start("ntp", PYTHON, servers / "ntp_server.py", self.folder / "log" / "ntp.json", *self.spec["ntp"])
        self.await_port("git-http", 9001)
        self.await_port("websocket", 9002)
        self.await_port("grpc", 50051)

    def sshd(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text(f"""Port 22
HostKey {self.folder}/ssh_host_key
AuthorizedKeysFile {self.folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
AllowUsers lab
MaxStartups 200
LogLevel VERBOSE
""")
        self.start("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", config)
        self.await_port("sshd", 22)

    def postgres(self) -> None:
        data = self.folder / "pg"
        data.mkdir(0o700)
        os.chown(data, UID, UID)
        self.run(PG / "initdb", "-D", data, "-U", "lab", "-A", "trust", "-N", "--no-locale", "-E", "UTF8", user=True)
        (data / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all all scram-sha-256\nhostnossl all all all reject\n")
        with open(data / "postgresql.conf", "a", encoding="ascii") as f:
            f.write(f"listen_addresses = '*'\nunix_socket_directories = '{data}'\nfsync = off\nssl = on\nmax_connections = 200\n"
                    f"ssl_cert_file = '{self.folder}/all.pem'\nssl_key_file = '{self.folder}/db.key'\n"
                    "shared_buffers = 16MB\nlog_connections = on\n")
        self.start("postgres", PG / "postgres", "-D", data, user=True)
        self.await_port("postgres", 5432)
        self._until(lambda: self.run(
            PG / "psql", "-h", data, "-U", "lab", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c",
            "ALTER USER lab PASSWORD 'farm'; CREATE TABLE crops (id int PRIMARY KEY, name text);"
            "INSERT INTO crops VALUES (1, 'barley'), (2, 'wheat'), (3, 'oats');", user=True))

    def mariadb(self) -> None:
        data = self.folder / "mysql"
        data.mkdir(0o700)
        os.chown(data, UID, UID)
        self.run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                 "--skip-test-db", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M",
                 user=True, cwd=self.folder)
        sock = data / "sock"
        self.start("mariadb", "/usr/sbin/mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={sock}", "--port=3306",
                   "--bind-address=*", f"--ssl-cert={self.folder}/all.pem", f"--ssl-key={self.folder}/db.key",
                   f"--ssl-ca={self.folder}/ca.pem", "--skip-name-resolve", "--innodb-buffer-pool-size=16M",
                   "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", f"--pid-file={data}/pid", user=True)
        self.await_port("mariadb", 3306)
        self._until(lambda: self.run(
            "mariadb", "--no-defaults", f"--socket={sock}", "-u", "root", "-e",
            "CREATE DATABASE farm; USE farm; CREATE TABLE crops (id int PRIMARY KEY, name text);"
            "INSERT INTO crops VALUES (1, 'barley'), (2, 'wheat'), (3, 'oats');"
            "CREATE USER lab@'%' IDENTIFIED BY 'farm' REQUIRE SSL; GRANT ALL ON farm.* TO lab@'%';"))

    @staticmethod
    def _until(step: Callable[[], None]) -> None:
        """A server that accepts may still be starting up."""
        for left in range(50, -1, -1):
            try:
                return step()
            except RuntimeError:
                if left == 0:
                    raise
                time.sleep(0.1)

    def redis(self) -> None:
        # Debian's redis-tools carries the server in the program that checks its files: it goes by its own name.
        for name, port in (("redis", ["--port", 6379]),
                           ("redis-tls", ["--port", 0, "--tls-port", 6380, "--tls-auth-clients", "no", "--tls-cert-file",
                                          self.folder / "all.pem", "--tls-key-file", self.folder / "leaf.key",
                                          "--tls-ca-cert-file", self.folder / "ca.pem"])):
            words = ["--bind", "*", "-::*", "--protected-mode", "no", "--save", "", *port]
            self.start(name, "bash", "-c", 'exec -a redis-server redis-check-rdb "$@"', name, *words)
        self.await_port("redis", 6379)
        self.await_port("redis-tls", 6380)

    def all(self) -> None:
        jobs = [self.caddy, self.python_servers, self.sshd, self.postgres, self.mariadb, self.redis]
        errors: List[BaseException] = []

        def guarded(job: Callable[[], None]) -> None:
            try:
                job()
            except BaseException as e:  # told to the test below
                errors.append(e)

        threads = [threading.Thread(target=guarded, args=[job]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def main() -> None:
    folder = Path(sys.argv[1])
    host = Host(folder)
    (folder / "log").mkdir()
    (folder / "log").chmod(0o777)
    try:
        host.own_accounts()
        goods.make(folder, host.spec, UID)
        print("ready", flush=True)
        if not sys.stdin.readline():
            return
        host.all()
    except BaseException as e:  # the other side raises it
        print("failed: " + json.dumps(f"{type(e).__name__}: {e}"), flush=True)
        return
    print("serving", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os._exit(0)
