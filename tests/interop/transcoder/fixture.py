"""The services that both transcoders are put in front of, and their handlers as generated code would register them.

Every RPC that can returns its request. Each says in `x-rpc` that it was called and in `x-request` with what, so that a
request that was read wrongly shows even where the answer cannot tell.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_tools import protoc  # type: ignore[import-untyped]

from tests.unit.transcoding.kitchen import FILES as KITCHEN
from tests.unit.transcoding.kitchen import pool_of

_PROTO = Path(__file__).with_name("fixture.proto")
_SHOWN = 400
HANGING: "asyncio.Queue[asyncio.Event]" = asyncio.Queue()
"""Calls that hang, as they begin."""
_TOLD = ("authorization", "x-api-key", "x-request-id", "traceparent", "accept-language", "x-custom", "x-blob-bin")


def _compiled() -> FileDescriptorSet:
    """Compile the services on top of the kitchen's files."""
    with tempfile.TemporaryDirectory() as folder:
        imports, image = Path(folder, "imports"), Path(folder, "image")
        imports.write_bytes(KITCHEN.SerializeToString())
        failed = protoc.main(
            [
                *("protoc", f"-I{_PROTO.parent}", f"--descriptor_set_in={imports}", "--include_imports"),
                *(f"--descriptor_set_out={image}", _PROTO.name),
            ]
        )
        assert not failed
        return FileDescriptorSet.FromString(image.read_bytes())


FILES = _compiled()
POOL = pool_of(FILES)
SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    POOL.FindServiceByName(f"interop.v1.{name}") for name in ("Paths", "Bodies", "Ends", "Streams")
)
BEYOND_ENVOY: ServiceDescriptor = POOL.FindServiceByName("interop.v1.Answers")


def message(name: str) -> Any:
    """Return the class of a message type, by its full name or its name in the fixture."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name if "." in name else f"interop.v1.{name}"))


async def _announce(rpc: str, request: Any, context: Any, *more: tuple[str, str | bytes]) -> None:
    """Say what was called with what: short messages in hexadecimal, long ones as a digest."""
    octets = request.SerializeToString(deterministic=True)
    shown = octets.hex() if len(octets) < _SHOWN else hashlib.sha256(octets).hexdigest()
    await context.send_initial_metadata((("x-rpc", rpc), ("x-request", f"={shown}"), *more))


async def echo(rpc: str, request: Any, context: Any) -> Any:
    """Return the request."""
    await _announce(rpc, request, context)
    return request


async def fetch(rpc: str, request: Any, context: Any) -> Any:
    """Return bytes of the type that was asked for."""
    await _announce(rpc, request, context)
    return message("google.api.HttpBody")(content_type=request.content_type, data=request.data.encode())


def _detail(name: str) -> AnyMessage:
    """Make the detail of a status that goes by a short name."""
    packed = AnyMessage()
    if name == "strange":
        return AnyMessage(type_url="type.googleapis.com/nobody.knows.This", value=b"\x0a\x01x")
    if name == "info":
        packed.Pack(ErrorInfo(reason="OUT_OF_STOCK", domain="interop.example", metadata={"shelf": "1"}))
    elif name == "bad":
        packed.Pack(BadRequest(field_violations=[BadRequest.FieldViolation(field="message", description="is bad")]))
    elif name == "retry":
        retry = RetryInfo()
        retry.retry_delay.seconds = 7
        packed.Pack(retry)
    else:
        packed.Pack(Help(links=[Help.Link(description="Read", url="https://interop.example/help")]))
    return packed


async def fail(rpc: str, request: Any, context: Any) -> Any:
    """End with the code, message and details that were asked for; 0 is no failure."""
    (code,) = (code for code in grpc.StatusCode if code.value[0] == request.code)
    await _announce(rpc, request, context)
    if request.details:
        details = [_detail(name) for name in request.details]
        status = Status(code=request.code, message=request.message, details=details)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    if request.code:
        await context.abort(code, request.message)
    return request


async def break_(_rpc: str, _request: Any, _context: Any) -> Any:
    """Fail as nobody expects."""
    raise RuntimeError("secret")


async def hang(_rpc: str, _request: Any, _context: Any) -> Any:
    """Never answer; put an event that is set when the call is over."""
    ended = asyncio.Event()
    HANGING.put_nowait(ended)
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def tell(rpc: str, request: Any, context: Any) -> Any:
    """Tell which metadata has arrived, with some in return, and, when asked by `flag`, whether there is a deadline."""
    await _announce(
        rpc, request, context, ("etag", '"1"'), ("location", "/there"), ("x-ratelimit-limit", "3"), ("x-secret", "no")
    )
    told = message("Told")(has_deadline=request.flag and context.time_remaining() is not None)
    for name, value in context.invocation_metadata():
        if name in _TOLD:
            text = value.hex() if isinstance(value, bytes) else value
            told.metadata[name] = f"{told.metadata[name]}|{text}" if name in told.metadata else text
    return told


async def _fail_at_last(request: Any, context: Any) -> None:
    if request.fail_code:
        await context.abort(next(code for code in grpc.StatusCode if code.value[0] == request.fail_code), "no more")


async def count(rpc: str, request: Any, context: Any) -> AsyncIterator[Any]:
    """Count to a number and then perhaps fail."""
    await _announce(rpc, request, context)
    for number in range(1, request.to + 1):
        yield message("Number")(number=number)
    await _fail_at_last(request, context)


async def pages(rpc: str, request: Any, context: Any) -> AsyncIterator[Any]:
    """Return bytes in pieces and then perhaps fail."""
    await _announce(rpc, request, context)
    for number in range(1, request.to + 1):
        yield message("google.api.HttpBody")(content_type=request.content_type, data=f"page {number}\n".encode())
    await _fail_at_last(request, context)


async def add(rpc: str, requests: AsyncIterator[Any], context: Any) -> Any:
    """Return the sum of what was sent."""
    numbers = [request async for request in requests]
    await _announce(rpc, message("Sum")(), context, ("x-units", ",".join(number.unit for number in numbers)))
    return message("Sum")(sum=sum(number.number for number in numbers), count=len(numbers))


async def mirror(rpc: str, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    """Return what is sent, as it comes."""
    await _announce(rpc, message("Sum")(), context)
    async for request in requests:
        yield request


_HANDLERS: dict[str, Callable[..., Any]] = {
    "Fetch": fetch,
    "Fail": fail,
    "Break": break_,
    "Hang": hang,
    "Tell": tell,
    "Count": count,
    "Pages": pages,
    "Add": add,
    "Mirror": mirror,
}
_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _handler(method: MethodDescriptor) -> Any:
    handle = partial(_HANDLERS.get(method.name, echo), method.name)
    return _KINDS[method.client_streaming, method.server_streaming](
        handle,
        request_deserializer=message(method.input_type.full_name).FromString,
        response_serializer=message(method.output_type.full_name).SerializeToString,
    )


def handlers() -> list[grpc.GenericRpcHandler]:
    """Return the handlers of all services; `Missing` has none."""
    return [
        grpc.method_handlers_generic_handler(
            service.full_name, {method.name: _handler(method) for method in service.methods if method.name != "Missing"}
        )
        for service in (*SERVICES, BEYOND_ENVOY)
    ]
