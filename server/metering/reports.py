"""Reports of usage: what a developer's keys, or one of them, were used for during a span of time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.errors import InvalidRequest, NotFound, Overloaded
from server.ids import find_key_id
from server.metering.model import (
    PACE,
    Granularity,
    Quota,
    Span,
    StreamCount,
    Usage,
    floor,
    forecast,
    month,
    sum_up,
)
from server.metering.store import Account, UsageStore
from server.postgres.pool import Database
from server.times import parse_time

_MICROSECOND = timedelta(microseconds=1)
_AT_ONCE = 2
"""How many reports are read at once: a long one must not keep connections from what changes keys."""
_PATIENCE = 1.0
"""How many seconds a report waits for its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The span that is asked for; times are text as it was sent, empty for the usual."""

    granularity: Granularity
    start_time: str
    end_time: str

    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """Read the times; None for the usual.

        Raises:
            InvalidRequest: they are at fault.
        """
        start, start_fault = parse_time(self.start_time, "start_time")
        end, end_fault = parse_time(self.end_time, "end_time")
        faults = [fault for fault in (start_fault, end_fault) if fault]
        if faults:
            raise InvalidRequest(faults)
        return start, end


class UsageReports:
    """Reads what was used. Calls show up after a second; in hours and days after a minute at most."""

    def __init__(self, database: Database) -> None:
        self._store = UsageStore(database)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of_developer(self, developer_id: str, period: Period) -> Usage:
        """Report on all keys of a developer and on the streams of its clients.

        Raises:
            InvalidRequest: the span is at fault.
            NotFound: there is no such developer.
            Overloaded: too many reports are being made.
        """
        start, end = period.bounds()
        async with self._turn():
            return await self._of_developer(developer_id, period.granularity, start, end)

    async def _of_developer(
        self, developer_id: str, granularity: Granularity, start: datetime | None, end: datetime | None
    ) -> Usage:
        account = await self._store.find_account(developer_id) if "\0" not in developer_id else None
        if account is None:
            raise NotFound("There is no such developer.")
        span = Span.choose(granularity, start, end, account.now)
        last = (span.end - _MICROSECOND).date()
        streams = await self._store.count_streams(developer_id, span.start.date(), last)
        return await self._report(span, account, developer_id, streams=tuple(streams))

    async def of_key(self, key_id: str, period: Period, *, developer_id: str | None = None) -> Usage:
        """Report on one key, of the developer if one is named.

        Raises:
            InvalidRequest: the span is at fault.
            NotFound: there is no such key, or it is another developer's.
            Overloaded: too many reports are being made.
        """
        start, end = period.bounds()
        async with self._turn():
            known = find_key_id(key_id)
            owner = await self._store.find_owner(known) if known else None
            account = await self._store.find_account(owner) if owner and owner == (developer_id or owner) else None
            if owner is None or account is None:
                raise NotFound("There is no such API key, or it is not yours.")
            span = Span.choose(period.granularity, start, end, account.now)
            return await self._report(span, account, owner, key_id=known)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded from None
        try:
            yield
        finally:
            self._turns.release()

    async def _report(
        self,
        span: Span,
        account: Account,
        developer_id: str,
        *,
        key_id: str | None = None,
        streams: tuple[StreamCount, ...] = (),
    ) -> Usage:
        totals = sum_up(await self._store.sum_up(span, developer_id=developer_id, key_id=key_id))
        recent = Span.recent(account.now)
        lately = sum_up(await self._store.sum_up(recent, developer_id=developer_id, key_id=key_id))
        return Usage(
            span=span,
            totals=totals,
            calls_per_second=lately.calls / recent.seconds,
            quota=await quota_of(self._store, developer_id, account),
            streams=streams,
        )


async def quota_of(store: UsageStore, developer_id: str, account: Account) -> Quota | None:
    """Tell where a developer's month stands and where it leads at the pace of the last days; None without a quota."""
    if account.monthly_quota is None:
        return None
    now = account.now
    since = max(month(now), floor(now - PACE, Granularity.HOUR.length))
    pace = await store.pace(developer_id, since, month(now), now)
    return forecast(account.monthly_quota, account.units_used, pace, now)
