"""Fixtures: a real PostgreSQL for the run, a migrated database for each test, and a clock that tests can set."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest_asyncio

from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import migrate
from server.postgres.pool import Connection, Database


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """Make a folder whose name is short enough for a Unix socket, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="developer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url() -> AsyncIterator[str]:
    """The run's server: the one named by TEST_DATABASE_URL (its user may create databases), else an embedded one."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    async with short_folder() as folder:
        postgres = EmbeddedPostgres(folder, settings={"fsync": "off", "max_connections": "200"})
        yield await postgres.start()
        await postgres.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(postgres_url: str) -> AsyncIterator[str]:
    """The name of a database with our schema and no rows."""
    async with new_database(postgres_url) as name:
        await migrate(with_database(postgres_url, name))
        yield name


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database without our schema, for this test alone."""
    async with new_database(postgres_url) as name:
        yield with_database(postgres_url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """The URL of a database with our schema and no rows, for this test alone."""
    async with new_database(postgres_url, template_database) as name:
        yield with_database(postgres_url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on this test's database."""
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


class Clock:
    """The time that SQL sees in one database, in place of the server's: `clock()` reads a row written here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def install(cls, database: Database) -> "Clock":
        """Replace `clock()`; time goes on as before until it is set."""
        await database.execute("CREATE TABLE test_clock (frozen timestamptz, shift interval NOT NULL)")
        await database.execute("INSERT INTO test_clock VALUES (NULL, '0')")
        await database.execute(
            "CREATE OR REPLACE FUNCTION clock() RETURNS timestamptz LANGUAGE sql VOLATILE"
            " AS 'SELECT coalesce(frozen, clock_timestamp()) + shift FROM test_clock'"
        )
        return cls(database)

    async def now(self) -> datetime:
        """Return the time."""
        row = await self._database.fetchrow("SELECT clock() AS now")
        assert row
        now = row["now"]
        assert isinstance(now, datetime)
        return now

    async def set(self, moment: datetime) -> None:
        """Stop the clock at a moment."""
        await self._database.execute("UPDATE test_clock SET frozen = $1, shift = '0'", moment)

    async def advance(self, by: timedelta) -> None:
        """Move the clock on, stopped or not."""
        await self._database.execute("UPDATE test_clock SET shift = shift + $1", by)


@pytest_asyncio.fixture(loop_scope="session")
async def clock(database: Database) -> Clock:
    """The clock of this test's database."""
    return await Clock.install(database)


@asynccontextmanager
async def new_database(server_url: str, template: str = "template1") -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    async with _connection(server_url) as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
