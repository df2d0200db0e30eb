"""What an API key is. No I/O, no protocol."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from server.ids import DeveloperId, KeyId


class Environment(Enum):
    """Where a key works. The value stands in its secret."""

    LIVE = "live"
    TEST = "test"


class Status(Enum):
    """The lifecycle state of a key. Expiry is no state: it is judged at each verification."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secrets. Times are aware; None means never."""

    id: KeyId
    developer_id: DeveloperId
    name: str
    environment: Environment
    scopes: tuple[str, ...]
    key_prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def status(self) -> Status:
        """ACTIVE until revoked."""
        return Status.ACTIVE if self.revoked_at is None else Status.REVOKED
