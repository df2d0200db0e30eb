"""The ledger in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here.

But one: what is billable is found where the events are, by `settle`, since a single event may concern many others.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from server.metering.ledger.model import Acquisition, Medium, Recount, lock_slot
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class Entry(NamedTuple):
    """What the ledger has under an event's id."""

    acquisition: Acquisition
    billable: bool


class Survey(NamedTuple):
    """What is known of an event that was sent. `entry` None: the ledger has none."""

    now: datetime
    developer_exists: bool
    entry: Entry | None


class LedgerStore:
    """Reads and writes the ledger, over one connection inside a transaction; `recount` over a pool as well."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def survey(self, acquisitions: Collection[Acquisition]) -> list[Survey]:
        """Tell of each event what is known of it, in their order."""
        rows = await self._connection.fetch(
            _SQL["survey"],
            [acquisition.event_id for acquisition in acquisitions],
            [acquisition.developer_id for acquisition in acquisitions],
        )
        return [Survey(row["now"], row["known"], _entry(row)) for row in rows]

    async def lock(self, logical_streams: Sequence[bytes]) -> None:
        """Hold logical streams until the transaction ends: what later statements see of them is all there is.

        Raises:
            LookupError: rows of the table of locks are missing, so that nothing would be held.
        """
        slots = sorted(set(map(lock_slot, logical_streams)))
        if len(await self._connection.fetch(_SQL["lock"], slots)) != len(slots):
            raise LookupError("stream_locks lacks rows")

    async def enter(self, acquisitions: Sequence[Acquisition], logical_streams: Sequence[bytes]) -> list[str]:
        """Add events of held logical streams and return the ids of those that were added.

        An id that is missing was used meanwhile, in a transaction that is committed by now.
        """
        rows = await self._connection.fetch(
            _SQL["enter"],
            [acquisition.event_id for acquisition in acquisitions],
            [acquisition.developer_id for acquisition in acquisitions],
            [acquisition.client_id for acquisition in acquisitions],
            [acquisition.user_id for acquisition in acquisitions],
            [acquisition.content_id for acquisition in acquisitions],
            [acquisition.medium.value for acquisition in acquisitions],
            [acquisition.quality for acquisition in acquisitions],
            [acquisition.acquired_at for acquisition in acquisitions],
            [acquisition.url_expires_at for acquisition in acquisitions],
            logical_streams,
        )
        return [row["event_id"] for row in rows]

    async def settle(self, entered: Sequence[str]) -> dict[str, bool]:
        """Judge events just entered and post what changes; tell whether each is billable, and those taken back."""
        rows = await self._connection.fetch(_SQL["settle"], entered)
        return {row["event_id"]: row["billable"] for row in rows}

    async def recount(self, developer_id: str, start: datetime, end: datetime) -> Recount:
        """Find a developer's sums of whole days (UTC) in every way that there is."""
        (row,) = await self._connection.fetch(_SQL["recount"], developer_id, start, end)
        return Recount(**{name: int(value) for name, value in row.items()})


def _entry(row: Record) -> Entry | None:
    if row["event_id"] is None:
        return None
    acquisition = Acquisition(
        event_id=row["event_id"],
        developer_id=row["developer_id"],
        client_id=row["client_id"],
        user_id=row["user_id"],
        content_id=row["content_id"],
        medium=Medium(row["medium"]),
        quality=row["quality"],
        acquired_at=row["acquired_at"],
        url_expires_at=row["url_expires_at"],
    )
    return Entry(acquisition, row["billable"])
