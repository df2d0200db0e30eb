"""Statements: what was entered during a month, and whose it is."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from server.billing.model import CLOSING, StatementSum, StreamDay
from server.billing.service import Statements
from server.errors import InvalidRequest
from server.ids import DeveloperId
from server.metering.ledger.model import Acquisition, Medium
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.billing.reader import read_lines
from tests.integration.ledger.book import acquisition

JULY = datetime(2030, 7, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def acquired(moment: datetime, event: Acquisition, lasts: timedelta = timedelta(hours=1)) -> Acquisition:
    """Make an event happen at another time."""
    return replace(event, acquired_at=moment, url_expires_at=moment + lasts)


async def test_a_statement_sums_up_what_was_posted_in_its_month(
    ledger: StreamLedger, statements: Statements, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    await clock.set(JULY + timedelta(days=3))
    in_july, in_june = JULY + timedelta(days=1), JULY - timedelta(days=1)
    await ledger.record(
        [
            acquired(in_july, acquisition("1", alice)),
            acquired(in_july, acquisition("2", alice, user_id="another")),
            acquired(in_july, acquisition("3", alice, medium=Medium.VIDEO, client_id="a client")),
            acquired(in_june, acquisition("4", alice)),
            acquired(in_july, acquisition("5", bob)),
        ]
    )
    statement = await statements.statement(alice, "2030-07")
    assert statement.sums == [
        StatementSum("a client", "video", 1, 0),
        StatementSum("client", "music", 2, 1),
    ]
    assert (statement.streams, statement.adjustments, statement.closed) == (3, 1, False)
    assert {line.event_id for line in await read_lines(statements, alice, "2030-07")} == {"1", "2", "3", "4"}
    assert {line.event_id for line in await read_lines(statements, bob, "2030-07")} == {"5"}
    assert (await statements.statement(alice, "2030-06")).sums == []


async def test_what_a_late_event_takes_back_is_an_adjustment_of_the_month_in_which_it_arrives(
    ledger: StreamLedger, statements: Statements, clock: Clock, alice: DeveloperId
) -> None:
    moment = JULY - timedelta(days=1)
    await clock.set(moment)
    await ledger.record([acquired(moment, acquisition("known", alice))])
    june = await statements.statement(alice, "2030-06")
    await clock.set(JULY + timedelta(days=1))
    first = acquired(moment - timedelta(days=2), acquisition("late", alice), lasts=timedelta(days=6))
    await ledger.record([first])

    assert (await statements.statement(alice, "2030-06")).sums == june.sums == [StatementSum("client", "music", 1, 0)]
    assert (await statements.statement(alice, "2030-07")).sums == [StatementSum("client", "music", 0, 0)]
    lines = await read_lines(statements, alice, "2030-07")
    assert sorted((line.event_id, line.amount) for line in lines) == [("known", -1), ("late", 1)]


@pytest.mark.parametrize(
    ("now", "acquired_at", "statement"),
    [
        (JULY - TICK, JULY - TICK, ("2030-06", 1, 0)),
        (JULY - TICK, JULY + timedelta(minutes=4), ("2030-06", 1, 0)),  # the sender's clock is ahead
        (JULY, JULY - TICK, ("2030-07", 0, 1)),
        (JULY, JULY, ("2030-07", 1, 0)),
    ],
)
async def test_a_posting_is_of_the_month_in_which_it_is_made(
    ledger: StreamLedger,
    statements: Statements,
    clock: Clock,
    alice: DeveloperId,
    now: datetime,
    acquired_at: datetime,
    statement: tuple[str, int, int],
) -> None:
    await clock.set(now)
    await ledger.record([acquired(acquired_at, acquisition("1", alice))])
    await clock.set(JULY + timedelta(days=1))
    month, streams, adjustments = statement
    for each in ("2030-06", "2030-07"):
        found = await statements.statement(alice, each)
        assert (found.streams, found.adjustments) == ((streams, adjustments) if each == month else (0, 0))
        assert len(await read_lines(statements, alice, each)) == (each == month)


async def test_the_months_are_those_of_utc_wherever_the_server_is(
    database_url: str, clock: Clock, database: Database, alice: DeveloperId, statements: Statements
) -> None:
    await clock.set(JULY + timedelta(hours=1))
    async with database.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET timezone = 'America/Los_Angeles'")
    abroad = Database(database_url)
    await abroad.open()
    await StreamLedger(abroad).record([acquired(JULY, acquisition("1", alice))])
    await abroad.close()
    assert (await statements.statement(alice, "2030-07")).streams == 1


async def test_a_month_closes_when_nothing_can_be_under_way_any_more(
    statements: Statements, clock: Clock, alice: DeveloperId
) -> None:
    for moment, closed in ((JULY - TICK, False), (JULY + CLOSING - TICK, False), (JULY + CLOSING, True)):
        await clock.set(moment)
        assert (await statements.statement(alice, "2030-06")).closed is closed


@pytest.mark.parametrize("month", ["2030-08", "2999-12", "1999-12", "0000-01", "2030-13", "2030", "2030-7", ""])
async def test_a_month_that_is_none_or_has_not_begun_is_refused(
    statements: Statements, clock: Clock, alice: DeveloperId, month: str
) -> None:
    await clock.set(JULY)
    for asked in (statements.statement(alice, month), statements.lines(alice, month, 0, "")):
        with pytest.raises(InvalidRequest) as refusal:
            await asked
        assert [violation.field for violation in refusal.value.violations] == ["month"]


@pytest.mark.parametrize("month", ["2030-07", "2000-01"])
async def test_a_month_that_has_begun_has_a_statement(
    statements: Statements, clock: Clock, alice: DeveloperId, month: str
) -> None:
    await clock.set(JULY)
    assert (await statements.statement(alice, month)).sums == []


async def test_lines_come_in_the_order_of_posting_page_by_page(
    ledger: StreamLedger, statements: Statements, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    for day in range(3):
        await clock.set(JULY + timedelta(days=day))
        now = await clock.now()
        names = [f"{day}.{number}" for number in (3, 1, 2)]
        await ledger.record([acquired(now, acquisition(name, alice, user_id=name)) for name in names])
        await ledger.record([acquired(now, acquisition(f"b{day}", bob, user_id="b"))])
    expected = [f"{day}.{number}" for day in range(3) for number in (1, 2, 3)]
    for size in (1, 2, 3, 4, 8, 9, 10, 0):
        lines = await read_lines(statements, alice, "2030-07", size)
        assert [line.event_id for line in lines] == expected
    line = lines[0]
    assert (line.amount, line.posted_at, line.acquired_at) == (1, JULY, JULY)
    assert (line.client_id, line.medium, line.content_id, line.quality) == ("client", "music", "song", "high")


async def test_a_page_token_is_good_for_its_developer_and_month_only(
    ledger: StreamLedger, statements: Statements, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    await clock.set(JULY)
    events = [acquired(JULY, acquisition(name, alice, user_id=name)) for name in ("1", "2")]
    await ledger.record(events)
    token = (await statements.lines(alice, "2030-07", 1, "")).next_page_token
    assert [line.event_id for line in (await statements.lines(alice, "2030-07", 1, token)).lines] == ["2"]
    for owner, month in ((bob, "2030-07"), (alice, "2030-06")):
        with pytest.raises(InvalidRequest) as refusal:
            await statements.lines(owner, month, 1, token)
        assert [violation.field for violation in refusal.value.violations] == ["page_token"]


async def test_days_are_those_of_acquisition(
    ledger: StreamLedger, statements: Statements, clock: Clock, alice: DeveloperId, bob: DeveloperId
) -> None:
    await clock.set(JULY + timedelta(days=9, hours=5))
    today = JULY + timedelta(days=9)
    await ledger.record(
        [
            acquired(today, acquisition("1", alice)),
            acquired(today + timedelta(minutes=1), acquisition("2", alice)),
            acquired(today - timedelta(days=29), acquisition("3", alice, client_id="b")),
            acquired(today - timedelta(days=29), acquisition("4", alice, client_id="a", medium=Medium.VIDEO)),
            acquired(today - timedelta(days=30), acquisition("5", alice)),
            acquired(today, acquisition("6", bob)),
        ]
    )
    assert await statements.stream_days(alice, "", "") == [
        StreamDay(date(2030, 6, 11), "a", "video", 1, 1),
        StreamDay(date(2030, 6, 11), "b", "music", 1, 1),
        StreamDay(date(2030, 7, 10), "client", "music", 2, 1),
    ]
    assert await statements.stream_days(alice, "2030-06-10", "2030-06-10") == [
        StreamDay(date(2030, 6, 10), "client", "music", 1, 1)
    ]
