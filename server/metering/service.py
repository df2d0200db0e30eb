"""From the counters to the database: counted calls every second, uses of keys every 20 seconds, roll-ups every 30.

None of it is on the path of a call, and each part outlives outages by itself: what could not be done is done later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.metering.batch import Batch, SecretUse
from server.metering.counters import BATCH_CELLS, Counters
from server.metering.rollup import RollUp
from server.metering.store import MeterStore
from server.postgres.errors import StatementFault
from server.postgres.pool import Database

_FLUSH_SECONDS = 1.0
_USES_SECONDS = 20.0
_ROLL_UP_SECONDS = 30.0
_UPKEEP_SECONDS = 3600.0
_RETRY_SECONDS = 10.0
_ROLLED_UP_RECENTLY = timedelta(seconds=20)
_USES_AT_ONCE = 1_000
_CLOSING_PAUSE = 0.1
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

_log = structlog.get_logger("server.metering")


class MeterService:
    """Empties the counters of this process into the database.

    A batch whose answer was lost is sent again before any other, under its id: if it had arrived, that changes nothing.
    So after a crash the database holds each batch that was acknowledged once, and at most the one under way besides.
    """

    def __init__(self, database: Database, counters: Counters, registry: CollectorRegistry) -> None:
        """Take the counters to empty; the metrics go into `registry`."""
        self._store = MeterStore(database)
        self._counters = counters
        self._roll_up = RollUp(database)
        self._batch: Batch | None = None
        self._flushing = asyncio.Lock()
        self._seconds = Histogram(
            "developer_metering_flush_seconds",
            "How long a batch of counted calls took to be written.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._unflushed = Gauge(
            "developer_metering_unflushed_calls",
            "Counted calls that a crash would lose.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._failures = Counter(
            "developer_metering_flush_failures",
            "Batches whose writing failed; they are sent again.",
            registry=registry,
        )
        self._lag = Gauge(
            "developer_metering_rollup_lag_seconds",
            "How far hours and days were behind the counted calls when they were last about to be brought up to date.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    @property
    def unflushed_calls(self) -> int:
        """Calls that are not known to be in the database."""
        return self._counters.pending_calls + (self._batch.calls if self._batch else 0)

    async def flush(self) -> None:
        """Write what is counted so far.

        Raises:
            Unavailable: the batch under way may be written or not; the next flush begins with it.
        """
        async with self._flushing:
            try:
                full = True
                while full and (batch := self._batch or self._counters.freeze()):
                    self._batch = batch
                    await self._write(batch)
                    self._batch = None
                    full = len(batch.cells) >= BATCH_CELLS
            except Exception:
                self._failures.inc()
                raise
            finally:
                self._unflushed.set(self.unflushed_calls)

    async def note_uses(self) -> None:
        """Write when keys, secrets and scopes were last used, and digests to renew; keep what others hold for later.

        A digest that could not be renewed comes back when its key is next looked up.
        """
        uses, redigests = self._counters.take_uses(), self._counters.take_redigests()
        while uses:
            some = uses[-_USES_AT_ONCE:]
            try:
                self._counters.keep_uses(await self._note(some))
            except BaseException:
                self._counters.keep_uses(uses)
                raise
            del uses[-_USES_AT_ONCE:]
        await self._note_scope_uses()
        for start in range(0, len(redigests), _USES_AT_ONCE):
            await self._store.renew_digests(redigests[start : start + _USES_AT_ONCE])

    async def roll_up(self) -> None:
        """Bring hours and days up to date, unless another server did so just now, and forget old batches."""
        self._lag.set(await self._roll_up.lag())
        await self._roll_up.roll_up(at_least_ago=_ROLLED_UP_RECENTLY)
        await self._roll_up.forget_batches()

    async def run(self) -> None:
        """Do all of this again and again, until cancelled."""
        await asyncio.gather(
            _repeat(self.flush, _FLUSH_SECONDS),
            _repeat(self.note_uses, _USES_SECONDS),
            _repeat(self.roll_up, _ROLL_UP_SECONDS),
            _repeat(self._roll_up.maintain_partitions, _UPKEEP_SECONDS),
        )

    async def close(self, within: float = 3.0) -> None:
        """Write what is left, within some seconds; call it when nothing counts and `run` has ended."""
        try:
            async with asyncio.timeout(within):
                while self.unflushed_calls:
                    await _outlive(self.flush)
                    if self.unflushed_calls:
                        await asyncio.sleep(_CLOSING_PAUSE)
                await _outlive(self.note_uses)
        except TimeoutError:
            _log.error("metering_lost", calls=self.unflushed_calls)

    async def _note_scope_uses(self) -> None:
        uses = self._counters.take_scope_uses()
        while uses:
            some = uses[-_USES_AT_ONCE:]
            try:
                passed_over = await self._store.note_scope_uses(some)
            except BaseException:
                self._counters.keep_scope_uses(uses)
                raise
            self._counters.keep_scope_uses(use for use in some if use[:2] in passed_over)
            del uses[-_USES_AT_ONCE:]

    async def _write(self, batch: Batch) -> None:
        with self._seconds.time():
            totals = await self._store.add(batch)
            months = batch.units()
            if months and not totals:  # it had been added before its answer was lost
                totals = await self._store.month_totals(months)
        self._counters.settle(batch, totals)

    async def _note(self, uses: Sequence[SecretUse]) -> list[SecretUse]:
        """Write some uses and return those to note again, since others held a row of theirs.

        One that the database refuses is dropped: it would be refused every time, and every other one with it.
        """
        try:
            return await self._write_uses(uses)
        except StatementFault as fault:
            if len(uses) == 1:
                _log.error("metering_use_dropped", sqlstate=fault.sqlstate)
                return []
        half = len(uses) // 2
        return await self._note(uses[:half]) + await self._note(uses[half:])

    async def _write_uses(self, uses: Sequence[SecretUse]) -> list[SecretUse]:
        latest: dict[str, float] = {}
        for use in uses:
            latest[use.key_id] = max(use.used_at, latest.get(use.key_id, use.used_at))
        key_ids = await self._store.note_key_uses(latest.items())
        prefixes = await self._store.note_secret_uses(uses)
        return [use for use in uses if use.key_id in key_ids or use.key_prefix in prefixes]


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do something again and again, sooner after a failure if it is done seldom."""
    while True:
        done = await _outlive(work)
        await asyncio.sleep(seconds if done else min(seconds, _RETRY_SECONDS))


async def _outlive(work: Callable[[], Awaitable[None]]) -> bool:
    """Do something and tell whether it worked; why not is in the log."""
    try:
        await work()
    except Exception as fault:
        _log.warning("metering_failed", work=work.__name__, fault=type(fault).__name__)
        return False
    return True
