"""Months (UTC) as pages name them: `YYYY-MM`. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

_WRITTEN: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_FIRST_YEAR: Final = 2000
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the calendar, by its first day."""

    first: date

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def last(self) -> date:
        """Its last day."""
        return self._after - _DAY

    @property
    def start(self) -> datetime:
        """Its begin (UTC)."""
        return _midnight(self.first)

    @property
    def end(self) -> datetime:
        """Its end (UTC), which is the begin of the next."""
        return _midnight(self._after)

    @property
    def before(self) -> "Month":
        """The month before."""
        return Month((self.first - _DAY).replace(day=1))

    @property
    def _after(self) -> date:
        return (self.first + timedelta(days=31)).replace(day=1)


def month_of(moment: datetime) -> Month:
    """Return the month of a moment."""
    return Month(moment.astimezone(UTC).date().replace(day=1))


def find_month(text: str, now: datetime) -> Month | None:
    """Read a month that has begun, from the year 2000 on; None for any other text."""
    if not _WRITTEN.fullmatch(text) or int(text[:4]) < _FIRST_YEAR:
        return None
    month = Month(date(int(text[:4]), int(text[5:]), 1))
    return month if month <= month_of(now) else None


def months_back(now: datetime, since: datetime | None, count: int) -> list[Month]:
    """Return the month of `now` and those before, newest first: `count` at most, none before that of `since`."""
    months = [month_of(now)]
    while len(months) < count and (since is None or month_of(since) < months[-1]):
        months.append(months[-1].before)
    return months


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
