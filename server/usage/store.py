"""Developers' limits and the use of their keys in PostgreSQL: one method per named statement of `queries.sql`."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from server.ids import DeveloperId, KeyId
from server.limits.model import Rate, Tier
from server.metering.model import Granularity, Span
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load
from server.usage.model import Demand, Finding, Findings, KeyFinding, KeyUse, RefusedPoint

_SQL = load(Path(__file__).with_name("queries.sql"))


class Grant(NamedTuple):
    """What a developer's tier grants and what is taken of it: units of this month (UTC), and keys that live."""

    tier: Tier
    quota_used: int
    live_keys: int


class KeyLimits(NamedTuple):
    """The limits of a key as of a moment. `units_used` are of its month (UTC); `monthly_quota` None: there is none."""

    now: datetime
    rate: Rate
    developer_rate: Rate
    monthly_quota: int | None
    units_used: int


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

    async def find_key_limits(self, key_id: KeyId, developer_id: DeveloperId) -> KeyLimits | None:
        """Read the limits of a developer's key."""
        row = await self._connection.fetchrow(_SQL["find_key_limits"], key_id, developer_id)
        if row is None:
            return None
        return KeyLimits(
            now=row["now"],
            rate=Rate(row["requests"], row["seconds"]),
            developer_rate=Rate(row["developer_requests"], row["window_seconds"]),
            monthly_quota=row["monthly_quota"],
            units_used=row["units_used"],
        )


class KeyStore:
    """Reads what keys are used for, over a pool or a connection."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def refused_points(self, key_id: KeyId, span: Span) -> list[RefusedPoint]:
        """Read in which points calls with a key were refused for their number, newest first."""
        rows = await self._connection.fetch(
            _SQL["list_refused_points"], key_id, span.granularity.value, span.start, span.end
        )
        return [RefusedPoint(**dict(row)) for row in rows]

    async def demand(self, developer_id: DeveloperId, key_id: KeyId, span: Span) -> tuple[Demand, Demand]:
        """Read what was called with a key during some minutes, and with all keys of its developer."""
        rows = await self._connection.fetch(_SQL["read_demand"], developer_id, key_id, span.start, span.end)
        demands = {
            row["is_own"]: Demand(row["calls"], row["units"], row["good_calls"], row["limited_calls"]) for row in rows
        }
        return demands.get(True, Demand()), demands.get(False, Demand())

    async def most_used(self, developer_id: DeveloperId, span: Span, limit: int, now: datetime) -> list[KeyUse]:
        """Read which keys of a developer were used most, those first; nothing is from after `now`."""
        if span.granularity is Granularity.DAY:
            rows = await self._connection.fetch(
                _SQL["list_most_used_keys_by_day"],
                developer_id,
                span.start,
                span.end,
                *span.nearest_months(now),
                limit,
            )
        else:
            rows = await self._connection.fetch(
                _SQL["list_most_used_keys"], developer_id, span.granularity.value, span.start, span.end, limit
            )
        return [KeyUse(**dict(row)) for row in rows]

    async def findings(self, developer_id: DeveloperId) -> Findings:
        """Find what about a developer's live keys needs attention."""
        rows = await self._connection.fetch(_SQL["list_findings"], developer_id)
        return Findings(
            listed=_findings(rows),
            counts={Finding(row["finding"]): row["keys"] for row in rows},
        )


def _findings(rows: Sequence[Record]) -> tuple[KeyFinding, ...]:
    return tuple(
        KeyFinding(
            key_id=row["id"],
            name=row["name"],
            key_prefix=row["key_prefix"],
            finding=Finding(row["finding"]),
            about=row["about"],
            scopes=tuple(row["scopes"]),
        )
        for row in rows
    )
