"""gRPC servers to put a gateway in front of, with reflection and health as wanted, and the gateway itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import httpx2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health import aio as health_aio
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from server.gateway.app import Settings, running
from server.gateway.upstream import Tls, Upstream
from server.transcoding.options import Options
from tests.unit.transcoding.kitchen import FILES, message

POLL_SECONDS = 0.01


class Kitchen:
    """The kitchen's methods that the tests call."""

    async def GetBook(self, request: Any, context: Any) -> Any:
        """Return a book that tells what it was asked for, unless there is none of that name."""
        if request.name == "missing":
            status = Status(code=5, message="there is no such book")
            status.details.add().Pack(ErrorInfo(reason="NO_BOOK", domain="kitchen.example"))
            trailing = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such book", trailing)
        if request.name == "broken":
            raise RuntimeError("a secret")
        metadata = dict(context.invocation_metadata())
        await context.send_initial_metadata((("etag", '"1"'), ("x-inner", "stays")))
        return message("Book")(name=request.name, title=metadata.get("x-shelf", "none"))

    async def PutSink(self, request: Any, _context: Any) -> Any:
        """Give back what came."""
        return request

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Give as many books as asked for, then an error when a query is given."""
        for number in range(request.page_size):
            yield message("Book")(title=f"{number}")
        if request.query:
            await context.abort(grpc.StatusCode.DATA_LOSS, request.query)

    async def Import(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        """Give back all that came."""
        return message("SearchResponse")(books=[book async for book in requests])

    async def Chat(self, requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        """Answer each."""
        async for book in requests:
            yield message("Book")(title=f"re: {book.title}")

    async def Download(self, request: Any, _context: Any) -> Any:
        """Give a file."""
        return message("google.api.HttpBody")(content_type="text/plain", data=request.name.encode())


@dataclass(slots=True, kw_only=True)
class Upstreams:
    """Starts servers, all on one port so that each takes the place of the one before."""

    credentials: grpc.ServerCredentials | None = None
    port: int = 0
    health: Any = None
    server: Any = None
    _pools: list[DescriptorPool] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Return where they listen."""
        return f"127.0.0.1:{self.port}"

    async def start(
        self,
        files: FileDescriptorSet = FILES,
        services: Sequence[str] = ("kitchen.v1.Kitchen",),
        servicer: object | None = None,
        *,
        versions: Sequence[str] = ("v1", "v1alpha"),
        reflection: Callable[..., Any] | None = None,
        health: Any = None,
        with_health: bool = True,
    ) -> None:
        """Start a server of the services; `reflection` and `health` answer in place of true ones."""
        pool = DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self.server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)))
        for service in services:
            self.server.add_generic_rpc_handlers((_handlers(pool, service, servicer or Kitchen()),))
        listed = [*services, *(f"grpc.reflection.{version}.ServerReflection" for version in versions)]
        answer = reflection or reflection_aio.ReflectionServicer(listed, pool).ServerReflectionInfo
        for version in versions:
            self.server.add_generic_rpc_handlers((_reflection(version, answer),))
        if with_health:
            self.health = health or health_aio.HealthServicer()
            add_HealthServicer_to_server(self.health, self.server)
        self.port = (
            self.server.add_insecure_port(self.address)
            if self.credentials is None
            else self.server.add_secure_port(self.address, self.credentials)
        )
        await self.server.start()

    async def stop(self) -> None:
        """End the server at once."""
        if self.server is not None:
            await self.server.stop(None)
            self.server = None


def _handlers(pool: DescriptorPool, service: str, servicer: object) -> grpc.GenericRpcHandler:
    kinds = (
        (grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler),
        (grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler),
    )
    methods: dict[str, Any] = {}
    for rpc in pool.FindServiceByName(service).methods:
        if (handler := getattr(servicer, rpc.name, None)) is not None:
            make: Any = kinds[rpc.client_streaming][rpc.server_streaming]
            # Requests are read as the kitchen's own classes, whichever pool the test's files are in.
            read = message(rpc.input_type.full_name) if service == "kitchen.v1.Kitchen" else None
            read = read or GetMessageClass(rpc.input_type)
            methods[rpc.name] = make(handler, read.FromString, lambda response: response.SerializeToString())
    return grpc.method_handlers_generic_handler(service, methods)


def _reflection(version: str, answer: Callable[..., Any]) -> grpc.GenericRpcHandler:
    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        reflection_pb2.ServerReflectionRequest.FromString,
        lambda response: response if isinstance(response, bytes) else response.SerializeToString(),
    )
    return grpc.method_handlers_generic_handler(
        f"grpc.reflection.{version}.ServerReflection", {"ServerReflectionInfo": handler}
    )


@dataclass(slots=True, kw_only=True)
class Front:
    """A running gateway: a client of it, and what it said to its operator."""

    http: httpx2.AsyncClient
    told: list[str]

    async def until(self, status: int, path: str = "/readyz") -> httpx2.Response:
        """Ask until the answer has a status."""
        async with asyncio.timeout(20):
            while (response := await self.http.get(path)).status_code != status:
                await asyncio.sleep(POLL_SECONDS)
        return response

    async def until_told(self, text: str) -> None:
        """Wait until the operator was told a text."""
        async with asyncio.timeout(20):
            while not any(text in each for each in self.told):
                await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def fronted(
    address: str,
    options: Options | None = None,
    *,
    tls: Tls | None = None,
    authority: str | None = None,
    services: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    listens: Callable[[str], None] | None = None,
) -> AsyncIterator[Front]:
    """Run a gateway in front of a server. `listens` is its operator in the place of one who keeps what is said."""
    upstream = Upstream(address=address, tls=tls, authority=authority, services=tuple(services))
    settings = Settings(
        upstream=upstream, host="127.0.0.1", port=0, options=options or Options(), cors_origins=cors_origins
    )
    told: list[str] = []
    say = listens or told.append
    async with (
        running(settings, welcome=lambda *_: say("Ready."), tell=say) as place,
        httpx2.AsyncClient(base_url=f"http://{place}", timeout=20) as http,
    ):
        yield Front(http=http, told=told)
