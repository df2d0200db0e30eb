"""How times are read and written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.times import format_time, parse_time

FIRST_DAY, LAST_DAY = datetime(1, 1, 2), datetime(9999, 12, 31)  # noqa: DTZ001 - Hypothesis adds the offset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00.000000Z"),
        ("2030-01-31t12:00:00z", "2030-01-31T12:00:00.000000Z"),
        ("2030-01-31T12:00:00.5Z", "2030-01-31T12:00:00.500000Z"),
        ("2030-01-31T12:00:00.000001Z", "2030-01-31T12:00:00.000001Z"),
        ("2030-01-31T12:00:00.123456789Z", "2030-01-31T12:00:00.123456Z"),
        ("2030-01-31T12:00:00+00:00", "2030-01-31T12:00:00.000000Z"),
        ("2030-01-31T12:00:00-00:00", "2030-01-31T12:00:00.000000Z"),
        ("2030-01-01T00:30:00+05:45", "2029-12-31T18:45:00.000000Z"),
        ("2030-12-31T23:30:00-12:00", "2031-01-01T11:30:00.000000Z"),
        ("2030-01-31T12:00:00+23:59", "2030-01-30T12:01:00.000000Z"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000000Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
    ],
)
def test_times_of_rfc_3339_are_read_as_utc(text: str, expected: str) -> None:
    moment, violation = parse_time(text, "expires_at")
    assert violation is None
    assert moment is not None
    assert moment.tzinfo is UTC
    assert format_time(moment) == expected


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        " 2030-01-31T12:00:00Z",
        "2030-01-31T12:00:00Z\n",
        "2030-01-31",
        "2030-01-31T12:00Z",
        "2030-01-31 12:00:00Z",
        "2030-01-31T12:00:00",
        "2030-01-31T12:00:00.Z",
        "2030-01-31T12:00:00,5Z",
        "2030-01-31T12:00:00.1234567890Z",
        "2030-01-31T12:00:00+0100",
        "2030-01-31T12:00:00+24:00",
        "2030-01-31T12:00:00+01:60",
        "2030-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2030-13-01T00:00:00Z",
        "2030-00-01T00:00:00Z",
        "2030-01-32T00:00:00Z",
        "2030-01-31T24:00:00Z",
        "2030-06-30T23:59:60Z",
        "2030-W01-1T00:00:00Z",
        "٢٠٣٠-01-31T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.999999Z",
        "1893456000",
    ],
)
def test_any_other_time_is_refused(text: str) -> None:
    moment, violation = parse_time(text, "expires_at")
    assert moment is None
    assert violation is not None
    assert violation.field == "expires_at"


def test_no_time_is_empty() -> None:
    assert parse_time("", "expires_at") == (None, None)
    assert format_time(None) == ""


@given(st.datetimes(timezones=st.just(UTC), max_value=LAST_DAY))
def test_a_written_time_is_read_as_it_was(moment: datetime) -> None:
    assert parse_time(format_time(moment), "expires_at") == (moment, None)


@given(
    st.datetimes(min_value=FIRST_DAY, max_value=LAST_DAY - timedelta(days=1)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_time_is_the_same_at_any_offset(local: datetime, offset: timezone) -> None:
    moment = local.replace(tzinfo=offset)
    assert parse_time(moment.isoformat(), "expires_at") == (moment, None)


@given(st.text(max_size=40))
def test_garbage_is_a_violation_and_nothing_else(text: str) -> None:
    moment, violation = parse_time(text, "expires_at")
    assert moment is None
    assert (violation is None) == (text == "")
