"""From counters to tables: every call once, whatever happens to answers, clocks and processes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from server.errors import Unavailable
from server.ids import DeveloperId
from server.metering import store
from server.metering.counters import Counters, Use
from server.metering.service import MeterService
from server.metering.store import MeterStore
from server.postgres.pool import Connection, Database
from tests.database import Clock
from tests.integration.metering.meter import UNPROTECTED, LossyDatabase, add_key, cells, meter, months, total

MIDNIGHT = datetime(2030, 2, 1, tzinfo=UTC)


class Seconds:
    """The clock of one process."""

    def __init__(self, moment: datetime) -> None:
        self.now = moment.timestamp()

    def __call__(self) -> float:
        return self.now


def this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m-01")


@pytest_asyncio.fixture(loop_scope="session")
async def turn_of_the_month(database: Database, clock: Clock) -> AsyncIterator[Clock]:
    """The database's clock, stopped in the first minute of a month."""
    await clock.set(MIDNIGHT + timedelta(seconds=30))
    await database.fetch("SELECT maintain_usage_partitions()")
    yield clock


async def test_what_was_counted_is_in_the_tables_after_a_flush(
    database: Database, counters: Counters, key: Use
) -> None:
    counters.count(key, "search", "valid", 2, "")
    counters.count(key, "search", "valid", 3, "")
    counters.count(key, "", "rate_limited", 1, "")
    await meter(database, counters).flush()
    minutes = await cells(database, "usage_minutes", "minute")
    assert {key[1:]: value for key, value in minutes.items()} == {
        (key.key_id, "search", "valid", 1): (2, 5),
        (key.key_id, "", "rate_limited", 1): (1, 0),
    }
    assert all(minute.second == 0 for minute, *_ in minutes)
    assert await months(database) == {(key.developer_id, this_month()): 5}


async def test_flushes_add_up(database: Database, counters: Counters, key: Use) -> None:
    service = meter(database, counters)
    for _ in range(5):
        counters.count(key, "search", "valid", 2, "")
        await service.flush()
    await service.flush()
    assert await total(database) == (5, 10)
    assert counters.units_used(key.developer_id) == 10
    row = await database.fetchrow("SELECT count(*) AS count FROM usage_batches")
    assert row
    assert row["count"] == 5  # nothing to write is no batch


async def test_replicas_learn_what_others_used_by_flushing(database: Database, key: Use) -> None:
    one, other = Counters(), Counters()
    one.count(key, "", "valid", 10, "")
    other.count(key, "", "valid", 1, "")
    await meter(database, one).flush()
    await meter(database, other).flush()
    assert other.units_used(key.developer_id) == 11


@pytest.mark.parametrize("protected", [True, False])
async def test_a_batch_whose_answer_was_lost_is_sent_again_and_counts_once(
    database: Database,
    lossy: LossyDatabase,
    counters: Counters,
    key: Use,
    monkeypatch: pytest.MonkeyPatch,
    protected: bool,
) -> None:
    if not protected:
        monkeypatch.setattr(store, "_SQL", UNPROTECTED)
    service = meter(lossy, counters)
    counters.count(key, "", "valid", 5, "")
    lossy.lost = 2
    for _ in range(2):
        with pytest.raises(Unavailable):
            await service.flush()
        counters.count(key, "", "valid", 1, "")  # goes on meanwhile
        assert counters.units_used(key.developer_id) >= 6
    await service.flush()
    await service.flush()
    assert (await total(database) == (3, 7)) == protected
    assert (await months(database) == {(key.developer_id, this_month()): 7}) == protected
    assert (counters.units_used(key.developer_id) == 7) == protected
    assert service.unflushed_calls == 0


async def test_a_batch_that_never_arrived_is_sent_again(
    database: Database, lossy: LossyDatabase, counters: Counters, key: Use
) -> None:
    lossy.lost, lossy.refusing = 3, True
    service = meter(lossy, counters)
    counters.count(key, "", "valid", 1, "")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await service.flush()
    assert service.unflushed_calls == 1
    await service.flush()
    assert await total(database) == (1, 1)


