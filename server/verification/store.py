"""What verification reads of PostgreSQL: one row for a secret, and the servers that verify."""

from dataclasses import dataclass
from pathlib import Path

from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load
from server.verification.model import KnownKey

_SQL = load(Path(__file__).with_name("queries.sql"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSecret:
    """A stored secret: how it is proved, and what is true of its key when it is."""

    digest: bytes
    pepper_version: int
    key: KnownKey


class VerificationStore:
    """Reads over a pool, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find(self, key_prefix: str) -> FoundSecret | None:
        """Read the secret behind a prefix."""
        row = await self._connection.fetchrow(_SQL["find_secret"], key_prefix)
        if row is None:
            return None
        return FoundSecret(digest=row["digest"], pepper_version=row["pepper_version"], key=_known_key(key_prefix, row))

    async def note_replica(self, replica: str) -> None:
        """Say that a server lives."""
        await self._connection.execute(_SQL["note_replica"], replica)

    async def forget_replica(self, replica: str) -> None:
        """Say that a server is gone."""
        await self._connection.execute(_SQL["forget_replica"], replica)

    async def list_replicas(self) -> set[str]:
        """List the servers seen in the last 5 seconds."""
        return {row["id"] for row in await self._connection.fetch(_SQL["list_replicas"])}

    async def tell(self, channel: str, message: str) -> None:
        """Tell every listener of a channel; inside a transaction, when it commits."""
        await self._connection.execute(_SQL["tell"], channel, message)


def _known_key(key_prefix: str, row: Record) -> KnownKey:
    deadlines = [left for left in (row["key_seconds_left"], row["secret_seconds_left"]) if left is not None]
    return KnownKey(
        key_id=row["key_id"],
        developer_id=row["developer_id"],
        environment=row["environment"],
        scopes=frozenset(row["scopes"]),
        key_prefix=key_prefix,
        secret_version=row["secret_version"],
        secret_expires_at=row["secret_expires_at"],
        secret_retired_at=row["secret_retired_at"],
        expires_at=row["expires_at"],
        revoked=row["revoked"],
        expired=row["key_seconds_left"] is not None and row["key_seconds_left"] <= 0,
        rotated_out=row["secret_seconds_left"] is not None and row["secret_seconds_left"] <= 0,
        suspended=row["suspended"],
        ends_in=min((left for left in deadlines if left > 0), default=None),
        rate=(row["requests"], row["seconds"]),
        developer_rate=(row["developer_requests"], row["window_seconds"]),
        monthly_quota=row["monthly_quota"],
        units_used=row["units_used"],
        month=(row["year"], row["month"]),
    )
