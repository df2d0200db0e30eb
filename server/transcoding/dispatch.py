"""Calls to registered gRPC handlers, in process and through the same interceptors as over the wire.

What a handler receives depends on how it was registered:

- with a request deserializer (as generated code does), the request is decoded first and the handler gets the message; a
  request that cannot be decoded ends the call with INVALID_ARGUMENT before the handler runs (one of a stream is raised
  where the handler awaits it);
- without one, over gRPC it would get bytes; here it gets a callable without arguments that returns the message. So
  interceptors can authenticate before anything is parsed. The callable raises `Options.bad_request(violations)`; the
  default is the transcoder's own `InvalidRequest`, which this module answers with INVALID_ARGUMENT.

The response may be the message or, without a response serializer, its bytes. Handlers are coroutines; a plain function
runs on the event loop. Whatever else a handler raises is INTERNAL with one fixed sentence, and goes to the log.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from types import CoroutineType
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import Message

from server.transcoding.binding import Request
from server.transcoding.calls import Deliver, Outcome, Terms
from server.transcoding.context import InProcessContext, StreamContext, deadline_of, parsed
from server.transcoding.details import DETAILS_KEY, details_of
from server.transcoding.errors import INTERNAL_SENTENCE, bad_request_details, sentence
from server.transcoding.options import Options
from server.transcoding.router import Route
from server.transcoding.violation import BODY, InvalidRequest, Refusal

_LOG = logging.getLogger(__name__)

_MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable["_MethodHandler | None"]]
_BadRequest = Callable[[Sequence[tuple[str, str]]], Exception]


@dataclass(slots=True)
class CallDetails(grpc.HandlerCallDetails):
    """What interceptors see of a call before it runs."""

    method: str
    invocation_metadata: Any


class Dispatcher:
    """Finds and calls handlers. The chain of interceptors is composed once; which handler answers is asked per call.

    Interceptors are listed outermost first, as for `grpc.aio.server`.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        options: Options | None = None,
    ) -> None:
        self._handlers = tuple(handlers)
        self._bad_request: _BadRequest = (options or Options()).bad_request
        chain: _Continuation = self._lookup
        for interceptor in reversed(interceptors):
            chain = partial(interceptor.intercept_service, chain)
        self._resolve = chain

    async def _lookup(self, details: grpc.HandlerCallDetails) -> "_MethodHandler | None":
        for handlers in self._handlers:
            handler = handlers.service(details)
            if handler is not None:
                return handler
        return None

    async def call(self, request: Request, terms: Terms) -> Outcome:
        """Run a unary RPC to its end. Cancelling this cancels the handler."""
        with InProcessContext(terms.metadata, terms.peer, deadline_of(terms.timeout)) as context:
            return await self._unary(request, context)

    async def stream(
        self, route: Route, requests: Request | AsyncIterator[Request], terms: Terms, deliver: Deliver
    ) -> Outcome:
        """Run an RPC that streams to its end. Cancelling this cancels the handler."""
        deadline = deadline_of(terms.timeout)
        with StreamContext(terms.metadata, terms.peer, deadline, route.rpc.output_type, deliver) as context:
            return await self._streaming(route, requests, context)

    async def _unary(self, request: Request, context: InProcessContext) -> Outcome:
        route = request.binding.route
        try:
            handler = await self._resolve(CallDetails(route.rpc_path, context.invocation_metadata()))
            if handler is None or handler.unary_unary is None:
                return _unimplemented(context)
            response = handler.unary_unary(self._argument(handler, request), context)  # type: ignore[arg-type]
            if type(response) is CoroutineType or inspect.isawaitable(response):  # the former is told at once
                response = await response
            return _success(response, route, context)
        except Exception as fault:
            return _failed(fault, route, context)

    async def _streaming(
        self, route: Route, requests: Request | AsyncIterator[Request], context: StreamContext
    ) -> Outcome:
        try:
            handler = await self._resolve(CallDetails(route.rpc_path, context.invocation_metadata()))
            behaviour = None if handler is None else _behaviour(handler, route)
            if handler is None or behaviour is None:
                return _unimplemented(context)
            argument = self._arguments(handler, requests, context)
            responses = behaviour(argument, context)
            if inspect.isasyncgen(responses):
                async with aclosing(responses):
                    async for response in responses:
                        await context.write(response)
            elif inspect.isawaitable(responses):
                response = await responses
                if not route.rpc.server_streaming and _is_good(context):
                    await context.write(response)
            else:
                for response in responses:
                    await context.write(response)
            return _streamed(context)
        except Exception as fault:
            return _failed(fault, route, context)

    def _argument(self, handler: "_MethodHandler", request: Request) -> Any:
        if handler.request_deserializer is not None:
            return request()
        return partial(_read, request, self._bad_request)

    def _arguments(
        self, handler: "_MethodHandler", requests: Request | AsyncIterator[Request], context: StreamContext
    ) -> Any:
        if isinstance(requests, Request):
            return self._argument(handler, requests)

        async def arguments() -> AsyncIterator[Any]:
            try:
                async for request in requests:
                    yield self._argument(handler, request)
            except (InvalidRequest, Refusal) as fault:
                if handler.request_deserializer is not None:
                    raise
                raise _as_bad_request(fault, self._bad_request) from None

        context.requests = arguments()
        return context.requests


