"""What a line of the server's log tells of an audit event, for those who apply events again after a restore. No I/O."""

import re
from collections.abc import Mapping
from datetime import datetime

import orjson

from server.audit.store import Action
from server.logs import MASK
from server.times import parse_time

_APPLIED_AGAIN = (
    Action.KEY_REVOKED,
    Action.KEY_ROTATED,
    Action.KEY_GRACE_ENDED,
    Action.KEY_LEAK_REPORTED,
    Action.CLIENT_DELETED,
    Action.CLIENT_SECRET_ROTATED,
    Action.CLIENT_UPDATED,
    Action.DEVELOPER_SUSPENDED,
    Action.DEVELOPER_RESUMED,
)
_SIGNS = (b'"audit"', b"log_lines_lost", *(action.value.encode() for action in _APPLIED_AGAIN))
"""One of them is in every line that matters, also in one that is torn or wrapped into another; most lines have none."""
_EVENT_ID = re.compile(r"evt_[0-9a-z]{26}", re.ASCII)
_MAXIMUM_VERSION = 2**31 - 1


class NotUnderstood(Exception):
    """A line that tells of a change, or may do so, and cannot be read. The text says why, for the operator."""


class LoggedEvent:
    """An audit event as a line tells it. Whoever asks for a part gets NotUnderstood raised where that is at fault."""

    def __init__(self, action: Action, told: Mapping[str, object]) -> None:
        self.action = action
        self._told = told

    @property
    def id(self) -> str:
        """The event's own id."""
        text = _text(self._told, "id")
        if not _EVENT_ID.fullmatch(text):
            raise NotUnderstood("an audit event whose id is none")
        return text

    @property
    def target_id(self) -> str:
        """What it happened to."""
        return _text(self._told, "target_id")

    @property
    def at(self) -> datetime:
        """When it happened."""
        return _time(self._told, "created_at")

    @property
    def details(self) -> Mapping[str, object]:
        """The particulars, as far as the log repeats them."""
        details = self._told.get("details")
        if not isinstance(details, dict):
            raise NotUnderstood("an audit event without details")
        return details

    def version(self, least: int) -> int:
        """Return the number of the secret that it is about, which must not be below `least`."""
        version = self.details.get("version")
        if type(version) is not int or not least <= version <= _MAXIMUM_VERSION:
            raise NotUnderstood("an audit event without the version of the secret")
        return version

    def detail(self, name: str) -> str:
        """Return a detail that is text."""
        return _text(self.details, name)

    def time(self, name: str) -> datetime:
        """Return a detail that is a time."""
        return _time(self.details, name)


def find_event(line: bytes) -> LoggedEvent | None:
    """Read the audit event that a line tells of; None when it tells of none.

    Raises:
        NotUnderstood: it tells of one, or may do so, and cannot be understood.
    """
    if not any(sign in line for sign in _SIGNS):
        return None
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise NotUnderstood(
            "an audit event, it seems, but no whole JSON object: torn, or prefixed by a collector"
        ) from None
    if not isinstance(told, dict) or not isinstance(told.get("event"), str):
        raise NotUnderstood(
            "an audit event, it seems, but not as the server wrote it: unwrap what a collector has wrapped"
        )
    if told["event"] == "log_lines_lost":
        raise NotUnderstood("lines of the log were lost before this one: there may have been audit events among them")
    return LoggedEvent(_action(told), told) if told["event"] == "audit" else None


def _action(told: Mapping[str, object]) -> Action:
    try:
        return Action(told.get("action"))
    except ValueError:
        raise NotUnderstood("an audit event whose action this release does not know") from None


def _time(told: Mapping[str, object], name: str) -> datetime:
    moment, _ = parse_time(_text(told, name), name)
    if moment is None:
        raise NotUnderstood(f"an audit event whose {name} is no time")
    return moment


def _text(told: Mapping[str, object], name: str) -> str:
    text = told.get(name)
    if not isinstance(text, str):
        raise NotUnderstood(f"an audit event without {name}")
    if MASK in text:
        raise NotUnderstood(f"an audit event whose {name} the log has masked in part: do what it tells of by hand")
    return text
