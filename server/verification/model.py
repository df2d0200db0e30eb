"""What is asked and what is known of a key, without I/O."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Question(NamedTuple):
    """What a key is wanted for. `environment` empty: any; `cost` in units, 1 or more; the key itself travels apart."""

    required_scopes: tuple[str, ...] = ()
    environment: str = ""
    operation: str = ""
    cost: int = 1
    fresh: bool = False
    """Ask the database, whatever is remembered."""
    explain: bool = False
    """Run every check; count and use nothing."""


class Presented(NamedTuple):
    """A key as it was presented, what it is wanted for, and the address of its user (empty: unknown)."""

    text: str
    question: Question
    client_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """What the database said of a key whose secret was proved, as of one moment.

    Times are aware, None means never. `ends_in` are the seconds that were left until the nearest deadline, None without
    one. A rate limit is units and seconds; the one of the developer is shared by all its keys.
    """

    key_id: str
    developer_id: str
    environment: str
    scopes: frozenset[str]
    key_prefix: str
    secret_version: int
    secret_expires_at: datetime | None
    secret_retired_at: datetime | None
    expires_at: datetime | None
    revoked: bool
    expired: bool
    rotated_out: bool
    suspended: bool
    ends_in: float | None
    rate: tuple[int, int]
    developer_rate: tuple[int, int]
    monthly_quota: int | None
    units_used: int
    """Units of `month` (year and month in UTC, by the database's clock) that all servers have flushed."""
    month: tuple[int, int]
