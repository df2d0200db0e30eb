"""The gRPC health service, which follows readiness: NOT_SERVING while the service cannot answer and while it drains."""

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from server.rpc.validation import validated

SERVICE = "grpc.health.v1.Health"


class Health:
    """Tells probes, over Check and Watch, whether the server as a whole and each of its services can answer."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer: Any = health_aio.HealthServicer()

    async def follow(self, *, ready: bool) -> None:
        """Tell every watcher the state of readiness."""
        serving = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self._servicer.set(service, serving)

    async def drain(self) -> None:
        """Tell every watcher, for good, that this server is going away."""
        await self._servicer.enter_graceful_shutdown()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Make the handlers of the service."""
        request, serialize = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse.SerializeToString
        check: Any = grpc.unary_unary_rpc_method_handler(
            validated(request, self._servicer.Check), response_serializer=serialize
        )
        watch: Any = grpc.unary_stream_rpc_method_handler(
            validated(request, self._servicer.Watch), response_serializer=serialize
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check, "Watch": watch})
