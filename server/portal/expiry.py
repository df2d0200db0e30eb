"""When a key is to end, as forms ask for it: after some days, on a day, or never. Pure."""

from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from server.pages.formats import moment_of
from server.pages.forms import Form
from server.pages.languages import translatable
from server.times import format_time

CHOICES: Final = (
    ("7", translatable("in 7 days")),
    ("30", translatable("in 30 days")),
    ("90", translatable("in 90 days")),
    ("365", translatable("in a year")),
    ("date", translatable("on a day of your choice")),
    ("never", translatable("never")),
)
USUAL: Final = "90"

_DAYS: Final = {"7": 7, "30": 30, "90": 90, "365": 365}
_STALE: Final = timedelta(hours=1)
"""A form that is older counts days from when it is sent: methods forget its request id long before."""


class BadExpiryError(ValueError):
    """The form does not say when. The text says what to do, as a message id."""


def read_expiry(form: Form, zone: ZoneInfo, now: datetime) -> str:
    """Return the time that a form asks for (RFC 3339), empty for never.

    Days are counted from when the form was made, so that the same form sent twice asks for the same. The day of one's
    choice, in the reader's zone, is the last on which the key works. Raises BadExpiryError.
    """
    choice = form.text("expiry")
    if choice == "never":
        return ""
    if choice == "date":
        return format_time(_end_of(form.text("last_day"), zone))
    if choice not in _DAYS:
        raise BadExpiryError(translatable("Choose when the key is to expire."))
    return format_time(_begin(form.text("since"), now) + timedelta(days=_DAYS[choice]))


def _end_of(text: str, zone: ZoneInfo) -> datetime:
    try:
        following = date.fromisoformat(text) + timedelta(days=1)
        return datetime.combine(following, time(), zone)
    except (ValueError, OverflowError):
        raise BadExpiryError(translatable("Choose the last day on which the key is to work.")) from None


def _begin(text: str, now: datetime) -> datetime:
    """Return when a form was made, if that can be: fields can be changed by whoever sends them."""
    try:
        since = moment_of(text)
    except ValueError:
        since = None
    return since if since is not None and now - _STALE <= since <= now else now
