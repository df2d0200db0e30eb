"""Whatever arrives, however late and in whatever order: statements agree with their lines, and closed ones stay."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.billing.model import Month, Statement, StatementLine
from server.billing.service import Statements
from server.ids import DeveloperId
from server.metering.ledger.model import Acquisition, Medium
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database
from tests.database import Clock
from tests.integration.billing.reader import read_lines, sums_of
from tests.integration.keys.vault import column, register
from tests.integration.ledger.book import acquisition, billable_ids

BEGIN = datetime(2030, 1, 28, tzinfo=UTC)
MONTHS = [f"2030-{month:02}" for month in range(1, 7)]
NUMBERS = count()
HOURS = st.integers(-39 * 24, 0) | st.integers(-30, 0)
EVENTS = st.tuples(HOURS, st.sampled_from([1, 24, 24 * 7]), st.integers(0, 1), st.integers(0, 1), st.booleans())
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 12, 24 * 6, 24 * 15]),  # hours that pass
        st.lists(EVENTS, min_size=1, max_size=4),
        st.booleans(),  # whether some that are known are sent again
    ),
    min_size=1,
    max_size=7,
)

Book = dict[str, tuple[Statement, list[StatementLine]]]


def make(name: str, developer_id: DeveloperId, now: datetime, drawn: tuple[int, int, int, int, bool]) -> Acquisition:
    hours, lasts, user, client, is_video = drawn
    acquired_at = now + timedelta(hours=hours)
    event = acquisition(name, developer_id, user_id=f"user-{user}", client_id=f"client-{client}")
    return replace(
        event,
        medium=Medium.VIDEO if is_video else Medium.MUSIC,
        acquired_at=acquired_at,
        url_expires_at=acquired_at + timedelta(hours=lasts),
    )


async def read(statements: Statements, developer_id: DeveloperId, now: datetime) -> Book:
    """Read every statement that there is, with its lines."""
    months = [month for month in MONTHS if month <= f"{now:%Y-%m}"]
    return {
        month: (await statements.statement(developer_id, month), await read_lines(statements, developer_id, month, 3))
        for month in months
    }


class Postings:
    """What the ledger must have posted, found from the rule of the contract alone."""

    def __init__(self) -> None:
        self.known: set[Acquisition] = set()
        self.made: Counter[tuple[str, str, int]] = Counter()

    def add(self, sent: list[Acquisition], now: datetime) -> None:
        """Note what a request changes, by month, event and amount."""
        before, after = billable_ids(self.known), billable_ids(self.known | set(sent))
        self.made.update((f"{now:%Y-%m}", event_id, 1) for event_id in after - before)
        self.made.update((f"{now:%Y-%m}", event_id, -1) for event_id in before - after)
        self.known |= set(sent)


def assert_agrees(book: Book, postings: Postings) -> None:
    made = Counter((month, line.event_id, line.amount) for month, (_, lines) in book.items() for line in lines)
    assert made == postings.made
    for month, (statement, lines) in book.items():
        assert str(statement.month) == month
        assert list(statement.sums) == sums_of(lines, statement.month)
        assert statement.streams + statement.adjustments == sum(line.amount for line in lines)
        assert sorted(lines, key=lambda line: (line.posted_at, line.event_id, line.amount)) == lines


def assert_unchanged(before: Book, after: Book) -> None:
    for month, (statement, lines) in before.items():
        if statement.closed:
            assert after[month] == (statement, lines)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_statements_agree_and_closed_ones_never_change(
    ledger: StreamLedger,
    statements: Statements,
    clock: Clock,
    database: Database,
    steps: list[tuple[int, list[tuple[int, int, int, int, bool]], bool]],
) -> None:
    example, number = next(NUMBERS), count()
    developer_id = await register(database, f"developer {example}")
    now, postings, book = BEGIN, Postings(), Book()

    for hours, drawn, again in steps:
        now += timedelta(hours=hours)
        await clock.set(now)
        sent = [make(f"{example}.{next(number):02}", developer_id, now, each) for each in drawn]
        await ledger.record([*sent, *(list(postings.known)[:3] if again else [])])
        postings.add(sent, now)
        read_now = await read(statements, developer_id, now)
        assert_agrees(read_now, postings)
        assert_unchanged(book, read_now)
        book = read_now

    balance = sum(statement.streams + statement.adjustments for statement, _ in book.values())
    flagged = await column(
        database, "SELECT count(*) FROM stream_events WHERE developer_id = $1 AND billable", developer_id
    )
    assert [balance] == flagged == [len(billable_ids(postings.known))]
    assert {Month.read(month, now).start.month for month in book} == set(range(1, now.month + 1))
