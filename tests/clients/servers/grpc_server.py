# SPDX-License-Identifier: Apache-2.0
"""A gRPC service, over TLS on PORT and plain on PORT + 1: one call that streams COUNT messages. grpc_server.py PORT FOLDER"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator

import grpc


def _harvest(request: bytes, _context: Any) -> Iterator[bytes]:
    count, pause_ms = map(int, request.split())
    for i in range(count):
        yield f"sheaf {i}".encode()
        time.sleep(pause_ms / 1000)


def main() -> None:
    folder = Path(sys.argv[2])
    server = grpc.server(ThreadPoolExecutor(32))
    handler = grpc.method_handlers_generic_handler("farm.Barn", {"Harvest": grpc.unary_stream_rpc_method_handler(_harvest)})
    server.add_generic_rpc_handlers((handler,))
    pair = (folder / "leaf.key").read_bytes(), (folder / "all.pem").read_bytes()
    server.add_secure_port(f"[::]:{sys.argv[1]}", grpc.ssl_server_credentials([pair]))
    server.add_insecure_port(f"[::]:{int(sys.argv[1]) + 1}")
    server.start()
    server.wait_for_termination()


main()
