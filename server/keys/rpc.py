"""DeveloperService over gRPC: messages to the service's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.developer.v1 import api_key_pb2, developer_service_pb2_grpc
from sdk.developer.v1.developer_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    GetApiKeyResponse,
    ListApiKeysRequest,
    ListApiKeysResponse,
    RevokeApiKeyRequest,
    RevokeApiKeyResponse,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
    UpdateApiKeyRequest,
    UpdateApiKeyResponse,
)

from server.audit.store import Actor
from server.identity.principal import current_principal
from server.keys.filter import KeyFilter
from server.keys.model import ApiKey, Environment, Status
from server.keys.service import CreateKey, KeyService, RotateKey, UpdateKey
from server.rpc.call import current_call
from server.times import format_time

Context = ServicerContext[Any, Any]

_ENVIRONMENTS = {
    Environment.LIVE: api_key_pb2.API_KEY_ENVIRONMENT_LIVE,
    Environment.TEST: api_key_pb2.API_KEY_ENVIRONMENT_TEST,
}
_STATUSES = {
    Status.ACTIVE: api_key_pb2.API_KEY_STATUS_ACTIVE,
    Status.REVOKED: api_key_pb2.API_KEY_STATUS_REVOKED,
}
_WISHED_ENVIRONMENTS = {number: environment for environment, number in _ENVIRONMENTS.items()}
_WANTED_STATUSES = {number: status for status, number in _STATUSES.items()}


class DeveloperService(developer_service_pb2_grpc.DeveloperServiceServicer):
    """The six published methods. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    async def CreateApiKey(self, request: CreateApiKeyRequest, context: Context) -> CreateApiKeyResponse:
        """Make a key and return its secret, this once."""
        wish = CreateKey(
            name=request.name,
            scopes=tuple(request.scopes),
            environment=_WISHED_ENVIRONMENTS.get(request.environment),
            expires_at=request.expires_at,
            request_id=request.request_id,
        )
        issued = await self._keys.create(_actor(), wish)
        _keep_out_of_caches()
        return CreateApiKeyResponse(api_key=_message(issued.key), secret=issued.secret.reveal())

    async def ListApiKeys(self, request: ListApiKeysRequest, context: Context) -> ListApiKeysResponse:
        """Return one page of the caller's keys."""
        wanted = KeyFilter(
            status=_WANTED_STATUSES.get(request.status),
            environment=_WISHED_ENVIRONMENTS.get(request.environment),
            query=request.query,
        )
        keys, next_page_token = await self._keys.list(
            current_principal().developer_id, request.page_size, request.page_token, wanted
        )
        return ListApiKeysResponse(api_keys=map(_message, keys), next_page_token=next_page_token)

    async def GetApiKey(self, request: GetApiKeyRequest, context: Context) -> GetApiKeyResponse:
        """Return one key."""
        key = await self._keys.get(current_principal().developer_id, request.id)
        return GetApiKeyResponse(api_key=_message(key))

    async def UpdateApiKey(self, request: UpdateApiKeyRequest, context: Context) -> UpdateApiKeyResponse:
        """Change the metadata of a key."""
        wish = UpdateKey(
            id=request.id,
            name=request.name,
            expires_at=request.expires_at,
            paths=tuple(request.update_mask.paths) or None,
        )
        key = await self._keys.update(_actor(), wish)
        return UpdateApiKeyResponse(api_key=_message(key))

    async def RotateApiKey(self, request: RotateApiKeyRequest, context: Context) -> RotateApiKeyResponse:
        """Give a key a new secret and return it, this once."""
        wish = RotateKey(id=request.id, expire_previous_now=request.expire_previous_now, request_id=request.request_id)
        issued = await self._keys.rotate(_actor(), wish)
        _keep_out_of_caches()
        return RotateApiKeyResponse(
            api_key=_message(issued.key),
            secret=issued.secret.reveal(),
            previous_expires_at=format_time(issued.previous_expires_at),
        )

    async def RevokeApiKey(self, request: RevokeApiKeyRequest, context: Context) -> RevokeApiKeyResponse:
        """Kill a key."""
        key = await self._keys.revoke(_actor(), request.id, wait=request.wait)
        return RevokeApiKeyResponse(api_key=_message(key))


def _actor() -> Actor:
    return Actor(developer_id=current_principal().developer_id, call_id=current_call().id)


def _keep_out_of_caches() -> None:
    current_call().response_headers["cache-control"] = "no-store"


def _message(key: ApiKey) -> api_key_pb2.ApiKey:
    return api_key_pb2.ApiKey(
        id=key.id,
        name=key.name,
        key_prefix=key.key_prefix,
        status=_STATUSES[key.status],
        scopes=key.scopes,
        created_at=format_time(key.created_at),
        last_used_at=format_time(key.last_used_at),
        expires_at=format_time(key.expires_at),
        environment=_ENVIRONMENTS[key.environment],
    )
