# SPDX-License-Identifier: Apache-2.0
"""ws_talk.py URL CA COUNT: says COUNT things, prints each answer."""
import asyncio
import ssl
import sys

import websockets


async def main() -> None:
    url, ca, count = sys.argv[1:4]
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    async with websockets.connect(url, ssl=context, open_timeout=4, close_timeout=2) as socket:
        for i in range(int(count)):
            await socket.send(f"grain {i}")
            print(await asyncio.wait_for(socket.recv(), 4))


asyncio.run(main())
