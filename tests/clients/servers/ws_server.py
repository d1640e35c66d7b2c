# SPDX-License-Identifier: Apache-2.0
"""A WebSocket that answers each message with its count and text in capitals. ws_server.py PORT"""

import asyncio
import sys

import websockets


async def _talk(socket, _path=None) -> None:
    count = 0
    async for message in socket:
        count += 1
        await socket.send(f"{count} {message.upper()}")


async def _main() -> None:
    async with websockets.serve(_talk, "127.0.0.1", int(sys.argv[1])):
        await asyncio.Future()


asyncio.run(_main())
