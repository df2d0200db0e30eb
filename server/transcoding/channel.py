"""Calls to a gRPC server behind a channel: what the server says, and fixed sentences for what is not its word.

A status comes through as the server sent it, with two exceptions. UNKNOWN and INTERNAL without details lose their
message, since many servers put the text of an exception there. And what gRPC says of the connection, with addresses and
system calls in it, becomes UNAVAILABLE with a sentence of ours.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from server.transcoding.binding import Request
from server.transcoding.calls import Deliver, Outcome, Terms
from server.transcoding.details import details_of
from server.transcoding.errors import INTERNAL_SENTENCE, LATE_SENTENCE, bad_request_details, sentence
from server.transcoding.headers import Metadata
from server.transcoding.router import Route
from server.transcoding.violation import InvalidRequest

UNREACHABLE_SENTENCE = "The upstream server cannot be reached."

_LOG = logging.getLogger(__name__)
_SPEECHLESS = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL})
_OWN_WORDS = "Stream removed ("
"""How gRPC begins what it says by itself of a stream that broke off; there is no other mark of who gave a status."""
_OF_CONNECTIONS = re.compile(
    r"connect|\bipv[46]:|\bunix:|\bsocket closed|goaway|rst_stream|\bhttp2\b|transport closed|endpoint closing"
    r"|keepalive|ping timeout|resolution failed|empty address list|handshake|broken pipe|\b(recv|send)msg\b|\berrno\b",
    re.IGNORECASE,
)
"""What gRPC and proxies speak of in an UNAVAILABLE of theirs, in any place of it. A server that does too is hidden."""
_TICK = 0.01
"""Seconds that gRPC's clock may be ahead of ours at the deadline."""


class _Method(NamedTuple):
    """A method of the server: how a call of it begins, and the class of its responses."""

    start: Any
    response: type[Message]


