"""Postings of the release before statements: those it makes while both run, and those it had made."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from server.billing.service import Statements
from server.ids import DeveloperId
from server.metering.ledger import store
from server.metering.ledger.service import StreamLedger
from server.postgres.migrate import FOLDER
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.billing.reader import read_lines, sums_of
from tests.integration.keys.vault import column
from tests.integration.ledger.book import assert_exact, many

JULY = datetime(2030, 7, 1, tzinfo=UTC)


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that the release before this one settles with."""
    settle = store._SQL["settle"]
    older = re.sub(r"\), stated AS \(.*?\), summed AS", "), summed AS", settle, flags=re.DOTALL)
    older = older.replace("posted_at, developer_id)", "posted_at)").replace(
        "now, developer_id FROM due", "now FROM due"
    )
    assert "statement_sums" not in older
    monkeypatch.setattr(store, "_SQL", dict(store._SQL) | {"settle": older})


async def assert_stated(statements: Statements, developer_id: DeveloperId) -> None:
    """Every posting is a line, and statements are the sums of their lines."""
    amounts = 0
    for month in ("2030-06", "2030-07"):
        statement = await statements.statement(developer_id, month)
        lines = await read_lines(statements, developer_id, month)
        assert list(statement.sums) == sums_of(lines, statement.month)
        assert lines
        amounts += len(lines)
    assert amounts


@pytest.mark.usefixtures("before")
async def test_what_the_release_before_posts_is_stated(
    ledger: StreamLedger, statements: Statements, clock: Clock, database: Database, alice: DeveloperId
) -> None:
    events = many(300, [alice], streams=9, until=JULY - timedelta(days=1), seed=1)
    for number in range(3):
        await clock.set(JULY + timedelta(days=number - 1))
        await ledger.record(events[number::3])
    await assert_exact(database, events)
    await assert_stated(statements, alice)


@pytest.mark.usefixtures("before")
async def test_what_the_release_before_had_posted_is_stated_once(
    ledger: StreamLedger, statements: Statements, clock: Clock, database: Database, alice: DeveloperId, bob: DeveloperId
) -> None:
    events = many(300, [alice, bob], streams=9, until=JULY - timedelta(days=1), seed=1)
    await database.execute("ALTER TABLE stream_postings DROP CONSTRAINT stream_postings_developer_known")
    await database.execute("ALTER TABLE stream_postings DISABLE TRIGGER stream_postings_complete")
    for number in range(2):
        await clock.set(JULY + timedelta(days=number - 1))
        await ledger.record(events[number::3])
    await database.execute("ALTER TABLE stream_postings ENABLE TRIGGER stream_postings_complete")
    await ledger.record(events[2::3])
    fill = re.search(r"DO \$\$.*?END \$\$;", (FOLDER / "0009_indexes.sql").read_text(), re.DOTALL)
    assert fill
    for _ in range(2):  # a run that was broken off begins anew
        async with database.connection() as connection:
            await connection.execute(fill[0].replace("LIMIT 5000", "LIMIT 20"))

    assert await column(database, "SELECT count(*) FROM stream_postings WHERE developer_id IS NULL") == [0]
    await assert_exact(database, events)
    for developer_id in (alice, bob):
        await assert_stated(statements, developer_id)
