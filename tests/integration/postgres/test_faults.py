"""A server that is gone, frozen, full or restarted: every call says so within 2 seconds, and the pool heals."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from server.errors import Unavailable
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.pool import Connection, Database

from .conftest import children_of, frozen

_SIZE = 4


@pytest_asyncio.fixture(loop_scope="session")
async def dsn(own_postgres: EmbeddedPostgres) -> str:
    return await own_postgres.start()


@pytest_asyncio.fixture(loop_scope="session")
async def pool(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, size=_SIZE, warm=2)
    await database.open()
    await database.execute("CREATE TABLE numbers (n integer)")
    yield database
    await database.close()


async def _insert(connection: Connection) -> None:
    await connection.execute("INSERT INTO numbers VALUES (1)")


async def _count(database: Database) -> int:
    return len(await database.fetch("SELECT n FROM numbers"))


async def _block(database: Database) -> None:
    async with database.connection() as connection:
        await connection.fetchval("SELECT 1")


_CALLS: tuple[Callable[[Database], Awaitable[object]], ...] = (
    lambda database: database.fetch("SELECT 1"),
    lambda database: database.fetchrow("SELECT 1"),
    lambda database: database.execute("SELECT 1"),
    lambda database: database.transaction(_insert),
    _block,
)


async def _assert_unavailable(database: Database) -> None:
    """More calls than connections, of every kind: each fails within 2 seconds, and so does readiness."""

    async def measure(call: Callable[[Database], Awaitable[object]]) -> float:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await call(database)
        return time.monotonic() - started

    async def ready() -> float:
        started = time.monotonic()
        assert not await database.ready()
        return time.monotonic() - started

    durations = await asyncio.gather(ready(), *(measure(call) for call in _CALLS * 4))
    assert durations[0] < 1.2
    assert max(durations) < 2


async def _assert_heals(database: Database, within: float = 5.0) -> None:
    """It answers again, with every connection of the pool."""
    async with asyncio.timeout(within):
        while not await database.ready():
            await asyncio.sleep(0.02)
    async with asyncio.timeout(2), AsyncExitStack() as stack:
        for _ in range(_SIZE):
            connection = await stack.enter_async_context(database.connection())
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_frozen_server(own_postgres: EmbeddedPostgres, pool: Database) -> None:
    assert own_postgres.pid
    open_files = len(os.listdir("/proc/self/fd"))

    with frozen(own_postgres.pid, *children_of(own_postgres.pid)):
        await _assert_unavailable(pool)
        await _assert_unavailable(pool)

    await _assert_heals(pool)
    assert len(os.listdir("/proc/self/fd")) <= open_files + _SIZE


async def test_a_server_that_takes_no_new_connections(own_postgres: EmbeddedPostgres, pool: Database) -> None:
    assert own_postgres.pid

    with frozen(own_postgres.pid):
        results = await asyncio.gather(
            *(pool.fetchrow("SELECT pg_sleep(0.2)") for _ in range(8)), return_exceptions=True
        )

    assert {type(result) for result in results} == {
        asyncpg.Record,
        Unavailable,
    }  # the two open connections go on serving
    await _assert_heals(pool)


async def test_a_killed_server_is_restarted_and_has_lost_nothing(
    own_postgres: EmbeddedPostgres, pool: Database
) -> None:
    await pool.transaction(_insert)
    before = own_postgres.pid
    assert before
    in_flight = asyncio.create_task(pool.fetchrow("SELECT pg_sleep(1)"))
    await asyncio.sleep(0.05)

    os.kill(before, signal.SIGKILL)

    with pytest.raises(Unavailable):
        await in_flight
    await _assert_heals(pool)
    assert own_postgres.pid != before
    assert await _count(pool) == 1


async def test_a_killed_backend(own_postgres: EmbeddedPostgres, pool: Database) -> None:
    await pool.transaction(_insert)
    backend = await pool.fetchrow("SELECT pg_backend_pid() AS pid")
    assert backend

    os.kill(backend["pid"], signal.SIGKILL)  # PostgreSQL restarts all of itself after this

    await _assert_heals(pool)
    assert await _count(pool) == 1


async def test_a_stopped_and_started_server(own_postgres: EmbeddedPostgres, pool: Database) -> None:
    await own_postgres.stop()
    await _assert_unavailable(pool)

    await own_postgres.start()

    await _assert_heals(pool, within=1.0)


async def test_a_full_server(dsn: str) -> None:
    database = Database(dsn, size=_SIZE, warm=0)
    others: list[asyncpg.Connection[asyncpg.Record]] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            others.append(await asyncpg.connect(dsn))

    await _assert_unavailable(database)
    with pytest.raises(Unavailable, match="no connection left"):
        await Database(dsn).open()

    for other in others:
        await other.close()
    await _assert_heals(database)
    await database.close()


async def test_a_connection_lost_inside_a_transaction(pool: Database) -> None:
    async def work(connection: Connection) -> None:
        await _insert(connection)
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await pool.fetchrow("SELECT pg_terminate_backend($1)", pid)
        while not connection.is_closed():
            await asyncio.sleep(0.01)
        await _insert(connection)

    with pytest.raises(Unavailable):
        await pool.transaction(work)
    assert await _count(pool) == 0


async def test_a_start_says_why_it_fails(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(Unavailable, match="it does not answer in time"):
            await Database(f"postgresql://u:p@127.0.0.1:{silent_port}/d").open()
        assert time.monotonic() - started < 2

    with pytest.raises(Unavailable, match="refused"):
        await Database(f"postgresql://u:p@127.0.0.1:{silent_port}/d").open()
    with pytest.raises(Unavailable, match="no such file or directory"):
        await Database(f"postgresql:///d?host={folder}").open()
    with pytest.raises(Unavailable, match="the driver refuses the address"):
        await Database("mysql://u:p@127.0.0.1/d").open()


async def test_a_start_without_the_database_says_so(dsn: str) -> None:
    with pytest.raises(Unavailable, match="the database does not exist"):
        await Database(dsn.replace("/developer", "/missing")).open()
