"""The transcoders, each with the same handlers behind it: real Envoy, and ours in process and over a channel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc.aio
import httptools

from server.transcoding.app import Options, Transcoder
from server.transcoding.calls import Caller
from server.transcoding.channel import ChannelCaller
from server.transcoding.dispatch import Dispatcher
from server.web.server import HttpServer
from tests.interop.transcoder.fixture import BEYOND_ENVOY, FILES, SERVICES, handlers
from tests.interop.transcoder.strict_envoy import FORMS, strict_envoy

MAX_BODY = 64 * 1024
_PATIENCE = 10.0
_USUAL = Options()
_OPTIONS = Options(
    max_body=MAX_BODY,
    request_headers=(*_USUAL.request_headers, "x-custom", "x-blob-bin"),
    response_headers=(*_USUAL.response_headers, "x-rpc", "x-request", "x-units"),
)


class Answer(NamedTuple):
    """An HTTP response; header names in lower case, a repeated header joined by commas. Not `whole`: it was cut off."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Front(NamedTuple):
    """One of them: its ports by the form of streams that it answers with."""

    ports: dict[str, int]

    async def send(self, request: bytes, form: str = "application/json") -> Answer:
        """Send the bytes of one HTTP/1.1 request, over a connection of its own, and return the answer."""
        answer = _Reading(without_body=request.startswith(b"HEAD "))
        async with self.sending(request, form) as reader, asyncio.timeout(_PATIENCE):
            while not answer.complete and (octets := await reader.read(65536)):
                answer.feed(octets)
        return Answer(answer.parser.get_status_code(), answer.headers, answer.body, answer.complete)

    @asynccontextmanager
    async def sending(self, request: bytes, form: str = "application/json") -> AsyncIterator[asyncio.StreamReader]:
        """Send the bytes of a request, and go away at the end of the block."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[form])
        try:
            writer.write(request)
            yield reader
        finally:
            writer.close()


class _Reading:
    """Collects what the parser finds in an answer. One to HEAD ends with its headers."""

    def __init__(self, *, without_body: bool) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.feed = self.parser.feed_data
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        self._without_body = without_body

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.complete = self._without_body

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Serve the handlers by gRPC; give the port."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def envoys(folder: Path) -> AsyncIterator[Front]:
    """Put Envoy in front of the handlers."""
    names = [service.full_name for service in SERVICES]
    async with upstream() as port, strict_envoy(folder, port, FILES, names, max_body=MAX_BODY) as ports:
        yield Front(ports)


@asynccontextmanager
async def ours() -> AsyncIterator[Front]:
    """Put our transcoder in front of the handlers, in process."""
    async with _serving(Dispatcher(handlers(), (), _OPTIONS)) as front:
        yield front


@asynccontextmanager
async def ours_over_a_channel() -> AsyncIterator[Front]:
    """Put our transcoder in front of the handlers as a gateway does."""
    async with (
        upstream() as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        _serving(ChannelCaller(channel)) as front,
    ):
        yield front


@asynccontextmanager
async def _serving(caller: Caller) -> AsyncIterator[Front]:
    server = HttpServer(Transcoder((*SERVICES, BEYOND_ENVOY), caller, _OPTIONS), "127.0.0.1", 0)
    await server.start()
    try:
        yield Front(dict.fromkeys(FORMS, int(server.address.rpartition(":")[2])))
    finally:
        await server.stop(1.0)
