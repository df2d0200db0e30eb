"""What the pool promises while the server is well: transactions, retries, constraints, cancellation, time limits."""

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress

import pytest

from server.errors import NotFound, Unavailable
from server.postgres.errors import ConstraintViolation, StatementFault
from server.postgres.pool import Connection, Database

_RAISE = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"


async def _make_numbers(database: Database) -> None:
    await database.execute("CREATE TABLE numbers (n integer CONSTRAINT numbers_pkey PRIMARY KEY)")


async def _numbers(database: Database) -> list[int]:
    return [row["n"] for row in await database.fetch("SELECT n FROM numbers ORDER BY n")]


async def _has_all_slots(database: Database, size: int) -> bool:
    async with asyncio.timeout(1), AsyncExitStack() as stack:
        for _ in range(size):
            connection = await stack.enter_async_context(database.connection())
            assert await connection.fetchval("SELECT 1") == 1
    return True


async def test_a_transaction_commits_what_its_work_did(database: Database) -> None:
    await _make_numbers(database)

    async def work(connection: Connection) -> str:
        await connection.execute("INSERT INTO numbers VALUES (1)")
        await connection.execute("INSERT INTO numbers VALUES (2)")
        return "done"

    assert await database.transaction(work) == "done"
    assert await _numbers(database) == [1, 2]


async def test_a_transaction_is_undone_by_any_exception(database: Database) -> None:
    await _make_numbers(database)

    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO numbers VALUES (1)")
        raise NotFound("no such key")

    with pytest.raises(NotFound):
        await database.transaction(work)
    assert await _numbers(database) == []


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_that_postgresql_gave_up_runs_again(database: Database, state: str) -> None:
    await _make_numbers(database)
    tries = 0

    async def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        await connection.execute("INSERT INTO numbers VALUES ($1)", tries)
        if tries < 3:
            await connection.execute(_RAISE.format(state))

    await database.transaction(work)

    assert await _numbers(database) == [3]


async def test_a_transaction_that_never_gets_through_is_unavailable(database: Database) -> None:
    tries = 0

    async def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        await connection.execute(_RAISE.format("40001"))

    with pytest.raises(Unavailable):
        await database.transaction(work)
    assert tries == 5


async def test_a_deadlock_is_resolved_without_the_caller_seeing_it(database_url: str) -> None:
    database = Database(database_url, budget=5.0)  # PostgreSQL looks for deadlocks after a second
    await _make_numbers(database)
    await database.execute("INSERT INTO numbers VALUES (10), (20)")
    both_hold_one = asyncio.Barrier(2)
    met: set[int] = set()

    async def add(first: int, second: int) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute("SELECT n FROM numbers WHERE n = $1 FOR UPDATE", first)
            if first not in met:
                met.add(first)
                await both_hold_one.wait()
            await connection.execute("SELECT n FROM numbers WHERE n = $1 FOR UPDATE", second)

        await database.transaction(work)

    await asyncio.gather(add(10, 20), add(20, 10))
    await database.close()


async def test_a_migration_under_a_prepared_statement_goes_unseen(database: Database) -> None:
    await _make_numbers(database)

    async def work(connection: Connection) -> int:
        return len(await connection.fetch("SELECT * FROM numbers"))

    await database.transaction(work)
    await database.execute("ALTER TABLE numbers ADD COLUMN word text")

    assert await database.transaction(work) == 0
    assert await database.fetch("SELECT * FROM numbers") == []


async def test_swallowing_a_database_error_is_not_taken_for_success(database: Database) -> None:
    async def work(connection: Connection) -> None:
        try:
            await connection.execute("SELECT nonsense")
        except Exception:
            return

    with pytest.raises(RuntimeError, match="swallowed"):
        await database.transaction(work)


async def test_a_broken_constraint_is_named_in_and_out_of_a_transaction(database: Database) -> None:
    await _make_numbers(database)
    insert = "INSERT INTO numbers VALUES (1)"
    await database.execute(insert)

    for attempt in (database.execute(insert), database.transaction(lambda connection: connection.execute(insert))):
        with pytest.raises(ConstraintViolation) as caught:
            await attempt
        assert (caught.value.constraint_name, caught.value.sqlstate) == ("numbers_pkey", "23505")


