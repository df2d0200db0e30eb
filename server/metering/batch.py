"""What counters hand over to the database: counted calls in batches, uses of secrets and scopes, and digests to renew.

No I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

OTHER = "other"
"""The operation under which calls are counted whose own there is no room for."""


class Cell(NamedTuple):
    """Calls of one kind during one minute, which is named by the Unix seconds of its begin."""

    minute: int
    key_id: str
    operation: str
    outcome: str
    secret_version: int
    developer_id: str
    calls: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Cells that are written together, once, however often the batch is sent: the database remembers its id."""

    id: UUID
    cells: tuple[Cell, ...]

    @property
    def calls(self) -> int:
        """How many calls it holds."""
        return sum(cell.calls for cell in self.cells)

    def units(self) -> Mapping[tuple[str, date], int]:
        """Sum up the units by developer and month, as `month_of` names it; only where there are any."""
        months = {minute: month_of(minute) for minute in {cell.minute for cell in self.cells}}
        sums: dict[tuple[str, date], int] = {}
        for cell in self.cells:
            if cell.units:
                month = cell.developer_id, months[cell.minute]
                sums[month] = sums.get(month, 0) + cell.units
        return sums


class MonthTotal(NamedTuple):
    """The units that a developer used in a month, all replicas together."""

    developer_id: str
    month: date
    units: int


class SecretUse(NamedTuple):
    """The last use of a secret, in Unix seconds, and the address it came from; empty: unknown."""

    key_prefix: str
    key_id: str
    used_at: float
    client_ip: str


class ScopeUse(NamedTuple):
    """When a good call with a key needed a scope, in Unix seconds."""

    key_id: str
    scope: str
    used_at: float


class Redigest(NamedTuple):
    """The digest of a secret under another pepper than the one it is stored under."""

    key_prefix: str
    digest: bytes
    pepper_version: int
    old_pepper_version: int


def month_of(seconds: float) -> date:
    """Return the first day of the month (UTC) that a moment in Unix seconds lies in."""
    return datetime.fromtimestamp(seconds, UTC).date().replace(day=1)
