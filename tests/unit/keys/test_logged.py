"""Audit events read back from the log: understood whole, or told of; never passed over."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from server.audit.store import Action, Actor, record
from server.ids import new_call_id, new_developer_id, new_key_id
from server.keys.logged import NotUnderstood, Revocation, Rotation, find_change

KEY = new_key_id()
NOW = datetime(2030, 1, 31, 12, 0, 0, 123456, UTC)
ENDS = NOW + timedelta(hours=1)
ROTATED = {"key_prefix": "ang_live_4fGh1JkL", "version": 3, "previous_expires_at": ENDS.isoformat()}


class _Connection:
    """Stands for a transaction whose event is stored at a known time."""

    async def fetchval(self, *_: object) -> datetime:
        return NOW


async def _event(action: Action, **details: object) -> dict[str, Any]:
    """Return what the server logs of a change of the key."""
    actor = Actor(developer_id=new_developer_id(), call_id=new_call_id())
    connection: Any = _Connection()
    with capture_logs() as events:
        await record(connection, actor, action, KEY, details)
    return dict(events[0])


@pytest.fixture
async def revoked() -> dict[str, Any]:
    return await _event(Action.KEY_REVOKED, key_prefix="ang_live_4fGh1JkL")


@pytest.fixture
async def rotated() -> dict[str, Any]:
    return await _event(Action.KEY_ROTATED, **ROTATED)


def _line(event: object) -> bytes:
    return json.dumps(event).encode() + b"\n"


def test_a_revocation_is_understood_as_it_was_written(revoked: dict[str, Any]) -> None:
    assert find_change(_line(revoked)) == Revocation(event_id=revoked["id"], key_id=KEY, at=NOW)


def test_a_rotation_is_understood_as_it_was_written(rotated: dict[str, Any]) -> None:
    assert find_change(_line(rotated)) == Rotation(
        event_id=rotated["id"], key_id=KEY, at=NOW, version=3, previous_expires_at=ENDS
    )


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.KEY_REVOKED, Action.KEY_ROTATED}, key=str))
async def test_other_audit_events_end_nothing(action: Action) -> None:
    assert find_change(_line(await _event(action))) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"Ready.\n",
        b'{"method":"/sdk.developer.v1.DeveloperService/RevokeApiKey","event":"call"}',
        b'{"event":"call"',
        b"\xff\xfe{",
        b"[1,2]",
        b'{"event":"odd","text":"key.revoked"}',
        b'{"event":"odd","text":{"event":"audit","action":"key.revoked"}}',
    ],
)
def test_other_lines_are_passed_over(line: bytes) -> None:
    assert find_change(line) is None


@given(cut=st.integers(min_value=30))
async def test_a_torn_line_is_told_of(cut: int) -> None:
    line = _line(await _event(Action.KEY_ROTATED, **ROTATED)).rstrip()

    with pytest.raises(NotUnderstood, match="torn"):
        find_change(line[: cut % (len(line) - 30) + 30])


async def test_an_event_begins_with_its_action_so_that_a_torn_one_is_noticed(revoked: dict[str, Any]) -> None:
    assert _line(revoked).startswith(b'{"action": "key.revoked"')


def test_the_end_of_a_torn_line_is_told_of(revoked: dict[str, Any]) -> None:
    line = _line(revoked)
    with pytest.raises(NotUnderstood, match="torn"):
        find_change(line[line.index(b"call_") :])


@pytest.mark.parametrize("wrap", ["docker", "prefix", "list", "nested"])
def test_a_wrapped_line_is_told_of(revoked: dict[str, Any], wrap: str) -> None:
    text = _line(revoked).decode()
    wrapped = {
        "docker": _line({"log": text, "stream": "stderr"}),
        "prefix": f"2030-01-31T12:00:00Z stderr F {text}".encode(),
        "list": _line([revoked]),
        "nested": _line({"event": revoked}),
    }
    with pytest.raises(NotUnderstood):
        find_change(wrapped[wrap])


@pytest.mark.parametrize("name", ["id", "target_id", "created_at", "action"])
@pytest.mark.parametrize("value", [None, 7, "", "x", [], {}, "missing"])
def test_a_revocation_with_a_fault_is_told_of(revoked: dict[str, Any], name: str, value: object) -> None:
    revoked[name] = value
    if value == "missing":
        del revoked[name]
    with pytest.raises(NotUnderstood, match=name):
        find_change(_line(revoked))


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
        find_change(_line({**rotated, "details": details}))


def test_an_action_of_a_later_release_is_told_of(revoked: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="action"):
        find_change(_line({**revoked, "action": "key.annihilated"}))


def test_lost_lines_are_told_of() -> None:
    with pytest.raises(NotUnderstood, match="lost"):
        find_change(b'{"event":"log_lines_lost","lines":12}\n')


@given(st.binary() | st.text().map(lambda text: _line({"event": "audit", "action": "key.revoked", "id": text})))
def test_whatever_stands_in_a_line_is_judged(line: bytes) -> None:
    for text in (line, b'"audit"' + line):
        with suppress(NotUnderstood):
            assert find_change(text) is None
