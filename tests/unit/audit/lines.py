"""Lines of the log as the server writes them of audit events."""

import json
from datetime import UTC, datetime
from typing import Any

from structlog.testing import capture_logs

from server.audit.store import Action, Actor, record
from server.ids import new_call_id, new_developer_id

NOW = datetime(2030, 1, 31, 12, 0, 0, 123456, UTC)
"""When all of them happened."""


class _Connection:
    """Stands for a transaction whose event is stored at a known time."""

    async def fetchval(self, *_: object) -> datetime:
        return NOW


async def logged(action: Action, target_id: str, **details: object) -> dict[str, Any]:
    """Return what the server logs of an event."""
    actor = Actor(developer_id=new_developer_id(), call_id=new_call_id())
    connection: Any = _Connection()
    with capture_logs() as events:
        await record(connection, actor, action, target_id, details)
    return dict(events[0])


def line_of(event: object) -> bytes:
    """Write what is logged as a line."""
    return json.dumps(event).encode() + b"\n"
