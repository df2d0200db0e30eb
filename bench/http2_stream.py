"""One stream in both directions over a raw HTTP/2 connection: each call is one more message on it."""

from collections import deque

from bench.http2 import (
    _ACK,
    _DATA,
    _END_HEADERS,
    _HEADERS,
    _INITIAL_WINDOW,
    _MESSAGE_HEAD,
    _SETTINGS,
    _WINDOW_UPDATE,
    Http2Connection,
    _frame,
)
from bench.load import Done

_INITIAL_WINDOW_SIZE = 4  # the setting's number


class Http2Stream(Http2Connection):
    """Sends the same message again and again on one open stream, and takes the answers in their order."""

    def __init__(self, headers: list[tuple[str, str]], message: bytes) -> None:
        super().__init__(headers, message)
        self._expecting: deque[Done] = deque()
        self._answers = b""
        self._stream_window = _INITIAL_WINDOW

    def call(self, done: Done) -> None:
        """Send the message once more, now or when the server takes more data."""
        if self._transport is None:
            raise ConnectionError("the server hung up")
        if min(self._window, self._stream_window) < len(self._data):
            self._waiting.append(done)
            return
        self._window -= len(self._data)
        self._stream_window -= len(self._data)
        self._expecting.append(done)
        if self._stream < 0:
            self._stream = 1
            self._write(_frame(_HEADERS, _END_HEADERS, 1, self._block))
        self._write(_frame(_DATA, 0, 1, self._data))

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW_UPDATE and stream == 1:
            self._stream_window += int.from_bytes(payload)
            self._go_on()
        elif kind == _SETTINGS and not flags & _ACK:
            for start in range(0, len(payload), 6):
                if int.from_bytes(payload[start : start + 2]) == _INITIAL_WINDOW_SIZE:
                    self._stream_window += int.from_bytes(payload[start + 2 : start + 6]) - _INITIAL_WINDOW
            super()._take(kind, flags, stream, payload)
        else:
            super()._take(kind, flags, stream, payload)
        if kind == _DATA:
            self._bodies.clear()
            self._answers += payload
            self._hand_out()

    def _go_on(self) -> None:
        while self._waiting and min(self._window, self._stream_window) >= len(self._data):
            self.call(self._waiting.popleft())

    def _hand_out(self) -> None:
        """Give each whole answer to the call that it belongs to."""
        position = 0
        while len(self._answers) - position >= _MESSAGE_HEAD:
            end = position + _MESSAGE_HEAD + int.from_bytes(self._answers[position + 1 : position + _MESSAGE_HEAD])
            if end > len(self._answers):
                break
            body = self._answers[position + _MESSAGE_HEAD : end]
            position = end
            self._expecting.popleft()(body)
        self._answers = self._answers[position:]

    def _finish(self, stream: int) -> None:
        """Fail every call: the server has ended the stream."""
        while self._expecting:
            self._expecting.popleft()(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls in flight."""
        super().connection_lost(exc)
        self._finish(1)