async def test_a_fault_of_ours_tells_nothing(database: Database) -> None:
    with pytest.raises(StatementFault) as caught:
        await database.fetchrow("SELECT $1::integer FROM secret_table", 1)

    assert str(caught.value) == "The service failed to answer."
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_statement_without_end_is_cut_short_here_and_on_the_server(database: Database) -> None:
    started = time.monotonic()

    with pytest.raises(Unavailable):
        await database.fetchrow("SELECT pg_sleep(30)")

    assert time.monotonic() - started < 2
    async with asyncio.timeout(2):
        while await database.fetchrow("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            await asyncio.sleep(0.02)


async def test_waiting_for_a_free_connection_counts(database_url: str) -> None:
    database = Database(database_url, size=1, budget=0.3)
    started = time.monotonic()

    results = await asyncio.gather(
        *(database.fetchrow("SELECT pg_sleep(0.2)") for _ in range(4)), return_exceptions=True
    )

    assert time.monotonic() - started < 1
    assert sum(isinstance(result, Unavailable) for result in results) == 3
    assert await _has_all_slots(database, 1)
    await database.close()


async def test_an_abandoned_read_gives_its_connection_back(database_url: str) -> None:
    database = Database(database_url, size=1)
    await database.open()
    backend = await database.fetchrow("SELECT pg_backend_pid()")
    call = asyncio.create_task(database.fetchrow("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await database.fetchrow("SELECT pg_backend_pid()") == backend  # the same connection: it was not thrown away
    await database.close()


async def test_an_abandoned_transaction_ends_by_itself(database: Database) -> None:
    await _make_numbers(database)
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO numbers VALUES (1)")
        begun.set()
        await may_go_on.wait()

    call = asyncio.create_task(database.transaction(work))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    may_go_on.set()

    async with asyncio.timeout(1):
        while await _numbers(database) != [1]:
            await asyncio.sleep(0.01)


async def test_a_connection_left_in_a_transaction_is_not_lent_again(database_url: str) -> None:
    database = Database(database_url, size=1)
    async with database.connection() as connection:
        await connection.execute("BEGIN")
        first = await connection.fetchval("SELECT pg_backend_pid()")

    row = await database.fetchrow("SELECT pg_backend_pid() AS pid")

    assert row is not None
    assert row["pid"] != first
    await database.close()


async def test_a_server_that_became_read_only_is_left_for_a_new_connection(database_url: str) -> None:
    database = Database(database_url, size=1)
    await _make_numbers(database)
    await database.execute("SET default_transaction_read_only = on")  # as a primary that was demoted

    with pytest.raises(Unavailable):
        await database.execute("INSERT INTO numbers VALUES (1)")

    await database.execute("INSERT INTO numbers VALUES (1)")
    await database.close()


async def test_behind_a_transaction_pooler_nothing_is_left_in_the_session(database_url: str) -> None:
    database = Database(database_url, size=1, transaction_pooler=True)
    await database.fetchrow("SELECT $1::integer", 1)

    assert await database.fetch("SELECT name FROM pg_prepared_statements") == []
    row = await database.fetchrow("SELECT current_setting('statement_timeout') AS timeout")
    assert row is not None
    assert row["timeout"] == "0"
    await database.close()


async def test_a_closed_pool_is_unavailable_and_leaves_no_connection(database_url: str, database: Database) -> None:
    other = Database(database_url, size=3, warm=3)
    await other.open()
    mine = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
    assert (await database.fetch(mine))[0]["n"] >= 4

    await other.close()

    with pytest.raises(Unavailable):
        await other.fetchrow("SELECT 1")
    assert not await other.ready()
    async with asyncio.timeout(1):
        while (await database.fetch(mine))[0]["n"] > 2:
            await asyncio.sleep(0.01)


async def test_a_storm_of_cancellations_loses_no_connection(database_url: str) -> None:
    database = Database(database_url, size=4)
    await _make_numbers(database)
    chance = random.Random(7)

    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO numbers SELECT count(*) FROM numbers ON CONFLICT DO NOTHING")

    async def one() -> None:
        call = database.fetchrow("SELECT pg_sleep(0.002)") if chance.random() < 0.5 else database.transaction(work)
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.02)):
                await call

    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(16)))

    assert await _has_all_slots(database, 4)
    await database.close()
