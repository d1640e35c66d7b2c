# SPDX-License-Identifier: Apache-2.0
"""A WebSocket server in the sandbox, by the library that people use: ws_server.py PORT."""

import asyncio
import sys

import websockets


async def talk(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as asked")
        elif message == "headers":
            await socket.send("\n".join(f"{k}: {v}" for k, v in socket.request_headers.raw_items()))
        elif message == "path":
            await socket.send(socket.path)
        else:
            await socket.send(message)


async def main():
    async with websockets.serve(talk, "127.0.0.1", int(sys.argv[1]), max_size=None, subprotocols=["chat"]):
        await asyncio.Future()


asyncio.run(main())
