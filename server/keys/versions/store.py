"""The secrets of keys and their use in PostgreSQL: one method per named statement. No rule is decided here."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from server.ids import DeveloperId, KeyId
from server.keys.versions.model import Calls, HourOfUse, KeySecret, Spans
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class VersionStore:
    """Reads secret versions and their use, and ends one; over a pool or over one connection."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find_key(self, developer_id: DeveloperId, key_id: KeyId) -> datetime | None:
        """Return the database's time if a developer has a key."""
        row = await self._connection.fetchrow(_SQL["find_key"], key_id, developer_id)
        return row["now"] if row else None

    async def list_secrets(
        self, key_id: KeyId, now: datetime, limit: int, version: int | None = None
    ) -> list[KeySecret]:
        """Read the newest secrets of a key, all that work at `now` among them; or one `version` alone."""
        rows = await self._connection.fetch(_SQL["list_secrets"], key_id, now, limit, version)
        return [_secret(row) for row in rows]

    async def sum_up_calls(self, key_id: KeyId, spans: Spans) -> dict[int, Calls]:
        """Sum up the calls with each secret of a key, by version."""
        rows = await self._connection.fetch(
            _SQL["sum_up_calls"], key_id, spans.since, spans.first_day, spans.today, spans.recent, spans.last_hour
        )
        return {
            row["version"]: Calls(counted=row["counted"], last_hour=row["last_hour"], last_point=row["last_point"])
            for row in rows
        }

    async def list_hours(self, key_id: KeyId, spans: Spans) -> dict[int, list[HourOfUse]]:
        """Read the calls with each secret of a key by hour, oldest first, by version."""
        hours: dict[int, list[HourOfUse]] = {}
        for row in await self._connection.fetch(_SQL["list_hours"], key_id, spans.shown, spans.recent):
            hours.setdefault(row["version"], []).append(HourOfUse(hour=row["hour"], calls=row["calls"]))
        return hours

    async def list_last_operations(
        self, key_id: KeyId, spans: Spans, last_points: Mapping[int, datetime]
    ) -> dict[int, str]:
        """Read the operation of the last calls with each secret, by version, given when each was last used."""
        versions, points = list(last_points.keys()), list(last_points.values())
        rows = await self._connection.fetch(_SQL["list_last_operations"], key_id, versions, points, spans.recent)
        return {row["version"]: row["operation"] for row in rows}

    async def end_grace(self, developer_id: DeveloperId, key_id: KeyId, version: int) -> str | None:
        """End a secret that is in grace and return its prefix; None when there is none such."""
        row = await self._connection.fetchrow(_SQL["end_grace"], key_id, developer_id, version)
        return row["key_prefix"] if row else None

    async def is_current(self, developer_id: DeveloperId, key_id: KeyId, version: int) -> bool | None:
        """Tell whether a version is the current one of a key that works; None when a developer has no such version."""
        row = await self._connection.fetchrow(_SQL["find_version"], key_id, developer_id, version)
        return row["is_current"] if row else None


def _secret(row: Record) -> KeySecret:
    return KeySecret(
        version=row["version"],
        prefix=row["key_prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        is_retired=row["is_retired"],
        last_used_at=row["last_used_at"],
        last_client_ip=row["last_client_ip"] or "",
    )
