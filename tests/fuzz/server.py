"""The server that is fuzzed, in a process of its own: the kitchen's echo behind everything that production has.

Run: `python -m tests.fuzz.server`. It prints its address, logs to standard error, and ends when its input does. With
the argument `channel` the handlers are behind a gRPC channel, as they are for a gateway.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import structlog
import uvloop

from server.transcoding.calls import Caller
from server.transcoding.channel import ChannelCaller
from server.web.asgi import App
from server.web.cors import Cors
from server.web.guard import Guard
from server.web.limits import Limits
from server.web.server import HttpServer
from tests.fuzz.echo import handlers, kitchen

LIMITS = Limits(head_seconds=0.25, body_seconds=0.25, idle_seconds=0.4, linger_seconds=0.1)
"""As in production but for the patience, so that a request that never ends costs little time."""


def app(caller: Caller | None = None) -> App:
    """Return everything that stands between a connection and the handlers."""
    return Cors(Guard(kitchen(caller)), ["https://example.com"])


async def serve(*, over_channel: bool) -> None:
    """Serve until standard input ends."""
    async with AsyncExitStack() as stack:
        caller = ChannelCaller(await stack.enter_async_context(_channel())) if over_channel else None
        server = HttpServer(app(caller), "127.0.0.1", 0, limits=LIMITS)
        await server.start()
        print(server.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.stop(1.0)


@asynccontextmanager
async def _channel() -> AsyncIterator[grpc.aio.Channel]:
    upstream = grpc.aio.server()
    upstream.add_generic_rpc_handlers((handlers(),))
    port = upstream.add_insecure_port("127.0.0.1:0")
    await upstream.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await upstream.stop(1.0)


if __name__ == "__main__":
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    uvloop.run(serve(over_channel="channel" in sys.argv))
