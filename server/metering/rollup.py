"""The roll-up of minutes into hours and days, and the upkeep of the tables. Any number of servers may run it."""

from datetime import datetime, timedelta

from server.metering.store import MeterStore
from server.postgres.pool import Connection, Database

_KEYS_AT_ONCE = 500
_BATCHES_AT_ONCE = 2_000


class RollUp:
    """Makes hours from minutes and days from hours, of the keys that were used since the last time.

    A sum is always made anew from all its parts, so that it is right however often and by whomever it is made. Work is
    done in small transactions, each by the one server that holds the roll-up's row; who finds it held leaves.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
            key_ids = await store.touched_keys(touched)
            for start in range(0, len(key_ids), _KEYS_AT_ONCE):
                if not await self._roll(touched.hour, key_ids[start : start + _KEYS_AT_ONCE]):
                    return
        await store.advance_rollup(rollup.now)

    async def forget_batches(self) -> None:
        """Drop the ids of batches that are too old to be sent again, in small steps whatever has piled up."""
        while await MeterStore(self._database).forget_batches(_BATCHES_AT_ONCE):
            pass

    async def maintain_partitions(self) -> None:
        """Make the partitions that will be needed and drop those whose time is over."""
        await MeterStore(self._database).maintain_partitions()

    async def _roll(self, hour: datetime, key_ids: list[str]) -> bool:
        async def work(connection: Connection) -> bool:
            store = MeterStore(connection)
            held = await store.hold_rollup()
            if held:
                await store.roll(hour, key_ids)
            return held

        return await self._database.transaction(work)
