"""What an upstream says of itself over server reflection (grpc.reflection.v1, else v1alpha, the same messages)."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError, Message
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from server.gateway.files import UNREACHABLE, CannotLearn, Files

MAXIMUM_SERVICES = 500
MAXIMUM_SECONDS = 30.0

_VERSIONS = ("v1", "v1alpha")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_NAMED = 10
"""How many of the listed services a sentence repeats."""
_INFRASTRUCTURE = "grpc."
"""How the names of gRPC's own services begin (health, reflection, channelz), which are nobody's REST API."""


class Description(NamedTuple):
    """The services to serve, by full name and sorted, and all their files, each after those it imports."""

    services: tuple[str, ...]
    files: Sequence[FileDescriptorProto]


async def describe(channel: grpc.aio.Channel, wanted: Sequence[str] = ()) -> Description:
    """Ask an upstream for the `wanted` services, or for all that it lists, and for all their files.

    What may be large is read beside the event loop, in threads.

    Raises:
        CannotLearn: it cannot be reached, has no reflection, or says what makes no sense.
    """
    try:
        async with asyncio.timeout(MAXIMUM_SECONDS):
            return await _describe(channel, wanted)
    except grpc.aio.AioRpcError as failure:
        raise CannotLearn(_explained(failure)) from None
    except TimeoutError:
        raise CannotLearn(f"The upstream's reflection took more than {MAXIMUM_SECONDS:.0f} seconds.") from None


async def _describe(channel: grpc.aio.Channel, wanted: Sequence[str]) -> Description:
    version, listed = await _listed(channel)
    names = sorted(set(wanted)) or [name for name in listed if not name.startswith(_INFRASTRUCTURE)]
    if not names:
        raise CannotLearn("The upstream's reflection lists no services but gRPC's own; register yours with it.")
    if len(names) > MAXIMUM_SERVICES:
        raise CannotLearn(f"The upstream lists more than {MAXIMUM_SERVICES} services; name some with --service.")
    conversation, files = _Conversation(channel, version), Files()
    try:
        for name in names:
            if not files.has_service(name):
                given = await conversation.ask(ServerReflectionRequest(file_containing_symbol=name))
                await asyncio.to_thread(files.add, given)
        while (missing := await asyncio.to_thread(files.next_missing)) is not None:
            given = await conversation.ask(ServerReflectionRequest(file_by_filename=missing))
            await asyncio.to_thread(files.add, given)
            await asyncio.to_thread(files.substitute, missing)
        await conversation.part()
    finally:
        conversation.end()
    if unknown := [name for name in names if not files.has_service(name) and name in wanted]:
        some = ", ".join(listed[:_NAMED]) or "none"
        raise CannotLearn(f"The upstream has no service {unknown[0]!r}; it lists {some}; see --service.")
    described = tuple(name for name in names if files.has_service(name))
    if not described:
        raise CannotLearn("The upstream's reflection describes none of the services it lists.")
    return Description(described, await asyncio.to_thread(files.in_order))


async def _listed(channel: grpc.aio.Channel) -> tuple[str, list[str]]:
    """Return the version that the upstream has and the services it lists.

    The question goes out whole, with the end of the questions: a server without the version answers at once, and
    gRPC would report INTERNAL for one that ends while a message is being sent.
    """
    for version in _VERSIONS:
        ask: Any = channel.unary_stream(_path(version), request_serializer=_serialized)
        call = ask(ServerReflectionRequest(list_services=""))
        try:
            answer = await _next_answer(call)
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.UNIMPLEMENTED and version != _VERSIONS[-1]:
                continue
            raise
        finally:
            call.cancel()  # nothing but the one answer is read, however many there are
        break
    names = {service.name for service in answer.list_services_response.service}
    return version, sorted(filter(_NAME.fullmatch, names))


class _Conversation:
    """Questions and answers over one stream, so that the upstream need not repeat what it has said."""

    def __init__(self, channel: grpc.aio.Channel, version: str) -> None:
        call: Any = channel.stream_stream(_path(version), request_serializer=_serialized)
        self._call = call()

    async def ask(self, question: ServerReflectionRequest) -> Sequence[bytes]:
        """Return the files that answer a question; none when the upstream does not know."""
        await self._call.write(question)
        return (await _next_answer(self._call)).file_descriptor_response.file_descriptor_proto

    async def part(self) -> None:
        """Say that there are no more questions, and let the upstream end well."""
        await self._call.done_writing()
        await self._call.read()

    def end(self) -> None:
        """Hang up, whatever it still says."""
        self._call.cancel()


def _path(version: str) -> str:
    return f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


async def _next_answer(call: Any) -> ServerReflectionResponse:
    octets = await call.read()
    if octets is grpc.aio.EOF:
        raise CannotLearn("The upstream's reflection ends before it has answered.")
    try:
        return await asyncio.to_thread(ServerReflectionResponse.FromString, octets)
    except DecodeError:
        raise CannotLearn("The upstream's reflection gives answers that are no ServerReflectionResponse.") from None


def _explained(failure: grpc.aio.AioRpcError) -> str:
    code = failure.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "The upstream has no server reflection; turn it on there (grpc.reflection.v1 or v1alpha)."
    if code is grpc.StatusCode.UNAVAILABLE:
        return UNREACHABLE
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return f"The upstream's reflection refuses the gateway ({code.name}); let it in there without credentials."
    return f"The upstream's reflection failed with {code.name}."
