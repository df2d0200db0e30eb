"""Streams over HTTP: requests as lines, responses as lines, server-sent events, one JSON array or raw bytes.

A response begins with the first message, so that an error before it is an error like any other. An error after it is
always visible: it is the last element, or raw bytes end without their last chunk.
"""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from google.protobuf.message import Message

from server.transcoding.asgi import Send
from server.transcoding.binding import Binding, Request
from server.transcoding.endpoint import Endpoint
from server.transcoding.headers import HeaderRules, Headers, Metadata
from server.transcoding.media import JSON, Content, Form
from server.transcoding.violation import InvalidRequest, Refusal

_TYPES = {Form.LINES: b"application/x-ndjson", Form.EVENTS: b"text/event-stream", Form.ARRAY: b"application/json"}
_NO_TYPE = b"application/octet-stream"
_NO_BUFFERING = (b"x-accel-buffering", b"no")
"""Asks proxies that collect responses to pass this one on as it comes."""


class RequestStream:
    """The requests of a client stream; each is bound like the request of a unary call to the route.

    `fault` is what was wrong with the first of them that could not be read, whatever became of the exception.
    """

    def __init__(
        self,
        binding: Binding,
        captures: tuple[str, ...],
        query: str,
        bodies: AsyncIterator[bytes],
        content: Content = JSON,
    ) -> None:
        self._binding = binding
        self._captures = captures
        self._query = query
        self._bodies = bodies
        self._content = content
        self._last: Request | None = None
        self.fault: Refusal | InvalidRequest | None = None

    def __aiter__(self) -> AsyncIterator[Request]:
        return self

    async def __anext__(self) -> Request:
        try:
            body = await anext(self._bodies)
        except (Refusal, InvalidRequest) as fault:
            self.fault = fault
            raise
        self._last = _Noting(self, self._binding, self._captures, self._query, body, self._content)
        return self._last

    def spelled(self, field: str) -> str:
        """Return a field's path as the last request wrote it or would write it."""
        return field if self._last is None else self._last.spelled(field)


class _Noting(Request):
    """A request of a stream that notes there that it does not fit."""

    __slots__ = ("_stream",)

    def __init__(self, stream: RequestStream, *request: Any) -> None:
        super().__init__(*request)
        self._stream = stream

    def __call__(self) -> Message:
        """Return the message. Raises `InvalidRequest`."""
        try:
            return super().__call__()
        except InvalidRequest as invalid:
            self._stream.fault = self._stream.fault or invalid
            raise


class StreamWriter:
    """Writes one stream. Sending waits while the client does not read, and so does whoever delivers messages."""

    def __init__(self, endpoint: Endpoint, form: Form, headers: HeaderRules, send: Send) -> None:
        self._endpoint = endpoint
        self._form = form
        self._headers = headers
        self._send = send
        self.begun = False

    async def deliver(self, message: Any, metadata: Metadata) -> None:
        """Send one message; before the first one the head of the response."""
        written = self._endpoint.write(message, self._form)
        first = not self.begun
        if first:
            await self._begin(metadata, written.content_type)
        await self._send_part(written.body if self._endpoint.is_raw else self._element(written.body, first=first))

    async def end(self, metadata: Metadata) -> None:
        """End a stream that went well, also one without any message."""
        rest = b""
        if self._form is Form.ARRAY:
            rest = b"]" if self.begun else b"[]"
        if not self.begun:
            await self._begin(metadata, _NO_TYPE)
        await self._send({"type": "http.response.body", "body": rest})

    async def fail(self, error: dict[str, Any]) -> None:
        """End a stream that has begun with an error as its last element; raw bytes stay without an end."""
        if self._endpoint.is_raw:
            return
        body = orjson.dumps({"error": error})
        if self._form is Form.EVENTS:
            last = b"event: error\n" + self._element(body, first=False)
        else:
            last = self._element(body, first=False) + (b"]" if self._form is Form.ARRAY else b"")
        await self._send({"type": "http.response.body", "body": last})

    def _element(self, body: bytes, *, first: bool) -> bytes:
        if self._form is Form.LINES:
            return body + b"\n"
        if self._form is Form.EVENTS:
            return b"data: " + body + b"\n\n"
        return (b"[" if first else b",") + body

    async def _begin(self, metadata: Metadata, raw_type: bytes) -> None:
        self.begun = True
        content_type = raw_type if self._endpoint.is_raw else _TYPES[self._form]
        headers: Headers = [*self._headers.write(metadata), (b"content-type", content_type), _NO_BUFFERING]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_part(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


class SoleAnswer:
    """Takes the one response of an RPC whose client streams."""

    def __init__(self) -> None:
        self.message: Any = None

    async def deliver(self, message: Any, _metadata: Metadata) -> None:
        """Keep the response; the metadata is also in the outcome."""
        self.message = message
