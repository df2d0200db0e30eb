"""The transcoder as an ASGI 3 application: one HTTP request in, one RPC called, its response out as JSON.

What is refused before any handler or interceptor runs: an unknown path (404), a wrong method (405), headers that cannot
be metadata (400) and a form of answer that there is not (406). A body that is too large (413) or of an unknown kind
(415) is refused when the handler reads it, behind interceptors. Everything else is the RPC's to say.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from urllib.parse import quote

import grpc
import orjson
from google.protobuf.descriptor import ServiceDescriptor

from server.transcoding.asgi import Receive, Scope, Send
from server.transcoding.binding import Request
from server.transcoding.body import Gone
from server.transcoding.calls import Caller, Outcome
from server.transcoding.codec.message import Codecs
from server.transcoding.endpoint import Endpoint
from server.transcoding.errors import INTERNAL_SENTENCE, LATE_SENTENCE, ErrorReplies, Reply
from server.transcoding.exchange import Exchange
from server.transcoding.headers import HeaderRules
from server.transcoding.media import Form, accepts_gzip, unary_form
from server.transcoding.options import Options
from server.transcoding.router import Match, Miss, Router, routes_of
from server.transcoding.sending import compressed, send_reply, varying
from server.transcoding.streaming import RequestStream, SoleAnswer, StreamWriter
from server.transcoding.violation import InvalidRequest, Refusal
from server.transcoding.watch import Inbox, Rounds, Watch

__all__ = ["Options", "Transcoder"]


_LOG = logging.getLogger(__name__)


class Transcoder:
    """Serves the `google.api.http` routes of `services`, whose RPCs `caller` runs: handlers, or a server elsewhere.

    Raises `InvalidRoute` for a rule it cannot serve. Only `http` scopes are answered; whoever mounts it keeps lifespan
    and websockets.
    """

    def __init__(self, services: Sequence[ServiceDescriptor], caller: Caller, options: Options | None = None) -> None:
        self._options = options or Options()
        self._caller = caller
        self._headers = HeaderRules(self._options)
        self._errors = ErrorReplies(self._options, services[0].file.pool if services else None)
        self.routes = tuple(route for service in services for route in routes_of(service))
        self._router = Router(self.routes)
        codecs = Codecs()
        self._rounds = Rounds()
        self._endpoints = {route: Endpoint(route, codecs, self._options) for route in self.routes}

    def owns(self, path: str) -> bool:
        """Tell whether a raw path has a route, by whatever method."""
        found = self._router.match("OPTIONS", path)
        return isinstance(found, Match) or bool(found.allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. A client that went away gets nothing."""
        if scope["type"] != "http":
            raise ValueError(f"cannot answer a scope of type {scope['type']!r}")
        method: str = scope["method"]
        reply: Reply | None
        try:
            match = self._router.match(method, _raw_path(scope))
            if isinstance(match, Miss):
                reply = self._miss(scope, match)
            else:
                exchange = Exchange(scope, self._endpoints[match.route], match.captures, self._headers, self._options)
                if exchange.endpoint.streams:
                    reply = await self._stream(exchange, scope, receive, send)
                else:
                    reply = await self._unary(exchange, receive)
        except Gone:
            return
        except (Refusal, InvalidRequest) as fault:
            reply = self._refused(self._told(fault, protobuf=_takes_protobuf(scope)))
        except Exception:
            _LOG.exception("the transcoder failed")
            reply = self._errors.own(500, "INTERNAL", INTERNAL_SENTENCE, protobuf=_takes_protobuf(scope))
        if reply is not None:
            await send_reply(send, reply, without_body=method == "HEAD")

    def _miss(self, scope: Scope, miss: Miss) -> Reply:
        protobuf = _takes_protobuf(scope)
        if not miss.allowed:
            sentence = "There is nothing at this path."
            return self._refused(self._errors.own(404, "NOT_FOUND", sentence, protobuf=protobuf))
        allow = (b"allow", ", ".join(miss.allowed).encode("latin-1"))
        if scope["method"] == "OPTIONS":
            return Reply(204, [allow], b"")
        sentence = "The path does not have this method."
        return self._refused(self._errors.own(405, "METHOD_NOT_ALLOWED", sentence, [allow], protobuf=protobuf))

    def _refused(self, reply: Reply) -> Reply:
        """Tell of a request that reached no RPC."""
        return reply._replace(headers=[*reply.headers, *self._options.on_refused(reply.status)])

    async def _stream(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        """Run an RPC that streams; return the response, None for one that was sent as it came."""
        if not exchange.endpoint.route.rpc.server_streaming:
            return await self._collected(exchange, receive)
        if scope.get("http_version") == "1.0":
            raise Refusal(505, "HTTP_VERSION_NOT_SUPPORTED", "This method streams its answer, which takes HTTP/1.1.")
        return await self._streamed(exchange, receive, send)

    async def _unary(self, exchange: Exchange, receive: Receive) -> Reply:
        request = await exchange.read(receive)
        watch = Watch(receive, exchange.terms.timeout, self._rounds)
        try:
            outcome = await _watched(self._caller.call(request, exchange.terms), watch)
        except Refusal as refusal:
            return self._told(refusal, protobuf=exchange.form is Form.PROTOBUF)
        if outcome.code is grpc.StatusCode.OK:
            return self._success(exchange, outcome)
        return self._failure(exchange, outcome, request)

    async def _collected(self, exchange: Exchange, receive: Receive) -> Reply:
        """Answer an RPC whose client streams and whose server does not."""
        sole = SoleAnswer()
        outcome, failure = await self._run(exchange, receive, sole)
        return failure or self._success(exchange, outcome._replace(response=sole.message))

    async def _streamed(self, exchange: Exchange, receive: Receive, send: Send) -> Reply | None:
        writer = StreamWriter(exchange.endpoint, exchange.form, self._headers, send)
        outcome, failure = await self._run(exchange, receive, writer)
        if failure is None:
            await writer.end(outcome.initial_metadata)
        elif writer.begun:
            await writer.fail(orjson.loads(failure.body))
        else:
            return failure
        return None

    async def _run(
        self, exchange: Exchange, receive: Receive, answers: StreamWriter | SoleAnswer
    ) -> tuple[Outcome, Reply | None]:
        """Run a stream to its end; return how it ended and, when it failed, how to say so."""
        watch: Watch
        requests: Request | RequestStream
        route = exchange.endpoint.route
        if route.rpc.client_streaming:
            exchange.begin_stream()
            watch = inbox = Inbox(receive, exchange.terms.timeout, self._rounds)
            requests = exchange.read_stream(inbox.receive)
        else:
            requests = await exchange.read(receive)
            watch = Watch(receive, exchange.terms.timeout, self._rounds)
        try:
            work = self._caller.stream(route, requests, exchange.terms, answers.deliver)
            outcome = await _watched(work, watch)
        except Gone:
            raise
        except Refusal as refusal:
            return _NO_OUTCOME, self._errors.refused(refusal)
        except Exception:
            _LOG.exception("the transcoder failed")
            return _NO_OUTCOME, self._errors.own(500, "INTERNAL", INTERNAL_SENTENCE)
        is_good = outcome.code is grpc.StatusCode.OK
        return outcome, None if is_good else self._failure(exchange, outcome, requests)

    def _success(self, exchange: Exchange, outcome: Outcome) -> Reply:
        written = exchange.endpoint.write(outcome.response, exchange.form)
        headers = self._headers.write(outcome.initial_metadata)
        reply = Reply(200, headers, written.body, written.content_type)
        if not 0 < self._options.min_gzip <= len(written.body):
            return reply
        return compressed(reply) if accepts_gzip(exchange.headers.accept_encoding) else varying(reply)

    def _failure(self, exchange: Exchange, outcome: Outcome, request: Request | RequestStream) -> Reply:
        headers = self._headers.write(outcome.initial_metadata)
        code, message, details = outcome.code, outcome.message, outcome.details
        protobuf = exchange.form is Form.PROTOBUF
        if request.fault is not None:  # whatever the handler made of it
            reply = self._told(request.fault, protobuf=protobuf)
            return reply._replace(headers=[*headers, *reply.headers])
        return self._errors.of_rpc(code, message, details, request.spelled, headers, protobuf=protobuf)

    def _told(self, fault: Refusal | InvalidRequest, *, protobuf: bool) -> Reply:
        """Answer for a request that could not be read."""
        if isinstance(fault, Refusal):
            return self._errors.refused(fault, protobuf=protobuf)
        return self._errors.invalid(fault.violations, protobuf=protobuf)


_LATE = Outcome(grpc.StatusCode.DEADLINE_EXCEEDED, LATE_SENTENCE, None, (), None)
_NO_OUTCOME = Outcome(grpc.StatusCode.UNKNOWN, "", None, (), None)


async def _watched(work: Awaitable[Outcome], watch: Watch) -> Outcome:
    """Await an RPC that is watched. Raises `Gone` when the RPC was cancelled because its client went away."""
    try:
        return await work
    except asyncio.CancelledError:
        if watch.gone:
            raise Gone from None
        if watch.late:
            return _LATE
        raise
    finally:
        watch.stop()


def _takes_protobuf(scope: Scope) -> bool:
    """Tell whether a client wants protobuf of an answer that no route has a say in."""
    return unary_form(b", ".join(value for name, value in scope["headers"] if name == b"accept")) is Form.PROTOBUF


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw else quote(scope["path"], safe="/:@!$&'()*+,;=~-._")
