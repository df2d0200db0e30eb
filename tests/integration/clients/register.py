"""What the tests of clients share: wishes, grants that users gave, and secrets as the directory judges them."""

from server.clients.directory.service import ClientDirectory
from server.clients.model import ClientType
from server.clients.service import ClientService, CreateClient, UpdateClient
from server.ids import GrantId, new_grant_id
from server.postgres.pool import Database
from server.secret import Secret
from tests.integration.keys.vault import GRACE, PEPPERS

CALLBACK = "https://example.com/cb"


def client_service(database: Database) -> ClientService:
    """Make the service under test."""
    return ClientService(database, PEPPERS, rotation_grace=GRACE)


def wish(
    name: str = "An application",
    *,
    type_: ClientType = ClientType.CONFIDENTIAL,
    redirect_uris: tuple[str, ...] = (CALLBACK,),
    scopes: tuple[str, ...] = ("read",),
) -> CreateClient:
    """Ask for a client of no particular kind."""
    return CreateClient(name=name, type=type_, redirect_uris=redirect_uris, allowed_scopes=scopes)


def change(
    client_id: str,
    *,
    name: str = "",
    redirect_uris: tuple[str, ...] = (),
    scopes: tuple[str, ...] = (),
    paths: tuple[str, ...] | None = None,
) -> UpdateClient:
    """Ask for a change of what is named."""
    return UpdateClient(id=client_id, name=name, redirect_uris=redirect_uris, allowed_scopes=scopes, paths=paths)


async def grant(database: Database, client_id: str, subject: str = "user") -> GrantId:
    """Let a user allow a client something."""
    grant_id = new_grant_id()
    await database.execute(
        "INSERT INTO oauth_grants (id, client_id, subject, scopes, created_at, expires_at)"
        " VALUES ($1, $2, $3, '{read}', clock(), clock() + interval '90 days')",
        grant_id,
        client_id,
        subject,
    )
    return grant_id


async def authentic(directory: ClientDirectory, client_id: str, *secrets: Secret | None) -> list[bool]:
    """Tell of each secret whether the directory takes it for the client's."""
    return [secret is not None and await directory.authenticate(client_id, secret) for secret in secrets]
