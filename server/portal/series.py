"""From points of usage to what charts draw: spans without holes, with times as their reader writes them. No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from sdk.usage.v1.usage_pb2 import GRANULARITY_DAY, GRANULARITY_HOUR, GRANULARITY_MINUTE, Granularity, Usage, UsagePoint
from sdk.verification.v1.verdict_pb2 import VERDICT_QUOTA_EXCEEDED, VERDICT_RATE_LIMITED, VERDICT_VALID

from server.pages.formats import moment_of, write_date, write_datetime, write_day
from server.pages.languages import translatable
from server.pages.reader import Reader

T = TypeVar("T")

_THROTTLED: Final = frozenset({VERDICT_QUOTA_EXCEEDED, VERDICT_RATE_LIMITED})
_MOST_POINTS: Final = 1600


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A length of time in which use is counted, and how it is called."""

    name: str
    granularity: Granularity.ValueType
    step: timedelta
    label: str
    span: str


SCALES: Final[Mapping[str, Scale]] = {
    scale.name: scale
    for scale in (
        Scale(
            name="minute",
            granularity=GRANULARITY_MINUTE,
            step=timedelta(minutes=1),
            label=translatable("By minute"),
            span=translatable("Last 60 minutes"),
        ),
        Scale(
            name="hour",
            granularity=GRANULARITY_HOUR,
            step=timedelta(hours=1),
            label=translatable("By hour"),
            span=translatable("Last 24 hours"),
        ),
        Scale(
            name="day",
            granularity=GRANULARITY_DAY,
            step=timedelta(days=1),
            label=translatable("By day"),
            span=translatable("Last 30 days"),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How many calls went well, were refused for their number, and were refused for another reason."""

    accepted: int = 0
    throttled: int = 0
    refused: int = 0


def calls_of(point: UsagePoint | Usage) -> Calls:
    """Sort the calls of a point, or of a whole span, into the three."""
    accepted = sum(count.calls for count in point.outcomes if count.outcome == VERDICT_VALID)
    throttled = sum(count.calls for count in point.outcomes if count.outcome in _THROTTLED)
    return Calls(accepted=accepted, throttled=throttled, refused=point.calls - accepted - throttled)


def without_holes(points: Mapping[datetime, T], start: datetime, end: datetime, step: timedelta, none: T) -> list[T]:
    """Return a value for every step of a span, `none` where there is none."""
    return [points.get(moment, none) for moment in steps(start, end, step)]


def steps(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    """Return the begins of a span's points; no more than a span can have."""
    moment = start
    for _ in range(_MOST_POINTS):
        if moment >= end:
            return
        yield moment
        moment += step


def by_time(points: Iterable[UsagePoint]) -> dict[datetime, Calls]:
    """Return the calls of points by the points' begins."""
    return {moment(point.start_time): calls_of(point) for point in points}


def moment(text: str) -> datetime:
    """Read a time of an answer of ours."""
    read = moment_of(text)
    if read is None:
        raise ValueError("a time is missing")
    return read


def short_label(reader: Reader, begin: datetime, step: timedelta) -> str:
    """Write a point's begin for an axis: the time in the reader's zone, or for a whole day (UTC) the date."""
    if step >= timedelta(days=1):
        return write_day(reader, begin.astimezone(UTC).date())
    return f"{begin.astimezone(reader.zone):%H:%M}"


def long_label(reader: Reader, begin: datetime, step: timedelta) -> str:
    """Write a point's begin in full."""
    if step >= timedelta(days=1):
        return write_date(reader, begin.astimezone(UTC).date(), "medium")
    return write_datetime(reader, begin, "short")
