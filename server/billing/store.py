"""What is billed, in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from datetime import date, datetime
from pathlib import Path

from server.billing.model import Month, Position, StatementLine, StatementSum, StreamDay
from server.ids import DeveloperId
from server.postgres.pool import Connection, Database
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class BillingStore:
    """Reads sums and entries of the ledger, over a pool or a connection."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def now(self) -> datetime:
        """Read the time."""
        (row,) = await self._connection.fetch(_SQL["read_clock"])
        now: datetime = row["now"]
        return now

    async def stream_days(self, developer_id: DeveloperId, first: date, last: date) -> list[StreamDay]:
        """Read a developer's streams from one day to another, both included, oldest first."""
        rows = await self._connection.fetch(_SQL["list_stream_days"], developer_id, first, last)
        return [StreamDay(**dict(row)) for row in rows]

    async def sums(self, developer_id: DeveloperId, month: Month) -> list[StatementSum]:
        """Read the sums of what was posted for a developer in a month."""
        rows = await self._connection.fetch(_SQL["sum_up_month"], developer_id, month.start.date())
        return [StatementSum(**dict(row)) for row in rows]

    async def lines(
        self, developer_id: DeveloperId, after: Position, before: datetime, limit: int
    ) -> list[StatementLine]:
        """Read up to `limit` of a developer's postings after a position and before a time, in their order."""
        rows = await self._connection.fetch(_SQL["list_lines"], developer_id, *after, before, limit)
        return [StatementLine(**dict(row)) for row in rows]
