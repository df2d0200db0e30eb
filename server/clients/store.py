"""OAuth clients in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from server.clients.model import ClientEntry, ClientSecret, ClientType, OAuthClient
from server.ids import ClientId, DeveloperId
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load
from server.rotation import StoredSecret

_SQL = load(Path(__file__).with_name("queries.sql"))

_REVOKED_AT_ONCE = 10_000

SECRET_PREFIX_CONSTRAINT = "oauth_client_secrets_pkey"  # noqa: S105 - a constraint's name


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client about to be added."""

    id: ClientId
    developer_id: DeveloperId
    name: str
    type: ClientType
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]


class Deletion(NamedTuple):
    """What a deletion removed: the client's name, how many secrets ended and how many grants were revoked."""

    name: str
    secrets: int
    grants: int


class FoundSecret(NamedTuple):
    """How a secret that works is proved, and whether its use was noted within the last minute."""

    digest: bytes
    pepper_version: int
    noted: bool


class ClientStore:
    """Reads and writes clients over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def hold_developer(self, developer_id: DeveloperId) -> None:
        """Hold a developer's row until the transaction ends."""
        await self._the_row("hold_developer", developer_id)

    async def count(self, developer_id: DeveloperId, limit: int) -> int:
        """Count the clients of a developer, no further than `limit`."""
        row = await self._the_row("count_clients", developer_id, limit)
        return int(row["count"])

    async def create(self, client: NewClient) -> OAuthClient:
        """Add a client without a secret."""
        row = await self._the_row(
            "create_client",
            client.id,
            client.developer_id,
            client.name,
            client.type.value,
            list(client.redirect_uris),
            list(client.allowed_scopes),
        )
        return _client(row)

    async def find(self, developer_id: DeveloperId, client_id: ClientId) -> OAuthClient | None:
        """Read one client of a developer, without its secrets."""
        row = await self._connection.fetchrow(_SQL["find_client"], client_id, developer_id)
        return _client(row) if row else None

    async def lock(self, developer_id: DeveloperId, client_id: ClientId) -> tuple[OAuthClient, datetime] | None:
        """Read one client and hold it until the transaction ends; with it, the database's time once it is held."""
        row = await self._connection.fetchrow(_SQL["lock_client"], client_id, developer_id)
        return (_client(row), row["now"]) if row else None

    async def list_newest(
        self, developer_id: DeveloperId, limit: int, after: tuple[datetime, str] | None
    ) -> list[OAuthClient]:
        """Read up to `limit` clients without secrets, newest first, from the top or after a (created_at, id)."""
        if after is None:
            rows = await self._connection.fetch(_SQL["list_first_clients"], developer_id, limit)
        else:
            rows = await self._connection.fetch(_SQL["list_next_clients"], developer_id, limit, *after)
        return [_client(row) for row in rows]

    async def list_live_secrets(self, client_ids: Collection[ClientId]) -> dict[ClientId, list[ClientSecret]]:
        """Read the secrets of clients that work, the newest first; a client without any is left out."""
        secrets: dict[ClientId, list[ClientSecret]] = {}
        for row in await self._connection.fetch(_SQL["list_live_secrets"], list(client_ids)):
            secrets.setdefault(row["client_id"], []).append(_secret(row))
        return secrets

    async def update(self, client: OAuthClient) -> OAuthClient:
        """Write the name, the redirect URIs and the scopes of a held client; return it without its secrets."""
        row = await self._the_row(
            "update_client",
            client.id,
            client.developer_id,
            client.name,
            list(client.redirect_uris),
            list(client.allowed_scopes),
        )
        return _client(row)

    async def delete(
        self,
        developer_id: DeveloperId,
        client_id: ClientId,
        at: datetime | None = None,
        *,
        most_grants: int = _REVOKED_AT_ONCE,
    ) -> Deletion | None:
        """Delete a client, now or as of a time before, with its secrets and grants; None when there is no such client.

        A popular client has more grants than a transaction has time for: the others are worth nothing without their
        client, whose deletion whoever reads a grant must see, and stay as they are until their own end.
        One statement after the other, so that the later ones see the secret of a rotation that the first waited for.
        """
        row = await self._connection.fetchrow(_SQL["delete_client"], client_id, developer_id, at)
        if row is None:
            return None
        secrets = await self._connection.execute(_SQL["end_secrets"], client_id, row["deleted_at"])
        grants = await self._connection.execute(_SQL["revoke_grants"], client_id, row["deleted_at"], most_grants)
        return Deletion(name=row["name"], secrets=_affected(secrets), grants=_affected(grants))

    async def count_live_secrets(self, client_id: ClientId, now: datetime) -> int:
        """Count the secrets of a held client that work at `now`."""
        row = await self._the_row("count_live_secrets", client_id, now)
        return int(row["count"])

    async def retire_current_secret(self, client_id: ClientId, deadline: datetime) -> None:
        """Give the current secret of a held client its deadline."""
        await self._connection.execute(_SQL["retire_current_secret"], client_id, deadline)

    async def end_secrets(self, client_id: ClientId, now: datetime) -> None:
        """End every secret of a held client."""
        await self._connection.execute(_SQL["end_secrets"], client_id, now)

    async def hold(self, client_ids: Collection[ClientId]) -> dict[ClientId, DeveloperId]:
        """Hold those of some clients that exist, deleted ones too, until the transaction ends; tell whose they are."""
        rows = await self._connection.fetch(_SQL["hold_clients"], list(client_ids))
        return {row["id"]: row["developer_id"] for row in rows}

    async def end_older_secrets(
        self, client_id: ClientId, version: int, rotated_at: datetime, ends_at: datetime
    ) -> tuple[int, bool]:
        """End what a rotation of a held client to `version` replaced, at `ends_at` or when it ends already, if earlier.

        Return how many secrets that changed, and whether the rotation's own secret exists.
        """
        row = await self._the_row("end_older_secrets", client_id, version, rotated_at, ends_at)
        return row["ended"], row["known"]

    async def end_leaked_secret(
        self, client_id: ClientId, version: int, prefix: str, ends_at: datetime
    ) -> tuple[bool, bool]:
        """End one secret of a held client at a past time; tell whether that changed it, and whether it exists."""
        row = await self._the_row("end_leaked_secret", client_id, version, prefix, ends_at)
        return row["ended"], row["known"]

    async def add_secret(self, client_id: ClientId, secret: StoredSecret, now: datetime) -> int:
        """Add the next secret of a held client, or its first, and return the version's number.

        Raises:
            ConstraintViolation: on `SECRET_PREFIX_CONSTRAINT`, the drawn prefix is taken.
        """
        row = await self._the_row("add_secret", client_id, secret.prefix, secret.digest, secret.pepper_version, now)
        return int(row["version"])

    async def find_entry(self, client_id: ClientId) -> ClientEntry | None:
        """Read a client of any developer that is not suspended."""
        row = await self._connection.fetchrow(_SQL["find_entry"], client_id)
        if row is None:
            return None
        return ClientEntry(**_shared(row), developer_id=row["developer_id"], developer_name=row["developer_name"])

    async def find_secret(self, prefix: str, client_id: ClientId) -> FoundSecret | None:
        """Read how a secret of a client is proved; None when there is none or it does not work."""
        row = await self._connection.fetchrow(_SQL["find_secret"], prefix, client_id)
        return FoundSecret(**dict(row)) if row else None

    async def note_secret_use(self, secret: StoredSecret, old_pepper_version: int) -> None:
        """Note the use of a secret now, and its digest under the current pepper; a held row is passed over."""
        await self._connection.execute(
            _SQL["note_secret_use"], secret.prefix, old_pepper_version, secret.digest, secret.pepper_version
        )

    async def _the_row(self, statement: str, *arguments: object) -> Record:
        """Run a statement that always gives a row.

        Raises:
            LookupError: it gave none, which is a fault of ours.
        """
        row = await self._connection.fetchrow(_SQL[statement], *arguments)
        if row is None:
            raise LookupError(f"{statement} gave no row")
        return row


def _client(row: Record) -> OAuthClient:
    return OAuthClient(**_shared(row), developer_id=row["developer_id"])


def _shared(row: Record) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "type": ClientType(row["type"]),
        "redirect_uris": tuple(row["redirect_uris"]),
        "allowed_scopes": tuple(row["allowed_scopes"]),
        "created_at": row["created_at"],
    }


def _secret(row: Record) -> ClientSecret:
    return ClientSecret(
        version=row["version"],
        prefix=row["secret_prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )


def _affected(tag: str) -> int:
    """Read how many rows a statement changed from its command tag, e.g. `UPDATE 3`."""
    return int(tag.rpartition(" ")[2])
