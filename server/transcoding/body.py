"""Request bodies as they arrive: put together or cut into lines, inflated, and never more than the limit in memory."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

from server.transcoding.asgi import Event, Receive
from server.transcoding.violation import BODY, InvalidRequest, Refusal

IDENTITY = frozenset({b"", b"identity"})
GZIP = frozenset({b"gzip", b"x-gzip"})
_PIECE = 64 * 1024


class Gone(Exception):
    """The client went away before its request was whole."""


class _Inflation:
    """Inflates one gzip member piece by piece (RFC 1952), so that a small body cannot become a huge one in memory."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk inflates to. Raises `InvalidRequest` when it is not gzip or something follows it."""
        while chunk:
            if self._stream.eof:
                raise _bad_gzip()
            try:
                yield self._stream.decompress(chunk, _PIECE)
            except zlib.error:
                raise _bad_gzip() from None
            chunk = self._stream.unconsumed_tail or self._stream.unused_data

    def end(self) -> None:
        """Check that nothing is missing at the end of the body. Raises `InvalidRequest`."""
        if not self._stream.eof:
            raise _bad_gzip()


def _bad_gzip() -> InvalidRequest:
    return InvalidRequest([(BODY, "is not one whole gzip stream")])


def too_large(limit: int, what: str = "body") -> Refusal:
    """Make the 413 for a body, or a line of one, of more than `limit` bytes."""
    return Refusal(413, "PAYLOAD_TOO_LARGE", f"The {what} must be at most {limit} bytes.")


async def read_body(receive: Receive, encoding: bytes, length: int | None, limit: int) -> bytes:
    """Return the whole body, inflated. Raises `Refusal` (413), `InvalidRequest` or `Gone`."""
    if length is not None and length > limit:
        raise too_large(limit)
    event = await receive()
    if encoding in IDENTITY and event["type"] == "http.request" and not event.get("more_body", False):
        body: bytes = event.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    collected = bytearray()
    async for piece in _pieces(receive, event, encoding):
        collected += piece
        if len(collected) > limit:
            raise too_large(limit)
    return bytes(collected)


async def read_lines(receive: Receive, encoding: bytes, limit: int) -> AsyncIterator[bytes]:
    """Yield the lines of a body as they arrive, without blank ones; the last may lack its end.

    Raises `Refusal` (413) for a line, or blank ones before it, of more than `limit` bytes, `InvalidRequest` or `Gone`.
    """
    rest = bytearray()
    blank = 0
    async for piece in read_pieces(receive, encoding):
        *lines, tail = piece.split(b"\n")
        for line in lines:
            rest += line
            if len(rest) + blank > limit:
                raise too_large(limit, "line")
            if rest and not rest.isspace():
                blank = 0
                yield bytes(rest)
            else:
                blank += len(rest) + 1
            rest.clear()
        rest += tail
        if len(rest) > limit:
            raise too_large(limit, "line")
    if rest and not rest.isspace():
        yield bytes(rest)


async def read_pieces(receive: Receive, encoding: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces as they arrive, inflated. Raises `InvalidRequest` or `Gone`."""
    async for piece in _pieces(receive, await receive(), encoding):
        if piece:
            yield piece


async def _pieces(receive: Receive, event: Event, encoding: bytes) -> AsyncIterator[bytes]:
    """Yield the body in pieces of bounded size, the first event of which has been received."""
    inflation = None if encoding in IDENTITY else _Inflation()
    empty = True
    while event["type"] == "http.request":
        chunk = event.get("body", b"")
        empty = empty and not chunk
        if inflation is None:
            yield chunk
        else:
            for piece in inflation.pieces(chunk):
                yield piece
                await asyncio.sleep(0)  # a small chunk may become thousands of pieces, and others wait
        if not event.get("more_body", False):
            if inflation is not None and not empty:
                inflation.end()
            return
        event = await receive()
    raise Gone
