"""How times are written outside: RFC 3339 in UTC, with any offset accepted in requests. No clock lives here."""

import re
from datetime import UTC, datetime

from server.errors import Violation

# RFC 3339 section 5.6, upper or lower case T and Z, an offset always present.
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
# Stands for infinity in the database's driver, and comes back from it without an offset.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def parse_time(text: str, field: str) -> tuple[datetime | None, Violation | None]:
    """Read an RFC 3339 time with any offset as UTC, to the microsecond; empty text is None."""
    if not text:
        return None, None
    fault = Violation(field, "must be an RFC 3339 time with an offset, e.g. 2030-01-31T12:00:00Z")
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None, fault
    seconds, fraction, offset = match.groups("")
    try:
        moment = datetime.fromisoformat(f"{seconds}{fraction[:7]}{offset}".upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None, fault
    return (moment, None) if moment < _END_OF_TIME else (None, Violation(field, "must be before the end of year 9999"))


def format_time(moment: datetime | None) -> str:
    """Write a time as RFC 3339 in UTC with microseconds; None is empty text."""
    return (
        "" if moment is None else f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    )
