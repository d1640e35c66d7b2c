# SPDX-License-Identifier: Apache-2.0
"""Runs inside a sandbox: one attack step per JSON object in, one JSON object out. Standard library only.

    python3 probe.py <base64 of a JSON list of steps>

What it prints is never the verdict of a case (the far side's is), only what a client inside experienced.
"""
import base64
import errno
import json
import os
import socket
import struct
import sys
import threading
import time


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def failure(error):
    if isinstance(error, socket.timeout):
        return {"ok": False, "error": "timeout"}
    number = getattr(error, "errno", None)
    name = errno.errorcode.get(number, "") if isinstance(number, int) and number > 0 else ""
    return {"ok": False, "error": name or type(error).__name__, "text": str(error)}


def receive(sock, want, seconds, quiet=0.4):
    """Up to want bytes: what comes within the time, and no more once it has been quiet behind the first of them."""
    sock.settimeout(seconds)
    data = b""
    end = "open"
    try:
        while len(data) < want:
            part = sock.recv(min(65536, want - len(data)))
            if not part:
                end = "eof"
                break
            data += part
            sock.settimeout(min(quiet, seconds))
    except socket.timeout:
        pass
    except OSError as e:
        end = errno.errorcode.get(e.errno, "error")
    return data, end


def tcp(host, port, send=(), gap=0.0, read=4096, seconds=3.0, wait=None):
    """Connects; sends the hex chunks with a gap between them, reads for wait seconds (1, or 0 when nothing was sent)."""
    sock = socket.socket(family_of(host), socket.SOCK_STREAM)
    sock.settimeout(seconds)
    start = time.monotonic()
    try:
        sock.connect((host, port))
    except OSError as e:
        return dict(failure(e), connect_seconds=time.monotonic() - start, connected=False)
    took = time.monotonic() - start
    result = {"ok": True, "connected": True, "connect_seconds": took, "data": "", "end": "open"}
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for chunk in send:
            if chunk.startswith("@"):  # from a file: more than an argument takes
                with open(chunk[1:]) as f:
                    chunk = f.read()
            sock.sendall(bytes.fromhex(chunk))
            if gap:
                time.sleep(gap)
    except OSError as e:
        result.update(failure(e))
    if wait is None:
        wait = 1.0 if send else 0
    if wait:
        data, result["end"] = receive(sock, read, wait)
        result["data"] = data.hex()
    sock.close()
    return result


def udp(host, port, send, seconds=1.0, times=1):
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    sock.settimeout(seconds)
    try:
        for _ in range(times):
            sock.sendto(bytes.fromhex(send), (host, port))
        data, source = sock.recvfrom(65535)
        return {"ok": True, "data": data.hex(), "source": source[0], "source_port": source[1]}
    except OSError as e:
        return failure(e)
    finally:
        sock.close()


def dns_tcp(host, send, seconds=3.0):
    try:
        with socket.create_connection((host, 53), timeout=seconds) as sock:
            for message in send:
                raw = bytes.fromhex(message)
                sock.sendall(struct.pack("!H", len(raw)) + raw)
            stream = sock.makefile("rb")
            answers = []
            for _ in send:
                head = stream.read(2)
                if len(head) < 2:
                    break
                answers.append(stream.read(struct.unpack("!H", head)[0]).hex())
            return {"ok": True, "answers": answers}
    except OSError as e:
        return failure(e)


def lookup(name, family=0, port=0):
    start = time.monotonic()
    try:
        found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
        return {"ok": True, "addresses": sorted({f[4][0] for f in found}), "seconds": time.monotonic() - start}
    except (OSError, UnicodeError, ValueError) as e:
        return dict(failure(e), seconds=time.monotonic() - start)


def raw(family, proto, host, send):
    """A raw socket, as root would use one."""
    try:
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_RAW, proto)
    except OSError as e:
        return failure(e)
    with sock:
        try:
            sock.sendto(bytes.fromhex(send), (host, 0))
            return {"ok": True}
        except OSError as e:
            return failure(e)


def packet(send):
    """A hand-made frame on eth0."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind(("eth0", 0))
            sock.send(bytes.fromhex(send))
            return {"ok": True}
    except OSError as e:
        return failure(e)


def sweep(host, ports=(), span=None, seconds=0.5, workers=64):
    """Which TCP ports answer in any way: open or refused. span: first, behind the last, step."""
    answered, lock = {}, threading.Lock()
    todo = [p for p in (range(*span) if span else ports) if p != 53 or not span]

    def work():
        while True:
            with lock:
                if not todo:
                    return
                port = todo.pop()
            sock = socket.socket(family_of(host), socket.SOCK_STREAM)
            sock.settimeout(seconds)
            try:
                sock.connect(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4])
                outcome = "open"
            except socket.timeout:
                outcome = None
            except OSError as e:
                outcome = errno.errorcode.get(e.errno, "error")
            sock.close()
            if outcome:
                with lock:
                    answered[port] = outcome

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {"ok": True, "answered": answered}


def race(suffix, count, port, threads=64, send=""):
    """Resolve a fresh name and connect at once, many times over, in threads. Counts what failed and retransmitted SYNs."""
    lock = threading.Lock()
    state = {"next": 0, "failed": 0, "retransmits": 0, "first": ""}

    def once(number):
        address = socket.getaddrinfo("n%d.%s" % (number, suffix), port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(address)
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            return struct.unpack_from("I", info, 100)[0]  # tcpi_total_retrans

    def work():
        while True:
            with lock:
                if state["next"] >= count:
                    return
                number = state["next"]
                state["next"] += 1
            try:
                retransmits = once(number)
                with lock:
                    state["retransmits"] += retransmits
            except OSError as e:
                with lock:
                    state["failed"] += 1
                    state["first"] = state["first"] or repr(e)

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    return {"ok": not state["failed"], "failed": state["failed"], "retransmits": state["retransmits"], "first": state["first"]}


def rebind(name, port, times):
    """Look up and connect, again and again; says which addresses were given and which took a connection."""
    given, connected = {}, {}
    for _ in range(times):
        try:
            address = socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        except OSError:
            given["none"] = given.get("none", 0) + 1
            continue
        given[address[0]] = given.get(address[0], 0) + 1
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(0.3)
            try:
                sock.connect(address)
                connected[address[0]] = connected.get(address[0], 0) + 1
            except OSError:
                pass
    return {"ok": True, "given": given, "connected": connected}


def shell(command):
    return {"ok": True, "status": os.system(command + " >/dev/null 2>&1")}


STEPS = {f.__name__: f for f in (tcp, udp, dns_tcp, lookup, raw, packet, sweep, race, rebind, shell)}


def main():
    for step in json.loads(base64.b64decode(sys.argv[1])):
        name = step.pop("do")
        print(json.dumps(STEPS[name](**step)), flush=True)


if __name__ == "__main__":
    main()
