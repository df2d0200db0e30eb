"""Server reflection v1 and v1alpha, so that grpcurl, buf curl and the like need no proto files.

grpcio-reflection serves v1alpha only; v1 is the same messages under another package, so one servicer answers both.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from server.errors import InvalidRequest, Violation

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def reflection_handlers(services: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """Make the handlers of both versions, which show `services` and themselves."""
    _describe_v1()
    servicer: Any = reflection_aio.ReflectionServicer([*services, *SERVICES], _Pool())  # typed as a coroutine

    async def info(
        encoded: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        async for response in servicer.ServerReflectionInfo(_parsed(encoded), context):
            yield response

    serialize = reflection_pb2.ServerReflectionResponse.SerializeToString
    method: Any = grpc.stream_stream_rpc_method_handler(info, response_serializer=serialize)
    return [grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method}) for service in SERVICES]


class _Pool:
    """The default descriptor pool, which here also finds the file of a method, as the protocol asks."""

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the pool's own name
        """Return the file of a message, enum, service, extension or method; KeyError when there is none."""
        pool: Any = descriptor_pool.Default()
        try:
            return pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return pool.FindMethodByName(symbol).containing_service.file


async def _parsed(encoded: AsyncIterator[bytes]) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    async for message in encoded:
        try:
            yield reflection_pb2.ServerReflectionRequest.FromString(message)
        except DecodeError:
            sentence = "is no ServerReflectionRequest in the protobuf wire format"
            raise InvalidRequest([Violation("request", sentence)]) from None


def _describe_v1() -> None:
    """Add v1's descriptor to the pool, made from v1alpha's, so that reflection can describe itself."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
        method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    pool.AddSerializedFile(file.SerializeToString())
