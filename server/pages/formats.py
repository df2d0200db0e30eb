"""Dates, times and numbers as a reader's language writes them. Remembered, because Babel takes its time.

Times may be datetimes or the RFC 3339 texts of our own messages; a text that is neither a time nor empty is a fault of
ours and raises ValueError.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_skeleton, format_timedelta
from babel.numbers import format_decimal, format_percent

from server.pages.reader import Reader
from server.times import parse_time

_REMEMBERED = 4096
_UNITS = (
    ("year", 365 * 86400),
    ("month", 30 * 86400),
    ("week", 7 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
)


def moment_of(value: datetime | str | None) -> datetime | None:
    """Return `value` as an aware time; None for None and for empty text."""
    if not isinstance(value, str):
        return value
    moment, fault = parse_time(value, "time")
    if fault is not None:
        raise ValueError("not a time")
    return moment


def write_datetime(reader: Reader, value: datetime | str | None, length: str = "medium") -> str:
    """Write date and time in the reader's zone, with the zone's name: to the second, or `short` to the minute."""
    moment = moment_of(value)
    if moment is None:
        return ""
    whole = moment.astimezone(UTC).replace(microsecond=0)
    return _datetime(whole, length, reader.zone, reader.language.locale)


def write_date(reader: Reader, value: datetime | date | str | None, length: str = "medium") -> str:
    """Write a date; of a time, the date in the reader's zone."""
    if isinstance(value, datetime | str) or value is None:
        moment = moment_of(value)
        if moment is None:
            return ""
        value = moment.astimezone(reader.zone).date()
    return _date(value, length, reader.language.locale)


def write_day(reader: Reader, value: date) -> str:
    """Write a date without its year, as short as words allow, e.g. `Nov 3`."""
    return _skeleton(value, "MMMd", reader.language.locale)


def write_month(reader: Reader, value: date) -> str:
    """Write the month of a date, e.g. `November 2026`."""
    return _skeleton(value, "yMMMM", reader.language.locale)


def write_time_ago(reader: Reader, value: datetime | str | None, now: datetime) -> str:
    """Write how long ago, or how far ahead, in the one largest unit, e.g. `5 minutes ago`, `in 2 days`."""
    moment = moment_of(value)
    if moment is None:
        return ""
    seconds = int((moment - now).total_seconds())
    if abs(seconds) < 60:
        return reader.gettext("just now") if seconds <= 0 else reader.gettext("in less than a minute")
    unit, size = next((unit, size) for unit, size in _UNITS if abs(seconds) >= size)
    count = abs(seconds) // size
    return _time_ago(count * size if seconds > 0 else -count * size, unit, reader.language.locale)


def write_utc(value: datetime | str | None) -> str:
    """Write a time as RFC 3339 in UTC to the second, for machines and for `title`."""
    moment = moment_of(value)
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_number(reader: Reader, value: float) -> str:
    """Write a number with the language's separators; fractions to three places."""
    return _number(value, reader.language.locale)


def write_percent(reader: Reader, value: float, places: int = 0) -> str:
    """Write a share (0.25) as a percentage (25%), with up to `places` decimal places."""
    return _percent(round(value, places + 2), places, reader.language.locale)


@lru_cache(_REMEMBERED)
def _datetime(moment: datetime, length: str, zone: ZoneInfo, locale: Locale) -> str:
    day = locale.datetime_skeletons["yMMMd"].pattern
    clock = "HH:mm" if length == "short" else "HH:mm:ss"
    written = format_datetime(moment, f"{day} {clock}", tzinfo=zone, locale=locale)
    return f"{written} {_zone_name(moment, zone)}"


def _zone_name(moment: datetime, zone: ZoneInfo) -> str:
    name = moment.astimezone(zone).tzname() or zone.key
    return name if name[0].isalpha() else f"UTC{name}"


@lru_cache(_REMEMBERED)
def _date(day: date, length: str, locale: Locale) -> str:
    return format_date(day, format=length, locale=locale)


@lru_cache(_REMEMBERED)
def _skeleton(day: date, skeleton: str, locale: Locale) -> str:
    return format_skeleton(skeleton, day, locale=locale)


@lru_cache(_REMEMBERED)
def _time_ago(seconds: int, unit: str, locale: Locale) -> str:
    delta = timedelta(seconds=seconds)
    return format_timedelta(delta, granularity=unit, threshold=1, add_direction=True, locale=locale)  # type: ignore[arg-type]


@lru_cache(_REMEMBERED)
def _number(value: float, locale: Locale) -> str:
    return format_decimal(value, locale=locale)


@lru_cache(_REMEMBERED)
def _percent(value: float, places: int, locale: Locale) -> str:
    pattern = "#,##0" + ("." + "#" * places if places else "") + "%"
    return format_percent(value, format=None if places == 0 else pattern, locale=locale)
