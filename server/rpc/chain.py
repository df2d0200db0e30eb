"""The chain of interceptors around every handler, for calls over gRPC and for those dispatched in process alike.

To grpc.aio it is one interceptor, so that a call pays for one; our links are plain coroutines composed once per method.
Here, and only here, response headers are sent and calls aborted: headers exactly once, before the answer or the abort.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc
from grpc.aio import ServicerContext

from server.errors import Overloaded, Unavailable, Unimplemented
from server.rpc.call import Call, Interceptor, Proceed, bind_call, current_call

# Quoted where evaluated: grpc's classes take type arguments only in their stubs.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]"


_FAREWELL_SECONDS = 0.2
_MAXIMUM_STREAMS = 256  # health watches and reflection need no token, so anyone could open them without end


class Chain(grpc.aio.ServerInterceptor):
    """Runs `outer` links around every method, and `inner` ones also around all but those of `open_services`.

    Methods of `anonymous_services`, which ask for no access token, have `anonymous` links in the place of `inner` ones.
    """

    def __init__(
        self,
        *,
        outer: Sequence[Interceptor],
        inner: Sequence[Interceptor],
        open_services: Sequence[str],
        anonymous_services: Sequence[str] = (),
        anonymous: Sequence[Interceptor] = (),
        names_successes: bool = True,
    ) -> None:
        """Compose the chain; without `names_successes` only failed calls are told their id: headers cost a message."""
        self._outer = tuple(outer)
        self._inner = tuple(inner)
        self._open = tuple(f"/{service}/" for service in open_services)
        self._anonymous = tuple(f"/{service}/" for service in anonymous_services)
        self._anonymous_links = tuple(anonymous)
        self._wrapped: dict[str, _Handler] = {}
        self._streams: set[asyncio.Task[None]] = set()
        self._draining = False
        self._names_successes = names_successes

    async def end_streams(self) -> None:
        """Let open streams, which may be endless, send a last message and end them; for a server that stops."""
        self._draining = True
        if self._streams:
            _, endless = await asyncio.wait(self._streams, timeout=_FAREWELL_SECONDS)
            for stream in endless:
                stream.cancel()

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler:
        """Return the method's handler inside the chain; an unknown method gets one that answers UNIMPLEMENTED."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(self._serve(method, _unknown_method))
        wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: _Handler) -> _Handler:
        """Put one method's handler inside the chain, whichever of the four kinds it is."""
        kinds: dict[tuple[bool, bool], tuple[Any, Callable[..., _Handler]]] = {
            (False, False): (handler.unary_unary, grpc.unary_unary_rpc_method_handler),
            (False, True): (handler.unary_stream, grpc.unary_stream_rpc_method_handler),
            (True, False): (handler.stream_unary, grpc.stream_unary_rpc_method_handler),
            (True, True): (handler.stream_stream, grpc.stream_stream_rpc_method_handler),
        }
        behaviour, make = kinds[handler.request_streaming, handler.response_streaming]
        served = self._serve(method, self._streaming(method, behaviour) if handler.response_streaming else behaviour)
        return make(served, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, method: str, behaviour: Any) -> Callable[[Any, Any], Awaitable[None]]:
        """Let a stream end when its handler does or when the server drains; a watch has lost nothing by that."""
        run = _to_its_end(behaviour)
        is_watch = method.startswith(self._open)

        async def stream(request: Any, context: ServicerContext[Any, Any]) -> None:
            if len(self._streams) >= _MAXIMUM_STREAMS:
                raise Overloaded
            work = asyncio.create_task(run(request, context))
            self._streams.add(work)
            try:
                await work
            except asyncio.CancelledError:
                if not self._draining:
                    raise
                if not is_watch:
                    raise Unavailable("The server is going away. Open the stream anew.") from None
            finally:
                self._streams.discard(work)

        return stream

    def _links(self, method: str) -> Sequence[Interceptor]:
        if method.startswith(self._open):
            return self._outer
        return (*self._outer, *(self._anonymous_links if method.startswith(self._anonymous) else self._inner))

    def _serve(
        self, method: str, behaviour: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        """Compose the links around a behaviour once, and return what grpc.aio calls for each call."""

        async def handle(call: Call, request: Any) -> Any:
            return await behaviour(request, call.context)

        proceed: Proceed = handle
        for link in reversed(self._links(method)):
            proceed = partial(link, proceed)

        async def serve(request: Any, context: ServicerContext[Any, Any]) -> Any:
            call = Call(method=method, context=context, metadata=tuple(context.invocation_metadata() or ()))
            if self._names_successes:
                call.response_headers["x-request-id"] = call.id
            bind_call(call)
            response = await proceed(call, request)
            if call.status is not None:
                call.response_headers["x-request-id"] = call.id
                await call.send_headers()
                await context.abort_with_status(call.status)
            await call.send_headers()
            return response

        return serve


def _to_its_end(behaviour: Any) -> Callable[[Any, Any], Coroutine[Any, Any, None]]:
    """Turn a handler that streams into one that can be awaited to its end; headers go before the first message."""
    if not inspect.isasyncgenfunction(behaviour):  # it writes for itself

        async def run(request: Any, context: ServicerContext[Any, Any]) -> None:
            await current_call().send_headers()
            await behaviour(request, context)

        return run

    async def write(request: Any, context: ServicerContext[Any, Any]) -> None:
        async for message in behaviour(request, context):
            await current_call().send_headers()
            await context.write(message)

    return write


async def _unknown_method(request: Any, context: ServicerContext[Any, Any]) -> Any:
    raise Unimplemented("The service has no such method. Ask its reflection for those that it has.")
