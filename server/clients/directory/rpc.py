"""OAuthClientDirectory over gRPC: messages to the directory's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.portal.v1 import oauth_client_directory_service_pb2_grpc, oauth_client_pb2
from sdk.portal.v1.oauth_client_directory_service_pb2 import (
    AuthenticateClientRequest,
    AuthenticateClientResponse,
    LookUpClientRequest,
    LookUpClientResponse,
)

from server.clients.directory.service import ClientDirectory
from server.clients.rpc import TYPES
from server.errors import NotFound
from server.secret import Secret
from server.times import format_time

Context = ServicerContext[Any, Any]


class OAuthClientDirectory(oauth_client_directory_service_pb2_grpc.OAuthClientDirectoryServicer):
    """What the platform's token issuer asks. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, directory: ClientDirectory) -> None:
        self._directory = directory

    async def LookUpClient(self, request: LookUpClientRequest, context: Context) -> LookUpClientResponse:
        """Return a client by its `client_id`."""
        entry = await self._directory.find(request.client_id)
        if entry is None:
            raise NotFound("There is no such OAuth client.")
        client = oauth_client_pb2.OAuthClient(
            id=entry.id,
            name=entry.name,
            type=TYPES[entry.type],
            redirect_uris=entry.redirect_uris,
            allowed_scopes=entry.allowed_scopes,
            created_at=format_time(entry.created_at),
        )
        return LookUpClientResponse(client=client, developer_id=entry.developer_id, developer_name=entry.developer_name)

    async def AuthenticateClient(
        self, request: AuthenticateClientRequest, context: Context
    ) -> AuthenticateClientResponse:
        """Tell whether a secret is a client's."""
        authentic = await self._directory.authenticate(request.client_id, Secret(request.client_secret))
        return AuthenticateClientResponse(authentic=authentic)
