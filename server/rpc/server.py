"""Make gRPC servers: handlers from a service's descriptor, limits, TLS, and a port that is really ours."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from server.rpc.chain import Chain
from server.rpc.validation import validated

MAXIMUM_MESSAGE_BYTES = 1024 * 1024
MAXIMUM_STREAMS_PER_CONNECTION = 100

_OPTIONS = (
    ("grpc.max_concurrent_streams", MAXIMUM_STREAMS_PER_CONNECTION),
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.so_reuseport", 0),  # else a second server on the port would silently share it
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


def service_handlers(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Make the handlers of a service whose methods are all unary, each parsing and validating its own requests."""
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _method_handler(method, servicer) for method in service.methods}
    )


class GrpcServer:
    """One listening gRPC server. Not restartable: make a new one."""

    def __init__(
        self, chain: Chain, handlers: Sequence[grpc.GenericRpcHandler], host: str, port: int, tls: Tls | None = None
    ) -> None:
        self._chain = chain
        self._handlers = handlers
        self._host = host
        self._port = port
        self._tls = tls
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
        server = grpc.aio.server(interceptors=[self._chain], options=_OPTIONS)
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
    if method.client_streaming or method.server_streaming:
        raise NotImplementedError(f"{method.full_name} streams; only unary methods are served")
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    handler = validated(request, getattr(servicer, method.name))
    return grpc.unary_unary_rpc_method_handler(handler, response_serializer=response.SerializeToString)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    client_ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=client_ca, require_client_auth=client_ca is not None)
