"""What limits a key meets and how it stands to them, and what about keys needs attention. No I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

_LISTED_REFUSALS = 500


class Limit(Enum):
    """One of the limits that a call must fit into. The values are the numbers of `sdk.usage.v1.Limit`."""

    KEY_RATE = 1
    DEVELOPER_RATE = 2
    MONTHLY_QUOTA = 3


class Finding(Enum):
    """A reason to look at a key, most urgent first. The values are the numbers of `sdk.usage.v1.Finding`."""

    OLD_SECRET_IN_USE = 1
    NEVER_USED = 2
    UNUSED = 3
    SCOPE_UNUSED = 4
    NO_EXPIRY = 5
    EXPIRES_SOON = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a limit stands. `window_seconds` 0: it is of the month (UTC). `exhausted_at` None: not before it resets."""

    limit: Limit
    units: int
    window_seconds: int
    remaining: int
    resets_at: datetime
    exhausted_at: datetime | None
    refused_calls: int


class Refusal(NamedTuple):
    """Calls that one limit refused during the point that begins at `start`, of all `calls` during it."""

    start: datetime
    limit: Limit
    refused_calls: int
    calls: int


class RefusedPoint(NamedTuple):
    """A point in which calls with a key were refused for their number, by what."""

    point: datetime
    calls: int
    by_key_rate: int
    by_developer_rate: int
    by_quota: int

    def refusals(self) -> Mapping[Limit, int]:
        """Return the calls that each limit refused, where there are any."""
        counts = zip(Limit, (self.by_key_rate, self.by_developer_rate, self.by_quota), strict=True)
        return {limit: calls for limit, calls in counts if calls}


class Demand(NamedTuple):
    """Calls of some time: all, good ones with their units, and those that a rate refused."""

    calls: int = 0
    units: int = 0
    good_calls: int = 0
    limited_calls: int = 0

    @property
    def wanted_units(self) -> float:
        """Units that would have been used without rates: refused calls count as much as good ones on the average."""
        cost = self.units / self.good_calls if self.good_calls else 1.0
        return self.units + self.limited_calls * cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """Why calls with a key were refused for their number: limits as they stand, and refusals, newest first."""

    standings: tuple[Standing, ...]
    refusals: tuple[Refusal, ...]
    key_calls_per_second: float
    developer_calls_per_second: float


class KeyUse(NamedTuple):
    """What a key was used for during a span. `throttled_calls` were refused for their number."""

    id: str
    name: str
    key_prefix: str
    calls: int
    throttled_calls: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFinding:
    """One reason to look at one key. `about`: the time it is about, if it is about one; `scopes`: not needed so far."""

    key_id: str
    name: str
    key_prefix: str
    finding: Finding
    about: datetime | None
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What needs attention: some keys of each kind, and at how many keys each kind was found, where it was at any."""

    listed: tuple[KeyFinding, ...]
    counts: Mapping[Finding, int]


def runs_out_at(remaining: int, *, units: int, seconds: int, per_second: float, now: datetime) -> datetime | None:
    """Tell when a window runs out at a pace; None when it never does, since as much leaves it as comes in."""
    if remaining <= 0:
        return now
    if per_second * seconds <= units:
        return None
    return now + timedelta(seconds=remaining / per_second)


def list_refusals(points: Iterable[RefusedPoint]) -> tuple[Refusal, ...]:
    """List the refusals of points by limit, in the points' order, as many as are told."""
    refusals = (
        Refusal(start=each.point, limit=limit, refused_calls=refused, calls=each.calls)
        for each in points
        for limit, refused in each.refusals().items()
    )
    return tuple(refusal for refusal, _ in zip(refusals, range(_LISTED_REFUSALS), strict=False))
