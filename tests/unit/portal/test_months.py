"""Months as pages name them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from server.portal.months import find_month, month_of, months_back

NOW = datetime(2030, 3, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2030-03", "2030-02", "2000-01", "2029-12"])
def test_a_month_that_has_begun_is_found(text: str) -> None:
    assert str(find_month(text, NOW)) == text


@pytest.mark.parametrize(
    "text",
    ["", "2030-04", "1999-12", "2030-13", "2030-00", "2030-3", "2030-03-01", "٢٠٣٠-٠٣", "2030-03\n", "x", "0000-01"],
)
def test_anything_else_is_none(text: str) -> None:
    assert find_month(text, NOW) is None


def test_a_month_ends_where_the_next_begins() -> None:
    month = find_month("2029-12", NOW)
    assert month is not None
    assert (month.start, month.end) == (datetime(2029, 12, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    assert (str(month.last), str(month.before)) == ("2029-12-31", "2029-11")


def test_the_month_is_that_of_utc() -> None:
    assert str(month_of(datetime(2030, 4, 1, 1, tzinfo=timezone(timedelta(hours=3))))) == "2030-03"


@pytest.mark.parametrize(
    ("since", "count", "months"),
    [
        (None, 3, ["2030-03", "2030-02", "2030-01"]),
        (datetime(2030, 2, 28, tzinfo=UTC), 12, ["2030-03", "2030-02"]),
        (NOW, 12, ["2030-03"]),
        (NOW + timedelta(days=90), 12, ["2030-03"]),
    ],
)
def test_the_last_months_are_none_before_the_account(since: datetime | None, count: int, months: list[str]) -> None:
    assert [str(month) for month in months_back(NOW, since, count)] == months
