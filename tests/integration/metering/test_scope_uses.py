"""When calls last needed a scope of a key: told once an hour, never waiting for anybody, and no news to verifiers."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from server.errors import Unavailable
from server.ids import DeveloperId
from server.metering.counters import Counters, Use
from server.postgres.pool import Connection, Database
from tests.database import Clock
from tests.integration.keys.vault import column
from tests.integration.metering.meter import LossyDatabase, add_key, meter

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


class Seconds:
    """The clock of one process."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def __call__(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def counters(seconds: Seconds) -> Counters:
    return Counters(clock=seconds)


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def evening(clock: Clock) -> None:
    """The database's clock, stopped hours later."""
    await clock.set(NOON + 8 * HOUR)


async def noted(database: Database, key: Use) -> dict[str, datetime]:
    rows = await database.fetch("SELECT scope, last_used_at FROM key_scope_uses WHERE key_id = $1", key.key_id)
    return {row["scope"]: row["last_used_at"] for row in rows}


async def needed(database: Database, key: Use) -> list[str]:
    ((scopes,),) = await database.fetch("SELECT needed_scopes FROM api_keys WHERE id = $1", key.key_id)
    return list(scopes)


async def test_scopes_show_with_their_time_and_on_their_key(
    database: Database, counters: Counters, alice: DeveloperId, key: Use
) -> None:
    other = await add_key(database, alice)
    counters.note_scopes(key.key_id, ("stream", "read"))
    counters.note_scopes(other.key_id, ("read",))
    await meter(database, counters).note_uses()
    assert await noted(database, key) == {"read": NOON, "stream": NOON}
    assert await noted(database, other) == {"read": NOON}
    assert (await needed(database, key), await needed(database, other)) == (["read", "stream"], ["read"])


@pytest.mark.parametrize(
    ("later", "told"), [(timedelta(), NOON), (HOUR - SECOND, NOON), (HOUR, NOON + HOUR), (-HOUR, NOON)]
)
async def test_it_is_told_an_hour_later_at_the_earliest_whoever_tells(
    database: Database, counters: Counters, key: Use, later: timedelta, told: datetime
) -> None:
    counters.note_scopes(key.key_id, ("read",))
    await meter(database, counters).note_uses()
    replica = Counters(clock=Seconds(NOON + later))
    replica.note_scopes(key.key_id, ("read", "write"))
    await meter(database, replica).note_uses()
    assert await noted(database, key) == {"read": told, "write": NOON + later}
    assert await needed(database, key) == ["read", "write"]


async def test_no_use_lies_in_the_future(
    database: Database, clock: Clock, counters: Counters, seconds: Seconds, key: Use
) -> None:
    seconds.moment += timedelta(days=400)
    counters.note_scopes(key.key_id, ("read",))
    await meter(database, counters).note_uses()
    assert await noted(database, key) == {"read": await clock.now()}


async def test_a_key_that_another_holds_is_passed_over_at_once_and_noted_later(
    database: Database, counters: Counters, alice: DeveloperId, key: Use
) -> None:
    service = meter(database, counters)
    free = await add_key(database, alice)

    async def note_meanwhile(connection: Connection) -> None:
        await connection.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", key.key_id)
        counters.note_scopes(key.key_id, ("read", "stream"))
        counters.note_scopes(free.key_id, ("read",))
        async with asyncio.timeout(1):
            await service.note_uses()

    await database.transaction(note_meanwhile)
    assert (await noted(database, key), await noted(database, free)) == ({}, {"read": NOON})
    await service.note_uses()
    assert await noted(database, key) == {"read": NOON, "stream": NOON}
    assert counters.take_scope_uses() == []


async def test_scopes_outlive_an_outage(lossy: LossyDatabase, database: Database, counters: Counters, key: Use) -> None:
    counters.note_scopes(key.key_id, ("read",))
    service = meter(lossy, counters)
    for refusing in (True, False):
        lossy.lost, lossy.refusing = 1, refusing
        with pytest.raises(Unavailable):
            await service.note_uses()
    await service.note_uses()
    assert await noted(database, key) == {"read": NOON}
    assert await needed(database, key) == ["read"]


async def test_more_than_one_statement_takes_are_all_noted(
    database: Database, counters: Counters, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.metering.service._USES_AT_ONCE", 2)
    keys = [await add_key(database, alice) for _ in range(5)]
    for key in keys:
        counters.note_scopes(key.key_id, ("read", "write"))
    await meter(database, counters).note_uses()
    assert [await needed(database, key) for key in keys] == [["read", "write"]] * 5


async def test_a_key_that_is_gone_holds_nothing_up(database: Database, counters: Counters, key: Use) -> None:
    counters.note_scopes("key_that_a_restore_has_lost", ("read",))
    counters.note_scopes(key.key_id, ("read",))
    await meter(database, counters).note_uses()
    assert await column(database, "SELECT key_id FROM key_scope_uses") == [key.key_id]
    assert counters.take_scope_uses() == []


async def test_many_replicas_at_once_note_each_scope_once(database: Database, alice: DeveloperId) -> None:
    keys = [await add_key(database, alice) for _ in range(20)]
    replicas = [Counters(clock=Seconds(NOON + number * SECOND)) for number in range(4)]
    for replica in replicas:
        for key in keys:
            replica.note_scopes(key.key_id, ("read", "write"))
    for _ in range(3):  # what one passed over since another held it is noted the next time
        await asyncio.gather(*(meter(database, replica).note_uses() for replica in replicas))
    assert [await needed(database, key) for key in keys] == [["read", "write"]] * 20
    assert all(not replica.take_scope_uses() for replica in replicas)


async def test_scopes_are_no_news_to_verifiers(
    database: Database, database_url: str, counters: Counters, key: Use
) -> None:
    heard: list[object] = []
    connection = await asyncpg.connect(database_url)
    try:
        await connection.add_listener("verification", lambda *message: heard.append(message[-1]))
        counters.note_scopes(key.key_id, ("read",))
        await meter(database, counters).note_uses()
        await database.execute("SELECT pg_notify('verification', 'last')")
        async with asyncio.timeout(5):
            while not heard:
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
    assert heard == ["last"]
