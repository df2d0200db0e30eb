"""What is told of a key's secrets, and from which sums of its use. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

QUIET = timedelta(minutes=15)
"""How long nobody may have called with a secret that is safe to end."""

_HOUR = timedelta(hours=1)
_COUNTED = timedelta(days=30)
_SHOWN_HOURS = 48


class SecretState(Enum):
    """Where a secret is in its life."""

    CURRENT = "current"
    IN_GRACE = "in grace"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySecret:
    """A secret of a key as it stands in the database; `is_newest` also of a key that works no more."""

    version: int
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    """When it ends, by its own deadline or with its key; None: never."""
    is_retired: bool
    """It has a deadline of its own: there was a newer one, or the key was revoked."""
    last_used_at: datetime | None
    last_client_ip: str

    def state(self, now: datetime) -> SecretState:
        """Tell where it is in its life: ended from its deadline on, and from its key's."""
        if self.expires_at is not None and self.expires_at <= now:
            return SecretState.ENDED
        return SecretState.IN_GRACE if self.is_retired else SecretState.CURRENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls with a secret, whatever became of them."""

    counted: int = 0
    """In the last 30 days."""
    last_hour: int = 0
    """In the last 60 minutes."""
    last_point: datetime | None = None
    """When the day, hour or minute of the last one began; None: there was none in 30 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourOfUse:
    """Calls with a secret in the hour that begins at `hour`."""

    hour: datetime
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVersion:
    """A secret of a key with its use; `hours` are those of the last 48 that had calls, oldest first."""

    secret: KeySecret
    state: SecretState
    calls: Calls
    hours: tuple[HourOfUse, ...] = ()
    last_operation: str = ""
    safe_to_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """From which table which part of the past is summed up, so that no call is counted twice.

    Hours and days are made from minutes some time after these, so what is younger than an hour is read from minutes:
    `since` ..hours.. `first_day` ..days.. `today` ..hours.. `recent` ..minutes.. now.
    """

    since: datetime
    first_day: datetime
    today: datetime
    recent: datetime
    last_hour: datetime
    shown: datetime

    @classmethod
    def before(cls, now: datetime) -> "Spans":
        """Lay out the 30 days before a time, from the begin of an hour on."""
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        since, recent = hour - _COUNTED, hour - _HOUR
        return cls(
            since=since,
            first_day=since if since.hour == 0 else since.replace(hour=0) + timedelta(days=1),
            today=recent.replace(hour=0),
            recent=recent,
            last_hour=now - _HOUR,
            shown=hour - (_SHOWN_HOURS - 1) * _HOUR,
        )


def last_use(secret: KeySecret, calls: Calls) -> datetime | None:
    """Return when a secret was last used, as well as it is known; also by calls that were refused."""
    return max(filter(None, (secret.last_used_at, calls.last_point)), default=None)


def is_safe_to_end(secret: KeySecret, calls: Calls, newer: Iterable[datetime | None], now: datetime) -> bool:
    """Tell whether nobody seems to depend on a secret any more; `newer` are the last uses of those that came after it.

    It is in grace, nobody has called with it for 15 minutes, and somebody has with a newer one since.
    """
    if secret.state(now) is not SecretState.IN_GRACE:
        return False
    last = last_use(secret, calls)
    if last is not None and last > now - QUIET:
        return False
    return any(use is not None and (last is None or use > last) for use in newer)
