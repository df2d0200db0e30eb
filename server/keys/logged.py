"""What an audit event in the log tells of a key's end or of its secrets'. No I/O."""

from dataclasses import dataclass
from datetime import datetime

from server.audit.logged import LoggedEvent, NotUnderstood
from server.audit.store import Action
from server.ids import KeyId, find_key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A key was revoked."""

    event_id: str
    key_id: KeyId
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A key got the secret of this `version`; the previous one was to end at `previous_expires_at`."""

    event_id: str
    key_id: KeyId
    at: datetime
    version: int
    previous_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceEnd:
    """The secret of this `version` and prefix, which had been replaced, was ended before its time."""

    event_id: str
    key_id: KeyId
    at: datetime
    version: int
    key_prefix: str


KeyChange = Revocation | Rotation | GraceEnd


def find_key_change(event: LoggedEvent) -> KeyChange | None:
    """Read what an event tells; None when that ends nothing of a key.

    Raises:
        NotUnderstood: it tells of an end, and something is missing.
    """
    if event.action is Action.KEY_REVOKED:
        return Revocation(event_id=event.id, key_id=_key_id(event), at=event.at)
    if event.action is Action.KEY_ROTATED:
        return Rotation(
            event_id=event.id,
            key_id=_key_id(event),
            at=event.at,
            version=event.version(2),
            previous_expires_at=event.time("previous_expires_at"),
        )
    if event.action is Action.KEY_GRACE_ENDED:
        return GraceEnd(
            event_id=event.id,
            key_id=_key_id(event),
            at=event.at,
            version=event.version(1),
            key_prefix=event.detail("key_prefix"),
        )
    return None


def _key_id(event: LoggedEvent) -> KeyId:
    key_id = find_key_id(event.target_id)
    if key_id is None:
        raise NotUnderstood("an audit event whose target_id names no key")
    return key_id
