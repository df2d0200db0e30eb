"""What a request costs: statements whose number does not grow with the events, and whose look-ups use an index."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from server.ids import DeveloperId
from server.metering.ledger import store
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.integration.ledger.book import acquisition, assert_exact

pytestmark = pytest.mark.usefixtures("evening")


@pytest.mark.parametrize("count", [1, 250])
async def test_the_number_of_statements_does_not_grow_with_the_events(
    database_url: str, alice: DeveloperId, count: int
) -> None:
    database = Database(database_url, size=1, warm=1)
    await database.open()
    ledger = StreamLedger(database)
    await ledger.record([acquisition("first", alice)])  # the driver learns what the types of our arrays are
    events = [acquisition(str(number), alice, number) for number in range(count)]
    seen: list[Any] = []
    async with database.connection() as connection:
        connection.add_query_logger(seen.append)

    await ledger.record(events)
    entering = len(seen)
    await ledger.record(events)
    await asyncio.sleep(0)

    await database.close()
    assert entering == 6  # BEGIN, survey, lock, enter, settle, COMMIT
    assert len(seen) - entering == 3  # what is known takes no lock and writes nothing


@pytest.mark.parametrize("name", ["survey", "enter", "settle"])
async def test_a_plan_made_while_the_ledger_was_empty_reads_no_whole_table(database_url: str, name: str) -> None:
    """A connection keeps its plans while the tables grow, until they are next analysed.

    No look-up may depend on that. What writes by place (`ctid`) does, on older servers: they take a table for small
    until then, however the statement is put.
    """
    statement = store._SQL[name]
    parameters = max(map(int, re.findall(r"\$(\d+)", statement)))
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE planned AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE planned({', '.join(['NULL'] * parameters)})")
    finally:
        await connection.close()
    plan = "\n".join(row[0] for row in rows)
    is_old = connection.get_server_version() < (18,)
    written = set(re.findall(r"Update on (\S+ \S+|\S+)  \(", plan)) if is_old else set()
    assert [table for table in re.findall(r"Seq Scan on (\S+ \S+|\S+)  \(", plan) if table not in written] == []


async def test_a_crowded_logical_stream_is_no_harder_than_others(
    ledger: StreamLedger, database: Database, alice: DeveloperId
) -> None:
    """Each event meets its neighbours alone; comparing all with all would take more than the pool's budget."""
    events = [acquisition(f"{number:04}", alice, number / 100) for number in range(2000)]
    await ledger.record(events[1::2])
    await ledger.record(events[::2])
    await assert_exact(database, events)
