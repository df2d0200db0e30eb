"""The service that is transcoded, in a process of its own: the same two handlers behind each arrangement.

Run: `python -m bench.transcoding_service http` serves them as REST through our whole stack, `… grpc` by grpc.aio with
reflection and health, for a transcoder in front.
"""

import asyncio
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import grpc_tools  # type: ignore[import-untyped]
import uvloop
from google.api import annotations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_tools import protoc

from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from server.web.guard import Guard
from server.web.server import HttpServer

SERVICE = "bench.v1.NoteService"
_PROTO = Path(__file__).with_name("transcoding.proto")
_TITLE, _TAGS = "A small message", ("small", "message")


@cache
def descriptors() -> bytes:
    """Compile the service; return its serialized `FileDescriptorSet` with all imports."""
    includes = [_PROTO.parent, Path(grpc_tools.__file__).parent / "_proto"]
    includes.append(Path(annotations_pb2.__file__).parent.parent.parent)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image")
        arguments = [*(f"-I{include}" for include in includes), "--include_imports", f"--descriptor_set_out={image}"]
        if protoc.main(["protoc", *arguments, str(_PROTO)]):
            raise RuntimeError(f"{_PROTO} does not compile")
        return image.read_bytes()


@cache
def pool() -> DescriptorPool:
    """Return a pool with the compiled service."""
    made = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptors()).file:
        made.Add(file)
    return made


def handlers() -> grpc.GenericRpcHandler:
    """Return the handlers, registered as generated code does."""
    service: ServiceDescriptor = pool().FindServiceByName(SERVICE)
    note: Any = message_factory.GetMessageClass(service.methods_by_name["PutNote"].output_type)

    async def get_note(request: Any, _context: object) -> Any:
        return note(id=request.id, title=_TITLE, reads=request.reads, tags=_TAGS, pinned=True)

    async def put_note(request: Any, _context: object) -> Any:
        return request

    methods: dict[str, Any] = {}
    for name, handler in (("GetNote", get_note), ("PutNote", put_note)):
        request = message_factory.GetMessageClass(service.methods_by_name[name].input_type)
        methods[name] = grpc.unary_unary_rpc_method_handler(
            handler, request_deserializer=request.FromString, response_serializer=note.SerializeToString
        )
    return grpc.method_handlers_generic_handler(SERVICE, methods)


async def serve_http() -> None:
    """Serve REST as the product does, until stopped; print the address first."""
    options = Options()
    caller = Dispatcher([handlers()], (), options)
    app = Transcoder([pool().FindServiceByName(SERVICE)], caller, options)
    server = HttpServer(Guard(app), "127.0.0.1", 0)
    await server.start()
    print(f"address {server.address}", flush=True)
    await asyncio.Event().wait()


async def serve_grpc() -> None:
    """Serve gRPC until stopped; print the address first."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(),))
    states = health.aio.HealthServicer()
    await states.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server, pool())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"address 127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve_http() if sys.argv[1] == "http" else serve_grpc())
