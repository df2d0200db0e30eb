"""KeySecretService over gRPC: messages to the service's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.portal.v1 import key_secret_service_pb2, key_secret_service_pb2_grpc
from sdk.portal.v1.key_secret_service_pb2 import (
    EndGraceRequest,
    EndGraceResponse,
    ListSecretVersionsRequest,
    ListSecretVersionsResponse,
    SecretUse,
)

from server.audit.store import Actor
from server.identity.principal import current_principal
from server.keys.versions.model import SecretState, SecretVersion
from server.keys.versions.service import VersionService
from server.rpc.call import current_call
from server.times import format_time

Context = ServicerContext[Any, Any]

_STATES = {
    SecretState.CURRENT: key_secret_service_pb2.SECRET_STATE_CURRENT,
    SecretState.IN_GRACE: key_secret_service_pb2.SECRET_STATE_IN_GRACE,
    SecretState.ENDED: key_secret_service_pb2.SECRET_STATE_ENDED,
}


class KeySecretService(key_secret_service_pb2_grpc.KeySecretServiceServicer):
    """The two published methods. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, versions: VersionService) -> None:
        self._versions = versions

    async def ListSecretVersions(
        self, request: ListSecretVersionsRequest, context: Context
    ) -> ListSecretVersionsResponse:
        """Return a key's secrets with their use."""
        versions = await self._versions.list(current_principal().developer_id, request.id)
        return ListSecretVersionsResponse(versions=map(_message, versions))

    async def EndGrace(self, request: EndGraceRequest, context: Context) -> EndGraceResponse:
        """End an earlier secret now."""
        actor = Actor(developer_id=current_principal().developer_id, call_id=current_call().id)
        version = await self._versions.end_grace(actor, request.id, request.version)
        return EndGraceResponse(version=_message(version))


def _message(version: SecretVersion) -> key_secret_service_pb2.SecretVersion:
    secret, calls = version.secret, version.calls
    return key_secret_service_pb2.SecretVersion(
        version=secret.version,
        prefix=secret.prefix,
        state=_STATES[version.state],
        created_at=format_time(secret.created_at),
        expires_at=format_time(secret.expires_at),
        last_used_at=format_time(secret.last_used_at),
        last_client_ip=secret.last_client_ip,
        last_operation=version.last_operation,
        calls=calls.counted,
        calls_last_hour=calls.last_hour,
        uses=[SecretUse(start_time=format_time(each.hour), calls=each.calls) for each in version.hours],
        safe_to_end=version.safe_to_end,
    )
