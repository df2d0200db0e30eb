"""What audit events tell of keys that were revoked and of secrets that were ended."""

from datetime import timedelta
from typing import Any

import pytest

from server.audit.logged import NotUnderstood, find_event
from server.audit.store import Action
from server.ids import new_key_id
from server.keys.logged import GraceEnd, KeyChange, Revocation, Rotation, find_key_change
from tests.unit.audit.lines import NOW, line_of, logged

KEY = new_key_id()
PREFIX = "ang_live_4fGh1JkL"
ENDS = NOW + timedelta(hours=1)
ROTATED = {"key_prefix": PREFIX, "version": 3, "previous_expires_at": ENDS.isoformat()}
ENDED = {"key_prefix": PREFIX, "version": 1}
TELLING = {Action.KEY_REVOKED, Action.KEY_ROTATED, Action.KEY_GRACE_ENDED}


def find_change(line: bytes) -> KeyChange | None:
    event = find_event(line)
    assert event
    return find_key_change(event)


@pytest.fixture
async def revoked() -> dict[str, Any]:
    return await logged(Action.KEY_REVOKED, KEY, key_prefix=PREFIX)


@pytest.fixture
async def rotated() -> dict[str, Any]:
    return await logged(Action.KEY_ROTATED, KEY, **ROTATED)


@pytest.fixture
async def ended() -> dict[str, Any]:
    return await logged(Action.KEY_GRACE_ENDED, KEY, **ENDED)


def test_a_revocation_is_understood_as_it_was_written(revoked: dict[str, Any]) -> None:
    assert find_change(line_of(revoked)) == Revocation(event_id=revoked["id"], key_id=KEY, at=NOW)


def test_a_rotation_is_understood_as_it_was_written(rotated: dict[str, Any]) -> None:
    assert find_change(line_of(rotated)) == Rotation(
        event_id=rotated["id"], key_id=KEY, at=NOW, version=3, previous_expires_at=ENDS
    )


def test_the_end_of_a_grace_is_understood_as_it_was_written(ended: dict[str, Any]) -> None:
    assert find_change(line_of(ended)) == GraceEnd(
        event_id=ended["id"], key_id=KEY, at=NOW, version=1, key_prefix=PREFIX
    )


@pytest.mark.parametrize("action", sorted(set(Action) - TELLING, key=str))
async def test_other_audit_events_end_nothing(action: Action) -> None:
    assert find_change(line_of(await logged(action, KEY))) is None


@pytest.mark.parametrize("name", ["id", "target_id", "created_at", "action"])
@pytest.mark.parametrize("value", [None, 7, "", "x", [], {}, "missing"])
def test_a_revocation_with_a_fault_is_told_of(revoked: dict[str, Any], name: str, value: object) -> None:
    revoked[name] = value
    if value == "missing":
        del revoked[name]
    with pytest.raises(NotUnderstood, match=name):
        find_change(line_of(revoked))


@pytest.mark.parametrize(
    "details",
    [
        None,
        [],
        {},
        {**ROTATED, "version": 1},
        {**ROTATED, "version": "3"},
        {**ROTATED, "version": True},
        {**ROTATED, "version": 3.0},
        {**ROTATED, "version": 2**31},
        {**ROTATED, "previous_expires_at": ""},
        {**ROTATED, "previous_expires_at": "2030-01-31T13:00:00"},
        {**ROTATED, "previous_expires_at": 1},
    ],
)
def test_a_rotation_with_a_fault_is_told_of(rotated: dict[str, Any], details: object) -> None:
    with pytest.raises(NotUnderstood):
        find_change(line_of({**rotated, "details": details}))


@pytest.mark.parametrize(
    "details", [None, {}, {"version": 1}, {"key_prefix": PREFIX}, {**ENDED, "version": 0}, {**ENDED, "key_prefix": 1}]
)
def test_the_end_of_a_grace_with_a_fault_is_told_of(ended: dict[str, Any], details: object) -> None:
    with pytest.raises(NotUnderstood):
        find_change(line_of({**ended, "details": details}))
