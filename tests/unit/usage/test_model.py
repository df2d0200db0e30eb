"""When windows run out, which refusals are told, and what calls would have used."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk.usage.v1 import usage_service_pb2 as pb

from server.usage.model import Demand, Finding, Limit, Refusal, RefusedPoint, list_refusals, runs_out_at

NOW = datetime(2030, 1, 1, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("remaining", "per_second", "seconds"),
    [
        (600, 0.0, None),
        (600, 10.0, None),  # 600 units in any 60 seconds: just what leaves the window comes in
        (300, 5.0, None),
        (600, 20.0, 30),
        (300, 12.0, 25),
        (0, 0.0, 0),
        (0, 20.0, 0),
    ],
)
def test_a_window_runs_out_when_more_comes_in_than_leaves(
    remaining: int, per_second: float, seconds: float | None
) -> None:
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert runs_out_at(remaining, units=600, seconds=60, per_second=per_second, now=NOW) == expected


@given(st.integers(1, 10**9), st.integers(1, 86_400), st.floats(0, 1e9), st.data())
def test_a_window_runs_out_before_it_is_over(units: int, seconds: int, per_second: float, data: st.DataObject) -> None:
    remaining = data.draw(st.integers(0, units))
    at = runs_out_at(remaining, units=units, seconds=seconds, per_second=per_second, now=NOW)
    assert at is None or NOW <= at <= NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("demand", "wanted"),
    [
        (Demand(), 0),
        (Demand(calls=9, units=9, good_calls=9), 9),
        (Demand(calls=7, units=20, good_calls=4, limited_calls=2), 30),  # one was refused for something else
        (Demand(calls=5, limited_calls=5), 5),
    ],
)
def test_refused_calls_would_have_cost_what_good_ones_did(demand: Demand, wanted: float) -> None:
    assert demand.wanted_units == wanted


def test_refusals_are_told_by_point_and_limit() -> None:
    earlier = NOW - timedelta(hours=1)
    points = [RefusedPoint(NOW, 9, 2, 0, 3), RefusedPoint(earlier, 5, 0, 4, 0)]
    assert list_refusals(points) == (
        Refusal(NOW, Limit.KEY_RATE, 2, 9),
        Refusal(NOW, Limit.MONTHLY_QUOTA, 3, 9),
        Refusal(earlier, Limit.DEVELOPER_RATE, 4, 5),
    )


def test_the_newest_500_refusals_are_told() -> None:
    points = [RefusedPoint(NOW - timedelta(minutes=minute), 9, 1, 1, 1) for minute in range(1_000)]
    told = list_refusals(points)
    assert len(told) == 500
    assert told[-1].start == NOW - timedelta(minutes=166)


def test_limits_and_findings_have_the_numbers_of_the_proto() -> None:
    for ours, theirs, prefix in ((Limit, pb.Limit, "LIMIT_"), (Finding, pb.Finding, "FINDING_")):
        published = {name.removeprefix(prefix): number for name, number in theirs.items() if number}
        assert published == {each.name: each.value for each in ours}
