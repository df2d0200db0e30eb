"""What became of a secret that was found somewhere, and what a report of a leak says. No I/O, no protocol."""

from dataclasses import dataclass
from enum import Enum

from server.ids import DeveloperId
from server.secret import Secret

MAXIMUM_PLACE_LENGTH = 500


class Policy(Enum):
    """What a report of a leak brings about. The value is the setting's."""

    REVOKE = "revoke"
    NOTIFY = "notify"


class Holder(Enum):
    """What a secret belongs to."""

    KEY = "API key"
    CLIENT = "OAuth client"


class State(Enum):
    """What a secret is good for now. The value is how an operator is told."""

    LIVE = "live"
    IN_GRACE = "in grace"
    SUSPENDED = "developer suspended"
    ROTATED_OUT = "rotated out"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown secret"

    @property
    def is_live(self) -> bool:
        """Tell whether it opens something: now or, its developer being suspended, as soon as that is over."""
        return self in (State.LIVE, State.IN_GRACE, State.SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSecret:
    """A secret version as it stands in the database at one moment, and what it depends on.

    `retires` says that it has a deadline of its own, `retired` that a newer one took over, `ended` that it works no
    longer. `revoked` is said of its key, or of its client when that is deleted; `expired` of its key.
    """

    holder: Holder
    holder_id: str
    developer_id: DeveloperId
    prefix: str
    version: int
    digest: bytes
    pepper_version: int
    retires: bool
    retired: bool
    ended: bool
    revoked: bool
    expired: bool
    suspended: bool

    @property
    def state(self) -> State:
        """Judge it; what can never be undone goes first."""
        if self.revoked:
            return State.REVOKED
        if self.expired:
            return State.EXPIRED
        if self.ended:
            return State.ROTATED_OUT if self.retired else State.REVOKED  # by itself: after a leak, with no successor
        if self.suspended:
            return State.SUSPENDED
        return State.IN_GRACE if self.retires else State.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One secret that somebody found: where, as told by the reporter, fit to be stored and shown; empty if untold."""

    secret: Secret
    url: str
    source: str
