"""What usage is: spans of points, sums of counts, and where a quota leads. No I/O, no clock."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from server.errors import InvalidRequest, Violation

MAXIMUM_POINTS = 1_500
PACE = timedelta(days=7)
_LISTED_OPERATIONS = 50
KEY_LIMITED, DEVELOPER_LIMITED, OVER_QUOTA = "rate_limited", "rate_limited_developer", "quota_exceeded"
"""Outcomes of calls refused for their number: by the key's rate, by that of all keys together, by the quota."""
_THROTTLED = (KEY_LIMITED, OVER_QUOTA)
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_SHORTEST_PACE = timedelta(hours=1)
"""A pace over less than this would say more of the last burst than of the month."""


class Granularity(Enum):
    """How long one point is. Values are stored nowhere: they name the tables that hold the points."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """How long a point is."""
        return _LENGTHS[self][0]

    @property
    def usual(self) -> timedelta:
        """How long a span is whose begin was not named."""
        return _LENGTHS[self][1]


_LENGTHS = {
    Granularity.MINUTE: (timedelta(minutes=1), timedelta(hours=1)),
    Granularity.HOUR: (timedelta(hours=1), timedelta(days=1)),
    Granularity.DAY: (timedelta(days=1), timedelta(days=30)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time from `start`, where a point begins, to `end`, excluded. Aware, in UTC."""

    granularity: Granularity
    start: datetime
    end: datetime

    @classmethod
    def choose(cls, granularity: Granularity, start: datetime | None, end: datetime | None, now: datetime) -> "Span":
        """Make the span that was asked for; what was not named is the usual.

        Raises:
            InvalidRequest: it ends before it begins, or has too many points.
        """
        end = end or now
        start = floor(start or _before(end, granularity.usual), granularity.length)
        if end <= start:
            raise InvalidRequest([Violation("end_time", "must be after start_time")])
        if end - start > MAXIMUM_POINTS * granularity.length:
            sentence = f"must be at most {MAXIMUM_POINTS:,} points before end_time: take a later one, or longer points"
            raise InvalidRequest([Violation("start_time", sentence)])
        return cls(granularity=granularity, start=start, end=end)

    @classmethod
    def recent(cls, now: datetime) -> "Span":
        """Make the span of the last full minute and what there is of the current one."""
        minute = Granularity.MINUTE.length
        return cls(granularity=Granularity.MINUTE, start=floor(now, minute) - minute, end=now)

    def nearest_months(self, now: datetime) -> tuple[datetime, datetime]:
        """Return from when to when the months (UTC) are that come closest to it, given that nothing is after `now`.

        So that it is summed up by months and what they have too much or too little. Twice its end: better without any.
        """
        if self.start > now:
            return self.end, self.end
        reaches_now = self.end > floor(now, self.granularity.length)
        begin, end = _nearest_month(self.start), next_month(now) if reaches_now else _nearest_month(self.end)
        differing = abs(self.start - begin) + (timedelta() if reaches_now else abs(self.end - end))
        if begin < end and differing < min(self.end, now) - self.start:
            return begin, end
        return self.end, self.end

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start) / timedelta(seconds=1)


class Row(NamedTuple):
    """Calls of a span: by `point` and `outcome`, or by `operation`; the other is None."""

    point: datetime | None
    outcome: str | None
    operation: str | None
    calls: int
    units: int


class Count(NamedTuple):
    """Calls with one outcome, or of one operation."""

    name: str
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The use during one minute, hour or day."""

    start: datetime
    calls: int
    units: int
    outcomes: tuple[Count, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The use during a span: its points that have any, oldest first, and their sums, most frequent first."""

    points: tuple[Point, ...]
    calls: int
    units: int
    outcomes: tuple[Count, ...]
    operations: tuple[Count, ...]

    @property
    def throttled_share(self) -> float:
        """The share of calls that were refused for their number, 0 to 1."""
        throttled = sum(count.calls for count in self.outcomes if count.name in _THROTTLED)
        return throttled / self.calls if self.calls else 0.0


class Pace(NamedTuple):
    """Units used since a time."""

    units: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Where a developer's month stands and where it leads. `exhausted_at` None: not this month."""

    limit: int
    used: int
    forecast: int
    exhausted_at: datetime | None
    resets_at: datetime


class StreamCount(NamedTuple):
    """Streams of one medium."""

    medium: str
    acquisitions: int
    billable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What keys were used for during a span. `quota` None: the developer has none."""

    span: Span
    totals: Totals
    calls_per_second: float
    quota: Quota | None
    streams: tuple[StreamCount, ...]


def sum_up(rows: Iterable[Row]) -> Totals:
    """Put the counts of a span together. By which rate a call was limited is not told: both are one outcome."""
    points: dict[datetime, list[Row]] = {}
    outcomes: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for row in rows:
        if row.point is None:
            operations[row.operation or ""] += row.calls
        else:
            points.setdefault(row.point, []).append(row)
            outcomes[_told(row)] += row.calls
    made = tuple(_point(start, points[start]) for start in sorted(points))
    return Totals(
        points=made,
        calls=sum(point.calls for point in made),
        units=sum(point.units for point in made),
        outcomes=_most_frequent(outcomes),
        operations=_most_frequent(operations)[:_LISTED_OPERATIONS],
    )


def forecast(limit: int, used: int, pace: Pace, now: datetime) -> Quota:
    """Tell where a month stands that goes on at a pace until it ends."""
    resets_at = next_month(now)
    rest = (resets_at - now) / timedelta(seconds=1)
    per_second = pace.units / (max(now - pace.since, _SHORTEST_PACE) / timedelta(seconds=1))
    exhausted_at = None
    if used >= limit:
        exhausted_at = now
    elif used + per_second * rest > limit:
        exhausted_at = min(now + timedelta(seconds=(limit - used) / per_second), resets_at)
    expected = used + round(per_second * rest)
    return Quota(limit=limit, used=used, forecast=expected, exhausted_at=exhausted_at, resets_at=resets_at)


def month(moment: datetime) -> datetime:
    """Return when the month (UTC) of a moment began."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(moment: datetime) -> datetime:
    """Return when the month (UTC) after that of a moment begins."""
    return month(month(moment) + timedelta(days=31))


def floor(moment: datetime, length: timedelta) -> datetime:
    """Return when the minute, hour or day (UTC) of a moment began."""
    return moment - (moment - _EARLIEST) % length


def _nearest_month(moment: datetime) -> datetime:
    return min(month(moment), next_month(moment), key=lambda begin: abs(moment - begin))


def _before(moment: datetime, by: timedelta) -> datetime:
    return _EARLIEST if moment - _EARLIEST < by else moment - by


def _told(row: Row) -> str:
    return KEY_LIMITED if row.outcome == DEVELOPER_LIMITED else row.outcome or ""


def _point(start: datetime, rows: list[Row]) -> Point:
    outcomes: Counter[str] = Counter()
    for row in rows:
        outcomes[_told(row)] += row.calls
    return Point(
        start=start,
        calls=sum(row.calls for row in rows),
        units=sum(row.units for row in rows),
        outcomes=_most_frequent(outcomes),
    )


def _most_frequent(counts: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(name, calls) for name, calls in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
