"""Tiers in PostgreSQL."""

from pathlib import Path

from server.ids import DeveloperId
from server.limits.model import Rate, Tier
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class TierStore:
    """Reads tiers over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find(self, developer_id: DeveloperId) -> Tier | None:
        """Read the tier of a developer; None when there is no such developer."""
        row = await self._connection.fetchrow(_SQL["find_tier"], developer_id)
        if row is None:
            return None
        return Tier(
            name=row["name"],
            rate=Rate(row["requests"], row["window_seconds"]),
            developer_rate=Rate(row["developer_requests"], row["window_seconds"]),
            monthly_quota=row["monthly_quota"],
            max_keys=row["max_keys"],
            concurrent_streams=row["concurrent_streams"],
        )
