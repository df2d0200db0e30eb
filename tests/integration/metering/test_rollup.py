"""Hours and days are the sums of their minutes, whoever makes them, how often and when; old parts go whole."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from server.errors import Unavailable
from server.ids import DeveloperId
from server.metering.counters import Counters, Use
from server.metering.rollup import RollUp
from server.metering.service import MeterService
from server.metering.store import MeterStore
from server.postgres.pool import Connection, Database
from tests.database import Clock
from tests.integration.metering.meter import add_key, cells, meter, total

NOON = datetime(2030, 3, 15, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Seconds:
    """The clock of one process."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment.timestamp()


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def noon(database: Database, clock: Clock) -> Clock:
    """The database's clock, stopped, with partitions for it."""
    await clock.set(NOON)
    await RollUp(database).maintain_partitions()
    return clock


async def use(database: Database, key: Use, *moments: datetime, operation: str = "") -> None:
    """Count and flush a call at each moment."""
    seconds = Seconds(NOON)
    counters = Counters(clock=seconds)
    for moment in moments:
        seconds.moment = moment
        counters.count(key, operation, "valid", 1, "")
    await meter(database, counters).flush()


async def assert_sums(database: Database) -> None:
    """Hours and days are what the minutes say."""
    minutes = await cells(database, "usage_minutes", "minute")
    for table, point, length in (("usage_hours", "hour", HOUR), ("usage_days", "day", DAY)):
        expected: Counter[tuple[object, ...]] = Counter()
        for (minute, *rest), (calls, _) in minutes.items():
            expected[minute - (minute - NOON.replace(hour=0)) % length, *rest] += calls
        assert {cell: calls for cell, (calls, _) in (await cells(database, table, point)).items()} == expected


async def test_minutes_become_hours_and_days(database: Database, alice: DeveloperId, bob: DeveloperId) -> None:
    keys = [await add_key(database, owner) for owner in (alice, bob, bob)]
    for key in keys:
        moments = [NOON - random.random() * timedelta(days=6) for _ in range(30)]
        await use(database, key, *moments)
        await use(database, key, *moments, operation="search")
    await RollUp(database).roll_up()
    await assert_sums(database)
    assert await total(database, "usage_days") == (180, 180)


async def test_rolling_up_again_changes_nothing(database: Database, key: Use) -> None:
    await use(database, key, NOON, NOON - HOUR, NOON - DAY)
    for _ in range(3):
        await RollUp(database).roll_up()
        await assert_sums(database)


async def test_what_did_not_change_is_not_written_again(database: Database, key: Use) -> None:
    await use(database, key, NOON)
    await RollUp(database).roll_up()
    before = await database.fetch("SELECT ctid, xmin FROM usage_hours UNION ALL SELECT ctid, xmin FROM usage_days")
    await RollUp(database).roll_up()
    assert before == await database.fetch(
        "SELECT ctid, xmin FROM usage_hours UNION ALL SELECT ctid, xmin FROM usage_days"
    )


async def test_what_comes_later_is_added(database: Database, noon: Clock, key: Use) -> None:
    await use(database, key, NOON - HOUR)
    await RollUp(database).roll_up()
    for _ in range(3):
        await noon.advance(10 * MINUTE)
        await use(database, key, NOON - HOUR, NOON, operation="search")
        await RollUp(database).roll_up()
        await assert_sums(database)
    assert await total(database, "usage_hours") == (7, 7)


async def test_only_what_was_used_since_is_looked_at(database: Database, noon: Clock, key: Use) -> None:
    await use(database, key, NOON - HOUR)
    for _ in range(2):
        await RollUp(database).roll_up()
        await noon.advance(2 * MINUTE)
    await database.execute("UPDATE usage_minutes SET calls = 100")
    await use(database, key, NOON)
    await RollUp(database).roll_up()
    assert await total(database, "usage_hours") == (2, 2)


async def test_a_batch_that_was_committed_late_is_not_missed(database: Database, noon: Clock, key: Use) -> None:
    await RollUp(database).roll_up()
    await noon.advance(-MINUTE)
    await use(database, key, NOON - MINUTE)  # flushed a minute ago, as far as its clock says
    await noon.advance(MINUTE)
    await RollUp(database).roll_up()
    await assert_sums(database)
    assert await total(database, "usage_hours") == (1, 1)


