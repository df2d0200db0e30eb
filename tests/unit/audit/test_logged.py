"""Audit events read back from the log: understood whole, or told of; never passed over."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audit.logged import NotUnderstood, find_event
from server.audit.store import Action
from server.ids import new_key_id
from tests.unit.audit.lines import NOW, line_of, logged

KEY = new_key_id()
ROTATED = {"key_prefix": "ang_live_4fGh1JkL", "version": 3, "previous_expires_at": NOW.isoformat()}


@pytest.fixture
async def revoked() -> dict[str, Any]:
    return await logged(Action.KEY_REVOKED, KEY, key_prefix="ang_live_4fGh1JkL")


async def test_an_event_is_read_as_it_was_written(revoked: dict[str, Any]) -> None:
    event = find_event(line_of(revoked))
    assert event
    assert (event.action, event.id, event.target_id, event.at) == (Action.KEY_REVOKED, revoked["id"], KEY, NOW)
    assert event.details == {"key_prefix": "ang_live_4fGh1JkL"}


@pytest.mark.parametrize("action", Action)
async def test_every_action_is_known_again(action: Action) -> None:
    event = find_event(line_of(await logged(action, KEY)))
    assert event
    assert event.action is action


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
    assert find_event(line) is None


@pytest.mark.parametrize(
    "action",
    [
        Action.KEY_REVOKED,
        Action.KEY_ROTATED,
        Action.KEY_GRACE_ENDED,
        Action.KEY_LEAK_REPORTED,
        Action.CLIENT_DELETED,
        Action.CLIENT_SECRET_ROTATED,
        Action.CLIENT_UPDATED,
        Action.DEVELOPER_SUSPENDED,
        Action.DEVELOPER_RESUMED,
    ],
    ids=lambda action: action.value,
)
@given(cut=st.integers(min_value=45))
async def test_a_torn_line_is_told_of(action: Action, cut: int) -> None:
    line = line_of(await logged(action, KEY, **ROTATED)).rstrip()

    with pytest.raises(NotUnderstood, match="torn"):
        find_event(line[: cut % (len(line) - 45) + 45])


async def test_an_event_begins_with_its_action_so_that_a_torn_one_is_noticed(revoked: dict[str, Any]) -> None:
    assert line_of(revoked).startswith(b'{"action": "key.revoked"')


def test_the_end_of_a_torn_line_is_told_of(revoked: dict[str, Any]) -> None:
    line = line_of(revoked)
    with pytest.raises(NotUnderstood, match="torn"):
        find_event(line[line.index(b"call_") :])


@pytest.mark.parametrize("wrap", ["docker", "prefix", "list", "nested"])
def test_a_wrapped_line_is_told_of(revoked: dict[str, Any], wrap: str) -> None:
    text = line_of(revoked).decode()
    wrapped = {
        "docker": line_of({"log": text, "stream": "stderr"}),
        "prefix": f"2030-01-31T12:00:00Z stderr F {text}".encode(),
        "list": line_of([revoked]),
        "nested": line_of({"event": revoked}),
    }
    with pytest.raises(NotUnderstood):
        find_event(wrapped[wrap])


def test_an_action_of_a_later_release_is_told_of(revoked: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood, match="action"):
        find_event(line_of({**revoked, "action": "key.annihilated"}))


def test_lost_lines_are_told_of() -> None:
    with pytest.raises(NotUnderstood, match="lost"):
        find_event(b'{"event":"log_lines_lost","lines":12}\n')


@given(st.binary() | st.text().map(lambda text: line_of({"event": "audit", "action": "key.rotated", "id": text})))
def test_whatever_stands_in_a_line_is_judged(line: bytes) -> None:
    for text in (line, b'"audit"' + line):
        with suppress(NotUnderstood):
            event = find_event(text)
            assert event is None or event.action is Action.KEY_ROTATED
