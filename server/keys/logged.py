"""What a line of the server's log tells of a key that was revoked or rotated. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from server.audit.store import Action
from server.ids import KeyId, find_key_id
from server.times import parse_time

_SIGNS = (b'"audit"', b"key.revoked", b"key.rotated", b"log_lines_lost")
"""One of them is in every line that matters, also in one that is torn or wrapped into another; most lines have none."""
_EVENT_ID = re.compile(r"evt_[0-9a-z]{26}", re.ASCII)
_MAXIMUM_VERSION = 2**31 - 1


class NotUnderstood(Exception):
    """A line that tells of a change, or may do so, and cannot be read. The text says why, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A key was revoked, as told by an audit event."""

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


def find_change(line: bytes) -> Revocation | Rotation | None:
    """Read what a line tells of a key's end or of its secrets'; None when that is nothing.

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
    return _read_event(told) if told["event"] == "audit" else None


def _read_event(told: Mapping[str, object]) -> Revocation | Rotation | None:
    action = _action(told)
    if action is Action.KEY_REVOKED:
        return Revocation(event_id=_event_id(told), key_id=_key_id(told), at=_time(told, "created_at"))
    if action is Action.KEY_ROTATED:
        details = told.get("details")
        if not isinstance(details, dict):
            raise NotUnderstood("an audit event without details")
        return Rotation(
            event_id=_event_id(told),
            key_id=_key_id(told),
            at=_time(told, "created_at"),
            version=_version(details),
            previous_expires_at=_time(details, "previous_expires_at"),
        )
    return None


def _action(told: Mapping[str, object]) -> Action:
    try:
        return Action(told.get("action"))
    except ValueError:
        raise NotUnderstood("an audit event whose action this release does not know") from None


def _event_id(told: Mapping[str, object]) -> str:
    text = _text(told, "id")
    if not _EVENT_ID.fullmatch(text):
        raise NotUnderstood("an audit event whose id is none")
    return text


def _key_id(told: Mapping[str, object]) -> KeyId:
    key_id = find_key_id(_text(told, "target_id"))
    if key_id is None:
        raise NotUnderstood("an audit event whose target_id names no key")
    return key_id


def _version(details: Mapping[str, object]) -> int:
    version = details.get("version")
    if type(version) is not int or not 2 <= version <= _MAXIMUM_VERSION:
        raise NotUnderstood("an audit event without the version of the new secret")
    return version


def _time(told: Mapping[str, object], name: str) -> datetime:
    moment, _ = parse_time(_text(told, name), name)
    if moment is None:
        raise NotUnderstood(f"an audit event whose {name} is no time")
    return moment


def _text(told: Mapping[str, object], name: str) -> str:
    text = told.get(name)
    if not isinstance(text, str):
        raise NotUnderstood(f"an audit event without {name}")
    return text
