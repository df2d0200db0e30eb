"""The particulars of an audit event as text for people: what it stores as JSON, one line a name."""

from collections.abc import Mapping
from datetime import datetime

from server.audit.store import Action
from server.times import format_time

_CHANGING = frozenset(
    action.value
    for action in (
        Action.KEY_UPDATED,
        Action.CLIENT_UPDATED,
        Action.CLIENT_UPDATE_REAPPLIED,
        Action.DEVELOPER_UPDATED,
        Action.DEVELOPER_TIER_CHANGED,
        Action.TIER_SET,
    )
)
"""Events whose details are pairs of what was and what is; elsewhere a list is just several things."""


def as_text(action: str, details: Mapping[str, object]) -> dict[str, str]:
    """Write every detail: lists with commas, changes as `old → new`, times as the API does, no value as `none`."""
    return {name: _detail(name, value, changing=action in _CHANGING) for name, value in details.items()}


def _detail(name: str, value: object, *, changing: bool) -> str:
    if changing and isinstance(value, list) and len(value) == 2:
        return " → ".join(_written(name, each) for each in value)
    return _written(name, value)


def _written(name: str, value: object) -> str:
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_written(name, each) for each in value)
    return _time(str(value)) if name.endswith("_at") else str(value)


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return format_time(moment) if moment.tzinfo else text
