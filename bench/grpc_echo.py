"""The bare gRPC peer: grpc.aio on uvloop, whose methods answer fixed bytes and parse nothing.

Run: `python -m bench.grpc_echo BYTES`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

METHOD = "/bench.Echo/Call"
STREAM = "/bench.Echo/Stream"


async def serve(size: int) -> None:
    """Answer every call with `size` bytes until stopped; print the address first."""
    answer = bytes(size)

    async def call(request: bytes, context: Any) -> bytes:
        return answer

    async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield answer

    handlers: Any = {
        "Call": grpc.unary_unary_rpc_method_handler(call),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"address 127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
