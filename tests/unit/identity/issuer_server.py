"""A real HTTP server on a loopback port that plays an issuer, good or bad, byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any


def answer(body: bytes | Mapping[str, Any], status: str = "200 OK", **headers: str) -> bytes:
    """Write a whole HTTP response; header names are given with underscores."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-length": str(len(content)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}connection: close\r\n\r\n".encode() + content


class IssuerServer:
    """Answers by path from `answers`, 404 for the rest; waits while `gate` is not set."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._arrival = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def publish(self, *keys: Mapping[str, Any]) -> None:
        """Publish a key set at /jwks."""
        self.answers["/jwks"] = answer({"keys": keys})

    async def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away: connections are refused."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def arrived(self, count: int) -> None:
        """Wait until so many requests have been received."""
        async with asyncio.timeout(10), self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.requests.append(path)
            async with self._arrival:
                self._arrival.notify_all()
            await self.gate.wait()
            writer.write(self.answers.get(path, answer(b"", "404 Not Found")))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want
        finally:
            writer.close()


@asynccontextmanager
async def running_issuer() -> AsyncIterator[IssuerServer]:
    """Run one for a test."""
    server = IssuerServer()
    await server.start()
    try:
        yield server
    finally:
        server.gate.set()
        await server.stop()
