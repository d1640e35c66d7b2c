# SPDX-License-Identifier: Apache-2.0
"""Runs inside a sandbox: a client that never stops trying, while its gate is killed. Standard library only.

    python3 knocker.py <seconds> <allowed name> <allowed address> <denied address> <echo address>

Ends after the time, or as soon as /tmp/stop exists, and prints one JSON object: lists of events with CLOCK_MONOTONIC times,
which mean the same on the host.
"""
import json
import os
import socket
import struct
import sys
import threading
import time

SECONDS, NAME, ALLOWED, DENIED, ECHO = float(sys.argv[1]), *sys.argv[2:6]
PATIENCE = 0.1
END = time.monotonic() + SECONDS
lock = threading.Lock()
events = {"allowed": [], "dns": [], "denied": [], "old": []}


def note(kind, start, outcome):
    with lock:
        events[kind].append((start, time.monotonic(), outcome))


def going():
    return time.monotonic() < END and not os.path.exists("/tmp/stop")


def attempt(host, port):
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((host, port))
            return "connected"
        except OSError as e:
            return type(e).__name__


def knock_allowed():
    while going():
        start = time.monotonic()
        note("allowed", start, attempt(ALLOWED, 8080))
        time.sleep(0.01)


def knock_denied():
    """Every way out towards who is denied: many ports, datagrams, names."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port = 0
    while going():
        start = time.monotonic()
        port = port % 1000 + 1
        for number in (53, 443, port):
            try:
                datagrams.sendto(query("n%d.evil.test" % port), (DENIED, number))
            except OSError:
                pass
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((DENIED, port))
        note("denied", start, attempt(DENIED, (80, 443, 22)[port % 3]))
        sock.close()


def query(name):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def resolver():
    with open("/etc/resolv.conf") as f:
        return next(line.split()[1] for line in f if line.startswith("nameserver"))


def ask():
    server = resolver()
    while going():
        start = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.sendto(query(NAME), (server, 53))
                answer = sock.recv(4096)
                good = answer[3] & 15 == 0 and struct.unpack_from("!H", answer, 6)[0] > 0
                note("dns", start, "answered" if good else "rcode %d" % (answer[3] & 15))
            except OSError as e:
                note("dns", start, type(e).__name__)
        time.sleep(0.01)


def hold():
    """One flow that echoes until it does not; then another one."""
    while going():
        try:
            with socket.create_connection((ECHO, 7), PATIENCE) as sock:
                sock.settimeout(1.0)
                note("old", time.monotonic(), "up")
                while going():
                    sock.sendall(b"x")
                    if sock.recv(1) != b"x":
                        raise OSError("end of file")
                    time.sleep(0.005)
                return
        except OSError as e:
            note("old", time.monotonic(), "dead: " + (type(e).__name__))
            time.sleep(0.02)


def main():
    threads = [threading.Thread(target=f) for f in (knock_allowed, knock_denied, ask, hold)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps(events))


main()
