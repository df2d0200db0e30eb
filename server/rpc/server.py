"""Make gRPC servers: handlers from a service's descriptor, limits, TLS, and a port that is really ours."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from server.rpc.chain import Chain
from server.rpc.validation import validated, validated_stream

MAXIMUM_MESSAGE_BYTES = 1024 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_connection_idle_ms", 5 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files of a server certificate; with `client_ca` clients must show a certificate of that authority (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


Handlers = Mapping[str, grpc.GenericRpcHandler]
"""The handlers of services, by the services' full names."""


def service_handlers(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Make the handlers of a service, unary or streaming both ways, each parsing and validating its own requests."""
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _method_handler(method, servicer) for method in service.methods}
    )


class GrpcServer:
    """One listening gRPC server. Not restartable: make a new one.

    With `reuse_port` other processes may listen on the port too and the system deals the connections out. Without, a
    second server on the port is refused; gRPC's default would let it share the port silently.
    """

    def __init__(
        self,
        chain: Chain,
        handlers: Sequence[grpc.GenericRpcHandler],
        host: str,
        port: int,
        tls: Tls | None = None,
        *,
        reuse_port: bool = False,
        calls_per_connection: int = 100,
    ) -> None:
        self._chain = chain
        self._handlers = handlers
        self._host = host
        self._port = port
        self._tls = tls
        self._reuse_port = reuse_port
        self._calls_per_connection = calls_per_connection
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """Return `HOST:PORT` as bound; before `start`, as asked for (port 0 draws one)."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Bind and accept calls.

        Raises:
            OSError: the address cannot be bound, for example because another process listens there.
        """
        options = (
            *_OPTIONS,
            ("grpc.so_reuseport", int(self._reuse_port)),
            ("grpc.max_concurrent_streams", self._calls_per_connection),
        )
        server = grpc.aio.server(interceptors=[self._chain], options=options)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        try:
            self._port = self._bind(server)
        except RuntimeError:
            raise OSError(f"cannot listen on {self.address}: is another process using the port?") from None
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> None:
        """Stop accepting, let calls in flight finish for at most `grace` seconds, then cancel the rest."""
        if self._server is not None:
            await asyncio.gather(self._server.stop(grace), self._chain.end_streams())
            self._server = None

    def _bind(self, server: grpc.aio.Server) -> int:
        if self._tls is None:
            return server.add_insecure_port(self.address)
        return server.add_secure_port(self.address, _credentials(self._tls))


def _method_handler(method: MethodDescriptor, servicer: object) -> "grpc.RpcMethodHandler[Any, Any]":
    request, behaviour = GetMessageClass(method.input_type), getattr(servicer, method.name)
    reads_bytes = getattr(behaviour, "reads_bytes", False)
    if method.client_streaming and method.server_streaming:
        stream: Any = behaviour if reads_bytes else validated_stream(request, behaviour)
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=_serialized)
    if method.client_streaming or method.server_streaming:
        raise NotImplementedError(f"{method.full_name} streams in one direction, which no service of ours does")
    handler = behaviour if reads_bytes else validated(request, behaviour)
    return grpc.unary_unary_rpc_method_handler(handler, response_serializer=_serialized)


def _serialized(response: Message | bytes) -> bytes:
    """Return the bytes of a response; handlers that are called very often make them by themselves."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=client_ca, require_client_auth=client_ca is not None)
