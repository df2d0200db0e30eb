"""OAuthClientService over gRPC: messages to the service's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.portal.v1 import oauth_client_pb2, oauth_client_service_pb2_grpc
from sdk.portal.v1.oauth_client_service_pb2 import (
    CreateOAuthClientRequest,
    CreateOAuthClientResponse,
    DeleteOAuthClientRequest,
    DeleteOAuthClientResponse,
    GetOAuthClientRequest,
    GetOAuthClientResponse,
    ListOAuthClientsRequest,
    ListOAuthClientsResponse,
    RotateClientSecretRequest,
    RotateClientSecretResponse,
    UpdateOAuthClientRequest,
    UpdateOAuthClientResponse,
)

from server.audit.store import Actor
from server.clients.model import ClientSecret, ClientType, OAuthClient
from server.clients.service import ClientService, CreateClient, IssuedClient, UpdateClient
from server.identity.principal import current_principal
from server.rpc.call import current_call
from server.times import format_time

Context = ServicerContext[Any, Any]

TYPES = {
    ClientType.PUBLIC: oauth_client_pb2.O_AUTH_CLIENT_TYPE_PUBLIC,
    ClientType.CONFIDENTIAL: oauth_client_pb2.O_AUTH_CLIENT_TYPE_CONFIDENTIAL,
}
_WISHED_TYPES = {number: type_ for type_, number in TYPES.items()}


class OAuthClientService(oauth_client_service_pb2_grpc.OAuthClientServiceServicer):
    """The six published methods. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, clients: ClientService) -> None:
        self._clients = clients

    async def CreateOAuthClient(self, request: CreateOAuthClientRequest, context: Context) -> CreateOAuthClientResponse:
        """Make a client and return its secret, if it has one, this once."""
        wish = CreateClient(
            name=request.name,
            type=_WISHED_TYPES[request.type],
            redirect_uris=tuple(request.redirect_uris),
            allowed_scopes=tuple(request.allowed_scopes),
        )
        issued = await self._clients.create(_actor(), wish)
        _keep_out_of_caches()
        return CreateOAuthClientResponse(client=_message(issued.client), secret=_revealed(issued))

    async def ListOAuthClients(self, request: ListOAuthClientsRequest, context: Context) -> ListOAuthClientsResponse:
        """Return one page of the caller's clients."""
        clients, next_page_token = await self._clients.list(
            current_principal().developer_id, request.page_size, request.page_token
        )
        return ListOAuthClientsResponse(clients=map(_message, clients), next_page_token=next_page_token)

    async def GetOAuthClient(self, request: GetOAuthClientRequest, context: Context) -> GetOAuthClientResponse:
        """Return one client."""
        client = await self._clients.get(current_principal().developer_id, request.id)
        return GetOAuthClientResponse(client=_message(client))

    async def UpdateOAuthClient(self, request: UpdateOAuthClientRequest, context: Context) -> UpdateOAuthClientResponse:
        """Change a client."""
        wish = UpdateClient(
            id=request.id,
            name=request.name,
            redirect_uris=tuple(request.redirect_uris),
            allowed_scopes=tuple(request.allowed_scopes),
            paths=tuple(request.update_mask.paths) or None,
        )
        client = await self._clients.update(_actor(), wish)
        return UpdateOAuthClientResponse(client=_message(client))

    async def RotateClientSecret(
        self, request: RotateClientSecretRequest, context: Context
    ) -> RotateClientSecretResponse:
        """Give a client a new secret and return it, this once."""
        issued = await self._clients.rotate(_actor(), request.id, expire_previous_now=request.expire_previous_now)
        _keep_out_of_caches()
        return RotateClientSecretResponse(
            client=_message(issued.client),
            secret=_revealed(issued),
            previous_expires_at=format_time(issued.previous_expires_at),
        )

    async def DeleteOAuthClient(self, request: DeleteOAuthClientRequest, context: Context) -> DeleteOAuthClientResponse:
        """Remove a client."""
        await self._clients.delete(_actor(), request.id)
        return DeleteOAuthClientResponse()


def _actor() -> Actor:
    return Actor(developer_id=current_principal().developer_id, call_id=current_call().id)


def _keep_out_of_caches() -> None:
    current_call().response_headers["cache-control"] = "no-store"


def _revealed(issued: IssuedClient) -> str:
    return "" if issued.secret is None else issued.secret.reveal()


def _message(client: OAuthClient) -> oauth_client_pb2.OAuthClient:
    return oauth_client_pb2.OAuthClient(
        id=client.id,
        name=client.name,
        type=TYPES[client.type],
        redirect_uris=client.redirect_uris,
        allowed_scopes=client.allowed_scopes,
        created_at=format_time(client.created_at),
        secret_prefix=client.secret_prefix,
        secrets=map(_secret, client.secrets),
    )


def _secret(secret: ClientSecret) -> oauth_client_pb2.OAuthClientSecret:
    return oauth_client_pb2.OAuthClientSecret(
        version=secret.version,
        prefix=secret.prefix,
        created_at=format_time(secret.created_at),
        expires_at=format_time(secret.expires_at),
        last_used_at=format_time(secret.last_used_at),
    )
