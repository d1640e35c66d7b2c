# SPDX-License-Identifier: Apache-2.0
"""grpc_stream.py HOST:PORT CA|plain COUNT PAUSE_MS: one streaming call; prints each message and when it came."""
import sys
import time

import grpc

target, authority, count, pause = sys.argv[1:5]
if authority == "plain":
    opened = grpc.insecure_channel(target)
else:
    with open(authority, "rb") as f:
        opened = grpc.secure_channel(target, grpc.ssl_channel_credentials(f.read()))
with opened as channel:
    start = time.monotonic()
    harvest = channel.unary_stream("/farm.Barn/Harvest")
    for message in harvest(f"{count} {pause}".encode(), timeout=4 + int(count) * int(pause) / 1000, wait_for_ready=False):
        print(message.decode(), f"{time.monotonic() - start:.2f}", flush=True)
