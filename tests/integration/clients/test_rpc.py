"""OAuthClientService: what messages carry, and that secrets are kept out of caches."""

from google.protobuf.field_mask_pb2 import FieldMask
from sdk.portal.v1.oauth_client_pb2 import O_AUTH_CLIENT_TYPE_CONFIDENTIAL, O_AUTH_CLIENT_TYPE_PUBLIC
from sdk.portal.v1.oauth_client_service_pb2 import (
    CreateOAuthClientRequest,
    DeleteOAuthClientRequest,
    GetOAuthClientRequest,
    ListOAuthClientsRequest,
    RotateClientSecretRequest,
    UpdateOAuthClientRequest,
)

from server.clients.directory.service import ClientDirectory
from server.clients.rpc import OAuthClientService
from server.clients.service import ClientService
from server.ids import DeveloperId
from server.secret import Secret
from tests.database import Clock
from tests.integration.clients.caller import CONTEXT, calling
from tests.integration.clients.register import CALLBACK, authentic


async def test_a_confidential_client_from_begin_to_end(
    clients: ClientService, directory: ClientDirectory, clock: Clock, alice: DeveloperId
) -> None:
    await clock.set(await clock.now())
    rpc = OAuthClientService(clients)
    call = calling(alice)
    request = CreateOAuthClientRequest(
        name="App", type=O_AUTH_CLIENT_TYPE_CONFIDENTIAL, redirect_uris=[CALLBACK], allowed_scopes=["stream"]
    )
    created = await rpc.CreateOAuthClient(request, CONTEXT)
    client = created.client
    assert call.response_headers == {"cache-control": "no-store"}
    assert (client.name, client.type, list(client.redirect_uris)) == ("App", request.type, [CALLBACK])
    assert (list(client.allowed_scopes), [secret.version for secret in client.secrets]) == (["stream"], [1])
    assert created.secret.startswith(f"{client.secret_prefix}_")
    assert client.secrets[0].prefix == client.secret_prefix

    call = calling(alice)
    rotated = await rpc.RotateClientSecret(RotateClientSecretRequest(id=client.id), CONTEXT)
    assert call.response_headers == {"cache-control": "no-store"}
    assert [secret.expires_at for secret in rotated.client.secrets] == ["", rotated.previous_expires_at]
    secrets = Secret(created.secret), Secret(rotated.secret)
    assert await authentic(directory, client.id, *secrets) == [True, True]

    call = calling(alice)
    mask = FieldMask(paths=["name"])
    updated = await rpc.UpdateOAuthClient(
        UpdateOAuthClientRequest(id=client.id, name="New", redirect_uris=["x"], update_mask=mask), CONTEXT
    )
    got = await rpc.GetOAuthClient(GetOAuthClientRequest(id=client.id), CONTEXT)
    listed = await rpc.ListOAuthClients(ListOAuthClientsRequest(), CONTEXT)
    assert (updated.client.name, list(updated.client.redirect_uris)) == ("New", [CALLBACK])
    assert got.client == listed.clients[0]
    assert all(secret.last_used_at for secret in got.client.secrets)
    for secret in secrets:
        assert secret.reveal()[-49:] not in f"{updated}{got}{listed}"

    await rpc.DeleteOAuthClient(DeleteOAuthClientRequest(id=client.id), CONTEXT)
    assert len((await rpc.ListOAuthClients(ListOAuthClientsRequest(), CONTEXT)).clients) == 0


async def test_a_public_client_is_answered_without_a_secret(clients: ClientService, alice: DeveloperId) -> None:
    calling(alice)
    request = CreateOAuthClientRequest(
        name="App", type=O_AUTH_CLIENT_TYPE_PUBLIC, redirect_uris=["com.example.app:/"], allowed_scopes=["read"]
    )
    created = await OAuthClientService(clients).CreateOAuthClient(request, CONTEXT)
    assert (created.secret, created.client.secret_prefix, len(created.client.secrets)) == ("", "", 0)
    assert created.client.type == O_AUTH_CLIENT_TYPE_PUBLIC
