"""Usage as a message: every field, and every verdict and medium there is."""

from datetime import UTC, datetime

import pytest
from sdk.usage.v1 import usage_pb2
from sdk.verification.v1 import verdict_pb2

from server.metering.model import (
    Count,
    Granularity,
    Point,
    Quota,
    Span,
    StreamCount,
    Totals,
    Usage,
)
from server.metering.rpc import period_of, usage_message

FIRST, SECOND, THIRD = (datetime(2030, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3))


def usage(
    *, outcomes: tuple[Count, ...] = (), quota: Quota | None = None, streams: tuple[StreamCount, ...] = ()
) -> Usage:
    return Usage(
        span=Span(granularity=Granularity.HOUR, start=FIRST, end=THIRD),
        totals=Totals(
            points=(Point(start=SECOND, calls=7, units=9, outcomes=outcomes),),
            calls=7,
            units=9,
            outcomes=outcomes,
            operations=(Count("search", 4), Count("", 3)),
        ),
        calls_per_second=1.5,
        quota=quota,
        streams=streams,
    )


def test_every_number_is_told() -> None:
    outcomes = (Count("valid", 4), Count("rate_limited", 2), Count("quota_exceeded", 1))
    told = [
        usage_pb2.OutcomeCount(outcome=verdict_pb2.VERDICT_VALID, calls=4),
        usage_pb2.OutcomeCount(outcome=verdict_pb2.VERDICT_RATE_LIMITED, calls=2),
        usage_pb2.OutcomeCount(outcome=verdict_pb2.VERDICT_QUOTA_EXCEEDED, calls=1),
    ]
    quota = Quota(limit=100, used=9, forecast=200, exhausted_at=SECOND, resets_at=THIRD)
    streams = (StreamCount("music", 5, 4), StreamCount("video", 2, 1))
    assert usage_message(usage(outcomes=outcomes, quota=quota, streams=streams)) == usage_pb2.Usage(
        start_time="2030-01-01T01:00:00.000000Z",
        end_time="2030-01-01T03:00:00.000000Z",
        points=[
            usage_pb2.UsagePoint(start_time="2030-01-01T02:00:00.000000Z", calls=7, units=9, outcomes=told),
        ],
        calls=7,
        units=9,
        outcomes=told,
        operations=[
            usage_pb2.OperationCount(operation="search", calls=4),
            usage_pb2.OperationCount(operation="", calls=3),
        ],
        throttled_share=3 / 7,
        calls_per_second=1.5,
        quota=usage_pb2.QuotaUsage(
            limit=100,
            used=9,
            forecast=200,
            exhausted_at="2030-01-01T02:00:00.000000Z",
            resets_at="2030-01-01T03:00:00.000000Z",
        ),
        streams=[
            usage_pb2.StreamCount(medium=usage_pb2.MEDIUM_MUSIC, acquisitions=5, billable=4),
            usage_pb2.StreamCount(medium=usage_pb2.MEDIUM_VIDEO, acquisitions=2, billable=1),
        ],
    )


def test_what_there_is_not_is_absent() -> None:
    message = usage_message(usage())
    assert not message.HasField("quota")
    assert not message.streams


@pytest.mark.parametrize("name", [name for name, number in verdict_pb2.Verdict.items() if number])
def test_every_verdict_is_told_as_itself(name: str) -> None:
    outcome = name.removeprefix("VERDICT_").lower()
    message = usage_message(usage(outcomes=(Count(outcome, 1),)))
    assert [verdict_pb2.Verdict.Name(count.outcome) for count in message.outcomes] == [name]


def test_an_outcome_that_only_newer_servers_know_is_counted_without_a_name() -> None:
    message = usage_message(usage(outcomes=(Count("of_the_future", 1),)))
    assert message.outcomes[0].outcome == verdict_pb2.VERDICT_UNSPECIFIED


@pytest.mark.parametrize(
    ("wished", "granularity"),
    [
        (usage_pb2.GRANULARITY_UNSPECIFIED, Granularity.HOUR),
        (usage_pb2.GRANULARITY_MINUTE, Granularity.MINUTE),
        (usage_pb2.GRANULARITY_HOUR, Granularity.HOUR),
        (usage_pb2.GRANULARITY_DAY, Granularity.DAY),
    ],
)
def test_points_are_hours_unless_asked_otherwise(
    wished: "usage_pb2.Granularity.ValueType", granularity: Granularity
) -> None:
    assert period_of(wished, "a", "b").granularity is granularity
    assert (period_of(wished, "a", "b").start_time, period_of(wished, "a", "b").end_time) == ("a", "b")
