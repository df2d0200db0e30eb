"""The roll-up of minutes into hours and days, and the upkeep of the tables. Any number of servers may run it."""

import asyncio
from datetime import datetime, timedelta

from server.errors import Unavailable
from server.metering.store import MeterStore, TouchedHour
from server.postgres.pool import Connection, Database

_KEYS_AT_ONCE = 100
"""How many keys a transaction begins with; fewer once some did not fit into its time, then slowly more again."""
_MOST_KEYS_AT_ONCE = 500
_MINUTES_AT_ONCE = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
_PATIENCE, _PAUSE = 10, 0.2
"""How often, and after how many seconds each, the row is tried again that a statement of ours may still hold."""
_BATCHES_AT_ONCE = 2_000


class RollUp:
    """Makes hours from minutes and days from hours, of the keys that were used since the last time.

    A sum is always made anew from all its parts, so that it is right however often and by whomever it is made. Those
    over all keys of a developer and over the days of a month follow by triggers, in the same statements. Work is done
    in small transactions, each by the one server that holds the roll-up's row; who finds it held leaves.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys_at_once = _KEYS_AT_ONCE

    async def lag(self) -> float:
        """Return how many seconds of flushed batches wait to be rolled up."""
        return await MeterStore(self._database).rollup_lag()

    async def roll_up(self, *, at_least_ago: timedelta = timedelta()) -> None:
        """Bring hours and days up to date, unless a server did so less than `at_least_ago` ago.

        Raises:
            Unavailable: some of it may be done; the next time does it again.
        """
        store = MeterStore(self._database)
        rollup = await store.find_rollup(at_least_ago)
        if rollup is None:
            return
        for touched in await store.touched_hours(rollup.done_until):
            if not await self._roll_keys(touched.hour, await self._touched_keys(touched)):
                return
        await store.advance_rollup(rollup.now)

    async def forget_batches(self) -> None:
        """Drop the ids of batches that are too old to be sent again, in small steps whatever has piled up."""
        while await MeterStore(self._database).forget_batches(_BATCHES_AT_ONCE):
            pass

    async def maintain_partitions(self) -> None:
        """Make the partitions that will be needed and drop those whose time is over."""
        await MeterStore(self._database).maintain_partitions()

    async def _touched_keys(self, touched: TouchedHour) -> list[str]:
        """List the keys of some minutes, few minutes at a time: a whole busy hour may take too long to read."""
        key_ids: set[str] = set()
        begin = touched.first_minute
        while begin <= touched.last_minute:
            end = min(begin + _MINUTES_AT_ONCE - _MINUTE, touched.last_minute)
            key_ids.update(await MeterStore(self._database).touched_keys(begin, end))
            begin = end + _MINUTE
        return sorted(key_ids)

    async def _roll_keys(self, hour: datetime, key_ids: list[str]) -> bool:
        """Make an hour of keys, as many at once as there is time for; False when another server is at it."""
        patience = 0
        while key_ids:
            some = key_ids[: self._keys_at_once]
            try:
                held = await self._roll(hour, some)
            except Unavailable:
                if len(some) == 1:
                    raise
                self._keys_at_once = len(some) // 2
                patience = _PATIENCE
                continue
            if held:
                del key_ids[: len(some)]
                more = max(1, self._keys_at_once // 10)
                self._keys_at_once = min(self._keys_at_once + more, _MOST_KEYS_AT_ONCE)
                patience = 0
            elif patience:  # what we gave up on may go on in the database for a moment
                patience -= 1
                await asyncio.sleep(_PAUSE)
            else:
                return False
        return True

    async def _roll(self, hour: datetime, key_ids: list[str]) -> bool:
        async def work(connection: Connection) -> bool:
            store = MeterStore(connection)
            held = await store.hold_rollup()
            if held:
                await store.roll(hour, key_ids)
            return held

        return await self._database.transaction(work)