async def test_two_servers_that_roll_up_at_once_make_the_same_sums(
    database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.rollup._KEYS_AT_ONCE", 2)
    keys = [await add_key(database, alice) for _ in range(9)]
    for _ in range(3):
        for key in keys:
            await use(database, key, *(NOON - random.random() * DAY for _ in range(10)))
        await asyncio.gather(*(RollUp(database).roll_up() for _ in range(4)))
    await RollUp(database).roll_up()
    await assert_sums(database)


class Slow:
    """A database that has time for so many keys at once."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = most
        self.tries: list[int] = []
        self.roll = MeterStore.roll
        monkeypatch.setattr(MeterStore, "roll", self.replace())

    def replace(self) -> Callable[[MeterStore, datetime, Sequence[str]], Awaitable[None]]:
        async def roll(store: MeterStore, hour: datetime, key_ids: Sequence[str]) -> None:
            self.tries.append(len(key_ids))
            if len(key_ids) > self.most:
                raise Unavailable
            await self.roll(store, hour, key_ids)

        return roll


@pytest.mark.parametrize("most", [1, 3])
async def test_keys_that_do_not_fit_at_once_are_rolled_up_by_fewer(
    database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    keys = [await add_key(database, alice) for _ in range(9)]
    for key in keys:
        await use(database, key, NOON, NOON - HOUR)
    slow = Slow(most, monkeypatch)
    await RollUp(database).roll_up()
    await assert_sums(database)
    assert await total(database, "usage_days") == (18, 18)
    assert slow.tries[0] == 9
    assert sum(size for size in slow.tries if size <= most) == 18, "what was done was done again"


async def test_after_a_hard_time_more_keys_are_rolled_up_at_once_again(
    database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(9):
        await use(database, await add_key(database, alice), NOON)
    slow, rollup = Slow(1, monkeypatch), RollUp(database)
    await rollup.roll_up()
    slow.most = 500
    for _ in range(5):
        await rollup.roll_up()
    slow.tries.clear()
    await rollup.roll_up()
    assert slow.tries == [9]


async def test_an_outage_is_told_and_what_was_not_done_is_done_later(
    database: Database, key: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(database, key, NOON)
    slow = Slow(0, monkeypatch)
    with pytest.raises(Unavailable):
        await RollUp(database).roll_up()
    slow.most = 1
    await RollUp(database).roll_up()
    await assert_sums(database)


async def test_a_statement_that_was_given_up_and_still_holds_the_row_is_waited_for(
    database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await use(database, await add_key(database, alice), NOON)
    Slow(1, monkeypatch)
    hold, answers = MeterStore.hold_rollup, iter([True, False, False])

    async def held_for_a_while(store: MeterStore) -> bool:
        return await hold(store) and next(answers, True)

    monkeypatch.setattr(MeterStore, "hold_rollup", held_for_a_while)
    monkeypatch.setattr("server.metering.rollup._PAUSE", 0)
    await RollUp(database).roll_up()
    assert await total(database, "usage_hours") == (2, 2)


async def test_the_keys_of_all_minutes_of_an_hour_are_found(database: Database, alice: DeveloperId) -> None:
    keys = [await add_key(database, alice) for _ in range(60)]
    counters = Counters(clock=(seconds := Seconds(NOON)))
    for number, key in enumerate(keys):
        seconds.moment = NOON - HOUR + number * MINUTE
        counters.count(key, "", "valid", 1, "")
    await meter(database, counters).flush()
    await RollUp(database).roll_up()
    await assert_sums(database)
    assert await total(database, "usage_hours") == (60, 60)


async def test_how_far_the_roll_up_is_behind_is_told(database: Database, noon: Clock, key: Use) -> None:
    registry = CollectorRegistry()
    service = MeterService(database, Counters(), registry)

    async def lag() -> float | None:
        await service.roll_up()
        return registry.get_sample_value("developer_metering_rollup_lag_seconds")

    assert await RollUp(database).lag() == 0  # nothing was ever counted
    await use(database, key, NOON)
    await noon.advance(MINUTE)
    assert await lag() == 60
    await noon.advance(HOUR)
    assert await lag() == 3600


async def test_counting_goes_on_while_it_is_rolled_up(database: Database, alice: DeveloperId) -> None:
    keys = [await add_key(database, alice) for _ in range(5)]

    async def count() -> None:
        for _ in range(20):
            await asyncio.gather(*(use(database, key, NOON) for key in keys))

    async def roll() -> None:
        while not counting.done():
            await RollUp(database).roll_up()

    counting = asyncio.create_task(count())
    await asyncio.gather(counting, roll())
    await RollUp(database).roll_up()
    await assert_sums(database)
    assert await total(database, "usage_days") == (100, 100)


async def test_who_finds_another_at_it_leaves(database: Database, key: Use) -> None:
    await use(database, key, NOON)

    async def roll_meanwhile(connection: Connection) -> None:
        await connection.execute("SELECT FROM usage_rollups FOR UPDATE")
        async with asyncio.timeout(1):
            await RollUp(database).roll_up()

    await database.transaction(roll_meanwhile)
    assert await total(database, "usage_hours") == (0, 0)
    await RollUp(database).roll_up()
    assert await total(database, "usage_hours") == (1, 1)


async def test_what_another_did_just_now_is_not_done_again(database: Database, noon: Clock, key: Use) -> None:
    await RollUp(database).roll_up()
    await use(database, key, NOON)
    await noon.advance(timedelta(seconds=19))
    await RollUp(database).roll_up(at_least_ago=timedelta(seconds=20))
    assert await total(database, "usage_hours") == (0, 0)
    await noon.advance(timedelta(seconds=1))
    await RollUp(database).roll_up(at_least_ago=timedelta(seconds=20))
    assert await total(database, "usage_hours") == (1, 1)


async def test_batches_are_forgotten_after_two_days_once_they_are_rolled_up(
    database: Database, noon: Clock, key: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.rollup._BATCHES_AT_ONCE", 2)
    for _ in range(5):
        await use(database, key, NOON)
    rollup = RollUp(database)

    async def batches() -> int:
        await rollup.forget_batches()
        return len(await database.fetch("SELECT id FROM usage_batches"))

    await noon.advance(3 * DAY)
    assert await batches() == 5  # they are not rolled up
    await rollup.roll_up()
    await noon.set(NOON + 2 * DAY)
    assert await batches() == 5  # they are not older than two days
    await noon.advance(timedelta(seconds=1))
    assert await batches() == 0


async def partitions(database: Database, table: str) -> list[str]:
    rows = await database.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY name",
        table,
    )
    return [row["name"].removeprefix(f"{table}_") for row in rows]


async def test_minutes_are_kept_8_days_hours_13_months_and_days_10_years(database: Database, noon: Clock) -> None:
    for tables, kept, soon in (
        (("usage_minutes", "usage_developer_minutes"), 8 * DAY, 3 * DAY),
        (("usage_hours", "usage_developer_hours"), 396 * DAY, 95 * DAY),
        (("usage_days", "usage_developer_days", "usage_key_months"), 3652 * DAY, 4 * 366 * DAY),
    ):
        before = {table: set(await partitions(database, table)) for table in tables}
        await noon.set(NOON + kept)
        await RollUp(database).maintain_partitions()
        for table in tables:
            assert before[table] & set(await partitions(database, table)), f"{table} lost too much"
        await noon.set(NOON + kept + soon)
        await RollUp(database).maintain_partitions()
        for table in tables:
            assert not before[table] & set(await partitions(database, table)), f"{table} kept too much"


@pytest.mark.parametrize("table", ["usage_minutes", "usage_developer_minutes"])
async def test_there_are_partitions_for_what_is_written_now_and_soon(database: Database, table: str) -> None:
    assert await partitions(database, table) == [f"203003{day:02}" for day in range(7, 18)]


async def test_counts_find_their_partition_on_every_day(database: Database, noon: Clock, key: Use) -> None:
    for days in range(0, 40, 3):
        moment = NOON + days * DAY
        await noon.set(moment)
        await RollUp(database).maintain_partitions()
        await use(database, key, moment - 8 * DAY, moment, moment + DAY)
        await RollUp(database).roll_up()
    assert await total(database, "usage_days") == (14 * 3, 14 * 3)


async def test_a_long_read_delays_only_what_is_dropped(database: Database, noon: Clock, key: Use) -> None:
    async def maintain_meanwhile(connection: Connection) -> None:
        await connection.fetch("SELECT FROM usage_minutes")
        await noon.set(NOON + 30 * DAY)
        await RollUp(database).maintain_partitions()
        await use(database, key, NOON + 30 * DAY)

    await database.transaction(maintain_meanwhile)
    assert await total(database) == (1, 1)
    assert "20300315" in await partitions(database, "usage_minutes")
    await RollUp(database).maintain_partitions()
    assert "20300315" not in await partitions(database, "usage_minutes")


async def test_minutes_stay_until_they_are_rolled_up(database: Database, noon: Clock, key: Use) -> None:
    await use(database, key, NOON)
    await noon.set(NOON + 30 * DAY)
    await RollUp(database).maintain_partitions()
    kept = await partitions(database, "usage_minutes")
    assert "20300315" in kept
    assert "20300314" not in kept  # nothing is in it
    await RollUp(database).roll_up()
    await RollUp(database).maintain_partitions()
    assert "20300315" not in await partitions(database, "usage_minutes")
    assert await total(database, "usage_days") == (1, 1)


async def test_minutes_that_were_flushed_late_stay_too(database: Database, noon: Clock, key: Use) -> None:
    await noon.set(NOON + 3 * DAY)
    await RollUp(database).roll_up()
    await noon.set(NOON + 4 * DAY)
    await use(database, key, NOON)  # of a day that is over for the roll-up
    await noon.set(NOON + 30 * DAY)
    await RollUp(database).maintain_partitions()
    await RollUp(database).roll_up()
    assert await total(database, "usage_days") == (1, 1)


async def test_any_number_may_maintain_at_once(database: Database, noon: Clock) -> None:
    await noon.set(NOON + 30 * DAY)
    await asyncio.gather(*(RollUp(database).maintain_partitions() for _ in range(6)))
    assert "20300414" in await partitions(database, "usage_minutes")
