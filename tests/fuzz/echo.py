"""Handlers for every method of the kitchen service: they answer with what they were sent, streams message by message.

A client can ask for an error by a name: a text field that is `!NOT_FOUND` ends the call with that status, and with
whatever bytes the header `x-details-bin` carries as its details. `x-request-id` and what `x-etag-bin` holds come back.
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from server.transcoding.app import Options, Transcoder
from server.transcoding.calls import Caller
from server.transcoding.context import InProcessContext
from server.transcoding.dispatch import Dispatcher
from tests.unit.transcoding.kitchen import SERVICE

_MOST = 20
"""How many messages a stream has at most, whatever was sent."""


def kitchen(caller: Caller | None = None) -> Transcoder:
    """Put the echo, in this process unless there is a caller, behind a transcoder that lets many headers in."""
    options = Options(request_headers=("authorization", "x-*", "traceparent", "user-agent", "idempotency-key"))
    return Transcoder([SERVICE], caller or Dispatcher([handlers()], (), options), options)


def handlers() -> grpc.GenericRpcHandler:
    """Return handlers for all methods, registered as generated code does."""
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name, {method.name: _handler(method) for method in SERVICE.methods}
    )


def _handler(method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
    output: Any = message_factory.GetMessageClass(method.output_type)

    async def unary(request: Any, context: Any) -> Any:
        sent = dict(context.invocation_metadata())
        returned = {"x-request-id": sent.get("x-request-id")}
        if isinstance(context, InProcessContext):  # gRPC takes no such bytes there
            returned["etag"] = sent.get("x-etag-bin")
        await context.send_initial_metadata(tuple(pair for pair in returned.items() if pair[1] is not None))
        return await _answer(request, output, context)

    async def collect(requests: AsyncIterator[Any], context: Any) -> Any:
        last: Any = output()
        async for request in requests:
            last = await _answer(request, output, context)
        return last

    async def spread(request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(abs(getattr(request, "page_size", 3)) % _MOST):
            yield await _answer(request, output, context)
            if getattr(request, "query", "") == "fail" and number == 1:
                await context.abort(grpc.StatusCode.DATA_LOSS, "Half of it is lost.")

    async def chat(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield await _answer(request, output, context)

    serving: Any = {
        (False, False): (grpc.unary_unary_rpc_method_handler, unary),
        (True, False): (grpc.stream_unary_rpc_method_handler, collect),
        (False, True): (grpc.unary_stream_rpc_method_handler, spread),
        (True, True): (grpc.stream_stream_rpc_method_handler, chat),
    }
    make, handler = serving[method.client_streaming, method.server_streaming]
    request_class = message_factory.GetMessageClass(method.input_type)
    made: grpc.RpcMethodHandler[Any, Any] = make(
        handler, request_deserializer=request_class.FromString, response_serializer=output.SerializeToString
    )
    return made


async def _answer(request: Any, output: Any, context: Any) -> Any:
    """Make the answer to one message."""
    asked = next((value for field, value in request.ListFields() if isinstance(value, str) and value[:1] == "!"), "")
    code = grpc.StatusCode.__members__.get(asked[1:])
    if code is not None and code is not grpc.StatusCode.OK:
        details = [value for name, value in context.invocation_metadata() if name == "x-details-bin"]
        trailing = tuple(("grpc-status-details-bin", value) for value in details)
        await context.abort(code, f"As you wish: {asked}", trailing)
    return request if isinstance(request, output) else _filled(output(), request)


def _filled(answer: Any, request: Message) -> Any:
    """Copy into an answer the fields that it shares with the request; add something to those that list things."""
    for field, value in request.ListFields():
        twin = answer.DESCRIPTOR.fields_by_name.get(field.name)
        if twin is not None and twin.type == field.type and not (field.is_repeated or field.message_type):
            setattr(answer, field.name, value)
    name = answer.DESCRIPTOR.full_name
    if name == "google.api.HttpBody":
        answer.content_type, answer.data = "text/plain", str(request).encode()
    if name == "kitchen.v1.SearchResponse":
        answer.books.add(name="a", title="long enough to be worth a compression " * 40)
    return answer
