"""A raw HTTP/2 connection for unary gRPC calls: frames by hand, headers compressed as gRPC clients do (RFC 9113, 7541).

It neither decodes the server's headers nor splits large requests. A call succeeded when its answer carried a message:
errors of gRPC carry none.
"""

import asyncio
from collections import deque
from typing import Self, cast

from bench.load import Done

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW = 65_535
_LARGEST_WINDOW = 2**31 - 1
_MESSAGE_HEAD = 5  # a flag and four bytes of length before each gRPC message


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _integer(value: int, bits: int, first: int) -> bytes:
    """Write an HPACK integer with a prefix of some bits (RFC 7541 section 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    written, value = bytes((first | limit,)), value - limit
    while value >= 128:
        written, value = written + bytes((value % 128 + 128,)), value // 128
    return written + bytes((value,))


def _text(text: str) -> bytes:
    return _integer(len(text), 7, 0) + text.encode("ascii")


class Http2Connection(asyncio.Protocol):
    """One connection; up to as many calls at a time as the server allows."""

    def __init__(self, headers: list[tuple[str, str]], message: bytes) -> None:
        # The first block adds every header to the server's table, the later ones name the places they got there.
        self._block = b"".join(b"\x40" + _text(name) + _text(value) for name, value in headers)
        self._later_block = b"".join(_integer(62 + place, 7, 0x80) for place in reversed(range(len(headers))))
        self._data = b"\0" + len(message).to_bytes(4) + message
        self._transport: asyncio.Transport | None = None
        self._stream = -1
        self._received = b""
        self._unacknowledged = 0
        self._window = _INITIAL_WINDOW
        self._waiting: deque[Done] = deque()
        self._calls: dict[int, Done] = {}
        self._bodies: dict[int, bytes] = {}

    @classmethod
    async def open(cls, address: str, method: str, metadata: dict[str, str], message: bytes) -> Self:
        """Connect to `HOST:PORT`, for calls of `/package.Service/Method` with one serialized request."""
        host, _, port = address.rpartition(":")
        headers = [
            (":scheme", "http"),
            (":method", "POST"),
            (":authority", address),
            (":path", method),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "bench"),
            *metadata.items(),
        ]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(headers, message), host, int(port))
        return connection

    def call(self, done: Done) -> None:
        """Send the request once more, now or when the server takes more data."""
        if self._transport is None:
            raise ConnectionError("the server hung up")
        if self._window < len(self._data):
            self._waiting.append(done)
            return
        self._window -= len(self._data)
        self._stream += 2
        self._calls[self._stream] = done
        self._transport.write(
            _frame(_HEADERS, _END_HEADERS, self._stream, self._block)
            + _frame(_DATA, _END_STREAM, self._stream, self._data)
        )
        self._block = self._later_block

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open with windows that answers never fill."""
        self._transport = cast("asyncio.Transport", transport)
        settings = (2).to_bytes(2) + (0).to_bytes(4) + (4).to_bytes(2) + _LARGEST_WINDOW.to_bytes(4)
        window = (_LARGEST_WINDOW - _INITIAL_WINDOW).to_bytes(4)
        self._transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, window))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls in flight."""
        self._transport = None
        for done in (*self._calls.values(), *self._waiting):
            done(None)

    def data_received(self, data: bytes) -> None:
        """Take whole frames off what has arrived."""
        data = self._received + data
        position = 0
        while len(data) - position >= 9:
            end = position + 9 + int.from_bytes(data[position : position + 3])
            if end > len(data):
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9])
            self._take(kind, flags, stream, data[position + 9 : end])
            position = end
        self._received = data[position:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._bodies[stream] = self._bodies.get(stream, b"") + payload
            self._unacknowledged += len(payload)
        if kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self._finish(stream)
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload)
            while self._waiting and self._window >= len(self._data):
                self.call(self._waiting.popleft())
        elif kind == _GOAWAY:
            self.close()
        if self._unacknowledged > 2**24:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, self._unacknowledged.to_bytes(4)))
            self._unacknowledged = 0

    def _finish(self, stream: int) -> None:
        body = self._bodies.pop(stream, None)
        done = self._calls.pop(stream, None)  # None: the server closes a stream that it has answered
        if done is not None:
            done(None if body is None else body[_MESSAGE_HEAD:])

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
