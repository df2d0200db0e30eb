"""Write audit events: into the transaction of the change they tell of, and into the log, which outlives the database.

Reading them comes with the portal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog

from server.ids import DeveloperId, new_event_id
from server.postgres.pool import Connection
from server.postgres.queries import load
from server.times import format_time

_SQL = load(Path(__file__).with_name("queries.sql"))

_log = structlog.get_logger(__name__)
_LOGGED = ("key_prefix", "scopes", "expires_at", "version", "previous_expires_at", "reapplied_from")
"""The details that the log repeats; a developer's own words, such as a key's name, stay in the database."""


class Action(Enum):
    """What happened. The values are stored for ever: add, never rename."""

    DEVELOPER_REGISTERED = "developer.registered"
    KEY_CREATED = "key.created"
    KEY_UPDATED = "key.updated"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATION_REAPPLIED = "key.rotation_reapplied"
    KEY_REVOCATION_REAPPLIED = "key.revocation_reapplied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Whose change it is, and the call that made it."""

    developer_id: DeveloperId
    call_id: str


async def record(
    connection: Connection, actor: Actor, action: Action, target_id: str, details: Mapping[str, object] | None = None
) -> None:
    """Add one event at the database's time. `details` holds names and prefixes, never a secret or a token.

    The log has it before the transaction commits, so that it misses no change that was acknowledged. In return it may
    tell of one that was rolled back, and of each try of a transaction that ran again, under ids of their own.
    """
    event_id, details = new_event_id(), details or {}
    created_at = await connection.fetchval(
        _SQL["record_event"],
        event_id,
        actor.developer_id,
        action.value,
        target_id,
        actor.call_id,
        json.dumps(details),
    )
    _log.info(
        "audit",
        action=action.value,
        id=event_id,
        developer_id=actor.developer_id,
        target_id=target_id,
        call_id=actor.call_id,
        created_at=format_time(created_at),
        details={name: details[name] for name in _LOGGED if name in details},
    )
