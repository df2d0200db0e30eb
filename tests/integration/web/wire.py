"""Raw bytes to a real server and back, and a small API to serve behind it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httptools
import orjson

from server.web.app import web_app
from server.web.asgi import JSON, App, Receive, Scope, Send, respond
from server.web.limits import Limits
from server.web.server import HttpServer

PATIENCE = 5.0
"""Seconds after which a test gives up on the server; never waited for when all is well."""


@dataclass
class Api:
    """An app that says what it read, and at some paths misbehaves on purpose.

    /wait answers once `release` is set; /early answers without reading; /fail raises; /big sends 32 MiB at once,
    /stream in pieces, each when the one before is on its way.
    """

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[list[tuple[bytes, bytes]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heads.append(scope["headers"])
        path = scope["path"]
        if path == "/early":
            await respond(scope, send, 200, b"{}", (JSON,))
            return
        if path == "/fail":
            raise RuntimeError("the password is hunter2")
        length = await read_body(receive)
        self.entered.set()
        if path == "/wait":
            await self.release.wait()
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(32):
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            body = bytes(32 << 20) if path == "/big" else orjson.dumps([scope["method"], path, length])
            await respond(scope, send, 200, body, (JSON,))
        self.left.set()


async def read_body(receive: Receive) -> int | None:
    """Return the body's length, or None if the client went away before its end."""
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        length += len(message["body"])
        if not message["more_body"]:
            return length


@asynccontextmanager
async def serving(api: App, limits: Limits | None = None) -> AsyncIterator[HttpServer]:
    server = HttpServer(web_app(api, ready=dict, openapi=b"{}"), "127.0.0.1", 0, limits=limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        async with asyncio.timeout(PATIENCE):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(server: HttpServer, *pieces: bytes, half_close: bool = False) -> bytes:
    """Send every piece in a segment of its own; return all the server says until it closes the connection."""
    async with connected(server) as (reader, writer):
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if half_close:
                writer.write_eof()
        return await read_to_end(reader)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    said = bytearray()
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            said += piece
    return bytes(said)


@dataclass
class Reply:
    """One response as parsed. `complete` is False when the connection ended inside it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    @property
    def code(self) -> str:
        return str(orjson.loads(self.body)["code"])


def replies(said: bytes) -> list[Reply]:
    """Parse every response in `said`; bytes that are no response fail the test."""
    collector = _Collector()
    collector.parser = httptools.HttpResponseParser(collector)
    collector.parser.feed_data(said)
    return collector.replies


def statuses(said: bytes) -> list[int]:
    return [reply.status for reply in replies(said)]


def request(*lines: str, body: bytes = b"") -> bytes:
    """Write a request from its lines; the first is the request line."""
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body


def get(path: str, *headers: str) -> bytes:
    return request(f"GET {path} HTTP/1.1", "Host: a", *headers)


def chunked(pieces: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


class _Collector:
    parser: httptools.HttpResponseParser

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def on_message_begin(self) -> None:
        self.replies.append(Reply())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.replies[-1].headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self.replies[-1].status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.replies[-1].body += body

    def on_message_complete(self) -> None:
        self.replies[-1].complete = True
