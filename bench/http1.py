"""A raw keep-alive connection that repeats one HTTP/1.1 request; an answer needs 200 and a Content-Length."""

import asyncio
import re
from typing import Self, cast

from bench.load import Done

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Http1Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._done: Done | None = None

    @classmethod
    async def open(cls, address: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Self:
        """Connect to `HOST:PORT`, for GET requests of one path, or for POST requests with one body."""
        host, _, port = address.rpartition(":")
        if body is not None:
            headers = {**headers, "content-length": str(len(body))}
        method = "GET" if body is None else "POST"
        lines = [f"{method} {path} HTTP/1.1", f"host: {address}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(request), host, int(port))
        return connection

    def call(self, done: Done) -> None:
        """Send the request once more; the one before must have been answered."""
        if self._transport is None:
            raise ConnectionError("the server hung up")
        self._done = done
        self._transport.write(self._request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call in flight."""
        self._transport = None
        self._finish(None)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or (length is not None and len(body) < int(length[1])):
            return
        self._received = b""
        self._finish(body if length is not None and head.startswith(b"HTTP/1.1 200 ") else None)

    def _finish(self, body: bytes | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(body)
