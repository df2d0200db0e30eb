"""Developers' limits in PostgreSQL."""

from pathlib import Path
from typing import NamedTuple

from server.ids import DeveloperId
from server.limits.model import Rate, Tier
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class Grant(NamedTuple):
    """What a developer's tier grants and what is taken of it: units of this month (UTC), and keys that live."""

    tier: Tier
    quota_used: int
    live_keys: int


class LimitStore:
    """Reads limits, over a pool or a connection."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find_grant(self, developer_id: DeveloperId) -> Grant | None:
        """Read what a developer is granted."""
        row = await self._connection.fetchrow(_SQL["find_grant"], developer_id)
        if row is None:
            return None
        tier = Tier(
            name=row["name"],
            rate=Rate(row["requests"], row["window_seconds"]),
            developer_rate=Rate(row["developer_requests"], row["window_seconds"]),
            monthly_quota=row["monthly_quota"],
            max_keys=row["max_keys"],
            concurrent_streams=row["concurrent_streams"],
        )
        return Grant(tier=tier, quota_used=row["quota_used"], live_keys=row["live_keys"])

    async def key_rates(self, developer_id: DeveloperId) -> dict[str, Rate]:
        """Read the live keys of a developer that have a limit of their own, newest first."""
        rows = await self._connection.fetch(_SQL["list_key_rates"], developer_id)
        return {row["id"]: Rate(row["rate_requests"], row["rate_seconds"]) for row in rows}
