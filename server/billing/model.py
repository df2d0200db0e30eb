"""What a statement of a month is, and which months and days may be asked for. No I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from server.errors import InvalidRequest, Violation

CLOSING = timedelta(minutes=5)
"""How long after its end a month closes: what was posted in it is committed by then, whatever took long."""
_FIRST_YEAR = 2000
_USUAL_DAYS, _MOST_DAYS = timedelta(days=29), timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month (UTC) from `start` to `end`, excluded."""

    start: datetime
    end: datetime

    @classmethod
    def read(cls, text: str, now: datetime) -> "Month":
        """Read `YYYY-MM`.

        Raises:
            InvalidRequest: it is no month, lies in the future, or before the year 2000.
        """
        try:
            start = datetime.fromisoformat(f"{text}-01").replace(tzinfo=UTC)
        except ValueError:
            raise _faulty("month", "must be a month, e.g. 2030-01") from None
        if start > now:
            raise _faulty("month", "must not be in the future")
        if start.year < _FIRST_YEAR:
            raise _faulty("month", f"must be {_FIRST_YEAR}-01 or later")
        return cls(start=start, end=(start + timedelta(days=31)).replace(day=1))

    def __str__(self) -> str:
        return f"{self.start:%Y-%m}"

    def is_closed(self, now: datetime) -> bool:
        """Tell whether nothing is posted in it any more."""
        return now >= self.end + CLOSING


class StreamDay(NamedTuple):
    """Streams of one client and medium acquired during one day (UTC)."""

    day: date
    client_id: str
    medium: str
    acquisitions: int
    billable: int


class StatementSum(NamedTuple):
    """What was posted for one client and medium: of streams acquired in the month, and of earlier ones."""

    client_id: str
    medium: str
    streams: int
    adjustments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The sums of what was posted during a month; they change no more once it is closed."""

    month: Month
    closed: bool
    sums: Sequence[StatementSum]

    @property
    def streams(self) -> int:
        """Billable streams acquired in the month itself."""
        return sum(each.streams for each in self.sums)

    @property
    def adjustments(self) -> int:
        """What late events changed about earlier months."""
        return sum(each.adjustments for each in self.sums)


class StatementLine(NamedTuple):
    """One posting: +1 for an event that is billable, -1 when it is so no more. Times are aware."""

    event_id: str
    amount: int
    posted_at: datetime
    acquired_at: datetime
    client_id: str
    medium: str
    content_id: str
    quality: str


class Position(NamedTuple):
    """The place of a posting in the order in which they are listed. None is before one whose id is empty."""

    posted_at: datetime
    event_id: str = ""
    amount: int = 0


def choose_days(first_day: str, last_day: str, today: date) -> tuple[date, date]:
    """Return the first and the last of the days asked for, both included; empty text is the usual.

    Raises:
        InvalidRequest: a text is no day, or the span is empty or too long.
    """
    faults: list[Violation] = []
    last = _read_day(last_day, "last_day", faults) or today
    first = _read_day(first_day, "first_day", faults) or max(last, date.min + _USUAL_DAYS) - _USUAL_DAYS
    if not faults and first > last:
        faults.append(Violation("last_day", "must not be before first_day"))
    elif not faults and last - first > _MOST_DAYS:
        faults.append(Violation("first_day", f"must be at most {_MOST_DAYS.days} days before last_day"))
    if faults:
        raise InvalidRequest(faults)
    return first, last


def _read_day(text: str, field: str, faults: list[Violation]) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        faults.append(Violation(field, "must be a day of the calendar, e.g. 2030-01-31"))
        return None


def _faulty(field: str, sentence: str) -> InvalidRequest:
    return InvalidRequest([Violation(field, sentence)])
