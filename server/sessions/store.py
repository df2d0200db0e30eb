"""Sessions in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session as it is kept. `unseen`: its use has not been noted for a minute."""

    content: bytes = field(repr=False)
    pepper_version: int
    created_at: datetime
    expires_at: datetime
    unseen: bool


class SessionStore:
    """Reads and writes sessions over a pool for single statements, or over one connection inside a transaction.

    `idle` is after how long a session ends that nobody uses.
    """

    def __init__(self, connection: "Connection | Database", idle: timedelta) -> None:
        self._connection = connection
        self._idle = idle

    async def open(
        self, digest: bytes, kind: str, subject: str, content: bytes, pepper_version: int, lifetime: timedelta
    ) -> None:
        """Add a session."""
        await self._connection.execute(_SQL["open_session"], digest, kind, subject, content, pepper_version, lifetime)

    async def find(self, digest: bytes, kind: str) -> StoredSession | None:
        """Read a session that has not ended."""
        row = await self._connection.fetchrow(_SQL["find_session"], digest, kind, self._idle)
        return StoredSession(**dict(row)) if row else None

    async def touch(self, digest: bytes, kind: str) -> None:
        """Note that a session is in use."""
        await self._connection.execute(_SQL["touch_session"], digest, kind, self._idle)

    async def replace(self, digest: bytes, kind: str, content: bytes, pepper_version: int) -> bool:
        """Put other content into a session; False when it has ended."""
        row = await self._connection.fetchrow(
            _SQL["replace_content"], digest, kind, self._idle, content, pepper_version
        )
        return row is not None

    async def close(self, digest: bytes, kind: str) -> bool:
        """End a session; False when there was none."""
        return await self._connection.fetchrow(_SQL["close_session"], digest, kind) is not None

    async def close_all(self, subject: str, kind: str | None) -> int:
        """End every session of a subject, of one kind or of all, and count them."""
        row = await self._connection.fetchrow(_SQL["close_sessions"], subject, kind)
        return int(row["count"]) if row else 0

    async def sweep(self, limit: int) -> int:
        """Drop up to `limit` sessions whose time is over, and count them."""
        row = await self._connection.fetchrow(_SQL["sweep_sessions"], limit)
        return int(row["count"]) if row else 0
