"""Spans, sums and forecasts."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidRequest
from server.metering.model import (
    DEVELOPER_LIMITED,
    KEY_LIMITED,
    OVER_QUOTA,
    Count,
    Granularity,
    Pace,
    Row,
    Span,
    floor,
    forecast,
    month,
    next_month,
    sum_up,
)

NOW = datetime(2030, 3, 15, 12, 34, 56, 789, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOMENTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("granularity", "start", "end"),
    [
        (Granularity.MINUTE, datetime(2030, 3, 15, 11, 34, tzinfo=UTC), NOW),
        (Granularity.HOUR, datetime(2030, 3, 14, 12, tzinfo=UTC), NOW),
        (Granularity.DAY, datetime(2030, 2, 13, tzinfo=UTC), NOW),
    ],
)
def test_a_span_that_is_not_named_ends_now(granularity: Granularity, start: datetime, end: datetime) -> None:
    span = Span.choose(granularity, None, None, NOW)
    assert (span.start, span.end) == (start, end)


def test_a_span_begins_where_a_point_begins_and_ends_where_asked() -> None:
    span = Span.choose(Granularity.HOUR, NOW - 3 * HOUR, NOW + HOUR, NOW)
    assert (span.start, span.end) == (datetime(2030, 3, 15, 9, tzinfo=UTC), NOW + HOUR)


def test_a_begin_that_is_not_named_lies_before_the_end_that_is() -> None:
    end = datetime(2029, 1, 31, tzinfo=UTC)
    assert Span.choose(Granularity.DAY, None, end, NOW).start == datetime(2029, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("granularity", Granularity)
def test_a_span_has_1500_points_and_no_more(granularity: Granularity) -> None:
    end = floor(NOW, granularity.length)
    start = end - 1500 * granularity.length
    assert Span.choose(granularity, start, end, NOW).start == start
    for too_much in ((start, end + timedelta(microseconds=1)), (start - timedelta(microseconds=1), end)):
        with pytest.raises(InvalidRequest) as refusal:
            Span.choose(granularity, *too_much, NOW)
        assert [violation.field for violation in refusal.value.violations] == ["start_time"]


@pytest.mark.parametrize(("start", "end"), [(NOW, NOW - HOUR), (NOW + HOUR, None), (NOW - 60 * DAY, NOW - 61 * DAY)])
def test_a_span_that_ends_before_it_begins_is_refused(start: datetime, end: datetime | None) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Span.choose(Granularity.MINUTE, start, end, NOW)
    assert [violation.field for violation in refusal.value.violations] == ["end_time"]


@given(st.sampled_from(Granularity), st.none() | MOMENTS, st.none() | MOMENTS)
def test_any_span_is_made_or_refused(granularity: Granularity, start: datetime | None, end: datetime | None) -> None:
    try:
        span = Span.choose(granularity, start, end, NOW)
    except InvalidRequest:
        return
    assert span.start < span.end == (end or NOW)
    assert start is None or timedelta() <= start - span.start < granularity.length
    assert span.start.microsecond == span.start.second == 0


@given(MOMENTS)
def test_points_begin_on_the_clock(moment: datetime) -> None:
    assert floor(moment, timedelta(minutes=1)) == moment.replace(second=0, microsecond=0)
    assert floor(moment, HOUR) == moment.replace(minute=0, second=0, microsecond=0)
    assert floor(moment, DAY) == moment.replace(hour=0, minute=0, second=0, microsecond=0)


@given(st.datetimes(timezones=st.just(UTC), max_value=datetime(9999, 11, 30)))  # noqa: DTZ001 - Hypothesis adds it
def test_months_follow_one_another(moment: datetime) -> None:
    assert month(moment) <= moment < next_month(moment)
    assert next_month(moment).day == 1
    assert month(next_month(moment) - timedelta(microseconds=1)) == month(moment)


def test_counts_are_put_together_most_frequent_first() -> None:
    first, second = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)
    totals = sum_up(
        [
            Row(second, "valid", None, 5, 9),
            Row(first, "revoked", None, 2, 0),
            Row(first, "valid", None, 2, 3),
            Row(second, "rate_limited", None, 3, 0),
            Row(None, None, "b", 4, 4),
            Row(None, None, "", 8, 8),
        ]
    )
    assert [(point.start, point.calls, point.units) for point in totals.points] == [(first, 4, 3), (second, 8, 9)]
    assert totals.points[0].outcomes == (Count("revoked", 2), Count("valid", 2))
    assert (totals.calls, totals.units) == (12, 12)
    assert totals.outcomes == (Count("valid", 7), Count("rate_limited", 3), Count("revoked", 2))
    assert totals.operations == (Count("", 8), Count("b", 4))


def test_the_50_most_frequent_operations_are_listed() -> None:
    totals = sum_up([Row(None, None, f"operation.{number:02}", number, 0) for number in range(60)])
    assert len(totals.operations) == 50
    assert totals.operations[0] == Count("operation.59", 59)


def test_the_throttled_share_counts_both_ways_of_being_too_many() -> None:
    outcomes = {"valid": 5, "rate_limited": 2, "quota_exceeded": 1, "revoked": 2}
    totals = sum_up([Row(NOW, outcome, None, calls, 0) for outcome, calls in outcomes.items()])
    assert totals.throttled_share == 0.3
    assert sum_up([]).throttled_share == 0.0


BEGIN, HALF, END = (datetime(2030, 4, day, tzinfo=UTC) for day in (1, 16, 30))
RESET = datetime(2030, 5, 1, tzinfo=UTC)


def test_a_month_goes_on_at_its_pace() -> None:
    quota = forecast(10_000, 1_500, Pace(700, HALF - 7 * DAY), HALF)
    assert quota.forecast == 1_500 + 15 * 100
    assert quota.exhausted_at is None
    assert quota.resets_at == RESET


def test_a_quota_runs_out_when_its_pace_says_so() -> None:
    quota = forecast(2_500, 1_500, Pace(700, HALF - 7 * DAY), HALF)
    assert quota.exhausted_at == HALF + 10 * DAY
    assert quota.forecast == 3_000


def test_a_quota_that_is_used_up_is_so_now() -> None:
    assert forecast(100, 100, Pace(0, BEGIN), HALF).exhausted_at == HALF
    assert forecast(0, 0, Pace(0, BEGIN), HALF).exhausted_at == HALF


def test_a_burst_of_seconds_is_judged_as_an_hour() -> None:
    quota = forecast(1_000_000, 60, Pace(60, BEGIN), BEGIN + timedelta(seconds=1))
    assert quota.forecast == pytest.approx(60 + 60 * 30 * 24, abs=1)


def test_without_use_nothing_is_expected() -> None:
    quota = forecast(1_000, 0, Pace(0, HALF), HALF)
    assert (quota.forecast, quota.exhausted_at) == (0, None)


@given(
    limit=st.integers(0, 10**15),
    used=st.integers(0, 10**15),
    units=st.integers(0, 10**15),
    now=st.datetimes(timezones=st.just(UTC), min_value=BEGIN.replace(tzinfo=None), max_value=END.replace(tzinfo=None)),
    age=st.timedeltas(timedelta(), timedelta(days=7)),
)
def test_a_forecast_is_never_below_what_is_used_nor_its_end_outside_the_month(
    limit: int, used: int, units: int, now: datetime, age: timedelta
) -> None:
    quota = forecast(limit, used, Pace(units, now - age), now)
    assert quota.forecast >= used
    assert quota.exhausted_at is None or now <= quota.exhausted_at <= RESET
    assert quota.exhausted_at is not None or quota.forecast <= limit + 1


def test_by_which_rate_a_call_was_limited_is_one_outcome() -> None:
    outcomes = {"valid": 4, KEY_LIMITED: 2, DEVELOPER_LIMITED: 3, OVER_QUOTA: 1}
    totals = sum_up([Row(NOW, outcome, None, calls, 0) for outcome, calls in outcomes.items()])
    told = (Count("rate_limited", 5), Count("valid", 4), Count("quota_exceeded", 1))
    assert totals.outcomes == totals.points[0].outcomes == told
    assert (totals.calls, totals.throttled_share) == (10, 0.6)


DAYS = Granularity.DAY


@pytest.mark.parametrize(
    ("start", "end", "begin", "until"),
    [
        ("2030-01-01", "2030-02-01", "2030-01-01", "2030-02-01"),
        ("2029-12-30", "2030-02-03", "2030-01-01", "2030-02-01"),
        ("2030-01-03", "2030-01-30", "2030-01-01", "2030-02-01"),
        ("2030-03-01", "now", "2030-03-01", "2030-04-01"),
        ("2030-03-01", "2030-03-31", "2030-03-01", "2030-04-01"),
        ("2030-02-14", "now", "2030-02-01", "2030-04-01"),
        ("2030-02-16", "now", "2030-03-01", "2030-04-01"),
        ("2029-03-16", "now", "2029-03-01", "2030-04-01"),
        ("2030-03-05", "now", "2030-03-01", "2030-04-01"),
        ("2030-03-14", "now", None, None),
        ("2030-03-01", "2030-03-12", None, None),
        ("2030-01-10", "2030-01-20", None, None),
        ("2030-02-20", "2030-03-10", None, None),
        ("9999-12-30", "9999-12-31", None, None),
        ("0001-01-01", "0001-01-02", None, None),
    ],
)
def test_months_are_added_up_where_they_come_close_to_a_span(
    start: str, end: str, begin: str | None, until: str | None
) -> None:
    span = Span(granularity=DAYS, start=midnight(start), end=NOW if end == "now" else midnight(end))
    expected = (midnight(begin), midnight(until)) if begin and until else (span.end, span.end)
    assert span.nearest_months(NOW) == expected


@given(st.dates(), st.integers(0, 1500), MOMENTS)
def test_months_are_whole_or_there_are_none_whatever_the_span(first: date, days: int, now: datetime) -> None:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = min(start, datetime.max.replace(tzinfo=UTC) - days * DAY) + days * DAY
    span = Span(granularity=DAYS, start=min(start, end), end=end)
    begin, until = span.nearest_months(min(now, datetime(9999, 11, 30, tzinfo=UTC)))
    assert (begin, until) == (month(begin), month(until)) or begin == until == end
    assert begin <= until


def midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
