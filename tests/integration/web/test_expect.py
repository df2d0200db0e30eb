"""Clients that wait for `100 Continue` before they send a body (RFC 9110 section 10.1.1), and the transcoder."""

import asyncio
from typing import Any

import grpc
import pytest

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from server.web.app import web_app
from server.web.server import HttpServer
from tests.integration.web.wire import exchange, request, statuses
from tests.unit.transcoding.kitchen import SERVICE

_LOOKS = "server.transcoding.watch.ROUND"


class _Slow(grpc.aio.ServerInterceptor):
    """Lasts, as authentication may, until the transcoder has begun to watch the client."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        for _ in range(50):
            await asyncio.sleep(0)
        return await continuation(details)


async def _said_to(*lines: str, body: bytes = b"") -> list[int]:
    """Send one request whose call is slow and whose body may have 8 bytes; return the statuses that came."""

    async def put(asked: Any, _context: Any) -> Any:
        return asked()

    options = Options(max_body=8)
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(put)
    handlers = grpc.method_handlers_generic_handler("kitchen.v1.Kitchen", {"PutSink": handler})
    transcoder = Transcoder([SERVICE], Dispatcher([handlers], [_Slow()], options), options)
    server = HttpServer(web_app(transcoder, ready=dict, openapi=b"{}"), "127.0.0.1", 0)
    await server.start()
    try:
        head = ("POST /v1/sinks HTTP/1.1", "Host: a", "Connection: close", *lines)
        return statuses(await exchange(server, request(*head, body=body)))
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    ("refused", "status"),
    [(["Content-Length: 9"], 413), (["Content-Length: 3", "Content-Encoding: br"], 415)],
)
async def test_a_body_that_will_be_refused_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, refused: list[str], status: int
) -> None:
    monkeypatch.setattr(_LOOKS, 0.0)

    assert await _said_to("Expect: 100-continue", *refused) == [status]


async def test_a_body_that_will_be_read_is_asked_for() -> None:
    assert await _said_to("Expect: 100-continue", "Content-Length: 2", body=b"{}") == [100, 200]
