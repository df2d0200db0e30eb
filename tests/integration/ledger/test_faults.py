"""A database that goes away in the middle: the call says UNAVAILABLE, and sending everything again makes it exact."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from server.errors import Unavailable
from server.ids import DeveloperId
from server.metering.ledger.service import StreamLedger
from server.metering.ledger.store import LedgerStore
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import migrate
from server.postgres.pool import Connection, Database
from tests.database import Clock
from tests.integration.keys.vault import column, register
from tests.integration.ledger.book import acquisition, assert_exact, many
from tests.integration.postgres.conftest import children_of, frozen


@pytest_asyncio.fixture(loop_scope="session")
async def fragile(own_postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A pool on a server that may be hurt."""
    url = await own_postgres.start()
    await migrate(url)
    database = Database(url, size=4)
    await database.open()
    yield database
    await database.close()


def after(monkeypatch: pytest.MonkeyPatch, step: str, interrupt: Callable[[LedgerStore], Awaitable[object]]) -> None:
    """Let something happen once, when the second transaction from now has done a step."""
    original = getattr(LedgerStore, step)
    calls = 0

    async def interrupted(self: LedgerStore, *arguments: Any) -> object:
        nonlocal calls
        result: object = await original(self, *arguments)
        calls += 1
        if calls == 2:
            monkeypatch.setattr(LedgerStore, step, original)
            await interrupt(self)
        return result

    monkeypatch.setattr(LedgerStore, step, interrupted)


async def recovered(database: Database) -> None:
    async with asyncio.timeout(10):
        while not await database.ready():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("step", ["survey", "enter", "settle"])
async def test_a_server_that_freezes(
    own_postgres: EmbeddedPostgres, fragile: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """After `settle` it is the commit that is not answered, and it takes place all the same when the server goes on."""
    ledger = StreamLedger(fragile)
    alice = await register(fragile, "alice")
    events = many(750, [alice], streams=60, until=datetime.now(UTC), seed=3)
    reached = asyncio.Event()
    gone_on = asyncio.Event()

    async def wait_until_frozen(_: LedgerStore) -> None:
        reached.set()
        await gone_on.wait()

    after(monkeypatch, step, wait_until_frozen)
    call = asyncio.create_task(ledger.record(events))
    await reached.wait()
    assert own_postgres.pid
    with frozen(own_postgres.pid, *children_of(own_postgres.pid)):
        gone_on.set()
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await call
        assert time.monotonic() - started < 2

    await recovered(fragile)
    assert len(await ledger.record(events)) == len(events)
    await assert_exact(fragile, events)


@pytest.mark.parametrize("step", ["lock", "enter", "settle"])
async def test_a_connection_that_is_killed(
    database: Database, ledger: StreamLedger, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    events = many(750, [alice], streams=60, until=datetime.now(UTC), seed=4)

    async def kill(store: LedgerStore) -> None:
        (pid,) = [row["pid"] for row in await store._connection.fetch("SELECT pg_backend_pid() AS pid")]
        await database.execute("SELECT pg_terminate_backend($1)", pid)

    after(monkeypatch, step, kill)
    with pytest.raises(Unavailable):
        await ledger.record(events)
    assert await column(database, "SELECT count(*) FROM stream_events") == [250]  # what was committed before

    assert len(await ledger.record(events)) == len(events)
    await assert_exact(database, events)


async def test_a_commit_whose_answer_is_lost(
    database: Database, ledger: StreamLedger, alice: DeveloperId, evening: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [acquisition(str(number), alice, number) for number in range(3)]
    transaction = Database.transaction

    async def commit_unheard(self: Database, work: Callable[[Connection], Awaitable[object]]) -> object:
        await transaction(self, work)
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", commit_unheard)
        with pytest.raises(Unavailable):
            await ledger.record(events)

    assert [result.billable for result in await ledger.record(events)] == [True, False, False]
    await assert_exact(database, events)


async def test_a_lock_that_is_not_given_in_time(
    database_url: str, database: Database, ledger: StreamLedger, alice: DeveloperId, evening: Clock
) -> None:
    events = [acquisition(str(number), alice, number) for number in range(100)]
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT slot FROM stream_locks FOR NO KEY UPDATE")
        with pytest.raises(Unavailable):
            await ledger.record(events)
    await other.close()

    await ledger.record(events)
    await assert_exact(database, events)
