"""Streams of the transcoder over real connections: message by message, as fast as the client reads, until it goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from server.transcoding.app import Transcoder
from server.transcoding.dispatch import Dispatcher
from server.web.app import web_app
from server.web.limits import Limits
from server.web.server import HttpServer
from tests.integration.web.wire import connected, replies
from tests.unit.transcoding.kitchen import SERVICE, message

NAME = "kitchen.v1.Kitchen"
SLOW = 60.0


@asynccontextmanager
async def kitchen(limits: Limits | None = None, **handlers: Callable[[Any, Any], Any]) -> AsyncIterator[HttpServer]:
    kinds = {"Watch": grpc.unary_stream_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
    usual = {"Import": grpc.stream_unary_rpc_method_handler, "DownloadAll": grpc.unary_stream_rpc_method_handler}
    methods: dict[str, Any] = {name: (kinds | usual)[name](handler) for name, handler in handlers.items()}
    transcoder = Transcoder([SERVICE], Dispatcher([grpc.method_handlers_generic_handler(NAME, methods)]))
    server = HttpServer(web_app(transcoder, ready=dict, openapi=b"{}"), "127.0.0.1", 0, limits=limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


def book(name: str) -> Any:
    return message("Book")(name=name)


def watching(version: str = "1.1") -> bytes:
    return f"GET /v1/books:watch HTTP/{version}\r\nHost: a\r\n\r\n".encode()


async def test_a_message_is_on_its_way_before_the_next_one_is_made() -> None:
    asked = asyncio.Event()

    async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield book("a")
        await asked.wait()
        yield book("b")

    async with kitchen(Watch=watch) as server, connected(server) as (reader, writer):
        writer.write(watching())
        await reader.readuntil(b'{"name":"a","tags":[]}\n')
        asked.set()
        await reader.readuntil(b'{"name":"b","tags":[]}\n')
        await reader.readuntil(b"0\r\n\r\n")


async def test_a_conversation_takes_turns_and_may_be_slow() -> None:
    async def chat(requests: Any, _context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request()

    limits = Limits(body_seconds=0.05, idle_seconds=SLOW)
    head = b"POST /v1/books:chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with kitchen(limits, Chat=chat) as server, connected(server) as (reader, writer):
        writer.write(head)
        for name in (b"a", b"b", b"c"):
            await asyncio.sleep(0.03)  # together longer than a body may take that is no stream
            writer.write(b'd\r\n{"name":"' + name + b'"}\n\r\n')
            await reader.readuntil(b'"name":"' + name + b'"')
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")


async def test_a_stream_that_says_nothing_for_the_idle_time_is_over() -> None:
    async def imports(requests: Any, _context: Any) -> Any:
        return message("SearchResponse")(books=[request() async for request in requests])

    head = b"POST /v1/books:import HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        kitchen(Limits(idle_seconds=0.05, body_seconds=SLOW), Import=imports) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(head)
        (reply,) = replies(await reader.read())
        assert reply.status == 408


async def test_the_handler_waits_for_a_client_that_does_not_read() -> None:
    made = 0
    stalled = asyncio.Event()

    async def downloads(_request: Any, _context: Any) -> AsyncIterator[Any]:
        nonlocal made
        while made < 1000:
            made += 1
            asyncio.get_running_loop().call_later(0.1, _note_stall, made)
            yield message("google.api.HttpBody")(data=bytes(1 << 20))

    def _note_stall(before: int) -> None:
        if made == before:
            stalled.set()

    async with kitchen(DownloadAll=downloads) as server, connected(server) as (_, writer):
        writer.write(b"GET /v1/books:download HTTP/1.1\r\nHost: a\r\n\r\n")
        await stalled.wait()
        assert made < 100


@pytest.mark.parametrize("name", ["Watch", "Chat"])
async def test_the_call_ends_soon_after_its_client_went(name: str) -> None:
    contexts: list[Any] = []
    ended = asyncio.Event()

    async def waits(_request: Any, context: Any) -> AsyncIterator[Any]:
        contexts.append(context)
        context.add_done_callback(lambda _: ended.set())
        yield book("a")
        await asyncio.Event().wait()

    chat = b"POST /v1/books:chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    async with kitchen(None, **{name: waits}) as server:
        async with connected(server) as (reader, writer):
            writer.write(watching() if name == "Watch" else chat)
            await reader.readuntil(b'{"name":"a","tags":[]}\n')
        async with asyncio.timeout(5):
            await ended.wait()
        assert contexts[0].cancelled()


async def test_bytes_that_fail_end_without_their_end() -> None:
    async def fails(_request: Any, context: Any) -> AsyncIterator[Any]:
        yield message("google.api.HttpBody")(data=b"a,b\n")
        await context.abort(grpc.StatusCode.DATA_LOSS, "")

    async with kitchen(DownloadAll=fails) as server, connected(server) as (reader, writer):
        writer.write(b"GET /v1/books:download HTTP/1.1\r\nHost: a\r\n\r\n")
        (reply,) = replies(await reader.read())
    assert (reply.status, reply.body, reply.complete) == (200, b"a,b\n", False)


async def test_http_1_0_cannot_stream() -> None:
    async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield book("a")

    async with kitchen(Watch=watch) as server, connected(server) as (reader, writer):
        writer.write(watching("1.0"))
        (reply,) = replies(await reader.read())
    assert (reply.status, reply.code) == (505, "HTTP_VERSION_NOT_SUPPORTED")