class ChannelCaller:
    """Calls the methods of routes over a channel, which stays its owner's to close."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[Route, _Method] = {}

    async def call(self, request: Request, terms: Terms) -> Outcome:
        """Run a unary RPC to its end. Cancelling this cancels the RPC."""
        route = request.binding.route
        try:
            message = request()
        except InvalidRequest as invalid:
            return _invalid(invalid)
        method = self._method(route)
        call = method.start(message, timeout=terms.timeout, metadata=terms.metadata)
        try:
            response = method.response.FromString(await call)
            return Outcome(grpc.StatusCode.OK, "", None, tuple(await call.initial_metadata()), response)
        except grpc.aio.AioRpcError as failure:
            return self._failure(failure, call.time_remaining())
        except DecodeError:
            return _broken(route, "no message of its type", tuple(await call.initial_metadata()))

    async def stream(
        self, route: Route, requests: Request | AsyncIterator[Request], terms: Terms, deliver: Deliver
    ) -> Outcome:
        """Run an RPC that streams to its end. Cancelling this cancels the RPC.

        The next response is read when the one before was delivered, the next request when the one before was taken. A
        server that ends before it has heard all requests has the last word. What `deliver` raises is raised, after the
        RPC was cancelled.
        """
        method = self._method(route)
        if isinstance(requests, Request):
            try:
                requests()  # before the server hears of a call
            except InvalidRequest as invalid:
                return _invalid(invalid)
        call = method.start(timeout=terms.timeout, metadata=terms.metadata)
        writing = asyncio.create_task(_write(call, requests))
        try:
            return await self._read(call, method, route, deliver)
        except asyncio.CancelledError:
            if not writing.done():
                raise
            return _invalid(_cause(writing))
        finally:
            call.cancel()
            writing.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await writing

    async def _read(self, call: Any, method: _Method, route: Route, deliver: Deliver) -> Outcome:
        """Deliver the responses. A call that was cancelled from this side raises CancelledError."""
        metadata: Metadata = ()
        count = 0
        try:
            while (octets := await call.read()) is not grpc.aio.EOF:
                if count == 0:
                    metadata = tuple(await call.initial_metadata())
                count += 1
                if count > 1 and not route.rpc.server_streaming:
                    return _broken(route, "several messages instead of one", metadata)
                await deliver(method.response.FromString(octets), metadata)
            metadata = tuple(await call.initial_metadata())
        except grpc.aio.AioRpcError as failure:
            return self._failure(failure, call.time_remaining())
        except DecodeError:
            return _broken(route, "no message of its type", metadata)
        if count == 0 and not route.rpc.server_streaming:
            return _broken(route, "no message", metadata)
        return Outcome(grpc.StatusCode.OK, "", None, metadata, None)

    def _method(self, route: Route) -> _Method:
        """Return the route's method. All kinds of streams are the same on the wire, so one kind serves them all."""
        found = self._methods.get(route)
        if found is None:
            streams = route.rpc.client_streaming or route.rpc.server_streaming
            start: Any = self._channel.stream_stream if streams else self._channel.unary_unary
            # Responses are parsed here: gRPC would log the fault and hand on None.
            method = start(route.rpc_path, request_serializer=None if streams else _serialized)
            found = self._methods[route] = _Method(method, message_factory.GetMessageClass(route.rpc.output_type))
        return found

    def _failure(self, failure: grpc.aio.AioRpcError, remaining: float | None) -> Outcome:
        """Return the end of a call that failed; `remaining` are the seconds to its deadline."""
        code, message = failure.code(), failure.details() or ""
        details = details_of(tuple(failure.trailing_metadata() or ())) or None  # empty ones tell nothing
        if details is None:
            is_own = message.startswith(_OWN_WORDS)
            if is_own and code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                _LOG.error("the upstream server's answer is too large: %s", message)
                code = grpc.StatusCode.INTERNAL  # over HTTP the other would blame the caller (429)
            if code in _SPEECHLESS:
                message = INTERNAL_SENTENCE
            elif code is grpc.StatusCode.UNAVAILABLE and (is_own or self._is_of_connection(message)):
                message = UNREACHABLE_SENTENCE
            elif code is grpc.StatusCode.DEADLINE_EXCEEDED and remaining is not None and remaining < _TICK:
                message = LATE_SENTENCE
        return Outcome(code, message, details, tuple(failure.initial_metadata() or ()), None)

    def _is_of_connection(self, message: str) -> bool:
        """Tell whether an UNAVAILABLE is gRPC's word: there is no connection, or it speaks of one that was lost."""
        is_connected = self._channel.get_state() is grpc.ChannelConnectivity.READY
        return not is_connected or _OF_CONNECTIONS.search(message) is not None


def _serialized(message: Message) -> bytes:
    return type(message).SerializeToString(message)


async def _write(call: Any, requests: Request | AsyncIterator[Request]) -> None:
    """Send each request as it comes. A request that cannot be read cancels the call and is raised."""
    try:
        await call.wait_for_connection()
        if isinstance(requests, Request):
            await _send(call, requests())
        else:
            async for request in requests:
                await _send(call, request())
        await call.done_writing()
    except (grpc.aio.AioRpcError, grpc.aio.InternalError):
        return  # the server has ended the call, which its status tells the reader
    except Exception:
        call.cancel()
        raise


async def _send(call: Any, message: Message) -> None:
    """Send one message. The call's own `write` would put INTERNAL in the place of a status that has just come."""
    await call._cython_call.send_serialized_message(type(message).SerializeToString(message))


def _cause(writing: "asyncio.Task[None]") -> InvalidRequest:
    """Return the request that could not be read; whatever else ended the writing is raised."""
    try:
        writing.result()
    except InvalidRequest as invalid:
        return invalid
    raise asyncio.CancelledError


def _invalid(invalid: InvalidRequest) -> Outcome:
    message = sentence(invalid.violations)
    details = bad_request_details(invalid.violations, message)
    return Outcome(grpc.StatusCode.INVALID_ARGUMENT, message, details, (), None)


def _broken(route: Route, what: str, metadata: Metadata) -> Outcome:
    _LOG.error("the upstream server answered %s with %s", route.rpc_path, what)
    return Outcome(grpc.StatusCode.INTERNAL, INTERNAL_SENTENCE, None, metadata, None)