async def test_the_totals_of_a_batch_that_had_arrived_are_read(
    database: Database, lossy: LossyDatabase, key: Use
) -> None:
    mine, others = Counters(), Counters()
    service = meter(lossy, mine)
    mine.count(key, "", "valid", 1, "")
    lossy.lost = 1
    with pytest.raises(Unavailable):
        await service.flush()
    others.count(key, "", "valid", 10, "")
    await meter(database, others).flush()
    await service.flush()
    assert mine.units_used(key.developer_id) == 11


async def test_a_batch_sent_twice_at_once_counts_once(database: Database, counters: Counters, key: Use) -> None:
    counters.count(key, "", "valid", 1, "")
    batch = counters.freeze()
    assert batch
    await asyncio.gather(*(MeterStore(database).add(batch) for _ in range(8)))
    assert await total(database) == (1, 1)
    assert await months(database) == {(key.developer_id, this_month()): 1}


async def test_replicas_that_flush_the_same_keys_at_once_lose_and_double_nothing(
    database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    keys = [await add_key(database, owner) for owner in (alice, bob) * 10]
    replicas = [Counters() for _ in range(4)]

    async def work(counters: Counters) -> None:
        service = meter(database, counters)
        for _ in range(15):
            for key in random.sample(keys, len(keys)):
                counters.count(key, "search", "valid", 1, "")
            await service.flush()

    await asyncio.gather(*map(work, replicas))
    assert await total(database) == (4 * 15 * 20, 4 * 15 * 20)
    assert await months(database) == {(owner, this_month()): 4 * 15 * 10 for owner in (alice, bob)}


async def test_more_cells_than_a_batch_holds_are_several(database: Database, counters: Counters, key: Use) -> None:
    for number in range(900):
        for outcome in ("valid", "revoked", "expired", "rate_limited", "quota_exceeded", "insufficient_scope"):
            counters.count(key, f"operation.{number}", outcome, 1, "")
    await meter(database, counters).flush()
    assert await total(database) == (5_400, 900)


async def test_a_minute_too_old_or_still_to_come_is_put_where_there_is_a_place(
    database: Database, turn_of_the_month: Clock, key: Use
) -> None:
    now = await turn_of_the_month.now()
    for off in (-timedelta(days=30), -timedelta(days=8), -timedelta(days=6), timedelta(), timedelta(days=400)):
        counters = Counters(clock=Seconds(now + off))
        counters.count(key, "", "valid", 1, "")
        await meter(database, counters).flush()
    minutes = await cells(database, "usage_minutes", "minute")
    assert {minute: calls for (minute, *_), (calls, _) in minutes.items()} == {
        MIDNIGHT - timedelta(days=7): 2,
        MIDNIGHT - timedelta(days=6): 1,
        MIDNIGHT: 2,
    }


async def test_minutes_that_fall_together_in_one_batch_are_added(
    database: Database, turn_of_the_month: Clock, key: Use
) -> None:
    seconds = Seconds(MIDNIGHT - timedelta(days=20))
    counters = Counters(clock=seconds)
    for _ in range(5):
        counters.count(key, "", "valid", 2, "")
        seconds.now += 60
    await meter(database, counters).flush()
    assert await total(database) == (5, 10)
    row = await database.fetchrow("SELECT first_minute, last_minute FROM usage_batches")
    assert row
    assert set(row.values()) == {MIDNIGHT - timedelta(days=7)}


async def test_a_batch_across_midnight_counts_in_both_months(
    database: Database, turn_of_the_month: Clock, key: Use
) -> None:
    seconds = Seconds(MIDNIGHT - timedelta(seconds=1))
    counters = Counters(clock=seconds)
    counters.know_units(key.developer_id, 100)
    counters.count(key, "", "valid", 3, "")
    seconds.now += 1
    counters.count(key, "", "valid", 5, "")
    await meter(database, counters).flush()
    assert await months(database) == {(key.developer_id, "2030-01-01"): 3, (key.developer_id, "2030-02-01"): 5}
    assert counters.units_used(key.developer_id) == 5


async def test_the_month_is_that_of_utc_wherever_the_server_is(database_url: str, database: Database, key: Use) -> None:
    clock = await Clock.install(database)
    await clock.set(MIDNIGHT + timedelta(seconds=30))
    await database.fetch("SELECT maintain_usage_partitions()")
    async with database.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET timezone = 'America/Los_Angeles'")
    abroad = Database(database_url)
    await abroad.open()
    counters = Counters(clock=Seconds(MIDNIGHT))
    counters.count(key, "", "valid", 1, "")
    await meter(abroad, counters).flush()
    await abroad.close()
    assert await months(database) == {(key.developer_id, "2030-02-01"): 1}


async def test_closing_writes_everything_through_lost_answers(
    database: Database, lossy: LossyDatabase, counters: Counters, key: Use
) -> None:
    for number in range(7_000):
        counters.count(key, f"{number % 900}", ("valid", "revoked", "expired")[number % 3], 1, "192.0.2.1")
    lossy.lost = 3
    await meter(lossy, counters).close(within=30)
    assert (await total(database))[0] == 7_000
    row = await database.fetchrow("SELECT last_used_at FROM api_keys")
    assert row
    assert row["last_used_at"] is not None


async def test_closing_ends_in_time_and_tells_what_is_lost(lossy: LossyDatabase, counters: Counters, key: Use) -> None:
    counters.count(key, "", "valid", 1, "")
    lossy.lost, lossy.refusing = 1_000, True
    started = time.monotonic()
    with capture_logs() as logs:
        await meter(lossy, counters).close(within=0.5)
    assert time.monotonic() - started < 1.5
    assert {"event": "metering_lost", "log_level": "error", "calls": 1} in logs


async def test_running_flushes_every_second_and_outlives_faults(
    database: Database, lossy: LossyDatabase, counters: Counters, key: Use
) -> None:
    service = meter(lossy, counters)
    counters.count(key, "", "valid", 1, "")
    lossy.lost, lossy.refusing = 3, True
    with capture_logs() as logs:
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(10):
            while await total(database) != (1, 1):
                await asyncio.sleep(0.05)
    assert {"event": "metering_failed", "log_level": "warning", "work": "flush", "fault": "Unavailable"} in logs
    counters.count(key, "", "valid", 1, "")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await service.close()
    assert await total(database) == (2, 2)


async def test_a_flush_that_is_cancelled_is_done_once_all_the_same(
    database: Database, counters: Counters, key: Use
) -> None:
    service = meter(database, counters)

    async def cancel_a_flush(connection: Connection) -> None:
        await connection.execute("LOCK usage_months IN EXCLUSIVE MODE")
        counters.count(key, "", "valid", 1, "")
        flush = asyncio.create_task(service.flush())
        async with asyncio.timeout(5):
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        flush.cancel()
        await asyncio.gather(flush, return_exceptions=True)

    await database.transaction(cancel_a_flush)
    await service.close()
    assert await total(database) == (1, 1)


async def test_metrics_tell_how_flushing_goes(lossy: LossyDatabase, counters: Counters, key: Use) -> None:
    registry = CollectorRegistry()
    service = MeterService(lossy, counters, registry)

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"developer_metering_{name}")

    counters.count(key, "", "valid", 1, "")
    lossy.lost = 1
    with pytest.raises(Unavailable):
        await service.flush()
    assert (value("unflushed_calls"), value("flush_failures_total")) == (1, 1)
    await service.flush()
    assert (value("unflushed_calls"), value("flush_failures_total"), value("flush_seconds_count")) == (0, 1, 2)
