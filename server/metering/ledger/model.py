"""What a stream acquisition is, which ones are the same logical stream, and how old or long one may be. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hashlib import blake2b

from server.errors import Violation

MAXIMUM_AGE = timedelta(days=40)
MAXIMUM_LEAD = timedelta(minutes=5)
MAXIMUM_LIFETIME = timedelta(days=7)
LOCK_SLOTS = 1024


class Medium(Enum):
    """What a stream carries. The value is stored."""

    MUSIC = "music"
    VIDEO = "video"


class Outcome(Enum):
    """What became of an event that was sent to the ledger."""

    BILLABLE = "billable"
    SAME_STREAM = "same_stream"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """A user got a URL to a piece of music or a video. Times are aware and in UTC, to the microsecond."""

    event_id: str
    developer_id: str
    client_id: str
    user_id: str
    content_id: str
    medium: Medium
    quality: str
    acquired_at: datetime
    url_expires_at: datetime

    @property
    def logical_stream(self) -> bytes:
        """A digest of 16 bytes of what must be equal for two acquisitions to be billed once (contract section 7).

        The client is not among it: its developer pays, whichever of his clients asked. No two lists of fields have the
        same encoding, since each field is preceded by its length.
        """
        digest = blake2b(digest_size=16)
        for text in (self.developer_id, self.user_id, self.medium.value, self.content_id, self.quality):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(4))
            digest.update(encoded)
        return digest.digest()

    def find_faults(self, now: datetime) -> list[Violation]:
        """Judge the times of an event that is new at `now`. All limits are inclusive."""
        faults = []
        if self.acquired_at < now - MAXIMUM_AGE:
            faults.append(Violation("acquired_at", "must be at most 40 days ago: what is older is billed already"))
        if self.acquired_at > now + MAXIMUM_LEAD:
            faults.append(Violation("acquired_at", "must be at most 5 minutes ahead: check the sender's clock"))
        if not timedelta(0) < self.url_expires_at - self.acquired_at <= MAXIMUM_LIFETIME:
            faults.append(Violation("url_expires_at", "must be after acquired_at and at most 7 days after it"))
        return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """An event that is no acquisition: its id as it was sent, and what is wrong."""

    event_id: str
    violations: Sequence[Violation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one event. `billable` is as far as events are known; `violations` are there with REFUSED."""

    event_id: str
    outcome: Outcome
    billable: bool = False
    violations: Sequence[Violation] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """The sums of a developer's month (UTC), each found in another way; they must agree.

    `acquisitions` and `billable` come from the events' times alone, `flagged` from what the events say of themselves,
    `balance` from the postings, `days_…` from the sums by day.
    """

    acquisitions: int
    billable: int
    flagged: int
    balance: int
    days_acquisitions: int
    days_billable: int

    @property
    def agrees(self) -> bool:
        """Whether all ways lead to the same numbers."""
        return (
            self.billable == self.flagged == self.balance == self.days_billable
            and self.acquisitions == self.days_acquisitions
        )


def lock_slot(logical_stream: bytes) -> int:
    """Return which lock guards a logical stream; several may share one."""
    return int.from_bytes(logical_stream[:2]) % LOCK_SLOTS
