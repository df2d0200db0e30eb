"""Calls to registered gRPC handlers, in process and through the same interceptors as over the wire.

What a handler receives depends on how it was registered:

- with a request deserializer (as generated code does), the request is decoded first and the handler gets the message; a
  request that cannot be decoded ends the call with INVALID_ARGUMENT before the handler runs;
- without one, over gRPC it would get bytes; here it gets a callable without arguments that returns the message. So
  interceptors can authenticate before anything is parsed. The callable raises `Options.bad_request(violations)`; the
  default is the transcoder's own `InvalidRequest`, which this module answers with INVALID_ARGUMENT.

The response may be the message or, without a response serializer, its bytes. Handlers are coroutines; a plain function
runs on the event loop. Whatever else a handler raises is INTERNAL with one fixed sentence, and goes to the log.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from server.transcoding.binding import Request
from server.transcoding.context import InProcessContext
from server.transcoding.errors import DETAILS_KEY, INTERNAL_SENTENCE, bad_request_details, details_of, sentence
from server.transcoding.headers import Metadata
from server.transcoding.options import Options
from server.transcoding.violation import InvalidRequest

_LOG = logging.getLogger(__name__)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]]


@dataclass(slots=True)
class CallDetails(grpc.HandlerCallDetails):
    """What interceptors see of a call before it runs."""

    method: str
    invocation_metadata: Any


class Outcome(NamedTuple):
    """How a call ended. `response` is the message when `code` is OK, `details` is serialized when it is not."""

    code: grpc.StatusCode
    message: str
    details: bytes | None
    initial_metadata: Metadata
    response: Any


class Dispatcher:
    """Finds and calls handlers. The chain of interceptors is composed once; which handler answers is asked per call."""

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        options: Options,
    ) -> None:
        self._handlers = tuple(handlers)
        self._timeout = options.timeout
        self._bad_request = options.bad_request
        chain: _Continuation = self._lookup
        for interceptor in reversed(interceptors):
            chain = partial(interceptor.intercept_service, chain)
        self._resolve = chain

    async def _lookup(self, details: grpc.HandlerCallDetails) -> _Handler:
        for handlers in self._handlers:
            handler = handlers.service(details)
            if handler is not None:
                return handler
        return None

    async def call(self, request: Request, metadata: Metadata, peer: str) -> Outcome:
        """Run the RPC of a request to its end. Cancelling this cancels the handler."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        context = InProcessContext(metadata, peer, deadline)
        late = asyncio.timeout_at(deadline)
        try:
            async with late:
                outcome = await self._run(request, context)
        except TimeoutError:
            context.finish(cancelled=True)
            return _failure(grpc.StatusCode.DEADLINE_EXCEEDED, "The server did not answer in time.", context)
        except asyncio.CancelledError:
            context.finish(cancelled=True)
            raise
        context.finish()
        return outcome

    async def _run(self, request: Request, context: InProcessContext) -> Outcome:
        rpc = request.binding.route.rpc
        details = CallDetails(request.binding.route.rpc_path, context.invocation_metadata())
        try:
            handler = await self._resolve(details)
            if handler is None or handler.unary_unary is None:
                return _failure(grpc.StatusCode.UNIMPLEMENTED, "The server does not implement this method.", context)
            response = handler.unary_unary(self._argument(handler, request), context)  # type: ignore[arg-type]
            if inspect.isawaitable(response):
                response = await response
            return _success(response, rpc.output_type, context)
        except grpc.aio.AbortError:
            return _ended(context) if context.aborted else _internal(request, context)
        except InvalidRequest as invalid:
            message = sentence(invalid.violations)
            context.set_trailing_metadata([(DETAILS_KEY, bad_request_details(invalid.violations, message))])
            return _failure(grpc.StatusCode.INVALID_ARGUMENT, message, context)
        except Exception:
            return _internal(request, context)

    def _argument(self, handler: "grpc.RpcMethodHandler[Any, Any]", request: Request) -> Any:
        if handler.request_deserializer is not None:
            return request()
        return partial(_read, request, self._bad_request)


def _read(request: Request, bad_request: Callable[[Sequence[tuple[str, str]]], Exception]) -> Message:
    try:
        return request()
    except InvalidRequest as invalid:
        raise bad_request(invalid.violations) from None


def _success(response: Any, output: Any, context: InProcessContext) -> Outcome:
    if context.aborted or context.code() not in {None, grpc.StatusCode.OK}:
        return _ended(context)
    if isinstance(response, bytes):
        try:
            response = message_factory.GetMessageClass(output).FromString(response)
        except DecodeError:
            raise TypeError(f"the handler's bytes are no {output.full_name}") from None
    if not isinstance(response, Message):
        raise TypeError(f"the handler returned {type(response).__name__} instead of {output.full_name}")
    return Outcome(grpc.StatusCode.OK, "", None, context.initial_metadata or (), response)


def _ended(context: InProcessContext) -> Outcome:
    return _failure(context.code(), context.details(), context)


def _internal(request: Request, context: InProcessContext) -> Outcome:
    _LOG.exception("the handler of %s failed", request.binding.route.rpc_path)
    context.set_trailing_metadata(())
    return _failure(grpc.StatusCode.INTERNAL, INTERNAL_SENTENCE, context)


def _failure(code: grpc.StatusCode, message: str, context: InProcessContext) -> Outcome:
    details = details_of(context.trailing_metadata())
    return Outcome(code, message, details, context.initial_metadata or (), None)
