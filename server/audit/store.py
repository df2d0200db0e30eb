"""Write audit events, always inside the transaction of the change they tell of. Reading them comes with the portal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from server.ids import DeveloperId, new_event_id
from server.postgres.pool import Connection
from server.postgres.queries import load

_SQL = load(Path(__file__).with_name("queries.sql"))


class Action(Enum):
    """What happened. The values are stored for ever: add, never rename."""

    DEVELOPER_REGISTERED = "developer.registered"
    KEY_CREATED = "key.created"
    KEY_UPDATED = "key.updated"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Whose change it is, and the call that made it."""

    developer_id: DeveloperId
    call_id: str


async def record(
    connection: Connection, actor: Actor, action: Action, target_id: str, details: Mapping[str, object] | None = None
) -> None:
    """Add one event at the database's time. `details` holds names and prefixes, never a secret or a token."""
    await connection.execute(
        _SQL["record_event"],
        new_event_id(),
        actor.developer_id,
        action.value,
        target_id,
        actor.call_id,
        json.dumps(details or {}),
    )
