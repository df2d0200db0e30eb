"""The transcoder as an ASGI 3 application: one HTTP request in, one RPC called in process, one JSON response out.

What is refused before any handler or interceptor runs: an unknown path (404), a wrong method (405), headers that cannot
be metadata (400), a body that is too large (413) or not JSON (415). Everything else is the RPC's to say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import orjson
from google.protobuf.descriptor import ServiceDescriptor

from server.transcoding.binding import Binding, Request
from server.transcoding.codec.message import Codecs, FieldCodec
from server.transcoding.disconnect import Disconnect
from server.transcoding.dispatch import Dispatcher, Outcome
from server.transcoding.errors import INTERNAL_SENTENCE, ErrorReplies, Reply
from server.transcoding.headers import HeaderRules, is_json, peer_of
from server.transcoding.options import Options
from server.transcoding.router import Match, Miss, Route, Router, routes_of
from server.transcoding.violation import InvalidRequest

__all__ = ["Options", "Transcoder"]

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_ACCEPT_POST = (b"accept-post", b"application/json")


class _Endpoint:
    """A route, ready: how its requests are bound and its responses written."""

    __slots__ = ("binding", "response_field", "write_message")

    def __init__(self, route: Route, codecs: Codecs) -> None:
        self.binding = Binding(route, codecs)
        self.response_field: FieldCodec | None = codecs.of(route.rpc.output_type).fields.get(route.response_body)
        self.write_message = codecs.form(route.rpc.output_type).write

    def write(self, message: Any) -> bytes:
        """Return a response message as JSON."""
        field = self.response_field
        return orjson.dumps(self.write_message(message) if field is None else field.value(message))


class _Gone(Exception):
    pass


class _Refusal(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Transcoder:
    """Serves the `google.api.http` routes of `services` with the given gRPC handlers behind the given interceptors.

    Interceptors are listed outermost first, as for `grpc.aio.server`. Raises `InvalidRoute` for a rule it cannot serve.
    Only `http` scopes are answered; whoever mounts it keeps lifespan and websockets.
    """

    def __init__(
        self,
        services: Sequence[ServiceDescriptor],
        handlers: Sequence[grpc.GenericRpcHandler],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        options: Options | None = None,
    ) -> None:
        self._options = options or Options()
        self._dispatcher = Dispatcher(handlers, interceptors, self._options)
        self._headers = HeaderRules(self._options)
        self._errors = ErrorReplies(self._options)
        self.routes = tuple(route for service in services for route in routes_of(service))
        self._router = Router(self.routes)
        codecs = Codecs()
        self._endpoints = {route: _Endpoint(route, codecs) for route in self.routes}

    def owns(self, path: str) -> bool:
        """Tell whether a raw path has a route, by whatever method."""
        found = self._router.match("OPTIONS", path)
        return isinstance(found, Match) or bool(found.allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. A client that went away gets nothing."""
        if scope["type"] != "http":
            raise ValueError(f"cannot answer a scope of type {scope['type']!r}")
        try:
            reply = await self._answer(scope, receive)
        except _Gone:
            return
        except _Refusal as refusal:
            reply = refusal.reply
        except InvalidRequest as invalid:
            reply = self._errors.invalid(invalid.violations)
        except Exception:
            _LOG.exception("the transcoder failed")
            reply = self._errors.own(500, "INTERNAL", INTERNAL_SENTENCE)
        await _send(send, reply, without_body=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        method = scope["method"]
        match = self._router.match("GET" if method == "HEAD" else method, _raw_path(scope))
        if isinstance(match, Miss):
            return self._miss(method, match)
        headers = self._headers.read(scope["headers"])
        body = await self._body(receive, headers.length)
        if body and (not is_json(headers.content_type) or headers.content_encoding not in {b"", b"identity"}):
            raise _Refusal(
                self._errors.own(
                    415, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON in UTF-8, not compressed.", [_ACCEPT_POST]
                )
            )
        endpoint = self._endpoints[match.route]
        request = Request(endpoint.binding, match.captures, scope["query_string"].decode("latin-1"), body)
        watch = Disconnect(receive)
        try:
            outcome = await self._dispatcher.call(request, headers.metadata, peer_of(scope.get("client")))
        except asyncio.CancelledError:
            if not watch.gone:
                raise
            raise _Gone from None
        finally:
            watch.stop()
        return self._reply(endpoint, request, outcome)

    def _miss(self, method: str, miss: Miss) -> Reply:
        if not miss.allowed:
            return self._errors.own(404, "NOT_FOUND", "There is nothing at this path.")
        allow = (b"allow", ", ".join(miss.allowed).encode("latin-1"))
        if method == "OPTIONS":
            return Reply(204, [allow], b"")
        return self._errors.own(405, "METHOD_NOT_ALLOWED", "The path does not have this method.", [allow])

    def _reply(self, endpoint: _Endpoint, request: Request, outcome: Outcome) -> Reply:
        headers = self._headers.write(outcome.initial_metadata)
        if outcome.code is grpc.StatusCode.OK:
            return Reply(200, headers, endpoint.write(outcome.response))
        return self._errors.of_rpc(outcome.code, outcome.message, outcome.details, request.spelled, headers)

    async def _body(self, receive: Receive, length: int | None) -> bytes:
        limit = self._options.max_body
        if length is not None and length > limit:
            raise self._too_large()
        event = await receive()
        chunks, size = [], 0
        while event["type"] == "http.request":
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise self._too_large()
            if not event.get("more_body", False):
                return b"".join(chunks)
            event = await receive()
        raise _Gone

    def _too_large(self) -> _Refusal:
        sentence = f"The body must be at most {self._options.max_body} bytes."
        return _Refusal(self._errors.own(413, "PAYLOAD_TOO_LARGE", sentence))


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"], safe="/:@!$&'()*+,;=~-._")


async def _send(send: Send, reply: Reply, *, without_body: bool) -> None:
    headers = list(reply.headers)
    if reply.status != 204:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(reply.body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if without_body else reply.body})
