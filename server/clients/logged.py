"""What an audit event in the log tells of the end of an OAuth client, of its secrets, and of what it lost. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from server.audit.logged import LoggedEvent, NotUnderstood
from server.audit.store import Action
from server.ids import ClientId, find_client_id, find_key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A client was deleted."""

    event_id: str
    client_id: ClientId
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRotation:
    """A client got the secret of this `version`; the previous one was to end at `previous_expires_at`."""

    event_id: str
    client_id: ClientId
    at: datetime
    version: int
    previous_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEnd:
    """The secret of this `version` and prefix was ended because it had leaked, the current one or an earlier."""

    event_id: str
    client_id: ClientId
    at: datetime
    version: int
    secret_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """A client lost redirect URIs or scopes, which no text can both be. What it got by the same change is not told."""

    event_id: str
    client_id: ClientId
    at: datetime
    lost: frozenset[str]


ClientChange = Deletion | SecretRotation | SecretEnd | Narrowing


def find_client_change(event: LoggedEvent) -> ClientChange | None:
    """Read what an event tells; None when that takes nothing from a client.

    Raises:
        NotUnderstood: it does, and something is missing.
    """
    match event.action:
        case Action.CLIENT_DELETED:
            return Deletion(event_id=event.id, client_id=_client_id(event), at=event.at)
        case Action.CLIENT_SECRET_ROTATED:
            return SecretRotation(
                event_id=event.id,
                client_id=_client_id(event),
                at=event.at,
                version=event.version(2),
                previous_expires_at=event.time("previous_expires_at"),
            )
        case Action.KEY_LEAK_REPORTED:
            return _leak(event)
        case Action.CLIENT_UPDATED:
            return _narrowing(event)
    return None


def given_by(details: Mapping[str, object]) -> frozenset[str]:
    """Return the redirect URIs and scopes that a change of a client gave, by the particulars of its audit event."""
    before, after = _scopes(details)
    uris = details.get("redirect_uris_added")
    return (after - before).union(uris.split() if isinstance(uris, str) else ())


def names_all(details: Mapping[str, object]) -> bool:
    """Tell whether a change of a client names every redirect URI that it gave: an ellipsis stands for more."""
    uris = details.get("redirect_uris_added")
    return not isinstance(uris, str) or uris.isascii()


def _leak(event: LoggedEvent) -> SecretEnd | None:
    """Read the report of a leak, which ended nothing if its policy was to notify or it was of a key, else says so."""
    if event.details.get("ended") is not True or find_key_id(event.target_id):
        return None
    return SecretEnd(
        event_id=event.id,
        client_id=_client_id(event),
        at=event.at,
        version=event.version(1),
        secret_prefix=event.detail("key_prefix"),
    )


def _narrowing(event: LoggedEvent) -> Narrowing | None:
    before, after = _scopes(event.details)
    uris = event.detail("redirect_uris_removed") if "redirect_uris_removed" in event.details else ""
    if not uris.isascii():  # which URIs are: it was cut, and ends with an ellipsis
        raise NotUnderstood(
            f"more redirect URIs were removed from {_client_id(event)} than the event names: remove them again"
        )
    lost = (before - after).union(uris.split())
    if not lost:
        return None
    return Narrowing(event_id=event.id, client_id=_client_id(event), at=event.at, lost=lost)


def _scopes(details: Mapping[str, object]) -> tuple[frozenset[str], frozenset[str]]:
    """Read which scopes a client had and which it has; none and none when that did not change."""
    match details.get("allowed_scopes"):
        case None:
            return frozenset(), frozenset()
        case [str(before), str(after)]:
            return frozenset(before.split()), frozenset(after.split())
    raise NotUnderstood("an audit event whose allowed_scopes are no pair")


def _client_id(event: LoggedEvent) -> ClientId:
    client_id = find_client_id(event.target_id)
    if client_id is None:
        raise NotUnderstood("an audit event whose target_id names no OAuth client")
    return client_id
