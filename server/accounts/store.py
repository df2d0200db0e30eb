"""Developers in PostgreSQL."""

from pathlib import Path

from server.accounts.model import Developer
from server.ids import DeveloperId
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class DeveloperStore:
    """Reads and writes developers over a pool for single statements, or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find(self, issuer: str, subject: str) -> Developer | None:
        """Read the developer behind a subject of an issuer."""
        row = await self._connection.fetchrow(_SQL["find_developer"], issuer, subject)
        return Developer(**dict(row)) if row else None

    async def register(self, developer_id: DeveloperId, issuer: str, subject: str) -> Developer | None:
        """Add a developer; None when another call just did."""
        row = await self._connection.fetchrow(_SQL["register_developer"], developer_id, issuer, subject)
        return Developer(**dict(row)) if row else None
