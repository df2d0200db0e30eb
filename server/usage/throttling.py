"""Why calls with a key were refused for their number, and how much room its limits have left."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from server.errors import NotFound
from server.ids import DeveloperId, find_key_id
from server.limits.model import Claim
from server.limits.service import Limiter
from server.metering.model import Span
from server.metering.reports import Period, quota_of
from server.metering.store import Account, UsageStore
from server.postgres.pool import Database
from server.usage.model import Demand, Limit, Standing, Throttling, list_refusals, runs_out_at
from server.usage.store import KeyLimits, KeyStore, LimitStore


class _Window(NamedTuple):
    """A rate's window, and what was called of late that it counts."""

    limit: Limit
    claim: Claim
    demand: Demand


class ThrottlingService:
    """Explains refusals. Calls show up as in reports of usage; rates stand as the limiter of this server sees them."""

    def __init__(self, database: Database, limiter: Limiter) -> None:
        """Take the limiter that verification asks as well."""
        self._keys = KeyStore(database)
        self._limits = LimitStore(database)
        self._usage = UsageStore(database)
        self._limiter = limiter

    async def explain(self, developer_id: DeveloperId, key_id: str, period: Period) -> Throttling:
        """Explain the refusals of calls with a developer's key during a span.

        Raises:
            InvalidRequest: the span is at fault.
            NotFound: there is no such key, or it is another developer's.
        """
        start, end = period.bounds()
        known = find_key_id(key_id)
        limits = await self._limits.find_key_limits(known, developer_id) if known else None
        if known is None or limits is None:
            raise NotFound("There is no such API key, or it is not yours.")
        span, recent = Span.choose(period.granularity, start, end, limits.now), Span.recent(limits.now)
        points = await self._keys.refused_points(known, span)
        refused: Counter[Limit] = Counter()
        for each in points:
            refused.update(each.refusals())
        own, everything = await self._keys.demand(developer_id, known, recent)
        windows = (
            _Window(Limit.KEY_RATE, Claim(f"k:{developer_id}:{known}".encode(), limits.rate), own),
            _Window(Limit.DEVELOPER_RATE, Claim(f"d:{developer_id}".encode(), limits.developer_rate), everything),
        )
        rates = await asyncio.gather(*(self._rate(window, recent, refused) for window in windows))
        return Throttling(
            standings=(*rates, *await self._quota(developer_id, limits, refused)),
            refusals=list_refusals(points),
            key_calls_per_second=own.calls / recent.seconds,
            developer_calls_per_second=everything.calls / recent.seconds,
        )

    async def _rate(self, window: _Window, recent: Span, refused: Mapping[Limit, int]) -> Standing:
        """Tell where a window stands at the end of a recent span, whose pace goes on."""
        decision = await self._limiter.peek([window.claim], 0)
        rate, now = window.claim.rate, recent.end
        pace = window.demand.wanted_units / recent.seconds
        return Standing(
            limit=window.limit,
            units=rate.requests,
            window_seconds=rate.seconds,
            remaining=decision.remaining,
            resets_at=now + timedelta(seconds=decision.reset_seconds),
            exhausted_at=runs_out_at(
                decision.remaining, units=rate.requests, seconds=rate.seconds, per_second=pace, now=now
            ),
            refused_calls=refused.get(window.limit, 0),
        )

    async def _quota(
        self, developer_id: DeveloperId, limits: KeyLimits, refused: Mapping[Limit, int]
    ) -> tuple[Standing, ...]:
        """Tell where the month stands; nothing without a quota."""
        account = Account(limits.now, limits.monthly_quota, limits.units_used)
        quota = await quota_of(self._usage, developer_id, account)
        if quota is None:
            return ()
        standing = Standing(
            limit=Limit.MONTHLY_QUOTA,
            units=quota.limit,
            window_seconds=0,
            remaining=max(0, quota.limit - quota.used),
            resets_at=quota.resets_at,
            exhausted_at=quota.exhausted_at,
            refused_calls=refused.get(Limit.MONTHLY_QUOTA, 0),
        )
        return (standing,)
