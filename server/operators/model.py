"""What operators look at, and which rules hold for what they set. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from server.errors import Violation
from server.ids import DeveloperId, KeyId

_TIER_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_KEY_PREFIX = re.compile(r"ang_(?:live|test)_[0-9A-Za-z]{8}", re.ASCII)
_BOUNDS: Mapping[str, tuple[int, int]] = {
    "requests": (1, 999_999_999),
    "window_seconds": (1, 86_400),
    "developer_requests": (1, 999_999_999),
    "monthly_quota": (0, 2**53),  # what JSON can tell exactly
    "max_keys": (0, 2**31 - 1),
    "concurrent_streams": (0, 2**31 - 1),
}
TIER_FIELDS = tuple(_BOUNDS)
"""What a tier consists of; a `monthly_quota` of 0 is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeveloperLine:
    """A developer in a list."""

    id: DeveloperId
    display_name: str | None
    contact_email: str | None
    subject: str
    tier: str
    live_keys: int
    created_at: datetime
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLine:
    """A user in a list. `disabled_at` None: in good standing; `sessions` are those that have not ended by time."""

    username: str
    created_at: datetime
    disabled_at: datetime | None
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRequest:
    """A wish for a tier that nobody has decided on."""

    developer_id: DeveloperId
    display_name: str | None
    contact_email: str | None
    tier: str
    requested_tier: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLine:
    """A tier and how many developers have it. `monthly_quota` None is none."""

    name: str
    requests: int
    window_seconds: int
    developer_requests: int
    monthly_quota: int | None
    max_keys: int
    concurrent_streams: int
    developers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """A key that was found by the prefix of one of its secrets, and whose it is."""

    id: KeyId
    name: str
    key_prefix: str
    version: int
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    developer_id: DeveloperId
    display_name: str | None
    contact_email: str | None


def check_tier_name(name: str) -> Violation | None:
    """Judge the name of a tier, which stands in commands and in answers of the API."""
    if _TIER_NAME.fullmatch(name):
        return None
    return Violation("NAME", "must be 1 to 32 of a-z, 0-9, _ and -, and begin with a letter")


def check_bounds(values: Mapping[str, int]) -> list[Violation]:
    """Judge what a tier is to consist of, as far as it is given."""
    faults = []
    for field, value in values.items():
        least, most = _BOUNDS[field]
        if not least <= value <= most:
            faults.append(Violation(option_of(field), f"must be {least:,} to {most:,}"))
    return faults


def check_key_prefix(text: str) -> Violation | None:
    """Judge the prefix of a key."""
    if _KEY_PREFIX.fullmatch(text):
        return None
    return Violation("--prefix", "must be the beginning of a key with its 8 public characters, e.g. ang_live_4fGh1JkL")


def option_of(field: str) -> str:
    """Name the option of the command line that sets a field of a tier."""
    short = {"window_seconds": "window", "monthly_quota": "quota", "concurrent_streams": "streams"}
    return f"--{short.get(field, field).replace('_', '-')}"