def _behaviour(handler: "_MethodHandler", route: Route) -> Callable[[Any, Any], Any] | None:
    """Return the handler's function of the kind that the method is of, None when it is of another."""
    if route.rpc.client_streaming:
        return handler.stream_stream if route.rpc.server_streaming else handler.stream_unary
    return handler.unary_stream


def _read(request: Request, bad_request: _BadRequest) -> Message:
    try:
        return request()
    except (InvalidRequest, Refusal) as fault:
        raise _as_bad_request(fault, bad_request) from None


def _as_bad_request(fault: InvalidRequest | Refusal, bad_request: _BadRequest) -> Exception:
    """Put a fault into the application's words; a refusal is told by its own status, whatever becomes of these."""
    return bad_request(fault.violations if isinstance(fault, InvalidRequest) else [(BODY, fault.message)])


def _is_good(context: InProcessContext) -> bool:
    code = context.code()
    return not context.aborted and (code is None or code is grpc.StatusCode.OK)


def _success(response: Any, route: Route, context: InProcessContext) -> Outcome:
    if not _is_good(context):
        return _ended(context)
    message = parsed(response, route.rpc.output_type)
    return Outcome(grpc.StatusCode.OK, "", None, context.initial_metadata or (), message)


def _streamed(context: InProcessContext) -> Outcome:
    if not _is_good(context):
        return _ended(context)
    return Outcome(grpc.StatusCode.OK, "", None, context.initial_metadata or (), None)


def _failed(fault: Exception, route: Route, context: InProcessContext) -> Outcome:
    """Answer for what a handler raised. A refusal of the request as a whole goes on to whoever called."""
    if isinstance(fault, Refusal):
        raise fault
    if isinstance(fault, grpc.aio.AbortError) and context.aborted:
        return _ended(context)
    if isinstance(fault, InvalidRequest):
        message = sentence(fault.violations)
        context.set_trailing_metadata([(DETAILS_KEY, bad_request_details(fault.violations, message))])
        return _failure(grpc.StatusCode.INVALID_ARGUMENT, message, context)
    _LOG.error("the handler of %s failed", route.rpc_path, exc_info=fault)
    context.set_trailing_metadata(())
    return _failure(grpc.StatusCode.INTERNAL, INTERNAL_SENTENCE, context)


def _unimplemented(context: InProcessContext) -> Outcome:
    return _failure(grpc.StatusCode.UNIMPLEMENTED, "The server does not implement this method.", context)


def _ended(context: InProcessContext) -> Outcome:
    return _failure(context.code(), context.details(), context)


def _failure(code: grpc.StatusCode, message: str, context: InProcessContext) -> Outcome:
    details = details_of(context.trailing_metadata())
    return Outcome(code, message, details, context.initial_metadata or (), None)
