"""Usage in PostgreSQL: one method per named statement of `queries.sql`. No rule is decided here."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from server.ids import DeveloperId
from server.metering.batch import Batch, MonthTotal, Redigest, ScopeUse, SecretUse
from server.metering.model import Pace, Row, Span, StreamCount
from server.postgres.pool import Connection, Database, Record
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))

_SEPARATOR = "\x1f"


class Account(NamedTuple):
    """A developer's quota, None for none, and what is used of it in the month of `now`."""

    now: datetime
    monthly_quota: int | None
    units_used: int


class Rollup(NamedTuple):
    """How far the roll-up has come, and the time."""

    done_until: datetime
    now: datetime


class TouchedHour(NamedTuple):
    """An hour that calls were added to, in minutes from the first to the last."""

    hour: datetime
    first_minute: datetime
    last_minute: datetime


class MeterStore:
    """Writes what was counted, over a pool for single statements or over one connection inside a transaction."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def add(self, batch: Batch) -> list[MonthTotal]:
        """Add a batch, once for its id; return the totals of the months it adds to, nothing if it was added before.

        Columns are sent joined by a character that none of them has: the driver takes five times as long for lists, and
        the event loop waits for it.
        """
        columns = (_SEPARATOR.join(map(str, column)) for column in zip(*batch.cells, strict=True))
        return _totals(await self._connection.fetch(_SQL["add_batch"], batch.id, *columns))

    async def month_totals(self, months: Collection[tuple[str, date]]) -> list[MonthTotal]:
        """Read what developers used in months."""
        developer_ids, first_days = [developer_id for developer_id, _ in months], [day for _, day in months]
        return _totals(await self._connection.fetch(_SQL["read_month_totals"], developer_ids, first_days))

    async def note_key_uses(self, uses: Collection[tuple[str, float]]) -> set[str]:
        """Move the last use of keys forward to Unix seconds; return those passed over because others hold them."""
        rows = await self._connection.fetch(
            _SQL["note_key_uses"], [key_id for key_id, _ in uses], [used_at for _, used_at in uses]
        )
        return {row["id"] for row in rows}

    async def note_secret_uses(self, uses: Sequence[SecretUse]) -> set[str]:
        """Move the last use of secrets forward; return the prefixes of those passed over because others hold them."""
        rows = await self._connection.fetch(
            _SQL["note_secret_uses"],
            [use.key_prefix for use in uses],
            [use.used_at for use in uses],
            [use.client_ip for use in uses],
        )
        return {row["key_prefix"] for row in rows}

    async def note_scope_uses(self, uses: Sequence[ScopeUse]) -> set[tuple[str, str]]:
        """Note when keys needed scopes, unless it was noted less than an hour before; return what was passed over.

        That are the scopes, with their keys' ids, of keys that others hold.
        """
        rows = await self._connection.fetch(_SQL["note_scope_uses"], *map(list, zip(*uses, strict=True)))
        return {(row["key_id"], row["scope"]) for row in rows}

    async def renew_digests(self, redigests: Sequence[Redigest]) -> None:
        """Store digests where the old pepper's still stand and nobody holds the row."""
        columns = map(list, zip(*redigests, strict=True))
        await self._connection.execute(_SQL["renew_digests"], *columns)

    async def find_rollup(self, at_least_ago: timedelta) -> Rollup | None:
        """Read how far the roll-up has come; None when it came there less than that ago."""
        row = await self._connection.fetchrow(_SQL["find_rollup"], at_least_ago)
        return Rollup(**dict(row)) if row else None

    async def hold_rollup(self) -> bool:
        """Be the one who rolls up until the transaction ends; False when another one is."""
        return bool(await self._connection.fetchrow(_SQL["hold_rollup"]))

    async def advance_rollup(self, done_until: datetime) -> None:
        """Note that batches flushed before a time are rolled up."""
        await self._connection.execute(_SQL["advance_rollup"], done_until)

    async def touched_hours(self, since: datetime) -> list[TouchedHour]:
        """List what batches flushed since a time, or in the minute before it, have added to."""
        rows = await self._connection.fetch(_SQL["list_touched_hours"], since)
        return [TouchedHour(**dict(row)) for row in rows]

    async def rollup_lag(self) -> float:
        """Read how many seconds ago the roll-up was done; before its first time, how old the oldest batch is."""
        row = await self._connection.fetchrow(_SQL["read_rollup_lag"])
        return float(row["seconds"]) if row else 0.0

    async def touched_keys(self, first_minute: datetime, last_minute: datetime) -> list[str]:
        """List the keys that were used from one minute to another, both included."""
        rows = await self._connection.fetch(_SQL["list_touched_keys"], first_minute, last_minute)
        return [row["key_id"] for row in rows]

    async def roll(self, hour: datetime, key_ids: Sequence[str]) -> None:
        """Make an hour of some keys from its minutes, then its day (UTC) from the hours."""
        await self._connection.execute(_SQL["roll_hour"], hour, key_ids)
        await self._connection.execute(_SQL["roll_day"], hour.replace(hour=0), key_ids)

    async def forget_batches(self, limit: int) -> int:
        """Drop up to `limit` batches that are rolled up and too old to be sent again; count them."""
        row = await self._connection.fetchrow(_SQL["forget_batches"], limit)
        return int(row["count"]) if row else 0

    async def maintain_partitions(self) -> None:
        """Make the partitions that will be needed and drop those whose time is over."""
        await self._connection.execute(_SQL["maintain_partitions"])


class UsageStore:
    """Reads usage, over a pool or a connection."""

    def __init__(self, connection: "Connection | Database") -> None:
        self._connection = connection

    async def find_owner(self, key_id: str) -> DeveloperId | None:
        """Read whose a key is."""
        row = await self._connection.fetchrow(_SQL["find_owner"], key_id)
        return DeveloperId(row["developer_id"]) if row else None

    async def find_account(self, developer_id: str) -> Account | None:
        """Read a developer's quota and the time."""
        row = await self._connection.fetchrow(_SQL["find_account"], developer_id)
        return Account(**dict(row)) if row else None

    async def sum_up(self, span: Span, *, developer_id: str, key_id: str | None) -> list[Row]:
        """Sum up the use of a developer's keys, or of one, by point and outcome and by operation."""
        statement, whose = ("sum_up_key", key_id) if key_id else ("sum_up_developer", developer_id)
        rows = await self._connection.fetch(_SQL[statement], whose, span.granularity.value, span.start, span.end)
        return [Row(**dict(row)) for row in rows]

    async def pace(self, developer_id: str, since: datetime, month: datetime, now: datetime) -> Pace:
        """Read the units used since an hour; if the month saw none before it, since the first hour that saw some."""
        row = await self._connection.fetchrow(_SQL["read_pace"], developer_id, since, month)
        if row is None or row["used_before"]:
            return Pace(row["units"] if row else 0, since)
        return Pace(row["units"], row["first_hour"] or now)

    async def count_streams(self, developer_id: str, first: date, last: date) -> list[StreamCount]:
        """Count a developer's streams by medium from the first to the last day, both included."""
        rows = await self._connection.fetch(_SQL["count_streams"], developer_id, first, last)
        return [StreamCount(**dict(row)) for row in rows]


def _totals(rows: Sequence[Record]) -> list[MonthTotal]:
    return [MonthTotal(**dict(row)) for row in rows]
