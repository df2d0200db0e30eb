"""What audit events tell of OAuth clients: their end, that of their secrets, and what they lost."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from server.audit.logged import NotUnderstood, find_event
from server.audit.store import Action
from server.clients.logged import (
    ClientChange,
    Deletion,
    Narrowing,
    SecretEnd,
    SecretRotation,
    find_client_change,
    given_by,
)
from server.ids import new_client_id, new_key_id
from tests.unit.audit.lines import NOW, line_of, logged

CLIENT, KEY = new_client_id(), new_key_id()
PREFIX = "ang_oauth_4fGh1JkL"
ENDS = NOW + timedelta(hours=1)
ROTATED = {"secret_prefix": PREFIX, "version": 2, "previous_expires_at": ENDS.isoformat()}
LEAKED = {"key_prefix": PREFIX, "version": 1, "url": "https://example.com", "source": "commit", "ended": True}


async def read(
    action: Action, details: Mapping[str, object], target_id: str = CLIENT
) -> tuple[str, ClientChange | None]:
    """Return the id of an event, and what is read of it in the log."""
    written = await logged(action, target_id, **details)
    event = find_event(line_of(written))
    assert event
    return written["id"], find_client_change(event)


async def test_a_deletion_is_understood_as_it_was_written() -> None:
    event_id, change = await read(Action.CLIENT_DELETED, {"name": "A name", "grants_revoked": 2})
    assert change == Deletion(event_id=event_id, client_id=CLIENT, at=NOW)


async def test_a_rotation_is_understood_as_it_was_written() -> None:
    event_id, change = await read(Action.CLIENT_SECRET_ROTATED, ROTATED)
    assert change == SecretRotation(event_id=event_id, client_id=CLIENT, at=NOW, version=2, previous_expires_at=ENDS)


async def test_the_end_of_a_leaked_secret_is_understood_as_it_was_written() -> None:
    event_id, change = await read(Action.KEY_LEAK_REPORTED, LEAKED)
    assert change == SecretEnd(event_id=event_id, client_id=CLIENT, at=NOW, version=1, secret_prefix=PREFIX)


@pytest.mark.parametrize(("target_id", "ended"), [(CLIENT, None), (CLIENT, False), (KEY, None)])
async def test_a_leak_that_was_only_reported_ends_nothing(target_id: str, ended: bool | None) -> None:
    assert (await read(Action.KEY_LEAK_REPORTED, {**LEAKED, "ended": ended}, target_id))[1] is None


async def test_what_a_client_lost_is_understood_as_it_was_written() -> None:
    details = {
        "name": ["Old", "New"],
        "allowed_scopes": ["read stream", "read"],
        "redirect_uris_added": "https://c/",
        "redirect_uris_removed": "https://a/ https://b/",
    }
    event_id, change = await read(Action.CLIENT_UPDATED, details)
    lost = frozenset({"https://a/", "https://b/", "stream"})
    assert change == Narrowing(event_id=event_id, client_id=CLIENT, at=NOW, lost=lost)


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"name": ["Old", "New"]},
        {"allowed_scopes": ["read", "read stream"]},
        {"redirect_uris_added": "https://c/"},
    ],
)
async def test_a_change_that_took_nothing_away_is_none(details: dict[str, object]) -> None:
    assert (await read(Action.CLIENT_UPDATED, details))[1] is None


@pytest.mark.parametrize(
    "details",
    [
        {"allowed_scopes": "read"},
        {"allowed_scopes": ["read"]},
        {"allowed_scopes": ["read", None]},
        {"redirect_uris_removed": None},
        {"redirect_uris_removed": "https://a/ https://… (20 URIs)"},
    ],
)
async def test_a_loss_that_is_not_told_whole_is_told_of(details: dict[str, object]) -> None:
    with pytest.raises(NotUnderstood):
        await read(Action.CLIENT_UPDATED, details)


@pytest.mark.parametrize(
    ("action", "details"),
    [
        (Action.CLIENT_DELETED, {}),
        (Action.CLIENT_SECRET_ROTATED, ROTATED),
        (Action.KEY_LEAK_REPORTED, LEAKED),
        (Action.CLIENT_UPDATED, {"redirect_uris_removed": "https://a/"}),
    ],
)
async def test_an_event_of_something_else_is_told_of(action: Action, details: dict[str, object]) -> None:
    with pytest.raises(NotUnderstood, match="names no OAuth client"):
        await read(action, details, "client_x")


@pytest.mark.parametrize(
    ("action", "details"),
    [
        (Action.CLIENT_SECRET_ROTATED, {**ROTATED, "version": 1}),
        (Action.CLIENT_SECRET_ROTATED, {**ROTATED, "previous_expires_at": "soon"}),
        (Action.KEY_LEAK_REPORTED, {**LEAKED, "version": 0}),
        (Action.KEY_LEAK_REPORTED, {**LEAKED, "key_prefix": None}),
    ],
)
async def test_an_event_with_a_fault_is_told_of(action: Action, details: dict[str, object]) -> None:
    with pytest.raises(NotUnderstood):
        await read(action, details)


TELLING = {Action.CLIENT_DELETED, Action.CLIENT_SECRET_ROTATED}


@pytest.mark.parametrize("action", sorted(set(Action) - TELLING, key=str))
async def test_other_audit_events_take_nothing(action: Action) -> None:
    assert (await read(action, {}))[1] is None


def test_what_a_later_change_gave_again_is_told_by_its_particulars() -> None:
    details = {"allowed_scopes": ["read", "read stream"], "redirect_uris_added": "https://a/ https://b/"}
    assert given_by(details) == {"stream", "https://a/", "https://b/"}
    assert given_by({"name": ["a", "b"]}) == frozenset()
