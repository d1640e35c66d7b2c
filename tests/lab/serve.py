# SPDX-License-Identifier: Apache-2.0
"""A server process of the lab: ``python3 -m lab.serve dns|web --fd N --internet NETNS --uplink NETNS --folder DIR``."""

import argparse
import asyncio
import resource
import shutil
import signal
import socket
from pathlib import Path

from . import addresses, netns
from .certs import DEFAULT, Certs
from .control import serve
from .dns_server import DnsServer
from .web_server import WebServer


async def _dns(control: socket.socket) -> bool:
    server = DnsServer()
    await server.start()
    return await serve(control, server.operations())


async def _web(control: socket.socket, folder: Path) -> bool:
    certs = Certs(folder, ["http/1.1"])
    certs.create()
    server = WebServer(certs)
    await server.start()
    loop = asyncio.get_running_loop()
    names = [DEFAULT, *addresses.CERTIFIED]
    made = [loop.run_in_executor(None, certs.context, name) for name in names]  # while the test gets going
    stopped = await serve(control, server.operations())
    await asyncio.gather(*made)
    return stopped


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("dns", "web"))
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--internet", required=True)
    parser.add_argument("--uplink", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    # Ctrl-C goes to the whole terminal group; when to end is the test's to say, by the control line.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    netns.enter(arguments.internet)
    control = socket.socket(fileno=arguments.fd)
    if arguments.role == "dns":
        asyncio.run(_dns(control))
        return
    if not asyncio.run(_web(control, arguments.folder)):
        # The test was killed and cannot clean up any more.
        netns.destroy(arguments.uplink, arguments.internet)
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
