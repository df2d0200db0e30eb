"""What operators read and change, of any developer, in PostgreSQL."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from server.ids import DeveloperId, KeyId
from server.operators.model import TIER_FIELDS, DeveloperLine, FoundKey, TierLine, UserLine, WaitingRequest
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class HeldKey(NamedTuple):
    """A key that is held: whose it is, whether it is revoked, and its own limit as requests and seconds."""

    developer_id: DeveloperId
    is_revoked: bool
    rate: tuple[int, int] | None


class OperatorStore:
    """Reads over a pool, writes over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def list_developers(
        self, query: str | None, limit: int, after: str | None, *, suspended: bool
    ) -> list[DeveloperLine]:
        """Read up to `limit` developers, the newest first, after the one of an id; of all, or of those that match."""
        rows = await self._connection.fetch(_SQL["list_developers"], query, suspended, limit, after)
        return [DeveloperLine(**dict(row)) for row in rows]

    async def suspend(self, developer_id: DeveloperId, at: datetime | None = None) -> bool:
        """Suspend a developer in good standing, now or as of a time before; False when there is none."""
        return await self._connection.fetchrow(_SQL["suspend_developer"], developer_id, at) is not None

    async def resume(self, developer_id: DeveloperId) -> bool:
        """Let a suspended developer in again; False when there is none."""
        return await self._connection.fetchrow(_SQL["resume_developer"], developer_id) is not None

    async def change_tier(self, developer_id: DeveloperId, tier: str) -> None:
        """Give a held developer another tier, one that exists."""
        await self._connection.execute(_SQL["change_tier"], developer_id, tier)

    async def list_users(self, limit: int, after: str) -> list[UserLine]:
        """Read up to `limit` users by name, after a name; all names come after the empty one."""
        return [UserLine(**dict(row)) for row in await self._connection.fetch(_SQL["list_users"], limit, after)]

    async def revoke_grants(self, subject: str) -> int:
        """End all grants of a subject, and count them."""
        row = await self._connection.fetchrow(_SQL["revoke_grants_of_subject"], subject)
        return int(row["count"]) if row else 0

    async def list_waiting_requests(self, limit: int) -> list[WaitingRequest]:
        """Read up to `limit` wishes that wait, the oldest first."""
        rows = await self._connection.fetch(_SQL["list_waiting_requests"], limit)
        return [WaitingRequest(**dict(row)) for row in rows]

    async def list_tiers(self) -> list[TierLine]:
        """Read all tiers, the smallest first."""
        return [TierLine(**dict(row)) for row in await self._connection.fetch(_SQL["list_tiers"])]

    async def hold_tier(self, name: str) -> dict[str, int | None] | None:
        """Read what a tier consists of and hold it until the transaction ends."""
        row = await self._connection.fetchrow(_SQL["hold_tier"], name)
        return dict(row) if row else None

    async def write_tier(self, name: str, terms: Mapping[str, int | None]) -> None:
        """Add a tier, or change it."""
        await self._connection.execute(_SQL["write_tier"], name, *(terms[field] for field in TIER_FIELDS))

    async def find_key(self, key_prefix: str) -> FoundKey | None:
        """Read the key that has or had a secret of this prefix."""
        row = await self._connection.fetchrow(_SQL["find_key_by_prefix"], key_prefix)
        return FoundKey(**dict(row)) if row else None

    async def hold_key(self, key_id: KeyId) -> HeldKey | None:
        """Read a key's own limit and hold the key until the transaction ends."""
        row = await self._connection.fetchrow(_SQL["hold_key_rate"], key_id)
        if row is None:
            return None
        rate = (row["rate_requests"], row["rate_seconds"]) if row["rate_requests"] else None
        return HeldKey(row["developer_id"], row["revoked_at"] is not None, rate)

    async def limit_key(self, key_id: KeyId, rate: tuple[int, int] | None) -> None:
        """Give a held key a limit of its own, or none."""
        await self._connection.execute(_SQL["limit_key"], key_id, *(rate or (None, None)))
