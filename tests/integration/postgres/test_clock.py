"""The clock that tests set is the one that SQL sees."""

from datetime import UTC, datetime, timedelta

from server.postgres.pool import Database
from tests.database import Clock

_NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def test_the_clock_stands_where_it_is_set_and_moves_when_told(clock: Clock) -> None:
    await clock.set(_NOON)
    assert [await clock.now(), await clock.now()] == [_NOON, _NOON]

    await clock.advance(timedelta(hours=1, microseconds=1))

    assert await clock.now() == _NOON + timedelta(hours=1, microseconds=1)


async def test_a_clock_that_was_only_moved_goes_on(clock: Clock, database: Database) -> None:
    await clock.advance(timedelta(days=1))

    assert timedelta(hours=23) < await clock.now() - datetime.now(UTC) < timedelta(hours=25)
    assert await clock.now() < await clock.now()


async def test_a_clock_replaced_under_a_prepared_statement_is_seen(database: Database) -> None:
    statement = "SELECT clock() AS now WHERE $1"
    await database.fetchrow(statement, True)

    clock = await Clock.install(database)
    await clock.set(_NOON)

    row = await database.fetchrow(statement, True)
    assert row is not None
    assert row["now"] == _NOON
