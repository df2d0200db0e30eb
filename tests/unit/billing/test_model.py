"""Months and days as they are asked for."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.billing.model import CLOSING, Month, Statement, StatementSum, choose_days
from server.errors import InvalidRequest

NOW = datetime(2030, 7, 15, 12, tzinfo=UTC)
TODAY = NOW.date()
MONTHS = st.dates(min_value=date(2000, 1, 1), max_value=TODAY)


@given(MONTHS)
def test_a_month_begins_on_its_first_day_and_ends_where_the_next_begins(day: date) -> None:
    month = Month.read(f"{day:%Y-%m}", NOW)
    assert (month.start.date(), str(month)) == (day.replace(day=1), f"{day:%Y-%m}")
    assert month.start.date() <= day < month.end.date()
    assert month.end.day == 1
    assert month.end - month.start <= timedelta(days=31)
    assert not month.is_closed(month.end + CLOSING - timedelta(microseconds=1))
    assert month.is_closed(month.end + CLOSING)


def test_a_month_that_has_just_begun_may_be_asked_for() -> None:
    begin = datetime(2030, 8, 1, tzinfo=UTC)
    assert Month.read("2030-08", begin).start == begin
    with pytest.raises(InvalidRequest):
        Month.read("2030-08", begin - timedelta(microseconds=1))


def test_a_statement_adds_its_sums_up() -> None:
    sums = [StatementSum("a", "music", 5, -2), StatementSum("b", "video", 3, 1)]
    statement = Statement(month=Month.read("2030-07", NOW), closed=False, sums=sums)
    assert (statement.streams, statement.adjustments) == (8, -1)


@pytest.mark.parametrize(
    ("first_day", "last_day", "chosen"),
    [
        ("", "", (date(2030, 6, 16), TODAY)),
        ("2030-07-01", "", (date(2030, 7, 1), TODAY)),
        ("", "2030-01-30", (date(2030, 1, 1), date(2030, 1, 30))),
        ("2030-07-15", "2030-07-15", (TODAY, TODAY)),
        ("2029-07-15", "2030-07-15", (date(2029, 7, 15), TODAY)),
        ("2030-08-01", "2030-08-02", (date(2030, 8, 1), date(2030, 8, 2))),
        ("", "0001-01-02", (date.min, date(1, 1, 2))),  # there are no 29 days before it
    ],
)
def test_days_that_are_not_named_are_the_usual(first_day: str, last_day: str, chosen: tuple[date, date]) -> None:
    assert choose_days(first_day, last_day, TODAY) == chosen


@pytest.mark.parametrize(
    ("first_day", "last_day", "fields"),
    [
        ("2030-02-30", "", ["first_day"]),
        ("", "2030-13-01", ["last_day"]),
        ("0000-01-01", "2030-00-01", ["last_day", "first_day"]),
        ("2030-07-02", "2030-07-01", ["last_day"]),
        ("2030-07-16", "", ["last_day"]),
        ("2029-07-14", "2030-07-15", ["first_day"]),
    ],
)
def test_days_that_are_none_or_too_many_are_refused(first_day: str, last_day: str, fields: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        choose_days(first_day, last_day, TODAY)
    assert [violation.field for violation in refusal.value.violations] == fields
